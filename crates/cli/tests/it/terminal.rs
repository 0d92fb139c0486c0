//! Containers on a terminal.

use std::process::Command;

use rustix::process::Signal;
use wadah_testkit::{Sandbox, wait_until};

use crate::{pty::Terminal, sandbox};

fn command(sandbox: &Sandbox, line: &str) -> Command {
    let mut command = sandbox.wadah_command();
    command.args(line.split(' '));
    command
}

fn running(sandbox: &Sandbox, name: &str) -> bool {
    !sandbox.wadah(["ps", "-q", "-f", &format!("name={name}")]).ok().is_empty()
}

#[test]
fn a_shell_has_a_terminal_of_our_size_and_gives_its_exit_code() {
    let sandbox = sandbox();
    let mut terminal = Terminal::new(&command(&sandbox, "run --rm -it busybox sh"));
    terminal.shows("# ");
    assert!(terminal.is_raw());
    terminal.types("stty size\n");
    terminal.shows("30 100");
    terminal.resize(40, 120);
    // The shell may look before the resize has arrived.
    terminal.types("until stty size | grep '40 120'; do :; done\n");
    terminal.shows("\n40 120");
    // The shell itself may miss an interrupt while it starts a command.
    terminal.types("sh -c 'echo begin; exec sleep 1000'\n");
    terminal.shows("\nbegin");
    terminal.types("\x03");
    terminal.types("echo after$((1+1))\n");
    terminal.shows("after2");
    terminal.types("exit 7\n");
    terminal.ends(7);
}

#[test]
fn detach_keys_leave_the_container_running() {
    let sandbox = sandbox();
    let mut terminal = Terminal::new(&command(&sandbox, "run -it --name kept busybox sh"));
    terminal.shows("# ");
    terminal.types("\x10\x11");
    terminal.ends(0);
    assert!(running(&sandbox, "kept"));

    let mut terminal = Terminal::new(&command(&sandbox, "attach --detach-keys ctrl-a,d kept"));
    wait_until("raw mode", || terminal.is_raw());
    terminal.types("echo again$((1+1))\n");
    terminal.shows("again2");
    terminal.types("\x01d");
    assert!(terminal.ends(1).contains("read escape sequence"));

    let mut terminal = Terminal::new(&command(&sandbox, "attach kept"));
    wait_until("raw mode", || terminal.is_raw());
    terminal.types("exit 3\n");
    terminal.ends(3);

    let mut terminal = Terminal::new(&command(&sandbox, "start -ai kept"));
    terminal.types("exit 4\n");
    terminal.ends(4);
}

#[test]
fn a_terminal_is_restored_when_a_signal_ends_us() {
    let sandbox = sandbox();
    let line = "run -it --sig-proxy=false --name kept busybox sh";
    let terminal = Terminal::new(&command(&sandbox, line));
    terminal.shows("# ");
    assert!(terminal.is_raw());
    terminal.signal(Signal::TERM);
    terminal.ends(143);
    assert!(running(&sandbox, "kept"));
}

#[test]
fn a_terminal_is_restored_when_the_start_fails() {
    let sandbox = sandbox();
    let terminal = Terminal::new(&command(&sandbox, "run --rm -it busybox nope"));
    let screen = terminal.ends(127);
    assert!(screen.contains("exec: \"nope\": executable file not found in $PATH"), "{screen}");
}

#[test]
fn a_terminal_is_restored_when_the_daemon_dies() {
    let mut sandbox = sandbox();
    let terminal = Terminal::new(&command(&sandbox, "run -it --name kept busybox sh"));
    terminal.shows("# ");
    sandbox.kill_daemon().unwrap();
    let screen = terminal.ends(125);
    assert!(screen.contains("lost the connection to the daemon"), "{screen}");
    sandbox.start_daemon().unwrap();
    assert!(running(&sandbox, "kept"));
}

#[test]
fn a_window_that_is_closed_ends_us_and_not_the_container() {
    let sandbox = sandbox();
    let terminal = Terminal::new(&command(&sandbox, "run -it --name kept busybox sh"));
    terminal.shows("# ");
    assert_eq!(terminal.hangs_up(), Some(129));
    assert!(running(&sandbox, "kept"));
}

#[test]
fn exec_has_a_terminal_of_its_own() {
    let sandbox = sandbox();
    sandbox.wadah(["run", "-d", "--name", "box", "busybox", "sleep", "1000"]).ok();
    let mut terminal = Terminal::new(&command(&sandbox, "exec -it box sh"));
    terminal.shows("# ");
    terminal.types("stty size; exit 6\n");
    assert!(terminal.ends(6).contains("30 100"));

    let mut terminal = Terminal::new(&command(&sandbox, "exec -it box sh"));
    terminal.shows("# ");
    terminal.types("\x10\x11");
    terminal.ends(1);
}

#[test]
fn an_interrupt_reaches_a_container_without_a_terminal() {
    let sandbox = sandbox();
    let mut run = sandbox.wadah_command();
    let script = "trap 'echo caught; exit 9' INT; echo ready; while :; do sleep 0.01; done";
    run.args(["run", "--rm", "busybox", "sh", "-c", script]);
    let mut terminal = Terminal::new(&run);
    terminal.shows("ready");
    assert!(!terminal.is_raw());
    terminal.types("\x03");
    assert!(terminal.ends(9).contains("caught"));
}
