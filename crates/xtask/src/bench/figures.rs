//! The figures, and the targets they are held to.

use std::{fs, path::Path, process::Command, thread, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use super::{
    memory,
    report::Row,
    sample::{Contender, alternate, quietly},
    world::World,
};

type Measure = fn(&World, u32) -> Result<Vec<Row>>;

/// Every figure: its name, and how it is measured.
pub(crate) const FIGURES: &[(&str, Measure)] = &[
    ("memory", memory_of_daemon_and_shims),
    ("run bridge", |world, rounds| run(world, rounds, "bridge", 2.5)),
    ("run none", |world, rounds| run(world, rounds, "none", 2.0)),
    ("docker client", docker_client),
    ("runtime", runtime),
    ("exec", exec),
    ("hundred", hundred),
    ("log lines", log_lines),
];

const COUNT: usize = 100;
const AT_ONCE: usize = 16;

fn run(world: &World, rounds: u32, network: &str, floor: f64) -> Result<Vec<Row>> {
    let arguments = ["run", "--rm", "--network", network, "busybox", "true"];
    let times = alternate(
        rounds,
        &mut [
            Contender::command("wadah", || with(world.wadah_client(), &arguments)),
            Contender::command("docker", || with(world.docker.client(), &arguments)),
            Contender::command("floor", || world.floor(network)),
        ],
    )?;
    let what = format!("`run --rm --network {network} busybox true`");
    Ok(vec![
        Row::times(&what, times[0], "docker", times[1], 1.0 / 12.0),
        Row::times(&what, times[0], "floor", times[2], floor),
    ])
}

fn docker_client(world: &World, rounds: u32) -> Result<Vec<Row>> {
    let arguments = ["run", "--rm", "busybox", "true"];
    let times = alternate(
        rounds,
        &mut [
            Contender::command("docker to wadah", || with(world.wadah_by_docker(), &arguments)),
            Contender::command("docker to dockerd", || with(world.docker.client(), &arguments)),
        ],
    )?;
    let what = "the docker client: `run --rm busybox true`";
    Ok(vec![Row::times(what, times[0], "dockerd", times[1], 1.0 / 5.0)])
}

fn runtime(world: &World, rounds: u32) -> Result<Vec<Row>> {
    let bundle = world.fresh("bundle")?;
    fs::write(bundle.join("config.json"), bundle_of_docker(world)?.to_string())?;
    let ours = world.fresh("state-wadah")?;
    let theirs = world.fresh("state-crun")?;
    let times = alternate(
        rounds,
        &mut [
            Contender::command("wadah", || {
                run_bundle(runtime_of(&world.executable), &ours, &bundle)
            }),
            Contender::command("crun", || run_bundle(crun(), &theirs, &bundle)),
        ],
    )?;
    Ok(vec![Row::times(
        "`runtime run` of a bundle of Docker's",
        times[0],
        "crun",
        times[1],
        1.0 / 4.0,
    )])
}

/// The specification that Docker writes for `docker run`, seccomp profile and all, with our own
/// root filesystem, `true` to run, and nothing of Docker's to call back.
fn bundle_of_docker(world: &World) -> Result<serde_json::Value> {
    let start =
        ["run", "-d", "--name", "bench-bundle", "--network", "none", "busybox", "sleep", "100000"];
    quietly(&mut with(world.docker.client(), &start))?;
    let text = world.docker.specification("bench-bundle");
    quietly(&mut with(world.docker.client(), &["rm", "-f", "bench-bundle"]))?;
    let mut spec: serde_json::Value = serde_json::from_str(&text?)?;
    ensure!(spec["linux"]["seccomp"].is_object(), "Docker's specification has no seccomp profile");
    spec["root"] = json!({ "path": world.rootfs(), "readonly": true });
    spec["process"]["args"] = json!(["true"]);
    spec["linux"]["cgroupsPath"] = json!("/wadah-bench");
    let spec_of = spec.as_object_mut().context("Docker's specification is no object")?;
    spec_of.remove("hooks");
    // The files of a container that is gone.
    let is_kept = |it: &serde_json::Value| it["type"] != "bind";
    let mounts = spec["mounts"].as_array_mut().context("Docker's specification has no mounts")?;
    mounts.retain(is_kept);
    Ok(spec)
}

fn runtime_of(executable: &Path) -> Command {
    with(Command::new(executable), &["runtime"])
}

/// crun refuses hybrid hierarchies: it is run where version 2 is not mounted beside version 1.
fn crun() -> Command {
    let script = "umount /sys/fs/cgroup/unified 2>/dev/null; exec crun \"$@\"";
    with(Command::new("unshare"), &["--mount", "--", "sh", "-c", script, "crun"])
}

fn run_bundle(mut command: Command, state: &Path, bundle: &Path) -> Command {
    command.arg("--root").arg(state).arg("run").arg("--bundle").arg(bundle).arg("wadah-bench");
    command
}

fn exec(world: &World, rounds: u32) -> Result<Vec<Row>> {
    let start =
        ["run", "-d", "--name", "bench-exec", "--network", "none", "busybox", "sleep", "100000"];
    quietly(&mut with(world.wadah_client(), &start))?;
    quietly(&mut with(world.docker.client(), &start))?;
    let arguments = ["exec", "bench-exec", "true"];
    let times = alternate(
        rounds,
        &mut [
            Contender::command("wadah", || with(world.wadah_client(), &arguments)),
            Contender::command("docker", || with(world.docker.client(), &arguments)),
        ],
    );
    let remove = ["rm", "-f", "bench-exec"];
    quietly(&mut with(world.wadah_client(), &remove))?;
    quietly(&mut with(world.docker.client(), &remove))?;
    let times = times?;
    Ok(vec![Row::times("`exec true`", times[0], "docker", times[1], 1.0 / 8.0)])
}

fn hundred(world: &World, _rounds: u32) -> Result<Vec<Row>> {
    let start = |index: usize| {
        let name = format!("bench-{index}");
        ["run", "-d", "--name", &name, "busybox", "sleep", "100000"].map(String::from)
    };
    let times = alternate(
        1,
        &mut [
            Contender::new("wadah", || at_once(|index| with(world.wadah_client(), &start(index)))),
            Contender::new("wadah rm", || remove_all(world.wadah_client())),
            Contender::new("docker", || {
                at_once(|index| with(world.docker.client(), &start(index)))
            }),
            Contender::new("docker rm", || remove_all(world.docker.client())),
        ],
    )?;
    Ok(vec![
        Row::times(
            "100 × `run -d` on the bridge, 16 at a time",
            times[0],
            "docker",
            times[2],
            1.0 / 6.0,
        ),
        Row::times("`rm -f` of those 100", times[1], "docker", times[3], 1.0 / 6.0),
    ])
}

/// Runs [`COUNT`] commands, [`AT_ONCE`] at a time; none may fail.
fn at_once(make: impl Fn(usize) -> Command + Sync) -> Result<()> {
    let next = std::sync::atomic::AtomicUsize::new(0);
    let work = || -> Result<()> {
        loop {
            let index = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            if index >= COUNT {
                return Ok(());
            }
            quietly(&mut make(index))?;
        }
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|it| it.join().expect("BUG: a worker panicked"))
    })
}

fn remove_all(mut client: Command) -> Result<()> {
    client.args(["rm", "-f"]).args((0..COUNT).map(|it| format!("bench-{it}")));
    quietly(&mut client)
}

fn log_lines(world: &World, _rounds: u32) -> Result<Vec<Row>> {
    // 200 MB in lines of 80 characters.
    let script = "yes 'The quick brown fox jumps over the lazy dog, and then it does so once more, fast.' | head -c 200000000";
    let arguments = ["run", "--rm", "--network", "none", "busybox", "sh", "-c", script];
    let times = alternate(
        5,
        &mut [
            Contender::command("wadah", || with(world.wadah_client(), &arguments)),
            Contender::command("docker", || with(world.docker.client(), &arguments)),
        ],
    )?;
    Ok(vec![Row::times(
        "200 MB of log lines through `run`",
        times[0],
        "docker",
        times[1],
        1.0 / 3.0,
    )])
}

fn memory_of_daemon_and_shims(world: &World, _rounds: u32) -> Result<Vec<Row>> {
    let daemon = world.wadah.daemon_pid();
    // Idle is a daemon that nobody has asked for anything for a while.
    thread::sleep(Duration::from_secs(11));
    let idle = memory::resident(daemon)?;
    at_once(|index| {
        let name = format!("bench-{index}");
        with(world.wadah_client(), &["run", "-d", "--name", &name, "busybox", "sleep", "100000"])
    })?;
    let loaded = memory::resident(daemon)?;
    let shims = memory::children(daemon)?;
    ensure!(shims.len() >= COUNT, "the daemon has {} children", shims.len());
    let shares = shims.iter().map(|it| memory::proportional(*it)).collect::<Result<Vec<_>>>();
    remove_all(world.wadah_client())?;
    let share = shares?.into_iter().max().context("no shim")?;
    let docker = memory::children(world.docker.pid())?;
    let theirs = memory::resident(world.docker.pid())?
        + docker.iter().filter_map(|it| memory::resident(*it).ok()).sum::<u64>();
    let mut rows = vec![
        Row::bytes("resident memory of the daemon, idle", idle, 15 * 1024),
        Row::bytes("the same with 100 containers", loaded, 30 * 1024),
        Row::bytes("a shim's proportional share, the largest of 100", share, 820),
    ];
    let mut against =
        Row::bytes("resident memory, idle, against dockerd and containerd", idle, theirs);
    against.peer = "docker";
    rows.push(against);
    Ok(rows)
}

fn with<S: AsRef<std::ffi::OsStr>>(mut command: Command, arguments: &[S]) -> Command {
    command.args(arguments);
    command
}

impl World {
    fn wadah_client(&self) -> Command {
        let mut command = Command::new(&self.executable);
        command.arg("-H").arg(format!("unix://{}", self.wadah.socket().display()));
        command
    }

    /// Debian's docker client, talking to our daemon.
    fn wadah_by_docker(&self) -> Command {
        let mut command = Command::new("/usr/bin/docker");
        command.arg("-H").arg(format!("unix://{}", self.wadah.socket().display()));
        command
    }
}
