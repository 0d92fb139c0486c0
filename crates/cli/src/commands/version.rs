//! `version`: shows what we are and what the daemon is.

use std::fmt::Write as _;

use crate::{
    client::Request,
    command::{Arity, Command},
    context::Context,
    failure::Failure,
    flag::Flag,
    format,
    grammar::Flags,
    json::Json,
    output, time,
};

/// The newest version of the API that we know.
const API: &str = "1.55";

/// The flags of `version` and `info`.
#[derive(Debug, Default)]
pub(crate) struct Options {
    pub format: Option<String>,
}

/// `--format`, for commands that show one object.
pub(crate) const FORMAT: Flag<Options> =
    Flag::<Options>::text("format", "string", "json, or a Go template", |o, v| {
        o.format = Some(v.to_owned());
        Ok(())
    })
    .short('f');

pub(crate) static COMMAND: Command<Options> = Command {
    about: "Show the versions of the client and the daemon",
    usage: "[OPTIONS]",
    arity: Arity::None,
    flags: &[&[FORMAT]],
    placement: Flags::Anywhere,
    failed: 1,
    run: |cx, options, _| Box::pin(version(cx, options)),
};

/// What `--version` prints.
pub(crate) fn line(program: &str) -> String {
    let name = if program == "docker" { "Docker" } else { "Wadah" };
    format!("{name} version {}, build wadah", env!("CARGO_PKG_VERSION"))
}

async fn version(cx: &Context, options: Options) -> Result<u8, Failure> {
    let client = ours();
    let server = async { cx.client()?.json::<Json>(Request::get(&["version"])).await }.await;
    let (server, failure) = match server {
        Ok(server) => (server, None),
        Err(failure) => (Json::Null, Some(failure)),
    };
    let text = match options.format.as_deref().filter(|it| !it.is_empty()) {
        Some(format) => {
            let fields = vec![("Client".to_owned(), client), ("Server".to_owned(), server)];
            format::object(format, &Json::Object(fields))?
        }
        None => show(&client, &server),
    };
    output::print(&text)?;
    failure.map_or(Ok(0), Err)
}

fn ours() -> Json {
    Json::object([
        ("Version", env!("CARGO_PKG_VERSION").to_owned()),
        ("ApiVersion", API.to_owned()),
        ("DefaultAPIVersion", API.to_owned()),
        ("GitCommit", String::new()),
        ("GoVersion", String::new()),
        ("Os", std::env::consts::OS.to_owned()),
        ("Arch", architecture().to_owned()),
        ("BuildTime", String::new()),
        ("Context", "default".to_owned()),
    ])
}

/// Our architecture by the name that images use.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn show(client: &Json, server: &Json) -> String {
    let mut text = String::from("Client:\n");
    row(&mut text, "Version", client.text(&["Version"]));
    row(&mut text, "API version", client.text(&["ApiVersion"]));
    let platform = format!("{}/{}", client.text(&["Os"]), client.text(&["Arch"]));
    row(&mut text, "OS/Arch", &platform);
    row(&mut text, "Context", client.text(&["Context"]));
    if *server == Json::Null {
        return text;
    }
    let platform = server.text(&["Platform", "Name"]);
    text.push_str(format!("\nServer: {platform}").trim_end());
    text.push('\n');
    let components = server.list(&["Components"]);
    if components.is_empty() {
        component(&mut text, "Engine", server.text(&["Version"]), server);
    }
    for it in components {
        let details = it.get("Details").unwrap_or(&Json::Null);
        component(&mut text, it.text(&["Name"]), it.text(&["Version"]), details);
    }
    text
}

fn component(text: &mut String, name: &str, version: &str, details: &Json) {
    text.push_str(&format!(" {name}:\n"));
    put(text, " Version", version);
    let api = match (details.text(&["ApiVersion"]), details.text(&["MinAPIVersion"])) {
        ("", _) => String::new(),
        (api, "") => api.to_owned(),
        (api, least) => format!("{api} (minimum version {least})"),
    };
    let platform = match (details.text(&["Os"]), details.text(&["Arch"])) {
        ("", "") => String::new(),
        (os, arch) => format!("{os}/{arch}"),
    };
    let built = time::built(details.text(&["BuildTime"]));
    for (label, value) in [
        (" API version", api.as_str()),
        (" Go version", details.text(&["GoVersion"])),
        (" Git commit", details.text(&["GitCommit"])),
        (" GitCommit", if name == "Engine" { "" } else { details.text(&["GitCommit"]) }),
        (" Built", built.as_str()),
        (" OS/Arch", platform.as_str()),
        (" Experimental", details.text(&["Experimental"])),
    ] {
        let engine = name == "Engine";
        let mine = (label == " GitCommit") != engine || !label.contains("ommit");
        if !value.is_empty() && mine {
            put(text, label, value);
        }
    }
}

fn row(text: &mut String, label: &str, value: &str) {
    put(text, label, value);
}

fn put(text: &mut String, label: &str, value: &str) {
    let label = format!("{label}:");
    writeln!(text, " {label:<18} {value}").expect("BUG: formatting into a string does not fail");
}
