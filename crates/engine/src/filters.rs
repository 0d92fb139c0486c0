//! Filters, as every listing of Docker's takes them.
//!
//! **Invariant:** an unknown filter is an error, never a filter that matches everything.

use std::collections::BTreeMap;

use crate::EngineError;

/// Filters by name: all names must match, and of each name's values at least one (labels: all).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filters(BTreeMap<String, Vec<String>>);

impl Filters {
    /// Takes what a client gave.
    pub fn new(filters: BTreeMap<String, Vec<String>>) -> Self {
        Self(filters)
    }

    /// Whether nothing was asked for.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Refuses filters that are not in `known`.
    pub fn check(&self, known: &[&str]) -> Result<(), EngineError> {
        match self.0.keys().find(|it| !known.contains(&it.as_str())) {
            None => Ok(()),
            Some(filter) => {
                Err(EngineError::InvalidFilter { filter: filter.clone(), value: String::new() })
            }
        }
    }

    /// The values of one filter; none if it was not given.
    pub fn values(&self, name: &str) -> &[String] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    /// Whether the filter was given.
    pub fn has(&self, name: &str) -> bool {
        !self.values(name).is_empty()
    }

    /// Whether no value of `name` was given, or `matches` holds for one of them.
    pub fn any(&self, name: &str, matches: impl FnMut(&str) -> bool) -> bool {
        let values = self.values(name);
        values.is_empty() || values.iter().map(String::as_str).any(matches)
    }

    /// Whether `labels` has every `key` or `key=value` of the filter `name`.
    pub fn labels(&self, name: &str, labels: &BTreeMap<String, String>) -> bool {
        self.values(name).iter().all(|wanted| match wanted.split_once('=') {
            None => labels.contains_key(wanted),
            Some((key, value)) => labels.get(key).is_some_and(|it| it == value),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filters(pairs: &[(&str, &[&str])]) -> Filters {
        let owned = |values: &[&str]| values.iter().map(|it| (*it).to_owned()).collect();
        Filters(pairs.iter().map(|(name, it)| ((*name).to_owned(), owned(it))).collect())
    }

    #[test]
    fn every_label_must_match() {
        let labels = BTreeMap::from([("a".to_owned(), "1".to_owned())]);
        assert!(filters(&[("label", &["a"])]).labels("label", &labels));
        assert!(filters(&[("label", &["a=1", "a"])]).labels("label", &labels));
        assert!(!filters(&[("label", &["a=1", "b"])]).labels("label", &labels));
        assert!(!filters(&[("label", &["a=2"])]).labels("label", &labels));
        assert!(filters(&[]).labels("label", &labels));
    }

    #[test]
    fn an_unknown_filter_is_refused_by_name() {
        let error = filters(&[("colour", &["red"])]).check(&["name"]).unwrap_err();
        assert_eq!(error.to_string(), "invalid filter 'colour'");
    }

    #[test]
    fn one_value_of_a_filter_suffices() {
        let given = filters(&[("name", &["x", "y"])]);
        assert!(given.any("name", |it| it == "y"));
        assert!(!given.any("name", |it| it == "z"));
        assert!(given.any("id", |_| false));
    }
}
