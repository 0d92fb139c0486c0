//! The daemon's flags, with dockerd's names where dockerd has them.
//!
//! **Invariant:** an unknown flag or a value that cannot be is an error: a daemon never runs
//! otherwise than it was told to.

use std::{
    ffi::{OsStr, OsString},
    net::Ipv4Addr,
    path::PathBuf,
};

use tracing::Level;

use super::{log::Format, socket::Host};

/// What `--help` prints.
pub(super) const HELP: &str = "\
Usage:  wadah daemon [OPTIONS]

The engine and its API, in the foreground

Options:
  -H, --host URL             Address to listen on: unix://PATH, or fd:// for sockets of the
                             service manager (may be given several times)
                             (default unix:///run/wadah/wadah.sock)
      --data-root PATH       Images, containers: what survives a restart of the machine
                             (default /var/lib/wadah)
      --exec-root PATH       Run directories: what does not (default /run/wadah)
  -p, --pidfile PATH         File for the daemon's process id
  -G, --group NAME           Group of the unix socket (default: wadah, if it exists)
  -b, --bridge NAME          Interface of the default bridge (default wadah0)
      --bip ADDRESS/LENGTH   Address of the default bridge (default: a free one is chosen)
      --cgroup-parent PATH   Parent of the containers' cgroups (default /wadah)
      --init                 Run a reaping pid 1 in containers that do not say
  -l, --log-level LEVEL      debug, info, warn or error (default info)
      --log-format FORMAT    text or json (default text)
  -D, --debug                The same as --log-level debug
      --help                 Print this
";

/// What the daemon was told.
#[derive(Debug)]
pub(super) struct Flags {
    /// Where to listen.
    pub(super) hosts: Vec<Host>,
    /// Where to write the process id.
    pub(super) pidfile: Option<PathBuf>,
    /// The sockets' group.
    pub(super) group: Option<String>,
    /// What is logged.
    pub(super) log_level: Level,
    /// How it is logged.
    pub(super) log_format: Format,
    /// What must survive a restart of the machine.
    pub(super) data_root: PathBuf,
    /// What must not.
    pub(super) exec_root: PathBuf,
    /// The default bridge's interface, if another than the usual.
    pub(super) bridge: Option<String>,
    /// The default bridge's address, if it is not to be chosen.
    pub(super) bridge_address: Option<(Ipv4Addr, u8)>,
    /// The parent of the containers' cgroups, if another than the usual.
    pub(super) cgroup_parent: Option<String>,
    /// Whether a reaping pid 1 goes before every command that does not say.
    pub(super) init: bool,
}

/// What the arguments ask for.
#[derive(Debug)]
pub(super) enum Parsed {
    /// To run.
    Flags(Box<Flags>),
    /// To explain.
    Help,
}

/// Arguments that cannot be.
#[derive(Debug, thiserror::Error)]
pub(super) enum FlagError {
    #[error("unknown flag: {flag}")]
    Unknown { flag: String },
    #[error("unexpected argument: {argument}")]
    Unexpected { argument: String },
    #[error("flag needs an argument: {flag}")]
    NoValue { flag: String },
    #[error("flag takes no argument: {flag}")]
    NeedlessValue { flag: String },
    #[error("invalid argument {value:?} for {flag}: {reason}")]
    Invalid { flag: String, value: String, reason: &'static str },
}

/// Reads the arguments.
pub(super) fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Parsed, FlagError> {
    let mut flags = Flags {
        hosts: Vec::new(),
        pidfile: None,
        group: None,
        log_level: Level::INFO,
        log_format: Format::Text,
        data_root: "/var/lib/wadah".into(),
        exec_root: "/run/wadah".into(),
        bridge: None,
        bridge_address: None,
        cgroup_parent: None,
        init: false,
    };
    let mut arguments = arguments;
    while let Some(argument) = arguments.next() {
        let (flag, value) = split(&argument)?;
        match flag.as_str() {
            "--help" | "-h" => return Ok(Parsed::Help),
            "--debug" | "-D" => flags.log_level = lone(&flag, value, Level::DEBUG)?,
            "--init" => flags.init = lone(&flag, value, true)?,
            _ => {
                let value = value.or_else(|| arguments.next());
                flags.set(&flag, value)?;
            }
        }
    }
    Ok(Parsed::Flags(Box::new(flags)))
}

/// Splits `--flag=value` and `-Hvalue`.
fn split(argument: &OsStr) -> Result<(String, Option<OsString>), FlagError> {
    let text = argument.to_string_lossy().into_owned();
    if text.starts_with("--") {
        return Ok(match text.split_once('=') {
            Some((flag, value)) => (flag.to_owned(), Some(value.into())),
            None => (text, None),
        });
    }
    match text.strip_prefix('-').filter(|it| !it.is_empty()) {
        None => Err(FlagError::Unexpected { argument: text }),
        Some(letters) if letters.chars().count() == 1 => Ok((text, None)),
        Some(letters) => {
            let first = letters.chars().next().map_or(0, char::len_utf8);
            let value = letters[first..].trim_start_matches('=');
            Ok((format!("-{}", &letters[..first]), Some(value.into())))
        }
    }
}

/// A flag that takes no value.
fn lone<T>(flag: &str, value: Option<OsString>, meaning: T) -> Result<T, FlagError> {
    match value {
        None => Ok(meaning),
        Some(value) if value == "true" => Ok(meaning),
        Some(_) => Err(FlagError::NeedlessValue { flag: flag.to_owned() }),
    }
}

impl Flags {
    fn set(&mut self, flag: &str, value: Option<OsString>) -> Result<(), FlagError> {
        const WITH_VALUE: &[&str] = &[
            "--host",
            "-H",
            "--data-root",
            "--exec-root",
            "--pidfile",
            "-p",
            "--group",
            "-G",
            "--bridge",
            "-b",
            "--bip",
            "--cgroup-parent",
            "--log-level",
            "-l",
            "--log-format",
        ];
        if !WITH_VALUE.contains(&flag) {
            return Err(FlagError::Unknown { flag: flag.to_owned() });
        }
        let value = value.ok_or_else(|| FlagError::NoValue { flag: flag.to_owned() })?;
        let text = value.to_string_lossy().into_owned();
        let invalid =
            |reason| FlagError::Invalid { flag: flag.to_owned(), value: text.clone(), reason };
        match flag {
            "--data-root" => self.data_root = absolute(value),
            "--exec-root" => self.exec_root = absolute(value),
            "--pidfile" | "-p" => self.pidfile = Some(absolute(value)),
            "--group" | "-G" => self.group = Some(text).filter(|it| !it.is_empty()),
            "--bridge" | "-b" => self.bridge = Some(interface(&text).map_err(invalid)?),
            "--bip" => self.bridge_address = Some(bridge_address(&text).map_err(invalid)?),
            "--cgroup-parent" => self.cgroup_parent = Some(cgroup(&text).map_err(invalid)?),
            "--log-level" | "-l" => self.log_level = level(&text).map_err(invalid)?,
            "--log-format" => self.log_format = format(&text).map_err(invalid)?,
            _ => self.hosts.push(host(&text).map_err(invalid)?),
        }
        Ok(())
    }
}

fn absolute(path: OsString) -> PathBuf {
    // A daemon outlives the directory it was started in.
    std::path::absolute(&path).unwrap_or_else(|_| path.into())
}

fn host(text: &str) -> Result<Host, &'static str> {
    match text.split_once("://") {
        Some(("unix", path)) if path.starts_with('/') => Ok(Host::Unix(path.into())),
        Some(("unix", _)) => Err("the path of a unix socket must be absolute"),
        Some(("fd", _)) => Ok(Host::Activated),
        Some(("tcp", _)) => Err("TCP is not supported yet"),
        _ => Err("an address looks like unix:///run/wadah/wadah.sock"),
    }
}

fn interface(text: &str) -> Result<String, &'static str> {
    let fits = (1..=15).contains(&text.len())
        && text.bytes().all(|it| it.is_ascii_graphic() && it != b'/' && it != b':')
        && text != "."
        && text != "..";
    if fits { Ok(text.to_owned()) } else { Err("an interface's name has 1 to 15 characters") }
}

fn bridge_address(text: &str) -> Result<(Ipv4Addr, u8), &'static str> {
    const REASON: &str = "it must be an address with a prefix, as in 172.31.0.1/16";
    let (address, prefix) = text.split_once('/').ok_or(REASON)?;
    let address: Ipv4Addr = address.parse().map_err(|_| REASON)?;
    let prefix: u8 = prefix.parse().map_err(|_| REASON)?;
    if !(8..=30).contains(&prefix) {
        return Err("the prefix must be between 8 and 30");
    }
    let host_bits = u32::from(address) & (u32::MAX >> prefix);
    let is_host = host_bits != 0 && host_bits != u32::MAX >> prefix;
    if is_host { Ok((address, prefix)) } else { Err("it must be the address of a host") }
}

fn cgroup(text: &str) -> Result<String, &'static str> {
    let path = text.trim_matches('/');
    let is_inside = path.split('/').all(|it| !it.is_empty() && it != "." && it != "..");
    if is_inside { Ok(path.to_owned()) } else { Err("it must be a path below the cgroups' root") }
}

fn level(text: &str) -> Result<Level, &'static str> {
    match text {
        "debug" => Ok(Level::DEBUG),
        "info" => Ok(Level::INFO),
        "warn" => Ok(Level::WARN),
        "error" | "fatal" => Ok(Level::ERROR),
        _ => Err("it must be debug, info, warn or error"),
    }
}

fn format(text: &str) -> Result<Format, &'static str> {
    match text {
        "text" => Ok(Format::Text),
        "json" => Ok(Format::Json),
        _ => Err("it must be text or json"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(arguments: &[&str]) -> Result<Box<Flags>, String> {
        match parse(arguments.iter().map(OsString::from)) {
            Ok(Parsed::Flags(flags)) => Ok(flags),
            Ok(Parsed::Help) => Err("help".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn values_stand_behind_their_flag_or_in_it() {
        let flags =
            flags(&["-H", "unix:///a", "-Hunix:///b", "--data-root=/d", "--bip", "10.1.0.1/24"]);
        let flags = flags.unwrap();
        assert_eq!(flags.hosts, [Host::Unix("/a".into()), Host::Unix("/b".into())]);
        assert_eq!(flags.data_root, PathBuf::from("/d"));
        assert_eq!(flags.bridge_address, Some((Ipv4Addr::new(10, 1, 0, 1), 24)));
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        let check = |arguments: &[&str], expected: &str| {
            assert_eq!(flags(arguments).unwrap_err(), expected);
        };
        check(&["--frob"], "unknown flag: --frob");
        check(&["--bip"], "flag needs an argument: --bip");
        check(&["here"], "unexpected argument: here");
        check(&["--init=maybe"], "flag takes no argument: --init");
        check(
            &["--bip", "10.0.0.0/24"],
            "invalid argument \"10.0.0.0/24\" for --bip: it must be the address of a host",
        );
        check(
            &["-H", "tcp://0.0.0.0:1"],
            "invalid argument \"tcp://0.0.0.0:1\" for -H: TCP is not supported yet",
        );
        check(
            &["--cgroup-parent", "../x"],
            "invalid argument \"../x\" for --cgroup-parent: it must be a path below the cgroups' \
             root",
        );
        check(&["--help"], "help");
    }
}
