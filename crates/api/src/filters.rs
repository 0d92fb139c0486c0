//! The parameter `filters` of listings: JSON in a query.
//!
//! **Invariant:** both forms are understood: names to lists of values, and, as clients before
//! 1.22 send it, names to objects whose keys are the values.

use std::collections::BTreeMap;

use serde::Deserialize;
use wadah_engine::filters::Filters;

use crate::{error::ApiError, query::Query};

#[derive(Deserialize)]
#[serde(untagged)]
enum Values {
    List(Vec<String>),
    Keys(BTreeMap<String, bool>),
}

/// Reads the parameter; no filter if it is absent.
pub(crate) fn parse(query: &Query) -> Result<Filters, ApiError> {
    let Some(text) = query.get("filters") else { return Ok(Filters::default()) };
    let filters: BTreeMap<String, Values> = serde_json::from_str(text)
        .map_err(|error| ApiError::bad_request(format!("invalid filter: {error}")))?;
    let values = |values| match values {
        Values::List(list) => list,
        Values::Keys(keys) => keys.into_iter().filter(|(_, on)| *on).map(|(it, _)| it).collect(),
    };
    Ok(Filters::new(filters.into_iter().map(|(name, it)| (name, values(it))).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, name: &str, expected: &[&str]) {
        let encoded: String = text.bytes().map(|it| format!("%{it:02x}")).collect();
        let query = Query::parse(&format!("filters={encoded}")).unwrap();
        assert_eq!(parse(&query).unwrap().values(name), expected, "{text}");
    }

    #[test]
    fn both_forms_are_read() {
        check(r#"{"label":["a=b","c"]}"#, "label", &["a=b", "c"]);
        check(r#"{"label":{"a=b":true,"c":false}}"#, "label", &["a=b"]);
        check("{}", "label", &[]);
    }

    #[test]
    fn garbage_is_refused() {
        for text in ["x", "[]", "{\"a\":5}", "{\"a\":[5]}", "{\"a\":"] {
            let query = Query::parse(&format!("filters={text}")).unwrap();
            assert_eq!(parse(&query).unwrap_err().status().as_u16(), 400, "{text}");
        }
    }
}
