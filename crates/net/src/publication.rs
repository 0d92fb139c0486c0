//! A publication: a port of the host that leads to a port of a container.

use std::{fmt, net::IpAddr, str::FromStr};

/// A transport protocol whose ports can be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

/// A port of the host that leads to a port of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Publication {
    /// The protocol, on both sides.
    pub protocol: Protocol,
    /// The host's address; `None`, or the family's unspecified address, for all of them.
    pub host_address: Option<IpAddr>,
    /// The host's port.
    pub host_port: u16,
    /// The container's address.
    pub container_address: IpAddr,
    /// The container's port.
    pub container_port: u16,
}

/// A port of the host: protocol, address unless it stands for all of them, number, whether IPv6's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct HostPort(Protocol, Option<IpAddr>, u16, bool);

/// A text that names no protocol.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{text:?} is not a protocol: tcp, udp or sctp")]
pub struct ParseProtocolError {
    text: String,
}

impl Protocol {
    /// The number in the IP header.
    pub fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }
}

impl Publication {
    /// The host's address, `None` when it stands for all of them.
    pub(crate) fn specific_address(&self) -> Option<IpAddr> {
        self.host_address.filter(|it| !it.is_unspecified())
    }

    /// The host's port.
    pub(crate) fn port(&self) -> HostPort {
        let six = self.container_address.is_ipv6();
        HostPort(self.protocol, self.specific_address(), self.host_port, six)
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        })
    }
}

impl FromStr for Protocol {
    type Err = ParseProtocolError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let all = [Self::Tcp, Self::Udp, Self::Sctp];
        let found = all.into_iter().find(|it| it.to_string().eq_ignore_ascii_case(text));
        found.ok_or_else(|| ParseProtocolError { text: text.to_owned() })
    }
}

impl fmt::Display for Publication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { protocol, host_port, container_address, container_port, .. } = self;
        match self.specific_address() {
            Some(address) => write!(f, "{}", std::net::SocketAddr::new(address, *host_port))?,
            None => write!(f, "*:{host_port}")?,
        }
        let container = std::net::SocketAddr::new(*container_address, *container_port);
        write!(f, "->{container}/{protocol}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_publication_reads_as_a_path() {
        let mut publication = Publication {
            protocol: Protocol::Tcp,
            host_address: None,
            host_port: 8080,
            container_address: "172.17.0.2".parse().unwrap(),
            container_port: 80,
        };
        assert_eq!(publication.to_string(), "*:8080->172.17.0.2:80/tcp");
        publication.host_address = Some("127.0.0.1".parse().unwrap());
        assert_eq!(publication.to_string(), "127.0.0.1:8080->172.17.0.2:80/tcp");
    }

    #[test]
    fn protocols_are_named_in_any_case() {
        assert_eq!("UDP".parse(), Ok(Protocol::Udp));
        let error = "icmp".parse::<Protocol>().unwrap_err();
        assert_eq!(error.to_string(), "\"icmp\" is not a protocol: tcp, udp or sctp");
    }
}
