//! One case for each flag of `run` and `create`: what it adds to the request.

use serde_json::{Value, json};

use super::{Options, table};
use crate::{
    flag::Flag,
    grammar::{self, Flags},
};

const TABLES: [&[Flag<Options>]; 9] = [
    table::FOREGROUND,
    table::CONTAINER,
    table::PROCESS,
    table::HEALTH,
    table::PRIVILEGES,
    table::RESOURCES,
    table::FILES,
    table::NETWORK,
    table::REFUSED,
];

/// Flags, and what the request's body or `HostConfig` then has.
const CASES: &[(&str, &str)] = &[
    (
        "--restart on-failure:3",
        r#"{"H":{"RestartPolicy":{"Name":"on-failure","MaximumRetryCount":3}}}"#,
    ),
    ("--rm", r#"{"H":{"AutoRemove":true}}"#),
    ("--cidfile /c", r#"{"H":{"ContainerIDFile":"/c"}}"#),
    ("--runtime crun", r#"{"H":{"Runtime":"crun"}}"#),
    ("--annotation a=b", r#"{"H":{"Annotations":{"a":"b"}}}"#),
    ("-l a=b --label c", r#"{"Labels":{"a":"b","c":""}}"#),
    (
        "--log-driver local --log-opt a=b",
        r#"{"H":{"LogConfig":{"Type":"local","Config":{"a":"b"}}}}"#,
    ),
    ("--storage-opt size=1g", r#"{"H":{"StorageOpt":{"size":"1g"}}}"#),
    (
        "-a stdin --attach STDERR",
        r#"{"AttachStdin":true,"AttachStdout":false,"AttachStderr":true}"#,
    ),
    ("-i", r#"{"AttachStdin":true,"OpenStdin":true,"StdinOnce":true}"#),
    ("-id", r#"{"AttachStdin":false,"OpenStdin":true,"StdinOnce":false,"AttachStdout":false}"#),
    ("-t", r#"{"Tty":true}"#),
    ("--entrypoint e", r#"{"Entrypoint":["e"],"Cmd":["c"]}"#),
    ("--entrypoint=", r#"{"Entrypoint":[""]}"#),
    ("-u 1:2", r#"{"User":"1:2"}"#),
    ("-w /w", r#"{"WorkingDir":"/w"}"#),
    ("--group-add 5 --group-add six", r#"{"H":{"GroupAdd":["5","six"]}}"#),
    ("-e A=1 --env B=2", r#"{"Env":["A=1","B=2"]}"#),
    ("--init", r#"{"H":{"Init":true}}"#),
    ("--stop-signal INT --stop-timeout 3", r#"{"StopSignal":"INT","StopTimeout":3}"#),
    ("--ulimit nofile=1:2", r#"{"H":{"Ulimits":[{"Name":"nofile","Soft":1,"Hard":2}]}}"#),
    (
        "--health-cmd c --health-retries 2",
        r#"{"Healthcheck":{"Test":["CMD-SHELL","c"],"Retries":2}}"#,
    ),
    (
        "--health-interval 1s --health-timeout 2s",
        r#"{"Healthcheck":{"Interval":1000000000,"Timeout":2000000000}}"#,
    ),
    (
        "--health-start-period 1s --health-start-interval 2s",
        r#"{"Healthcheck":{"StartPeriod":1000000000,"StartInterval":2000000000}}"#,
    ),
    ("--no-healthcheck", r#"{"Healthcheck":{"Test":["NONE"]}}"#),
    ("--cap-add A --cap-drop B", r#"{"H":{"CapAdd":["A"],"CapDrop":["B"]}}"#),
    ("--privileged --read-only", r#"{"H":{"Privileged":true,"ReadonlyRootfs":true}}"#),
    ("--security-opt no-new-privileges", r#"{"H":{"SecurityOpt":["no-new-privileges"]}}"#),
    ("--sysctl net.a=1", r#"{"H":{"Sysctls":{"net.a":"1"}}}"#),
    (
        "--ipc host --pid container:x --uts host",
        r#"{"H":{"IpcMode":"host","PidMode":"container:x","UTSMode":"host"}}"#,
    ),
    ("--userns host --cgroupns private", r#"{"H":{"UsernsMode":"host","CgroupnsMode":"private"}}"#),
    ("--cgroup-parent /p", r#"{"H":{"CgroupParent":"/p"}}"#),
    (
        "-m 1m --memory-reservation 2m --memory-swap -1",
        r#"{"H":{"Memory":1048576,"MemoryReservation":2097152,"MemorySwap":-1}}"#,
    ),
    ("--memory-swappiness 5 --shm-size 1m", r#"{"H":{"MemorySwappiness":5,"ShmSize":1048576}}"#),
    ("--kernel-memory 1m", "{}"),
    ("--cpus 1.5 -c 7", r#"{"H":{"NanoCpus":1500000000,"CpuShares":7}}"#),
    ("--cpu-period 1 --cpu-quota 2", r#"{"H":{"CpuPeriod":1,"CpuQuota":2}}"#),
    (
        "--cpu-rt-period 1 --cpu-rt-runtime 2",
        r#"{"H":{"CpuRealtimePeriod":1,"CpuRealtimeRuntime":2}}"#,
    ),
    ("--cpuset-cpus 0-1 --cpuset-mems 0", r#"{"H":{"CpusetCpus":"0-1","CpusetMems":"0"}}"#),
    (
        "--pids-limit -1 --oom-score-adj 5 --oom-kill-disable",
        r#"{"H":{"PidsLimit":-1,"OomScoreAdj":5,"OomKillDisable":true}}"#,
    ),
    (
        "--blkio-weight 10 --blkio-weight-device /dev/a:20",
        r#"{"H":{"BlkioWeight":10,"BlkioWeightDevice":[{"Path":"/dev/a","Weight":20}]}}"#,
    ),
    (
        "--device-read-bps /dev/a:1k",
        r#"{"H":{"BlkioDeviceReadBps":[{"Path":"/dev/a","Rate":1024}]}}"#,
    ),
    (
        "--device-write-bps /dev/a:1k",
        r#"{"H":{"BlkioDeviceWriteBps":[{"Path":"/dev/a","Rate":1024}]}}"#,
    ),
    (
        "--device-read-iops /dev/a:1",
        r#"{"H":{"BlkioDeviceReadIOps":[{"Path":"/dev/a","Rate":1}]}}"#,
    ),
    (
        "--device-write-iops /dev/a:1",
        r#"{"H":{"BlkioDeviceWriteIOps":[{"Path":"/dev/a","Rate":1}]}}"#,
    ),
    ("-v /a:/b:ro --volume n:/c", r#"{"H":{"Binds":["/a:/b:ro","n:/c"]}}"#),
    ("-v /data", r#"{"Volumes":{"/data":{}}}"#),
    (
        "--mount type=bind,src=/a,dst=/b",
        r#"{"H":{"Mounts":[{"Target":"/b","Source":"/a","Type":"bind"}]}}"#,
    ),
    ("--tmpfs /t:size=1m", r#"{"H":{"Tmpfs":{"/t":"size=1m"}}}"#),
    ("--volumes-from x --volume-driver d", r#"{"H":{"VolumesFrom":["x"],"VolumeDriver":"d"}}"#),
    (
        "--device /dev/a",
        r#"{"H":{"Devices":[{"PathOnHost":"/dev/a","PathInContainer":"/dev/a","CgroupPermissions":"rwm"}]}}"#,
    ),
    (
        "--device v.com/c=n",
        r#"{"H":{"DeviceRequests":[{"Driver":"cdi","DeviceIDs":["v.com/c=n"]}]}}"#,
    ),
    ("--device-cgroup-rule r", r#"{"H":{"DeviceCgroupRules":["r"]}}"#),
    ("--network none", r#"{"H":{"NetworkMode":"none"}}"#),
    (
        "--net own --net-alias a",
        r#"{"H":{"NetworkMode":"own"},"NetworkingConfig":{"EndpointsConfig":{"own":{"Aliases":["a"]}}}}"#,
    ),
    (
        "--network own --network-alias a --ip 10.0.0.1",
        r#"{"NetworkingConfig":{"EndpointsConfig":{"own":{"IPAMConfig":{"IPv4Address":"10.0.0.1"},"Aliases":["a"]}}}}"#,
    ),
    (
        "--network own --ip6 ::1 --link-local-ip 169.254.0.1",
        r#"{"NetworkingConfig":{"EndpointsConfig":{"own":{"IPAMConfig":{"IPv6Address":"::1","LinkLocalIPs":["169.254.0.1"]}}}}}"#,
    ),
    (
        "--mac-address 02:00:00:00:00:01",
        r#"{"NetworkingConfig":{"EndpointsConfig":{"default":{"MacAddress":"02:00:00:00:00:01"}}}}"#,
    ),
    ("--link a:b", r#"{"H":{"Links":["a:b"]}}"#),
    (
        "-p 1:2 -P",
        r#"{"ExposedPorts":{"2/tcp":{}},"H":{"PortBindings":{"2/tcp":[{"HostIp":"","HostPort":"1"}]},"PublishAllPorts":true}}"#,
    ),
    ("--publish 3/udp --expose 4", r#"{"ExposedPorts":{"3/udp":{},"4/tcp":{}}}"#),
    ("-h n --domainname d", r#"{"Hostname":"n","Domainname":"d"}"#),
    ("--add-host a:10.0.0.1", r#"{"H":{"ExtraHosts":["a:10.0.0.1"]}}"#),
    (
        "--dns 10.0.0.1 --dns-option a --dns-opt b --dns-search c",
        r#"{"H":{"Dns":["10.0.0.1"],"DnsOptions":["a","b"],"DnsSearch":["c"]}}"#,
    ),
];

/// Flags that do not go into the request's body, or that files and other tests are about.
const ELSEWHERE: &[&str] = &[
    "detach-keys",
    "sig-proxy",
    "name",
    "platform",
    "pull",
    "quiet",
    "label-file",
    "env-file",
    "disable-content-trust",
];

#[track_caller]
fn body(line: &str) -> Value {
    let words = line.split(' ').chain(["img", "c"]).map(str::to_owned).collect();
    let parsed = grammar::parse(&TABLES, Flags::First, words).unwrap();
    let plan = parsed.options.finish(parsed.rest).unwrap();
    let mut body = serde_json::to_value(plan.body).unwrap();
    let host = body.as_object_mut().unwrap().remove("HostConfig").unwrap();
    body["H"] = host;
    body
}

/// Whether `whole` has all that `part` has.
fn has(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => {
            part.iter().all(|(name, part)| whole.get(name).is_some_and(|whole| has(whole, part)))
        }
        _ => whole == part,
    }
}

#[test]
fn every_flag_reaches_the_request() {
    for (line, expected) in CASES {
        let expected: Value = serde_json::from_str(expected).unwrap();
        let body = body(line);
        assert!(has(&body, &expected), "{line}: {body}");
    }
}

#[test]
fn every_flag_has_a_case_or_a_reason() {
    let typed: Vec<&str> = CASES.iter().flat_map(|(line, _)| line.split(' ')).collect();
    let refused: Vec<&str> = table::REFUSED.iter().map(|it| it.names.long).collect();
    for names in TABLES.iter().flat_map(|it| it.iter()).map(|it| it.names) {
        let long = format!("--{}", names.long);
        let short = names.short.map(|it| format!("-{it}"));
        let named = typed.iter().any(|it| {
            let bundled = short.as_ref().is_some_and(|short| {
                it.starts_with('-') && !it.starts_with("--") && it.contains(&short[1..])
            });
            it.split('=').next() == Some(&long) || bundled
        });
        let excused = ELSEWHERE.contains(&names.long) || refused.contains(&names.long);
        assert!(named || excused, "--{} has no case", names.long);
    }
}

#[test]
fn what_is_not_asked_for_is_not_sent() {
    let body = body("--name x");
    let host = body["H"].as_object().unwrap();
    assert_eq!(host.keys().collect::<Vec<_>>(), ["NetworkMode"]);
    assert_eq!(body["Image"], json!("img"));
    assert_eq!(body["Cmd"], json!(["c"]));
}

#[test]
fn contradictions_are_refused() {
    for line in [
        "--restart always --rm",
        "-d -a stdout",
        "--no-healthcheck --health-cmd x",
        "--log-driver none --log-opt a=b",
        "--health-interval -1s",
        "--use-api-socket",
        "-v /",
    ] {
        let words = line.split(' ').chain(["img"]).map(str::to_owned).collect();
        let parsed = grammar::parse(&TABLES, Flags::First, words).unwrap();
        parsed.options.finish(parsed.rest).unwrap_err();
    }
}
