//! The peer: Debian's Docker, in a network namespace and with roots of its own.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result};
use wadah_testkit::wait_until;

use super::sample::quietly;
use crate::shell;

/// A running dockerd.
pub(crate) struct Docker {
    daemon: Child,
    socket: String,
    root: PathBuf,
}

impl Docker {
    /// Starts it in the namespace `namespace`, below `root`, and imports `rootfs` as `busybox`.
    pub(crate) fn new(root: &Path, namespace: &str, rootfs: &Path) -> Result<Self> {
        fs::create_dir_all(root)?;
        let socket = format!("unix://{}", root.join("docker.sock").display());
        let log = File::create(root.join("log"))?;
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net={namespace}"))
            .args(["--", "/usr/sbin/dockerd", "-H", &socket])
            .arg("--data-root")
            .arg(root.join("data"))
            .arg("--exec-root")
            .arg(root.join("run"))
            .arg("-p")
            .arg(root.join("pid"))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let daemon = command.spawn().context("dockerd")?;
        let docker = Self { daemon, socket, root: root.into() };
        wait_until("dockerd answers", || quietly(docker.client().arg("version")).is_ok());
        let tar = root.join("busybox.tar");
        quietly(Command::new("tar").arg("-C").arg(rootfs).arg("-cf").arg(&tar).arg("."))?;
        quietly(docker.client().arg("import").arg(&tar).arg("busybox"))?;
        Ok(docker)
    }

    /// Debian's client with this daemon's address.
    pub(crate) fn client(&self) -> Command {
        let mut command = Command::new(executable());
        command.args(["-H", &self.socket]);
        command
    }

    /// What it wrote for its runtime about a running container: `config.json` of the bundle.
    pub(crate) fn specification(&self, name: &str) -> Result<String> {
        let mut inspect = self.client();
        let id = shell::read(inspect.args(["inspect", "--format", "{{.Id}}", name]))?;
        let bundles = self.root.join("run/containerd/daemon/io.containerd.runtime.v2.task/moby");
        let path = bundles.join(id.trim()).join("config.json");
        fs::read_to_string(&path).with_context(|| path.display().to_string())
    }

    /// The daemon's process id.
    pub(crate) fn pid(&self) -> u32 {
        self.daemon.id()
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        // SIGTERM, so that it takes its containerd with it.
        drop(quietly(Command::new("kill").arg(self.daemon.id().to_string())));
        drop(self.daemon.wait());
    }
}

fn executable() -> PathBuf {
    "/usr/bin/docker".into()
}
