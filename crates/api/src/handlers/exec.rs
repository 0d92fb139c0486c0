//! Exec sessions.

use bytes::Bytes;
use hyper::StatusCode;
use serde::Serialize;
use tokio::sync::mpsc;
use wadah_engine::{
    Class, EngineError,
    execs::{ExecConfig, ExecStart, Execs},
    stream::{Attached, Chunk, Stream},
};

use super::containers::terminal_size;
use crate::{
    call::Call,
    detach::DetachKeys,
    error::ApiError,
    hijack::Hijack,
    object::Object,
    reply::Reply,
    version::{Gate, Version},
    wire::InspectedExec,
};

/// `POST /containers/{id}/exec`.
pub(crate) async fn create(execs: &Execs, mut call: Call) -> Result<Reply, ApiError> {
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Created<'a> {
        id: &'a str,
    }

    let config = exec_config(call.object().await?, call.version)?;
    let id = execs.create(&call.name, config).await?;
    Ok(Reply::json_with(StatusCode::CREATED, &Created { id: id.as_str() }))
}

fn exec_config(mut body: Object, version: Version) -> Result<ExecConfig, ApiError> {
    let config = ExecConfig {
        command: body.words("Cmd")?.unwrap_or_default(),
        env: body.strings("Env")?,
        user: body.string("User")?,
        working_dir: body.string("WorkingDir")?,
        tty: body.flag("Tty")?,
        attach_stdin: body.flag("AttachStdin")?,
        attach_stdout: body.flag("AttachStdout")?,
        attach_stderr: body.flag("AttachStderr")?,
        privileged: body.flag("Privileged")?,
        detach_keys: body.string("DetachKeys")?,
        console_size: console_size(&mut body, version)?,
    };
    if config.command.is_empty() {
        return Err(ApiError::bad_request("No exec command specified"));
    }
    DetachKeys::parse(Some(&config.detach_keys))?;
    Ok(config)
}

fn console_size(body: &mut Object, version: Version) -> Result<Option<(u16, u16)>, ApiError> {
    let size = body.pair("ConsoleSize")?;
    Ok(size.filter(|it| *it != (0, 0) && version.has(Gate::ConsoleSize)))
}

/// `POST /exec/{id}/start`.
pub(crate) async fn start(execs: &Execs, mut call: Call) -> Result<Reply, ApiError> {
    let mut body = call.optional_object().await?.unwrap_or_default();
    let start = ExecStart {
        detach: body.flag("Detach")?,
        console_size: console_size(&mut body, call.version)?,
    };
    let tty = body.flag("Tty")?;
    if start.console_size.is_some() && !tty {
        return Err(ApiError::bad_request("console size is only supported for TTY sessions"));
    }
    if start.detach {
        execs.start(&call.name, start).await?;
        return Ok(Reply::status(StatusCode::OK));
    }
    let keys = execs.inspect(&call.name).await?.config.detach_keys;
    let attached = match execs.start(&call.name, start).await {
        Ok(Some(attached)) => attached,
        Ok(None) => return Ok(Reply::status(StatusCode::OK)),
        Err(error) => match error.class() {
            Class::NotFound | Class::Conflict => return Err(error.into()),
            _ => failed(&error, tty),
        },
    };
    let upgrade = call.wants_upgrade();
    let keys = DetachKeys::parse(Some(&keys))?;
    Ok(Reply::Hijack(Box::new(Hijack {
        upgrade,
        announces_frames: upgrade && call.version.has(Gate::MultiplexedMediaType),
        framed: !attached.tty,
        detach_keys: Some(keys).filter(|_| attached.tty),
        input: attached.input,
        output: attached.output,
        on_detach: None,
    })))
}

/// A session that could not be started says so in its output: clients look nowhere else.
fn failed(error: &EngineError, tty: bool) -> Attached {
    let (sender, output) = mpsc::channel(1);
    let bytes = Bytes::from(format!("{}\r\n", error.report()));
    let sent = sender.try_send(Chunk { stream: Stream::Stdout, bytes });
    sent.expect("BUG: the channel is new and holds one");
    Attached { input: None, output, tty }
}

/// `POST /exec/{id}/resize`.
pub(crate) async fn resize(execs: &Execs, call: &Call) -> Result<Reply, ApiError> {
    let (rows, columns) = terminal_size(&call.query)?;
    execs.resize(&call.name, rows, columns).await?;
    Ok(Reply::status(StatusCode::OK))
}

/// `GET /exec/{id}/json`.
pub(crate) async fn inspect(execs: &Execs, call: &Call) -> Result<Reply, ApiError> {
    Ok(Reply::json(&InspectedExec::from(&execs.inspect(&call.name).await?)))
}
