//! Attachments: how one run of a container is connected to the default bridge.
//!
//! An attachment is reserved in memory, connected in the kernel, written into the run directory
//! for the daemon that may have to take over, and released when the run ends. Each of these is
//! asked for: dropping one releases nothing, since a daemon that ends must not disconnect what
//! runs on.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
};

use serde::{Deserialize, Serialize};
use wadah_net::{
    Cidr, Endpoint, MacAddress, Namespace, PortChoice, PortError, Protocol as NetProtocol,
    Publication, Wanted, veth_name,
};

use super::Networks;
use crate::{
    EngineError,
    config::{HostConfig, PortBinding, PortSpec, Protocol},
    record::Definition,
};

/// How one run of a container is connected.
#[derive(Debug, Clone)]
pub(crate) struct Attachment {
    /// The container's id: who holds the ports.
    owner: String,
    /// The endpoint's id, made up for clients.
    pub(crate) endpoint_id: String,
    /// The host's side of the veth pair.
    pub(crate) host_name: String,
    /// The address with the network's prefix.
    pub(crate) address: Cidr,
    /// The host's address on the bridge.
    pub(crate) gateway: IpAddr,
    /// The hardware address.
    pub(crate) mac: MacAddress,
    /// What is published.
    pub(crate) publications: Vec<Publication>,
}

/// An attachment as it is written down.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct AttachmentForm {
    endpoint_id: String,
    host_name: String,
    address: String,
    gateway: IpAddr,
    #[serde(default)]
    publications: Vec<PublicationForm>,
}

#[derive(Debug, Serialize, Deserialize)]
struct PublicationForm {
    protocol: String,
    host_address: Option<IpAddr>,
    host_port: u16,
    container_port: u16,
}

impl Attachment {
    /// The shape for the disk.
    pub(crate) fn to_form(&self) -> AttachmentForm {
        let publications = self.publications.iter().map(|it| PublicationForm {
            protocol: it.protocol.to_string(),
            host_address: it.host_address,
            host_port: it.host_port,
            container_port: it.container_port,
        });
        AttachmentForm {
            endpoint_id: self.endpoint_id.clone(),
            host_name: self.host_name.clone(),
            address: self.address.to_string(),
            gateway: self.gateway,
            publications: publications.collect(),
        }
    }

    /// Reads the shape on disk.
    fn from_form(owner: &str, form: AttachmentForm) -> Option<Self> {
        let address: Cidr = form.address.parse().ok()?;
        let publication = |it: PublicationForm| {
            Some(Publication {
                protocol: it.protocol.parse().ok()?,
                host_address: it.host_address,
                host_port: it.host_port,
                container_address: address.address(),
                container_port: it.container_port,
            })
        };
        let publications: Option<Vec<_>> = form.publications.into_iter().map(publication).collect();
        Some(Self {
            owner: owner.to_owned(),
            endpoint_id: form.endpoint_id,
            host_name: form.host_name,
            address,
            gateway: form.gateway,
            mac: MacAddress::for_address(address.address()),
            publications: publications?,
        })
    }

    /// Where each of the container's ports is published.
    pub(crate) fn ports(&self) -> BTreeMap<PortSpec, Vec<PortBinding>> {
        let mut ports: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for publication in &self.publications {
            let protocol = match publication.protocol {
                NetProtocol::Tcp => Protocol::Tcp,
                NetProtocol::Udp => Protocol::Udp,
                NetProtocol::Sctp => Protocol::Sctp,
            };
            let port = PortSpec { port: publication.container_port, protocol };
            let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
            let host_address = Some(publication.host_address.unwrap_or(any));
            let host_port = publication.host_port.to_string();
            ports.entry(port).or_default().push(PortBinding { host_address, host_port });
        }
        ports
    }
}

impl Networks {
    /// Reserves an address and the ports that are asked for.
    pub(crate) fn reserve(&self, definition: &Definition) -> Result<Attachment, EngineError> {
        let owner = definition.id.as_str();
        let operation = || format!("cannot connect container {owner}");
        let host_name = veth_name().map_err(|it| EngineError::io(operation(), it.into()))?;
        let bytes = crate::containers::random::<32>()?;
        let (asked, wanted) = wanted(definition)?;
        let address =
            self.addresses.allocate().map_err(|it| EngineError::mechanism(operation(), it))?;
        let ports = match self.ports.reserve(owner, &wanted) {
            Ok(ports) => ports,
            Err(error) => {
                self.addresses.release(address);
                return Err(port_error(owner, &error));
            }
        };
        let published = |((wanted, inside), port): ((&Wanted, &PortSpec), u16)| Publication {
            protocol: wanted.protocol,
            host_address: wanted.address,
            host_port: port,
            container_address: address,
            container_port: inside.port,
        };
        let prefix = self.bridge_address.prefix();
        Ok(Attachment {
            owner: owner.to_owned(),
            endpoint_id: bytes.iter().map(|it| format!("{it:02x}")).collect(),
            host_name,
            address: Cidr::new(address, prefix).expect("BUG: the pool is the bridge's"),
            gateway: self.bridge_address.address(),
            mac: MacAddress::for_address(address),
            publications: wanted.iter().zip(&asked).zip(ports).map(published).collect(),
        })
    }

    /// Connects a namespace. Blocks.
    pub(crate) fn connect(
        &self,
        attachment: &Attachment,
        namespace: &Namespace,
    ) -> Result<(), EngineError> {
        let endpoint = Endpoint {
            host_name: attachment.host_name.clone(),
            bridge: self.bridge.clone(),
            name: "eth0".to_owned(),
            addresses: vec![attachment.address],
            gateways: vec![attachment.gateway],
            mac: Some(attachment.mac),
            mtu: None,
            icc: true,
        };
        let operation = || format!("cannot connect container {}", attachment.owner);
        let attached = self.host.attach(namespace, &endpoint);
        let _settings = attached.map_err(|it| EngineError::mechanism(operation(), it))?;
        if attachment.publications.is_empty() {
            return Ok(());
        }
        let published = self.host.publish(&attachment.publications);
        published.map_err(|it| EngineError::mechanism(operation(), it))
    }

    /// Takes back what is published and gives back address and ports. The veth pair goes with
    /// the namespace. Blocks.
    pub(crate) fn release(&self, attachment: &Attachment) {
        if !attachment.publications.is_empty()
            && let Err(error) = self.host.unpublish(&attachment.publications)
        {
            tracing::warn!(id = attachment.owner, %error, "ports stay published");
        }
        // Before the address is given to another: the kernel takes the old pair down late.
        if let Err(error) = self.host.detach(&attachment.host_name) {
            tracing::warn!(id = attachment.owner, %error, "a veth pair stays plugged in");
        }
        self.ports.release(&attachment.owner);
        self.addresses.release(attachment.address.address());
    }

    /// Takes over what an earlier daemon had reserved for a container that runs.
    pub(crate) fn adopt(&self, owner: &str, form: AttachmentForm) -> Option<Attachment> {
        let attachment = Attachment::from_form(owner, form)?;
        if let Err(error) = self.addresses.reserve(attachment.address.address()) {
            tracing::warn!(owner, %error, "an address is held twice");
        }
        for it in &attachment.publications {
            let adopted = self.ports.adopt(owner, it.protocol, it.host_address, it.host_port);
            if let Err(error) = adopted {
                tracing::warn!(owner, %error, "a port is held twice");
            }
        }
        Some(attachment)
    }
}

/// The ports that are asked for: inside, and what is wanted of the host for each.
fn wanted(definition: &Definition) -> Result<(Vec<PortSpec>, Vec<Wanted>), EngineError> {
    let HostConfig { port_bindings, publish_all_ports, .. } = &*definition.host;
    let mut asked = Vec::new();
    let mut all = Vec::new();
    for (port, bindings) in port_bindings {
        let any = [PortBinding::default()];
        for binding in if bindings.is_empty() { &any } else { bindings.as_slice() } {
            asked.push(*port);
            all.push(Wanted {
                protocol: protocol(port.protocol),
                address: binding.host_address.filter(|it| !it.is_unspecified()),
                port: choice(&binding.host_port)?,
            });
        }
    }
    if *publish_all_ports {
        let exposed = &definition.config.exposed_ports;
        for port in exposed.iter().filter(|it| !port_bindings.contains_key(it)) {
            asked.push(*port);
            let protocol = protocol(port.protocol);
            all.push(Wanted { protocol, address: None, port: PortChoice::Ephemeral });
        }
    }
    Ok((asked, all))
}

fn protocol(protocol: Protocol) -> NetProtocol {
    match protocol {
        Protocol::Tcp => NetProtocol::Tcp,
        Protocol::Udp => NetProtocol::Udp,
        Protocol::Sctp => NetProtocol::Sctp,
    }
}

/// Reads a host's port as clients give it.
fn choice(text: &str) -> Result<PortChoice, EngineError> {
    let invalid = || EngineError::invalid(format!("invalid port specification: \"{text}\""));
    let number = |text: &str| text.parse::<u16>().map_err(|_| invalid());
    match text.split_once('-') {
        None if text.is_empty() || text == "0" => Ok(PortChoice::Ephemeral),
        None => number(text).map(PortChoice::Exactly),
        Some((first, last)) => {
            let (first, last) = (number(first)?, number(last)?);
            if first == 0 || first > last {
                return Err(invalid());
            }
            Ok(PortChoice::AnyOf(first..=last))
        }
    }
}

fn port_error(owner: &str, error: &PortError) -> EngineError {
    let reason = match error {
        PortError::Allocated { address, port, .. } => {
            format!("Bind for {address}:{port} failed: port is already allocated ({error})")
        }
        other => {
            let source = std::error::Error::source(other);
            source.map_or_else(|| other.to_string(), |it| format!("{other}: {it}"))
        }
    };
    EngineError::Port {
        message: format!("failed to set up container networking: container {owner}: {reason}"),
    }
}
