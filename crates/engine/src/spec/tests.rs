//! Specifications as the runtime will read them.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use jiff::Timestamp;
use oci_spec::runtime::{Capability, LinuxNamespaceType, Spec};
use wadah_oci::{ContainerId, Digest};

use super::*;
use crate::config::{Config, Resources};

fn definition(config: Config, host: HostConfig) -> Definition {
    Definition {
        id: ContainerId::from_bytes([1; 32]),
        created: Timestamp::UNIX_EPOCH,
        image: Digest::of(b""),
        layers: Vec::new(),
        config: Arc::new(config),
        host: Arc::new(host),
        endpoints: BTreeMap::new(),
        command: vec!["/bin/sh".to_owned()],
    }
}

fn spec(config: Config, host: HostConfig) -> Spec {
    let definition = definition(config, host);
    let security = Security::of(&definition.host).unwrap();
    let user = User { uid: 0, gid: 0, groups: vec![10], home: "/root".to_owned() };
    let inputs = Inputs {
        user: &user,
        directory: Path::new("/data"),
        network: Namespace::Path("/proc/self/fd/5".into()),
        pid: pid_namespace(&definition.host.pid_mode).unwrap(),
        ipc: ipc_namespace(&definition.host.ipc_mode).unwrap(),
        hostname: "box",
        security: &security,
        definition: &definition,
    };
    serde_json::from_value(build(&inputs).unwrap()).unwrap()
}

fn usual() -> Spec {
    spec(Config::default(), HostConfig::default())
}

#[test]
fn a_usual_container_has_its_own_namespaces_and_fourteen_capabilities() {
    let spec = usual();
    let namespaces = spec.linux().as_ref().unwrap().namespaces().as_ref().unwrap();
    let kinds: Vec<_> = namespaces.iter().map(oci_spec::runtime::LinuxNamespace::typ).collect();
    assert_eq!(kinds.len(), 6);
    assert!(!kinds.contains(&LinuxNamespaceType::User));
    let process = spec.process().as_ref().unwrap();
    let capabilities = process.capabilities().as_ref().unwrap();
    assert_eq!(capabilities.bounding().as_ref().unwrap().len(), 14);
    assert!(capabilities.inheritable().as_ref().unwrap().is_empty());
    assert!(capabilities.ambient().as_ref().unwrap().is_empty());
    let env = process.env().as_ref().unwrap();
    assert!(env.contains(&"HOSTNAME=box".to_owned()) && env.contains(&"HOME=/root".to_owned()));
}

#[test]
fn a_privileged_container_is_masked_nowhere_and_may_use_every_device() {
    let spec = spec(Config::default(), HostConfig { privileged: true, ..HostConfig::default() });
    let linux = spec.linux().as_ref().unwrap();
    assert!(linux.masked_paths().as_ref().unwrap().is_empty());
    let rules = linux.resources().as_ref().unwrap().devices().as_ref().unwrap();
    assert!(rules.iter().all(oci_spec::runtime::LinuxDeviceCgroup::allow));
    let capabilities = spec.process().as_ref().unwrap().capabilities().as_ref().unwrap();
    assert!(capabilities.effective().as_ref().unwrap().contains(&Capability::SysAdmin));
}

#[test]
fn a_mount_that_is_asked_for_takes_the_place_of_a_usual_one() {
    let binds = vec!["/x:/dev/shm".to_owned(), "/h:/etc/hosts:ro".to_owned()];
    let spec = spec(Config::default(), HostConfig { binds, ..HostConfig::default() });
    let mounts = spec.mounts().as_ref().unwrap();
    let at = |path: &str| mounts.iter().filter(|it| it.destination() == Path::new(path)).count();
    assert_eq!((at("/dev/shm"), at("/etc/hosts"), at("/etc/hostname")), (1, 1, 1));
    let hosts = mounts.iter().find(|it| it.destination() == Path::new("/etc/hosts")).unwrap();
    assert_eq!(hosts.options().as_ref().unwrap(), &["rbind", "rprivate", "ro", "rro"]);
}

#[test]
fn limits_become_resources() {
    let resources = Resources {
        memory: 64 << 20,
        nano_cpus: 1_500_000_000,
        pids_limit: Some(10),
        ..Resources::default()
    };
    let spec = spec(Config::default(), HostConfig { resources, ..HostConfig::default() });
    let resources = spec.linux().as_ref().unwrap().resources().as_ref().unwrap();
    let memory = resources.memory().as_ref().unwrap();
    assert_eq!((memory.limit(), memory.swap()), (Some(64 << 20), Some(128 << 20)));
    let cpu = resources.cpu().as_ref().unwrap();
    assert_eq!((cpu.period(), cpu.quota()), (Some(100_000), Some(150_000)));
    assert_eq!(resources.pids().as_ref().unwrap().limit(), 10);
}
