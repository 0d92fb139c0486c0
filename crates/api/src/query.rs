//! The query string, read as Go's `net/url` and Docker's helpers read it.
//!
//! **Invariant:** a malformed query is an error that names the parameter; it never panics and
//! never silently loses a parameter.

use crate::error::ApiError;

/// The decoded pairs, in the order they were given.
#[derive(Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// Decodes what stands behind the question mark.
    pub(crate) fn parse(text: &str) -> Result<Self, ApiError> {
        let pairs = text.split('&').filter(|it| !it.is_empty());
        pairs.map(parse_pair).collect::<Result<_, _>>().map(Self)
    }

    /// The first value of `name`; an empty one counts as absent, as in Go's `FormValue`.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let mut pairs = self.0.iter();
        let (_, value) = pairs.find(|(it, _)| it == name)?;
        Some(value.as_str()).filter(|it| !it.is_empty())
    }

    /// All values of `name`.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(it, _)| it == name).map(|(_, value)| value.as_str())
    }

    /// Whether `name` is given as anything but "", `0`, `no`, `false` or `none`.
    pub(crate) fn flag(&self, name: &str) -> bool {
        self.flag_or(name, false)
    }

    /// The same, with what it is when not given at all.
    pub(crate) fn flag_or(&self, name: &str, default: bool) -> bool {
        let Some((_, value)) = self.0.iter().find(|(it, _)| it == name) else { return default };
        let value = value.trim().to_ascii_lowercase();
        !matches!(value.as_str(), "" | "0" | "no" | "false" | "none")
    }

    /// A number.
    pub(crate) fn number(&self, name: &str) -> Result<Option<i64>, ApiError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let wrong = |_| ApiError::bad_request(format!("invalid value {value:?} for {name}"));
        value.parse().map(Some).map_err(wrong)
    }
}

fn parse_pair(pair: &str) -> Result<(String, String), ApiError> {
    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
    Ok((decode(name, true)?, decode(value, true)?))
}

/// Undoes percent encoding; in a query, `+` is a space.
pub(crate) fn decode(text: &str, plus_is_space: bool) -> Result<String, ApiError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        match first {
            b'+' if plus_is_space => bytes.push(b' '),
            b'%' => {
                let digits = rest.get(..2).and_then(hex_pair);
                let escape = || ApiError::bad_request(format!("invalid URL escape in {text:?}"));
                bytes.push(digits.ok_or_else(escape)?);
                rest = &rest[2..];
            }
            other => bytes.push(other),
        }
    }
    let no_utf8 = |_| ApiError::bad_request(format!("{text:?} is not UTF-8 when decoded"));
    String::from_utf8(bytes).map_err(no_utf8)
}

fn hex_pair(digits: &[u8]) -> Option<u8> {
    let digit = |it: u8| char::from(it).to_digit(16).and_then(|it| u8::try_from(it).ok());
    Some(digit(digits[0])? << 4 | digit(digits[1])?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booleans_are_read_as_docker_reads_them() {
        let query = Query::parse("a=1&b=true&c=yes&d=0&e=no&f=None&g=False&h=&i&j=T").unwrap();
        for name in ["a", "b", "c", "j"] {
            assert!(query.flag(name), "{name}");
        }
        for name in ["d", "e", "f", "g", "h", "i", "absent"] {
            assert!(!query.flag(name), "{name}");
        }
        assert!(query.flag_or("absent", true));
        assert!(!query.flag_or("d", true));
    }

    #[test]
    fn values_are_decoded_and_bad_ones_named() {
        let query = Query::parse("name=a+b%2Fc&n=-5&x=1&x=2&bad=q").unwrap();
        assert_eq!(query.get("name"), Some("a b/c"));
        assert_eq!(query.number("n").unwrap(), Some(-5));
        assert_eq!(query.all("x").collect::<Vec<_>>(), ["1", "2"]);
        let error = query.number("bad").unwrap_err().to_string();
        assert_eq!(error, "invalid value \"q\" for bad");
        for text in ["a=%", "a=%2", "a=%zz", "a=%ff"] {
            assert_eq!(Query::parse(text).unwrap_err().status().as_u16(), 400, "{text}");
        }
    }
}
