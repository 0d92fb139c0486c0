//! Netlink: messages to and from the kernel's network configuration.
//!
//! A [`Socket`] talks one netlink protocol in the network namespace it was opened in, whatever
//! thread uses it later. [`Messages`] builds requests, several to one datagram; [`Attributes`]
//! reads answers. What the messages mean is the business of [`crate::rtnetlink`] and
//! [`crate::nfnetlink`].
//!
//! **Invariant:** every exchange consumes all of its answers, so that the next one starts clean;
//! stale answers are told by their sequence numbers and skipped.
//! **Invariant:** nothing waits for longer than [`DEADLINE`]. The kernel answers while it takes
//! the request, so that only a broken kernel gets there.
//!
//! Format: `man 7 netlink`, kernel `Documentation/userspace-api/netlink/intro.rst`.

mod message;
pub mod namespace;
mod socket;

pub use message::{Attributes, Messages, Nested};
pub use socket::{DEADLINE, Protocol, Socket};

use rustix::io::Errno;

/// Why an exchange with the kernel failed.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// No socket: `EPROTONOSUPPORT` says that the kernel lacks the protocol.
    #[error("cannot open a netlink socket of protocol {protocol:?}")]
    Open {
        /// The protocol.
        protocol: Protocol,
        /// The kernel's reason.
        source: Errno,
    },
    /// The request did not leave.
    #[error("cannot send a netlink request of {length} bytes")]
    Send {
        /// Its length.
        length: usize,
        /// The kernel's reason.
        source: Errno,
    },
    /// No answer came.
    #[error("no answer to a netlink request")]
    Receive {
        /// The kernel's reason.
        source: Errno,
    },
    /// The kernel said no.
    #[error("the kernel refused netlink message {index}{}", explain(.hint))]
    Refused {
        /// Which message of the request, from 0.
        index: usize,
        /// The kernel's own words, where it has any.
        hint: Option<String>,
        /// Its reason.
        source: Errno,
    },
    /// The answer breaks the format.
    #[error("malformed netlink answer: {what}")]
    Malformed {
        /// What is wrong.
        what: &'static str,
    },
    /// A listing was overtaken by changes again and again.
    #[error("the listing was interrupted {attempts} times by changes")]
    Interrupted {
        /// How often it was tried.
        attempts: u32,
    },
}

impl NetlinkError {
    /// The kernel's reason, if the kernel gave one.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Open { source, .. }
            | Self::Send { source, .. }
            | Self::Receive { source }
            | Self::Refused { source, .. } => Some(*source),
            Self::Malformed { .. } | Self::Interrupted { .. } => None,
        }
    }
}

fn explain(hint: &Option<String>) -> String {
    hint.as_ref().map(|it| format!(": {it}")).unwrap_or_default()
}
