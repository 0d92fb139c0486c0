//! What the machine needs beside Rust: Debian packages, installed when they are missing.

use std::{path::Path, process::Command};

use anyhow::{Result, bail};

use crate::shell;

/// A package, a file that tells that it is there, and what it is for.
struct Package {
    name: &'static str,
    proof: &'static str,
    why: &'static str,
}

const NEEDED: &[Package] = &[
    Package { name: "gcc", proof: "/usr/bin/gcc", why: "links programs, compiles zstd" },
    Package { name: "libc6-dev", proof: "/usr/include/stdlib.h", why: "static linking" },
    Package { name: "busybox-static", proof: "/bin/busybox", why: "the fixture images" },
    Package { name: "iproute2", proof: "/sbin/ip", why: "an independent look at links in tests" },
    Package {
        name: "nftables",
        proof: "/usr/sbin/nft",
        why: "an independent look at the firewall in tests",
    },
    Package { name: "util-linux", proof: "/usr/bin/nsenter", why: "network namespaces for tests" },
    Package {
        name: "qemu-system-x86",
        proof: "/usr/bin/qemu-system-x86_64",
        why: "a guest with cgroup version 2 for tests",
    },
];

const PEERS: &[Package] = &[
    Package {
        name: "docker.io",
        proof: "/usr/sbin/dockerd",
        why: "the peer of run, exec and build",
    },
    Package { name: "crun", proof: "/usr/bin/crun", why: "the peer of the runtime" },
    Package { name: "runc", proof: "/usr/sbin/runc", why: "the peer of the runtime" },
    Package { name: "podman", proof: "/usr/bin/podman", why: "another caller of the runtime" },
];

/// Installs what is missing.
pub(crate) fn run(peers: bool) -> Result<()> {
    let more = if peers { PEERS } else { &[] };
    let missing: Vec<_> =
        NEEDED.iter().chain(more).filter(|it| !Path::new(it.proof).exists()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    for Package { name, why, .. } in &missing {
        eprintln!("missing: {name} ({why})");
    }
    if !Path::new("/usr/bin/apt-get").exists() {
        bail!("apt-get is not on this machine: install the packages above by hand");
    }
    shell::run(Command::new("apt-get").args(["update", "--quiet=2"]))?;
    let names = missing.iter().map(|it| it.name);
    // No service of a peer may start by itself: policy-rc.d is asked by Debian's scripts, and
    // answers 101 ("forbidden") through this variable on machines without it.
    let mut install = Command::new("apt-get");
    install
        .args(["install", "--yes", "--quiet=2", "--no-install-recommends"])
        .args(names)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .env("RUNLEVEL", "1");
    shell::run(&mut install)
}
