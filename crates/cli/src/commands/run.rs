//! `run`: creates a container, starts it, and stays with it until it ends.
//!
//! On the foreground path the order matters: the streams are attached and the wait is registered
//! *before* the start, so that no output and no exit status of even the shortest container is
//! missed.

use std::time::Duration;

use bollard_stubs::models::ContainerWaitResponse;

use super::create;
use crate::{
    client::{Client, Hijacked, Pending, Request},
    command::{Arity, Command},
    context::Context,
    failure::Failure,
    foreground::{Foreground, Left, Target},
    grammar::Flags,
    options::{Options, Plan, table},
    output,
    session::{Session, Streams},
    signals::{Signals, Wanted},
    terminal::{self, Raw},
};

/// How long the removal of a container that did not start may keep us.
const REMOVAL: Duration = Duration::from_secs(10);

pub(crate) static COMMAND: Command<Options> = Command {
    about: "Create and run a new container from an image",
    usage: "[OPTIONS] IMAGE [COMMAND] [ARG...]",
    arity: Arity::AtLeast(1),
    flags: &[
        table::FOREGROUND,
        table::CONTAINER,
        table::PROCESS,
        table::HEALTH,
        table::PRIVILEGES,
        table::RESOURCES,
        table::FILES,
        table::NETWORK,
        table::REFUSED,
    ],
    placement: Flags::First,
    failed: 125,
    run: |cx, options, arguments| Box::pin(run(cx, options, arguments)),
};

async fn run(cx: &Context, options: Options, arguments: Vec<String>) -> Result<u8, Failure> {
    let plan = options.finish(arguments)?;
    let client = cx.client()?;
    let id = create::create(&client, &plan).await?;
    if plan.detach {
        start(&client, &id, None).await.map_err(not_started)?;
        return output::line(&id).map(|()| 0);
    }
    foreground(&client, &plan, &id).await
}

/// Starts the container with its streams attached, and stays.
async fn foreground(client: &Client, plan: &Plan, id: &str) -> Result<u8, Failure> {
    let [stdin, stdout, stderr] = plan.streams();
    let signals = Signals::catch(if plan.sig_proxy { Wanted::All } else { Wanted::Own })?;
    let condition = if plan.removes() { "removed" } else { "next-exit" };
    let (connection, wait) =
        tokio::try_join!(attach(client, plan, id), register(client, id, condition))?;
    let tty = plan.tty();
    let typing = tty && stdin && terminal::stdin_is_terminal();
    let raw = typing.then(Raw::enter).transpose();
    let raw =
        raw.map_err(|it| Failure::System { action: "set up the terminal", source: it.into() })?;
    let session = connection
        .map(|it| {
            let detach = typing.then(|| plan.detach_keys.clone().unwrap_or_default());
            Session::start(it, Streams { stdin, tty, detach })
        })
        .transpose()?;

    if let Err(failure) = start(client, id, None).await {
        drop(raw);
        if plan.removes() {
            // The failure is told either way; this is so that nothing is left when it is.
            drop(tokio::time::timeout(REMOVAL, wait.json::<ContainerWaitResponse>()).await);
        }
        return Err(not_started(failure));
    }
    if let Some(session) = session {
        let target = Target::Container(id);
        let (proxy, signals) = (plan.sig_proxy, Some(signals));
        let stage = Foreground { client, target, session, signals, proxy, tty, raw };
        if stage.stay().await? == Left::Detached {
            return Ok(0);
        }
    }
    if !stdout && !stderr {
        return output::line(id).map(|()| 0);
    }
    status(wait).await
}

async fn attach(client: &Client, plan: &Plan, id: &str) -> Result<Option<Hijacked>, Failure> {
    let [stdin, stdout, stderr] = plan.streams();
    if !(stdin || stdout || stderr) {
        return Ok(None);
    }
    client.hijack(attachment(id, [stdin, stdout, stderr])).await.map(Some)
}

/// A request to attach to streams: in, out, error.
///
/// Detach keys are ours to find, for they are typed here; the daemon is told of none.
pub(crate) fn attachment(id: &str, [stdin, stdout, stderr]: [bool; 3]) -> Request {
    Request::post(&["containers", id, "attach"])
        .query("stream", 1)
        .query_on("stdin", stdin)
        .query_on("stdout", stdout)
        .query_on("stderr", stderr)
}

/// Registers a wait: once this returns, the daemon has it.
pub(crate) async fn register(
    client: &Client,
    id: &str,
    condition: &str,
) -> Result<Pending, Failure> {
    let request = Request::post(&["containers", id, "wait"]).query("condition", condition);
    client.open(request).await
}

/// Starts the container.
pub(crate) async fn start(
    client: &Client,
    id: &str,
    detach_keys: Option<&str>,
) -> Result<(), Failure> {
    let request = Request::post(&["containers", id, "start"]);
    client.unit(request.query_some("detachKeys", detach_keys)).await
}

/// Waits for the exit status that the daemon promised to tell.
pub(crate) async fn status(wait: Pending) -> Result<u8, Failure> {
    let answer: ContainerWaitResponse = wait.json().await?;
    if let Some(message) = answer.error.and_then(|it| it.message).filter(|it| !it.is_empty()) {
        return Err(Failure::refused(format!("error waiting for container: {message}")));
    }
    // A status is one byte; what is more can only be a daemon's own error.
    Ok(u8::try_from(answer.status_code & 0xff).unwrap_or(u8::MAX))
}

/// Gives the failure of a start the status that a shell would give it.
pub(crate) fn not_started(failure: Failure) -> Failure {
    let message = failure.to_string();
    let any = |words: &[&str]| words.iter().any(|it| message.contains(it));
    let status = if any(&["executable file not found", "no such file or directory"]) {
        127
    } else if any(&["permission denied", "is a directory"]) {
        126
    } else {
        return failure;
    };
    if matches!(failure, Failure::Daemon { .. }) {
        Failure::Exit { status, cause: Box::new(failure) }
    } else {
        failure
    }
}
