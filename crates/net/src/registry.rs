//! The port registry: which of the host's ports are published, and by whom.
//!
//! A port is free when no publication holds it and no program of the host has it bound. The
//! second is asked of the kernel, by binding a socket for a moment; nothing stays open. A request
//! for several ports gets all of them or none.
//!
//! **Invariant:** no two held ports of one protocol and number have addresses that overlap, where
//! "all addresses" overlaps with every address.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    ops::RangeInclusive,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::{Protocol, sockets};

/// The published ports of this host.
#[derive(Debug)]
pub struct PortRegistry {
    ephemeral: RangeInclusive<u16>,
    state: Mutex<State>,
}

/// A port asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The protocol.
    pub protocol: Protocol,
    /// The host's address; `None` for all of them.
    pub address: Option<IpAddr>,
    /// Which port.
    pub port: PortChoice,
}

/// Which port of the host is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortChoice {
    /// Any port of the ephemeral range.
    Ephemeral,
    /// This port.
    Exactly(u16),
    /// The first free port of a range.
    AnyOf(RangeInclusive<u16>),
}

/// Why a port was not given out.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// Another container has it.
    #[error("port {port}/{protocol} on {address} is already allocated by container {owner}")]
    Allocated {
        /// The address asked for, unspecified for all of them.
        address: IpAddr,
        /// The port.
        port: u16,
        /// The protocol.
        protocol: Protocol,
        /// Who has it, as it was named in [`PortRegistry::reserve`].
        owner: String,
    },
    /// A program on the host listens on it.
    #[error("port {port}/{protocol} on {address} is already in use by {program}")]
    Listening {
        /// The address asked for, unspecified for all of them.
        address: IpAddr,
        /// The port.
        port: u16,
        /// The protocol.
        protocol: Protocol,
        /// The program: its name and pid where they can be found out.
        program: String,
    },
    /// The host cannot bind the address at all: it has no such address, say.
    #[error("cannot bind port {port}/{protocol} on {address}")]
    Bind {
        /// The address asked for, unspecified for all of them.
        address: IpAddr,
        /// The port.
        port: u16,
        /// The protocol.
        protocol: Protocol,
        /// The kernel's reason.
        source: std::io::Error,
    },
    /// Every port of the range is taken.
    #[error("no free {protocol} port on {address} between {first} and {last}")]
    Exhausted {
        /// The address asked for, unspecified for all of them.
        address: IpAddr,
        /// The range's first port.
        first: u16,
        /// The range's last port.
        last: u16,
        /// The protocol.
        protocol: Protocol,
    },
}

#[derive(Debug)]
struct State {
    held: BTreeMap<(Protocol, u16), Vec<Holder>>,
    /// Where the search for an ephemeral port goes on. Docker counts upwards too: a port just
    /// given back is not handed to the next container while clients may still talk to it.
    next: u16,
}

#[derive(Clone, Debug)]
struct Holder {
    address: Option<IpAddr>,
    owner: String,
}

impl PortRegistry {
    /// An empty registry; its ephemeral range is the kernel's (32768–60999 unless configured).
    pub fn new() -> Self {
        Self::with_ephemeral(sockets::local_port_range())
    }

    /// An empty registry with an ephemeral range of its own.
    pub fn with_ephemeral(ephemeral: RangeInclusive<u16>) -> Self {
        let state = State { held: BTreeMap::new(), next: *ephemeral.start() };
        Self { ephemeral, state: Mutex::new(state) }
    }

    /// Takes a port for each of `wanted`, in order, in the name of `owner`: all or none.
    ///
    /// Asks the kernel of the calling thread's network namespace whether a program of the host has
    /// the port.
    pub fn reserve(&self, owner: &str, wanted: &[Wanted]) -> Result<Vec<u16>, PortError> {
        let mut state = self.lock();
        let mut ports = Vec::with_capacity(wanted.len());
        for it in wanted {
            match self.take(&mut state, owner, it) {
                Ok(port) => ports.push(port),
                Err(error) => {
                    let taken = wanted.iter().zip(&ports);
                    taken
                        .for_each(|(it, port)| state.forget(owner, it.protocol, *port, it.address));
                    return Err(error);
                }
            }
        }
        Ok(ports)
    }

    /// Notes a port that `owner` holds since before this registry existed: a container that
    /// outlived the daemon. The host's sockets are not asked.
    pub fn adopt(
        &self,
        owner: &str,
        protocol: Protocol,
        address: Option<IpAddr>,
        port: u16,
    ) -> Result<(), PortError> {
        self.lock().hold(owner, protocol, port, specific(address))
    }

    /// Gives back every port of `owner`.
    pub fn release(&self, owner: &str) {
        self.lock().held.retain(|_, holders| {
            holders.retain(|it| it.owner != owner);
            !holders.is_empty()
        });
    }

    fn take(&self, state: &mut State, owner: &str, wanted: &Wanted) -> Result<u16, PortError> {
        let Wanted { protocol, address, ref port } = *wanted;
        let address = specific(address);
        match port {
            PortChoice::Exactly(port) => {
                state.hold(owner, protocol, *port, address)?;
                let probe = sockets::probe(protocol, address, *port);
                probe.inspect_err(|_| state.forget(owner, protocol, *port, address))?;
                Ok(*port)
            }
            PortChoice::AnyOf(range) => state.first_free(owner, wanted, range, *range.start()),
            PortChoice::Ephemeral => {
                let from = state.next;
                let port = state.first_free(owner, wanted, &self.ephemeral, from)?;
                let end = *self.ephemeral.end();
                state.next = if port == end { *self.ephemeral.start() } else { port + 1 };
                Ok(port)
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for PortRegistry {
    fn default() -> Self {
        Self::new()
    }
}

impl State {
    /// Tries the ports of `range`, from `from` to its end and then from its start.
    fn first_free(
        &mut self,
        owner: &str,
        wanted: &Wanted,
        range: &RangeInclusive<u16>,
        from: u16,
    ) -> Result<u16, PortError> {
        let (first, last) = (*range.start(), *range.end());
        let address = specific(wanted.address);
        let from = from.clamp(first, last.max(first));
        for port in (from..=last).chain(first..from) {
            if self.hold(owner, wanted.protocol, port, address).is_err() {
                continue;
            }
            match sockets::probe(wanted.protocol, address, port) {
                Ok(()) => return Ok(port),
                Err(error) => {
                    self.forget(owner, wanted.protocol, port, address);
                    // An address the host does not have fails alike for every port.
                    if matches!(error, PortError::Bind { .. }) {
                        return Err(error);
                    }
                }
            }
        }
        let protocol = wanted.protocol;
        Err(PortError::Exhausted { address: shown(address), first, last, protocol })
    }

    fn hold(
        &mut self,
        owner: &str,
        protocol: Protocol,
        port: u16,
        address: Option<IpAddr>,
    ) -> Result<(), PortError> {
        let holders = self.held.entry((protocol, port)).or_default();
        if let Some(holder) = holders.iter().find(|it| overlap(it.address, address)) {
            let (address, owner) = (shown(address), holder.owner.clone());
            return Err(PortError::Allocated { address, port, protocol, owner });
        }
        holders.push(Holder { address, owner: owner.to_owned() });
        Ok(())
    }

    fn forget(&mut self, owner: &str, protocol: Protocol, port: u16, address: Option<IpAddr>) {
        let Some(holders) = self.held.get_mut(&(protocol, port)) else { return };
        let address = specific(address);
        holders.retain(|it| it.owner != owner || it.address != address);
        if holders.is_empty() {
            self.held.remove(&(protocol, port));
        }
    }
}

/// The address as it is shown: the unspecified one stands for all.
pub(crate) fn shown(address: Option<IpAddr>) -> IpAddr {
    address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
}

/// `None` for IPv4's unspecified address. IPv6's stays: `0.0.0.0:80` and `[::]:80` are two ports.
fn specific(address: Option<IpAddr>) -> Option<IpAddr> {
    address.filter(|it| *it != IpAddr::V4(Ipv4Addr::UNSPECIFIED))
}

fn overlap(one: Option<IpAddr>, other: Option<IpAddr>) -> bool {
    let (one, other) = (shown(one), shown(other));
    one.is_ipv4() == other.is_ipv4()
        && (one == other || one.is_unspecified() || other.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TCP: Protocol = Protocol::Tcp;

    fn exactly(address: Option<&str>, port: u16) -> Wanted {
        let address = address.map(|it| it.parse().unwrap());
        Wanted { protocol: TCP, address, port: PortChoice::Exactly(port) }
    }

    /// A port nobody uses at the moment.
    fn free_port() -> u16 {
        let listener = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
        listener.local_addr().unwrap().port()
    }

    #[test]
    fn a_conflict_names_the_container_that_has_the_port() {
        let (registry, port) = (PortRegistry::new(), free_port());
        registry.reserve("web", &[exactly(None, port)]).unwrap();
        let error = registry.reserve("other", &[exactly(Some("127.0.0.1"), port)]).unwrap_err();
        let expected =
            format!("port {port}/tcp on 127.0.0.1 is already allocated by container web");
        assert_eq!(error.to_string(), expected);
        registry.release("web");
        registry.reserve("other", &[exactly(Some("127.0.0.1"), port)]).unwrap();
    }

    #[test]
    fn a_conflict_names_the_program_that_listens() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let registry = PortRegistry::new();
        let error = registry.reserve("web", &[exactly(None, port)]).unwrap_err();
        let pid = std::process::id();
        assert!(error.to_string().contains(&format!("(pid {pid})")), "{error}");
        drop(listener);
        registry.reserve("web", &[exactly(None, port)]).unwrap();
    }

    #[test]
    fn different_addresses_share_a_port_number() {
        let (registry, port) = (PortRegistry::new(), free_port());
        registry.reserve("one", &[exactly(Some("127.0.0.1"), port)]).unwrap();
        registry.reserve("two", &[exactly(Some("127.0.0.2"), port)]).unwrap();
    }

    #[test]
    fn all_ports_of_a_request_are_taken_or_none() {
        let (registry, one, two) = (PortRegistry::new(), free_port(), free_port());
        registry.reserve("one", &[exactly(None, two)]).unwrap();
        let wanted = [exactly(None, one), exactly(None, two)];
        assert!(matches!(registry.reserve("two", &wanted), Err(PortError::Allocated { .. })));
        registry.reserve("three", &[exactly(None, one)]).unwrap();
    }

    #[test]
    fn ephemeral_ports_are_distinct_and_run_out() {
        let registry = PortRegistry::with_ephemeral(61100..=61103);
        let wanted = Wanted { protocol: TCP, address: None, port: PortChoice::Ephemeral };
        let mut ports = registry.reserve("one", &vec![wanted.clone(); 4]).unwrap();
        ports.dedup();
        assert_eq!(ports.len(), 4);
        let error = registry.reserve("two", &[wanted]).unwrap_err();
        assert_eq!(error.to_string(), "no free tcp port on 0.0.0.0 between 61100 and 61103");
    }

    #[test]
    fn an_address_the_host_lacks_is_refused() {
        let error = PortRegistry::new().reserve("web", &[exactly(Some("192.0.2.77"), 61200)]);
        assert!(matches!(error, Err(PortError::Bind { .. })), "{error:?}");
    }
}
