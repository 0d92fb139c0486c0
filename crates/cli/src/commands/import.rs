//! `import`: makes an image of an archive of a filesystem.

use super::load::open;
use crate::{
    client::{Request, reading, streamed},
    command::{Arity, Command},
    context::Context,
    failure::Failure,
    flag::Flag,
    grammar::Flags,
    progress,
    reference::Reference,
};

/// The flags of `import`.
#[derive(Debug, Default)]
pub(crate) struct Options {
    changes: Vec<String>,
    message: Option<String>,
    platform: Option<String>,
}

type Row = Flag<Options>;

pub(crate) static COMMAND: Command<Options> = Command {
    about: "Make an image of a tar archive of a filesystem",
    usage: "[OPTIONS] file|URL|- [REPOSITORY[:TAG]]",
    arity: Arity::Between(1, 2),
    flags: &[&[
        Row::text("change", "list", "Dockerfile instruction to apply to the image", |o, v| {
            o.changes.push(v.to_owned());
            Ok(())
        })
        .short('c'),
        Row::text("message", "string", "Message for the image's history", |o, v| {
            o.message = Some(v.to_owned());
            Ok(())
        })
        .short('m'),
        Row::text("platform", "string", "Platform of the image, os[/arch[/variant]]", |o, v| {
            o.platform = Some(v.to_owned());
            Ok(())
        }),
    ]],
    placement: Flags::Anywhere,
    failed: 1,
    run: |cx, options, arguments| Box::pin(import(cx, options, arguments)),
};

async fn import(cx: &Context, options: Options, arguments: Vec<String>) -> Result<u8, Failure> {
    let source = arguments[0].as_str();
    let remote = source.starts_with("http://") || source.starts_with("https://");
    let (repository, tag) = match arguments.get(1) {
        Some(reference) => Reference::split(reference),
        None => ("", None),
    };
    let mut request = Request::post(&["images", "create"])
        .query("fromSrc", if remote { source } else { "-" })
        .query("repo", repository)
        .query_some("tag", tag)
        .query_some("message", options.message)
        .query_some("platform", options.platform);
    for change in &options.changes {
        request = request.query("changes", change);
    }
    let request = match source {
        _ if remote => request,
        "-" => request.body(streamed(reading(tokio::io::stdin()))),
        path => request.body(streamed(reading(open(path).await?))),
    };
    let pending = cx.client()?.open(request).await?;
    progress::show(pending, false, progress::To::Stdout).await.map(|()| 0)
}
