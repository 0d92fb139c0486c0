//! Processes: streams, exit codes, arguments, users, limits.

use super::{Bundle, run};

#[test]
fn a_script_runs_and_its_exit_code_comes_back() {
    let outcome = run("echo out; echo err >&2; exit 7", |_| ());
    assert_eq!(
        (outcome.code, outcome.stdout.as_str(), outcome.stderr.as_str()),
        (7, "out\n", "err\n")
    );
}

#[test]
fn a_process_joins_with_the_same_confinement() {
    let bundle = Bundle::new("sleep 60");
    let live = bundle.start().unwrap();
    let script = "grep -E 'Cap|Seccomp:|NoNewPrivs' /proc/self/status; cat /proc/self/cgroup";
    let exec = bundle.exec(&live, script);
    let init =
        bundle.exec(&live, "grep -E 'Cap|Seccomp:|NoNewPrivs' /proc/1/status; cat /proc/1/cgroup");
    assert_eq!(exec.code, 0, "{exec:?}");
    assert_eq!(exec.stdout, init.stdout);
    live.kill();
}
