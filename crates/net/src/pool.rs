//! The address pool: which addresses of a network are in use.
//!
//! The pool lives in memory only; the engine reserves again what its containers hold when it
//! starts. The lowest free address is given out, as Docker does, so that a lone container started
//! again and again keeps its address.
//!
//! **Invariant:** the network's own address and IPv4's broadcast address are never given out.
//! **Invariant:** every address below `lowest` is in use.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::Cidr;

/// The addresses of one network.
#[derive(Debug)]
pub struct AddressPool {
    subnet: Cidr,
    range: Cidr,
    state: Mutex<State>,
}

/// Why no address was given out.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum AddressError {
    /// Every address is in use.
    #[error("no free address in {range}")]
    Exhausted {
        /// Where one was looked for.
        range: Cidr,
    },
    /// The address belongs to another network.
    #[error("address {address} is not in {subnet}")]
    Outside {
        /// The address asked for.
        address: IpAddr,
        /// The pool's network.
        subnet: Cidr,
    },
    /// The address is taken.
    #[error("address {address} is already in use")]
    InUse {
        /// The address asked for.
        address: IpAddr,
    },
    /// The address is the network's own or its broadcast address.
    #[error("address {address} cannot be given to an interface of {subnet}")]
    Unusable {
        /// The address asked for.
        address: IpAddr,
        /// The pool's network.
        subnet: Cidr,
    },
}

#[derive(Debug)]
struct State {
    taken: BTreeSet<u128>,
    lowest: u128,
}

impl AddressPool {
    /// A pool of all addresses of `subnet`.
    pub fn new(subnet: Cidr) -> Self {
        Self::with_range(subnet, subnet)
    }

    /// A pool for `subnet` that chooses from `range`, a part of it; any address of `subnet` can
    /// still be reserved by name.
    pub fn with_range(subnet: Cidr, range: Cidr) -> Self {
        let (subnet, range) = (subnet.network(), range.network());
        let lowest = subnet.offset_of(range.address()).unwrap_or(0);
        Self { subnet, range, state: Mutex::new(State { taken: BTreeSet::new(), lowest }) }
    }

    /// The network the pool serves.
    pub fn subnet(&self) -> Cidr {
        self.subnet
    }

    /// Takes the lowest free address.
    pub fn allocate(&self) -> Result<IpAddr, AddressError> {
        let mut state = self.lock();
        let last = self.subnet.offset_of(self.range.last()).unwrap_or(0);
        let mut offset = state.lowest;
        while offset <= last && (state.taken.contains(&offset) || !self.is_usable(offset)) {
            offset += 1;
        }
        let address = self.subnet.nth(offset).filter(|_| offset <= last);
        let address = address.ok_or(AddressError::Exhausted { range: self.range })?;
        state.taken.insert(offset);
        state.lowest = offset + 1;
        Ok(address)
    }

    /// Takes `address`.
    pub fn reserve(&self, address: IpAddr) -> Result<(), AddressError> {
        let subnet = self.subnet;
        let offset = subnet.offset_of(address).ok_or(AddressError::Outside { address, subnet })?;
        if !self.is_usable(offset) {
            return Err(AddressError::Unusable { address, subnet });
        }
        if !self.lock().taken.insert(offset) {
            return Err(AddressError::InUse { address });
        }
        Ok(())
    }

    /// Gives `address` back. One that is not taken, or not of this network, is left alone.
    pub fn release(&self, address: IpAddr) {
        let Some(offset) = self.subnet.offset_of(address) else { return };
        let first = self.subnet.offset_of(self.range.address()).unwrap_or(0);
        let mut state = self.lock();
        if state.taken.remove(&offset) && offset >= first {
            state.lowest = state.lowest.min(offset);
        }
    }

    /// How many addresses are in use.
    pub fn in_use(&self) -> usize {
        self.lock().taken.len()
    }

    fn is_usable(&self, offset: u128) -> bool {
        let host = self.subnet.host_mask();
        // A /31 or /32 (RFC 3021) and the like have no address to spare for the network.
        let (network, broadcast) = (host > 1, host > 1 && self.subnet.address().is_ipv4());
        !(network && offset == 0 || broadcast && offset == host)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(subnet: &str) -> AddressPool {
        AddressPool::new(subnet.parse().unwrap())
    }

    #[test]
    fn the_lowest_free_address_is_given_out() {
        let pool = pool("172.17.0.0/16");
        pool.reserve("172.17.0.1".parse().unwrap()).unwrap();
        let first = pool.allocate().unwrap();
        assert_eq!(first.to_string(), "172.17.0.2");
        assert_eq!(pool.allocate().unwrap().to_string(), "172.17.0.3");
        pool.release(first);
        assert_eq!(pool.allocate().unwrap(), first);
    }

    #[test]
    fn a_thousand_turns_on_a_small_network_leak_nothing() {
        let pool = pool("10.1.2.0/29");
        pool.reserve("10.1.2.1".parse().unwrap()).unwrap();
        for _ in 0..1000 {
            let all: Vec<IpAddr> = (0..5).map(|_| pool.allocate().unwrap()).collect();
            assert_eq!(pool.allocate(), Err(AddressError::Exhausted { range: pool.subnet() }));
            for address in all {
                pool.release(address);
            }
        }
        assert_eq!(pool.in_use(), 1);
    }

    #[test]
    fn a_range_bounds_the_choice_but_not_the_wish() {
        let range = "10.0.0.128/30".parse().unwrap();
        let pool = AddressPool::with_range("10.0.0.0/24".parse().unwrap(), range);
        assert_eq!(pool.allocate().unwrap().to_string(), "10.0.0.128");
        pool.reserve("10.0.0.7".parse().unwrap()).unwrap();
        pool.release("10.0.0.7".parse().unwrap());
        for _ in 0..3 {
            pool.allocate().unwrap();
        }
        assert_eq!(pool.allocate(), Err(AddressError::Exhausted { range }));
    }

    #[test]
    fn a_refusal_names_the_address() {
        let pool = pool("10.0.0.0/24");
        let refusal = |text: &str| pool.reserve(text.parse().unwrap()).unwrap_err().to_string();
        assert_eq!(refusal("10.0.1.1"), "address 10.0.1.1 is not in 10.0.0.0/24");
        assert_eq!(
            refusal("10.0.0.255"),
            "address 10.0.0.255 cannot be given to an interface of 10.0.0.0/24"
        );
        pool.reserve("10.0.0.9".parse().unwrap()).unwrap();
        assert_eq!(refusal("10.0.0.9"), "address 10.0.0.9 is already in use");
    }

    #[test]
    fn an_ipv6_pool_gives_its_first_host() {
        assert_eq!(pool("fd00:1::/64").allocate().unwrap().to_string(), "fd00:1::1");
    }
}
