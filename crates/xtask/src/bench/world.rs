//! All that is compared, set up once.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result};
use wadah_testkit::{Sandbox, busybox_root, wait_until};

use super::{peer::Docker, sample::quietly};
use crate::shell;

const FLOOR: &str = include_str!("floor.c");

/// Our daemon, Docker's, the floor program, and a root filesystem for runtimes.
pub(crate) struct World {
    pub(crate) wadah: Sandbox,
    pub(crate) docker: Docker,
    pub(crate) executable: PathBuf,
    namespace: Namespace,
    directory: PathBuf,
}

/// A network namespace kept by a sleeping process.
struct Namespace(Child);

impl World {
    /// Starts everything.
    pub(crate) fn new(executable: PathBuf) -> Result<Self> {
        let directory = shell::target_directory().join("bench");
        if directory.exists() {
            fs::remove_dir_all(&directory)?;
        }
        fs::create_dir_all(directory.join("rootfs"))?;
        busybox_root(&directory.join("rootfs"))?;
        compile_floor(&directory)?;
        let namespace = Namespace::new()?;
        namespace.prepare_for_floor()?;
        let wadah = Sandbox::of(executable.clone(), &[])?;
        wadah.load_busybox()?;
        let docker =
            Docker::new(&directory.join("docker"), &namespace.path(), &directory.join("rootfs"))?;
        Ok(Self { wadah, docker, executable, namespace, directory })
    }

    /// Runs the floor program with the network `none` or `bridge`.
    pub(crate) fn floor(&self, network: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net={}", self.namespace.path()))
            .arg("--")
            .arg(self.directory.join("floor"));
        command
            .arg(network)
            .arg(self.rootfs())
            .arg(self.directory.join("scratch"))
            .arg("wadah-floor");
        command
    }

    /// A busybox root filesystem.
    pub(crate) fn rootfs(&self) -> PathBuf {
        self.directory.join("rootfs")
    }

    /// A fresh directory.
    pub(crate) fn fresh(&self, name: &str) -> Result<PathBuf> {
        let path = self.directory.join(name);
        if path.exists() {
            fs::remove_dir_all(&path)?;
        }
        fs::create_dir_all(&path)?;
        Ok(path)
    }
}

impl Namespace {
    fn new() -> Result<Self> {
        let own = fs::read_link("/proc/self/ns/net")?;
        let child = Command::new("unshare")
            .args(["--net", "--", "setpriv", "--pdeathsig", "KILL", "sleep", "infinity"])
            .stdin(Stdio::null())
            .spawn()
            .context("unshare")?;
        let namespace = Self(child);
        wait_until("the namespace exists", || {
            fs::read_link(namespace.path()).is_ok_and(|it| it != own)
        });
        quietly(namespace.inside("ip").args(["link", "set", "lo", "up"]))?;
        Ok(namespace)
    }

    fn path(&self) -> String {
        format!("/proc/{}/ns/net", self.0.id())
    }

    fn inside(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path())).arg("--").arg(program);
        command
    }

    /// The bridge and the firewall map that the floor program adds to.
    fn prepare_for_floor(&self) -> Result<()> {
        let ip: [&[&str]; 3] = [
            &["link", "add", "floor0", "type", "bridge"],
            &["address", "add", "10.250.0.1/24", "dev", "floor0"],
            &["link", "set", "floor0", "up"],
        ];
        for arguments in ip {
            quietly(self.inside("ip").args(arguments))?;
        }
        quietly(self.inside("nft").arg("add table ip floor"))?;
        quietly(
            self.inside("nft")
                .arg("add map ip floor floor_ports { type inet_service : ipv4_addr; }"),
        )
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn compile_floor(directory: &Path) -> Result<()> {
    let source = directory.join("floor.c");
    fs::write(&source, FLOOR)?;
    quietly(
        Command::new("gcc").args(["-O2", "-static", "-o"]).arg(directory.join("floor")).arg(source),
    )
}
