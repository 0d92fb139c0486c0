//! Containers, inspected and listed.

use std::{collections::BTreeMap, net::IpAddr};

use serde::Serialize;
use wadah_engine::{
    config::EndpointConfig,
    containers::{
        EndpointView, MountPoint, NetworkView, PortSummary, RootfsView, Snapshot, State, Summary,
    },
};
use wadah_oci::ExecId;

use super::{
    Empty,
    config::Config,
    host::{Binding, HostConfig, bindings, network_mode},
    or_null, rfc3339,
};
use crate::version::{Gate, Version};

/// The answer to `GET /containers/{id}/json`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Inspected<'a> {
    id: &'a str,
    created: String,
    path: &'a str,
    args: &'a [String],
    state: StateModel<'a>,
    image: String,
    resolv_conf_path: String,
    hostname_path: String,
    hosts_path: String,
    log_path: String,
    name: String,
    restart_count: u32,
    driver: &'static str,
    platform: &'static str,
    mount_label: &'static str,
    process_label: &'static str,
    app_armor_profile: &'static str,
    #[serde(rename = "ExecIDs")]
    exec_ids: Option<Vec<&'a str>>,
    host_config: HostConfig<'a>,
    graph_driver: GraphDriver<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size_rw: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size_root_fs: Option<u64>,
    mounts: Vec<MountModel<'a>>,
    config: Config<'a>,
    network_settings: NetworkSettings<'a>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct StateModel<'a> {
    status: &'static str,
    running: bool,
    paused: bool,
    restarting: bool,
    #[serde(rename = "OOMKilled")]
    oom_killed: bool,
    dead: bool,
    pid: i32,
    exit_code: i32,
    error: &'a str,
    started_at: String,
    finished_at: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct GraphDriver<'a> {
    data: BTreeMap<&'static str, String>,
    name: &'a str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct MountModel<'a> {
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    source: &'a str,
    destination: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    driver: Option<&'static str>,
    mode: &'a str,
    #[serde(rename = "RW")]
    rw: bool,
    propagation: &'a str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct NetworkSettings<'a> {
    #[serde(flatten)]
    legacy_before: Option<LegacyBefore>,
    #[serde(rename = "SandboxID")]
    sandbox_id: &'static str,
    sandbox_key: &'static str,
    ports: BTreeMap<String, Option<Vec<Binding<'a>>>>,
    #[serde(flatten)]
    legacy_after: Option<LegacyAfter<'a>>,
    networks: BTreeMap<&'a str, Endpoint<'a>>,
}

/// Fields that older versions have first.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
struct LegacyBefore {
    bridge: &'static str,
}

/// The default bridge's endpoint, told once more.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
struct LegacyAfter<'a> {
    hairpin_mode: bool,
    #[serde(rename = "LinkLocalIPv6Address")]
    link_local_ipv6_address: &'static str,
    #[serde(rename = "LinkLocalIPv6PrefixLen")]
    link_local_ipv6_prefix_len: u8,
    #[serde(rename = "SecondaryIPAddresses")]
    secondary_ip_addresses: Option<Empty>,
    #[serde(rename = "SecondaryIPv6Addresses")]
    secondary_ipv6_addresses: Option<Empty>,
    #[serde(rename = "EndpointID")]
    endpoint_id: &'a str,
    gateway: String,
    #[serde(rename = "GlobalIPv6Address")]
    global_ipv6_address: &'static str,
    #[serde(rename = "GlobalIPv6PrefixLen")]
    global_ipv6_prefix_len: u8,
    #[serde(rename = "IPAddress")]
    ip_address: String,
    #[serde(rename = "IPPrefixLen")]
    ip_prefix_len: u8,
    #[serde(rename = "IPv6Gateway")]
    ipv6_gateway: &'static str,
    mac_address: &'a str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Endpoint<'a> {
    #[serde(rename = "IPAMConfig")]
    ipam_config: Option<IpamConfig<'a>>,
    links: Option<&'a [String]>,
    aliases: Option<&'a [String]>,
    mac_address: &'a str,
    driver_opts: Option<&'a BTreeMap<String, String>>,
    gw_priority: i64,
    #[serde(rename = "NetworkID")]
    network_id: &'a str,
    #[serde(rename = "EndpointID")]
    endpoint_id: &'a str,
    gateway: String,
    #[serde(rename = "IPAddress")]
    ip_address: String,
    #[serde(rename = "IPPrefixLen")]
    ip_prefix_len: u8,
    #[serde(rename = "IPv6Gateway")]
    ipv6_gateway: &'static str,
    #[serde(rename = "GlobalIPv6Address")]
    global_ipv6_address: &'static str,
    #[serde(rename = "GlobalIPv6PrefixLen")]
    global_ipv6_prefix_len: u8,
    #[serde(rename = "DNSNames")]
    dns_names: Option<&'a [String]>,
}

#[derive(Debug, Serialize)]
struct IpamConfig<'a> {
    #[serde(rename = "IPv4Address", skip_serializing_if = "Option::is_none")]
    ipv4_address: Option<&'a str>,
    #[serde(rename = "IPv6Address", skip_serializing_if = "Option::is_none")]
    ipv6_address: Option<&'a str>,
}

/// One container of `GET /containers/json`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Listed<'a> {
    id: &'a str,
    names: [String; 1],
    image: &'a str,
    #[serde(rename = "ImageID")]
    image_id: String,
    command: String,
    created: i64,
    ports: Vec<Port>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size_rw: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size_root_fs: Option<u64>,
    labels: &'a BTreeMap<String, String>,
    state: &'static str,
    status: &'a str,
    host_config: ListedHost<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    health: Option<ListedHealth>,
    network_settings: ListedNetworks<'a>,
    mounts: Vec<MountModel<'a>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Port {
    #[serde(rename = "IP", skip_serializing_if = "Option::is_none")]
    ip: Option<IpAddr>,
    private_port: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    public_port: Option<u16>,
    r#type: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct ListedHost<'a> {
    network_mode: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<&'a BTreeMap<String, String>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct ListedHealth {
    status: &'static str,
    failing_streak: u32,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct ListedNetworks<'a> {
    networks: BTreeMap<&'a str, Endpoint<'a>>,
}

impl<'a> Inspected<'a> {
    /// Everything about a container, as `version` tells it.
    pub(crate) fn new(it: &'a Snapshot, version: Version) -> Self {
        let path = |it: &std::path::Path| it.to_string_lossy().into_owned();
        Self {
            id: it.id.as_str(),
            created: rfc3339(Some(it.created)),
            path: &it.path,
            args: &it.args,
            state: StateModel::from(&it.state),
            image: it.image.to_string(),
            resolv_conf_path: path(&it.resolv_conf_path),
            hostname_path: path(&it.hostname_path),
            hosts_path: path(&it.hosts_path),
            log_path: it.log_path.as_deref().map(path).unwrap_or_default(),
            name: format!("/{}", it.name),
            restart_count: it.restart_count,
            driver: "overlay2",
            platform: "linux",
            mount_label: "",
            process_label: "",
            app_armor_profile: "",
            exec_ids: or_null(&it.execs).map(|ids| ids.iter().map(ExecId::as_str).collect()),
            host_config: HostConfig::new(&it.host, &it.masked_paths, &it.readonly_paths),
            graph_driver: GraphDriver::new(it.id.as_str(), &it.rootfs),
            size_rw: it.size.map(|it| it.writable),
            size_root_fs: it.size.map(|it| it.total),
            mounts: it.mounts.iter().map(MountModel::from).collect(),
            config: Config::new(&it.config, &it.hostname),
            network_settings: NetworkSettings::new(&it.network, version),
        }
    }
}

impl<'a> From<&'a State> for StateModel<'a> {
    fn from(state: &'a State) -> Self {
        let exited = state.exited();
        let (pid, paused, started_at) = match state {
            State::Running(it) => (it.pid, it.paused, Some(it.started_at)),
            _ => (0, false, exited.and_then(|it| it.started_at)),
        };
        Self {
            status: state.name(),
            running: state.is_running() || matches!(state, State::Restarting(_)),
            paused,
            restarting: matches!(state, State::Restarting(_)),
            oom_killed: exited.is_some_and(|it| it.oom_killed),
            dead: matches!(state, State::Dead(_)),
            pid,
            exit_code: exited.map_or(0, |it| it.code),
            error: exited.map_or("", |it| it.error.as_str()),
            started_at: rfc3339(started_at),
            // What never ran has never finished.
            finished_at: rfc3339(
                exited.filter(|_| !matches!(state, State::Failed(_))).map(|it| it.finished_at),
            ),
        }
    }
}

impl<'a> GraphDriver<'a> {
    fn new(id: &str, rootfs: &'a RootfsView) -> Self {
        let text = |it: &std::path::Path| it.to_string_lossy().into_owned();
        let lower: Vec<_> = rootfs.lower.iter().map(|it| text(it)).collect();
        let merged = rootfs.upper.with_file_name("merged");
        let data = BTreeMap::from([
            ("ID", id.to_owned()),
            ("LowerDir", lower.join(":")),
            ("MergedDir", text(&merged)),
            ("UpperDir", text(&rootfs.upper)),
            ("WorkDir", text(&rootfs.work)),
        ]);
        Self { data, name: "overlay2" }
    }
}

impl<'a> From<&'a MountPoint> for MountModel<'a> {
    fn from(it: &'a MountPoint) -> Self {
        Self {
            r#type: it.kind,
            name: it.name.as_deref(),
            source: &it.source,
            destination: &it.destination,
            driver: (it.kind == "volume").then_some("local"),
            mode: &it.mode,
            rw: it.writable,
            propagation: &it.propagation,
        }
    }
}

impl<'a> NetworkSettings<'a> {
    fn new(it: &'a NetworkView, version: Version) -> Self {
        let is_legacy = !version.has(Gate::NoLegacyNetworkSettings);
        let published = bindings(&it.ports).into_iter();
        Self {
            legacy_before: is_legacy.then(LegacyBefore::default),
            sandbox_id: "",
            sandbox_key: "",
            // An exposed port that is not published is null.
            ports: published
                .map(|(port, it)| (port, Some(it).filter(|it| !it.is_empty())))
                .collect(),
            legacy_after: is_legacy.then(|| LegacyAfter::new(it.endpoints.get("bridge"))),
            networks: endpoints(it),
        }
    }
}

impl<'a> LegacyAfter<'a> {
    fn new(bridge: Option<&'a EndpointView>) -> Self {
        let Some(it) = bridge else { return Self::default() };
        Self {
            endpoint_id: &it.endpoint_id,
            gateway: address(it.gateway),
            ip_address: address(it.address),
            ip_prefix_len: it.prefix_length,
            mac_address: &it.mac_address,
            ..Self::default()
        }
    }
}

fn endpoints(it: &NetworkView) -> BTreeMap<&str, Endpoint<'_>> {
    it.endpoints.iter().map(|(name, it)| (name.as_str(), Endpoint::from(it))).collect()
}

fn address(address: Option<IpAddr>) -> String {
    address.map(|it| it.to_string()).unwrap_or_default()
}

impl<'a> From<&'a EndpointView> for Endpoint<'a> {
    fn from(it: &'a EndpointView) -> Self {
        let asked = &it.config;
        Self {
            ipam_config: IpamConfig::new(asked),
            links: or_null(&asked.links),
            aliases: or_null(&asked.aliases),
            mac_address: &it.mac_address,
            driver_opts: Some(&asked.driver_options).filter(|it| !it.is_empty()),
            gw_priority: 0,
            network_id: &it.network_id,
            endpoint_id: &it.endpoint_id,
            gateway: address(it.gateway),
            ip_address: address(it.address),
            ip_prefix_len: it.prefix_length,
            ipv6_gateway: "",
            global_ipv6_address: "",
            global_ipv6_prefix_len: 0,
            dns_names: None,
        }
    }
}

impl<'a> IpamConfig<'a> {
    fn new(asked: &'a EndpointConfig) -> Option<Self> {
        let ipv4_address = asked.ipv4_address.as_deref();
        let ipv6_address = asked.ipv6_address.as_deref();
        let is_asked = ipv4_address.is_some() || ipv6_address.is_some();
        is_asked.then_some(Self { ipv4_address, ipv6_address })
    }
}

impl<'a> Listed<'a> {
    /// A container, as `version` lists it.
    pub(crate) fn new(it: &'a Summary, version: Version) -> Self {
        let annotations = Some(&it.host.annotations).filter(|it| !it.is_empty());
        Self {
            id: it.id.as_str(),
            names: [format!("/{}", it.name)],
            image: &it.image,
            image_id: it.image_id.to_string(),
            command: command_line(&it.command),
            created: it.created.as_second(),
            ports: it.ports.iter().map(Port::from).collect(),
            size_rw: it.size.map(|it| it.writable),
            size_root_fs: it.size.map(|it| it.total),
            labels: &it.config.labels,
            state: it.state.name(),
            status: &it.status,
            host_config: ListedHost {
                network_mode: network_mode(&it.host),
                annotations: annotations.filter(|_| version.has(Gate::ListAnnotations)),
            },
            health: version
                .has(Gate::ListHealth)
                .then_some(ListedHealth { status: "none", failing_streak: 0 }),
            network_settings: ListedNetworks { networks: endpoints(&it.network) },
            mounts: it.mounts.iter().map(MountModel::from).collect(),
        }
    }
}

/// The command in one line; arguments with spaces are quoted, as Docker has it.
fn command_line(words: &[String]) -> String {
    let Some((first, arguments)) = words.split_first() else { return String::new() };
    let quoted =
        arguments.iter().map(|it| if it.contains(' ') { format!("'{it}'") } else { it.clone() });
    let arguments: Vec<_> = quoted.collect();
    if arguments.is_empty() { first.clone() } else { format!("{first} {}", arguments.join(" ")) }
}

impl From<&PortSummary> for Port {
    fn from(it: &PortSummary) -> Self {
        Self {
            ip: it.address,
            private_port: it.private,
            public_port: it.public,
            r#type: it.protocol.as_str(),
        }
    }
}
