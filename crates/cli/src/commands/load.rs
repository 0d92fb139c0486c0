//! `load`: takes images from an archive.

use std::path::PathBuf;

use tokio::fs::File;

use crate::{
    client::{Request, reading, streamed},
    command::{Arity, Command},
    context::Context,
    failure::Failure,
    flag::Flag,
    grammar::Flags,
    progress, terminal,
};

/// The flags of `load`.
#[derive(Debug, Default)]
pub(crate) struct Options {
    input: Option<String>,
    platform: Option<String>,
    quiet: bool,
}

type Row = Flag<Options>;

pub(crate) static COMMAND: Command<Options> = Command {
    about: "Load images from a tar archive",
    usage: "[OPTIONS]",
    arity: Arity::None,
    flags: &[&[
        Row::text("input", "file", "Archive to read in place of standard input", |o, v| {
            o.input = Some(v.to_owned());
            Ok(())
        })
        .short('i'),
        Row::text("platform", "string", "Load only this platform, os[/arch[/variant]]", |o, v| {
            o.platform = Some(v.to_owned());
            Ok(())
        }),
        Row::switch("quiet", "Do not show progress", |o, on| o.quiet = on).short('q'),
    ]],
    placement: Flags::Anywhere,
    failed: 1,
    run: |cx, options, _| Box::pin(load(cx, options)),
};

async fn load(cx: &Context, options: Options) -> Result<u8, Failure> {
    let body = match &options.input {
        Some(path) => streamed(reading(open(path).await?)),
        None if terminal::stdin_is_terminal() => {
            return Err(Failure::refused("requested load from stdin, but stdin is empty"));
        }
        None => streamed(reading(tokio::io::stdin())),
    };
    let quiet = options.quiet || !terminal::stdout_is_terminal();
    let request = Request::post(&["images", "load"])
        .query("quiet", u8::from(quiet))
        .query_some("platform", options.platform)
        .header(hyper::header::CONTENT_TYPE, "application/x-tar")
        .body(body);
    let pending = cx.client()?.open(request).await?;
    progress::show(pending, false, progress::To::Stdout).await.map(|()| 0)
}

/// Opens a file that is sent to the daemon.
pub(super) async fn open(path: &str) -> Result<File, Failure> {
    File::open(path).await.map_err(|source| {
        let path = PathBuf::from(path);
        Failure::File { action: "open", path, source }
    })
}
