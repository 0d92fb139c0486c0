//! A guest: another kernel, emulated, for what this machine's kernel is not set up to show.
//!
//! It has cgroup version 2 and nothing else of the host: an initial file system made on the spot
//! (busybox, the programs under test with their libraries), one command, one answer. No
//! acceleration is needed, which makes it some twenty times slower than the host.
//!
//! **Invariant:** nothing is installed on the host; the kernel's package is unpacked into a cache.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{cpio::Archive, fixture};

/// A guest to be booted.
#[derive(Debug)]
pub struct Guest {
    kernel: PathBuf,
    modules: PathBuf,
    files: Vec<(PathBuf, PathBuf)>,
    /// Programs without what only a debugger reads, which would fill the guest's memory.
    stripped: tempfile::TempDir,
    deadline: Duration,
}

/// What a guest's command printed, on both streams, and how it ended.
#[derive(Debug)]
pub struct GuestOutput {
    /// All that appeared on the console after the boot.
    pub text: String,
    /// The command's exit code.
    pub code: i32,
}

const EMULATOR: &str = "/usr/bin/qemu-system-x86_64";
/// The package whose dependency is the kernel.
const KERNEL_PACKAGE: &str = "linux-image-cloud-amd64";
/// What the init script says around the command's output.
const BEGIN: &str = "=== guest: begin ===";
const END: &str = "=== guest: end ";
/// Modules that containers need and the kernel has not built in, in order of loading.
const MODULES: [&str; 1] = ["kernel/fs/overlayfs/overlay.ko"];

impl Guest {
    /// Prepares a guest, or tells what is missing for one.
    pub fn new() -> Result<Self> {
        ensure!(Path::new(EMULATOR).exists(), "{EMULATOR} is missing (package qemu-system-x86)");
        let root = unpacked_kernel()?;
        let boot = root.join("boot");
        let kernel = find(&boot, "vmlinuz-")?;
        let modules = find(&root.join("lib/modules"), "")?;
        let stripped = tempfile::tempdir()?;
        let deadline = Duration::from_secs(300);
        Ok(Self { kernel, modules, files: Vec::new(), stripped, deadline })
    }

    /// Adds a file of the host at the same path in the guest.
    pub fn with_file(self, path: &Path) -> Self {
        self.with_file_at(path, path)
    }

    /// Adds a file of the host at `place` in the guest.
    pub fn with_file_at(mut self, path: &Path, place: &Path) -> Self {
        self.files.push((path.to_owned(), place.to_owned()));
        self
    }

    /// Adds a program, at `place` in the guest, and the libraries it is linked with.
    pub fn with_program(self, path: &Path, place: &Path) -> Result<Self> {
        let mut guest = self.with_stripped(path, place);
        for library in libraries(path)? {
            if !guest.files.iter().any(|(_, it)| *it == library) {
                guest = guest.with_file(&library);
            }
        }
        Ok(guest)
    }

    /// Has a module of the guest's kernel loaded at boot, after those added before it: `net/llc/llc`.
    pub fn with_module(self, name: &str) -> Self {
        let file = self.modules.join("kernel").join(name).with_extension("ko");
        // Loaded in the order of their names.
        let place = format!("/modules/{:03}.ko", self.files.len());
        self.with_file_at(&file, Path::new(&place))
    }

    fn with_stripped(self, path: &Path, place: &Path) -> Self {
        let stripped = self.stripped.path().join(self.files.len().to_string());
        let status = Command::new("strip").arg("-o").arg(&stripped).arg(path).status();
        let program = if status.is_ok_and(|it| it.success()) { stripped.as_path() } else { path };
        self.with_file_at(program, place)
    }

    /// Boots the guest, runs a line of shell in it as root, and shuts it down.
    pub fn run(&self, line: &str) -> Result<GuestOutput> {
        let directory = tempfile::tempdir()?;
        let initramfs = directory.path().join("initramfs");
        fs::write(&initramfs, self.archive(line)?)?;
        let output = Command::new("timeout")
            .arg(self.deadline.as_secs().to_string())
            .arg(EMULATOR)
            .args(["-M", "q35", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2"])
            .args(["-m", "1024", "-nodefaults", "-no-reboot", "-serial", "stdio"])
            .args(["-display", "none", "-append", "console=ttyS0 quiet panic=-1"])
            .arg("-kernel")
            .arg(&self.kernel)
            .arg("-initrd")
            .arg(&initramfs)
            .stdin(std::process::Stdio::null())
            .output()
            .context("cannot run the emulator")?;
        read(&String::from_utf8_lossy(&output.stdout).replace('\r', "")).with_context(|| {
            format!("{}\n{}", String::from_utf8_lossy(&output.stderr), output.status)
        })
    }

    fn archive(&self, line: &str) -> Result<Vec<u8>> {
        let mut archive = Archive::default();
        let busybox = tempfile::tempdir()?;
        fixture::busybox_root(busybox.path())?;
        archive.add_tree(busybox.path(), Path::new("/"))?;
        for (file, place) in &self.files {
            archive.add_file(file, place)?;
        }
        for module in MODULES {
            let name = Path::new(module).file_name().context("a module without a name")?;
            archive.add_file(&self.modules.join(module), &Path::new("/modules").join(name))?;
        }
        archive.add_text("/command", &format!("{line}\n"), 0o755);
        archive.add_text("/init", FIRST, 0o755);
        archive.add_text("/second", SECOND, 0o755);
        Ok(archive.finish())
    }
}

/// The first file system cannot be pivoted away from, so everything moves to another.
const FIRST: &str = "#!/bin/busybox sh
b=/bin/busybox
$b mkdir -p /newroot
$b mount -t tmpfs -o mode=755 tmpfs /newroot
for i in /*; do
    case $i in /newroot|/proc|/sys|/dev) ;; *) $b cp -a $i /newroot/ ;; esac
done
$b mkdir -p /newroot/proc /newroot/sys /newroot/dev /newroot/tmp /newroot/run
exec $b switch_root /newroot /second
";

const SECOND: &str = "#!/bin/busybox sh
b=/bin/busybox
export PATH=/bin:/usr/bin:/sbin:/usr/sbin HOME=/root TMPDIR=/tmp
$b mount -t proc proc /proc
$b mount -t sysfs sysfs /sys
$b mount -t devtmpfs devtmpfs /dev
$b mkdir -p /dev/pts /dev/shm
$b mount -t devpts devpts /dev/pts
$b mount -t tmpfs tmpfs /dev/shm
$b mount -t cgroup2 cgroup2 /sys/fs/cgroup
$b ip link set lo up
for i in /modules/*.ko; do $b insmod $i; done
$b dmesg -n 1
echo '=== guest: begin ==='
$b sh /command 2>&1
echo \"=== guest: end $? ===\"
$b reboot -f
";

/// Finds the command's output between the marks.
fn read(console: &str) -> Result<GuestOutput> {
    let Some((_, rest)) = console.split_once(BEGIN) else {
        bail!("the guest did not boot:\n{console}");
    };
    let Some((text, code)) = rest.rsplit_once(END) else {
        bail!("the guest's command did not end:\n{rest}");
    };
    let code = code.split_whitespace().next().and_then(|it| it.parse().ok());
    Ok(GuestOutput { text: text.to_owned(), code: code.context("no exit code")? })
}

/// Unpacks the newest kernel of the distribution, once.
fn unpacked_kernel() -> Result<PathBuf> {
    let cache = std::env::var_os("WADAH_GUEST_CACHE")
        .map_or_else(|| PathBuf::from("/var/cache/wadah-guest"), PathBuf::from);
    let root = cache.join("root");
    if root.join("boot").is_dir() {
        return Ok(root);
    }
    // Made beside and renamed, so that tests side by side find all of it or nothing.
    fs::create_dir_all(&cache).with_context(|| format!("cannot make {}", cache.display()))?;
    let work = tempfile::tempdir_in(&cache)?;
    let script = format!(
        "set -e; name=$(apt-cache depends {KERNEL_PACKAGE} | awk '/Depends: linux-image/{{print $2; exit}}'); \
         test -n \"$name\"; timeout 120 apt-get download \"$name\"; dpkg-deb -x *.deb root"
    );
    let output = Command::new("sh").args(["-c", &script]).current_dir(work.path()).output()?;
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "cannot fetch the package {KERNEL_PACKAGE}: {text}");
    match fs::rename(work.path().join("root"), &root) {
        Err(err) if !root.join("boot").is_dir() => Err(err).context("cannot keep the kernel"),
        _ => Ok(root),
    }
}

fn find(directory: &Path, prefix: &str) -> Result<PathBuf> {
    let entries = fs::read_dir(directory).with_context(|| directory.display().to_string())?;
    let mut found = entries
        .flatten()
        .filter(|it| it.file_name().to_string_lossy().starts_with(prefix))
        .map(|it| it.path());
    found.next().with_context(|| format!("no {prefix}* in {}", directory.display()))
}

/// The shared libraries of a program, by the dynamic loader's own word; none if it is static.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let output = Command::new("ldd").arg(program).output().context("cannot run ldd")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let path = |it: &str| it.starts_with('/').then(|| PathBuf::from(it));
    Ok(text.lines().filter_map(|it| it.split_whitespace().find_map(path)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commands_output_is_what_is_between_the_marks() {
        let console = format!("boot\n{BEGIN}\nhello\n{END}3 ===\nreboot\n");
        let output = read(&console).unwrap();
        assert_eq!((output.text.trim(), output.code), ("hello", 3));
        read("boot").unwrap_err();
        read(&format!("boot\n{BEGIN}\nhel")).unwrap_err();
    }
}
