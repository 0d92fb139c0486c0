//! The grammar: runc's.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::log::Format;

/// Runs containers as the OCI runtime specification has them
#[derive(Debug, Parser)]
#[command(
    name = "wadah-runtime",
    version = concat!("version ", env!("CARGO_PKG_VERSION"), "\nspec: 1.2.1"),
    disable_help_subcommand = true
)]
pub(super) struct Flags {
    /// Where the state of containers is kept
    #[arg(long, default_value = "/run/wadah-runtime")]
    pub(super) root: PathBuf,
    /// Write the log to this file instead of standard error
    #[arg(long)]
    pub(super) log: Option<PathBuf>,
    /// How lines of the log look
    #[arg(long, value_enum, default_value = "text")]
    pub(super) log_format: Format,
    /// Accepted; the log has no further lines
    #[arg(long)]
    pub(super) debug: bool,
    /// Accepted: a cgroup path slice:prefix:name is always laid out as systemd would
    #[arg(long)]
    pub(super) systemd_cgroup: bool,
    /// Accepted: what may be done is found out, not configured
    #[arg(long, value_name = "BOOL")]
    pub(super) rootless: Option<String>,
    /// Accepted: there is no CRIU to call
    #[arg(long, value_name = "PATH", hide = true)]
    pub(super) criu: Option<PathBuf>,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Create a container, to be started later
    Create(Make),
    /// Create a container, start it and, unless detached, wait for it
    Run(Run),
    /// Start a created container
    Start(Id),
    /// Run another process in a container
    Exec(Box<Exec>),
    /// Send a signal to a container
    Kill(Kill),
    /// Remove a container that has ended
    Delete(Delete),
    /// Stop all processes of a container
    Pause(Id),
    /// Let the processes of a paused container go on
    Resume(Id),
    /// Print the state of a container
    State(Id),
    /// List containers
    List(List),
    /// List the processes of a container
    Ps(Ps),
    /// Change the resources of a container
    Update(Box<Update>),
    /// Print what a container uses, and when it lacks memory
    Events(Events),
    /// Print what this runtime can do
    Features,
    /// Write a specification to start from
    Spec(Spec),
}

#[derive(Debug, Args)]
pub(super) struct Id {
    /// The container
    pub(super) id: String,
}

#[derive(Debug, Args)]
pub(super) struct Make {
    /// The new container's id
    pub(super) id: String,
    /// The directory with config.json
    #[arg(short, long, default_value = ".")]
    pub(super) bundle: PathBuf,
    /// A unix socket that receives the terminal
    #[arg(long, value_name = "PATH")]
    pub(super) console_socket: Option<PathBuf>,
    /// A unix socket that receives a pidfd of the container
    #[arg(long, value_name = "PATH")]
    pub(super) pidfd_socket: Option<PathBuf>,
    /// Write the process's id to this file
    #[arg(long, value_name = "PATH")]
    pub(super) pid_file: Option<PathBuf>,
    /// Change the root by chroot instead of pivot_root
    #[arg(long)]
    pub(super) no_pivot: bool,
    /// Keep the session keyring of the caller
    #[arg(long)]
    pub(super) no_new_keyring: bool,
    /// Pass this many descriptors after standard error
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub(super) preserve_fds: u32,
}

#[derive(Debug, Args)]
pub(super) struct Run {
    #[command(flatten)]
    pub(super) make: Make,
    /// Do not wait for the container
    #[arg(short, long)]
    pub(super) detach: bool,
    /// Keep the container's state after it has ended
    #[arg(long)]
    pub(super) keep: bool,
    /// Accepted: orphans of the container are its own
    #[arg(long)]
    pub(super) no_subreaper: bool,
}

#[derive(Debug, Args)]
pub(super) struct Exec {
    /// A unix socket that receives the terminal
    #[arg(long, value_name = "PATH")]
    pub(super) console_socket: Option<PathBuf>,
    /// A unix socket that receives a pidfd of the process
    #[arg(long, value_name = "PATH")]
    pub(super) pidfd_socket: Option<PathBuf>,
    /// The working directory
    #[arg(long)]
    pub(super) cwd: Option<PathBuf>,
    /// Set an environment variable (NAME=VALUE)
    #[arg(short, long)]
    pub(super) env: Vec<String>,
    /// Give it a terminal
    #[arg(short, long)]
    pub(super) tty: bool,
    /// Run as UID[:GID]
    #[arg(short, long, value_name = "UID[:GID]")]
    pub(super) user: Option<String>,
    /// Supplementary groups
    #[arg(short = 'g', long, value_name = "GID")]
    pub(super) additional_gids: Vec<u32>,
    /// Read the process from this JSON file
    #[arg(short, long, value_name = "PATH")]
    pub(super) process: Option<PathBuf>,
    /// Do not wait for the process
    #[arg(short, long)]
    pub(super) detach: bool,
    /// Write the process's id to this file
    #[arg(long, value_name = "PATH")]
    pub(super) pid_file: Option<PathBuf>,
    /// Run under this SELinux label
    #[arg(long, value_name = "LABEL")]
    pub(super) process_label: Option<String>,
    /// Run under this AppArmor profile
    #[arg(long, value_name = "PROFILE")]
    pub(super) apparmor: Option<String>,
    /// Gain no privileges by execve
    #[arg(long)]
    pub(super) no_new_privs: bool,
    /// Add a capability
    #[arg(short, long, value_name = "CAPABILITY")]
    pub(super) cap: Vec<String>,
    /// Pass this many descriptors after standard error
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub(super) preserve_fds: u32,
    /// Run in a group below the container's cgroup (CONTROLLER:PATH or PATH)
    #[arg(long, value_name = "PATH")]
    pub(super) cgroup: Vec<String>,
    /// Start it even if the container is paused; it waits then
    #[arg(long)]
    pub(super) ignore_paused: bool,
    /// Accepted: orphans of the process are the container's
    #[arg(long)]
    pub(super) no_subreaper: bool,
    /// The container
    pub(super) id: String,
    /// What to run
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(super) command: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct Kill {
    /// Send the signal to all processes
    #[arg(short, long)]
    pub(super) all: bool,
    /// The container
    pub(super) id: String,
    /// The signal: a name or a number
    #[arg(default_value = "SIGTERM")]
    pub(super) signal: String,
}

#[derive(Debug, Args)]
pub(super) struct Delete {
    /// Kill it first if it still runs
    #[arg(short, long)]
    pub(super) force: bool,
    /// The container
    pub(super) id: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Shape {
    /// Columns
    Table,
    /// JSON
    Json,
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// Columns or JSON
    #[arg(short, long, value_enum, default_value = "table")]
    pub(super) format: Shape,
    /// Ids only
    #[arg(short, long)]
    pub(super) quiet: bool,
}

#[derive(Debug, Args)]
pub(super) struct Ps {
    /// Columns or JSON
    #[arg(short, long, value_enum, default_value = "table")]
    pub(super) format: Shape,
    /// The container
    pub(super) id: String,
    /// Arguments to ps
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(super) arguments: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct Update {
    /// Read the resources from this JSON file; - is standard input
    #[arg(short, long, value_name = "PATH")]
    pub(super) resources: Option<PathBuf>,
    /// Block device weight (10 to 1000)
    #[arg(long)]
    pub(super) blkio_weight: Option<u16>,
    /// Scheduling period in microseconds
    #[arg(long)]
    pub(super) cpu_period: Option<u64>,
    /// Processor time per period in microseconds
    #[arg(long, allow_hyphen_values = true)]
    pub(super) cpu_quota: Option<i64>,
    /// Processor time that can be saved up, in microseconds
    #[arg(long)]
    pub(super) cpu_burst: Option<u64>,
    /// Relative weight
    #[arg(long, alias = "cpu-shares")]
    pub(super) cpu_share: Option<u64>,
    /// Real-time period in microseconds
    #[arg(long)]
    pub(super) cpu_rt_period: Option<u64>,
    /// Real-time time per period in microseconds
    #[arg(long, allow_hyphen_values = true)]
    pub(super) cpu_rt_runtime: Option<i64>,
    /// 1 runs the container only when nothing else does
    #[arg(long)]
    pub(super) cpu_idle: Option<i64>,
    /// Processors to use
    #[arg(long)]
    pub(super) cpuset_cpus: Option<String>,
    /// Memory nodes to use
    #[arg(long)]
    pub(super) cpuset_mems: Option<String>,
    /// Limit of memory; -1 is none
    #[arg(short, long, allow_hyphen_values = true)]
    pub(super) memory: Option<String>,
    /// Soft limit of memory
    #[arg(long, allow_hyphen_values = true)]
    pub(super) memory_reservation: Option<String>,
    /// Limit of memory and swap; -1 is none
    #[arg(long, allow_hyphen_values = true)]
    pub(super) memory_swap: Option<String>,
    /// Accepted: kernels have no such limit any more
    #[arg(long, allow_hyphen_values = true, hide = true)]
    pub(super) kernel_memory: Option<String>,
    /// Accepted: kernels have no such limit any more
    #[arg(long, allow_hyphen_values = true, hide = true)]
    pub(super) kernel_memory_tcp: Option<String>,
    /// Limit of processes; -1 is none
    #[arg(long, allow_hyphen_values = true)]
    pub(super) pids_limit: Option<i64>,
    /// The container
    pub(super) id: String,
}

#[derive(Debug, Args)]
pub(super) struct Events {
    /// How often to print what is used, such as 5s
    #[arg(long, default_value = "5s")]
    pub(super) interval: String,
    /// Print what is used once
    #[arg(long)]
    pub(super) stats: bool,
    /// The container
    pub(super) id: String,
}

#[derive(Debug, Args)]
pub(super) struct Spec {
    /// Where config.json is written
    #[arg(short, long, default_value = ".")]
    pub(super) bundle: PathBuf,
    /// For a container in a user namespace
    #[arg(long)]
    pub(super) rootless: bool,
}
