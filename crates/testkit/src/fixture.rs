//! Fixture images, made on the spot from what the machine has.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

const BUSYBOX: &str = "/bin/busybox";

/// Writes the image `busybox:latest` as a docker-archive and gives its path.
pub fn busybox(directory: &Path) -> Result<PathBuf> {
    let archive = directory.join("busybox.tar");
    let layer = layer_of_busybox()?;
    let config = json!({
        "architecture": "amd64",
        "os": "linux",
        "created": "2026-01-01T00:00:00Z",
        "config": {
            "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
            "Cmd": ["sh"],
        },
        "rootfs": { "type": "layers", "diff_ids": [sha256(directory, &layer)?] },
        "history": [{ "created": "2026-01-01T00:00:00Z", "created_by": "busybox-static" }],
    });
    let manifest = json!([{
        "Config": "config.json",
        "RepoTags": ["busybox:latest"],
        "Layers": ["layer.tar"],
    }]);
    let mut tar = tar::Builder::new(fs::File::create(&archive)?);
    append(&mut tar, "layer.tar", &layer)?;
    append(&mut tar, "config.json", config.to_string().as_bytes())?;
    append(&mut tar, "manifest.json", manifest.to_string().as_bytes())?;
    tar.finish()?;
    Ok(archive)
}

/// Unpacks a busybox root filesystem into `directory`.
pub fn busybox_root(directory: &Path) -> Result<()> {
    let layer = layer_of_busybox()?;
    let mut archive = tar::Archive::new(layer.as_slice());
    archive.set_preserve_permissions(true);
    Ok(archive.unpack(directory)?)
}

fn layer_of_busybox() -> Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    for directory in
        ["bin", "dev", "etc", "home", "proc", "root", "run", "sys", "usr", "usr/bin", "var"]
    {
        directory_entry(&mut tar, directory, 0o755)?;
    }
    directory_entry(&mut tar, "tmp", 0o1777)?;
    let program =
        fs::read(BUSYBOX).with_context(|| format!("{BUSYBOX}: is busybox-static installed?"))?;
    let mut header = header(tar::EntryType::Regular, 0o755, program.len() as u64);
    tar.append_data(&mut header, "bin/busybox", program.as_slice())?;
    let list = Command::new(BUSYBOX).arg("--list").output()?;
    ensure!(list.status.success(), "{BUSYBOX} --list failed");
    for applet in String::from_utf8(list.stdout)?.lines().filter(|it| *it != "busybox") {
        let mut header = self::header(tar::EntryType::Symlink, 0o777, 0);
        tar.append_link(&mut header, format!("bin/{applet}"), "busybox")?;
    }
    append(&mut tar, "etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\napp:x:1000:1000::/home:/bin/sh\n")?;
    append(&mut tar, "etc/group", b"root:x:0:\nnogroup:x:65534:\napp:x:1000:\nextra:x:2000:app\n")?;
    Ok(tar.into_inner()?)
}

fn header(kind: tar::EntryType, mode: u32, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(1_767_225_600);
    header
}

fn directory_entry<W: std::io::Write>(
    tar: &mut tar::Builder<W>,
    path: &str,
    mode: u32,
) -> Result<()> {
    let mut header = header(tar::EntryType::Directory, mode, 0);
    Ok(tar.append_data(&mut header, path, std::io::empty())?)
}

fn append<W: std::io::Write>(tar: &mut tar::Builder<W>, path: &str, bytes: &[u8]) -> Result<()> {
    let mut header = header(tar::EntryType::Regular, 0o644, bytes.len() as u64);
    Ok(tar.append_data(&mut header, path, bytes)?)
}

/// Hashes with the machine's own tool, so that our hashing is not tested against itself.
fn sha256(directory: &Path, bytes: &[u8]) -> Result<String> {
    let path = directory.join("hashed");
    fs::write(&path, bytes)?;
    let output = Command::new("sha256sum").arg(&path).output().context("sha256sum")?;
    fs::remove_file(&path)?;
    let text = String::from_utf8(output.stdout)?;
    let hex = text.split(' ').next().unwrap_or_default();
    ensure!(hex.len() == 64, "sha256sum printed {text:?}");
    Ok(format!("sha256:{hex}"))
}
