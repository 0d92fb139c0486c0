//! `logs`: shows what a container has printed.

use std::io;

use super::start;
use crate::{
    client::Request,
    command::{Arity, Command},
    context::Context,
    failure::Failure,
    flag::Flag,
    frame::{Channel, Demultiplexer},
    grammar::Flags,
    session::write_all,
    time,
};

/// The flags of `logs`.
#[derive(Debug, Default)]
pub(crate) struct Options {
    details: bool,
    follow: bool,
    since: Option<String>,
    until: Option<String>,
    tail: Option<String>,
    timestamps: bool,
}

type Row = Flag<Options>;

pub(crate) static COMMAND: Command<Options> = Command {
    about: "Show the logs of a container",
    usage: "[OPTIONS] CONTAINER",
    arity: Arity::Exactly(1),
    flags: &[&[
        Row::switch("details", "Show the attributes that the log driver adds", |o, on| {
            o.details = on;
        }),
        Row::switch("follow", "Go on as the container prints", |o, on| o.follow = on).short('f'),
        Row::text("since", "string", "Show what is not older than a time or a duration", |o, v| {
            o.since = Some(time::moment(v)?);
            Ok(())
        }),
        Row::text("until", "string", "Show what is older than a time or a duration", |o, v| {
            o.until = Some(time::moment(v)?);
            Ok(())
        }),
        Row::text("tail", "string", "Show so many of the last lines (default \"all\")", |o, v| {
            o.tail = Some(v.to_owned());
            Ok(())
        })
        .short('n'),
        Row::switch("timestamps", "Show when each line was printed", |o, on| o.timestamps = on)
            .short('t'),
    ]],
    placement: Flags::Anywhere,
    failed: 1,
    run: |cx, options, arguments| Box::pin(logs(cx, options, arguments)),
};

/// What daemons call frames. Older ones call frames and a terminal's bytes alike, and have to be
/// asked which it is.
const FRAMES: &str = "application/vnd.docker.multiplexed-stream";

async fn logs(cx: &Context, options: Options, arguments: Vec<String>) -> Result<u8, Failure> {
    let client = cx.client()?;
    let name = arguments[0].as_str();
    let request = Request::get(&["containers", name, "logs"])
        .query("stdout", 1)
        .query("stderr", 1)
        .query_on("details", options.details)
        .query_on("follow", options.follow)
        .query_some("since", options.since)
        .query_some("until", options.until)
        .query("tail", options.tail.as_deref().unwrap_or("all"))
        .query_on("timestamps", options.timestamps);
    let mut pending = client.open(request).await?;
    let tty = !pending.is(FRAMES) && start::know(&client, name).await?.config.tty;
    let mut demultiplexer = Demultiplexer::default();
    let failed = |source: io::Error| Failure::Output { source };
    while let Some(bytes) = pending.next().await? {
        if tty {
            write_all(rustix::stdio::stdout(), &bytes).map_err(failed)?;
            continue;
        }
        let result = demultiplexer.feed(&bytes, &mut |channel, bytes| match channel {
            Channel::Stdout => write_all(rustix::stdio::stdout(), bytes),
            Channel::Stderr => write_all(rustix::stdio::stderr(), bytes),
        });
        result.map_err(failed)?;
    }
    Ok(0)
}
