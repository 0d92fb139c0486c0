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

use super::{DatabaseError, definition, file::Shared};

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
    pub(super) fn start(shared: Arc<Shared>) -> Self {
        let (sender, receiver) = mpsc::channel();
        let thread = thread::Builder::new()
            .name("database".into())
            .spawn(move || commit_all(&shared, &receiver))
            .ok();
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

fn commit_all(shared: &Shared, submissions: &Receiver<Submission>) {
    let mut lazy_since: Option<Instant> = None;
    loop {
        let received = match lazy_since {
            None => submissions.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(since) => submissions.recv_timeout(LAZINESS.saturating_sub(since.elapsed())),
        };
        let mut group = match received {
            Ok(first) => vec![first],
            Err(RecvTimeoutError::Timeout) => Vec::new(),
            Err(RecvTimeoutError::Disconnected) if lazy_since.is_none() => return,
            Err(RecvTimeoutError::Disconnected) => {
                // The last flush has nobody to report to; the rows are in the file's next commit.
                commit(shared, &[], Durability::Immediate).unwrap_or_default();
                return;
            }
        };
        group.extend(submissions.try_iter().take(GROUP));
        let durable = group.is_empty() || group.iter().any(|it| it.durable);
        let durability = if durable { Durability::Immediate } else { Durability::None };
        let outcome = commit(shared, &group, durability);
        lazy_since = if durable { None } else { lazy_since.or_else(|| Some(Instant::now())) };
        for submission in group {
            // Whoever no longer waits need not know.
            submission.done.send(outcome.clone()).unwrap_or_default();
        }
    }
}

fn commit(
    shared: &Shared,
    group: &[Submission],
    durability: Durability,
) -> Result<(), Arc<redb::Error>> {
    let committed = shared.write(|file| {
        let mut transaction = file.begin_write()?;
        transaction.set_durability(durability)?;
        for change in group.iter().flat_map(|it| &it.changes) {
            let mut table = transaction.open_table(definition(change.table))?;
            match &change.value {
                Some(value) => drop(table.insert(change.key.as_str(), value.as_slice())?),
                None => drop(table.remove(change.key.as_str())?),
            }
        }
        Ok(transaction.commit()?)
    });
    if committed.is_err() {
        // After an error of the disk redb refuses everything until it is opened again. If that
        // fails too, the next write tries once more.
        shared.reopen().unwrap_or_default();
    }
    committed
}
