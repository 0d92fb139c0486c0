//! Security options: what confines a container beyond capabilities.

use std::{fs, sync::LazyLock};

use serde_json::Value;
use wadah_shim::protocol::Seccomp;

use super::capabilities;
use crate::{EngineError, config::HostConfig};

/// Paths that nobody inside may look at.
const MASKED: &[&str] = &[
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

/// Paths that nobody inside may write.
const READ_ONLY: &[&str] =
    &["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Where each processor tells its temperature: a side channel.
static THERMAL: LazyLock<Vec<String>> = LazyLock::new(|| {
    let entries = fs::read_dir("/sys/devices/system/cpu").into_iter().flatten().flatten();
    let throttles = entries.map(|it| it.path().join("thermal_throttle"));
    throttles.filter(|it| it.exists()).map(|it| it.display().to_string()).collect()
});

/// The security options of a container, understood.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Security {
    /// Whether `execve` grants nothing.
    pub(crate) no_new_privileges: bool,
    seccomp: Profile,
    /// Whether nothing is masked.
    unconfined_paths: bool,
}

#[derive(Debug, Clone, Default, PartialEq)]
enum Profile {
    #[default]
    BuiltIn,
    Given(Value),
    Unconfined,
}

impl Security {
    /// Understands the options of a host configuration.
    pub(crate) fn of(host: &HostConfig) -> Result<Self, EngineError> {
        let mut security = Self::default();
        if host.privileged {
            security.seccomp = Profile::Unconfined;
            security.unconfined_paths = true;
        }
        let has = capabilities::resolve(&host.cap_add, &host.cap_drop, host.privileged)?;
        for option in &host.security_options {
            security.add(option, &has)?;
        }
        Ok(security)
    }

    fn add(&mut self, option: &str, capabilities: &[&str]) -> Result<(), EngineError> {
        let invalid = || EngineError::invalid(format!("invalid --security-opt 1: \"{option}\""));
        let separated = option.split_once('=').or_else(|| option.split_once(':'));
        let (name, value) = match separated {
            Some((name, value)) => (name, Some(value)),
            None => (option, None),
        };
        match (name, value) {
            ("no-new-privileges", None | Some("true")) => self.no_new_privileges = true,
            ("no-new-privileges", Some("false")) => self.no_new_privileges = false,
            ("seccomp", Some("unconfined")) => self.seccomp = Profile::Unconfined,
            ("seccomp", Some("builtin" | "")) => self.seccomp = Profile::BuiltIn,
            ("seccomp", Some(profile)) => {
                let profile = serde_json::from_str(profile).map_err(|error| {
                    EngineError::invalid(format!("Decoding seccomp profile failed: {error}"))
                })?;
                self.seccomp = Profile::Given(profile_of_docker(profile, capabilities)?);
            }
            ("systempaths", Some("unconfined")) => self.unconfined_paths = true,
            ("apparmor", Some("unconfined" | "")) | ("label", Some("disable")) => {}
            ("apparmor" | "label" | "writable-cgroups", Some(_)) => {
                return Err(EngineError::unsupported(format!("--security-opt {option}")));
            }
            _ => return Err(invalid()),
        }
        Ok(())
    }

    /// Which filter the shim uses.
    pub(crate) fn seccomp(&self) -> Seccomp {
        match self.seccomp {
            Profile::BuiltIn => Seccomp::Default,
            Profile::Given(_) => Seccomp::Spec,
            Profile::Unconfined => Seccomp::Unconfined,
        }
    }

    /// The filter that was given.
    pub(super) fn profile(&self) -> Option<&Value> {
        match &self.seccomp {
            Profile::Given(profile) => Some(profile),
            Profile::BuiltIn | Profile::Unconfined => None,
        }
    }

    /// What is masked.
    pub(crate) fn masked_paths(&self, host: &HostConfig) -> Vec<String> {
        match &host.masked_paths {
            Some(given) if !host.privileged => given.clone(),
            _ if self.unconfined_paths => Vec::new(),
            _ => MASKED.iter().map(|it| (*it).to_owned()).chain(THERMAL.iter().cloned()).collect(),
        }
    }

    /// What cannot be written.
    pub(crate) fn readonly_paths(&self, host: &HostConfig) -> Vec<String> {
        match &host.readonly_paths {
            Some(given) if !host.privileged => given.clone(),
            _ if self.unconfined_paths => Vec::new(),
            _ => READ_ONLY.iter().map(|it| (*it).to_owned()).collect(),
        }
    }
}

/// Turns a profile in Docker's form (with `archMap`, `includes`, `excludes`) into the runtime
/// specification's, for a container with these capabilities on this kernel.
fn profile_of_docker(mut profile: Value, capabilities: &[&str]) -> Result<Value, EngineError> {
    let missing = || EngineError::invalid("Decoding seccomp profile failed: no defaultAction");
    profile.get("defaultAction").and_then(Value::as_str).ok_or_else(missing)?;
    let fields = profile.as_object_mut().ok_or_else(missing)?;
    if let Some(Value::Array(map)) = fields.remove("archMap") {
        fields.insert("architectures".to_owned(), architectures(&map));
    }
    let Some(syscalls) = fields.get_mut("syscalls").and_then(Value::as_array_mut) else {
        return Ok(profile);
    };
    syscalls.retain(|it| {
        conditions(&it["includes"], capabilities).all(|holds| holds)
            && !conditions(&it["excludes"], capabilities).any(|holds| holds)
    });
    for entry in syscalls.iter_mut() {
        let Some(entry) = entry.as_object_mut() else { return Err(missing()) };
        if let Some(name) = entry.remove("name") {
            entry.insert("names".to_owned(), Value::Array(vec![name]));
        }
        for foreign in ["comment", "includes", "excludes"] {
            entry.remove(foreign);
        }
        if entry.get("args").is_some_and(Value::is_null) {
            entry.remove("args");
        }
    }
    Ok(profile)
}

/// The conditions that a profile puts on an entry, and whether each holds.
fn conditions<'a>(
    given: &'a Value,
    capabilities: &'a [&'a str],
) -> impl Iterator<Item = bool> + 'a {
    let texts = |name: &str| given[name].as_array().into_iter().flatten().filter_map(Value::as_str);
    let arches = given["arches"].as_array().filter(|it| !it.is_empty()).map(|it| {
        let native = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
        it.iter().any(|arch| arch == native)
    });
    let kernel = given["minKernel"].as_str().map(is_kernel_at_least);
    texts("caps").map(|it| capabilities.contains(&it)).chain(arches).chain(kernel)
}

/// Whether the running kernel is at least `version`, as in `4.8`.
fn is_kernel_at_least(version: &str) -> bool {
    let numbers = |text: &str| -> Vec<u32> {
        text.split(|it: char| !it.is_ascii_digit())
            .take(2)
            .map_while(|it| it.parse().ok())
            .collect()
    };
    numbers(&rustix::system::uname().release().to_string_lossy()) >= numbers(version)
}

fn architectures(map: &[Value]) -> Value {
    let native =
        if cfg!(target_arch = "aarch64") { "SCMP_ARCH_AARCH64" } else { "SCMP_ARCH_X86_64" };
    let entry = map.iter().find(|it| it["architecture"] == native);
    let below = entry.and_then(|it| it["subArchitectures"].as_array()).cloned();
    let mut all = vec![Value::from(native)];
    all.extend(below.unwrap_or_default());
    Value::Array(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn security(options: &[&str]) -> Result<Security, String> {
        let security_options = options.iter().map(|it| (*it).to_owned()).collect();
        let host = HostConfig { security_options, ..HostConfig::default() };
        Security::of(&host).map_err(|it| it.to_string())
    }

    #[test]
    fn options_are_understood_in_both_spellings() {
        assert!(security(&["no-new-privileges"]).unwrap().no_new_privileges);
        assert!(security(&["no-new-privileges:true"]).unwrap().no_new_privileges);
        assert_eq!(security(&["seccomp:unconfined"]).unwrap().seccomp(), Seccomp::Unconfined);
        assert_eq!(security(&[]).unwrap().seccomp(), Seccomp::Default);
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        assert!(security(&["apparmor=mine"]).unwrap_err().contains("not supported"));
        assert!(security(&["fast=true"]).unwrap_err().contains("fast=true"));
        assert!(security(&["seccomp={"]).unwrap_err().contains("Decoding seccomp profile"));
    }
}
