//! A daemon that is started because none was there.

use std::process::Command;

use wadah_testkit::wadah_executable;

/// Runs in a mount namespace where the default places are empty, and a network namespace; prints
/// what the test looks at. The daemon that it starts is ended by its own pid.
const SCRIPT: &str = r#"
set -e
for place in /run /var/lib /var/log; do mount -t tmpfs none "$place"; done
ip link set lo up
unset WADAH_HOST DOCKER_HOST
find_daemon() {
    for process in /proc/[0-9]*; do
        [ "$(readlink "$process/ns/mnt")" = "$(readlink /proc/self/ns/mnt)" ] || continue
        words=$(tr '\0' ' ' < "$process/cmdline" 2>/dev/null) || continue
        [ "$words" = "wadah daemon " ] && echo "${process#/proc/}"
    done
    true
}
for one in 1 2 3; do "$WADAH" ps -q 2>>/var/log/errors & done
wait
echo "notes: $(grep -c '^Starting the wadah daemon' /var/log/errors)"
daemons=$(find_daemon)
trap 'kill -9 $daemons 2>/dev/null || true' EXIT
echo "daemons: $(echo "$daemons" | wc -w)"
echo "session: $([ "$(ps -o sid= -p "$daemons" | tr -d ' ')" = "$daemons" ] && echo own)"
echo "again: $("$WADAH" ps -q 2>&1)."
kill $daemons
while [ -n "$(find_daemon)" ]; do sleep 0.01; done
echo "elsewhere: $("$WADAH" -H unix:///run/other.sock ps 2>&1)"
echo "left: $(find_daemon | wc -w)"
"#;

#[test]
fn a_daemon_is_started_once_and_only_at_the_default_address() {
    let output = Command::new("unshare")
        .args(["--mount", "--net", "--", "sh", "-c", SCRIPT])
        .env("WADAH", wadah_executable())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{errors}");
    let line = |name: &str| {
        let found = text.lines().find_map(|it| it.strip_prefix(&format!("{name}: ")));
        found.unwrap_or_else(|| panic!("no {name}: {text}{errors}")).to_owned()
    };
    assert_eq!(line("notes"), "1", "{text}{errors}");
    assert_eq!(line("daemons"), "1", "{text}{errors}");
    assert_eq!(line("session"), "own");
    assert_eq!(line("again"), ".", "nothing is said when there is a daemon");
    assert!(line("elsewhere").starts_with("Cannot connect to the Wadah daemon"), "{text}");
    assert_eq!(line("left"), "0");
}
