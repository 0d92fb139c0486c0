//! `images`: lists images.

use super::ps::short;
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
    output, time, unit,
};

/// The flags of `images`.
#[derive(Debug, Default)]
pub(crate) struct Options {
    all: bool,
    digests: bool,
    filters: Filters,
    format: Option<String>,
    no_trunc: bool,
    quiet: bool,
}

type Row = Flag<Options>;

pub(crate) static COMMAND: Command<Options> = Command {
    about: "List images",
    usage: "[OPTIONS] [REPOSITORY[:TAG]]",
    arity: Arity::AtMost(1),
    flags: &[&[
        Row::switch("all", "Show intermediate images too", |o, on| o.all = on).short('a'),
        Row::switch("digests", "Show digests", |o, on| o.digests = on),
        Row::text("filter", "filter", "Show only what matches KEY=VALUE", |o, v| o.filters.add(v))
            .short('f'),
        Row::text("format", "string", "table, table TEMPLATE, json, or a Go template", |o, v| {
            o.format = Some(v.to_owned());
            Ok(())
        }),
        Row::switch("no-trunc", "Show everything in full", |o, on| o.no_trunc = on),
        Row::switch("quiet", "Show only IDs", |o, on| o.quiet = on).short('q'),
    ]],
    placement: Flags::Anywhere,
    failed: 1,
    run: |cx, options, arguments| Box::pin(list(cx, options, arguments)),
};

const COLUMNS: [format::Column; 11] = [
    ("Containers", "CONTAINERS"),
    ("CreatedAt", "CREATED AT"),
    ("CreatedSince", "CREATED"),
    ("Digest", "DIGEST"),
    ("ID", "IMAGE ID"),
    ("Repository", "REPOSITORY"),
    ("SharedSize", "SHARED SIZE"),
    ("Size", "SIZE"),
    ("Tag", "TAG"),
    ("UniqueSize", "UNIQUE SIZE"),
    ("VirtualSize", "SIZE"),
];

async fn list(cx: &Context, mut options: Options, arguments: Vec<String>) -> Result<u8, Failure> {
    if let Some(reference) = arguments.first() {
        options.filters.add(&format!("reference={reference}"))?;
    }
    let request = Request::get(&["images", "json"])
        .query_on("all", options.all)
        .query_on("digests", options.digests)
        .query_some("filters", options.filters.query());
    let images: Vec<Json> = cx.client()?.json(request).await?;
    let now = time::now();
    let rows: Vec<Json> = images.iter().flat_map(|it| rows(it, &options, now)).collect();
    if options.quiet && options.format.is_none() {
        let ids: Vec<String> = rows.iter().map(|it| format!("{}\n", it.text(&["ID"]))).collect();
        return output::print(&ids.concat()).map(|()| 0);
    }
    let shown: &[&str] = if options.digests {
        &["Repository", "Tag", "Digest", "ID", "CreatedSince", "Size"]
    } else {
        &["Repository", "Tag", "ID", "CreatedSince", "Size"]
    };
    let text = format::list(options.format.as_deref(), &COLUMNS, shown, &rows)?;
    output::print(&text).map(|()| 0)
}

/// One row for each tag, for each digest without a tag, and one for an image with neither.
fn rows(it: &Json, options: &Options, now: i64) -> Vec<Json> {
    let none = || "<none>".to_owned();
    let texts = |name: &str| -> Vec<String> {
        let all = it.list(&[name]).iter().map(Json::to_string);
        all.filter(|it| !it.starts_with("<none>")).collect()
    };
    let digests = texts("RepoDigests");
    let digest_of = |repository: &str| {
        let mut digests = digests.iter().filter_map(|it| it.split_once('@'));
        digests.find(|(name, _)| *name == repository).map_or_else(none, |(_, it)| it.to_owned())
    };
    let mut names: Vec<[String; 3]> = texts("RepoTags")
        .iter()
        .filter_map(|it| it.rsplit_once(':'))
        .map(|(repository, tag)| [repository.to_owned(), tag.to_owned(), digest_of(repository)])
        .collect();
    if names.is_empty() {
        let digests = digests.iter().filter_map(|it| it.split_once('@'));
        names =
            digests.map(|(name, digest)| [name.to_owned(), none(), digest.to_owned()]).collect();
    }
    if names.is_empty() {
        names.push([none(), none(), none()]);
    }
    // With templates a digest is shown wherever it is asked for.
    names.into_iter().map(|names| row(it, names, options, now)).collect()
}

fn row(it: &Json, [repository, tag, digest]: [String; 3], options: &Options, now: i64) -> Json {
    let id = it.text(&["Id"]);
    let created = it.integer(&["Created"]);
    let unknown = |name: &str| match it.integer(&[name]) {
        ..0 => "N/A".to_owned(),
        bytes => unit::size(bytes),
    };
    let containers = it.integer(&["Containers"]);
    Json::object([
        ("Containers", if containers < 0 { "N/A".to_owned() } else { containers.to_string() }),
        ("CreatedAt", time::local(created)),
        ("CreatedSince", format!("{} ago", unit::ago(now - created))),
        ("Digest", digest),
        ("ID", if options.no_trunc { id.to_owned() } else { short(id).to_owned() }),
        ("Repository", repository),
        ("SharedSize", unknown("SharedSize")),
        ("Size", unit::size(it.integer(&["Size"]))),
        ("Tag", tag),
        ("UniqueSize", "N/A".to_owned()),
        ("VirtualSize", unit::size(it.integer(&["Size"]))),
    ])
}
