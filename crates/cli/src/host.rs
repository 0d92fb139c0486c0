//! The host: the address at which the daemon listens, and who chose it.

use std::{
    env,
    ffi::OsString,
    fmt,
    path::{Path, PathBuf},
};

use crate::{context::Globals, failure::Failure};

/// Where our daemon listens when nobody says otherwise.
pub(crate) const DEFAULT_SOCKET: &str = "/run/wadah/wadah.sock";

/// What a command learns from the environment; read once, at the start.
#[derive(Debug, Default)]
pub(crate) struct Surroundings {
    pub wadah_host: Option<String>,
    pub docker_host: Option<String>,
    pub docker_context: Option<String>,
    /// The API version to insist on; by default the daemon's newest.
    pub api_version: Option<String>,
}

/// A daemon's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Host {
    pub address: Address,
    /// Nobody chose this address, so a daemon may be started there.
    pub default: bool,
}

/// The transports that we speak.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    Unix(PathBuf),
    /// Host and port.
    Tcp(String),
}

impl Surroundings {
    /// Reads the process's environment. Empty means unset.
    pub(crate) fn of_process() -> Self {
        let text = |name| env::var_os(name).filter(|it| !it.is_empty()).map(lossy);
        Self {
            wadah_host: text("WADAH_HOST"),
            docker_host: text("DOCKER_HOST"),
            docker_context: text("DOCKER_CONTEXT"),
            api_version: text("DOCKER_API_VERSION"),
        }
    }
}

fn lossy(value: OsString) -> String {
    value.to_string_lossy().into_owned()
}

impl Host {
    /// The address that flags and environment name: the flag wins, then our own variable, then
    /// Docker's.
    pub(crate) fn choose(globals: &Globals, around: &Surroundings) -> Result<Self, Failure> {
        if globals.hosts.len() > 1 {
            return Err(Failure::refused("specify only one -H"));
        }
        if globals.context.is_some() && !globals.hosts.is_empty() {
            return Err(Failure::refused(
                "conflicting options: cannot specify both --host and --context",
            ));
        }
        let chosen = globals.hosts.first();
        let flagged = globals.context.as_deref().is_some_and(|it| it != "default");
        let environment = around.wadah_host.as_ref().or(around.docker_host.as_ref());
        let chosen = chosen.or(if flagged { None } else { environment });
        if let Some(chosen) = chosen {
            return Ok(Self { address: Address::parse(chosen)?, default: false });
        }
        match globals.context.as_deref().or(around.docker_context.as_deref()) {
            None | Some("default") => {
                let address = Address::Unix(PathBuf::from(DEFAULT_SOCKET));
                Ok(Self { address, default: true })
            }
            Some(name) => Err(Failure::refused(format!(
                "context \"{name}\": contexts are not supported yet; use -H or WADAH_HOST"
            ))),
        }
    }
}

impl Address {
    /// Reads `unix://PATH`, `tcp://HOST:PORT` or `HOST:PORT`.
    pub(crate) fn parse(text: &str) -> Result<Self, Failure> {
        let (scheme, rest) = text.split_once("://").unwrap_or(("tcp", text));
        let rest = rest.trim_end_matches('/');
        match scheme {
            "unix" if rest.is_empty() => Ok(Self::Unix(PathBuf::from(DEFAULT_SOCKET))),
            "unix" => Ok(Self::Unix(PathBuf::from(rest))),
            "tcp" | "http" => Ok(Self::Tcp(tcp(rest))),
            "ssh" | "https" | "npipe" | "fd" => {
                Err(Failure::refused(format!("host {text}: {scheme}:// is not supported yet")))
            }
            _ => Err(Failure::refused(format!("unable to parse docker host `{text}`"))),
        }
    }

    /// The socket's path, if it has one.
    pub(crate) fn path(&self) -> Option<&Path> {
        match self {
            Self::Unix(path) => Some(path),
            Self::Tcp(_) => None,
        }
    }
}

/// Fills in what a TCP address leaves out: the local machine, and Docker's plain port.
fn tcp(text: &str) -> String {
    let bare = text.rsplit_once(':').is_none_or(|(_, port)| port.contains(']'));
    match (text.is_empty(), bare) {
        (true, _) => "127.0.0.1:2375".to_owned(),
        (false, true) => format!("{text}:2375"),
        (false, false) if text.starts_with(':') => format!("127.0.0.1{text}"),
        (false, false) => text.to_owned(),
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp(address) => write!(f, "tcp://{address}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(flags: &[&str], wadah: Option<&str>, docker: Option<&str>, expected: &str) {
        let globals = Globals {
            hosts: flags.iter().map(|it| (*it).to_owned()).collect(),
            ..Globals::default()
        };
        let around = Surroundings {
            wadah_host: wadah.map(str::to_owned),
            docker_host: docker.map(str::to_owned),
            ..Surroundings::default()
        };
        let shown = match Host::choose(&globals, &around) {
            Ok(host) => format!("{} {}", host.address, host.default),
            Err(failure) => failure.to_string(),
        };
        assert_eq!(shown, expected);
    }

    #[test]
    fn the_flag_wins_over_our_variable_and_ours_over_dockers() {
        check(&["unix:///a"], Some("unix:///b"), Some("unix:///c"), "unix:///a false");
        check(&[], Some("unix:///b"), Some("unix:///c"), "unix:///b false");
        check(&[], None, Some("tcp://h:1"), "tcp://h:1 false");
        check(&[], None, None, "unix:///run/wadah/wadah.sock true");
    }

    #[test]
    fn what_a_tcp_address_leaves_out_is_filled_in() {
        check(&["tcp://"], None, None, "tcp://127.0.0.1:2375 false");
        check(&["tcp://box"], None, None, "tcp://box:2375 false");
        check(&[":99"], None, None, "tcp://127.0.0.1:99 false");
        check(&["tcp://[::1]"], None, None, "tcp://[::1]:2375 false");
    }

    #[test]
    fn transports_that_we_lack_are_named() {
        check(&["ssh://box"], None, None, "host ssh://box: ssh:// is not supported yet");
        check(&["a", "b"], None, None, "specify only one -H");
    }
}
