//! The files the engine keeps for a container: `hosts`, `hostname`, `resolv.conf`.
//!
//! **Invariant:** nothing in them comes from an image, and every value was checked to be one
//! line (CRI-O CVE-2022-4318).

use std::{fmt::Write as _, fs, net::IpAddr, path::Path};

use crate::{
    EngineError,
    config::{HostConfig, NetworkMode},
    files,
};

/// What `hosts` begins with.
const HOSTS: &str = "127.0.0.1\tlocalhost\n\
                     ::1\tlocalhost ip6-localhost ip6-loopback\n\
                     fe00::\tip6-localnet\n\
                     ff00::\tip6-mcastprefix\n\
                     ff02::1\tip6-allnodes\n\
                     ff02::2\tip6-allrouters\n";

/// Resolvers for a host that only has ones on its loopback interface, which a container with a
/// network of its own does not reach.
const FALLBACK: &[&str] = &["8.8.8.8", "8.8.4.4"];

/// What the files tell.
#[derive(Debug)]
pub(super) struct Facts<'a> {
    /// The host name.
    pub(super) hostname: &'a str,
    /// The domain.
    pub(super) domainname: &'a str,
    /// The address, if it has one of its own.
    pub(super) address: Option<IpAddr>,
    /// The address of the host as the container sees it.
    pub(super) gateway: Option<IpAddr>,
    /// The rest.
    pub(super) host: &'a HostConfig,
}

/// Writes them into `directory`.
pub(super) fn write(directory: &Path, facts: &Facts<'_>) -> Result<(), EngineError> {
    files::create(&directory.join("hostname"), format!("{}\n", facts.hostname).as_bytes(), 0o644)?;
    files::create(&directory.join("hosts"), hosts(facts).as_bytes(), 0o644)?;
    let resolv_conf = match fs::read_to_string("/etc/resolv.conf") {
        Ok(of_host) => resolv_conf(&of_host, facts.host),
        Err(_) => resolv_conf("", facts.host),
    };
    files::create(&directory.join("resolv.conf"), resolv_conf.as_bytes(), 0o644)
}

fn hosts(facts: &Facts<'_>) -> String {
    let is_host = facts.host.network_mode == NetworkMode::Host;
    let mut text = match is_host.then(|| fs::read_to_string("/etc/hosts")) {
        Some(Ok(of_host)) => of_host,
        _ => HOSTS.to_owned(),
    };
    for entry in &facts.host.extra_hosts {
        let Some((name, address)) = entry.split_once([':', '=']) else { continue };
        let gateway = facts.gateway.map(|it| it.to_string());
        let address = match (address, gateway) {
            ("host-gateway", Some(gateway)) => gateway,
            ("host-gateway", None) => "127.0.0.1".to_owned(),
            (address, _) => address.trim_matches(['[', ']']).to_owned(),
        };
        writeln!(text, "{address}\t{name}").expect("BUG: a string takes everything");
    }
    if let Some(address) = facts.address {
        let Facts { hostname, domainname, .. } = facts;
        let names = match domainname {
            &"" => (*hostname).to_owned(),
            domain => format!("{hostname}.{domain} {hostname}"),
        };
        writeln!(text, "{address}\t{names}").expect("BUG: a string takes everything");
    }
    text
}

/// The host's resolvers that a container can reach, unless others were asked for.
fn resolv_conf(of_host: &str, host: &HostConfig) -> String {
    let values = |keyword: &'static str| {
        of_host.lines().filter_map(move |line| line.trim().strip_prefix(keyword)).map(str::trim)
    };
    let shares = host.network_mode == NetworkMode::Host;
    let reachable = |it: &&str| {
        // Scoped addresses name an interface of the host.
        let address = it.split('%').next().unwrap_or(it).parse::<IpAddr>();
        address.is_ok_and(|it| shares || !it.is_loopback())
    };
    let mut servers: Vec<&str> = match host.dns.as_slice() {
        [] => values("nameserver").filter(reachable).collect(),
        given => given.iter().map(String::as_str).collect(),
    };
    if servers.is_empty() && !shares {
        servers = FALLBACK.to_vec();
    }
    let mut text = String::new();
    let mut line = |keyword: &str, value: &str| {
        writeln!(text, "{keyword} {value}").expect("BUG: a string takes everything");
    };
    servers.iter().for_each(|it| line("nameserver", it));
    match host.dns_search.as_slice() {
        [] => values("search").take(1).for_each(|it| line("search", it)),
        // A single dot: none.
        [none] if none == "." => {}
        given => line("search", &given.join(" ")),
    }
    match host.dns_options.as_slice() {
        [] => values("options").for_each(|it| line("options", it)),
        given => line("options", &given.join(" ")),
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolvers_on_the_hosts_loopback_are_left_out() {
        let host = HostConfig::default();
        let of_host =
            "# x\nnameserver 127.0.0.53\nnameserver 10.0.0.1\nsearch lan\noptions edns0\n";
        let expected = "nameserver 10.0.0.1\nsearch lan\noptions edns0\n";
        assert_eq!(resolv_conf(of_host, &host), expected);
        let expected = "nameserver 8.8.8.8\nnameserver 8.8.4.4\n";
        assert_eq!(resolv_conf("nameserver 127.0.0.53\n", &host), expected);
    }

    #[test]
    fn what_is_asked_for_goes_over_the_hosts() {
        let host = HostConfig {
            dns: vec!["1.1.1.1".to_owned()],
            dns_search: vec![".".to_owned()],
            ..HostConfig::default()
        };
        assert_eq!(resolv_conf("nameserver 10.0.0.1\nsearch lan\n", &host), "nameserver 1.1.1.1\n");
    }

    #[test]
    fn hosts_names_the_container_and_what_is_added() {
        let host = HostConfig {
            extra_hosts: vec!["db:10.1.1.1".to_owned(), "up:host-gateway".to_owned()],
            ..HostConfig::default()
        };
        let facts = Facts {
            hostname: "web",
            domainname: "",
            address: Some("172.17.0.2".parse().unwrap()),
            gateway: Some("172.17.0.1".parse().unwrap()),
            host: &host,
        };
        let text = hosts(&facts);
        assert!(text.ends_with("10.1.1.1\tdb\n172.17.0.1\tup\n172.17.0.2\tweb\n"), "{text}");
    }
}
