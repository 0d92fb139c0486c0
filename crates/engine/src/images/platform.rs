//! Platforms: which of an index's images this machine can run.

use std::{env::consts, fmt, str::FromStr};

use super::ImageError;

/// An operating system and a processor, in Go's words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Platform {
    /// As in `linux`.
    pub os: String,
    /// As in `amd64`.
    pub architecture: String,
    /// As in `v7`; empty where there is none.
    pub variant: String,
}

impl Platform {
    /// This machine's.
    pub fn host() -> Self {
        let (architecture, variant) = match consts::ARCH {
            "x86_64" => ("amd64", ""),
            "x86" => ("386", ""),
            "aarch64" => ("arm64", "v8"),
            "arm" => ("arm", "v7"),
            "powerpc64" => ("ppc64le", ""),
            other => (other, ""),
        };
        Self { os: "linux".into(), architecture: architecture.into(), variant: variant.into() }
    }

    /// How well an image for `other` runs here: not at all, or the lower the better.
    pub(super) fn distance(&self, other: &Self) -> Option<u8> {
        if self.os != other.os || self.architecture != other.architecture {
            return None;
        }
        let level = |platform: &Self| {
            let version = platform.variant.strip_prefix('v').and_then(|it| it.parse::<u8>().ok());
            match (version, platform.architecture.as_str()) {
                (Some(version), _) => version,
                (None, "arm64") => 8,
                (None, "arm") => 7,
                (None, _) => 1,
            }
        };
        // A processor runs what is for older ones, and the newest of those best.
        level(self).checked_sub(level(other))
    }
}

impl FromStr for Platform {
    type Err = ImageError;

    fn from_str(value: &str) -> Result<Self, ImageError> {
        let parts: Vec<&str> = value.split('/').collect();
        let is_word = |it: &&str| {
            !it.is_empty()
                && it.bytes().all(|it| it.is_ascii_alphanumeric() || b"._-".contains(&it))
        };
        if !parts.iter().all(is_word) {
            return Err(ImageError::Platform { value: value.into() });
        }
        let platform = |os: &str, architecture: &str, variant: &str| Self {
            os: os.to_ascii_lowercase(),
            architecture: normalised(architecture).into(),
            variant: variant.into(),
        };
        match parts[..] {
            ["linux"] => Ok(Self::host()),
            [architecture] => Ok(platform("linux", architecture, "")),
            [os, architecture] => Ok(platform(os, architecture, "")),
            [os, architecture, variant] => Ok(platform(os, architecture, variant)),
            _ => Err(ImageError::Platform { value: value.into() }),
        }
    }
}

fn normalised(architecture: &str) -> &str {
    match architecture {
        "x86_64" | "x86-64" => "amd64",
        "aarch64" => "arm64",
        "i386" | "i686" => "386",
        other => other,
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        if self.variant.is_empty() { Ok(()) } else { write!(f, "/{}", self.variant) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_variant_that_runs_is_preferred() {
        let parse = |it: &str| it.parse::<Platform>().unwrap();
        let arm = parse("linux/arm/v7");
        assert_eq!(arm.distance(&parse("linux/arm/v8")), None);
        assert_eq!(arm.distance(&parse("linux/arm/v6")), Some(1));
        assert_eq!(arm.distance(&parse("linux/arm")), Some(0));
        assert_eq!(parse("linux/arm64").distance(&parse("linux/arm64/v8")), Some(0));
        assert_eq!(parse("amd64").distance(&parse("linux/x86_64")), Some(0));
        assert_eq!(parse("amd64").distance(&parse("windows/amd64")), None);
        "linux/amd64/v1/x".parse::<Platform>().unwrap_err();
        "linux//".parse::<Platform>().unwrap_err();
    }
}
