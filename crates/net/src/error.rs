//! What can go wrong with a network.

use std::{io, path::PathBuf};

use wadah_sys::netlink::{NetlinkError, namespace::NamespaceError};

use crate::{Cidr, Publication};

/// Why something about a network did not work.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// The kernel was built without something the firewall or the links need.
    #[error("this kernel cannot {doing}: it needs {options}")]
    KernelOption {
        /// What it cannot do.
        doing: String,
        /// The configuration options that give it, joined by commas.
        options: String,
        /// What the kernel said.
        source: NetlinkError,
    },
    /// The kernel refused a change or a listing.
    #[error("cannot {doing}")]
    Netlink {
        /// What was being done.
        doing: String,
        /// What the kernel said.
        source: NetlinkError,
    },
    /// A network namespace could not be made or entered.
    #[error("cannot use a network namespace")]
    Namespace {
        /// What happened.
        source: NamespaceError,
    },
    /// A kernel parameter could not be set.
    #[error("cannot set {}", path.display())]
    Sysctl {
        /// The parameter's file.
        path: PathBuf,
        /// The kernel's reason.
        source: io::Error,
    },
    /// The thread that makes namespaces did not start.
    #[error("cannot start a thread")]
    Thread {
        /// The kernel's reason.
        source: io::Error,
    },
    /// The name belongs to a link that is no bridge.
    #[error("interface {name} exists and is not a bridge")]
    NotABridge {
        /// The name.
        name: String,
    },
    /// A name that no interface can have.
    #[error("{name:?} cannot name an interface: 1 to 15 bytes without '/', ':' and white space")]
    InterfaceName {
        /// The name.
        name: String,
    },
    /// The bridge is gone.
    #[error("bridge {name} does not exist")]
    MissingBridge {
        /// Its name.
        name: String,
    },
    /// The host's port already leads to another container.
    #[error("cannot publish {publication}: the port leads elsewhere")]
    PortLeadsElsewhere {
        /// The publication.
        publication: Publication,
    },
    /// An IPv4 port cannot lead to an IPv6 address, or the other way round.
    #[error("cannot publish {publication}: the two addresses are of different families")]
    MixedFamilies {
        /// The publication.
        publication: Publication,
    },
    /// Every network that could be chosen overlaps with one of the host's.
    #[error(
        "no network is free for {purpose}: all of {candidates} overlap with routes of the host"
    )]
    NoFreeNetwork {
        /// What it is for.
        purpose: &'static str,
        /// How many were tried.
        candidates: usize,
    },
    /// A network asked for overlaps with one of the host's.
    #[error("network {wanted} overlaps with the host's route to {existing}")]
    Overlap {
        /// The network asked for.
        wanted: Cidr,
        /// The route that is there.
        existing: Cidr,
    },
}

impl NetError {
    /// For `map_err`: says what was being done.
    pub(crate) fn netlink(doing: impl Into<String>) -> impl FnOnce(NetlinkError) -> Self {
        let doing = doing.into();
        |source| Self::Netlink { doing, source }
    }
}

impl From<NamespaceError> for NetError {
    fn from(source: NamespaceError) -> Self {
        Self::Namespace { source }
    }
}
