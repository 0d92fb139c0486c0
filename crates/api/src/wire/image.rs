//! Images: inspected, listed, their history, what a removal did.

use std::collections::BTreeMap;

use serde::Serialize;
use wadah_engine::images::{
    Defaults, Healthcheck, HistoryLine, Image as Domain, ImageConfig, Removed, Summary,
};

use super::{Empty, or_null, rfc3339};
use crate::version::{Gate, Version};

/// The answer to `GET /images/{name}/json`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct InspectedImage<'a> {
    id: String,
    repo_tags: &'a [String],
    repo_digests: &'a [String],
    parent: String,
    comment: &'a str,
    created: String,
    #[serde(flatten)]
    container: Option<OfContainer<'a>>,
    docker_version: &'a str,
    author: &'a str,
    config: Config<'a>,
    architecture: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    variant: &'a str,
    os: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    os_version: &'a str,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    virtual_size: Option<u64>,
    graph_driver: GraphDriver,
    #[serde(rename = "RootFS")]
    root_fs: RootFs,
    metadata: Metadata,
}

/// The container that a build's last step ran in: older versions tell.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct OfContainer<'a> {
    container: &'static str,
    container_config: Config<'a>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct GraphDriver {
    data: BTreeMap<&'static str, String>,
    name: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct RootFs {
    r#type: &'static str,
    layers: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Metadata {
    last_tag_time: String,
}

/// An image's configuration: all of Docker's container fields, or only what is set.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Config<'a> {
    Whole(WholeConfig<'a>),
    Sparse(SparseConfig<'a>),
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct WholeConfig<'a> {
    hostname: &'static str,
    domainname: &'static str,
    user: &'a str,
    attach_stdin: bool,
    attach_stdout: bool,
    attach_stderr: bool,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    exposed_ports: BTreeMap<&'a str, Empty>,
    tty: bool,
    open_stdin: bool,
    stdin_once: bool,
    env: Option<&'a [String]>,
    cmd: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    healthcheck: Option<&'a Healthcheck>,
    image: &'static str,
    volumes: Option<BTreeMap<&'a str, Empty>>,
    working_dir: &'a str,
    entrypoint: Option<&'a [String]>,
    on_build: Option<&'a [String]>,
    labels: Option<&'a BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "str::is_empty")]
    stop_signal: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    shell: &'a [String],
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct SparseConfig<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    user: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    exposed_ports: BTreeMap<&'a str, Empty>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    env: &'a [String],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    entrypoint: &'a [String],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    cmd: &'a [String],
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    volumes: BTreeMap<&'a str, Empty>,
    #[serde(skip_serializing_if = "str::is_empty")]
    working_dir: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "str::is_empty")]
    stop_signal: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    healthcheck: Option<&'a Healthcheck>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    on_build: &'a [String],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    shell: &'a [String],
}

/// One image of `GET /images/json`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ListedImage<'a> {
    containers: i64,
    created: i64,
    id: String,
    labels: Option<&'a BTreeMap<String, String>>,
    parent_id: String,
    repo_digests: &'a [String],
    repo_tags: &'a [String],
    shared_size: i64,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    virtual_size: Option<u64>,
}

/// One line of `GET /images/{name}/history`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct HistoryItem<'a> {
    comment: &'a str,
    created: i64,
    created_by: &'a str,
    id: String,
    size: u64,
    tags: Option<&'a [String]>,
}

/// One thing that a removal did.
#[derive(Debug, Serialize)]
pub(crate) enum RemovedItem<'a> {
    /// A name is gone.
    Untagged(&'a str),
    /// An image or a layer is gone.
    Deleted(&'a str),
}

impl<'a> InspectedImage<'a> {
    /// Everything about an image, as `version` tells it.
    pub(crate) fn new(image: &'a Domain, version: Version) -> Self {
        let config: &ImageConfig = &image.config;
        let layers = config.diff_ids.iter().map(ToString::to_string).collect();
        Self {
            id: image.id.to_string(),
            repo_tags: &image.repo_tags,
            repo_digests: &image.repo_digests,
            parent: image.parent.map(|it| it.to_string()).unwrap_or_default(),
            comment: &config.comment,
            created: rfc3339(config.created),
            container: (!version.has(Gate::NoContainerConfig)).then(|| OfContainer {
                container: "",
                container_config: Config::new(&config.defaults, version),
            }),
            docker_version: &config.docker_version,
            author: &config.author,
            config: Config::new(&config.defaults, version),
            architecture: &config.architecture,
            variant: &config.variant,
            os: if config.os.is_empty() { "linux" } else { &config.os },
            os_version: &config.os_version,
            size: image.size,
            virtual_size: (!version.has(Gate::NoVirtualSize)).then_some(image.size),
            graph_driver: GraphDriver { data: BTreeMap::new(), name: "overlay2" },
            root_fs: RootFs { r#type: "layers", layers },
            metadata: Metadata { last_tag_time: rfc3339(image.last_tagged) },
        }
    }
}

impl<'a> Config<'a> {
    fn new(it: &'a Defaults, version: Version) -> Self {
        if version.has(Gate::SparseImageConfig) {
            Self::Sparse(it.into())
        } else {
            Self::Whole(it.into())
        }
    }
}

impl<'a> From<&'a Defaults> for WholeConfig<'a> {
    fn from(it: &'a Defaults) -> Self {
        Self {
            hostname: "",
            domainname: "",
            user: &it.user,
            attach_stdin: false,
            attach_stdout: false,
            attach_stderr: false,
            exposed_ports: set(&it.exposed_ports),
            tty: false,
            open_stdin: false,
            stdin_once: false,
            env: or_null(&it.env),
            cmd: or_null(&it.cmd),
            healthcheck: it.healthcheck.as_ref(),
            image: "",
            volumes: Some(set(&it.volumes)).filter(|it| !it.is_empty()),
            working_dir: &it.working_dir,
            entrypoint: or_null(&it.entrypoint),
            on_build: or_null(&it.on_build),
            labels: Some(&it.labels).filter(|it| !it.is_empty()),
            stop_signal: &it.stop_signal,
            shell: &it.shell,
        }
    }
}

impl<'a> From<&'a Defaults> for SparseConfig<'a> {
    fn from(it: &'a Defaults) -> Self {
        Self {
            user: &it.user,
            exposed_ports: set(&it.exposed_ports),
            env: &it.env,
            entrypoint: &it.entrypoint,
            cmd: &it.cmd,
            volumes: set(&it.volumes),
            working_dir: &it.working_dir,
            labels: &it.labels,
            stop_signal: &it.stop_signal,
            healthcheck: it.healthcheck.as_ref(),
            on_build: &it.on_build,
            shell: &it.shell,
        }
    }
}

fn set(keys: &[String]) -> BTreeMap<&str, Empty> {
    keys.iter().map(|it| (it.as_str(), Empty {})).collect()
}

impl<'a> ListedImage<'a> {
    /// An image, as `version` lists it.
    pub(crate) fn new(it: &'a Summary, version: Version) -> Self {
        Self {
            // Docker says -1 where it has not counted.
            containers: -1,
            created: it.created.map_or(0, |it| it.as_second()),
            id: it.id.to_string(),
            labels: Some(&it.labels).filter(|it| !it.is_empty()),
            parent_id: it.parent.map(|it| it.to_string()).unwrap_or_default(),
            repo_digests: &it.repo_digests,
            repo_tags: &it.repo_tags,
            shared_size: -1,
            size: it.size,
            virtual_size: (!version.has(Gate::NoVirtualSize)).then_some(it.size),
        }
    }
}

impl<'a> From<&'a HistoryLine> for HistoryItem<'a> {
    fn from(it: &'a HistoryLine) -> Self {
        Self {
            comment: &it.comment,
            created: it.created.map_or(0, |it| it.as_second()),
            created_by: &it.created_by,
            id: it.id.map_or_else(|| "<missing>".to_owned(), |it| it.to_string()),
            size: it.size,
            tags: or_null(&it.tags),
        }
    }
}

impl<'a> From<&'a Removed> for RemovedItem<'a> {
    fn from(it: &'a Removed) -> Self {
        match it {
            Removed::Untagged(name) => Self::Untagged(name),
            Removed::Deleted(id) => Self::Deleted(id),
        }
    }
}
