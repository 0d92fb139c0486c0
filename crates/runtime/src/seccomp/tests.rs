//! The default profile against its reference, and what becomes of a specification's.

use std::collections::HashSet;

use oci_spec::runtime::Capability;
use serde::Deserialize;
use wadah_sys::seccomp::{Arch, Call, evaluate};

use super::*;

/// A profile in Docker's form: OCI's, with conditions on when a rule is there at all.
#[derive(Deserialize)]
struct Reference {
    syscalls: Vec<ReferenceRule>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReferenceRule {
    names: Vec<String>,
    action: String,
    errno_ret: Option<u32>,
    #[serde(default)]
    args: Vec<ReferenceArg>,
    #[serde(default)]
    includes: Filter,
    #[serde(default)]
    excludes: Filter,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReferenceArg {
    index: usize,
    value: u64,
    #[serde(default)]
    value_two: u64,
    op: String,
}

#[derive(Deserialize, Default)]
struct Filter {
    #[serde(default)]
    caps: Vec<Capability>,
    #[serde(default)]
    arches: Vec<String>,
}

impl ReferenceRule {
    fn is_there(&self, bounding: &Capabilities) -> bool {
        let native = "amd64".to_owned();
        self.includes.caps.iter().all(|it| bounding.contains(it))
            && (self.includes.arches.is_empty() || self.includes.arches.contains(&native))
            && !self.excludes.caps.iter().any(|it| bounding.contains(it))
            && !self.excludes.arches.contains(&native)
    }

    fn matches(&self, arguments: &[u64; 6]) -> bool {
        self.args.iter().all(|it| {
            let argument = arguments[it.index];
            match it.op.as_str() {
                "SCMP_CMP_LT" => argument < it.value,
                "SCMP_CMP_GT" => argument > it.value,
                "SCMP_CMP_EQ" => argument == it.value,
                "SCMP_CMP_MASKED_EQ" => argument & it.value == it.value_two,
                other => panic!("comparison {other}"),
            }
        })
    }

    fn value(&self) -> u32 {
        match self.action.as_str() {
            "SCMP_ACT_ALLOW" => 0x7fff_0000,
            "SCMP_ACT_ERRNO" => 0x0005_0000 | self.errno_ret.unwrap_or(1),
            other => panic!("action {other}"),
        }
    }
}

fn reference() -> Option<Reference> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data").to_owned();
    let folder = std::env::var("WADAH_REFERENCE_DATA").unwrap_or(beside);
    let path = format!("{folder}/docker-default-seccomp.json");
    match std::fs::read(&path) {
        Ok(text) => Some(serde_json::from_slice(&text).unwrap()),
        Err(err) => {
            wadah_testkit::skip(&format!(
                "no reference profile at {path} ({err}); set WADAH_REFERENCE_DATA"
            ));
            None
        }
    }
}

/// First arguments that some rule tells apart. Above 32 bits our profile is stricter by intent.
const ARGUMENTS: [u64; 16] = [
    0,
    1,
    2,
    8,
    16,
    37,
    38,
    39,
    40,
    41,
    0x2_0000,
    0x2_0008,
    0x0200_0000,
    0x1000_0000,
    0x7e02_0000,
    0xffff_ffff,
];

fn check_against_reference(reference: &Reference, bounding: &Capabilities) {
    let program = Program::default_profile(bounding);
    let rules: Vec<&ReferenceRule> =
        reference.syscalls.iter().filter(|it| it.is_there(bounding)).collect();
    for arch in [Arch::X86_64, Arch::X86, Arch::X32] {
        let newest = rules
            .iter()
            .flat_map(|it| it.names.iter().filter_map(|name| arch.number(name)))
            .max()
            .unwrap();
        let mut compared = 0;
        for (name, number) in arch.calls() {
            let rules: Vec<&&ReferenceRule> =
                rules.iter().filter(|it| it.names.iter().any(|other| other == name)).collect();
            for first in ARGUMENTS {
                let arguments = [first, 0, 0, 0, 0, 0];
                let default = if number > newest { 0x0005_0026 } else { 0x0005_0001 };
                let expected =
                    rules.iter().find(|it| it.matches(&arguments)).map_or(default, |it| it.value());
                let call = Call { audit: arch.audit(), number, arguments };
                let (value, steps) = evaluate(program.instructions(), &call);
                assert_eq!(value, expected, "{name}({first:#x}) on {arch:?} with {bounding:?}");
                assert!(steps <= 32, "{steps} steps for {name}");
                compared += 1;
            }
        }
        assert!(compared > 350 * ARGUMENTS.len());
    }
}

const DEFAULT_CAPABILITIES: [Capability; 14] = [
    Capability::Chown,
    Capability::DacOverride,
    Capability::Fowner,
    Capability::Fsetid,
    Capability::Kill,
    Capability::Setgid,
    Capability::Setuid,
    Capability::Setpcap,
    Capability::NetBindService,
    Capability::NetRaw,
    Capability::SysChroot,
    Capability::Mknod,
    Capability::AuditWrite,
    Capability::Setfcap,
];

const DECISIVE_CAPABILITIES: [Capability; 13] = [
    Capability::DacReadSearch,
    Capability::SysAdmin,
    Capability::SysBoot,
    Capability::SysChroot,
    Capability::SysModule,
    Capability::SysPacct,
    Capability::SysPtrace,
    Capability::SysRawio,
    Capability::SysTime,
    Capability::SysTtyConfig,
    Capability::SysNice,
    Capability::Syslog,
    Capability::Bpf,
];

#[test]
fn the_default_profile_decides_as_dockers_for_every_call_and_capability() {
    if !cfg!(target_arch = "x86_64") {
        wadah_testkit::skip("the comparison is written for x86-64");
        return;
    }
    let Some(reference) = reference() else { return };
    let one = |it: Capability| HashSet::from([it]);
    check_against_reference(&reference, &HashSet::new());
    check_against_reference(&reference, &HashSet::from(DEFAULT_CAPABILITIES));
    check_against_reference(&reference, &HashSet::from(DECISIVE_CAPABILITIES));
    check_against_reference(&reference, &one(Capability::Perfmon));
    for capability in DECISIVE_CAPABILITIES {
        check_against_reference(&reference, &one(capability));
    }
}

#[test]
fn the_default_profile_is_a_short_tree() {
    let program = Program::default_profile(&HashSet::from(DEFAULT_CAPABILITIES));
    println!("{} instructions", program.filter.len());
    assert!(program.filter.len() < 600, "{} instructions", program.filter.len());
}

#[test]
fn a_forbidden_address_family_stays_forbidden_with_higher_bits_set() {
    let program = Program::default_profile(&HashSet::new());
    let number = Arch::X86_64.number("socket").unwrap();
    for family in [38, 40] {
        let arguments = [family | 1 << 32, 0, 0, 0, 0, 0];
        let call = Call { audit: Arch::X86_64.audit(), number, arguments };
        assert_eq!(evaluate(&program.filter, &call).0, 0x0005_0001);
    }
}

fn check(profile: serde_json::Value, name: &str, arguments: [u64; 6]) -> u32 {
    let profile: LinuxSeccomp = serde_json::from_value(profile).unwrap();
    let (program, _) = Program::from_spec(&profile).unwrap();
    let number = Arch::NATIVE.number(name).unwrap();
    let call = Call { audit: Arch::NATIVE.audit(), number, arguments };
    evaluate(&program.filter, &call).0
}

fn refused(profile: serde_json::Value) -> String {
    let profile: LinuxSeccomp = serde_json::from_value(profile).unwrap();
    Program::from_spec(&profile).map(|_| ()).unwrap_err().to_string()
}

#[test]
fn every_action_of_a_specification_has_its_kernel_value() {
    for (action, errno, value) in [
        ("SCMP_ACT_KILL", None, 0),
        ("SCMP_ACT_KILL_THREAD", None, 0),
        ("SCMP_ACT_KILL_PROCESS", None, 0x8000_0000),
        ("SCMP_ACT_TRAP", None, 0x0003_0000),
        ("SCMP_ACT_ERRNO", None, 0x0005_0001),
        ("SCMP_ACT_ERRNO", Some(38), 0x0005_0026),
        ("SCMP_ACT_TRACE", Some(7), 0x7ff0_0007),
        ("SCMP_ACT_LOG", None, 0x7ffc_0000),
        ("SCMP_ACT_NOTIFY", None, 0x7fc0_0000),
    ] {
        let profile = serde_json::json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_MIPS"],
            "listenerPath": "/run/agent.sock",
            "syscalls": [{ "names": ["mkdirat", "no_such_call"], "action": action, "errnoRet": errno }],
        });
        assert_eq!(check(profile, "mkdirat", [0; 6]), value, "{action}");
    }
}

#[test]
fn the_default_errno_of_a_specification_holds() {
    let profile = serde_json::json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 99,
        "syscalls": [{ "names": ["mseal"], "action": "SCMP_ACT_ALLOW" }],
    });
    assert_eq!(check(profile, "mkdirat", [0; 6]), 0x0005_0063);
}

#[test]
fn conditions_on_one_argument_are_alternatives_and_on_several_all_needed() {
    let rule = |args: serde_json::Value| {
        serde_json::json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{ "names": ["getcwd"], "action": "SCMP_ACT_ERRNO", "errnoRet": 22, "args": args }],
        })
    };
    let equal =
        |index, value| serde_json::json!({ "index": index, "value": value, "op": "SCMP_CMP_EQ" });
    let alternatives = || rule(serde_json::json!([equal(0, 1), equal(0, 2)]));
    assert_eq!(check(alternatives(), "getcwd", [2, 0, 0, 0, 0, 0]), 0x0005_0016);
    assert_eq!(check(alternatives(), "getcwd", [3, 0, 0, 0, 0, 0]), 0x7fff_0000);
    let both = || rule(serde_json::json!([equal(0, 1), equal(1, 2)]));
    assert_eq!(check(both(), "getcwd", [1, 2, 0, 0, 0, 0]), 0x0005_0016);
    assert_eq!(check(both(), "getcwd", [1, 0, 0, 0, 0, 0]), 0x7fff_0000);
    let masked = rule(serde_json::json!([
        { "index": 0, "value": 0xf0, "valueTwo": 0x30, "op": "SCMP_CMP_MASKED_EQ" }
    ]));
    assert_eq!(check(masked, "getcwd", [0x1_0000_0035, 0, 0, 0, 0, 0]), 0x0005_0016);
}

#[test]
fn what_cannot_be_enforced_is_refused_by_name() {
    assert_eq!(
        refused(serde_json::json!({ "defaultAction": "SCMP_ACT_NOTIFY" })),
        "seccomp: SCMP_ACT_NOTIFY cannot be the default action"
    );
    let with = |rule: serde_json::Value| serde_json::json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule] });
    assert_eq!(
        refused(with(serde_json::json!({ "names": ["mkdir"], "action": "SCMP_ACT_NOTIFY" }))),
        "seccomp: SCMP_ACT_NOTIFY for mkdir needs a listenerPath"
    );
    assert_eq!(
        refused(with(serde_json::json!({ "names": ["write"], "action": "SCMP_ACT_NOTIFY" }))),
        "seccomp: SCMP_ACT_NOTIFY cannot be used for write"
    );
    let arg = serde_json::json!({ "index": 6, "value": 0, "op": "SCMP_CMP_EQ" });
    assert_eq!(
        refused(with(
            serde_json::json!({ "names": ["read"], "action": "SCMP_ACT_ERRNO", "args": [arg] })
        )),
        "seccomp: the rule for read looks at argument 6; there are 0 to 5"
    );
}

#[test]
fn a_listener_reaches_its_agent_with_the_state() {
    use std::{io::Read, os::unix::net::UnixListener};

    let folder = std::env::temp_dir().join(format!("wadah-seccomp-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("agent.sock");
    let agent = UnixListener::bind(&path).unwrap();
    let listener = Listener { path, metadata: None };
    let sent = std::fs::File::open("/dev/null").unwrap().into();
    listener.send(sent, b"{\"fds\":[\"seccompFd\"]}").unwrap();
    let mut text = String::new();
    agent.accept().unwrap().0.read_to_string(&mut text).unwrap();
    assert_eq!(text, "{\"fds\":[\"seccompFd\"]}");
    std::fs::remove_dir_all(&folder).unwrap();
}
