//! Changes to a configuration, written as lines of a Dockerfile (`import --change`).
//!
//! Only the instructions that change a configuration are known here, without variables.

use super::{Defaults, ImageError};

/// Lines that were understood.
pub(super) struct Changes(Vec<Change>);

enum Change {
    Cmd(Vec<String>),
    Entrypoint(Vec<String>),
    Env(Vec<(String, String)>),
    Expose(Vec<String>),
    Label(Vec<(String, String)>),
    OnBuild(String),
    StopSignal(String),
    User(String),
    Volume(Vec<String>),
    WorkingDir(String),
}

impl Changes {
    pub(super) fn parse(lines: &[String]) -> Result<Self, ImageError> {
        let lines = lines.iter().flat_map(|it| it.lines()).map(str::trim);
        let lines = lines.filter(|it| !it.is_empty() && !it.starts_with('#'));
        lines.map(parse_line).collect::<Result<_, _>>().map(Self)
    }

    pub(super) fn apply(self, defaults: &mut Defaults) {
        for change in self.0 {
            change.apply(defaults);
        }
    }
}

impl Change {
    fn apply(self, defaults: &mut Defaults) {
        match self {
            Self::Cmd(words) => defaults.cmd = words,
            Self::Entrypoint(words) => defaults.entrypoint = words,
            Self::Env(pairs) => {
                for (name, value) in pairs {
                    let prefix = format!("{name}=");
                    defaults.env.retain(|it| !it.starts_with(&prefix));
                    defaults.env.push(prefix + &value);
                }
            }
            Self::Expose(ports) => defaults.exposed_ports.extend(ports),
            Self::Label(pairs) => defaults.labels.extend(pairs),
            Self::OnBuild(line) => defaults.on_build.push(line),
            Self::StopSignal(signal) => defaults.stop_signal = signal,
            Self::User(user) => defaults.user = user,
            Self::Volume(paths) => defaults.volumes.extend(paths),
            Self::WorkingDir(path) if path.starts_with('/') => defaults.working_dir = path,
            Self::WorkingDir(path) => {
                let above = defaults.working_dir.trim_end_matches('/');
                defaults.working_dir = format!("{above}/{path}");
            }
        }
    }
}

fn parse_line(line: &str) -> Result<Change, ImageError> {
    let (instruction, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let instruction = instruction.to_ascii_uppercase();
    let rest = rest.trim();
    let known = [
        "CMD",
        "ENTRYPOINT",
        "ENV",
        "EXPOSE",
        "LABEL",
        "ONBUILD",
        "STOPSIGNAL",
        "USER",
        "VOLUME",
        "WORKDIR",
    ];
    if !known.contains(&instruction.as_str()) {
        let message = format!("{instruction} is not a valid change command");
        return Err(ImageError::Change { message });
    }
    if rest.is_empty() {
        let message = format!("{instruction} requires at least one argument");
        return Err(ImageError::Change { message });
    }
    let words = || json_words(rest).unwrap_or_else(|| split(rest));
    Ok(match instruction.as_str() {
        "CMD" => Change::Cmd(command(rest)),
        "ENTRYPOINT" => Change::Entrypoint(command(rest)),
        "ENV" => Change::Env(pairs(&instruction, rest)?),
        "LABEL" => Change::Label(pairs(&instruction, rest)?),
        "EXPOSE" => Change::Expose(words().iter().map(|it| port(it)).collect::<Result<_, _>>()?),
        "ONBUILD" => Change::OnBuild(rest.into()),
        "STOPSIGNAL" => Change::StopSignal(rest.into()),
        "USER" => Change::User(rest.into()),
        "VOLUME" => Change::Volume(words()),
        _ => Change::WorkingDir(rest.into()),
    })
}

/// A command as JSON, or a line for the shell.
fn command(rest: &str) -> Vec<String> {
    json_words(rest).unwrap_or_else(|| vec!["/bin/sh".into(), "-c".into(), rest.into()])
}

fn json_words(rest: &str) -> Option<Vec<String>> {
    rest.starts_with('[').then(|| serde_json::from_str(rest).ok()).flatten()
}

/// `80`, `80/tcp`, `8000-8010/udp`.
fn port(word: &str) -> Result<String, ImageError> {
    let (numbers, protocol) = word.split_once('/').unwrap_or((word, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    let is_port = |it: &str| it.parse::<u16>().is_ok_and(|it| it > 0);
    let is_range = match numbers.split_once('-') {
        Some((first, last)) => is_port(first) && is_port(last),
        None => is_port(numbers),
    };
    if is_range && ["tcp", "udp", "sctp"].contains(&protocol.as_str()) {
        return Ok(format!("{numbers}/{protocol}"));
    }
    Err(ImageError::Change { message: format!("invalid containerPort: {word}") })
}

/// `a=b c="d e"`, or the old `a b c` that sets `a` to the rest of the line.
fn pairs(instruction: &str, rest: &str) -> Result<Vec<(String, String)>, ImageError> {
    let words = split(rest);
    if !words[0].contains('=') {
        let (name, value) = rest.split_once(char::is_whitespace).ok_or_else(|| {
            let message = format!("{instruction} must have two arguments");
            ImageError::Change { message }
        })?;
        return Ok(vec![(name.into(), value.trim().into())]);
    }
    let pair = |word: String| match word.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => {
            let message =
                format!("Syntax error - can't find = in {word:?}. Must be of the form: name=value");
            Err(ImageError::Change { message })
        }
    };
    words.into_iter().map(pair).collect()
}

/// Words, with quotes and backslashes taken away.
fn split(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match (quote, character) {
            (None, it) if it.is_whitespace() => words.extend(word.take()),
            (None, '"' | '\'') => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (Some(open), it) if it == open => quote = None,
            (None | Some('"'), '\\') => {
                word.get_or_insert_default().extend(characters.next());
            }
            (_, it) => word.get_or_insert_default().push(it),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(lines: &[&str]) -> Result<Defaults, String> {
        let lines: Vec<String> = lines.iter().map(|it| (*it).to_owned()).collect();
        let mut defaults = Defaults::default();
        Changes::parse(&lines).map_err(|it| it.to_string())?.apply(&mut defaults);
        Ok(defaults)
    }

    #[test]
    fn changes_are_applied_in_order() {
        let defaults = applied(&[
            "ENV A=1 B=\"two words\"",
            "env A 3 4",
            "CMD [\"x\", \"y\"]",
            "ENTRYPOINT echo hi",
            "EXPOSE 80 53/UDP",
            "LABEL a.b='c d'",
            "WORKDIR /a\nWORKDIR b",
            "VOLUME [\"/data\"]",
            "USER 1:2",
        ])
        .unwrap();
        assert_eq!(defaults.env, ["B=two words", "A=3 4"]);
        assert_eq!(defaults.cmd, ["x", "y"]);
        assert_eq!(defaults.entrypoint, ["/bin/sh", "-c", "echo hi"]);
        assert_eq!(defaults.exposed_ports, ["80/tcp", "53/udp"]);
        assert_eq!(defaults.labels["a.b"], "c d");
        assert_eq!(defaults.working_dir, "/a/b");
        assert_eq!(defaults.volumes, ["/data"]);
        assert_eq!(defaults.user, "1:2");
    }

    #[test]
    fn what_changes_no_configuration_is_refused() {
        let refused = [
            ("RUN x", "RUN is not a valid change command"),
            ("CMD", "CMD requires at least one argument"),
            ("EXPOSE x", "invalid containerPort: x"),
            ("ENV A", "ENV must have two arguments"),
        ];
        for (line, message) in refused {
            assert_eq!(applied(&[line]).unwrap_err(), message);
        }
    }
}
