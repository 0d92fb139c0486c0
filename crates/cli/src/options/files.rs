//! Files of variables: environment and labels, one `NAME=VALUE` in each line.

use std::{env, fs, path::PathBuf};

use crate::{failure::Failure, flag::Invalid};

/// What a name without a value stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lookup {
    /// The variable of our own environment; if it is not set, nothing.
    Environment,
    /// Itself.
    Nothing,
}

/// Environment variables from files and then from the command line.
pub(crate) fn variables(files: &[String], given: &[String]) -> Result<Vec<String>, Failure> {
    merge(files, given, Lookup::Environment)
}

/// What the files say, and after it what the command line says: the later wins.
pub(super) fn merge(
    files: &[String],
    given: &[String],
    lookup: Lookup,
) -> Result<Vec<String>, Failure> {
    let mut all = Vec::new();
    for path in files {
        let bytes = fs::read(path).map_err(|source| {
            let path = PathBuf::from(path);
            Failure::File { action: "open", path, source }
        })?;
        let text = String::from_utf8(bytes).map_err(|_| {
            Failure::refused(format!("env file {path} contains invalid utf8 bytes"))
        })?;
        let lines = parse(&text, lookup);
        all.extend(
            lines.map_err(|Invalid(it)| {
                Failure::refused(format!("invalid env file ({path}): {it}"))
            })?,
        );
    }
    for text in given {
        if text.is_empty() || text.starts_with('=') {
            return Err(Failure::refused(format!("invalid environment variable: {text}")));
        }
        all.extend(resolve(text, lookup));
    }
    Ok(all)
}

fn parse(text: &str, lookup: Lookup) -> Result<Vec<String>, Invalid> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut all = Vec::new();
    for line in text.lines() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let name = line.split_once('=').map_or(line, |(name, _)| name);
        if name.is_empty() {
            return Err(Invalid(format!("no variable name on line '{line}'")));
        }
        if name.contains(char::is_whitespace) {
            return Err(Invalid(format!("variable '{name}' contains whitespaces")));
        }
        all.extend(resolve(line, lookup));
    }
    Ok(all)
}

fn resolve(text: &str, lookup: Lookup) -> Option<String> {
    if text.contains('=') || lookup == Lookup::Nothing {
        return Some(text.to_owned());
    }
    env::var(text).ok().map(|value| format!("{text}={value}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_comments_blanks_and_names_of_ours() {
        let text = "\u{feff}# comment\n\n  A=1 # kept \nB=\nPATH\nWADAH_SURELY_UNSET\n";
        let all = parse(text, Lookup::Environment).unwrap();
        let path = format!("PATH={}", env::var("PATH").unwrap());
        assert_eq!(all, ["A=1 # kept ", "B=", path.as_str()]);
        let all = parse("one\ntwo=2", Lookup::Nothing).unwrap();
        assert_eq!(all, ["one", "two=2"]);
    }

    #[test]
    fn lines_without_a_proper_name_are_errors() {
        let message = |it| parse(it, Lookup::Environment).unwrap_err().0;
        assert_eq!(message("A B=1"), "variable 'A B' contains whitespaces");
        assert_eq!(message("=1"), "no variable name on line '=1'");
    }
}
