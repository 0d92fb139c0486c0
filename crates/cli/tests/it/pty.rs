//! A terminal with a program on it, as a person would sit before it.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    os::fd::OwnedFd,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{Mode, OFlags},
    process::{Pid, Signal},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{self, Termios, Winsize},
};
use wadah_testkit::wait_until;

/// What a test writes on the screen when the client has ended.
const LAST: &str = "<the client has ended>";

/// A terminal, and the client that runs on it.
pub(crate) struct Terminal {
    keyboard: File,
    side: OwnedFd,
    before: Termios,
    child: Child,
    screen: Arc<Mutex<Vec<u8>>>,
    gone: Arc<AtomicBool>,
    watcher: Option<JoinHandle<()>>,
}

impl Terminal {
    /// Starts `command` on a terminal of 30 rows and 100 columns that it controls.
    pub(crate) fn new(command: &Command) -> Self {
        let master =
            openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let side =
            rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())
                .unwrap();
        let stdio = || Stdio::from(side.try_clone().unwrap());
        let before = termios::tcgetattr(&side).unwrap();
        let mut started = Command::new("setsid");
        started.arg("--ctty").arg(command.get_program()).args(command.get_args()).env_clear();
        for (name, value) in command.get_envs() {
            if let Some(value) = value {
                started.env(name, value);
            }
        }
        resize(&side, 30, 100);
        let child = started.stdin(stdio()).stdout(stdio()).stderr(stdio()).spawn().unwrap();
        let keyboard = File::from(master);
        let screen = Arc::new(Mutex::new(Vec::new()));
        let gone = Arc::new(AtomicBool::new(false));
        let master = keyboard.try_clone().unwrap();
        let watcher = Some(watch(master, Arc::clone(&screen), Arc::clone(&gone)));
        Self { keyboard, side, before, child, screen, gone, watcher }
    }

    /// All that has been shown so far.
    pub(crate) fn screen(&self) -> String {
        String::from_utf8_lossy(&self.screen.lock().unwrap()).into_owned()
    }

    /// Waits until `text` is shown.
    #[track_caller]
    pub(crate) fn shows(&self, text: &str) {
        wait_until(&format!("{text:?} on the terminal"), || self.screen().contains(text));
    }

    /// Types.
    pub(crate) fn types(&mut self, text: &str) {
        self.keyboard.write_all(text.as_bytes()).unwrap();
    }

    /// Changes the size of the window.
    pub(crate) fn resize(&self, rows: u16, columns: u16) {
        resize(&self.side, rows, columns);
    }

    /// Sends a signal to the client.
    pub(crate) fn signal(&self, signal: Signal) {
        rustix::process::kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Whether the terminal is in raw mode.
    pub(crate) fn is_raw(&self) -> bool {
        let modes = termios::tcgetattr(&self.side).unwrap();
        !modes.local_modes.contains(termios::LocalModes::ICANON)
    }

    /// Takes the terminal away, as closing its window does; returns the client's exit code.
    pub(crate) fn hangs_up(mut self) -> Option<i32> {
        self.gone.store(true, Ordering::Relaxed);
        self.watcher.take().unwrap().join().unwrap();
        let nothing = File::open("/dev/null").unwrap();
        self.side = nothing.try_clone().unwrap().into();
        self.keyboard = nothing;
        let mut status = None;
        wait_until("the client ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap().code()
    }

    /// Waits for the client's end; asserts its exit code and that the terminal is as it was.
    #[track_caller]
    pub(crate) fn ends(mut self, code: i32) -> String {
        let mut status = None;
        wait_until("the client ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        // What it has written is before this, and the screen is complete when this is there.
        rustix::io::write(&self.side, LAST.as_bytes()).unwrap();
        self.shows(LAST);
        let screen = self.screen();
        assert_eq!(status.unwrap().code(), Some(code), "{screen}");
        let after = termios::tcgetattr(&self.side).unwrap();
        assert_eq!(format!("{:?}", self.before), format!("{after:?}"), "the modes are restored");
        screen
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Both fail when the client has ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn resize(side: &OwnedFd, rows: u16, columns: u16) {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    termios::tcsetwinsize(side, size).unwrap();
}

/// Collects what is shown, until the terminal is gone.
fn watch(mut master: File, screen: Arc<Mutex<Vec<u8>>>, gone: Arc<AtomicBool>) -> JoinHandle<()> {
    let moment = Timespec { tv_sec: 0, tv_nsec: 10_000_000 };
    thread::spawn(move || {
        let mut piece = [0; 4096];
        while !gone.load(Ordering::Relaxed) {
            let ready = poll(&mut [PollFd::new(&master, PollFlags::IN)], Some(&moment)).unwrap();
            if ready == 0 {
                continue;
            }
            let Ok(count @ 1..) = master.read(&mut piece) else { return };
            screen.lock().unwrap().extend_from_slice(&piece[..count]);
        }
    })
}
