//! Docker's own client against our daemon: what people type, and what they read.

use std::{
    fs,
    io::Write,
    process::{Command, Stdio},
};

use wadah_testkit::{Sandbox, wait_until};

/// A sandbox with `busybox`, where there is a docker client.
#[track_caller]
fn sandbox() -> Option<Sandbox> {
    if wadah_testkit::docker().is_none() {
        wadah_testkit::skip("no docker client");
        return None;
    }
    Some(crate::sandbox())
}

#[test]
fn version_and_info_tell_about_the_daemon() {
    let Some(sandbox) = sandbox() else { return };
    let version = sandbox.docker(["version", "--format", "{{.Server.APIVersion}}"]).ok();
    assert_eq!(version, "1.55");
    let info = sandbox.docker(["info", "--format", "{{.Driver}} {{.OSType}} {{.Images}}"]).ok();
    assert!(info.starts_with("overlay2 linux "), "{info}");
    sandbox.docker(["info"]).ok();
}

#[test]
fn run_prints_the_output_and_ends_with_the_code() {
    let Some(sandbox) = sandbox() else { return };
    let output = sandbox.docker(["run", "busybox", "sh", "-c", "echo out; echo err >&2; exit 7"]);
    assert_eq!((output.code, &*output.stdout, &*output.stderr), (7, "out\n", "err\n"));
    let killed = sandbox.docker(["run", "--rm", "--init", "busybox", "sh", "-c", "kill -KILL $$"]);
    assert_eq!(killed.code, 137, "{killed}");
}

#[test]
fn run_tells_failures_apart() {
    let Some(sandbox) = sandbox() else { return };
    let missing = sandbox.docker(["run", "--rm", "busybox", "no-such-program"]).fails(127);
    assert!(
        missing.contains("exec: \"no-such-program\": executable file not found in $PATH"),
        "{missing}"
    );
    let directory = sandbox.docker(["run", "--rm", "busybox", "/etc"]).fails(126);
    assert!(directory.contains("exec: \"/etc\": permission denied"), "{directory}");
    let memory = sandbox.docker(["run", "--rm", "-m", "1", "busybox"]).fails(125);
    assert!(memory.contains("Minimum memory limit allowed is 6MB"), "{memory}");
    let name = ["run", "--name", "one", "-d", "busybox", "sleep", "1000"];
    sandbox.docker(name).ok();
    let conflict = sandbox.docker(name).fails(125);
    assert!(
        conflict.contains("Conflict. The container name \"/one\" is already in use"),
        "{conflict}"
    );
}

#[test]
fn standard_input_reaches_the_process_and_its_end_too() {
    let Some(sandbox) = sandbox() else { return };
    let mut child = sandbox
        .docker_command()
        .args(["run", "-i", "--rm", "busybox", "sh", "-c", "wc -c; echo end"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(&vec![b'x'; 3_000_000]).unwrap();
    drop(input);
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "3000000\nend\n");
}

#[test]
fn a_client_with_more_input_than_the_process_wants_sees_a_clean_end() {
    let Some(sandbox) = sandbox() else { return };
    let mut run = sandbox.docker_command();
    run.args(["run", "-i", "--rm", "busybox", "head", "-c", "4"]);
    let mut source = Command::new("yes").stdout(Stdio::piped()).spawn().unwrap();
    let output = run.stdin(source.stdout.take().unwrap()).output().unwrap();
    drop(source.kill());
    drop(source.wait());
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "y\ny\n");
    assert!(output.status.success());
}

#[test]
fn a_container_is_listed_inspected_and_removed() {
    let Some(sandbox) = sandbox() else { return };
    let id = sandbox
        .docker(["run", "-d", "--name", "web", "-l", "a=b", "busybox", "sleep", "1000"])
        .ok();
    assert_eq!(id.len(), 64, "{id}");
    let row = sandbox.docker(["ps", "--format", "{{.Image}} {{.Command}} {{.Names}} {{.State}}"]);
    assert_eq!(row.ok(), "busybox \"sleep 1000\" web running");
    let status = sandbox.docker(["ps", "--format", "{{.Status}}"]).ok();
    assert!(status.starts_with("Up "), "{status}");
    for filter in
        ["label=a=b", "name=we", "status=running", "ancestor=busybox", &format!("id={}", &id[..5])]
    {
        assert_eq!(sandbox.docker(["ps", "-q", "--no-trunc", "-f", filter]).ok(), id, "{filter}");
    }
    assert_eq!(sandbox.docker(["ps", "-q", "-f", "label=a=c"]).ok(), "");
    let format = "{{.Name}} {{.State.Status}} {{.Path}} {{json .Args}} {{.HostConfig.NetworkMode}} \
                  {{len .NetworkSettings.Networks.bridge.IPAddress}}";
    let inspected = sandbox.docker(["inspect", "-f", format, "web"]).ok();
    assert!(inspected.starts_with("/web running sleep [\"1000\"] bridge "), "{inspected}");
    let running = sandbox.docker(["rm", "web"]).fails(1);
    assert!(running.contains("stop the container before removing or force remove"), "{running}");
    assert_eq!(sandbox.docker(["rename", "web", "shop"]).ok(), "");
    assert_eq!(sandbox.docker(["stop", "-t", "0", "shop"]).ok(), "shop");
    let exited = sandbox.docker(["ps", "-a", "--format", "{{.Status}}"]).ok();
    assert!(exited.starts_with("Exited (137) "), "{exited}");
    assert_eq!(sandbox.docker(["start", "shop"]).ok(), "shop");
    assert_eq!(sandbox.docker(["restart", "-t", "0", "shop"]).ok(), "shop");
    assert_eq!(sandbox.docker(["kill", "shop"]).ok(), "shop");
    assert_eq!(sandbox.docker(["wait", "shop"]).ok(), "137");
    assert_eq!(sandbox.docker(["rm", &id[..12]]).ok(), id[..12]);
    let gone = sandbox.docker(["inspect", "shop"]).fails(1);
    assert!(gone.contains("No such object: shop"), "{gone}");
}

#[test]
fn exec_runs_beside_the_container_with_its_own_code() {
    let Some(sandbox) = sandbox() else { return };
    sandbox.docker(["run", "-d", "--name", "c1", "busybox", "sleep", "1000"]).ok();
    let output = sandbox.docker(["exec", "c1", "sh", "-c", "echo out; echo err >&2; exit 3"]);
    assert_eq!((output.code, &*output.stdout, &*output.stderr), (3, "out\n", "err\n"));
    let environment =
        ["exec", "-e", "A=1", "-w", "/tmp", "-u", "app", "c1", "sh", "-c", "echo $A $PWD; id -un"];
    assert_eq!(sandbox.docker(environment).ok(), "1 /tmp\napp");
    let missing = sandbox.docker(["exec", "c1", "nope"]);
    assert_eq!(missing.code, 127, "{missing}");
    let told = format!("{}{}", missing.stdout, missing.stderr);
    assert!(told.contains("exec: \"nope\": executable file not found in $PATH"), "{told}");
    assert_eq!(sandbox.docker(["exec", "-d", "c1", "touch", "/tmp/made"]).ok(), "");
    wait_until("the detached session has run", || {
        sandbox.docker(["exec", "c1", "test", "-e", "/tmp/made"]).code == 0
    });
    sandbox.docker(["stop", "-t", "0", "c1"]).ok();
    let stopped = sandbox.docker(["exec", "c1", "true"]).fails(1);
    assert!(stopped.contains("is not running"), "{stopped}");
}

#[test]
fn exec_passes_standard_input_through() {
    let Some(sandbox) = sandbox() else { return };
    sandbox.docker(["run", "-d", "--name", "c1", "busybox", "sleep", "1000"]).ok();
    let mut child = sandbox
        .docker_command()
        .args(["exec", "-i", "c1", "sh", "-c", "cat; echo end"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"through\n").unwrap();
    drop(input);
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "through\nend\n");
}

#[test]
fn logs_tell_what_was_printed() {
    let Some(sandbox) = sandbox() else { return };
    let script = "for i in 1 2 3; do echo out$i; done; echo err >&2";
    sandbox.docker(["run", "--name", "c1", "busybox", "sh", "-c", script]).ok();
    let output = sandbox.docker(["logs", "c1"]);
    assert_eq!((&*output.stdout, &*output.stderr), ("out1\nout2\nout3\n", "err\n"));
    let tail = sandbox.docker(["logs", "--tail", "2", "c1"]);
    assert_eq!((&*tail.stdout, &*tail.stderr), ("out3\n", "err\n"));
    let stamped = sandbox.docker(["logs", "-t", "--tail", "1", "c1"]).stderr;
    assert!(stamped.starts_with("20") && stamped.ends_with("Z err\n"), "{stamped}");
    let future = sandbox.docker(["logs", "--since", "2100-01-01T00:00:00Z", "c1"]).ok();
    assert_eq!(future, "");
}

#[test]
fn attach_follows_a_running_container_to_its_end() {
    let Some(sandbox) = sandbox() else { return };
    let script = "read line; echo got $line; exit 5";
    sandbox.docker(["run", "-di", "--name", "c1", "busybox", "sh", "-c", script]).ok();
    let mut child = sandbox
        .docker_command()
        .args(["attach", "c1"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"hello\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "got hello\n");
    assert_eq!(output.status.code(), Some(5));
}

#[test]
fn images_are_listed_tagged_inspected_and_removed() {
    let Some(sandbox) = sandbox() else { return };
    let format = "{{.Repository}}:{{.Tag}}";
    let listed = sandbox.docker(["images", "--format", format]).ok();
    assert!(listed.lines().any(|it| it == "busybox:latest"), "{listed}");
    assert_eq!(sandbox.docker(["tag", "busybox", "shop/box:2"]).ok(), "");
    let listed = sandbox.docker(["images", "--format", format, "shop/box"]).ok();
    assert_eq!(listed, "shop/box:2");
    let inspected = sandbox.docker(["inspect", "-f", "{{.Os}} {{json .Config.Cmd}}", "busybox"]);
    assert_eq!(inspected.ok(), "linux [\"sh\"]");
    let history = sandbox.docker(["history", "--format", "{{.CreatedBy}}", "busybox"]).ok();
    assert_eq!(history, "busybox-static");
    assert_eq!(sandbox.docker(["rmi", "shop/box:2"]).ok(), "Untagged: shop/box:2");
    sandbox.docker(["create", "--name", "c1", "busybox"]).ok();
    let used = sandbox.docker(["rmi", "busybox"]).fails(1);
    assert!(used.contains("container"), "{used}");
    let unknown = sandbox.docker(["rmi", "nope"]).fails(1);
    assert!(unknown.contains("No such image: nope:latest"), "{unknown}");
}

#[test]
fn a_root_filesystem_can_be_imported() {
    let Some(sandbox) = sandbox() else { return };
    let root = sandbox.path().join("root");
    fs::create_dir(&root).unwrap();
    wadah_testkit::busybox_root(&root).unwrap();
    let archive = sandbox.path().join("root.tar");
    let tar = Command::new("tar").arg("-C").arg(&root).arg("-cf").arg(&archive).arg(".").status();
    assert!(tar.unwrap().success());
    let archive = archive.to_string_lossy().into_owned();
    let id = sandbox.docker(["import", "-c", "CMD [\"echo\",\"hi\"]", &archive, "flat:1"]).ok();
    assert!(id.starts_with("sha256:"), "{id}");
    assert_eq!(sandbox.docker(["run", "--rm", "flat:1"]).ok(), "hi");
}

#[test]
fn events_tell_the_life_of_a_container() {
    let Some(sandbox) = sandbox() else { return };
    sandbox.docker(["run", "--rm", "--name", "c1", "busybox", "true"]).ok();
    let mut told = Vec::new();
    wait_until("the container's last event is told", || {
        let format = "{{.Type}} {{.Action}}";
        let events = ["events", "--since", "0", "--until", "1s", "--format", format];
        told = sandbox.docker(events).ok().lines().map(str::to_owned).collect();
        told.iter().any(|it| it == "container destroy")
    });
    let of_container: Vec<_> = told.iter().filter(|it| it.starts_with("container ")).collect();
    assert_eq!(
        of_container,
        [
            "container create",
            "container attach",
            "container start",
            "container die",
            "container destroy"
        ]
    );
}

#[test]
fn top_lists_the_processes() {
    let Some(sandbox) = sandbox() else { return };
    sandbox.docker(["run", "-d", "--name", "c1", "busybox", "sleep", "4321"]).ok();
    let top = sandbox.docker(["top", "c1"]).ok();
    assert!(top.starts_with("UID "), "{top}");
    assert!(top.contains("sleep 4321"), "{top}");
}

#[test]
fn networks_that_are_always_there_are_shown() {
    let Some(sandbox) = sandbox() else { return };
    let listed = sandbox.docker(["network", "ls", "--format", "{{.Name}} {{.Driver}}"]).ok();
    assert_eq!(listed, "bridge bridge\nhost host\nnone null");
    sandbox.docker(["run", "-d", "--name", "c1", "busybox", "sleep", "1000"]).ok();
    let format = "{{range .Containers}}{{.Name}}{{end}}";
    assert_eq!(sandbox.docker(["network", "inspect", "-f", format, "bridge"]).ok(), "c1");
}
