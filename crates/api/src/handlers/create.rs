//! `POST /containers/create`: the body's configuration, and what differs between versions.

use std::collections::{BTreeMap, BTreeSet};

use hyper::StatusCode;
use serde::Serialize;
use wadah_engine::{
    EngineError,
    config::{CgroupnsMode, Config, EndpointConfig, HealthConfig, MountKind, NetworkMode},
    containers::{Containers, Create, Created},
};

use super::host_config::{self, ports};
use crate::{
    call::Call,
    error::ApiError,
    object::Object,
    reply::Reply,
    version::{Gate, Version},
};

/// Creates a container.
pub(crate) async fn create(containers: &Containers, mut call: Call) -> Result<Reply, ApiError> {
    let body = call.object().await?;
    let platform = call.query.get("platform").map(str::to_owned);
    let name = call.query.get("name").map(str::to_owned);
    let mut create = Create { name, platform, ..parse(body)? };
    adapt(&mut create, call.version);
    let created = containers.create(create).await.map_err(refused)?;
    Ok(answer(&created))
}

/// To Docker's client, 404 at create means that the image is missing: it pulls, and tries again.
/// Nothing else that is missing may answer so.
fn refused(error: EngineError) -> ApiError {
    match error {
        EngineError::NoSuchNetwork { .. } | EngineError::NoSuchContainer { .. } => {
            ApiError::bad_request(error.report())
        }
        other => other.into(),
    }
}

fn answer(created: &Created) -> Reply {
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Model<'a> {
        id: &'a str,
        warnings: &'a [String],
    }

    let model = Model { id: created.id.as_str(), warnings: &created.warnings };
    Reply::json_with(StatusCode::CREATED, &model)
}

fn parse(mut body: Object) -> Result<Create, ApiError> {
    let host = host_config::parse(body.object("HostConfig")?)?;
    let mut endpoints = BTreeMap::new();
    for (network, config) in body.object("NetworkingConfig")?.object_map("EndpointsConfig")? {
        endpoints.insert(network, endpoint(config)?);
    }
    Ok(Create { host, endpoints, config: config(body)?, ..Create::default() })
}

fn config(mut body: Object) -> Result<Config, ApiError> {
    Ok(Config {
        hostname: body.string("Hostname")?,
        domainname: body.string("Domainname")?,
        user: body.string("User")?,
        attach_stdin: body.flag("AttachStdin")?,
        attach_stdout: body.flag("AttachStdout")?,
        attach_stderr: body.flag("AttachStderr")?,
        exposed_ports: ports(body.keys("ExposedPorts")?)?.into_iter().collect(),
        tty: body.flag("Tty")?,
        open_stdin: body.flag("OpenStdin")?,
        stdin_once: body.flag("StdinOnce")?,
        env: body.strings("Env")?,
        command: body.words("Cmd")?,
        entrypoint: body.words("Entrypoint")?,
        image: body.string("Image")?,
        volumes: body.keys("Volumes")?.into_iter().collect::<BTreeSet<_>>(),
        working_dir: body.string("WorkingDir")?,
        labels: body.map("Labels")?,
        stop_signal: body.optional_string("StopSignal")?.filter(|it| !it.is_empty()),
        stop_timeout: body.optional_number("StopTimeout")?,
        network_disabled: body.flag("NetworkDisabled")?,
        mac_address: body.optional_string("MacAddress")?.filter(|it| !it.is_empty()),
        healthcheck: body.optional_object("Healthcheck")?.map(healthcheck).transpose()?,
        shell: body.words("Shell")?.unwrap_or_default(),
    })
}

fn healthcheck(mut body: Object) -> Result<HealthConfig, ApiError> {
    Ok(HealthConfig {
        test: body.strings("Test")?,
        interval: body.number("Interval")?,
        timeout: body.number("Timeout")?,
        start_period: body.number("StartPeriod")?,
        start_interval: body.number("StartInterval")?,
        retries: body.number("Retries")?,
    })
}

fn endpoint(mut body: Object) -> Result<EndpointConfig, ApiError> {
    let mut ipam = body.object("IPAMConfig")?;
    let filled = |it: Option<String>| it.filter(|it| !it.is_empty());
    Ok(EndpointConfig {
        ipv4_address: filled(ipam.optional_string("IPv4Address")?),
        ipv6_address: filled(ipam.optional_string("IPv6Address")?),
        aliases: body.strings("Aliases")?,
        links: body.strings("Links")?,
        mac_address: filled(body.optional_string("MacAddress")?),
        driver_options: body.map("DriverOpts")?,
    })
}

/// Makes of an older version's request what it meant then.
fn adapt(create: &mut Create, version: Version) {
    let host = &mut create.host;
    if !version.has(Gate::CgroupNamespace) {
        create.platform = None;
        if host.cgroupns_mode == CgroupnsMode::Default {
            host.cgroupns_mode = CgroupnsMode::Host;
        }
    }
    if !version.has(Gate::ConsoleSize) {
        host.console_size = None;
    }
    if !version.has(Gate::Annotations) {
        host.annotations.clear();
    }
    if !version.has(Gate::RecursiveReadOnly) {
        for mount in &mut host.mounts {
            if let MountKind::Bind { options, .. } = &mut mount.kind {
                options.read_only_non_recursive = true;
                options.read_only_force_recursive = false;
            }
        }
    }
    // Until 1.44 the container's MAC address was the one of its first network; clients of later
    // versions that still send it mean the same.
    if let Some(address) = create.config.mac_address.clone() {
        let network = match &create.host.network_mode {
            NetworkMode::Default => "bridge".to_owned(),
            mode => mode.to_string(),
        };
        let endpoint = create.endpoints.entry(network).or_default();
        endpoint.mac_address.get_or_insert(address);
    }
    if version.has(Gate::EndpointMacAddress) {
        create.config.mac_address = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::version::{NEWEST, OLDEST};

    fn parsed(text: &str) -> Create {
        parse(Object::parse(text.as_bytes()).unwrap()).unwrap()
    }

    fn check_refused(text: &str, expected: &str) {
        let error = parse(Object::parse(text.as_bytes()).unwrap()).unwrap_err();
        assert_eq!((error.status().as_u16(), error.to_string()), (400, expected.to_owned()));
    }

    #[test]
    fn a_body_of_the_docker_client_is_read_whole() {
        let create = parsed(
            r#"{"Hostname":"h","AttachStdout":true,"Tty":true,"Env":["A=1"],"Cmd":["sh","-c","x"],
            "Image":"busybox","Volumes":{},"Entrypoint":null,"Labels":{"l":"v"},
            "ExposedPorts":{"80/tcp":{},"53/udp":{}},"StopTimeout":3,
            "HostConfig":{"NetworkMode":"none","RestartPolicy":{"Name":"on-failure",
            "MaximumRetryCount":2},"AutoRemove":true,"Memory":1048576,"ConsoleSize":[24,80],
            "PortBindings":{"80/tcp":[{"HostIp":"127.0.0.1","HostPort":"8080"}]}},
            "NetworkingConfig":{"EndpointsConfig":{"bridge":{"Aliases":["a"]}}}}"#,
        );
        assert_eq!(create.config.command.unwrap(), ["sh", "-c", "x"]);
        assert_eq!(create.config.entrypoint, None);
        assert_eq!(create.config.exposed_ports.len(), 2);
        assert_eq!(create.host.network_mode, NetworkMode::None);
        assert_eq!(create.host.resources.memory, 1_048_576);
        assert_eq!(create.host.console_size, Some((24, 80)));
        assert_eq!(create.host.port_bindings.len(), 1);
        assert_eq!(create.endpoints["bridge"].aliases, ["a"]);
    }

    #[test]
    fn wrong_types_and_values_are_refused_by_name() {
        check_refused(r#"{"Tty":1}"#, "invalid JSON: Tty is a number and must be a boolean");
        check_refused(
            r#"{"HostConfig":[]}"#,
            "invalid JSON: HostConfig is a list and must be an object",
        );
        check_refused(r#"{"ExposedPorts":{"x/tcp":{}}}"#, "invalid port specification: \"x/tcp\"");
        check_refused(
            r#"{"HostConfig":{"BlkioWeight":70000}}"#,
            "invalid JSON: HostConfig.BlkioWeight is out of range: 70000",
        );
    }

    #[test]
    fn an_old_client_gets_what_it_was_used_to() {
        let mut create = parsed(r#"{"HostConfig":{"ConsoleSize":[1,2],"Annotations":{"a":"b"}}}"#);
        adapt(&mut create, OLDEST);
        assert_eq!(create.host.cgroupns_mode, CgroupnsMode::Host);
        assert_eq!(create.host.console_size, None);
        assert!(create.host.annotations.is_empty());
        let mut create = parsed(r#"{"MacAddress":"02:00:00:00:00:01"}"#);
        adapt(&mut create, NEWEST);
        assert_eq!(create.config.mac_address, None);
        let mac = create.endpoints["bridge"].mac_address.clone();
        assert_eq!(mac.as_deref(), Some("02:00:00:00:00:01"));
    }
}
