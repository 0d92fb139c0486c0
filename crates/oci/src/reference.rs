//! References: what people call images (`busybox`, `ghcr.io/team/app:1.2`, `app@sha256:…`).
//!
//! Normalisation is Docker's: a reference without a registry is of `docker.io`, one without a
//! namespace there is of `library`, one with neither tag nor digest means `latest`.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::Digest;

const DEFAULT_DOMAIN: &str = "docker.io";
const DEFAULT_TAG: &str = "latest";
const MAX_NAME: usize = 255;
const MAX_TAG: usize = 128;

/// A normalised image reference. A tag and a digest may both be there; `latest` is filled in when
/// neither is.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Reference {
    domain: String,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// Why a string is not a reference.
#[derive(Debug, thiserror::Error)]
pub enum ParseReferenceError {
    /// Something in it is outside the grammar.
    #[error("invalid reference format: {value:?} {problem}")]
    Format {
        /// What was given.
        value: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The repository has upper-case letters.
    #[error("invalid reference format: repository name ({value}) must be lowercase")]
    Uppercase {
        /// The repository.
        value: String,
    },
}

impl Reference {
    /// The registry's host and port: `docker.io` when none was given.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The repository within the registry: `library/busybox`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The tag, `latest` when neither tag nor digest was given.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, if one was given.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// The repository with its registry: `docker.io/library/busybox`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.domain, self.path)
    }

    /// The repository as Docker shows it: `busybox`, `ghcr.io/team/app`.
    pub fn familiar_name(&self) -> String {
        if self.domain != DEFAULT_DOMAIN {
            return self.name();
        }
        self.path
            .strip_prefix("library/")
            .filter(|it| !it.contains('/'))
            .unwrap_or(&self.path)
            .into()
    }

    /// The whole reference as Docker shows it: `busybox:latest`.
    pub fn familiar(&self) -> String {
        format!("{}{}", self.familiar_name(), self.suffix())
    }

    /// The same repository under another tag.
    pub fn with_tag(&self, tag: &str) -> Result<Self, ParseReferenceError> {
        check_tag(tag, tag)?;
        Ok(Self { tag: Some(tag.into()), digest: None, ..self.clone() })
    }

    fn suffix(&self) -> String {
        let tag = self.tag.as_ref().map(|it| format!(":{it}")).unwrap_or_default();
        let digest = self.digest.as_ref().map(|it| format!("@{it}")).unwrap_or_default();
        tag + &digest
    }
}

impl FromStr for Reference {
    type Err = ParseReferenceError;

    fn from_str(value: &str) -> Result<Self, Self::Err> {
        let format = |problem| ParseReferenceError::Format { value: value.into(), problem };
        let (rest, digest) = match value.split_once('@') {
            None => (value, None),
            Some((rest, digest)) => {
                (rest, Some(digest.parse().map_err(|_| format("has an invalid digest"))?))
            }
        };
        let (name, tag) = split_tag(rest);
        if let Some(tag) = tag {
            check_tag(value, tag)?;
        }
        let (domain, path) = split_domain(name);
        check_domain(value, &domain)?;
        check_path(value, &path)?;
        if domain.len() + 1 + path.len() > MAX_NAME {
            return Err(format("has a name of more than 255 characters"));
        }
        if digest.is_none() && is_hex_id(name) {
            return Err(format("cannot have a name of 64 hexadecimal digits"));
        }
        let tag = tag.map(String::from).or_else(|| digest.is_none().then(|| DEFAULT_TAG.into()));
        Ok(Self { domain, path, tag, digest })
    }
}

fn is_hex_id(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|it| it.is_ascii_digit() || (b'a'..=b'f').contains(&it))
}

/// Splits at the last colon, unless that is the port of a registry.
fn split_tag(rest: &str) -> (&str, Option<&str>) {
    match rest.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (rest, None),
    }
}

/// The first component is a registry if it could not be a Docker Hub account: it has a dot, a
/// colon or capitals, or is `localhost`.
fn split_domain(name: &str) -> (String, String) {
    let (domain, path) = match name.split_once('/') {
        Some((first, path)) if is_domain(first) => (first, path),
        _ => (DEFAULT_DOMAIN, name),
    };
    let domain = if domain == "index.docker.io" { DEFAULT_DOMAIN } else { domain };
    let path = if domain == DEFAULT_DOMAIN && !path.contains('/') {
        format!("library/{path}")
    } else {
        path.into()
    };
    (domain.into(), path)
}

fn is_domain(first: &str) -> bool {
    first == "localhost"
        || first.contains(['.', ':'])
        || first.bytes().any(|it| it.is_ascii_uppercase())
}

fn check_domain(value: &str, domain: &str) -> Result<(), ParseReferenceError> {
    let format = |problem| ParseReferenceError::Format { value: value.into(), problem };
    if let Some(rest) = domain.strip_prefix('[') {
        let (host, port) = rest.split_once(']').ok_or_else(|| format("has an unclosed address"))?;
        host.parse::<std::net::Ipv6Addr>().map_err(|_| format("has an invalid address"))?;
        return check_port(value, port);
    }
    let (host, port) = domain.find(':').map_or((domain, ""), |at| domain.split_at(at));
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'-')
    };
    if !host.split('.').all(is_label) {
        return Err(format("has an invalid registry"));
    }
    check_port(value, port)
}

fn check_port(value: &str, port: &str) -> Result<(), ParseReferenceError> {
    let is_port = |it: &str| it.bytes().all(|it| it.is_ascii_digit()) && it.parse::<u16>().is_ok();
    if port.is_empty() || port.strip_prefix(':').is_some_and(is_port) {
        return Ok(());
    }
    Err(ParseReferenceError::Format { value: value.into(), problem: "has an invalid port" })
}

fn check_path(value: &str, path: &str) -> Result<(), ParseReferenceError> {
    if path.bytes().any(|it| it.is_ascii_uppercase()) {
        return Err(ParseReferenceError::Uppercase { value: path.into() });
    }
    if path.split('/').all(is_component) {
        return Ok(());
    }
    Err(ParseReferenceError::Format { value: value.into(), problem: "has an invalid repository" })
}

/// Alphanumerics, joined by `.`, `_`, `__` or any number of `-`.
fn is_component(component: &str) -> bool {
    let is_alphanumeric = |it: char| it.is_ascii_lowercase() || it.is_ascii_digit();
    let mut separators = component.split(is_alphanumeric).filter(|it| !it.is_empty());
    let ends = |it: &str| it.ends_with(is_alphanumeric) && it.starts_with(is_alphanumeric);
    ends(component)
        && separators.all(|it| matches!(it, "." | "_" | "__") || it.bytes().all(|it| it == b'-'))
}

/// `[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}` (OCI distribution spec, "Pulling manifests").
fn check_tag(value: &str, tag: &str) -> Result<(), ParseReferenceError> {
    let is_word = |it: u8| it.is_ascii_alphanumeric() || it == b'_';
    let fits = (1..=MAX_TAG).contains(&tag.len())
        && is_word(tag.as_bytes()[0])
        && tag.bytes().all(|it| is_word(it) || it == b'.' || it == b'-');
    if fits {
        return Ok(());
    }
    Err(ParseReferenceError::Format { value: value.into(), problem: "has an invalid tag" })
}

impl TryFrom<String> for Reference {
    type Error = ParseReferenceError;

    fn try_from(value: String) -> Result<Self, Self::Error> {
        value.parse()
    }
}

impl From<Reference> for String {
    fn from(reference: Reference) -> Self {
        reference.to_string()
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}{}", self.domain, self.path, self.suffix())
    }
}

impl fmt::Debug for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(input: &str, whole: &str, familiar: &str) {
        let reference: Reference = input.parse().unwrap();
        assert_eq!(
            (reference.to_string().as_str(), reference.familiar().as_str()),
            (whole, familiar)
        );
        assert_eq!(whole.parse::<Reference>().unwrap(), reference);
    }

    #[test]
    fn references_are_normalised_as_docker_does() {
        check("busybox", "docker.io/library/busybox:latest", "busybox:latest");
        check("wadah/hello", "docker.io/wadah/hello:latest", "wadah/hello:latest");
        check("index.docker.io/library/a:1", "docker.io/library/a:1", "a:1");
        check("localhost/a", "localhost/a:latest", "localhost/a:latest");
        check("localhost:5000/a/b:v1", "localhost:5000/a/b:v1", "localhost:5000/a/b:v1");
        check(
            "ghcr.io/team/app__x-y.z",
            "ghcr.io/team/app__x-y.z:latest",
            "ghcr.io/team/app__x-y.z:latest",
        );
        check("[::1]:5000/a", "[::1]:5000/a:latest", "[::1]:5000/a:latest");
        let digest = format!("a@{}", Digest::of(b""));
        check(&digest, &format!("docker.io/library/{digest}"), &digest);
    }

    #[test]
    fn what_is_no_reference_is_refused_by_name() {
        let digits = "a".repeat(64);
        let long = "a".repeat(256);
        let inputs = [
            "",
            "A",
            "a:",
            "a:-x",
            "a@sha256:00",
            "a//b",
            "/a",
            "a/",
            "../../x",
            "a..b",
            "a___b",
            "-a.io/x",
            "a:99999/x",
            "a b",
            "a\nb",
            &digits,
            &long,
        ];
        for input in inputs {
            let error = input.parse::<Reference>().unwrap_err().to_string();
            assert!(error.starts_with("invalid reference format: "), "{input:?}: {error}");
        }
    }
}
