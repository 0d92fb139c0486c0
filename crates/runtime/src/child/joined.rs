//! A process that joins a running container.

use std::convert::Infallible;

use rustix::process::{
    DumpableBehavior, Signal, set_dumpable_behavior, set_parent_process_death_signal, setsid,
};
use wadah_sys::{process::reset_signals, rootfs::Root};

use super::{
    Console, attributes, become_root_of_user_namespace,
    execute::{Final, Ready, Streams},
    label::{Labels, private_attributes},
};
use crate::{
    ExecRequest, Stdio,
    cgroup::JoinPlan,
    channel::{Channel, Context, Failure, Report},
    plan::ProcessPlan,
};

/// All that a process needs to join a container. It is born in the container's namespaces.
pub(crate) struct Guest<'a> {
    /// What was asked.
    pub(crate) request: &'a ExecRequest<'a>,
    /// What was planned.
    pub(crate) process: &'a ProcessPlan,
    /// Whether the container has a user namespace.
    pub(crate) in_user_namespace: bool,
    /// How to enter the control groups.
    pub(crate) join: Option<&'a JoinPlan>,
    /// To the parent.
    pub(crate) channel: &'a Channel,
}

impl Guest<'_> {
    /// Lives; returns an exit code only when something failed, after telling the parent.
    pub(crate) fn live(&self) -> i32 {
        let channel = self.channel;
        let Err(failure) = self.join();
        drop(channel.send(&Report::Failed(failure)));
        1
    }

    fn join(&self) -> Result<Infallible, Failure> {
        set_dumpable_behavior(DumpableBehavior::NotDumpable).step(|| "hide from tracers")?;
        reset_signals();
        if self.request.parent_death_signal {
            let kill = Some(Signal::KILL);
            set_parent_process_death_signal(kill).step(|| "bind our life to our parent's")?;
        }
        setsid().step(|| "start a session")?;
        if let Some(join) = self.join {
            join.enter().step(|| "enter the control groups")?;
        }
        if self.in_user_namespace {
            become_root_of_user_namespace()?;
        }
        let labels = Labels::open(self.process, &private_attributes)?;
        attributes::apply(self.process)?;
        let console = self.make_console()?;
        let streams = Streams::of(&self.request.stdio, console);
        let ready = Ready::prepare(self.process, streams)?;
        ready.execute(&Final {
            process: self.process,
            labels,
            preserve: self.request.preserve_fds,
            init: false,
            terminal: false,
            channel: self.channel,
        })
    }

    fn make_console(&self) -> Result<Option<Console>, Failure> {
        let Stdio::Terminal { size } = &self.request.stdio else { return Ok(None) };
        let root = Root::open(std::path::Path::new("/")).step(|| "open the root")?;
        let console = Console::make(&root, None, size.or(self.process.console_size))?;
        console.hand_over(self.channel, self.process.uid)?;
        Ok(Some(console))
    }
}
