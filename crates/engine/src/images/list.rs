//! Listing images.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use wadah_oci::{Digest, Reference};

use super::{ImageError, Images, Known, State, pattern};
use crate::filters::Filters;

/// Which images.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// Also those without a name that others were built on.
    pub all: bool,
    /// `before`, `since`, `until`, `dangling`, `label`, `label!`, `reference`.
    pub filters: Filters,
}

/// A line of the listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// The image.
    pub id: Digest,
    /// The image it was built on.
    pub parent: Option<Digest>,
    /// Its tags, as far as they match.
    pub repo_tags: Vec<String>,
    /// Its digests, as far as they match.
    pub repo_digests: Vec<String>,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// The sum of the sizes of its layers' files.
    pub size: u64,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The manifest it came with.
    pub manifest: Option<Digest>,
}

const FILTERS: &[&str] = &["before", "since", "until", "dangling", "label", "label!", "reference"];

/// The filters, understood.
struct Wanted<'a> {
    filters: &'a Filters,
    before: Option<Timestamp>,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    dangling: Option<bool>,
}

impl Images {
    /// Lists images, the newest first.
    pub fn list(&self, listing: &Listing) -> Result<Vec<Summary>, ImageError> {
        let state = self.state();
        let wanted = Wanted::new(&listing.filters, &state)?;
        let mut names: BTreeMap<Digest, Vec<&Reference>> = BTreeMap::new();
        for (name, record) in &state.references {
            names.entry(record.image).or_default().push(name);
        }
        let parents: std::collections::BTreeSet<Digest> =
            state.images.values().filter_map(|it| it.record.parent).collect();
        let mut summaries = Vec::new();
        for (id, known) in &state.images {
            let names = names.remove(id).unwrap_or_default();
            let is_intermediate = names.is_empty() && parents.contains(id);
            if (listing.all || !is_intermediate) && wanted.has(known) {
                summaries.extend(wanted.summary(*id, known, &names)?);
            }
        }
        summaries.sort_by_key(|it: &Summary| std::cmp::Reverse(it.created));
        Ok(summaries)
    }
}

impl<'a> Wanted<'a> {
    fn new(filters: &'a Filters, state: &State) -> Result<Self, ImageError> {
        if let Err(crate::EngineError::InvalidFilter { filter, value }) = filters.check(FILTERS) {
            return Err(ImageError::Filter { filter, value });
        }
        let created = |name: &str| -> Result<Option<Timestamp>, ImageError> {
            let times = filters.values(name).iter().map(|it| {
                let id = state.find(it)?;
                Ok(state.images[&id].config.created.unwrap_or(Timestamp::MIN))
            });
            let times: Vec<Timestamp> = times.collect::<Result<_, ImageError>>()?;
            Ok(match name {
                "before" => times.into_iter().min(),
                _ => times.into_iter().max(),
            })
        };
        Ok(Self {
            before: created("before")?,
            since: created("since")?,
            until: single(filters, "until", |it| moment(it, Timestamp::now()))?,
            dangling: single(filters, "dangling", boolean)?,
            filters,
        })
    }

    fn has(&self, known: &Known) -> bool {
        let created = known.config.created.unwrap_or(Timestamp::MIN);
        let labels = &known.config.defaults.labels;
        self.before.is_none_or(|it| created < it)
            && self.since.is_none_or(|it| created > it)
            && self.until.is_none_or(|it| created < it)
            && self.filters.labels("label", labels)
            && (!self.filters.has("label!") || !self.filters.labels("label!", labels))
    }

    fn summary(
        &self,
        id: Digest,
        known: &Known,
        names: &[&Reference],
    ) -> Result<Option<Summary>, ImageError> {
        let is_dangling = !names.iter().any(|it| it.tag().is_some());
        if self.dangling.is_some_and(|it| it != is_dangling) {
            return Ok(None);
        }
        let mut matching = Vec::new();
        for name in names {
            if self.matches(name)? {
                matching.push(*name);
            }
        }
        if self.filters.has("reference") && matching.is_empty() {
            return Ok(None);
        }
        let familiar = |is_digest: bool| {
            let names = matching.iter().filter(move |it| it.digest().is_some() == is_digest);
            names.map(|it| it.familiar()).collect()
        };
        Ok(Some(Summary {
            id,
            parent: known.record.parent,
            repo_tags: familiar(false),
            repo_digests: familiar(true),
            created: known.config.created,
            size: known.record.size,
            labels: known.config.defaults.labels.clone(),
            manifest: known.record.manifest,
        }))
    }

    fn matches(&self, name: &Reference) -> Result<bool, ImageError> {
        let patterns = self.filters.values("reference");
        for wanted in patterns {
            let invalid =
                || ImageError::Filter { filter: "reference".into(), value: wanted.clone() };
            let whole = pattern::matches(wanted, &name.familiar()).ok_or_else(invalid)?;
            let repository = pattern::matches(wanted, &name.familiar_name()).ok_or_else(invalid)?;
            if whole || repository {
                return Ok(true);
            }
        }
        Ok(patterns.is_empty())
    }
}

/// A filter that has one meaning, however often it is given.
fn single<T: PartialEq>(
    filters: &Filters,
    filter: &str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, ImageError> {
    let invalid = |value: &str| ImageError::Filter { filter: filter.into(), value: value.into() };
    let mut found = None;
    for value in filters.values(filter) {
        let parsed = parse(value).ok_or_else(|| invalid(value))?;
        match &found {
            Some(other) if *other != parsed => return Err(invalid(value)),
            _ => found = Some(parsed),
        }
    }
    Ok(found)
}

fn boolean(value: &str) -> Option<bool> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// A moment as Docker takes it: seconds from the epoch, RFC 3339, or how long ago (`1h30m`).
fn moment(value: &str, now: Timestamp) -> Option<Timestamp> {
    if let Ok(seconds) = value.parse::<i64>() {
        return Timestamp::from_second(seconds).ok();
    }
    if let Ok(seconds) = value.parse::<f64>() {
        let ago = SignedDuration::try_from_secs_f64(seconds).ok()?;
        return Timestamp::UNIX_EPOCH.checked_add(ago).ok();
    }
    if let Ok(moment) = value.parse::<Timestamp>() {
        return Some(moment);
    }
    if let Ok(local) = value.parse::<jiff::civil::DateTime>() {
        return local.to_zoned(jiff::tz::TimeZone::system()).ok().map(|it| it.timestamp());
    }
    let ago: SignedDuration = value.parse().ok()?;
    now.checked_sub(ago).ok()
}
