//! `attach`: joins our streams to a container that runs.

use super::{run, start};
use crate::{
    client::{Client, Request},
    command::{Arity, Command},
    context::Context,
    detach::DetachKeys,
    failure::Failure,
    flag::Flag,
    foreground::{Foreground, Left, Target},
    grammar::Flags,
    session::{Session, Streams},
    signals::{Signals, Wanted},
    terminal::{self, Raw},
};

/// The flags of `attach`.
#[derive(Debug, Default)]
pub(crate) struct Options {
    no_stdin: bool,
    detach_keys: Option<DetachKeys>,
    sig_proxy: Option<bool>,
}

type Row = Flag<Options>;

pub(crate) static COMMAND: Command<Options> = Command {
    about: "Attach standard input, output and error to a running container",
    usage: "[OPTIONS] CONTAINER",
    arity: Arity::Exactly(1),
    flags: &[&[
        Row::text("detach-keys", "string", "Keys that leave the container running", |o, v| {
            o.detach_keys = Some(DetachKeys::parse(v)?);
            Ok(())
        }),
        Row::switch("no-stdin", "Do not attach standard input", |o, on| o.no_stdin = on),
        Row::switch("sig-proxy", "Pass signals on to the process (default true)", |o, on| {
            o.sig_proxy = Some(on);
        }),
    ]],
    placement: Flags::Anywhere,
    failed: 1,
    run: |cx, options, arguments| Box::pin(attach(cx, options, arguments)),
};

async fn attach(cx: &Context, options: Options, arguments: Vec<String>) -> Result<u8, Failure> {
    let client = cx.client()?;
    let client = &client;
    let known = start::know(client, &arguments[0]).await?;
    joinable(&known.state)?;
    let (id, tty) = (known.id.as_str(), known.config.tty);
    let stdin = !options.no_stdin && known.config.open_stdin;
    if tty && stdin && !terminal::stdin_is_terminal() {
        return Err(Failure::refused("the input device is not a TTY"));
    }
    // In raw mode an interrupt is a key like others, and goes the way of all keys.
    let proxy = options.sig_proxy.unwrap_or(true) && !tty;
    let signals = Signals::catch(if proxy { Wanted::All } else { Wanted::Own })?;
    let attachment = run::attachment(id, [stdin, true, true]);
    let (connection, wait) =
        tokio::try_join!(client.hijack(attachment), run::register(client, id, "next-exit"))?;
    if tty {
        redraw(client, id).await;
    }
    let typing = tty && stdin;
    let raw = typing.then(Raw::enter).transpose();
    let raw =
        raw.map_err(|it| Failure::System { action: "set up the terminal", source: it.into() })?;
    let detach = typing.then(|| options.detach_keys.unwrap_or_default());
    let session = Session::start(connection, Streams { stdin, tty, detach })?;
    let target = Target::Container(id);
    let stage = Foreground { client, target, session, signals: Some(signals), proxy, tty, raw };
    match stage.stay().await? {
        Left::Detached => Err(Failure::refused("read escape sequence")),
        Left::Ended => run::status(wait).await,
    }
}

/// Makes the process draw its screen again: only a change of size does, and the real size follows.
async fn redraw(client: &Client, id: &str) {
    let Some(size) = terminal::size() else { return };
    let request = Request::post(&["containers", id, "resize"])
        .query("h", size.rows.saturating_add(1))
        .query("w", size.columns.saturating_add(1));
    // Whoever does not draw has lost nothing.
    drop(client.unit(request).await);
}

fn joinable(state: &start::State) -> Result<(), Failure> {
    let problem = if !state.running {
        "You cannot attach to a stopped container, start it first"
    } else if state.paused {
        "You cannot attach to a paused container, unpause it first"
    } else if state.restarting {
        "You cannot attach to a restarting container, wait until it is running"
    } else {
        return Ok(());
    };
    Err(Failure::refused(problem))
}
