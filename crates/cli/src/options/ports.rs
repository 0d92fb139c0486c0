//! Ports: which are published, and which are only said to be listened on.

use std::{collections::BTreeSet, fmt, net::IpAddr};

use bollard_stubs::models::{ContainerCreateBody, HostConfig, PortBinding};

use crate::{
    failure::Failure,
    flag::{Invalid, push},
};

/// One published port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Publication {
    /// Empty for all addresses.
    pub ip: String,
    /// A port, a range to choose from, or empty for any.
    pub host: String,
    /// Port and protocol, `80/tcp`.
    pub container: String,
}

/// Ports from the first to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    first: u16,
    last: u16,
}

/// Reads `[[IP:][HOST]:]CONTAINER[/PROTOCOL]`, where ports may be ranges, or the long form
/// `published=…,target=…,protocol=…`.
pub(super) fn published(text: &str) -> Result<Vec<Publication>, Invalid> {
    let short = if text.contains('=') { shorten(text)? } else { text.to_owned() };
    let (rest, protocol) = protocol(&short)?;
    let (ip, host, container) = sections(rest)?;
    let invalid = |what: &str, it: &str| Invalid(format!("invalid {what}: {it}"));
    if container.is_empty() {
        return Err(Invalid(format!("no port specified: {text}<empty>")));
    }
    if !ip.is_empty() && ip.parse::<IpAddr>().is_err() {
        return Err(Invalid(format!("invalid IP address: {ip}")));
    }
    let inside = Range::parse(container).ok_or_else(|| invalid("containerPort", container))?;
    let outside = match host {
        "" => None,
        _ => Some(Range::parse(host).ok_or_else(|| invalid("hostPort", host))?),
    };
    if let Some(outside) = outside
        && outside.len() != inside.len()
        && inside.len() != 1
    {
        return Err(Invalid(format!(
            "invalid ranges specified for container and host Ports: {text}"
        )));
    }
    let bindings = (inside.first..=inside.last).zip(0_u16..).map(|(port, step)| Publication {
        ip: ip.to_owned(),
        host: outside.map_or(String::new(), |it| it.part(inside.len() == 1, step)),
        container: format!("{port}/{protocol}"),
    });
    Ok(bindings.collect())
}

/// Reads `PORT[-PORT][/PROTOCOL]`.
pub(super) fn exposed(text: &str) -> Result<Vec<String>, Invalid> {
    if text.contains(':') {
        return Err(Invalid(format!("invalid port format for --expose: {text}")));
    }
    let (ports, protocol) = protocol(text)?;
    let range = Range::parse(ports);
    let range =
        range.ok_or_else(|| Invalid(format!("invalid range format for --expose: {text}")))?;
    Ok((range.first..=range.last).map(|it| format!("{it}/{protocol}")).collect())
}

/// Puts the ports into the request.
pub(super) fn apply(
    published: &[Publication],
    exposed: &[String],
    body: &mut ContainerCreateBody,
    host: &mut HostConfig,
) -> Result<(), Failure> {
    let ports: BTreeSet<&String> =
        exposed.iter().chain(published.iter().map(|it| &it.container)).collect();
    if !ports.is_empty() {
        body.exposed_ports = Some(ports.into_iter().cloned().collect());
    }
    for it in published {
        let bindings = host.port_bindings.get_or_insert_default();
        let binding =
            PortBinding { host_ip: Some(it.ip.clone()), host_port: Some(it.host.clone()) };
        push(bindings.entry(it.container.clone()).or_default(), binding);
    }
    Ok(())
}

fn protocol(text: &str) -> Result<(&str, String), Invalid> {
    let (rest, protocol) = text.rsplit_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    if !["tcp", "udp", "sctp"].contains(&protocol.as_str()) {
        return Err(Invalid(format!("invalid proto: {protocol}")));
    }
    Ok((rest, protocol))
}

/// Splits address, host port and container port; an IPv6 address stands in brackets.
fn sections(text: &str) -> Result<(&str, &str, &str), Invalid> {
    if let Some(rest) = text.strip_prefix('[') {
        let invalid = || Invalid(format!("invalid IP address: {text}"));
        let (ip, rest) = rest.split_once(']').ok_or_else(invalid)?;
        let rest = rest.strip_prefix(':').ok_or_else(invalid)?;
        let (host, container) = rest.split_once(':').unwrap_or(("", rest));
        return Ok((ip, host, container));
    }
    let (rest, container) = text.rsplit_once(':').unwrap_or(("", text));
    let (ip, host) = rest.rsplit_once(':').unwrap_or(("", rest));
    Ok((ip, host, container))
}

/// Makes the short form of the long one.
fn shorten(text: &str) -> Result<String, Invalid> {
    let (mut published, mut target, mut protocol) = (None, None, None);
    for field in text.split(',') {
        let invalid = || {
            let message = "invalid publish opts format (should be name=value but got";
            Invalid(format!("{message} '{field}')"))
        };
        let (key, value) = field.split_once('=').ok_or_else(invalid)?;
        match key.to_ascii_lowercase().as_str() {
            "published" => published = Some(value),
            "target" => target = Some(value),
            "protocol" => protocol = Some(value),
            // Only services tell the modes apart.
            "mode" if ["host", "ingress"].contains(&value) => {}
            _ => return Err(Invalid(format!("invalid publish option: {field}"))),
        }
    }
    let target = target.ok_or_else(|| Invalid(format!("no target port specified: {text}")))?;
    Ok(format!("{}:{target}/{}", published.unwrap_or_default(), protocol.unwrap_or("tcp")))
}

impl Range {
    fn parse(text: &str) -> Option<Self> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let range = Self { first: first.parse().ok()?, last: last.parse().ok()? };
        (range.first <= range.last).then_some(range)
    }

    fn len(self) -> u32 {
        u32::from(self.last - self.first) + 1
    }

    /// The port at `step`, or the whole range for the daemon to choose from.
    fn part(self, whole: bool, step: u16) -> String {
        if whole { self.to_string() } else { (self.first + step).to_string() }
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        let shown = match published(text) {
            Ok(all) => {
                all.iter().map(|it| format!("{}|{}|{}", it.ip, it.host, it.container)).collect()
            }
            Err(Invalid(message)) => vec![message],
        };
        assert_eq!(shown, expected, "for {text}");
    }

    #[test]
    fn every_syntax_of_a_published_port_is_understood() {
        check("80", &["||80/tcp"]);
        check("8080:80", &["|8080|80/tcp"]);
        check("8080:80/UDP", &["|8080|80/udp"]);
        check("127.0.0.1:8080:80", &["127.0.0.1|8080|80/tcp"]);
        check("127.0.0.1::80", &["127.0.0.1||80/tcp"]);
        check("[::1]:8080:80/sctp", &["::1|8080|80/sctp"]);
        check("[::1]::80", &["::1||80/tcp"]);
        check("8080-8081:80-81", &["|8080|80/tcp", "|8081|81/tcp"]);
        check("8000-9000:80", &["|8000-9000|80/tcp"]);
        check("80-81", &["||80/tcp", "||81/tcp"]);
        check("published=8080,target=80,protocol=udp,mode=host", &["|8080|80/udp"]);
    }

    #[test]
    fn errors_are_in_dockers_words() {
        check("80/icmp", &["invalid proto: icmp"]);
        check("x", &["invalid containerPort: x"]);
        check("70000", &["invalid containerPort: 70000"]);
        check("x:80", &["invalid hostPort: x"]);
        check("localhost:8080:80", &["invalid IP address: localhost"]);
        check("8080:", &["no port specified: 8080:<empty>"]);
        check("1-3:1-2", &["invalid ranges specified for container and host Ports: 1-3:1-2"]);
        check("82-80", &["invalid containerPort: 82-80"]);
    }

    #[test]
    fn the_largest_range_is_understood() {
        assert_eq!(published("1-65535").unwrap().len(), 65535);
        assert_eq!(exposed("65535").unwrap(), ["65535/tcp"]);
        assert_eq!(exposed("1-2/udp").unwrap(), ["1/udp", "2/udp"]);
        exposed("1:2").unwrap_err();
    }
}
