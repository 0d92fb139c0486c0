//! The runtime's command line on a host with cgroup version 2 only: a guest.

use std::path::Path;

use wadah_testkit::{Guest, skip, wadah_executable};

#[test]
fn the_runtimes_command_line_works_on_cgroup_version_2() {
    if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        // This host is such a host: the tests themselves have shown it.
        return;
    }
    let own = std::env::current_exe().unwrap();
    let guest = Guest::new()
        .and_then(|it| it.with_program(&own, Path::new("/tests")))
        .and_then(|it| it.with_program(&wadah_executable(), Path::new("/usr/bin/wadah")));
    let guest = match guest {
        Ok(guest) => guest,
        Err(err) => return skip(&format!("no guest with cgroup version 2: {err:#}")),
    };
    let output =
        guest.run("export WADAH_BIN=/usr/bin/wadah; /tests oci::a_container oci::resources oci::exec oci::what_cannot").unwrap();
    assert_eq!(output.code, 0, "{}", output.text);
    assert!(output.text.contains("test result: ok"), "{}", output.text);
}
