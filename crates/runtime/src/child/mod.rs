//! The new process, from its birth to its executable.
//!
//! Each function here is one chapter of its life and each statement one step, with the reason and
//! an error of its own. All of it runs in a copy of the parent's memory; what is dropped at the end
//! of a chapter is dropped in the copy only.
//!
//! **Invariant:** until its root is changed, an absolute path is the host's; what belongs to the
//! container is reached through [`Root`] only.

mod attributes;
mod cgroup_mount;
mod console;
mod copy_up;
mod cover;
mod devices;
mod execute;
mod home;
mod identity;
mod init;
mod joined;
mod label;
mod mounts;
mod root;

use std::{
    cell::OnceCell,
    convert::Infallible,
    os::fd::{AsFd, OwnedFd},
};

use rustix::{
    fs::Mode,
    process::{
        DumpableBehavior, Gid, Pid, Signal, Uid, set_dumpable_behavior,
        set_parent_process_death_signal, setsid,
    },
    thread::{
        ThreadNameSpaceType, move_into_thread_name_spaces, set_thread_groups, set_thread_res_gid,
        set_thread_res_uid,
    },
};
use wadah_sys::{
    process::{namespace, reset_signals, unshare},
    rootfs::Root,
};

pub(crate) use self::{
    attributes::{set_oom_score_adj, warn_if_forbidden},
    joined::Guest,
};
use self::{
    console::Console,
    execute::{Final, Ready, Streams},
    label::Labels,
    mounts::Mounter,
};
use crate::{
    Request, Rootfs, Stdio,
    cgroup::{Cgroup, JoinPlan},
    channel::{Channel, Context, Failure, Report},
    gate,
    hooks::{self, Point},
    plan::{self, Join, Namespaces, Plan, Prepared},
};

/// All that a container's first process needs to make itself.
pub(crate) struct Container<'a> {
    /// What was asked.
    pub(crate) request: &'a Request<'a>,
    /// What was planned.
    pub(crate) plan: &'a Plan<'a>,
    /// What the parent opened.
    pub(crate) prepared: &'a Prepared,
    /// Its control groups.
    pub(crate) cgroup: &'a Cgroup,
    /// How to enter them.
    pub(crate) join: &'a JoinPlan,
    /// To the parent.
    pub(crate) channel: &'a Channel,
    /// Where it can be started, for [`crate::Gate::Socket`].
    pub(crate) listener: Option<&'a OwnedFd>,
    /// Who starts it, once somebody does.
    pub(crate) starter: OnceCell<Channel>,
}

impl Container<'_> {
    /// Lives; returns an exit code only when something failed, after telling the parent.
    pub(crate) fn live(&self) -> i32 {
        let Err(failure) = self.make().and_then(|made| self.run(made));
        // Without a parent there is nobody left to tell.
        drop(self.voice().send(&Report::Failed(failure)));
        1
    }

    /// From the birth to a finished root filesystem.
    fn make(&self) -> Result<Made, Failure> {
        self.settle()?;
        self.enter_namespaces()?;
        self.name_host()?;
        let labels = Labels::open(&self.plan.process, &label::host_attributes)?;
        attributes::apply_early(&self.plan.process, self.channel, self.plan.namespaces.has_user())?;
        self.set_sysctls()?;

        let path = match self.request.rootfs {
            Rootfs::Directory(path) => Some(path),
            Rootfs::Overlay(_) => None,
        };
        let root = root::attach(&self.prepared.root, path)?;
        let mut mounter = Mounter::new(&root, self);
        mounter.mount_all()?;
        let devpts = mounter.take_devpts();
        if !mounter.dev_is_bound() {
            devices::make_all(&root, self.plan)?;
        }
        let console = self.make_console(&root, devpts)?;
        self.make_working_directory(&root)?;
        let host_pid = self.run_hooks_before_pivot()?;
        cover::mask(&root, self.plan.linux.masked_paths().as_deref().unwrap_or_default())?;
        cover::make_read_only(
            &root,
            self.plan.linux.readonly_paths().as_deref().unwrap_or_default(),
        )?;
        mounter.make_read_only()?;
        root::change(&root, self.plan, self.request.no_pivot)?;
        Ok(Made { console, labels, host_pid })
    }

    /// Becomes a process of its own, that nobody looks into.
    fn settle(&self) -> Result<(), Failure> {
        // Our memory holds the host's; so nobody who shares a namespace with us may trace us or
        // open our executable, from before we enter one until our own is replaced.
        set_dumpable_behavior(DumpableBehavior::NotDumpable).step(|| "hide from tracers")?;
        reset_signals();
        if self.request.parent_death_signal {
            let kill = Some(Signal::KILL);
            set_parent_process_death_signal(kill).step(|| "bind our life to our parent's")?;
        }
        // A session of its own: no terminal of the caller's, no signal to its process group.
        setsid().step(|| "start a session")?;
        if !self.request.no_new_keyring {
            label::join_keyring(self.request.id)?;
        }
        Ok(())
    }

    /// Enters the namespaces that did not come with the birth.
    fn enter_namespaces(&self) -> Result<(), Failure> {
        let namespaces = &self.plan.namespaces;
        if namespaces.id_maps.is_some() {
            self.channel.send(&Report::MapIds).step(|| "ask for id maps")?;
            self.channel.wait_for_go().step(|| "wait for id maps")?;
        }
        if namespaces.has_user() {
            become_root_of_user_namespace()?;
        }
        // User and pid namespaces were joined before the birth.
        let earlier = namespace::USER | namespace::PID;
        for join in namespaces.join.iter().filter(|it| it.flag & earlier == 0) {
            join_namespace(join)?;
        }
        // The control groups come before their namespace, whose root they are.
        self.join.enter().step(|| "enter the control groups")?;
        if namespaces.new & namespace::CGROUP != 0 {
            unshare(namespace::CGROUP).step(|| "unshare the cgroup namespace")?;
        }
        Ok(())
    }

    /// Names the host and the domain, in a namespace of its own only.
    fn name_host(&self) -> Result<(), Failure> {
        if !self.plan.namespaces.isolates(namespace::UTS) {
            return Ok(());
        }
        let spec = self.request.spec;
        if let Some(name) = spec.hostname().as_ref().filter(|it| !it.is_empty()) {
            rustix::system::sethostname(name.as_bytes())
                .step(|| format!("set the host name {name:?}"))?;
        }
        if let Some(name) = spec.domainname().as_ref().filter(|it| !it.is_empty()) {
            rustix::system::setdomainname(name.as_bytes())
                .step(|| format!("set the domain name {name:?}"))?;
        }
        Ok(())
    }

    /// Writes kernel parameters: by the host's procfs, which nobody inside can have prepared, and
    /// which shows a process the parameters of its own namespaces.
    fn set_sysctls(&self) -> Result<(), Failure> {
        if self.plan.sysctls.is_empty() {
            return Ok(());
        }
        let directory = attributes::open_host_procfs("/proc/sys")?;
        for sysctl in &self.plan.sysctls {
            attributes::write_parameter(&directory, &sysctl.path, &sysctl.value)
                .step(|| format!("set the kernel parameter {}", sysctl.name))?;
        }
        Ok(())
    }

    fn make_console(
        &self,
        root: &Root,
        devpts: Option<OwnedFd>,
    ) -> Result<Option<Console>, Failure> {
        let Stdio::Terminal { size } = &self.request.stdio else { return Ok(None) };
        let process = &self.plan.process;
        let console = Console::make(root, devpts, size.or(process.console_size))?;
        console.bind(root)?;
        console.hand_over(self.channel, process.uid)?;
        Ok(Some(console))
    }

    /// As other runtimes do, a missing working directory is made.
    fn make_working_directory(&self, root: &Root) -> Result<(), Failure> {
        let directory = &self.plan.process.directory;
        match root.mkdir_all(directory, Mode::from_raw_mode(0o755)) {
            Ok(_made) => Ok(()),
            // Entering it will tell what is wrong with it, in better words.
            Err(_unusable) => Ok(()),
        }
    }

    /// The hooks between the mounts and the change of the root. Returns our pid as the parent sees
    /// it, if any hook will be told.
    fn run_hooks_before_pivot(&self) -> Result<Option<i32>, Failure> {
        let spec = self.request.spec;
        if !Point::ALL_BEFORE_START.iter().any(|it| it.has_hooks(spec)) {
            return Ok(None);
        }
        self.channel.send(&Report::Hooks).step(|| "ask for the runtime's hooks")?;
        let pid = self.channel.wait_for_go().step(|| "wait for the runtime's hooks")?;
        hooks::run(spec, Point::CreateContainer, &self.state("creating", pid))?;
        Ok(Some(pid))
    }

    fn state(&self, status: &str, pid: i32) -> Vec<u8> {
        let pid = Pid::from_raw(pid);
        let request = self.request;
        plan::state(request.spec, request.id, status, pid, request.bundle).to_string().into_bytes()
    }

    /// From the finished root filesystem to the executable.
    fn run(&self, made: Made) -> Result<Infallible, Failure> {
        let process = &self.plan.process;
        let streams = Streams::of(&self.request.stdio, made.console);
        // These hooks need the privileges that the process will not have; otherwise, what can be
        // done before the start is done before it.
        let ready = if Point::StartContainer.has_hooks(self.request.spec) {
            self.wait_at_gate()?;
            let state = self.state("created", made.host_pid.unwrap_or(0));
            hooks::run(self.request.spec, Point::StartContainer, &state)?;
            Ready::prepare(process, streams)?
        } else {
            let ready = Ready::prepare(process, streams)?;
            let ready = ready.confine_if_watched(process, self.channel)?;
            self.wait_at_gate()?;
            ready
        };
        ready.execute(&Final {
            process,
            labels: made.labels,
            preserve: self.request.preserve_fds,
            init: self.request.init,
            terminal: matches!(self.request.stdio, Stdio::Terminal { .. }),
            channel: self.voice(),
        })
    }

    /// Waits to be started. Through a socket, whoever starts it is told the rest.
    fn wait_at_gate(&self) -> Result<(), Failure> {
        self.channel.send(&Report::Ready).step(|| "say that we are ready")?;
        match self.listener {
            Some(listener) => {
                let starter = gate::wait(listener).step(|| "wait for the start")?;
                drop(self.starter.set(starter));
            }
            None => {
                self.channel.wait_for_go().step(|| "wait for the start")?;
            }
        }
        Ok(())
    }

    /// Whom to tell what goes wrong.
    fn voice(&self) -> &Channel {
        self.starter.get().unwrap_or(self.channel)
    }
}

/// What making a container leaves for running it.
struct Made {
    console: Option<Console>,
    labels: Labels,
    host_pid: Option<i32>,
}

/// Joins one namespace.
fn join_namespace(join: &Join) -> Result<(), Failure> {
    let kind = u32::try_from(join.flag).unwrap_or(0);
    move_into_thread_name_spaces(join.fd.as_fd(), ThreadNameSpaceType::from_bits_retain(kind))
        .step(|| format!("join the namespace {:?}", join.path))
}

/// The namespaces of a container that have to be joined before its process is born: the one that
/// owns others, the one that only children are in, and the one whose clocks are set only while
/// nobody is in it.
pub(crate) fn join_before_birth(namespaces: &Namespaces) -> Result<(), Failure> {
    for flag in [namespace::USER, namespace::PID] {
        if let Some(join) = namespaces.joined(flag) {
            join_namespace(join)?;
        }
    }
    if namespaces.new & namespace::TIME != 0 {
        unshare(namespace::TIME).step(|| "unshare the time namespace")?;
        if let Some(offsets) = &namespaces.time_offsets {
            std::fs::write("/proc/self/timens_offsets", offsets).step(|| "set the clocks")?;
        }
    }
    Ok(())
}

/// In a user namespace the host's root is nobody: what we make there has to belong to its root.
fn become_root_of_user_namespace() -> Result<(), Failure> {
    let (uid, gid) = (Uid::ROOT, Gid::ROOT);
    set_thread_res_gid(gid, gid, gid).step(|| "become group 0 of the user namespace")?;
    set_thread_res_uid(uid, uid, uid).step(|| "become user 0 of the user namespace")?;
    // May be forbidden in a namespace that an unprivileged user made; they are set again later.
    let _ = set_thread_groups(&[]);
    // The change of ids made us dumpable again, where the machine is set so.
    set_dumpable_behavior(DumpableBehavior::NotDumpable).step(|| "hide from tracers")
}
