//! Networks. For now the three that are always there: `bridge`, `host`, `none`.

mod attachment;

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock, Weak},
};

use jiff::Timestamp;
use wadah_net::{
    AddressPool, Bridge, Cidr, Expected, Host, Namespace, NamespacePool, PortRegistry,
};
use wadah_oci::Digest;

use crate::{EngineError, Settings, containers::Registry, filters::Filters};

pub(crate) use attachment::{Attachment, AttachmentForm};

/// Network namespaces that are kept ready.
const NAMESPACES: usize = 4;

/// Everything about one network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkSnapshot {
    /// Its id: 64 hexadecimal digits.
    pub id: String,
    /// Its name.
    pub name: String,
    /// `bridge`, `host` or `null`.
    pub driver: String,
    /// When it was created.
    pub created: Timestamp,
    /// Its subnet and gateway, if it has them.
    pub subnet: Option<(String, String)>,
    /// The driver's options.
    pub options: BTreeMap<String, String>,
    /// The running containers in it.
    pub endpoints: Vec<NetworkEndpoint>,
}

/// A running container in a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkEndpoint {
    /// The container's id.
    pub container: String,
    /// The container's name.
    pub name: String,
    /// The endpoint's id.
    pub endpoint_id: String,
    /// Its MAC address.
    pub mac_address: String,
    /// Its address with the prefix's length.
    pub ipv4_address: String,
}

/// All networks.
#[derive(Debug)]
pub struct Networks {
    host: Host,
    namespaces: NamespacePool,
    bridge: String,
    bridge_address: Cidr,
    addresses: AddressPool,
    ports: PortRegistry,
    created: Timestamp,
    containers: OnceLock<Weak<Registry>>,
}

impl Networks {
    /// Opens the network namespace of the caller, from which containers are to be reached.
    /// Changes nothing: [`Self::reconcile`] does. Blocks.
    pub(crate) fn open(settings: &Settings) -> Result<Self, EngineError> {
        let failed = |operation: &'static str| {
            move |error: wadah_net::NetError| EngineError::mechanism(operation, error)
        };
        let host = Host::open().map_err(failed("cannot open the network"))?;
        let bridge_address = match settings.bridge_address {
            Some((address, prefix)) => Cidr::new(address, prefix).ok_or_else(|| {
                EngineError::invalid(format!("invalid bridge address: {address}/{prefix}"))
            })?,
            None => host
                .default_gateway(&settings.bridge)
                .map_err(failed("cannot choose the default bridge's address"))?,
        };
        let addresses = AddressPool::new(bridge_address.network());
        addresses
            .reserve(bridge_address.address())
            .map_err(|it| EngineError::mechanism("cannot use the default bridge's address", it))?;
        Ok(Self {
            host,
            namespaces: NamespacePool::new(NAMESPACES)
                .map_err(failed("cannot make network namespaces"))?,
            bridge: settings.bridge.clone(),
            bridge_address,
            addresses,
            ports: PortRegistry::new(),
            created: Timestamp::now(),
            containers: OnceLock::new(),
        })
    }

    /// Tells where containers are looked up for listings.
    pub(crate) fn set_containers(&self, containers: &Arc<Registry>) {
        let _only_once = self.containers.set(Arc::downgrade(containers));
    }

    /// A ready network namespace.
    pub(crate) fn namespace(&self) -> Result<Namespace, EngineError> {
        let taken = self.namespaces.take();
        taken.map_err(|it| EngineError::mechanism("cannot make a network namespace", it))
    }

    /// Takes away what no running container needs, and makes be there what they do. Blocks.
    pub(crate) fn reconcile<'a>(
        &self,
        attachments: impl IntoIterator<Item = &'a Attachment>,
    ) -> Result<(), EngineError> {
        let mut expected = Expected {
            bridges: vec![bridge(&self.bridge, self.bridge_address)],
            ..Expected::default()
        };
        for attachment in attachments {
            expected.publications.extend(attachment.publications.iter().cloned());
            expected.veths.push(attachment.host_name.clone());
        }
        let report = self.host.reconcile(&expected);
        let report =
            report.map_err(|it| EngineError::mechanism("cannot reconcile the network", it))?;
        tracing::debug!(?report, "reconciled the network");
        Ok(())
    }

    /// The id of a built-in network, the same on every machine.
    pub(crate) fn id(name: &str) -> String {
        Digest::of(format!("wadah network {name}").as_bytes()).hex()
    }

    /// Lists networks.
    pub async fn list(&self, filters: &Filters) -> Result<Vec<NetworkSnapshot>, EngineError> {
        filters.check(&["dangling", "driver", "id", "label", "name", "scope", "type"])?;
        let mut all = Vec::new();
        for network in self.all() {
            let is_custom = |it: &str| it == "custom";
            let wanted = filters.any("name", |it| network.name.contains(it))
                && filters.any("id", |it| network.id.starts_with(it))
                && filters.any("driver", |it| network.driver == it)
                && filters.any("type", |it| !is_custom(it))
                && filters.any("scope", |it| it == "local")
                && filters.any("dangling", |it| it != "true" && it != "1")
                && filters.labels("label", &BTreeMap::new());
            if wanted {
                all.push(network);
            }
        }
        Ok(all)
    }

    /// Tells everything about a network.
    pub async fn inspect(&self, reference: &str) -> Result<NetworkSnapshot, EngineError> {
        let fits = |it: &NetworkSnapshot| {
            it.name == reference || (!reference.is_empty() && it.id.starts_with(reference))
        };
        let missing = || EngineError::NoSuchNetwork { reference: reference.to_owned() };
        self.all().into_iter().find(fits).ok_or_else(missing)
    }

    fn all(&self) -> Vec<NetworkSnapshot> {
        let network = |name: &str, driver: &str| NetworkSnapshot {
            id: Self::id(name),
            name: name.to_owned(),
            driver: driver.to_owned(),
            created: self.created,
            subnet: None,
            options: BTreeMap::new(),
            endpoints: Vec::new(),
        };
        let mut bridge = network("bridge", "bridge");
        let (address, subnet) = (self.bridge_address.address(), self.bridge_address.network());
        bridge.subnet = Some((subnet.to_string(), address.to_string()));
        let option =
            |name: &str, value: &str| (format!("com.docker.network.{name}"), value.to_owned());
        bridge.options = BTreeMap::from([
            option("bridge.default_bridge", "true"),
            option("bridge.enable_icc", "true"),
            option("bridge.enable_ip_masquerade", "true"),
            option("bridge.host_binding_ipv4", "0.0.0.0"),
            option("bridge.name", &self.bridge),
        ]);
        let containers = self.containers.get().and_then(Weak::upgrade);
        for container in containers.iter().flat_map(|it| it.all()) {
            let now = container.now();
            let Some(attachment) = now.run.as_ref().and_then(|it| it.attachment.as_ref()) else {
                continue;
            };
            bridge.endpoints.push(NetworkEndpoint {
                container: container.id().to_string(),
                name: now.name.to_string(),
                endpoint_id: attachment.endpoint_id.clone(),
                mac_address: attachment.mac.to_string(),
                ipv4_address: attachment.address.to_string(),
            });
        }
        vec![bridge, network("host", "host"), network("none", "null")]
    }
}

fn bridge(name: &str, address: Cidr) -> Bridge {
    Bridge {
        name: name.to_owned(),
        gateways: vec![address],
        mtu: None,
        masquerade: true,
        icc: true,
        internal: false,
    }
}
