//! Filters: `--filter KEY=VALUE`, as the daemon takes them.

use std::collections::BTreeMap;

use crate::flag::Invalid;

/// Values by key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Filters(BTreeMap<String, Vec<String>>);

impl Filters {
    /// Adds a filter.
    pub(crate) fn add(&mut self, text: &str) -> Result<(), Invalid> {
        if text.is_empty() {
            return Ok(());
        }
        let (key, value) = text
            .split_once('=')
            .ok_or_else(|| Invalid(format!("invalid filter '{text}' (should be name=value)")))?;
        let key = key.trim().to_ascii_lowercase();
        self.0.entry(key).or_default().push(value.trim().to_owned());
        Ok(())
    }

    /// The filters as the value of a query, if there are any.
    pub(crate) fn query(&self) -> Option<String> {
        (!self.0.is_empty())
            .then(|| serde_json::to_string(&self.0).expect("BUG: a map of texts is JSON"))
    }
}
