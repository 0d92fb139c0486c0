//! `inspect`: shows all that the daemon knows of a container or an image.

use crate::{
    client::{Client, Request, image},
    command::{Arity, Command},
    context::Context,
    failure::Failure,
    flag::{Flag, Invalid},
    format,
    grammar::Flags,
    json::Json,
    output,
    template::Template,
};

/// The flags of `inspect`.
#[derive(Debug, Default)]
pub(crate) struct Options {
    format: Option<String>,
    size: bool,
    kind: Option<Kind>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Container,
    Image,
    Network,
    Volume,
}

type Row = Flag<Options>;

const FORMAT: Row = Row::text("format", "string", "json, or a Go template", |o, v| {
    o.format = Some(v.to_owned());
    Ok(())
})
.short('f');

const SIZE: Row = Row::switch("size", "Show sizes of containers", |o, on| o.size = on).short('s');

pub(crate) static ANY: Command<Options> = Command {
    about: "Show everything about containers and images",
    usage: "[OPTIONS] NAME|ID [NAME|ID...]",
    arity: Arity::AtLeast(1),
    flags: &[&[
        FORMAT,
        SIZE,
        Row::text("type", "string", "container, image, network or volume", |o, v| {
            o.kind = Some(match v {
                "container" => Kind::Container,
                "image" => Kind::Image,
                "network" => Kind::Network,
                "volume" => Kind::Volume,
                _ => return Err(Invalid(format!("\"{v}\" is not a valid value for --type"))),
            });
            Ok(())
        }),
    ]],
    placement: Flags::Anywhere,
    failed: 1,
    run: |cx, options, names| Box::pin(inspect(cx, options, names)),
};

pub(crate) static CONTAINER: Command<Options> = Command {
    about: "Show everything about one or more containers",
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    arity: Arity::AtLeast(1),
    flags: &[&[FORMAT, SIZE]],
    placement: Flags::Anywhere,
    failed: 1,
    run: |cx, options, names| {
        Box::pin(inspect(cx, Options { kind: Some(Kind::Container), ..options }, names))
    },
};

pub(crate) static IMAGE: Command<Options> = Command {
    about: "Show everything about one or more images",
    usage: "[OPTIONS] IMAGE [IMAGE...]",
    arity: Arity::AtLeast(1),
    flags: &[&[FORMAT]],
    placement: Flags::Anywhere,
    failed: 1,
    run: |cx, options, names| {
        Box::pin(inspect(cx, Options { kind: Some(Kind::Image), ..options }, names))
    },
};

async fn inspect(cx: &Context, options: Options, names: Vec<String>) -> Result<u8, Failure> {
    // A template that cannot be understood is told before anything is asked for.
    if let Some(format) = options.format.as_deref().filter(|it| *it != "json") {
        Template::parse(format).map_err(|error| Failure::refused(error.to_string()))?;
    }
    let client = cx.client()?;
    let mut found = Vec::new();
    let mut problems = Vec::new();
    for name in &names {
        match find(&client, &options, name).await {
            Ok(value) => found.push(value),
            Err(failure @ (Failure::Unreachable { .. } | Failure::Forbidden { .. })) => {
                return Err(failure);
            }
            Err(failure) => problems.push(failure.chain()),
        }
    }
    output::print(&show(options.format.as_deref(), &found)?)?;
    for problem in &problems {
        output::note(problem);
    }
    Ok(u8::from(!problems.is_empty()))
}

/// Looks an object up by the first kind that knows the name.
async fn find(client: &Client, options: &Options, name: &str) -> Result<Json, Failure> {
    if name.trim_matches('/').is_empty() {
        return Err(Failure::refused("invalid name or ID: value is empty"));
    }
    let all = [Kind::Container, Kind::Image, Kind::Network, Kind::Volume];
    let kinds = options.kind.as_ref().map_or(&all[..], std::slice::from_ref);
    for kind in kinds {
        match client.json(kind.request(name, options.size)).await {
            Err(failure) if absent(&failure) && options.kind.is_none() => {}
            other => return other,
        }
    }
    Err(Failure::refused(format!("Error: No such object: {name}")))
}

/// Whether there is no such thing, or there are no such things at all.
fn absent(failure: &Failure) -> bool {
    matches!(failure.status(), Some(400 | 404 | 501))
}

impl Kind {
    fn request(self, name: &str, size: bool) -> Request {
        match self {
            Self::Container => Request::get(&["containers", name, "json"]).query_on("size", size),
            Self::Image => Request::get(&image(name, "json")),
            Self::Network => Request::get(&["networks", name]),
            Self::Volume => Request::get(&["volumes", name]),
        }
    }
}

fn show(format: Option<&str>, found: &[Json]) -> Result<String, Failure> {
    match format {
        Some(format) if !format.is_empty() => {
            found.iter().map(|it| format::object(format, it)).collect()
        }
        _ => Ok(Json::List(found.to_vec()).pretty(0) + "\n"),
    }
}
