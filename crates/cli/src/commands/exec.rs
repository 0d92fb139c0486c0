//! `exec`: runs a further process in a container.

use bollard_stubs::models::ExecConfig;
use serde::Deserialize;
use serde_json::json;

use crate::{
    client::{Client, Request},
    command::{Arity, Command},
    context::Context,
    detach::DetachKeys,
    failure::Failure,
    flag::Flag,
    foreground::{Foreground, Left, Target},
    grammar::Flags,
    options::variables,
    session::{Session, Streams},
    signals::{Signals, Wanted},
    terminal::{self, Raw},
};

/// The flags of `exec`.
#[derive(Debug, Default)]
pub(crate) struct Options {
    detach: bool,
    detach_keys: Option<DetachKeys>,
    env: Vec<String>,
    env_files: Vec<String>,
    interactive: bool,
    tty: bool,
    config: ExecConfig,
}

type Row = Flag<Options>;

pub(crate) static COMMAND: Command<Options> = Command {
    about: "Run a command in a running container",
    usage: "[OPTIONS] CONTAINER COMMAND [ARG...]",
    arity: Arity::AtLeast(2),
    flags: &[&[
        Row::switch("detach", "Leave the command running", |o, on| o.detach = on).short('d'),
        Row::text("detach-keys", "string", "Keys that leave the command running", |o, v| {
            o.detach_keys = Some(DetachKeys::parse(v)?);
            Ok(())
        }),
        Row::text(
            "env",
            "list",
            "Environment variable, NAME=VALUE or NAME to pass ours",
            |o, v| {
                o.env.push(v.to_owned());
                Ok(())
            },
        )
        .short('e'),
        Row::text("env-file", "list", "File with environment variables", |o, v| {
            o.env_files.push(v.to_owned());
            Ok(())
        }),
        Row::switch("interactive", "Keep standard input open", |o, on| o.interactive = on)
            .short('i'),
        Row::switch("privileged", "Lift the restrictions on the command", |o, on| {
            o.config.privileged = Some(on);
        }),
        Row::switch("tty", "Give the command a terminal", |o, on| o.tty = on).short('t'),
        Row::text("user", "string", "User, and group if need be: NAME|UID[:GROUP|GID]", |o, v| {
            o.config.user = Some(v.to_owned());
            Ok(())
        })
        .short('u'),
        Row::text("workdir", "string", "Working directory inside the container", |o, v| {
            o.config.working_dir = Some(v.to_owned());
            Ok(())
        })
        .short('w'),
    ]],
    placement: Flags::First,
    failed: 1,
    run: |cx, options, arguments| Box::pin(exec(cx, options, arguments)),
};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Created {
    id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Ended {
    #[serde(default)]
    exit_code: Option<i64>,
}

async fn exec(cx: &Context, options: Options, mut arguments: Vec<String>) -> Result<u8, Failure> {
    let name = arguments.remove(0);
    let stdin = options.interactive && !options.detach;
    if options.tty && stdin && !terminal::stdin_is_terminal() {
        return Err(Failure::refused("the input device is not a TTY"));
    }
    let env = variables(&options.env_files, &options.env)?;
    let size = terminal::size().filter(|_| options.tty);
    let console_size = size.map(|it| vec![usize::from(it.rows), usize::from(it.columns)]);
    let config = ExecConfig {
        attach_stdin: Some(stdin),
        attach_stdout: Some(!options.detach),
        attach_stderr: Some(!options.detach),
        console_size: console_size.clone(),
        tty: Some(options.tty),
        env: (!env.is_empty()).then_some(env),
        cmd: Some(arguments),
        ..options.config
    };
    let client = cx.client()?;
    let create = Request::post(&["containers", &name, "exec"]).json(&config);
    let Created { id } = client.json(create).await?;
    let body = json!({
        "Detach": options.detach,
        "Tty": options.tty,
        "ConsoleSize": console_size,
    });
    let begin = Request::post(&["exec", &id, "start"]).json(&body);
    if options.detach {
        return client.unit(begin).await.map(|()| 0);
    }
    let detach = options.detach_keys.unwrap_or_default();
    foreground(&client, &id, begin, Streams { stdin, tty: options.tty, detach: Some(detach) }).await
}

async fn foreground(
    client: &Client,
    id: &str,
    begin: Request,
    mut streams: Streams,
) -> Result<u8, Failure> {
    let tty = streams.tty;
    let typing = tty && streams.stdin && terminal::stdin_is_terminal();
    if !typing {
        streams.detach = None;
    }
    // Without a terminal a signal ends us and not the command, as ever.
    let signals = if tty { Some(Signals::catch(Wanted::Own)?) } else { None };
    let connection = client.hijack(begin).await?;
    let raw = typing.then(Raw::enter).transpose();
    let raw =
        raw.map_err(|it| Failure::System { action: "set up the terminal", source: it.into() })?;
    let session = Session::start(connection, streams)?;
    let target = Target::Exec(id);
    let stage = Foreground { client, target, session, signals, proxy: false, tty, raw };
    if stage.stay().await? == Left::Detached {
        return Err(Failure::refused("read escape sequence"));
    }
    let ended: Ended = client.json(Request::get(&["exec", id, "json"])).await?;
    // The streams have ended and the command may not: then there is no status yet.
    let status = ended.exit_code.unwrap_or(0);
    Ok(u8::try_from(status & 0xff).unwrap_or(u8::MAX))
}
