//! `Config`: what a container is asked to be, wherever it runs.

use std::collections::BTreeMap;

use serde::Serialize;
use wadah_engine::config::{Config as Domain, HealthConfig};

use super::{Empty, is_false, is_zero};

/// Docker's `Config`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Config<'a> {
    hostname: &'a str,
    domainname: &'a str,
    user: &'a str,
    attach_stdin: bool,
    attach_stdout: bool,
    attach_stderr: bool,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    exposed_ports: BTreeMap<String, Empty>,
    tty: bool,
    open_stdin: bool,
    stdin_once: bool,
    env: &'a [String],
    cmd: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    healthcheck: Option<Healthcheck<'a>>,
    image: &'a str,
    volumes: Option<BTreeMap<&'a str, Empty>>,
    working_dir: &'a str,
    entrypoint: Option<&'a [String]>,
    #[serde(skip_serializing_if = "is_false")]
    network_disabled: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    mac_address: Option<&'a str>,
    on_build: Option<Empty>,
    labels: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop_signal: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop_timeout: Option<i64>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    shell: &'a [String],
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Healthcheck<'a> {
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    test: &'a [String],
    #[serde(skip_serializing_if = "is_zero")]
    interval: i64,
    #[serde(skip_serializing_if = "is_zero")]
    timeout: i64,
    #[serde(skip_serializing_if = "is_zero")]
    start_period: i64,
    #[serde(skip_serializing_if = "is_zero")]
    start_interval: i64,
    #[serde(skip_serializing_if = "is_zero")]
    retries: i64,
}

impl<'a> Config<'a> {
    /// A configuration, with the host name in force.
    pub(crate) fn new(it: &'a Domain, hostname: &'a str) -> Self {
        let volumes: BTreeMap<_, _> =
            it.volumes.iter().map(|path| (path.as_str(), Empty {})).collect();
        Self {
            hostname,
            domainname: &it.domainname,
            user: &it.user,
            attach_stdin: it.attach_stdin,
            attach_stdout: it.attach_stdout,
            attach_stderr: it.attach_stderr,
            exposed_ports: it.exposed_ports.iter().map(|it| (it.to_string(), Empty {})).collect(),
            tty: it.tty,
            open_stdin: it.open_stdin,
            stdin_once: it.stdin_once,
            env: &it.env,
            cmd: it.command.as_deref(),
            healthcheck: it.healthcheck.as_ref().map(Healthcheck::from),
            image: &it.image,
            volumes: Some(volumes).filter(|it| !it.is_empty()),
            working_dir: &it.working_dir,
            entrypoint: it.entrypoint.as_deref(),
            network_disabled: it.network_disabled,
            mac_address: it.mac_address.as_deref(),
            on_build: None,
            labels: &it.labels,
            stop_signal: it.stop_signal.as_deref(),
            stop_timeout: it.stop_timeout,
            shell: &it.shell,
        }
    }
}

impl<'a> From<&'a HealthConfig> for Healthcheck<'a> {
    fn from(it: &'a HealthConfig) -> Self {
        Self {
            test: &it.test,
            interval: it.interval,
            timeout: it.timeout,
            start_period: it.start_period,
            start_interval: it.start_interval,
            retries: it.retries,
        }
    }
}
