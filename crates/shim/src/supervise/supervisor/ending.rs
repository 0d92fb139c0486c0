//! The end of processes.
//!
//! **Invariant:** a process's end is told after its output was read, and the container's after it
//! was written down.

use std::{os::fd::AsFd, time::Instant};

use rustix::process::{WaitOptions, WaitStatus, wait, waitpid};

use super::{BOTH, DRAIN, Supervisor};
use crate::{
    clock::Moment,
    protocol::{self, Exit, Message},
    supervise::{connection::Reading, event::ProcessKey, process::Phase},
};

impl Supervisor {
    pub(super) fn reap(&mut self) {
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            let ours = self.processes.iter().find(|(_, it)| it.pid == pid && it.is_alive());
            // Others are orphans that the kernel gave us.
            if let Some((&key, _)) = ours {
                self.ended(key, status);
            }
        }
    }

    fn ended(&mut self, key: ProcessKey, status: WaitStatus) {
        let oom = self.container.look_for_ooms();
        if oom {
            self.tell_subscribers(&protocol::Event::Oom, None);
        }
        let exit = self.exit_of(status);
        if key == ProcessKey::INIT {
            self.container.kill_rest();
        }
        if let Some(process) = self.processes.get_mut(&key) {
            process.streams.look_again = None;
            process.streams.close_input(&self.poller);
            process.phase = Phase::Draining { exit, until: Instant::now() + DRAIN };
            process.streams.poll_outputs(key, true, &self.poller);
        }
        self.drain(key);
        // It may have had no stream that was still open.
        if self.processes.get(&key).is_some_and(|it| it.streams.is_drained()) {
            self.finish(key);
        }
    }

    fn exit_of(&self, status: WaitStatus) -> Exit {
        let signal = status.terminating_signal();
        let code = status.exit_status().or(signal.map(|it| 128 + it)).unwrap_or(255);
        let oom_killed = self.container.had_oom();
        Exit { code, signal, oom_killed, at: Moment::now().nanoseconds(), error: None }
    }

    /// A process has ended and its output was read.
    pub(super) fn finish(&mut self, key: ProcessKey) {
        let Some(mut process) = self.processes.remove(&key) else { return };
        let Phase::Draining { exit, .. } = process.phase else { return };
        for source in BOTH {
            process.streams.close_output(source, &self.poller);
        }
        let event = match process.exec {
            None => {
                self.finish_log();
                self.container.stop(&exit);
                protocol::Event::Exited(exit)
            }
            Some(id) => {
                self.container.exec_ended(&id, exit.clone());
                protocol::Event::ExecExited { id, exit }
            }
        };
        for connection in self.connections.values_mut().filter(|it| it.is_attached_to(key)) {
            connection.end_output(&self.poller);
        }
        self.tell_subscribers(&event, Some(key));
        for connection in self.connections.values_mut().filter(|it| it.is_attached_to(key)) {
            connection.set_reading(Reading::On, &self.poller);
            if !connection.subscribed {
                connection.finish(&self.poller);
            }
        }
        if key == ProcessKey::INIT {
            // After everyone was told, because it takes its time.
            self.container.delete_cgroup();
            self.await_dismissal();
        }
    }

    /// The container could not be started, and nothing is left of its process.
    pub(in crate::supervise) fn forget_init(&mut self) {
        self.processes.remove(&ProcessKey::INIT);
        self.finish_log();
        self.await_dismissal();
    }

    /// Ends a container that was not started, and waits for its end.
    pub(in crate::supervise) fn abandon(&mut self) {
        if let Some(process) = self.processes.get(&ProcessKey::INIT) {
            let pid = process.pid;
            // It waits at its gate, where nothing keeps it from dying at once.
            drop(wadah_sys::process::pidfd_kill(process.pidfd.as_fd(), 9));
            if let Ok(Some((_, status))) = waitpid(Some(pid), WaitOptions::empty()) {
                self.ended(ProcessKey::INIT, status);
            }
        }
    }

    fn finish_log(&mut self) {
        if let Some(mut log) = self.log.take() {
            for source in BOTH {
                log.finish(source, Moment::now());
            }
        }
    }

    /// Tells those who asked to be told, and those attached to the process it is about.
    pub(super) fn tell_subscribers(&mut self, event: &protocol::Event, about: Option<ProcessKey>) {
        let message = Message::Event(event.clone());
        for connection in self.connections.values_mut() {
            if connection.subscribed || about.is_some_and(|key| connection.is_attached_to(key)) {
                connection.tell(&message, &self.poller);
            }
        }
    }
}
