//! Setting what a specification asks for, each controller where this host has it.

use std::collections::HashMap;

use oci_spec::runtime::{LinuxCpu, LinuxHugepageLimit, LinuxNetwork, LinuxRdma, LinuxResources};

use super::{Cgroup, CgroupError, Home, devices, directory::Directory, setter::Setter, v1, v2};

/// Sets resources one after the other.
pub(super) struct Resources<'a> {
    cgroup: &'a Cgroup,
    updates: bool,
    warnings: Vec<String>,
}

impl<'a> Resources<'a> {
    /// Prepares the first setting, or with `updates` a later one.
    pub(super) fn new(cgroup: &'a Cgroup, updates: bool) -> Self {
        Self { cgroup, updates, warnings: Vec::new() }
    }

    /// Sets all that is asked for; returns what to warn of.
    pub(super) fn set(
        mut self,
        resources: Option<&LinuxResources>,
    ) -> Result<Vec<String>, CgroupError> {
        self.set_devices(resources)?;
        let Some(resources) = resources else { return Ok(self.warnings) };
        self.set_memory(resources)?;
        if let Some(cpu) = resources.cpu() {
            self.set_cpu(cpu)?;
            self.set_cpuset(cpu)?;
        }
        self.set_pids(resources)?;
        self.set_block_io(resources)?;
        for limit in resources.hugepage_limits().as_deref().unwrap_or_default() {
            self.set_hugepages(limit)?;
        }
        for (device, limits) in resources.rdma().iter().flatten() {
            self.set_rdma(device, limits)?;
        }
        if let Some(network) = resources.network() {
            self.set_network(network)?;
        }
        if let Some(unified) = resources.unified() {
            self.set_unified(unified)?;
        }
        Ok(self.warnings)
    }

    fn home(&self, controller: &str, resource: &'static str) -> Result<Home<'a>, CgroupError> {
        self.cgroup.home(controller).ok_or_else(|| CgroupError::NoController {
            resource,
            controller: controller.to_owned(),
        })
    }

    fn setter<'s>(&'s mut self, directory: &'s Directory) -> Setter<'s> {
        Setter::new(directory, self.updates, &mut self.warnings)
    }

    fn set_devices(&mut self, resources: Option<&LinuxResources>) -> Result<(), CgroupError> {
        let rules = resources.and_then(|it| it.devices().as_deref()).unwrap_or_default();
        // An update names devices only when it means to change them; a creation that names none
        // gets the devices every container has.
        if self.updates && rules.is_empty() {
            return Ok(());
        }
        let rules = devices::rules(rules, !self.updates)?;
        match self.cgroup.home("devices") {
            Some(Home::V1(directory)) => devices::set_v1(directory, &rules),
            _ => match &self.cgroup.unified {
                Some(directory) => devices::set_v2(directory, &rules),
                None => Err(CgroupError::NoController {
                    resource: "devices",
                    controller: "devices".to_owned(),
                }),
            },
        }
    }

    fn set_memory(&mut self, resources: &LinuxResources) -> Result<(), CgroupError> {
        let Some(memory) = resources.memory() else { return Ok(()) };
        let amounts = [memory.limit(), memory.reservation(), memory.swap()];
        let wanted = amounts.iter().any(|it| it.is_some_and(|it| it != 0))
            || [memory.kernel(), memory.kernel_tcp()].iter().any(|it| it.is_some_and(|it| it != 0))
            || memory.swappiness().is_some()
            || memory.disable_oom_killer().is_some();
        let home = self.cgroup.home("memory");
        match home {
            None if !wanted => Ok(()),
            _ => match self.home("memory", "memory.limit")? {
                Home::V1(directory) => v1::memory(&mut self.setter(directory), memory),
                Home::V2(directory) => v2::memory(&mut self.setter(directory), memory),
            },
        }
    }

    fn set_cpu(&mut self, cpu: &LinuxCpu) -> Result<(), CgroupError> {
        let wanted = [cpu.shares(), cpu.period(), cpu.realtime_period(), cpu.burst()]
            .iter()
            .any(|it| it.is_some_and(|it| it != 0))
            || [cpu.quota(), cpu.realtime_runtime(), cpu.idle()]
                .iter()
                .any(|it| it.is_some_and(|it| it != 0))
            || (self.updates && cpu.idle().or(cpu.burst().map(|_| 0)).is_some());
        if !wanted {
            return Ok(());
        }
        match self.home("cpu", "cpu.shares or cpu.quota")? {
            Home::V1(directory) => v1::cpu(&mut self.setter(directory), cpu),
            Home::V2(directory) => v2::cpu(&mut self.setter(directory), cpu),
        }
    }

    fn set_cpuset(&mut self, cpu: &LinuxCpu) -> Result<(), CgroupError> {
        for (file, value, resource) in
            [("cpuset.cpus", cpu.cpus(), "cpu.cpus"), ("cpuset.mems", cpu.mems(), "cpu.mems")]
        {
            if let Some(value) = value.as_deref().filter(|it| !it.is_empty()) {
                self.home("cpuset", resource)?.directory().write(file, value)?;
            }
        }
        Ok(())
    }

    fn set_pids(&mut self, resources: &LinuxResources) -> Result<(), CgroupError> {
        let Some(limit) = resources.pids().map(|it| it.limit()).filter(|it| *it != 0) else {
            return Ok(());
        };
        if limit < 0 && !self.updates {
            return Ok(());
        }
        let value = if limit < 0 { "max".to_owned() } else { limit.to_string() };
        self.home("pids", "pids.limit")?.directory().write("pids.max", &value)
    }

    fn set_block_io(&mut self, resources: &LinuxResources) -> Result<(), CgroupError> {
        let Some(io) = resources.block_io() else { return Ok(()) };
        let some = |it: &Option<Vec<_>>| it.as_ref().is_some_and(|it| !it.is_empty());
        let wanted = io.weight().is_some_and(|it| it != 0)
            || io.leaf_weight().is_some_and(|it| it != 0)
            || io.weight_device().as_ref().is_some_and(|it| !it.is_empty())
            || some(io.throttle_read_bps_device())
            || some(io.throttle_write_bps_device())
            || some(io.throttle_read_iops_device())
            || some(io.throttle_write_iops_device());
        if !wanted {
            return Ok(());
        }
        if let Some(home) = self.cgroup.home("blkio") {
            return v1::block_io(&mut self.setter(home.directory()), io);
        }
        let home = self.home("io", "blockIO")?;
        v2::block_io(&mut self.setter(home.directory()), io)
    }

    fn set_hugepages(&mut self, limit: &LinuxHugepageLimit) -> Result<(), CgroupError> {
        let size = limit.page_size();
        if size.contains('/') {
            return Err(CgroupError::Value {
                resource: "hugepageLimits.pageSize",
                value: size.clone(),
                reason: "not a page size such as 2MB",
            });
        }
        let home = self.home("hugetlb", "hugepageLimits")?;
        let value = match home {
            Home::V2(_) if limit.limit() < 0 => "max".to_owned(),
            _ => limit.limit().to_string(),
        };
        let (file, reservations) = match home {
            Home::V1(_) => (
                format!("hugetlb.{size}.limit_in_bytes"),
                format!("hugetlb.{size}.rsvd.limit_in_bytes"),
            ),
            Home::V2(_) => (format!("hugetlb.{size}.max"), format!("hugetlb.{size}.rsvd.max")),
        };
        home.directory().write(&file, &value)?;
        // Without a limit on reservations a process is killed by SIGBUS on use instead of being
        // refused by mmap; kernels before 5.7 have none.
        if home.directory().has(&reservations) {
            home.directory().write(&reservations, &value)?;
        }
        Ok(())
    }

    fn set_rdma(&mut self, device: &str, limits: &LinuxRdma) -> Result<(), CgroupError> {
        let home = self.home("rdma", "rdma")?;
        let mut line = device.to_owned();
        for (key, value) in
            [("hca_handle", limits.hca_handles()), ("hca_object", limits.hca_objects())]
        {
            if let Some(value) = value {
                line.push_str(&format!(" {key}={value}"));
            }
        }
        home.directory().write("rdma.max", &line)
    }

    fn set_network(&mut self, network: &LinuxNetwork) -> Result<(), CgroupError> {
        if network.class_id().is_some_and(|it| it != 0) {
            let home = self.home("net_cls", "network.classID")?;
            v1::class(&mut self.setter(home.directory()), network)?;
        }
        if network.priorities().as_ref().is_some_and(|it| !it.is_empty()) {
            let home = self.home("net_prio", "network.priorities")?;
            v1::priorities(&mut self.setter(home.directory()), network)?;
        }
        Ok(())
    }

    fn set_unified(&mut self, unified: &HashMap<String, String>) -> Result<(), CgroupError> {
        let mut keys: Vec<&String> = unified.keys().collect();
        keys.sort();
        for key in keys {
            if key.contains('/') || !key.contains('.') {
                return Err(CgroupError::Value {
                    resource: "unified",
                    value: key.clone(),
                    reason: "not the name of a file such as memory.high",
                });
            }
            let controller = key.split('.').next().unwrap_or_default();
            let directory = match &self.cgroup.unified {
                Some(it) if it.has(key) => it,
                _ => {
                    return Err(CgroupError::NoController {
                        resource: "unified",
                        controller: format!("{controller} (version 2, with {key})"),
                    });
                }
            };
            directory.write(key, &unified[key])?;
        }
        Ok(())
    }
}
