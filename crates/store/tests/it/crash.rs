//! A daemon killed while it unpacks leaves nothing but leftovers, and the next one sweeps them.

use std::{
    env, fs,
    io::{self, Read},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use wadah_store::Store;

use crate::raw::Tar;

const ROOT: &str = "WADAH_TEST_CRASH_ROOT";

/// Not a test of its own: what the killed process does.
#[test]
fn helper_that_is_killed() {
    let Some(root) = env::var_os(ROOT) else { return };
    let store = Store::open(Path::new(&root)).unwrap();
    let endless = Endless { header: Tar::new().file("f", &[b'x'; 1000]).cut(), at: 0 };
    store.layers.unpack(endless, None, None).unwrap_err();
}

/// An archive without end.
struct Endless {
    header: Vec<u8>,
    at: usize,
}

impl Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let rest = &self.header[self.at..];
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        self.at = (self.at + length) % self.header.len();
        Ok(length)
    }
}

fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < deadline, "waited 30 s for {what}");
        thread::yield_now();
    }
}

#[test]
fn a_killed_unpacking_is_swept_and_can_be_repeated() {
    let scratch = tempfile::tempdir().unwrap();
    let tar = Tar::new().file("kept", b"kept").end();
    let kept = Store::open(scratch.path()).unwrap().layers.unpack(&tar[..], None, None).unwrap();
    for _ in 0..5 {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "crash::helper_that_is_killed"])
            .env(ROOT, scratch.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let started = scratch.path().join("ingest/layer-0/fs/f");
        wait_for("the unpacking to start", || started.exists());
        child.kill().unwrap();
        child.wait().unwrap();
        let store = Store::open(scratch.path()).unwrap();
        assert!(store.damage().is_empty(), "{:?}", store.damage());
        assert_eq!(store.layers.list(), std::slice::from_ref(&kept));
        assert_eq!(fs::read_dir(scratch.path().join("ingest")).unwrap().count(), 0);
        let removed = scratch.path().join("removed");
        wait_for("the sweep", || fs::read_dir(&removed).unwrap().count() == 0);
        store.layers.unpack(&tar[..], None, Some(&kept.diff_id)).unwrap();
    }
}
