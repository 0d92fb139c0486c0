//! `rmi`: removes images.

use crate::{
    client::{Request, image_itself},
    command::{Arity, Command},
    context::Context,
    failure::Failure,
    flag::Flag,
    grammar::Flags,
    json::Json,
    output,
};

/// The flags of `rmi`.
#[derive(Debug, Default)]
pub(crate) struct Options {
    force: bool,
    no_prune: bool,
}

type Row = Flag<Options>;

pub(crate) static COMMAND: Command<Options> = Command {
    about: "Remove one or more images",
    usage: "[OPTIONS] IMAGE [IMAGE...]",
    arity: Arity::AtLeast(1),
    flags: &[&[
        Row::switch("force", "Remove it though it is in use", |o, on| o.force = on).short('f'),
        Row::switch("no-prune", "Keep parents without a name", |o, on| o.no_prune = on),
    ]],
    placement: Flags::Anywhere,
    failed: 1,
    run: |cx, options, names| Box::pin(remove(cx, options, names)),
};

async fn remove(cx: &Context, options: Options, names: Vec<String>) -> Result<u8, Failure> {
    let client = cx.client()?;
    let mut failed = false;
    for name in &names {
        let request = Request::delete(&image_itself(name))
            .query_on("force", options.force)
            .query_on("noprune", options.no_prune);
        match client.json::<Vec<Json>>(request).await {
            Ok(removed) => output::print(&removed.iter().map(line).collect::<String>())?,
            Err(failure @ (Failure::Unreachable { .. } | Failure::Forbidden { .. })) => {
                return Err(failure);
            }
            Err(failure) => {
                output::note(&failure.chain());
                failed |= !(options.force && failure.status() == Some(404));
            }
        }
    }
    Ok(u8::from(failed))
}

fn line(removed: &Json) -> String {
    match removed.text(&["Deleted"]) {
        "" => format!("Untagged: {}\n", removed.text(&["Untagged"])),
        id => format!("Deleted: {id}\n"),
    }
}
