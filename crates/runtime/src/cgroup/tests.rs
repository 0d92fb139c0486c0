//! Control groups on the running kernel, whichever version it has.

use std::{
    fs,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use rustix::process::{Pid, WaitOptions, WaitStatus, waitpid};

use super::*;

/// A group of one test, removed with its processes at the end.
struct Sandbox {
    cgroup: Cgroup,
    warnings: Vec<String>,
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        if self.cgroup.pids().is_ok_and(|it| !it.is_empty()) {
            self.cgroup.kill_all().unwrap();
        }
        self.cgroup.delete().unwrap();
        for (_, directory) in self.cgroup.directories() {
            assert!(!directory.exists(), "{} is left behind", directory.display());
        }
        let parent = Location::new("wadah-test").unwrap();
        for (mount, _) in self.cgroup.directories() {
            // Goes with the last of the tests that run beside each other.
            let _gone = fs::remove_dir(mount.join(parent.as_str()));
        }
    }
}

fn location() -> Location {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    Location::new(&format!("wadah-test/{}-{number}", std::process::id())).unwrap()
}

fn resources(json: serde_json::Value) -> LinuxResources {
    serde_json::from_value(json).unwrap()
}

fn sandbox(json: serde_json::Value) -> Sandbox {
    let (cgroup, warnings) = Cgroup::create(&location(), Some(&resources(json))).unwrap();
    Sandbox { cgroup, warnings }
}

impl Sandbox {
    /// Reads a value from wherever the controller is.
    fn value(&self, controller: &str, v1: &str, v2: &str) -> String {
        let home = self.cgroup.home(controller).unwrap();
        let file = if matches!(home, Home::V1(_)) { v1 } else { v2 };
        home.directory().read(file).unwrap().trim().to_owned()
    }

    /// Runs `body` in a process inside the group.
    fn spawn(&self, body: fn() -> i32) -> Pid {
        let plan = self.cgroup.join().unwrap();
        wadah_sys::process::fork(move || {
            if plan.enter().is_err() || plan.enter_unified().is_err() {
                return 100;
            }
            body()
        })
        .unwrap()
    }

    fn run(&self, body: fn() -> i32) -> WaitStatus {
        wait(self.spawn(body))
    }
}

fn wait(pid: Pid) -> WaitStatus {
    waitpid(Some(pid), WaitOptions::empty()).unwrap().unwrap().1
}

fn sleep_on() -> i32 {
    loop {
        std::thread::sleep(Duration::from_secs(60));
    }
}

/// Waits until `ready`, for at most ten seconds.
fn until(what: &str, mut ready: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !ready() {
        assert!(Instant::now() < deadline, "{what}: not in ten seconds");
        std::thread::yield_now();
    }
}

fn errno_of_open(path: &str) -> i32 {
    match fs::File::open(path) {
        Ok(_) => 0,
        Err(err) => err.raw_os_error().unwrap_or(255),
    }
}

#[test]
fn every_limit_reaches_the_kernel() {
    let it = sandbox(serde_json::json!({
        "memory": { "limit": 67_108_864, "swap": 134_217_728, "reservation": 33_554_432 },
        "cpu": { "shares": 512, "quota": 50_000, "period": 200_000, "burst": 10_000, "cpus": "0" },
        "pids": { "limit": 33 },
    }));
    assert_eq!(it.warnings, Vec::<String>::new());
    assert_eq!(it.value("memory", "memory.limit_in_bytes", "memory.max"), "67108864");
    assert_eq!(it.value("memory", "memory.soft_limit_in_bytes", "memory.low"), "33554432");
    let swap = it.value("memory", "memory.memsw.limit_in_bytes", "memory.swap.max");
    assert!(["134217728", "67108864"].contains(&swap.as_str()), "{swap}");
    let quota = it.value("cpu", "cpu.cfs_quota_us", "cpu.max");
    assert!(["50000", "50000 200000"].contains(&quota.as_str()), "{quota}");
    assert_eq!(it.value("cpu", "cpu.cfs_burst_us", "cpu.max.burst"), "10000");
    let shares = it.value("cpu", "cpu.shares", "cpu.weight");
    assert!(["512", "59"].contains(&shares.as_str()), "{shares}");
    assert_eq!(it.value("cpuset", "cpuset.cpus", "cpuset.cpus"), "0");
    assert_eq!(it.value("pids", "pids.max", "pids.max"), "33");
}

#[test]
fn an_update_raises_and_lowers_and_leaves_the_rest() {
    let it = sandbox(serde_json::json!({
        "memory": { "limit": 67_108_864, "swap": 67_108_864 }, "pids": { "limit": 20 },
    }));
    let update = |json| it.cgroup.update(&resources(json)).unwrap();
    let limit = || it.value("memory", "memory.limit_in_bytes", "memory.max");
    update(serde_json::json!({ "memory": { "limit": 268_435_456, "swap": 536_870_912 } }));
    assert_eq!(limit(), "268435456");
    update(serde_json::json!({ "memory": { "limit": 33_554_432, "swap": 33_554_432 } }));
    assert_eq!(limit(), "33554432");
    assert_eq!(it.value("pids", "pids.max", "pids.max"), "20");
    update(serde_json::json!({ "memory": { "limit": -1 }, "pids": { "limit": -1 } }));
    assert_ne!(limit(), "33554432");
    assert_eq!(it.value("pids", "pids.max", "pids.max"), "max");
    update(serde_json::json!({ "cpu": { "quota": 20_000, "period": 100_000 } }));
    update(serde_json::json!({ "cpu": { "burst": 5_000 } }));
    update(serde_json::json!({ "cpu": { "quota": 10_000, "burst": 1_000 } }));
    assert_eq!(it.value("cpu", "cpu.cfs_burst_us", "cpu.max.burst"), "1000");
    update(serde_json::json!({ "cpu": { "quota": -1, "burst": 0 } }));
}

#[test]
fn a_refused_value_is_named_with_its_file_and_nothing_stays() {
    let location = location();
    let asked = resources(serde_json::json!({ "cpu": { "cpus": "4096" } }));
    let err = Cgroup::create(&location, Some(&asked)).map(|_| ()).unwrap_err().to_string();
    assert!(err.starts_with("cannot write \"4096\" to /sys/fs/cgroup/"), "{err}");
    assert!(err.ends_with(&format!("{}/cpuset.cpus", location.as_str())), "{err}");
    Cgroup::open(&location).map(|_| ()).unwrap_err();
}

#[test]
fn what_the_host_lacks_is_an_error_by_name() {
    let check = |json| {
        Cgroup::create(&location(), Some(&resources(json))).map(|_| ()).unwrap_err().to_string()
    };
    let err = check(serde_json::json!({ "unified": { "no.such_file": "1" } }));
    assert_eq!(
        err,
        "cannot set unified: no cgroup controller no (version 2, with no.such_file) on this host"
    );
    let err = check(serde_json::json!({ "unified": { "../memory.max": "1" } }));
    assert!(err.starts_with("invalid unified"), "{err}");
    let err = check(serde_json::json!({ "devices": [{ "allow": true, "access": "x" }] }));
    assert_eq!(err, "invalid devices \"x\": access is made of r, w and m");
}

#[test]
fn a_process_enters_every_hierarchy() {
    let it = sandbox(serde_json::json!({}));
    let pid = it.spawn(sleep_on);
    let inside = || {
        let text = fs::read_to_string(format!("/proc/{}/cgroup", pid.as_raw_pid())).unwrap();
        text.lines().all(|line| line.ends_with(it.cgroup.location().as_str()))
    };
    until("the process enters", inside);
    assert_eq!(it.cgroup.pids().unwrap(), [pid]);
    let again = Cgroup::open(it.cgroup.location()).unwrap();
    assert_eq!(again.pids().unwrap(), [pid]);
    assert_eq!(again.stats().unwrap().pids.unwrap().current, 1);
    it.cgroup.kill_all().unwrap();
    assert_eq!(wait(pid).terminating_signal(), Some(9));
}

#[test]
fn a_frozen_group_stands_still_and_can_be_killed() {
    let it = sandbox(serde_json::json!({}));
    let pids: Vec<Pid> = (0..3).map(|_| it.spawn(sleep_on)).collect();
    until("all enter", || it.cgroup.pids().unwrap().len() == 3);
    assert!(!it.cgroup.is_frozen().unwrap());
    it.cgroup.freeze().unwrap();
    assert!(it.cgroup.is_frozen().unwrap());
    it.cgroup.thaw().unwrap();
    assert!(!it.cgroup.is_frozen().unwrap());
    it.cgroup.freeze().unwrap();
    it.cgroup.kill_all().unwrap();
    for pid in pids {
        assert_eq!(wait(pid).terminating_signal(), Some(9));
    }
}

#[test]
fn without_version_2_freezing_and_killing_work_too() {
    let mut it = sandbox(serde_json::json!({}));
    if it.cgroup.home("freezer").is_none() {
        wadah_testkit::skip("no freezer of version 1 on this host");
        return;
    }
    let pids: Vec<Pid> = (0..3).map(|_| it.spawn(sleep_on)).collect();
    until("all enter", || it.cgroup.pids().unwrap().len() == 3);
    let unified = it.cgroup.unified.take();
    it.cgroup.freeze().unwrap();
    assert!(it.cgroup.is_frozen().unwrap());
    it.cgroup.thaw().unwrap();
    it.cgroup.kill_all().unwrap();
    for pid in pids {
        assert_eq!(wait(pid).terminating_signal(), Some(9));
    }
    it.cgroup.unified = unified;
}

#[test]
fn more_processes_than_the_limit_are_refused() {
    let it = sandbox(serde_json::json!({ "pids": { "limit": 2 } }));
    let status = it.run(|| {
        for _ in 0..3 {
            if wadah_sys::process::fork(sleep_on).is_err() {
                return 11;
            }
        }
        0
    });
    assert_eq!(status.exit_status(), Some(11));
}

#[test]
fn a_kill_for_want_of_memory_is_told_and_counted() {
    let it = sandbox(serde_json::json!({ "memory": { "limit": 16_777_216, "swap": 33_554_432 } }));
    let watch = it.cgroup.oom_watch().unwrap();
    assert_eq!(watch.count().unwrap(), 0);
    let status = it.run(|| {
        let mut hoard: Vec<Vec<u8>> = Vec::new();
        for _ in 0..64 {
            hoard.push(vec![1; 1 << 20]);
        }
        i32::from(hoard.len() != 64)
    });
    assert_eq!(status.terminating_signal(), Some(9));
    let mut ready =
        [rustix::event::PollFd::from_borrowed_fd(watch.fd(), rustix::event::PollFlags::IN)];
    let timeout = rustix::event::Timespec { tv_sec: 10, tv_nsec: 0 };
    assert_eq!(rustix::event::poll(&mut ready, Some(&timeout)), Ok(1));
    until("the count rises", || watch.count().unwrap() == 1);
    assert_eq!(it.cgroup.oom_kills().unwrap(), 1);
    let memory = it.cgroup.stats().unwrap().memory.unwrap();
    assert_eq!((memory.oom_kills, memory.limit), (1, Some(16_777_216)));
    assert!(memory.failures > 0);
}

#[test]
fn only_the_devices_of_every_container_are_open() {
    let it = sandbox(serde_json::json!({ "devices": [{ "allow": false, "access": "rwm" }] }));
    assert_eq!(it.run(|| errno_of_open("/dev/zero")).exit_status(), Some(0));
    // 1 is EPERM.
    assert_eq!(it.run(|| errno_of_open("/dev/kmsg")).exit_status(), Some(1));
}

#[test]
fn a_device_rule_opens_a_device() {
    let it = sandbox(serde_json::json!({ "devices": [
        { "allow": false, "access": "rwm" },
        { "allow": true, "type": "c", "major": 1, "minor": 11, "access": "r" },
    ] }));
    assert_eq!(it.run(|| errno_of_open("/dev/kmsg")).exit_status(), Some(0));
}

#[test]
fn a_device_program_of_version_2_decides_and_can_be_replaced() {
    let it = sandbox(serde_json::json!({ "devices": [{ "allow": true, "access": "rwm" }] }));
    let Some(unified) = &it.cgroup.unified else {
        wadah_testkit::skip("no hierarchy of version 2 on this host");
        return;
    };
    let set = |json: serde_json::Value| {
        let given: Vec<oci_spec::runtime::LinuxDeviceCgroup> =
            serde_json::from_value(json).unwrap();
        devices::set_v2(unified, &devices::rules(&given, true).unwrap()).unwrap();
    };
    let deny = serde_json::json!({ "allow": false, "access": "rwm" });
    set(serde_json::json!([deny]));
    assert_eq!(it.run(|| errno_of_open("/dev/kmsg")).exit_status(), Some(1));
    assert_eq!(it.run(|| errno_of_open("/dev/null")).exit_status(), Some(0));
    set(serde_json::json!([deny, { "allow": true, "type": "c", "major": 1, "access": "r" }]));
    assert_eq!(it.run(|| errno_of_open("/dev/kmsg")).exit_status(), Some(0));
    let opens = || match fs::OpenOptions::new().write(true).open("/dev/kmsg") {
        Ok(_) => 0,
        Err(err) => err.raw_os_error().unwrap_or(255),
    };
    assert_eq!(it.run(opens).exit_status(), Some(1), "reading was allowed, not writing");
    set(serde_json::json!([{ "allow": true, "access": "rwm" }]));
    assert_eq!(it.run(opens).exit_status(), Some(0));
}

#[test]
fn statistics_tell_of_time_and_memory() {
    let it = sandbox(serde_json::json!({ "memory": { "limit": 67_108_864 } }));
    let busy = it.spawn(|| {
        let mut spent = vec![1u8; 4 << 20];
        loop {
            for page in spent.chunks_mut(4096) {
                page[0] = page[0].wrapping_add(1);
            }
        }
    });
    let stats = || it.cgroup.stats().unwrap();
    until("processor time is counted", || stats().cpu.unwrap().usage > 5_000_000);
    until("memory is counted", || stats().memory.unwrap().usage > 4 << 20);
    let memory = stats().memory.unwrap();
    assert_eq!(memory.limit, Some(67_108_864));
    assert!(memory.max_usage.is_none_or(|it| it > 4 << 20), "{memory:?}");
    assert!(!memory.details.is_empty());
    assert_eq!(stats().pids.unwrap(), PidsStats { current: 1, limit: None });
    it.cgroup.kill_all().unwrap();
    assert_eq!(wait(busy).terminating_signal(), Some(9));
}

#[test]
fn huge_pages_are_limited_where_their_controller_is() {
    let asked = serde_json::json!({
        "hugepageLimits": [{ "pageSize": "2MB", "limit": 4_194_304 }],
    });
    let location = location();
    let (cgroup, warnings) = match Cgroup::create(&location, Some(&resources(asked))) {
        Err(CgroupError::NoController { .. }) => {
            wadah_testkit::skip("no controller of huge pages on this host");
            return;
        }
        made => made.unwrap(),
    };
    let it = Sandbox { cgroup, warnings };
    assert_eq!(it.value("hugetlb", "hugetlb.2MB.limit_in_bytes", "hugetlb.2MB.max"), "4194304");
    let stats = it.cgroup.stats().unwrap().hugetlb;
    let stats = stats.iter().find(|it| it.page_size == "2MB").unwrap();
    assert_eq!((stats.usage, stats.failures), (0, 0));
}

#[test]
fn files_of_version_2_are_written_as_given() {
    let it = sandbox(serde_json::json!({}));
    if it.cgroup.version() == Version::V1 {
        wadah_testkit::skip("this host has its controllers in version 1");
        return;
    }
    let asked = serde_json::json!({ "unified": { "memory.high": "50331648", "pids.max": "7" } });
    it.cgroup.update(&resources(asked)).unwrap();
    assert_eq!(it.value("memory", "", "memory.high"), "50331648");
    assert_eq!(it.value("pids", "", "pids.max"), "7");
}

#[test]
fn a_process_beside_one_that_moved_down_goes_where_it_is() {
    let it = sandbox(serde_json::json!({}));
    let Some(unified) = it.cgroup.unified.as_ref().map(|it| it.path().to_owned()) else {
        wadah_testkit::skip("no hierarchy of version 2 on this host");
        return;
    };
    let init = it.spawn(sleep_on);
    until("it enters", || it.cgroup.pids().unwrap() == [init]);
    fs::create_dir(unified.join("below")).unwrap();
    fs::write(unified.join("below/cgroup.procs"), init.as_raw_pid().to_string()).unwrap();
    let plan = it.cgroup.join_beside(init).unwrap();
    let beside = wadah_sys::process::fork(move || {
        if plan.enter().is_err() || plan.enter_unified().is_err() {
            return 100;
        }
        sleep_on()
    })
    .unwrap();
    let below = format!("{}/below", it.cgroup.location().as_str());
    let place = || fs::read_to_string(format!("/proc/{}/cgroup", beside.as_raw_pid())).unwrap();
    until("it is beside", || place().lines().any(|line| line == format!("0::/{below}")));
    it.cgroup.kill_all().unwrap();
    for pid in [init, beside] {
        assert_eq!(wait(pid).terminating_signal(), Some(9));
    }
}

#[test]
fn groups_made_inside_are_removed_too() {
    let it = sandbox(serde_json::json!({}));
    for (_, directory) in it.cgroup.directories() {
        fs::create_dir_all(directory.join("inner/most")).unwrap();
    }
    it.cgroup.delete().unwrap();
    it.cgroup.delete().unwrap();
}

/// The host of developers and of CI may have either version; the guest has the other one.
#[test]
fn all_of_this_holds_on_version_2() {
    if Version::of_host().unwrap() == Version::V2 {
        return;
    }
    let own = std::env::current_exe().unwrap();
    let guest = wadah_testkit::Guest::new()
        .and_then(|it| it.with_program(&own, std::path::Path::new("/tests")));
    let guest = match guest {
        Ok(guest) => guest,
        Err(err) => {
            return wadah_testkit::skip(&format!("no guest with cgroup version 2: {err:#}"));
        }
    };
    let output = guest.run("/tests cgroup::tests:: --test-threads=2").unwrap();
    assert_eq!(output.code, 0, "{}", output.text);
    assert!(output.text.contains("test result: ok"), "{}", output.text);
    println!("{}", output.text);
}
