//! What containers and exec sessions are called.
//!
//! **Invariant:** an id or a name is one path component: no slash, no dot in front, no control
//! character. What holds one may join it to a path.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// The id of a container: 64 lower-case hexadecimal digits.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContainerId(String);

/// The id of an exec session: 64 lower-case hexadecimal digits.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ExecId(String);

/// The name of a container, without a leading slash: `[a-zA-Z0-9][a-zA-Z0-9_.-]+`, as Docker has
/// it, of at most 255 bytes.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContainerName(String);

/// A string that is not an id.
#[derive(Debug, thiserror::Error)]
#[error("id {value:?} is not 64 lower-case hexadecimal digits")]
pub struct ParseIdError {
    /// What was given.
    pub value: String,
}

/// A string that cannot be a container's name.
#[derive(Debug, thiserror::Error)]
#[error("Invalid container name ({value}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")]
pub struct ParseNameError {
    /// What was given.
    pub value: String,
}

fn parse_id(value: String) -> Result<String, ParseIdError> {
    let is_digit = |it: u8| it.is_ascii_digit() || (b'a'..=b'f').contains(&it);
    if value.len() == 64 && value.bytes().all(is_digit) {
        Ok(value)
    } else {
        Err(ParseIdError { value })
    }
}

macro_rules! id_type {
    ($name:ident) => {
        impl $name {
            /// Makes the id of 32 random bytes.
            pub fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(hex::encode(bytes))
            }

            /// All 64 digits.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The first twelve digits, as people read it.
            pub fn short(&self) -> &str {
                &self.0[..12]
            }
        }

        impl TryFrom<String> for $name {
            type Error = ParseIdError;

            fn try_from(value: String) -> Result<Self, ParseIdError> {
                parse_id(value).map(Self)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(value: &str) -> Result<Self, ParseIdError> {
                parse_id(value.into()).map(Self)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.short())
            }
        }
    };
}

id_type!(ContainerId);
id_type!(ExecId);

impl ContainerName {
    /// The name, without a leading slash.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ContainerName {
    type Err = ParseNameError;

    fn from_str(value: &str) -> Result<Self, ParseNameError> {
        let name = value.strip_prefix('/').unwrap_or(value);
        let is_inner = |it: u8| it.is_ascii_alphanumeric() || b"_.-".contains(&it);
        let fits = (2..=255).contains(&name.len())
            && name.as_bytes()[0].is_ascii_alphanumeric()
            && name.bytes().all(is_inner);
        if fits { Ok(Self(name.into())) } else { Err(ParseNameError { value: value.into() }) }
    }
}

impl TryFrom<String> for ContainerName {
    type Error = ParseNameError;

    fn try_from(value: String) -> Result<Self, ParseNameError> {
        value.parse()
    }
}

impl From<ContainerName> for String {
    fn from(name: ContainerName) -> Self {
        name.0
    }
}

impl fmt::Display for ContainerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ContainerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_one_path_component() {
        for value in ["", "../../x", "/tmp/x", "..%2f", &"A".repeat(64), &"a".repeat(63)] {
            assert!(value.parse::<ContainerId>().is_err(), "{value:?} passed");
        }
        let id = ContainerId::from_bytes([0xab; 32]);
        assert_eq!(id.short(), "abababababab");
        assert_eq!(id.as_str().parse::<ContainerId>().unwrap(), id);
    }

    #[test]
    fn a_name_is_one_path_component() {
        let long = "a".repeat(256);
        for value in ["", "a", ".a", "-a", "a/b", "../../x", "a\nb", "ü1", "//ab", &long] {
            let error = value.parse::<ContainerName>().unwrap_err().to_string();
            assert!(error.contains(value), "{error} does not name {value:?}");
        }
        assert_eq!("/web_1.x-y".parse::<ContainerName>().unwrap().as_str(), "web_1.x-y");
    }
}
