//! Listing containers.

use std::{collections::BTreeSet, sync::Arc};

use jiff::Timestamp;
use wadah_oci::Digest;

use super::{
    ask::ListQuery,
    container::Container,
    shared::Shared,
    show, status,
    view::{PortSummary, State, Summary},
};
use crate::{
    EngineError,
    config::{NetworkMode, PortSpec},
    filters::Filters,
    networks::Networks,
};

const FILTERS: &[&str] = &[
    "ancestor",
    "before",
    "expose",
    "exited",
    "health",
    "id",
    "isolation",
    "is-task",
    "label",
    "name",
    "network",
    "publish",
    "since",
    "status",
    "volume",
];

const STATES: &[&str] =
    &["created", "dead", "exited", "paused", "removing", "restarting", "running"];

/// The filters, with what they name found.
struct Wanted<'a> {
    filters: &'a Filters,
    exited: BTreeSet<i32>,
    before: Option<Timestamp>,
    since: Option<Timestamp>,
    ancestors: Vec<Digest>,
    networks: Vec<String>,
}

impl Shared {
    /// Lists containers, the newest first.
    pub(super) fn list(&self, query: &ListQuery) -> Result<Vec<Summary>, EngineError> {
        let wanted = self.wanted(&query.filters)?;
        let all = query.all
            || query.limit.is_some()
            || query.filters.has("status")
            || query.filters.has("exited");
        let mut containers = self.registry.all();
        containers.retain(|it| (all || it.state().is_running()) && wanted.fits(it));
        containers.sort_by(|a, b| {
            let key = |it: &Arc<Container>| (it.definition.created, it.id().clone());
            key(b).cmp(&key(a))
        });
        containers.truncate(query.limit.unwrap_or(usize::MAX));
        Ok(containers.iter().map(|it| self.summary(it)).collect())
    }

    fn wanted<'a>(&self, filters: &'a Filters) -> Result<Wanted<'a>, EngineError> {
        filters.check(FILTERS)?;
        let invalid = |filter: &str, value: &str| EngineError::InvalidFilter {
            filter: filter.to_owned(),
            value: value.to_owned(),
        };
        if let Some(value) =
            filters.values("status").iter().find(|it| !STATES.contains(&it.as_str()))
        {
            return Err(invalid("status", value));
        }
        let health = ["none", "starting", "healthy", "unhealthy"];
        if let Some(value) =
            filters.values("health").iter().find(|it| !health.contains(&it.as_str()))
        {
            return Err(invalid("health", value));
        }
        let code = |it: &String| it.parse::<i32>().map_err(|_| invalid("exited", it));
        let exited: Result<_, _> = filters.values("exited").iter().map(code).collect();
        for name in ["publish", "expose"] {
            for value in filters.values(name) {
                ports(value).ok_or_else(|| invalid(name, value))?;
            }
        }
        let created = |name: &str| -> Result<Option<Timestamp>, EngineError> {
            let reference = filters.values(name).first();
            reference.map(|it| Ok(self.registry.find(it)?.definition.created)).transpose()
        };
        let ancestors = filters.values("ancestor").iter();
        let ancestors = ancestors.filter_map(|it| self.images.resolve(it).ok().map(|it| it.id));
        Ok(Wanted {
            filters,
            exited: exited?,
            before: created("before")?,
            since: created("since")?,
            ancestors: ancestors.collect(),
            networks: filters.values("network").to_vec(),
        })
    }

    fn summary(&self, container: &Container) -> Summary {
        let definition = &container.definition;
        let (name, state) = {
            let now = container.now();
            (now.name.clone(), now.state.clone())
        };
        let network = show::network(container);
        let status = status::status(&state, Timestamp::now());
        Summary {
            id: definition.id.clone(),
            name,
            image: self.image_name(container),
            image_id: definition.image,
            command: definition.command.clone(),
            created: definition.created,
            ports: port_summaries(container, &network.ports),
            config: Arc::clone(&definition.config),
            host: Arc::clone(&definition.host),
            state,
            status,
            mounts: crate::spec::mounts::points(&definition.host),
            network,
            size: None,
        }
    }

    /// The image as it was asked for, unless that name means another one now.
    fn image_name(&self, container: &Container) -> String {
        let definition = &container.definition;
        let asked = &definition.config.image;
        match self.images.resolve(asked) {
            Ok(image) if image.id == definition.image => asked.clone(),
            _ => definition.image.to_string(),
        }
    }
}

impl Wanted<'_> {
    fn fits(&self, container: &Container) -> bool {
        let filters = self.filters;
        let definition = &container.definition;
        let (name, state) = {
            let now = container.now();
            (now.name.clone(), now.state.clone())
        };
        let created = definition.created;
        filters.any("id", |it| definition.id.as_str().starts_with(it))
            && filters.any("name", |it| is_named(name.as_str(), it))
            && filters.any("status", |it| state.name() == it)
            && filters.labels("label", &definition.config.labels)
            && filters.any("health", |it| it == "none")
            && filters.any("isolation", |it| it == "default")
            && filters.any("is-task", |it| it == "false" || it == "0")
            && (self.exited.is_empty() || self.has_exited(&state))
            && self.before.is_none_or(|it| created < it)
            && self.since.is_none_or(|it| created > it)
            && (!filters.has("ancestor") || self.ancestors.contains(&definition.image))
            && (self.networks.is_empty() || self.is_in_network(&definition.host.network_mode))
            && filters.any("volume", |it| has_mount(container, it))
            && self.has_port("publish", || show::published(container).into_keys().collect())
            && self.has_port("expose", || definition.config.exposed_ports.iter().copied().collect())
    }

    fn has_exited(&self, state: &State) -> bool {
        state.exited().is_some_and(|it| self.exited.contains(&it.code))
    }

    fn is_in_network(&self, mode: &NetworkMode) -> bool {
        let name = show::network_name(mode);
        self.networks.iter().any(|it| *it == name || Networks::id(&name).starts_with(it.as_str()))
    }

    fn has_port(&self, filter: &str, has: impl FnOnce() -> Vec<PortSpec>) -> bool {
        if !self.filters.has(filter) {
            return true;
        }
        let has = has();
        self.filters.any(filter, |it| {
            let wanted = ports(it);
            wanted.is_some_and(|(first, last)| {
                has.iter().any(|it| {
                    it.protocol == first.protocol && (first.port..=last).contains(&it.port)
                })
            })
        })
    }
}

/// Reads `80`, `80/udp`, `8000-8010/tcp`.
fn ports(text: &str) -> Option<(PortSpec, u16)> {
    let (numbers, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let (first, last) = numbers.split_once('-').unwrap_or((numbers, numbers));
    let first: PortSpec = format!("{first}/{protocol}").parse().ok()?;
    Some((first, last.parse().ok()?))
}

/// As in Docker: a part of the name, with `^` and `$` as its ends.
fn is_named(name: &str, wanted: &str) -> bool {
    let (start, wanted) = match wanted.strip_prefix('^') {
        Some(rest) => (true, rest),
        None => (false, wanted),
    };
    let (end, wanted) = match wanted.strip_suffix('$') {
        Some(rest) => (true, rest),
        None => (false, wanted),
    };
    let wanted = wanted.strip_prefix('/').unwrap_or(wanted);
    match (start, end) {
        (true, true) => name == wanted,
        (true, false) => name.starts_with(wanted),
        (false, true) => name.ends_with(wanted),
        (false, false) => name.contains(wanted),
    }
}

fn has_mount(container: &Container, wanted: &str) -> bool {
    let mounts = crate::spec::mounts::points(&container.definition.host);
    mounts.iter().any(|it| {
        it.name.as_deref() == Some(wanted) || it.destination == wanted || it.source == wanted
    })
}

fn port_summaries(
    container: &Container,
    published: &std::collections::BTreeMap<PortSpec, Vec<crate::config::PortBinding>>,
) -> Vec<PortSummary> {
    if !container.state().is_running() {
        return Vec::new();
    }
    let mut all = Vec::new();
    for (port, bindings) in published {
        let summary = |public, address| PortSummary {
            private: port.port,
            public,
            address,
            protocol: port.protocol,
        };
        if bindings.is_empty() {
            all.push(summary(None, None));
        }
        for binding in bindings {
            all.push(summary(binding.host_port.parse().ok(), binding.host_address));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_by_a_part_of_it_or_between_anchors() {
        assert!(is_named("web_1", "eb"));
        assert!(is_named("web_1", "^web"));
        assert!(is_named("web_1", "^/web_1$"));
        assert!(!is_named("web_1", "^eb"));
        assert!(!is_named("web_10", "_1$"));
    }

    #[test]
    fn ports_are_read_with_ranges_and_protocols() {
        assert_eq!(ports("80").unwrap().1, 80);
        let (first, last) = ports("8000-8010/udp").unwrap();
        assert_eq!((first.port, last, first.protocol.as_str()), (8000, 8010, "udp"));
        assert!(ports("web").is_none());
    }
}
