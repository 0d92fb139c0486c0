//! `start`: starts stopped containers, and may stay with one of them.

use serde::Deserialize;

use super::run;
use crate::{
    client::{Client, Request},
    command::{Arity, Command},
    context::Context,
    detach::DetachKeys,
    failure::Failure,
    flag::{Flag, Invalid},
    foreground::{Foreground, Left, Target},
    grammar::Flags,
    output,
    session::{Session, Streams},
    signals::{Signals, Wanted},
    terminal::{self, Raw},
};

/// The flags of `start`.
#[derive(Debug, Default)]
pub(crate) struct Options {
    attach: bool,
    interactive: bool,
    detach_keys: Option<DetachKeys>,
}

type Row = Flag<Options>;

pub(crate) static COMMAND: Command<Options> = Command {
    about: "Start one or more stopped containers",
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    arity: Arity::AtLeast(1),
    flags: &[&[
        Row::switch("attach", "Attach output and pass signals on", |o, on| o.attach = on)
            .short('a'),
        Row::switch("interactive", "Attach standard input", |o, on| o.interactive = on).short('i'),
        Row::text("detach-keys", "string", "Keys that leave the container running", |o, v| {
            o.detach_keys = Some(DetachKeys::parse(v)?);
            Ok(())
        }),
        Row::text("checkpoint", "string", "Refused: checkpoints are not supported", |_, _| {
            Err(Invalid("checkpoints are not supported".to_owned()))
        }),
        Row::text("checkpoint-dir", "string", "Refused: checkpoints are not supported", |_, _| {
            Err(Invalid("checkpoints are not supported".to_owned()))
        }),
    ]],
    placement: Flags::Anywhere,
    failed: 1,
    run: |cx, options, arguments| Box::pin(start(cx, options, arguments)),
};

/// What has to be known of a container to attach to it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Known {
    pub id: String,
    pub state: State,
    pub config: Config,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct State {
    pub running: bool,
    pub paused: bool,
    pub restarting: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Config {
    pub tty: bool,
    pub open_stdin: bool,
}

/// Asks what has to be known of a container to attach to it.
pub(crate) async fn know(client: &Client, name: &str) -> Result<Known, Failure> {
    client.json(Request::get(&["containers", name, "json"])).await
}

async fn start(cx: &Context, options: Options, names: Vec<String>) -> Result<u8, Failure> {
    let client = cx.client()?;
    if options.attach || options.interactive {
        if names.len() > 1 {
            return Err(Failure::refused(
                "you cannot start and attach multiple containers at once",
            ));
        }
        return foreground(&client, options, &names[0]).await;
    }
    let mut failed = Vec::new();
    for name in names {
        match run::start(&client, &name, None).await {
            Ok(()) => output::line(&name)?,
            Err(failure) => {
                output::note(&failure.chain());
                failed.push(name);
            }
        }
    }
    if failed.is_empty() {
        return Ok(0);
    }
    Err(Failure::refused(format!("Error: failed to start containers: {}", failed.join(", "))))
}

async fn foreground(client: &Client, options: Options, name: &str) -> Result<u8, Failure> {
    let known = know(client, name).await?;
    let (id, tty) = (known.id.as_str(), known.config.tty);
    let stdin = options.interactive && known.config.open_stdin;
    let signals = Signals::catch(Wanted::All)?;
    let attachment = run::attachment(id, [stdin, true, true]);
    let (connection, wait) =
        tokio::try_join!(client.hijack(attachment), run::register(client, id, "next-exit"))?;
    let typing = tty && stdin && terminal::stdin_is_terminal();
    let raw = typing.then(Raw::enter).transpose();
    let raw =
        raw.map_err(|it| Failure::System { action: "set up the terminal", source: it.into() })?;
    let detach = typing.then(|| options.detach_keys.unwrap_or_default());
    let session = Session::start(connection, Streams { stdin, tty, detach })?;
    run::start(client, id, None).await?;
    let target = Target::Container(id);
    let stage =
        Foreground { client, target, session, signals: Some(signals), proxy: true, tty, raw };
    match stage.stay().await? {
        Left::Detached => Ok(0),
        Left::Ended => run::status(wait).await,
    }
}
