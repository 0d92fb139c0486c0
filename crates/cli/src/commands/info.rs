//! `info`: shows the state of the daemon and of the system it runs on.

use super::version::{FORMAT, Options};
use crate::{
    client::Request,
    command::{Arity, Command},
    context::Context,
    failure::Failure,
    format,
    grammar::Flags,
    json::Json,
    output, unit,
};

pub(crate) static COMMAND: Command<Options> = Command {
    about: "Show the state of the daemon and its system",
    usage: "[OPTIONS]",
    arity: Arity::None,
    flags: &[&[FORMAT]],
    placement: Flags::Anywhere,
    failed: 1,
    run: |cx, options, _| Box::pin(info(cx, options)),
};

async fn info(cx: &Context, options: Options) -> Result<u8, Failure> {
    let server = cx.client()?.json::<Json>(Request::get(&["info"])).await;
    if let Some(format) = options.format.as_deref().filter(|it| !it.is_empty()) {
        let mut fields = server?.fields(&[]).to_vec();
        fields.push(("ClientInfo".to_owned(), client()));
        return output::print(&format::object(format, &Json::Object(fields))?).map(|()| 0);
    }
    let version = env!("CARGO_PKG_VERSION");
    let head =
        format!("Client:\n Version:    {version}\n Context:    default\n Debug Mode: false\n");
    output::print(&format!("{head}\nServer:\n"))?;
    let server = server?;
    output::print(&format!("{}\n", show(&server)))?;
    for warning in server.list(&["Warnings"]) {
        output::note(&warning.to_string());
    }
    Ok(0)
}

fn client() -> Json {
    Json::object([
        ("Version", env!("CARGO_PKG_VERSION").to_owned()),
        ("Context", "default".to_owned()),
    ])
}

/// The lines about the daemon; a line about nothing is left out.
fn show(it: &Json) -> String {
    let mut text = String::new();
    counts(&mut text, it);
    storage(&mut text, it);
    plugins(&mut text, it);
    runtimes(&mut text, it);
    security(&mut text, it);
    system(&mut text, it);
    settings(&mut text, it);
    text
}

fn line(text: &mut String, indent: usize, label: &str, value: &str) {
    if !value.is_empty() {
        text.push_str(&format!("{:indent$}{label}: {value}\n", ""));
    }
}

fn counts(text: &mut String, it: &Json) {
    for (indent, label, name) in [
        (1, "Containers", "Containers"),
        (2, "Running", "ContainersRunning"),
        (2, "Paused", "ContainersPaused"),
        (2, "Stopped", "ContainersStopped"),
        (1, "Images", "Images"),
    ] {
        line(text, indent, label, &it.integer(&[name]).to_string());
    }
    line(text, 1, "Server Version", it.text(&["ServerVersion"]));
}

fn storage(text: &mut String, it: &Json) {
    line(text, 1, "Storage Driver", it.text(&["Driver"]));
    for pair in it.list(&["DriverStatus"]) {
        if let [label, value] = pair.list(&[]) {
            line(text, 2, &label.to_string(), &value.to_string());
        }
    }
    line(text, 1, "Logging Driver", it.text(&["LoggingDriver"]));
    line(text, 1, "Cgroup Driver", it.text(&["CgroupDriver"]));
    line(text, 1, "Cgroup Version", it.text(&["CgroupVersion"]));
}

fn plugins(text: &mut String, it: &Json) {
    text.push_str(" Plugins:\n");
    for kind in ["Volume", "Network", "Authorization", "Log"] {
        line(text, 2, kind, &words(it.list(&["Plugins", kind])));
    }
    line(text, 1, "Swarm", it.text(&["Swarm", "LocalNodeState"]));
}

fn words(list: &[Json]) -> String {
    list.iter().map(Json::to_string).collect::<Vec<_>>().join(" ")
}

fn runtimes(text: &mut String, it: &Json) {
    let mut names: Vec<&str> = it.fields(&["Runtimes"]).iter().map(|(k, _)| k.as_str()).collect();
    names.sort_unstable();
    line(text, 1, "Runtimes", &names.join(" "));
    line(text, 1, "Default Runtime", it.text(&["DefaultRuntime"]));
    line(text, 1, "Init Binary", it.text(&["InitBinary"]));
    line(text, 1, "containerd version", it.text(&["ContainerdCommit", "ID"]));
    line(text, 1, "runc version", it.text(&["RuncCommit", "ID"]));
    line(text, 1, "init version", it.text(&["InitCommit", "ID"]));
}

fn security(text: &mut String, it: &Json) {
    let options = it.list(&["SecurityOptions"]);
    if options.is_empty() {
        return;
    }
    text.push_str(" Security Options:\n");
    for option in options {
        let option = option.to_string();
        for field in option.split(',') {
            match field.split_once('=') {
                Some(("name", name)) => text.push_str(&format!("  {name}\n")),
                Some(("profile", profile)) => line(text, 3, "Profile", profile),
                Some((key, value)) => line(text, 3, key, value),
                None => text.push_str(&format!("  {field}\n")),
            }
        }
    }
}

fn system(text: &mut String, it: &Json) {
    line(text, 1, "Kernel Version", it.text(&["KernelVersion"]));
    line(text, 1, "Operating System", it.text(&["OperatingSystem"]));
    line(text, 1, "OSType", it.text(&["OSType"]));
    line(text, 1, "Architecture", it.text(&["Architecture"]));
    line(text, 1, "CPUs", &it.integer(&["NCPU"]).to_string());
    line(text, 1, "Total Memory", &unit::binary_size(it.integer(&["MemTotal"])));
    line(text, 1, "Name", it.text(&["Name"]));
    line(text, 1, "ID", it.text(&["ID"]));
    line(text, 1, "Docker Root Dir", it.text(&["DockerRootDir"]));
    line(text, 1, "Debug Mode", &it.is(&["Debug"]).to_string());
    line(text, 1, "HTTP Proxy", it.text(&["HttpProxy"]));
    line(text, 1, "HTTPS Proxy", it.text(&["HttpsProxy"]));
    line(text, 1, "No Proxy", it.text(&["NoProxy"]));
}

fn settings(text: &mut String, it: &Json) {
    for (label, list) in [
        ("Labels", it.list(&["Labels"])),
        ("Insecure Registries", it.list(&["RegistryConfig", "InsecureRegistryCIDRs"])),
        ("Registry Mirrors", it.list(&["RegistryConfig", "Mirrors"])),
    ] {
        if !list.is_empty() {
            text.push_str(&format!(" {label}:\n"));
            list.iter().for_each(|it| text.push_str(&format!("  {it}\n")));
        }
        if label == "Labels" {
            line(text, 1, "Experimental", &it.is(&["ExperimentalBuild"]).to_string());
        }
    }
    line(text, 1, "Live Restore Enabled", &it.is(&["LiveRestoreEnabled"]).to_string());
}
