//! `events`: shows what happens, as it happens.

use crate::{
    client::Request,
    command::{Arity, Command},
    context::Context,
    failure::Failure,
    filters::Filters,
    flag::Flag,
    format,
    grammar::Flags,
    json::Json,
    output,
    progress::next_line,
    time,
};

/// The flags of `events`.
#[derive(Debug, Default)]
pub(crate) struct Options {
    filters: Filters,
    format: Option<String>,
    since: Option<String>,
    until: Option<String>,
}

type Row = Flag<Options>;

pub(crate) static COMMAND: Command<Options> = Command {
    about: "Show what happens in the daemon, as it happens",
    usage: "[OPTIONS]",
    arity: Arity::None,
    flags: &[&[
        Row::text("filter", "filter", "Show only what matches KEY=VALUE", |o, v| o.filters.add(v))
            .short('f'),
        Row::text("format", "string", "json, or a Go template", |o, v| {
            o.format = Some(v.to_owned());
            Ok(())
        }),
        Row::text("since", "string", "Begin with what happened since then", |o, v| {
            o.since = Some(time::moment(v)?);
            Ok(())
        }),
        Row::text("until", "string", "Stop at this time", |o, v| {
            o.until = Some(time::moment(v)?);
            Ok(())
        }),
    ]],
    placement: Flags::Anywhere,
    failed: 1,
    run: |cx, options, _| Box::pin(events(cx, options)),
};

async fn events(cx: &Context, options: Options) -> Result<u8, Failure> {
    let request = Request::get(&["events"])
        .query_some("since", options.since)
        .query_some("until", options.until)
        .query_some("filters", options.filters.query());
    let mut pending = cx.client()?.open(request).await?;
    let (mut buffer, mut ended) = (Vec::new(), false);
    while let Some(line) = next_line(&mut pending, &mut buffer, &mut ended).await? {
        let event: Json = serde_json::from_slice(&line)
            .map_err(|source| Failure::Answer { what: "GET /events".to_owned(), source })?;
        let text = match options.format.as_deref().filter(|it| !it.is_empty()) {
            Some(format) => format::object(format, &event)?,
            None => show(&event),
        };
        output::print(&text)?;
    }
    Ok(0)
}

/// One event on one line: when, what, of which kind, to whom, and the rest in parentheses.
fn show(event: &Json) -> String {
    let nanoseconds = match event.integer(&["timeNano"]) {
        0 => event.integer(&["time"]).saturating_mul(1_000_000_000),
        it => it,
    };
    let mut text = time::local_nanoseconds(nanoseconds);
    for word in [event.text(&["Type"]), event.text(&["Action"]), event.text(&["Actor", "ID"])] {
        text.push(' ');
        text.push_str(word);
    }
    let mut attributes: Vec<String> = event
        .fields(&["Actor", "Attributes"])
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    attributes.sort_unstable();
    if !attributes.is_empty() {
        text.push_str(&format!(" ({})", attributes.join(", ")));
    }
    text.push('\n');
    text
}
