//! Installing Wadah on a machine, or into a package's tree.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::{release, setup, shell};

/// Builds the release and copies executable, completions, man pages and units below `root`.
pub(crate) fn run(root: &Path) -> Result<()> {
    setup::run(false)?;
    let built = release::run()?;
    let executable = place(root, "usr/local/bin")?.join("wadah");
    // A new inode: the old executable may be running.
    let fresh = executable.with_extension("new");
    fs::copy(&built, &fresh).with_context(|| format!("cannot write {}", fresh.display()))?;
    fs::set_permissions(&fresh, fs::Permissions::from_mode(0o755))?;
    fs::rename(&fresh, &executable)?;
    println!("{}", executable.display());
    completions(root, &executable)?;
    manual(root, &executable)?;
    units(root)
}

fn completions(root: &Path, executable: &Path) -> Result<()> {
    let shells = [
        ("bash", "usr/local/share/bash-completion/completions", "wadah"),
        ("zsh", "usr/local/share/zsh/site-functions", "_wadah"),
        ("fish", "usr/local/share/fish/vendor_completions.d", "wadah.fish"),
    ];
    for (shell, directory, file) in shells {
        let script = shell::read(Command::new(executable).args(["completion", shell]))?;
        let path = place(root, directory)?.join(file);
        fs::write(&path, script)?;
        println!("{}", path.display());
    }
    Ok(())
}

fn manual(root: &Path, executable: &Path) -> Result<()> {
    let directory = place(root, "usr/local/share/man/man1")?;
    shell::run(Command::new(executable).arg("man").arg(&directory))?;
    println!("{}/wadah*.1", directory.display());
    Ok(())
}

fn units(root: &Path) -> Result<()> {
    let directory = place(root, "etc/systemd/system")?;
    for name in ["wadah.service", "wadah.socket"] {
        let path = directory.join(name);
        fs::copy(shell::top().join("packaging").join(name), &path)?;
        println!("{}", path.display());
    }
    Ok(())
}

fn place(root: &Path, directory: &str) -> Result<PathBuf> {
    let path = root.join(directory);
    fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
    Ok(path)
}
