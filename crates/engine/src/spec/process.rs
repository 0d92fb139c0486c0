//! The process of a specification: arguments, environment, user, capabilities, limits.

use serde_json::{Map, Value, json};

use super::{Inputs, capabilities, user::User};
use crate::{
    EngineError,
    config::{Config, HostConfig, Ulimit},
    execs::ExecConfig,
};

/// Where executables are looked for, unless the image says.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The container's init.
pub(super) fn build(inputs: &Inputs<'_>) -> Result<Value, EngineError> {
    let config = &*inputs.definition.config;
    let host = &*inputs.definition.host;
    let directory = working_directory(config);
    let mut process = json!({
        "terminal": config.tty,
        "args": inputs.definition.command,
        "env": environment(config, inputs.user, inputs.hostname),
        "cwd": directory,
        "user": user(inputs.user),
        "capabilities": capability_sets(host, inputs.user)?,
        "noNewPrivileges": inputs.security.no_new_privileges,
    });
    let fields = process.as_object_mut().expect("BUG: it was made as an object");
    let limits = limits(&host.resources.ulimits)?;
    if !limits.is_empty() {
        fields.insert("rlimits".to_owned(), Value::Array(limits));
    }
    if host.resources.oom_score_adj != 0 {
        fields.insert("oomScoreAdj".to_owned(), json!(host.resources.oom_score_adj));
    }
    if let Some((rows, columns)) = host.console_size.filter(|_| config.tty) {
        fields.insert("consoleSize".to_owned(), json!({ "height": rows, "width": columns }));
    }
    Ok(process)
}

/// Another process in a running container.
pub(crate) fn exec(
    config: &Config,
    host: &HostConfig,
    exec: &ExecConfig,
    user: &User,
    hostname: &str,
    no_new_privileges: bool,
) -> Result<Value, EngineError> {
    let mut env = environment(config, user, hostname);
    if exec.tty && !env.iter().any(|it| it.starts_with("TERM=")) {
        env.push("TERM=xterm".to_owned());
    }
    for variable in &exec.env {
        set_variable(&mut env, variable);
    }
    let directory = match exec.working_dir.as_str() {
        "" => working_directory(config),
        given => given,
    };
    let capabilities = if exec.privileged {
        sets(&capabilities::all(), user)
    } else {
        capability_sets(host, user)?
    };
    let mut process = json!({
        "terminal": exec.tty,
        "args": exec.command,
        "env": env,
        "cwd": directory,
        "user": self::user(user),
        "capabilities": capabilities,
        "noNewPrivileges": no_new_privileges,
    });
    let fields = process.as_object_mut().expect("BUG: it was made as an object");
    if let Some((rows, columns)) = exec.console_size.filter(|_| exec.tty) {
        fields.insert("consoleSize".to_owned(), json!({ "height": rows, "width": columns }));
    }
    let limits = limits(&host.resources.ulimits)?;
    if !limits.is_empty() {
        fields.insert("rlimits".to_owned(), Value::Array(limits));
    }
    Ok(process)
}

fn working_directory(config: &Config) -> &str {
    if config.working_dir.is_empty() { "/" } else { &config.working_dir }
}

/// What is given, over what every container has.
fn environment(config: &Config, user: &User, hostname: &str) -> Vec<String> {
    let mut env = vec![PATH.to_owned(), format!("HOSTNAME={hostname}")];
    if config.tty {
        env.push("TERM=xterm".to_owned());
    }
    for variable in &config.env {
        set_variable(&mut env, variable);
    }
    if !env.iter().any(|it| it.starts_with("HOME=")) {
        env.push(format!("HOME={}", user.home));
    }
    env
}

/// Replaces a variable, or adds it; without `=`, takes it away.
pub(crate) fn set_variable(env: &mut Vec<String>, variable: &str) {
    let Some((name, _)) = variable.split_once('=') else {
        env.retain(|it| it.split_once('=').is_none_or(|(other, _)| other != variable));
        return;
    };
    let same = |it: &&mut String| it.split_once('=').is_some_and(|(other, _)| other == name);
    match env.iter_mut().find(same) {
        Some(found) => variable.clone_into(found),
        None => env.push(variable.to_owned()),
    }
}

fn user(user: &User) -> Value {
    json!({ "uid": user.uid, "gid": user.gid, "additionalGids": user.groups })
}

fn capability_sets(host: &HostConfig, user: &User) -> Result<Value, EngineError> {
    let has = capabilities::resolve(&host.cap_add, &host.cap_drop, host.privileged)?;
    Ok(sets(&has, user))
}

/// Nothing is inheritable or ambient, and a user who is not root has nothing in effect, as after
/// any `execve` (CVE-2022-24769, CVE-2022-29162).
fn sets(has: &[&str], user: &User) -> Value {
    let in_effect = if user.uid == 0 { has } else { &[] };
    json!({
        "bounding": has,
        "permitted": in_effect,
        "effective": in_effect,
        "inheritable": [],
        "ambient": [],
    })
}

fn limits(ulimits: &[Ulimit]) -> Result<Vec<Value>, EngineError> {
    ulimits.iter().map(limit).collect()
}

const LIMITS: &[&str] = &[
    "as",
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

fn limit(ulimit: &Ulimit) -> Result<Value, EngineError> {
    let Ulimit { name, soft, hard } = ulimit;
    if !LIMITS.contains(&name.as_str()) {
        return Err(EngineError::invalid(format!("invalid ulimit type: {name}")));
    }
    if *hard != -1 && (*soft == -1 || soft > hard) {
        return Err(EngineError::invalid(format!(
            "ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}"
        )));
    }
    let value = |limit: i64| u64::try_from(limit).unwrap_or(u64::MAX);
    let mut fields = Map::new();
    fields.insert("type".to_owned(), json!(format!("RLIMIT_{}", name.to_ascii_uppercase())));
    fields.insert("soft".to_owned(), json!(value(*soft)));
    fields.insert("hard".to_owned(), json!(value(*hard)));
    Ok(Value::Object(fields))
}

/// Checks limits without building anything.
pub(crate) fn check_limits(ulimits: &[Ulimit]) -> Result<(), EngineError> {
    limits(ulimits).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_variable_replaces_an_earlier_one_in_its_place() {
        let mut env = vec!["A=1".to_owned(), "B=2".to_owned()];
        set_variable(&mut env, "A=3");
        set_variable(&mut env, "C=");
        set_variable(&mut env, "B");
        assert_eq!(env, ["A=3", "C="]);
    }

    #[test]
    fn a_soft_limit_above_the_hard_one_is_refused() {
        let ulimit = Ulimit { name: "nofile".to_owned(), soft: 20, hard: 10 };
        assert!(limit(&ulimit).unwrap_err().to_string().ends_with("20 > 10"));
    }
}
