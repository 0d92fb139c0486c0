//! Our client and Docker's, against the same daemon: what they print and how they exit.

use wadah_testkit::{Sandbox, docker, skip};

use crate::sandbox;

/// What both must print alike, byte for byte. A space inside of a word is written `~`.
const LINES: &[&str] = &[
    "ps",
    "ps -a",
    "ps -aq",
    "ps -a --no-trunc",
    "ps -n 1",
    "ps -l",
    "ps -a --format {{.Names}}\\t{{.Image}}",
    "ps -a --format table~{{.ID}}\\t{{.Names}}\\t{{.Ports}}",
    "ps -a --filter status=created --format {{.ID}}|{{.CreatedAt}}|{{.RunningFor}}|{{.Labels}}|{{.Mounts}}|{{.Networks}}|{{.LocalVolumes}}",
    "ps -f name=one",
    "images",
    "images -q",
    "images --no-trunc",
    "images busybox",
    "images nosuch",
    "inspect -f {{json~.Config.Labels}} one",
    "inspect -f {{range~.Mounts}}{{.Source}}:{{.Destination}}{{end}} one",
    "inspect -f {{range~$p,$c:=.NetworkSettings.Ports}}{{$p}}->{{(index~$c~0).HostPort}}~{{end}} one",
    "container inspect nosuch",
    "image inspect -f {{.Id}} busybox",
    "kill nosuch",
    "stop nosuch",
    "start nosuch",
    "restart nosuch",
    "rm nosuch",
    "rename nosuch other",
    "rename one two",
    "wait nosuch",
    "logs nosuch",
    "top one",
    "top one -o pid,comm",
    "exec nosuch ls",
    "exec two ls",
    "attach nosuch",
    "attach two",
    "tag nosuch x",
    "rmi nosuch",
    "run --name one busybox",
    "run --restart always --rm busybox",
    "run -m x busybox",
    "run --ulimit nofile=2:1 busybox",
    "run --memory",
    "run --nope",
    "run -x busybox",
    "run --rm busybox sh -c exit~130",
    "run --rm --hostname foo busybox hostname",
    "run --rm --entrypoint /bin/echo busybox hi",
    "nope",
    "events --since 1000 --until 1001",
];

#[test]
fn docker_s_client_and_ours_print_the_same() {
    if docker().is_none() {
        return skip("there is no docker client to compare with");
    }
    let sandbox = sandbox();
    let run = "run -d --name one -p 8081:80 -p 127.0.0.1:9000-9002:9000-9002/udp -v /tmp:/x:ro \
               -l a=b -l c=d busybox sleep 1000";
    sandbox.wadah(run.split_whitespace()).ok();
    let long = ["create", "--name", "two", "busybox", "sh", "-c", "echo a long line; sleep 5"];
    sandbox.wadah(long).ok();
    let differences: Vec<String> =
        LINES.iter().filter_map(|line| difference(&sandbox, line)).collect();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

fn difference(sandbox: &Sandbox, line: &str) -> Option<String> {
    let words: Vec<String> = line.split(' ').map(|it| it.replace('~', " ")).collect();
    // Times may tick between the two.
    for _ in 0..5 {
        let theirs = sandbox.docker(&words);
        let ours = sandbox.wadah(&words);
        let told = |text: &str| text.replace("wadah:", "docker:").replace("wadah ", "docker ");
        let alike = theirs.code == ours.code
            && theirs.stdout == ours.stdout
            && lines(&theirs.stderr) == lines(&told(&ours.stderr));
        if alike {
            return None;
        }
    }
    let (theirs, ours) = (sandbox.docker(&words), sandbox.wadah(&words));
    Some(format!("--- docker {theirs}\n--- wadah {ours}"))
}

/// Lines that are compared: not the hints, nor what logging libraries add.
fn lines(text: &str) -> Vec<&str> {
    text.lines()
        .filter(|it| !it.is_empty() && !it.starts_with("hint:") && !it.contains("--help'"))
        .filter(|it| !it.starts_with("time="))
        .collect()
}
