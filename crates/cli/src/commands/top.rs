//! `top`: lists the processes of a container.

use serde::Deserialize;

use super::verbs::Plain;
use crate::{
    client::Request,
    columns,
    command::{Arity, Command},
    context::Context,
    failure::Failure,
    grammar::Flags,
    output,
};

pub(crate) static COMMAND: Command<Plain> = Command {
    about: "Show the processes of a container",
    usage: "CONTAINER [ps OPTIONS]",
    arity: Arity::AtLeast(1),
    flags: &[],
    placement: Flags::First,
    failed: 1,
    run: |cx, Plain, arguments| Box::pin(top(cx, arguments)),
};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listing {
    titles: Vec<String>,
    processes: Vec<Vec<String>>,
}

async fn top(cx: &Context, mut arguments: Vec<String>) -> Result<u8, Failure> {
    let name = arguments.remove(0);
    let request = Request::get(&["containers", &name, "top"])
        .query_some("ps_args", (!arguments.is_empty()).then(|| arguments.join(" ")));
    let listing: Listing = cx.client()?.json(request).await?;
    let lines = std::iter::once(&listing.titles).chain(&listing.processes);
    let lines: Vec<String> = lines.map(|it| it.join("\t")).collect();
    output::print(&columns::align_to(&lines, 20)).map(|()| 0)
}
