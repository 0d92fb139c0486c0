//! The context: what every command is given besides its own options.

use crate::{
    client::Client,
    failure::Failure,
    flag::{Flag, Invalid},
    host::{Host, Surroundings},
};

/// What all commands share: how we were called, and where the daemon is.
#[derive(Debug)]
pub(crate) struct Context {
    /// The name we go by in messages.
    pub program: &'static str,
    pub globals: Globals,
    pub surroundings: Surroundings,
}

/// The flags before the command.
#[derive(Debug, Default)]
pub(crate) struct Globals {
    pub hosts: Vec<String>,
    pub context: Option<String>,
    pub version: bool,
}

type Row = Flag<Globals>;

/// The rows of the global flags.
pub(crate) static FLAGS: &[Row] = &[
    Row::text("config", "string", "Folder of the client's configuration files", |_, _| Ok(())),
    Row::text("context", "string", "Context that says which daemon to use", |o, v| {
        o.context = Some(v.to_owned());
        Ok(())
    })
    .short('c'),
    Row::switch("debug", "Tell more about what is going on", |_, _| ()).short('D'),
    Row::text("host", "list", "Address of the daemon (unix:///PATH, tcp://HOST:PORT)", |o, v| {
        o.hosts.push(v.to_owned());
        Ok(())
    })
    .short('H'),
    Row::text("log-level", "string", "debug, info, warn, error or fatal", |_, v| match v {
        "debug" | "info" | "warn" | "error" | "fatal" => Ok(()),
        _ => Err(Invalid("must be debug, info, warn, error or fatal".to_owned())),
    })
    .short('l'),
    Row::switch("version", "Print the version and quit", |o, on| o.version = on).short('v'),
];

impl Context {
    /// A client of the daemon that the flags and the environment name.
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        let host = Host::choose(&self.globals, &self.surroundings)?;
        Ok(Client::new(host, self.surroundings.api_version.as_deref()))
    }
}
