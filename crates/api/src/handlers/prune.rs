//! `POST /containers/prune`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use wadah_engine::{
    containers::{Containers, ListQuery, Remove, Summary},
    events::{Events, Kind},
    filters::Filters,
};

use crate::{call::Call, error::ApiError, filters, reply::Reply, wire};

/// The filters there are.
const FILTERS: &[&str] = &["label", "label!", "until"];

/// States of containers that nobody would miss.
const STOPPED: [&str; 3] = ["created", "exited", "dead"];

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Pruned {
    containers_deleted: Option<Vec<String>>,
    space_reclaimed: u64,
}

/// Removes every stopped container that the filters let through.
pub(crate) async fn prune(
    containers: &Containers,
    events: &Events,
    call: &Call,
) -> Result<Reply, ApiError> {
    let filters = filters::parse(&call.query)?;
    filters.check(FILTERS)?;
    let until = filters.values("until").first();
    let until = until.map(|it| wire::parse_moment("until", it, Timestamp::now())).transpose()?;
    let query =
        ListQuery { all: true, size: true, filters: wanted(&filters), ..ListQuery::default() };
    let mut pruned = Pruned::default();
    for summary in containers.list(&query).await? {
        if until.is_some_and(|until| summary.created >= until) || is_spared(&filters, &summary) {
            continue;
        }
        // One that was started, or removed by someone else, meanwhile is not an error.
        if containers.remove(summary.id.as_str(), Remove::default()).await.is_ok() {
            pruned.space_reclaimed += summary.size.map_or(0, |it| it.writable);
            pruned.containers_deleted.get_or_insert_default().push(summary.id.to_string());
        }
    }
    let reclaimed = ("reclaimed".to_owned(), pruned.space_reclaimed.to_string());
    events.publish(Kind::Container, "prune", "", BTreeMap::from([reclaimed]));
    Ok(Reply::json(&pruned))
}

/// The listing's filters: the states, and the labels that were asked for.
fn wanted(filters: &Filters) -> Filters {
    let states = STOPPED.iter().map(|it| (*it).to_owned()).collect();
    let labels = filters.values("label").to_vec();
    Filters::new(BTreeMap::from([("status".to_owned(), states), ("label".to_owned(), labels)]))
}

/// Whether one of the labels of `label!` spares the container.
fn is_spared(filters: &Filters, summary: &Summary) -> bool {
    let labels = &summary.config.labels;
    filters.values("label!").iter().any(|it| match it.split_once('=') {
        None => labels.contains_key(it),
        Some((key, value)) => labels.get(key).is_some_and(|it| it == value),
    })
}
