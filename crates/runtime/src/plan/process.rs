//! A process: what it runs, as whom, and with what.

use std::{collections::HashMap, path::PathBuf};

use oci_spec::runtime as spec;
use rustix::{
    fs::{Gid, Mode, Uid},
    process::{Resource, Rlimit},
};
use wadah_sys::process::{SchedulerAttributes, Strings};

use crate::{
    CreateError, SeccompPolicy,
    plan::{
        Capabilities, invalid, limit,
        schedule::{self, MemoryPolicy},
    },
    seccomp::Program,
};

/// Where executables are looked for when the environment has no `PATH`.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A process, planned. The same for a container's first process and for those that come later.
#[derive(Debug)]
pub(crate) struct ProcessPlan {
    /// The first argument: what is to be executed.
    pub(crate) executable: String,
    /// All arguments.
    pub(crate) arguments: Strings,
    /// The environment, `NAME=value`.
    pub(crate) environment: Vec<String>,
    /// Where `executable` is looked for if it has no slash.
    pub(crate) search_path: String,
    /// The working directory.
    pub(crate) directory: PathBuf,
    /// The user.
    pub(crate) uid: Uid,
    /// The group.
    pub(crate) gid: Gid,
    /// Supplementary groups.
    pub(crate) groups: Vec<Gid>,
    /// The mask of new files.
    pub(crate) umask: Option<Mode>,
    /// The capability sets.
    pub(crate) capabilities: Capabilities,
    /// Resource limits.
    pub(crate) limits: Vec<(Resource, Rlimit)>,
    /// Whether `execve` can give no privileges.
    pub(crate) no_new_privileges: bool,
    /// How readily the kernel kills it for want of memory.
    pub(crate) oom_score_adj: Option<i32>,
    /// The scheduling policy.
    pub(crate) scheduler: Option<SchedulerAttributes>,
    /// Class and level of the I/O scheduler.
    pub(crate) io_priority: Option<(u16, u16)>,
    /// Processors until `execve`.
    pub(crate) initial_processors: Option<Vec<usize>>,
    /// Processors from `execve` on.
    pub(crate) final_processors: Option<Vec<usize>>,
    /// The NUMA memory policy.
    pub(crate) memory_policy: Option<MemoryPolicy>,
    /// The execution domain.
    pub(crate) personality: Option<u32>,
    /// The seccomp filter.
    pub(crate) seccomp: Option<Program>,
    /// The AppArmor profile.
    pub(crate) apparmor: Option<String>,
    /// The SELinux label.
    pub(crate) selinux: Option<String>,
    /// Rows and columns of its terminal.
    pub(crate) console_size: Option<(u16, u16)>,
}

impl ProcessPlan {
    /// Plans `process` of a container whose specification has the Linux part `linux`.
    pub(crate) fn new(
        process: &spec::Process,
        linux: &spec::Linux,
        policy: SeccompPolicy,
        warnings: &mut Vec<String>,
    ) -> Result<Self, CreateError> {
        let arguments = process.args().clone().unwrap_or_default();
        let executable = arguments.first().filter(|it| !it.is_empty()).cloned();
        let executable =
            executable.ok_or_else(|| invalid("process.args", "names no executable"))?;
        let environment = environment(process.env().as_deref().unwrap_or_default())?;
        let user = process.user();
        let groups = user.additional_gids().iter().flatten();
        let groups = groups.map(|it| id("process.user.additionalGids", *it).map(Gid::from_raw));
        let affinity = process.exec_cpu_affinity().as_ref();
        let limits = process.rlimits().as_deref().unwrap_or_default();
        let text = |it: &Option<String>| it.clone().filter(|it| !it.is_empty());
        Ok(Self {
            executable,
            arguments: strings("process.args", arguments)?,
            search_path: search_path(&environment),
            environment,
            directory: directory(process)?,
            uid: Uid::from_raw(id("process.user.uid", user.uid())?),
            gid: Gid::from_raw(id("process.user.gid", user.gid())?),
            groups: groups.collect::<Result<_, _>>()?,
            umask: user.umask().map(|it| Mode::from_raw_mode(it & 0o777)),
            capabilities: Capabilities::plan(process.capabilities().as_ref(), warnings)?,
            limits: limit::plan(limits, warnings)?,
            no_new_privileges: process.no_new_privileges() == Some(true),
            oom_score_adj: process.oom_score_adj(),
            scheduler: process.scheduler().as_ref().map(schedule::scheduler).transpose()?,
            io_priority: process.io_priority().map(|it| schedule::io_priority(&it)).transpose()?,
            initial_processors: processors(affinity.and_then(|it| it.initial().as_deref()))?,
            final_processors: processors(
                affinity.and_then(|it| it.cpu_affinity_final().as_deref()),
            )?,
            memory_policy: linux.memory_policy().as_ref().map(MemoryPolicy::plan).transpose()?,
            personality: linux.personality().as_ref().map(schedule::personality).transpose()?,
            seccomp: seccomp(process, linux, policy, warnings)?,
            apparmor: text(process.apparmor_profile()),
            selinux: text(process.selinux_label()),
            console_size: process.console_size().as_ref().map(console_size),
        })
    }
}

/// The last of several values of one name counts, as in other runtimes.
fn environment(entries: &[String]) -> Result<Vec<String>, CreateError> {
    let mut last = HashMap::with_capacity(entries.len());
    for (index, entry) in entries.iter().enumerate() {
        let Some((name, _)) = entry.split_once('=').filter(|(name, _)| !name.is_empty()) else {
            return Err(invalid("process.env", format!("{entry:?} is not NAME=value")));
        };
        if entry.contains('\0') {
            return Err(invalid("process.env", format!("{name:?} has a NUL in it")));
        }
        last.insert(name, index);
    }
    let is_last = |(index, entry): &(usize, &String)| {
        entry.split_once('=').is_some_and(|(name, _)| last.get(name) == Some(index))
    };
    Ok(entries.iter().enumerate().filter(is_last).map(|(_, it)| it.clone()).collect())
}

fn search_path(environment: &[String]) -> String {
    let found = environment.iter().find_map(|it| it.strip_prefix("PATH="));
    found.unwrap_or(DEFAULT_PATH).to_owned()
}

fn strings(field: &'static str, values: Vec<String>) -> Result<Strings, CreateError> {
    Strings::new(values).map_err(|_nul| invalid(field, "one has a NUL in it"))
}

fn directory(process: &spec::Process) -> Result<PathBuf, CreateError> {
    let directory = process.cwd();
    if directory.as_os_str().is_empty() {
        return Ok("/".into());
    }
    if !directory.is_absolute() {
        return Err(invalid("process.cwd", format!("{directory:?} is not absolute")));
    }
    Ok(directory.clone())
}

/// The kernel takes the highest id for "leave it as it is"; beyond 2³¹, tools that read ids as
/// signed numbers wrap.
fn id(field: &'static str, id: u32) -> Result<u32, CreateError> {
    if i32::try_from(id).is_ok() {
        Ok(id)
    } else {
        Err(invalid(field, format!("{id} is out of range")))
    }
}

fn processors(list: Option<&str>) -> Result<Option<Vec<usize>>, CreateError> {
    list.filter(|it| !it.is_empty())
        .map(|it| schedule::number_list("process.execCPUAffinity", it))
        .transpose()
}

fn console_size(size: &spec::Box) -> (u16, u16) {
    let clamp = |it: u64| u16::try_from(it).unwrap_or(u16::MAX);
    (clamp(size.height()), clamp(size.width()))
}

fn seccomp(
    process: &spec::Process,
    linux: &spec::Linux,
    policy: SeccompPolicy,
    warnings: &mut Vec<String>,
) -> Result<Option<Program>, CreateError> {
    match policy {
        SeccompPolicy::Unconfined => Ok(None),
        SeccompPolicy::Default => {
            let bounding = process.capabilities().as_ref().and_then(|it| it.bounding().clone());
            Ok(Some(Program::default_profile(&bounding.unwrap_or_default())))
        }
        SeccompPolicy::Spec => {
            let Some(profile) = linux.seccomp() else { return Ok(None) };
            let compiled = Program::from_spec(profile);
            let (program, found) = compiled.map_err(|source| CreateError::Seccomp { source })?;
            warnings.extend(found);
            Ok(Some(program))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_value_of_a_variable_counts() {
        let entries = ["A=1", "B=2", "A=3"].map(String::from);
        assert_eq!(environment(&entries).unwrap(), ["B=2", "A=3"]);
        environment(&["=x".into()]).unwrap_err();
        environment(&["novalue".into()]).unwrap_err();
    }

    #[test]
    fn ids_that_wrap_are_refused() {
        for value in [u32::MAX, 1 << 31] {
            id("process.user.uid", value).unwrap_err();
        }
        assert_eq!(id("process.user.uid", 0x7fff_ffff).unwrap(), 0x7fff_ffff);
    }
}
