//! `ps`: lists containers.

use std::collections::BTreeMap;

use crate::{
    client::Request,
    columns::ellipsis,
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

/// The flags of `ps`.
#[derive(Debug, Default)]
pub(crate) struct Options {
    all: bool,
    filters: Filters,
    format: Option<String>,
    last: Option<i64>,
    latest: bool,
    no_trunc: bool,
    quiet: bool,
    size: bool,
}

type Row = Flag<Options>;

pub(crate) static COMMAND: Command<Options> = Command {
    about: "List containers",
    usage: "[OPTIONS]",
    arity: Arity::None,
    flags: &[&[
        Row::switch("all", "Show all containers, not only those that run", |o, on| o.all = on)
            .short('a'),
        Row::text("filter", "filter", "Show only what matches KEY=VALUE", |o, v| o.filters.add(v))
            .short('f'),
        Row::text("format", "string", "table, table TEMPLATE, json, or a Go template", |o, v| {
            o.format = Some(v.to_owned());
            Ok(())
        }),
        Row::text("last", "int", "Show the last so many, whatever their state", |o, v| {
            o.last = Some(unit::whole(v)?);
            Ok(())
        })
        .short('n'),
        Row::switch("latest", "Show the last one, whatever its state", |o, on| o.latest = on)
            .short('l'),
        Row::switch("no-trunc", "Show everything in full", |o, on| o.no_trunc = on),
        Row::switch("quiet", "Show only IDs", |o, on| o.quiet = on).short('q'),
        Row::switch("size", "Show sizes", |o, on| o.size = on).short('s'),
    ]],
    placement: Flags::Anywhere,
    failed: 1,
    run: |cx, options, _| Box::pin(list(cx, options)),
};

const COLUMNS: [format::Column; 15] = [
    ("Command", "COMMAND"),
    ("CreatedAt", "CREATED AT"),
    ("ID", "CONTAINER ID"),
    ("Image", "IMAGE"),
    ("Labels", "LABELS"),
    ("LocalVolumes", "LOCAL VOLUMES"),
    ("Mounts", "MOUNTS"),
    ("Names", "NAMES"),
    ("Networks", "NETWORKS"),
    ("Ports", "PORTS"),
    ("RunningFor", "CREATED"),
    ("Size", "SIZE"),
    ("State", "STATE"),
    ("Status", "STATUS"),
    ("Platform", "PLATFORM"),
];

const SHOWN: [&str; 8] =
    ["ID", "Image", "Command", "RunningFor", "Status", "Ports", "Names", "Size"];

async fn list(cx: &Context, options: Options) -> Result<u8, Failure> {
    let last = if options.latest { Some(1) } else { options.last.filter(|it| *it >= 0) };
    // A template may ask for sizes, and only then are they worth measuring.
    let size = options.size || options.format.as_deref().is_some_and(|it| it.contains(".Size"));
    let request = Request::get(&["containers", "json"])
        .query_on("all", options.all)
        .query_some("limit", last)
        .query_on("size", size)
        .query_some("filters", options.filters.query());
    let containers: Vec<Json> = cx.client()?.json(request).await?;
    let now = time::now();
    let rows: Vec<Json> = containers.iter().map(|it| row(it, !options.no_trunc, now)).collect();
    if options.quiet && options.format.is_none() {
        let ids: Vec<String> = rows.iter().map(|it| format!("{}\n", it.text(&["ID"]))).collect();
        return output::print(&ids.concat()).map(|()| 0);
    }
    let shown = &SHOWN[..if options.size { 8 } else { 7 }];
    let text = format::list(options.format.as_deref(), &COLUMNS, shown, &rows)?;
    output::print(&text).map(|()| 0)
}

fn row(it: &Json, trunc: bool, now: i64) -> Json {
    let cut = |text: &str, room: usize| {
        if trunc { ellipsis(text, room) } else { text.to_owned() }
    };
    let id = it.text(&["Id"]);
    let created = it.integer(&["Created"]);
    let labels = it.fields(&["Labels"]).iter().map(|(k, v)| format!("{k}={v}"));
    let networks = it.fields(&["NetworkSettings", "Networks"]).iter().map(|(k, _)| k.clone());
    let mounts = it.list(&["Mounts"]);
    let local = mounts.iter().filter(|it| it.text(&["Driver"]) == "local").count();
    let names = mounts.iter().map(|it| match it.text(&["Name"]) {
        "" => cut(it.text(&["Source"]), 15),
        name => cut(name, 15),
    });
    let mut row = Json::object([
        ("Command", quoted(&cut(it.text(&["Command"]), 20))),
        ("CreatedAt", time::local(created)),
        ("ID", if trunc { short(id).to_owned() } else { id.to_owned() }),
        ("Image", image(it, trunc)),
        ("Labels", sorted(labels)),
        ("LocalVolumes", local.to_string()),
        ("Mounts", names.collect::<Vec<_>>().join(",")),
        ("Names", self::names(it, trunc)),
        ("Networks", sorted(networks)),
        ("Ports", ports(it.list(&["Ports"]))),
        ("RunningFor", format!("{} ago", unit::ago(now - created))),
        ("Size", size(it)),
        ("State", it.text(&["State"]).to_owned()),
        ("Status", it.text(&["Status"]).to_owned()),
    ]);
    if let Json::Object(fields) = &mut row {
        fields.insert(9, ("Platform".to_owned(), Json::Null));
    }
    row
}

fn sorted(items: impl Iterator<Item = String>) -> String {
    let mut items: Vec<String> = items.collect();
    items.sort_unstable();
    items.join(",")
}

/// The first twelve digits of an ID, which is what people see.
pub(crate) fn short(id: &str) -> &str {
    let id = id.strip_prefix("sha256:").unwrap_or(id);
    id.get(..12).unwrap_or(id)
}

fn quoted(text: &str) -> String {
    Json::Text(text.to_owned()).compact()
}

fn image(it: &Json, trunc: bool) -> String {
    let (image, id) = (it.text(&["Image"]), it.text(&["ImageID"]));
    if image.is_empty() {
        return "<no image>".to_owned();
    }
    if !trunc {
        return image.to_owned();
    }
    // Created from an ID, not from a name: the ID is shown short, like all IDs.
    if !id.is_empty() && short(id) == short(image) {
        return short(image).to_owned();
    }
    image.split_once('@').map_or(image, |(name, _)| name).to_owned()
}

/// The names without the leading slash; names by way of a link have a further one.
fn names(it: &Json, trunc: bool) -> String {
    let names = it.list(&["Names"]).iter().map(Json::to_string);
    let names = names.map(|it| it.trim_start_matches('/').to_owned());
    names.filter(|it| !trunc || !it.contains('/')).collect::<Vec<_>>().join(",")
}

fn size(it: &Json) -> String {
    let (written, all) = (it.integer(&["SizeRw"]), it.integer(&["SizeRootFs"]));
    let written = unit::size(written);
    if all > 0 { format!("{written} (virtual {})", unit::size(all)) } else { written }
}

/// The ports as text: neighbours that are published alike are one range.
fn ports(ports: &[Json]) -> String {
    let mut ports: Vec<Port> = ports.iter().map(Port::of).collect();
    ports.sort();
    let mut done = Vec::new();
    let mut groups: Vec<(&Port, u16)> = Vec::new();
    let mut open: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let mut mapped = Vec::new();
    for port in &ports {
        if !port.ip.is_empty() && port.public != port.private {
            let address = join(&port.ip, port.public);
            mapped.push(format!("{address}->{}/{}", port.private, port.protocol));
            continue;
        }
        let key = (port.ip.as_str(), port.protocol.as_str());
        match open.get(&key) {
            Some(&at) if groups[at].1.checked_add(1) == Some(port.private) => {
                groups[at].1 = port.private;
            }
            Some(&at) => {
                done.push(group(groups[at]));
                groups[at] = (port, port.private);
            }
            None => {
                open.insert(key, groups.len());
                groups.push((port, port.private));
            }
        }
    }
    done.extend(groups.into_iter().map(group));
    done.extend(mapped);
    done.join(", ")
}

fn group((first, last): (&Port, u16)) -> String {
    let range =
        if first.private == last { last.to_string() } else { format!("{}-{last}", first.private) };
    if first.ip.is_empty() {
        return format!("{range}/{}", first.protocol);
    }
    let bracketed =
        if first.ip.contains(':') { format!("[{}]", first.ip) } else { first.ip.clone() };
    format!("{bracketed}:{range}->{range}/{}", first.protocol)
}

fn join(ip: &str, port: u16) -> String {
    if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Port {
    private: u16,
    ip: String,
    public: u16,
    protocol: String,
}

impl Port {
    fn of(it: &Json) -> Self {
        let port = |name| u16::try_from(it.integer(&[name])).unwrap_or(0);
        Self {
            private: port("PrivatePort"),
            ip: it.text(&["IP"]).to_owned(),
            public: port("PublicPort"),
            protocol: it.text(&["Type"]).to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(list: &str, expected: &str) {
        let list: Vec<Json> = serde_json::from_str(list).unwrap();
        assert_eq!(ports(&list), expected);
    }

    #[test]
    fn ports_are_grouped_as_docker_groups_them() {
        check(r#"[{"PrivatePort":80,"Type":"tcp"}]"#, "80/tcp");
        check(
            r#"[{"IP":"0.0.0.0","PrivatePort":80,"PublicPort":8080,"Type":"tcp"},
                {"IP":"::","PrivatePort":80,"PublicPort":8080,"Type":"tcp"}]"#,
            "0.0.0.0:8080->80/tcp, [::]:8080->80/tcp",
        );
        check(
            r#"[{"IP":"0.0.0.0","PrivatePort":81,"PublicPort":81,"Type":"tcp"},
                {"IP":"0.0.0.0","PrivatePort":80,"PublicPort":80,"Type":"tcp"},
                {"PrivatePort":443,"Type":"tcp"},{"PrivatePort":53,"Type":"udp"}]"#,
            "53/udp, 0.0.0.0:80-81->80-81/tcp, 443/tcp",
        );
    }
}
