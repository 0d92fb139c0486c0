//! Reading logs.
//!
//! The shim writes the files; here they are read, also while they are written and rotated. How
//! a log is followed: the reader goes to the end, waits until something in the container's
//! directory changes or the container ends, and reads on.
//!
//! **Invariant:** a reader whose client goes away ends, and one client's reader holds up nothing
//! else.

mod entry;
mod files;
mod notice;

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::sync::mpsc;

use super::{
    ask::LogQuery,
    container::Container,
    log_options::{self, LogTarget},
    shared::Shared,
};
use crate::{
    EngineError,
    stream::{Chunk, QUEUE, Stream},
};

use entry::Entry;
use files::LogFiles;
use notice::Notice;

impl Shared {
    /// Begins to read a log.
    pub(super) fn logs(
        self: &Arc<Self>,
        container: &Arc<Container>,
        query: LogQuery,
    ) -> Result<mpsc::Receiver<Chunk>, EngineError> {
        let LogTarget::File { max_files, .. } = log_options::parse(&container.definition.host.log)?
        else {
            return Err(EngineError::LogNotReadable);
        };
        let (sender, receiver) = mpsc::channel(QUEUE);
        let path = self.log_path(container.id());
        let reader = Reader {
            shared: Arc::clone(self),
            container: Arc::clone(container),
            // What does not run is not waited for: as Docker has it.
            follow: query.follow && container.state().is_running(),
            query,
            to: sender,
        };
        let files = LogFiles::new(path, max_files);
        self.tasks.spawn_until_closing(async move {
            let id = reader.container.id().clone();
            if let Err(error) = reader.read(files).await {
                tracing::warn!(%id, error = error.report(), "a log is not read to its end");
            }
        });
        Ok(receiver)
    }
}

struct Reader {
    shared: Arc<Shared>,
    container: Arc<Container>,
    query: LogQuery,
    follow: bool,
    to: mpsc::Sender<Chunk>,
}

impl Reader {
    async fn read(self, files: LogFiles) -> Result<(), EngineError> {
        let mut life = self.container.life();
        // Watched from before the first look: no change is missed.
        let notice = if self.follow { Some(Notice::of(files.directory())) } else { None };
        let tail = self.query.tail;
        let mut files = self.shared.tasks.block(move || files.open(tail)).await?;
        loop {
            let has_ended = !life.borrow_and_update().running;
            loop {
                let read = self.shared.tasks.block(move || files.read()).await?;
                files = read.0;
                if read.1.is_empty() {
                    break;
                }
                for entry in read.1 {
                    if !self.send(entry).await {
                        return Ok(());
                    }
                }
            }
            let Some(notice) = notice.as_ref().filter(|_| !has_ended) else { return Ok(()) };
            tokio::select! {
                () = self.to.closed() => return Ok(()),
                () = notice.changed() => {}
                _ = life.changed() => {}
                () = until(self.query.until) => return Ok(()),
            }
        }
    }

    /// Gives an entry to the client; whether it wants more.
    async fn send(&self, entry: Entry) -> bool {
        let query = &self.query;
        if query.until.is_some_and(|it| entry.time > it) {
            return false;
        }
        let is_wanted = match entry.stream {
            Stream::Stdout => query.stdout,
            Stream::Stderr => query.stderr,
        };
        if !is_wanted || query.since.is_some_and(|it| entry.time < it) {
            return !self.to.is_closed();
        }
        let chunk = entry.into_chunk(query.timestamps, query.details);
        self.to.send(chunk).await.is_ok()
    }
}

/// Is done when the moment has come; never, if there is none.
async fn until(moment: Option<Timestamp>) {
    match moment {
        None => std::future::pending().await,
        Some(moment) => {
            let rest = moment.duration_since(Timestamp::now());
            let rest: Duration = rest.try_into().unwrap_or(Duration::ZERO);
            tokio::time::sleep(rest).await;
        }
    }
}
