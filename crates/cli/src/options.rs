//! The options of `run` and `create`: what was asked for, as the request that asks the daemon.
//!
//! Each row of the [`table`] fills in its part of the request's models; what depends on several
//! flags at once is kept aside and settled in [`Options::finish`].

mod device;
mod files;
mod mode;
mod mounts;
mod network;
mod ports;
mod security;
pub(crate) mod table;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use bollard_stubs::models::{ContainerCreateBody, HealthConfig, HostConfig};

pub(crate) use self::files::variables;
use self::{mounts::Volume, network::Attachment, ports::Publication};
use crate::{detach::DetachKeys, failure::Failure, flag::Invalid, terminal};

/// When to pull an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Pull {
    Always,
    #[default]
    Missing,
    Never,
}

/// The flags of `run` and `create`.
#[derive(Debug, Default)]
pub(crate) struct Options {
    pub name: Option<String>,
    pub platform: Option<String>,
    pub pull: Pull,
    pub quiet: bool,
    pub cidfile: Option<String>,
    pub detach: bool,
    pub detach_keys: Option<DetachKeys>,
    pub sig_proxy: Option<bool>,
    /// Streams named by `--attach`.
    pub attach: Vec<String>,
    pub interactive: bool,
    pub body: ContainerCreateBody,
    pub host: HostConfig,
    health: HealthConfig,
    no_healthcheck: bool,
    entrypoint: Option<String>,
    env: Vec<String>,
    env_files: Vec<String>,
    labels: Vec<String>,
    label_files: Vec<String>,
    volumes: Vec<Volume>,
    published: Vec<Publication>,
    exposed: Vec<String>,
    networks: Vec<Attachment>,
    endpoint: Attachment,
    security: Vec<String>,
    restart: bool,
    api_socket: bool,
    cdi: Vec<String>,
}

/// What is to be created, and how its streams are used.
#[derive(Debug)]
pub(crate) struct Plan {
    pub body: ContainerCreateBody,
    pub name: Option<String>,
    pub platform: Option<String>,
    pub pull: Pull,
    pub quiet: bool,
    pub cidfile: Option<String>,
    pub detach: bool,
    pub detach_keys: Option<DetachKeys>,
    pub sig_proxy: bool,
}

impl Plan {
    /// Whether the container is removed when it ends.
    pub(crate) fn removes(&self) -> bool {
        self.body.host_config.as_ref().is_some_and(|it| it.auto_remove == Some(true))
    }

    /// The flags of the standard streams: in, out, error.
    pub(crate) fn streams(&self) -> [bool; 3] {
        [self.body.attach_stdin, self.body.attach_stdout, self.body.attach_stderr]
            .map(|it| it == Some(true))
    }

    /// Whether the container has a terminal.
    pub(crate) fn tty(&self) -> bool {
        self.body.tty == Some(true)
    }
}

impl Options {
    /// Settles what depends on several flags, for the image and command in `arguments`.
    pub(crate) fn finish(mut self, mut arguments: Vec<String>) -> Result<Plan, Failure> {
        self.conflicts()?;
        let image = arguments.remove(0);
        if image.is_empty() {
            return Err(Failure::refused("invalid reference format"));
        }
        self.body.image = Some(image);
        if !arguments.is_empty() {
            self.body.cmd = Some(arguments);
        }
        self.streams()?;
        self.texts()?;
        self.health()?;
        device::requests(&mut self.host, self.cdi)?;
        mounts::apply(self.volumes, &mut self.body, &mut self.host)?;
        ports::apply(&self.published, &self.exposed, &mut self.body, &mut self.host)?;
        network::apply(self.networks, self.endpoint, &mut self.body, &mut self.host)?;
        security::apply(self.security, &mut self.host)?;
        self.body.host_config = Some(self.host);
        Ok(Plan {
            body: self.body,
            name: self.name,
            platform: self.platform,
            pull: self.pull,
            quiet: self.quiet,
            cidfile: self.cidfile,
            detach: self.detach,
            detach_keys: self.detach_keys,
            sig_proxy: self.sig_proxy.unwrap_or(true),
        })
    }

    /// Refuses flags that contradict each other.
    fn conflicts(&self) -> Result<(), Failure> {
        let conflict = if self.restart && self.host.auto_remove == Some(true) {
            "conflicting options: cannot specify both --restart and --rm"
        } else if self.detach && !self.attach.is_empty() {
            "conflicting options: cannot specify both --attach and --detach"
        } else if self.no_healthcheck && self.health != HealthConfig::default() {
            "--no-healthcheck conflicts with --health-* options"
        } else if self.api_socket {
            "--use-api-socket is not supported: mount the daemon's socket with -v"
        } else if self.log_options_without_log() {
            "invalid logging opts for driver none"
        } else {
            return Ok(());
        };
        Err(Failure::refused(conflict))
    }

    fn log_options_without_log(&self) -> bool {
        self.host.log_config.as_ref().is_some_and(|it| {
            it.typ.as_deref() == Some("none") && it.config.as_ref().is_some_and(|it| !it.is_empty())
        })
    }

    /// Which standard streams are attached, and what the terminal is like.
    fn streams(&mut self) -> Result<(), Failure> {
        let tty = self.body.tty == Some(true);
        let named = |it: &str| self.attach.iter().any(|name| name == it);
        let default = self.attach.is_empty() && !self.detach;
        let stdin = named("stdin") || (default && self.interactive);
        self.body.attach_stdin = Some(stdin);
        self.body.attach_stdout = Some(named("stdout") || default);
        self.body.attach_stderr = Some(named("stderr") || default);
        self.body.open_stdin = Some(self.interactive);
        self.body.stdin_once = Some(self.interactive && stdin);
        if tty && stdin && !terminal::stdin_is_terminal() {
            return Err(Failure::Bare { message: "the input device is not a TTY" });
        }
        if let (true, Some(size)) = (tty, terminal::size()) {
            self.host.console_size = Some(vec![usize::from(size.rows), usize::from(size.columns)]);
        }
        Ok(())
    }

    /// Environment, labels and entrypoint.
    fn texts(&mut self) -> Result<(), Failure> {
        let env = files::merge(&self.env_files, &self.env, files::Lookup::Environment)?;
        self.body.env = (!env.is_empty()).then_some(env);
        let labels = files::merge(&self.label_files, &self.labels, files::Lookup::Nothing)?;
        if !labels.is_empty() {
            let pairs = labels.iter().map(|it| it.split_once('=').unwrap_or((it, "")));
            let labels: HashMap<_, _> =
                pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
            self.body.labels = Some(labels);
        }
        // An empty entrypoint is not the image's: it is none.
        self.body.entrypoint = self.entrypoint.take().map(|it| vec![it]);
        self.host.container_id_file = self.cidfile.clone();
        Ok(())
    }

    fn health(&mut self) -> Result<(), Failure> {
        let health = std::mem::take(&mut self.health);
        let periods = [health.interval, health.timeout, health.start_period, health.start_interval];
        if periods.iter().flatten().any(|it| *it < 0) || health.retries.is_some_and(|it| it < 0) {
            return Err(Failure::refused("--health-* durations and retries cannot be negative"));
        }
        if self.no_healthcheck {
            let none = HealthConfig { test: Some(vec!["NONE".to_owned()]), ..Default::default() };
            self.body.healthcheck = Some(none);
        } else if health != HealthConfig::default() {
            self.body.healthcheck = Some(health);
        }
        Ok(())
    }
}

/// Splits `key=value`; a key alone has the empty value.
pub(crate) fn pair(text: &str) -> Result<(String, String), Invalid> {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    if key.is_empty() {
        return Err(Invalid(format!("invalid option: {text} (it has no name)")));
    }
    Ok((key.to_owned(), value.to_owned()))
}

/// Puts `key=value` into a map that the models keep optional.
fn put(map: &mut Option<HashMap<String, String>>, text: &str) -> Result<(), Invalid> {
    let (key, value) = pair(text)?;
    map.get_or_insert_default().insert(key, value);
    Ok(())
}
