//! Security options: what has to be read or settled here before the daemon sees it.

use std::{fs, path::PathBuf};

use bollard_stubs::models::HostConfig;

use crate::failure::Failure;

/// Puts the options into the request. A seccomp profile is a file of ours, and travels as text.
pub(super) fn apply(options: Vec<String>, host: &mut HostConfig) -> Result<(), Failure> {
    let mut kept = Vec::new();
    for option in options {
        let (name, value) = match option.split_once('=').or_else(|| option.split_once(':')) {
            Some((name, value)) => (name, Some(value)),
            None => (option.as_str(), None),
        };
        match (name, value) {
            ("systempaths", Some("unconfined")) => {
                host.masked_paths = Some(Vec::new());
                host.readonly_paths = Some(Vec::new());
            }
            ("seccomp", Some(path)) if path != "unconfined" && path != "builtin" => {
                kept.push(format!("seccomp={}", profile(path)?));
            }
            ("no-new-privileges" | "hardened" | "writable-cgroups", None) | (_, Some(_)) => {
                kept.push(option);
            }
            (_, None) => {
                return Err(Failure::refused(format!("invalid --security-opt: \"{option}\"")));
            }
        }
    }
    host.security_opt = (!kept.is_empty()).then_some(kept);
    Ok(())
}

/// Reads a profile, without the spaces that only people need.
fn profile(path: &str) -> Result<String, Failure> {
    let bytes = fs::read(path).map_err(|source| {
        let path = PathBuf::from(path);
        Failure::File { action: "opening seccomp profile", path, source }
    })?;
    let compact = serde_json::from_slice::<serde_json::Value>(&bytes);
    let compact = compact.map_err(|error| {
        Failure::refused(format!("compacting json for seccomp profile {path} failed: {error}"))
    })?;
    Ok(compact.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(options: &[&str]) -> Result<HostConfig, Failure> {
        let mut host = HostConfig::default();
        apply(options.iter().map(|it| (*it).to_owned()).collect(), &mut host)?;
        Ok(host)
    }

    #[test]
    fn unconfined_system_paths_are_empty_lists() {
        let host = check(&["systempaths=unconfined", "no-new-privileges"]).unwrap();
        assert_eq!(host.masked_paths, Some(Vec::new()));
        assert_eq!(host.security_opt, Some(vec!["no-new-privileges".to_owned()]));
    }

    #[test]
    fn a_profile_travels_as_text() {
        let file = std::env::temp_dir().join(format!("wadah-cli-{}.json", std::process::id()));
        fs::write(&file, "{ \"defaultAction\" :\n \"SCMP_ACT_ALLOW\" }").unwrap();
        let host = check(&[&format!("seccomp={}", file.display())]).unwrap();
        fs::remove_file(&file).unwrap();
        let expected = "seccomp={\"defaultAction\":\"SCMP_ACT_ALLOW\"}";
        assert_eq!(host.security_opt, Some(vec![expected.to_owned()]));
    }

    #[test]
    fn options_without_a_value_are_known_or_refused() {
        check(&["label"]).unwrap_err();
        check(&["seccomp=/does/not/exist"]).unwrap_err();
    }
}
