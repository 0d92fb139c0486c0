//! Events: what happened, for those who watch.
//!
//! **Invariant:** publishing never waits. History and every subscriber's queue are bounded; a
//! subscriber that falls behind is told that it has, and loses the oldest.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, PoisonError},
};

use jiff::Timestamp;
use tokio::sync::broadcast;

use crate::{EngineError, filters::Filters};

/// Events that are kept for those who ask for the past: Docker's number.
const HISTORY: usize = 256;

/// Events that a slow subscriber may be behind.
const BEHIND: usize = 4096;

const FILTERS: &[&str] = &[
    "config",
    "container",
    "daemon",
    "event",
    "image",
    "label",
    "network",
    "node",
    "plugin",
    "scope",
    "secret",
    "service",
    "type",
    "volume",
];

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A container.
    Container,
    /// An image.
    Image,
    /// A network.
    Network,
    /// A volume.
    Volume,
    /// The engine itself.
    Daemon,
}

impl Kind {
    /// Docker's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Image => "image",
            Self::Network => "network",
            Self::Volume => "volume",
            Self::Daemon => "daemon",
        }
    }
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// About what.
    pub kind: Kind,
    /// What: `start`, `die`, `exec_create: ls`, …
    pub action: String,
    /// The id of what it is about.
    pub actor: String,
    /// Facts: `name`, `image`, `exitCode`, labels.
    pub attributes: BTreeMap<String, String>,
    /// When.
    pub at: Timestamp,
}

/// The past, and those who watch.
#[derive(Debug)]
pub struct Events {
    history: Mutex<VecDeque<Event>>,
    watchers: broadcast::Sender<Event>,
}

/// Which events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventQuery {
    /// With the past since then, as far as it is kept.
    pub since: Option<Timestamp>,
    /// Not beyond this; if it is past, nothing is waited for.
    pub until: Option<Timestamp>,
    /// Further conditions.
    pub filters: Filters,
}

/// Events, from the past and as they happen.
#[derive(Debug)]
pub struct Subscription {
    past: VecDeque<Event>,
    live: broadcast::Receiver<Event>,
    query: EventQuery,
}

impl Default for Events {
    fn default() -> Self {
        Self { history: Mutex::default(), watchers: broadcast::Sender::new(BEHIND) }
    }
}

impl Events {
    /// Tells that something happened.
    pub fn publish(
        &self,
        kind: Kind,
        action: impl Into<String>,
        actor: impl Into<String>,
        attributes: BTreeMap<String, String>,
    ) {
        let (action, actor) = (action.into(), actor.into());
        let event = Event { kind, action, actor, attributes, at: Timestamp::now() };
        // Sent under the lock, so that a new subscriber sees each event once: as past or live.
        let mut history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        if history.len() == HISTORY {
            history.pop_front();
        }
        history.push_back(event.clone());
        let _nobody_watches = self.watchers.send(event);
    }

    /// How many watch.
    pub fn watchers(&self) -> usize {
        self.watchers.receiver_count()
    }

    /// Begins to watch.
    pub fn subscribe(&self, query: EventQuery) -> Result<Subscription, EngineError> {
        query.filters.check(FILTERS)?;
        let history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        let live = self.watchers.subscribe();
        let past = match query.since {
            // `until` alone asks for the past, too.
            None if query.until.is_none() => VecDeque::new(),
            since => history
                .iter()
                .filter(|it| since.is_none_or(|since| it.at >= since) && query.matches(it))
                .cloned()
                .collect(),
        };
        Ok(Subscription { past, live, query })
    }
}

impl Subscription {
    /// The next event; none when `until` has passed or the engine has shut down.
    pub async fn next(&mut self) -> Option<Event> {
        if let Some(event) = self.past.pop_front() {
            return Some(event);
        }
        let until = self.query.until;
        let rest = until.map(|it| it.duration_since(Timestamp::now()));
        let rest = rest.map(|it| it.try_into().unwrap_or(std::time::Duration::ZERO));
        match rest {
            None => self.next_live().await,
            Some(rest) => tokio::time::timeout(rest, self.next_live()).await.unwrap_or_default(),
        }
    }

    async fn next_live(&mut self) -> Option<Event> {
        loop {
            match self.live.recv().await {
                Ok(event) if self.query.matches(&event) => return Some(event),
                Ok(_) => {}
                Err(broadcast::error::RecvError::Lagged(count)) => {
                    tracing::warn!(count, "a watcher of events fell behind and lost some");
                }
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}

impl EventQuery {
    fn matches(&self, event: &Event) -> bool {
        let filters = &self.filters;
        self.until.is_none_or(|until| event.at <= until)
            && filters.any("type", |it| it == event.kind.as_str())
            && filters.any("event", |it| matches_action(it, &event.action))
            && filters.any("scope", |it| it == "local")
            && filters.labels("label", &event.attributes)
            && [Kind::Container, Kind::Image, Kind::Network, Kind::Volume, Kind::Daemon]
                .into_iter()
                .all(|kind| self.matches_actor(kind, event))
    }

    /// A filter by actor, as in `container=NAME`, also chooses the kind; an image's also chooses
    /// the containers made of it.
    fn matches_actor(&self, kind: Kind, event: &Event) -> bool {
        self.filters.any(kind.as_str(), |wanted| {
            let attribute = |name| event.attributes.get(name).is_some_and(|it| it == wanted);
            match kind {
                _ if event.kind == kind => {
                    event.actor == wanted
                        || attribute("name")
                        || (wanted.len() >= 4 && event.actor.starts_with(wanted))
                }
                Kind::Image => attribute("image"),
                Kind::Container => attribute("container"),
                _ => false,
            }
        })
    }
}

/// Exact, but for the actions that carry more behind a colon (`exec_start: ls -l`).
fn matches_action(wanted: &str, action: &str) -> bool {
    let carries_more = ["health_status", "exec_create", "exec_start"].contains(&wanted);
    action == wanted || (carries_more && action.starts_with(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publish(events: &Events, action: &str, actor: &str) {
        let attributes = BTreeMap::from([("image".to_owned(), "busybox".to_owned())]);
        events.publish(Kind::Container, action, actor, attributes);
    }

    fn query(since: bool, filters: &[(&str, &str)]) -> EventQuery {
        let one = |(name, value): &(&str, &str)| ((*name).to_owned(), vec![(*value).to_owned()]);
        let filters = Filters::new(filters.iter().map(one).collect());
        EventQuery { since: since.then_some(Timestamp::UNIX_EPOCH), until: None, filters }
    }

    #[tokio::test]
    async fn a_watcher_sees_the_past_then_the_present_once_each() {
        let events = Events::default();
        publish(&events, "create", "a");
        let mut watcher = events.subscribe(query(true, &[])).unwrap();
        publish(&events, "start", "a");
        assert_eq!(watcher.next().await.unwrap().action, "create");
        assert_eq!(watcher.next().await.unwrap().action, "start");
    }

    #[tokio::test]
    async fn only_events_that_match_are_told() {
        let events = Events::default();
        let mut watcher = events
            .subscribe(query(false, &[("event", "exec_start"), ("image", "busybox")]))
            .unwrap();
        publish(&events, "start", "a");
        publish(&events, "exec_start: ls", "a");
        assert_eq!(watcher.next().await.unwrap().action, "exec_start: ls");
    }

    #[tokio::test]
    async fn history_is_bounded() {
        let events = Events::default();
        for number in 0..HISTORY + 10 {
            publish(&events, "start", &number.to_string());
        }
        let mut watcher = events.subscribe(query(true, &[])).unwrap();
        assert_eq!(watcher.next().await.unwrap().actor, "10");
        assert_eq!(watcher.past.len(), HISTORY - 1);
    }
}
