//! The verbs: commands that do one thing to each of the containers they are given.
//!
//! All are tried, whatever becomes of the others; each success prints the name as it was typed,
//! each failure its reason, in the order of the arguments.

use bollard_stubs::models::ContainerWaitResponse;
use futures_util::{StreamExt, stream};

use crate::{
    client::{Client, Request},
    command::{Arity, Command},
    context::Context,
    failure::Failure,
    flag::Flag,
    grammar::Flags,
    output, unit,
};

/// How many containers are worked on at a time.
const PARALLEL: usize = 50;

/// A verb without flags.
#[derive(Debug, Default)]
pub(crate) struct Plain;

/// The flags of `stop`, `restart` and `kill`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ending {
    signal: Option<String>,
    timeout: Option<i64>,
}

/// The flags of `rm`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Removal {
    force: bool,
    link: bool,
    volumes: bool,
}

const ENDING: &[Flag<Ending>] = &[
    SIGNAL,
    Flag::<Ending>::text("timeout", "int", "Seconds to wait before killing it", |o, v| {
        o.timeout = Some(unit::whole(v)?);
        Ok(())
    })
    .short('t'),
    Flag::<Ending>::text("time", "int", "The same as --timeout", |o, v| {
        o.timeout = Some(unit::whole(v)?);
        Ok(())
    }),
];

const SIGNAL: Flag<Ending> = Flag::<Ending>::text("signal", "string", "Signal to send", |o, v| {
    o.signal = Some(v.to_owned());
    Ok(())
})
.short('s');

pub(crate) static STOP: Command<Ending> = Command {
    about: "Stop one or more running containers",
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    arity: Arity::AtLeast(1),
    flags: &[ENDING],
    placement: Flags::Anywhere,
    failed: 1,
    run: |cx, options, names| Box::pin(each(cx, names, move |name| ending(name, "stop", &options))),
};

pub(crate) static RESTART: Command<Ending> = Command {
    about: "Restart one or more containers",
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    arity: Arity::AtLeast(1),
    flags: &[ENDING],
    placement: Flags::Anywhere,
    failed: 1,
    run: |cx, options, names| {
        Box::pin(each(cx, names, move |name| ending(name, "restart", &options)))
    },
};

pub(crate) static KILL: Command<Ending> = Command {
    about: "Kill one or more running containers",
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    arity: Arity::AtLeast(1),
    flags: &[&[SIGNAL]],
    placement: Flags::Anywhere,
    failed: 1,
    run: |cx, options, names| {
        Box::pin(each(cx, names, move |name| {
            let request = Request::post(&["containers", name, "kill"]);
            request.query_some("signal", options.signal.as_deref())
        }))
    },
};

pub(crate) static REMOVE: Command<Removal> = Command {
    about: "Remove one or more containers",
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    arity: Arity::AtLeast(1),
    flags: &[&[
        Flag::<Removal>::switch("force", "Kill a running container first", |o, on| o.force = on)
            .short('f'),
        Flag::<Removal>::switch("link", "Remove the link of this name", |o, on| o.link = on)
            .short('l'),
        Flag::<Removal>::switch("volumes", "Remove its anonymous volumes too", |o, on| {
            o.volumes = on;
        })
        .short('v'),
    ]],
    placement: Flags::Anywhere,
    failed: 1,
    run: |cx, options, names| Box::pin(remove(cx, options, names)),
};

pub(crate) static PAUSE: Command<Plain> = Command {
    about: "Pause all processes in one or more containers",
    usage: "CONTAINER [CONTAINER...]",
    arity: Arity::AtLeast(1),
    flags: &[],
    placement: Flags::Anywhere,
    failed: 1,
    run: |cx, Plain, names| {
        Box::pin(each(cx, names, |name| Request::post(&["containers", name, "pause"])))
    },
};

pub(crate) static UNPAUSE: Command<Plain> = Command {
    about: "Let all processes in one or more containers run on",
    usage: "CONTAINER [CONTAINER...]",
    arity: Arity::AtLeast(1),
    flags: &[],
    placement: Flags::Anywhere,
    failed: 1,
    run: |cx, Plain, names| {
        Box::pin(each(cx, names, |name| Request::post(&["containers", name, "unpause"])))
    },
};

pub(crate) static WAIT: Command<Plain> = Command {
    about: "Wait until one or more containers stop, and print their exit codes",
    usage: "CONTAINER [CONTAINER...]",
    arity: Arity::AtLeast(1),
    flags: &[],
    placement: Flags::Anywhere,
    failed: 1,
    run: |cx, Plain, names| Box::pin(wait(cx, names)),
};

pub(crate) static RENAME: Command<Plain> = Command {
    about: "Rename a container",
    usage: "CONTAINER NEW_NAME",
    arity: Arity::Exactly(2),
    flags: &[],
    placement: Flags::Anywhere,
    failed: 1,
    run: |cx, Plain, names| Box::pin(rename(cx, names)),
};

fn ending(name: &str, verb: &str, options: &Ending) -> Request {
    Request::post(&["containers", name, verb])
        .query_some("signal", options.signal.as_deref())
        .query_some("t", options.timeout)
}

/// Sends the request that `make` makes for each name, several at a time.
async fn each(
    cx: &Context,
    names: Vec<String>,
    make: impl Fn(&str) -> Request,
) -> Result<u8, Failure> {
    let client = cx.client()?;
    let client = &client;
    let jobs = names.iter().map(|name| {
        let request = named(name).map(&make);
        async move { (name, async { client.unit(request?).await }.await) }
    });
    let mut results = stream::iter(jobs).buffered(PARALLEL);
    let mut failed = false;
    while let Some((name, result)) = results.next().await {
        failed |= tell(name, result)?;
    }
    Ok(u8::from(failed))
}

/// Tells how it went for one name; true if it did not go well.
fn tell(name: &str, result: Result<(), Failure>) -> Result<bool, Failure> {
    match result {
        Ok(()) => output::line(name).map(|()| false),
        // When there is no daemon, one message is enough.
        Err(failure @ (Failure::Unreachable { .. } | Failure::Forbidden { .. })) => Err(failure),
        Err(failure) => {
            output::note(&failure.chain());
            Ok(true)
        }
    }
}

/// An empty name would address the whole collection.
fn named(name: &str) -> Result<&str, Failure> {
    match name.trim_matches('/') {
        "" => Err(Failure::refused("invalid container name or ID: value is empty")),
        name => Ok(name),
    }
}

async fn remove(cx: &Context, options: Removal, names: Vec<String>) -> Result<u8, Failure> {
    let client = cx.client()?;
    let (client, options) = (&client, &options);
    let jobs = names.iter().map(|name| async move {
        let result = async {
            let request = Request::delete(&["containers", named(name)?])
                .query_on("v", options.volumes)
                .query_on("link", options.link)
                .query_on("force", options.force);
            client.unit(request).await
        };
        (name, result.await)
    });
    let mut results = stream::iter(jobs).buffered(PARALLEL);
    let mut failed = false;
    while let Some((name, result)) = results.next().await {
        let absent = result.as_ref().is_err_and(|it| it.status() == Some(404));
        let bad = tell(name, result)?;
        // What is to be gone and is not there is as it should be.
        failed |= bad && !(options.force && absent);
    }
    Ok(u8::from(failed))
}

async fn wait(cx: &Context, names: Vec<String>) -> Result<u8, Failure> {
    let client = cx.client()?;
    let mut failed = false;
    for name in &names {
        match wait_one(&client, name).await {
            Ok(status) => output::line(&status.to_string())?,
            Err(failure) => failed |= tell(name, Err(failure))?,
        }
    }
    Ok(u8::from(failed))
}

async fn wait_one(client: &Client, name: &str) -> Result<i64, Failure> {
    let request = Request::post(&["containers", named(name)?, "wait"]);
    let answer: ContainerWaitResponse = client.json(request).await?;
    Ok(answer.status_code)
}

async fn rename(cx: &Context, names: Vec<String>) -> Result<u8, Failure> {
    let (old, new) = (named(names[0].trim())?, names[1].trim());
    if new.is_empty() {
        return Err(Failure::refused("neither old nor new names may be empty"));
    }
    let request = Request::post(&["containers", old, "rename"]).query("name", new);
    match cx.client()?.unit(request).await {
        Ok(()) => Ok(0),
        Err(failure @ Failure::Daemon { .. }) => {
            output::note(&failure.chain());
            Err(Failure::refused(format!("Error: failed to rename container named {old}")))
        }
        Err(failure) => Err(failure),
    }
}
