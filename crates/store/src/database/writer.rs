//! The one thread that commits: what waits is committed together.
//!
//! **Invariant:** changes are applied in the order they were submitted.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use redb::Durability;

use super::{
    DatabaseError,
    file::{self, Shared},
    mirror::{Commit, Mirror},
};

/// How long a lazy change may stay in memory only.
pub(super) const LAZINESS: Duration = Duration::from_millis(500);
/// How many submissions one commit takes at most.
const GROUP: usize = 512;

/// A row to be written, or removed.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) table: &'static str,
    pub(super) key: String,
    pub(super) value: Option<Vec<u8>>,
}

/// A change on its way to the disk.
#[derive(Debug)]
#[must_use = "a change is durable only once it has been waited for"]
pub struct Pending(Receiver<Result<(), Arc<redb::Error>>>);

#[derive(Debug)]
pub(super) struct Writer {
    submissions: Option<Mutex<Sender<Submission>>>,
    thread: Option<JoinHandle<()>>,
}

struct Submission {
    changes: Vec<Change>,
    durable: bool,
    done: SyncSender<Result<(), Arc<redb::Error>>>,
}

impl Pending {
    /// Waits until the change is durable (visible, for a lazy one).
    pub fn wait(self) -> Result<(), DatabaseError> {
        let outcome = self.0.recv().map_err(|_| DatabaseError::Closed)?;
        outcome.map_err(|source| DatabaseError::File { act: "write", source })
    }
}

impl Writer {
    /// Starts to commit to the file, and to its copy.
    pub(super) fn start(shared: Arc<Shared>, copy: Option<redb::Database>) -> Self {
        let (sender, receiver) = mpsc::channel();
        let committer = move || {
            let mirror = Mirror::start(Arc::clone(&shared), copy);
            let sequence = shared.read(file::sequence).unwrap_or_default();
            Committer { shared, mirror, sequence }.commit_all(&receiver);
        };
        let thread = thread::Builder::new().name("records".into()).spawn(committer).ok();
        Self { submissions: Some(Mutex::new(sender)), thread }
    }

    pub(super) fn submit(&self, changes: Vec<Change>, durable: bool) -> Pending {
        let (done, outcome) = mpsc::sync_channel(1);
        if let Some(submissions) = &self.submissions {
            let submissions = submissions.lock().unwrap_or_else(PoisonError::into_inner);
            // A thread that is gone drops the submission, and waiting for it says `Closed`.
            submissions.send(Submission { changes, durable, done }).unwrap_or_default();
        }
        Pending(outcome)
    }
}

impl Drop for Writer {
    /// Commits what is still waiting.
    fn drop(&mut self) {
        self.submissions = None;
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap_or_default();
        }
    }
}

struct Committer {
    shared: Arc<Shared>,
    mirror: Mirror,
    sequence: u64,
}

impl Committer {
    fn commit_all(mut self, submissions: &Receiver<Submission>) {
        let mut lazy_since: Option<Instant> = None;
        loop {
            let received = match lazy_since {
                None => submissions.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(since) => submissions.recv_timeout(LAZINESS.saturating_sub(since.elapsed())),
            };
            let mut group = match received {
                Ok(first) => vec![first],
                Err(RecvTimeoutError::Timeout) => Vec::new(),
                Err(RecvTimeoutError::Disconnected) => {
                    if lazy_since.is_some() {
                        // Whoever put lazily, and has gone, is not told of an error.
                        self.commit(Vec::new(), Durability::Immediate).unwrap_or_default();
                    }
                    return;
                }
            };
            group.extend(submissions.try_iter().take(GROUP));
            let durable = group.is_empty() || group.iter().any(|it| it.durable);
            let durability = if durable { Durability::Immediate } else { Durability::None };
            let split = |it: Submission| (it.changes, it.done);
            let (changes, waiting): (Vec<_>, Vec<_>) = group.into_iter().map(split).unzip();
            let outcome = self.commit(changes.into_iter().flatten().collect(), durability);
            lazy_since = if durable { None } else { lazy_since.or_else(|| Some(Instant::now())) };
            for done in waiting {
                // Whoever no longer waits need not know.
                done.send(outcome.clone()).unwrap_or_default();
            }
        }
    }

    fn commit(
        &mut self,
        changes: Vec<Change>,
        durability: Durability,
    ) -> Result<(), Arc<redb::Error>> {
        let sequence = self.sequence + 1;
        let committed = self.shared.write(|file| {
            let mut transaction = file.begin_write()?;
            transaction.set_durability(durability)?;
            file::change(&transaction, sequence, &changes)?;
            Ok(transaction.commit()?)
        });
        match &committed {
            Ok(()) => {
                self.sequence = sequence;
                self.mirror.note(Commit { sequence, changes });
            }
            // After an error of the disk redb refuses everything until it is opened again. If
            // that fails too, the next write tries once more.
            Err(_) => self.shared.reopen().unwrap_or_default(),
        }
        committed
    }
}
