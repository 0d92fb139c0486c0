//! Networks of containers: bridges, addresses, firewall, published ports.
//!
//! [`Host`] is the host's side: it makes bridges, plugs namespaces from the [`NamespacePool`] into
//! them, publishes ports and repairs what others break. [`AddressPool`] and [`PortRegistry`] keep
//! account of what is given out, in memory.
//!
//! Everything here is blocking and takes microseconds, rarely more than a millisecond. Nothing
//! here runs a program, keeps a port open, or writes to disk.
//!
//! **Invariant:** the kernel is the only store: whatever a killed daemon left, [`Host::reconcile`]
//! brings it to what the engine says should be there.

mod address;
mod endpoint;
mod error;
mod firewall;
mod host;
mod namespace;
mod pool;
mod publication;
mod registry;
mod sockets;
mod sysctl;

pub use address::{Cidr, MacAddress, ParseAddressError};
pub use endpoint::{Bridge, DEFAULT_BRIDGE, Endpoint, EndpointSettings, VETH_PREFIX, veth_name};
pub use error::NetError;
pub use host::{Expected, Host, Report};
pub use namespace::{Namespace, NamespacePool};
pub use pool::{AddressError, AddressPool};
pub use publication::{ParseProtocolError, Protocol, Publication};
pub use registry::{PortChoice, PortError, PortRegistry, Wanted};
