//! The streams of processes: read, logged, sent on; and their input.
//!
//! **Invariant:** output is read before it is known who gets it: the log gets all of it.

use std::time::Instant;

use super::{BOTH, CHUNK, HUNG_UP, Supervisor};
use crate::{
    clock::Moment,
    log::Source,
    supervise::{
        connection::Reading,
        event::ProcessKey,
        process::{Phase, Read},
    },
};

impl Supervisor {
    /// Reads a stream once, logs it, and sends it to who is attached.
    pub(super) fn read_output(&mut self, key: ProcessKey, source: Source) -> Read {
        self.buffer.clear();
        self.buffer.reserve(CHUNK);
        let Some(process) = self.processes.get_mut(&key) else { return Read::End };
        let Some(output) = process.streams.output(source) else { return Read::End };
        let read = output.read(&mut self.buffer);
        match read {
            Read::Later => {}
            Read::Some => self.deliver(key, source),
            Read::End => self.end_output(key, source),
        }
        read
    }

    fn deliver(&mut self, key: ProcessKey, source: Source) {
        if let (ProcessKey::INIT, Some(log)) = (key, &mut self.log) {
            log.write(source, &self.buffer, Moment::now());
        }
        for connection in self.connections.values_mut() {
            if connection.wants(key, source) {
                connection.offer(source, &self.buffer, &self.poller);
            }
        }
        self.hold_or_release(key);
    }

    /// A stream has ended.
    fn end_output(&mut self, key: ProcessKey, source: Source) {
        let Some(process) = self.processes.get_mut(&key) else { return };
        if process.streams.terminal.is_some() && matches!(process.phase, Phase::Alive) {
            // Nobody has the terminal open, but its process may open it again.
            process.streams.poll_outputs(key, false, &self.poller);
            process.streams.look_again = Some(Instant::now() + HUNG_UP);
            return;
        }
        process.streams.close_output(source, &self.poller);
        if process.streams.is_drained() && matches!(process.phase, Phase::Draining { .. }) {
            self.finish(key);
        }
    }

    /// Lets a process's output wait while a connection is awaited, or go on.
    pub(in crate::supervise) fn hold_or_release(&mut self, key: ProcessKey) {
        let held = self.connections.values().any(|it| it.holds(key));
        if let Some(process) = self.processes.get_mut(&key)
            && process.streams.look_again.is_none()
        {
            process.streams.poll_outputs(key, !held, &self.poller);
        }
    }

    /// Reads all that there is now. A connection's patience is no concern at the end: less is
    /// left than fits its buffer.
    pub(super) fn drain(&mut self, key: ProcessKey) {
        for source in BOTH {
            while self.read_output(key, source) == Read::Some {}
        }
    }

    pub(super) fn push_input(&mut self, key: ProcessKey) {
        let Some(process) = self.processes.get_mut(&key) else { return };
        if process.streams.push_input(key, &self.poller) {
            for connection in self.connections.values_mut().filter(|it| it.feeds(key)) {
                connection.set_reading(Reading::On, &self.poller);
            }
        }
    }
}
