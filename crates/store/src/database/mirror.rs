//! A second copy of all records, in a file of its own, a moment behind the first.
//!
//! Any one file can be truncated, flipped or deleted. Layers and blobs say themselves what they
//! are; records do not, so they are kept twice. Nobody waits for the copy: it is committed by a
//! thread of its own, a few times a second at most.
//!
//! **Invariant:** a copy says with which commit of the first file it is in step. One that is not
//! in step is made anew from it at the next opening.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        mpsc::{self, Receiver, Sender},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{
    file::{self, Shared},
    writer::Change,
};

/// How long changes are gathered before the copy is committed.
const GATHER: Duration = Duration::from_millis(250);

/// The thread that keeps the copy.
#[derive(Debug)]
pub(super) struct Mirror {
    commits: Option<Sender<Commit>>,
    thread: Option<JoinHandle<()>>,
}

/// What one commit changed.
#[derive(Debug)]
pub(super) struct Commit {
    pub(super) sequence: u64,
    pub(super) changes: Vec<Change>,
}

/// Where the copy of the file at `path` is.
pub(super) fn path_of(path: &Path) -> PathBuf {
    path.with_extension("copy.redb")
}

impl Mirror {
    /// Starts to keep the copy `found`; makes it anew if there is none that is in step.
    pub(super) fn start(shared: Arc<Shared>, found: Option<redb::Database>) -> Self {
        let (commits, received) = mpsc::channel();
        let keeper = Keeper { path: path_of(shared.path()), shared, copy: found };
        let thread = thread::Builder::new()
            .name("records-copy".into())
            .spawn(move || keeper.keep(&received))
            .ok();
        Self { commits: Some(commits), thread }
    }

    /// Has a commit copied.
    pub(super) fn note(&self, commit: Commit) {
        if let Some(commits) = &self.commits {
            // Without the thread the copy falls behind, and is made anew at the next opening.
            commits.send(commit).unwrap_or_default();
        }
    }
}

impl Drop for Mirror {
    /// Brings the copy in step.
    fn drop(&mut self) {
        self.commits = None;
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap_or_default();
        }
    }
}

struct Keeper {
    path: PathBuf,
    shared: Arc<Shared>,
    /// None while it is not in step.
    copy: Option<redb::Database>,
}

impl Keeper {
    fn keep(mut self, received: &Receiver<Commit>) {
        if self.copy.is_none() {
            self.make_anew();
        }
        while let Ok(first) = received.recv() {
            let mut commits = vec![first];
            let until = Instant::now() + GATHER;
            while let Ok(next) =
                received.recv_timeout(until.saturating_duration_since(Instant::now()))
            {
                commits.push(next);
            }
            let copied = self.copy.as_ref().map(|copy| apply(copy, &commits));
            if !matches!(copied, Some(Ok(()))) {
                // Of a full disk, for example. A copy that cannot be made stays out of step.
                self.make_anew();
            }
        }
    }

    fn make_anew(&mut self) {
        self.copy = None;
        self.copy = self.shared.read(|file| file::copy(file, &self.path)).ok();
    }
}

fn apply(copy: &redb::Database, commits: &[Commit]) -> Result<(), redb::Error> {
    let transaction = copy.begin_write()?;
    for commit in commits {
        file::change(&transaction, commit.sequence, &commit.changes)?;
    }
    Ok(transaction.commit()?)
}
