//! Showing one container.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    container::Container,
    log_options::{self, LogTarget},
    shared::Shared,
    start::hostname,
    view::{EndpointView, NetworkView, RootfsView, Snapshot},
};
use crate::{
    config::{NetworkMode, PortBinding, PortSpec},
    networks::{Attachment, Networks},
    spec::security::Security,
};

impl Shared {
    /// Everything about a container, at this moment.
    pub(super) fn snapshot(&self, container: &Container) -> Snapshot {
        let definition = &container.definition;
        let directories = self.store.containers.directories(&definition.id);
        let (name, state, restart_count, execs) = {
            let now = container.now();
            (now.name.clone(), now.state.clone(), now.restarts, now.execs.clone())
        };
        let logs = log_options::parse(&definition.host.log);
        let is_logged = matches!(logs, Ok(LogTarget::File { .. }));
        let mut command = definition.command.iter().cloned();
        // What was understood at create is understood now, but for a profile of a later release.
        let security = Security::of(&definition.host).unwrap_or_default();
        Snapshot {
            hostname: hostname(definition),
            masked_paths: security.masked_paths(&definition.host),
            readonly_paths: security.readonly_paths(&definition.host),
            id: definition.id.clone(),
            name,
            created: definition.created,
            state,
            path: command.next().unwrap_or_default(),
            args: command.collect(),
            config: Arc::clone(&definition.config),
            host: Arc::clone(&definition.host),
            image: definition.image,
            restart_count,
            resolv_conf_path: directories.root.join("resolv.conf"),
            hostname_path: directories.root.join("hostname"),
            hosts_path: directories.root.join("hosts"),
            log_path: is_logged.then(|| self.log_path(&definition.id)),
            mounts: crate::spec::mounts::points(&definition.host),
            execs,
            rootfs: RootfsView {
                lower: self.lower(&definition.layers),
                upper: directories.upper,
                work: directories.work,
            },
            network: network(container),
            size: None,
        }
    }
}

/// The name of the network that a mode means.
pub(super) fn network_name(mode: &NetworkMode) -> String {
    match mode {
        NetworkMode::Default => "bridge".to_owned(),
        other => other.to_string(),
    }
}

/// What is published, while it runs.
pub(super) fn published(container: &Container) -> BTreeMap<PortSpec, Vec<PortBinding>> {
    let attachment = container.now().run.as_ref().and_then(|it| it.attachment.clone());
    attachment.map(|it| it.ports()).unwrap_or_default()
}

/// How a container is connected.
pub(super) fn network(container: &Container) -> NetworkView {
    let definition = &container.definition;
    let attachment = {
        let now = container.now();
        now.run.as_ref().filter(|_| now.state.is_running()).and_then(|it| it.attachment.clone())
    };
    let mode = &definition.host.network_mode;
    if matches!(mode, NetworkMode::Container(_)) {
        return NetworkView::default();
    }
    let name = network_name(mode);
    let endpoint = endpoint(container, &name, attachment.as_deref());
    let mut ports = BTreeMap::new();
    if let Some(attachment) = &attachment {
        ports = attachment.ports();
    }
    if container.state().is_running() && *mode == NetworkMode::Default {
        for port in &definition.config.exposed_ports {
            ports.entry(*port).or_default();
        }
    }
    NetworkView { ports, endpoints: BTreeMap::from([(name, endpoint)]) }
}

fn endpoint(container: &Container, name: &str, attachment: Option<&Attachment>) -> EndpointView {
    let config = container.definition.endpoints.get(name).cloned().unwrap_or_default();
    let network_id = Networks::id(name);
    match attachment {
        None => EndpointView { config, network_id, ..EndpointView::default() },
        Some(attachment) => EndpointView {
            config,
            network_id,
            endpoint_id: attachment.endpoint_id.clone(),
            gateway: Some(attachment.gateway),
            address: Some(attachment.address.address()),
            prefix_length: attachment.address.prefix(),
            mac_address: attachment.mac.to_string(),
        },
    }
}
