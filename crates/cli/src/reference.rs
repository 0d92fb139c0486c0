//! References to images as people write them.

/// Splits and shows references. The daemon validates them; this only finds their parts.
#[derive(Debug)]
pub(crate) struct Reference;

impl Reference {
    /// Name and tag, or name and digest.
    pub(crate) fn split(text: &str) -> (&str, Option<&str>) {
        if let Some((name, digest)) = text.split_once('@') {
            return (name, Some(digest));
        }
        match text.rsplit_once(':') {
            // A colon before a slash belongs to a registry's port.
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (text, None),
        }
    }

    /// The reference with the tag that it stands for.
    pub(crate) fn familiar(text: &str) -> String {
        match Self::split(text) {
            (_, Some(_)) => text.to_owned(),
            (name, None) => format!("{name}:latest"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registrys_port_is_not_a_tag() {
        assert_eq!(Reference::split("box:5000/app"), ("box:5000/app", None));
        assert_eq!(Reference::split("box:5000/app:1"), ("box:5000/app", Some("1")));
        assert_eq!(Reference::split("app@sha256:12"), ("app", Some("sha256:12")));
        assert_eq!(Reference::familiar("app"), "app:latest");
    }
}
