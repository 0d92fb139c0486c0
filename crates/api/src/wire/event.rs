//! Events.

use std::collections::BTreeMap;

use serde::Serialize;
use wadah_engine::events::{Event, Kind};

use crate::{
    reply::to_json,
    version::{Gate, Version},
};

#[derive(Debug, Serialize)]
struct Message<'a> {
    #[serde(flatten)]
    legacy: Option<Legacy<'a>>,
    #[serde(rename = "Type")]
    kind: &'static str,
    #[serde(rename = "Action")]
    action: &'a str,
    #[serde(rename = "Actor")]
    actor: Actor<'a>,
    scope: &'static str,
    time: i64,
    #[serde(rename = "timeNano")]
    time_nano: i64,
}

/// Fields of the first version of events, for containers and images.
#[derive(Debug, Serialize)]
struct Legacy<'a> {
    status: &'a str,
    id: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    from: &'a str,
}

#[derive(Debug, Serialize)]
struct Actor<'a> {
    #[serde(rename = "ID")]
    id: &'a str,
    #[serde(rename = "Attributes")]
    attributes: &'a BTreeMap<String, String>,
}

/// An event as JSON, without a line feed.
pub(crate) fn event(event: &Event, version: Version) -> Vec<u8> {
    let is_old_kind = matches!(event.kind, Kind::Container | Kind::Image);
    let image = event.attributes.get("image").map_or("", String::as_str);
    let legacy = Legacy {
        status: &event.action,
        id: &event.actor,
        from: if event.kind == Kind::Container { image } else { "" },
    };
    let nanoseconds = event.at.as_nanosecond();
    to_json(&Message {
        legacy: (is_old_kind && !version.has(Gate::NoLegacyEvents)).then_some(legacy),
        kind: event.kind.as_str(),
        action: &event.action,
        actor: Actor { id: &event.actor, attributes: &event.attributes },
        scope: "local",
        time: event.at.as_second(),
        time_nano: i64::try_from(nanoseconds).unwrap_or(i64::MAX),
    })
}
