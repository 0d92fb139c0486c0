//! The tree of all commands, and the walk through it.

use crate::{
    command::{Entry, Group, Item, Node},
    commands::{
        attach, completion, create, events, exec, images, import, info, inspect, load, logs, man,
        ps, rmi, run, start, tag, top, verbs, version,
    },
    context::{self, Context},
    failure::Failure,
    flag::Names,
    help::{self, Place},
    launch, output, similar,
};

/// What can be said after the program's name.
static TOP: Group = Group {
    about: "Containers, with Docker's commands",
    items: &[
        Item::command(&["run"], &run::COMMAND),
        Item::command(&["create"], &create::COMMAND),
        Item::command(&["start"], &start::COMMAND),
        Item::command(&["stop"], &verbs::STOP),
        Item::command(&["restart"], &verbs::RESTART),
        Item::command(&["kill"], &verbs::KILL),
        Item::command(&["rm"], &verbs::REMOVE),
        Item::command(&["pause"], &verbs::PAUSE),
        Item::command(&["unpause"], &verbs::UNPAUSE),
        Item::command(&["wait"], &verbs::WAIT),
        Item::command(&["rename"], &verbs::RENAME),
        Item::command(&["ps"], &ps::COMMAND),
        Item::command(&["logs"], &logs::COMMAND),
        Item::command(&["exec"], &exec::COMMAND),
        Item::command(&["attach"], &attach::COMMAND),
        Item::command(&["top"], &top::COMMAND),
        Item::command(&["inspect"], &inspect::ANY),
        Item::command(&["images"], &images::COMMAND),
        Item::command(&["load"], &load::COMMAND),
        Item::command(&["import"], &import::COMMAND),
        Item::command(&["tag"], &tag::COMMAND),
        Item::command(&["rmi"], &rmi::COMMAND),
        Item::command(&["version"], &version::COMMAND),
        Item::command(&["info"], &info::COMMAND),
        Item::command(&["events"], &events::COMMAND),
        Item::group(&["container"], &CONTAINER),
        Item::group(&["image"], &IMAGE),
        Item::group(&["system"], &SYSTEM),
        Item::command(&["completion"], &completion::COMMAND).hidden(),
        Item::command(&["man"], &man::COMMAND).hidden(),
    ],
};

static CONTAINER: Group = Group {
    about: "Manage containers",
    items: &[
        Item::command(&["run"], &run::COMMAND),
        Item::command(&["create"], &create::COMMAND),
        Item::command(&["start"], &start::COMMAND),
        Item::command(&["stop"], &verbs::STOP),
        Item::command(&["restart"], &verbs::RESTART),
        Item::command(&["kill"], &verbs::KILL),
        Item::command(&["rm", "remove"], &verbs::REMOVE),
        Item::command(&["pause"], &verbs::PAUSE),
        Item::command(&["unpause"], &verbs::UNPAUSE),
        Item::command(&["wait"], &verbs::WAIT),
        Item::command(&["rename"], &verbs::RENAME),
        Item::command(&["ls", "list", "ps"], &ps::COMMAND),
        Item::command(&["logs"], &logs::COMMAND),
        Item::command(&["exec"], &exec::COMMAND),
        Item::command(&["attach"], &attach::COMMAND),
        Item::command(&["top"], &top::COMMAND),
        Item::command(&["inspect"], &inspect::CONTAINER),
    ],
};

static IMAGE: Group = Group {
    about: "Manage images",
    items: &[
        Item::command(&["ls", "list"], &images::COMMAND),
        Item::command(&["load"], &load::COMMAND),
        Item::command(&["import"], &import::COMMAND),
        Item::command(&["tag"], &tag::COMMAND),
        Item::command(&["rm", "remove"], &rmi::COMMAND),
        Item::command(&["inspect"], &inspect::IMAGE),
    ],
};

static SYSTEM: Group = Group {
    about: "Manage the daemon",
    items: &[
        Item::command(&["info"], &info::COMMAND),
        Item::command(&["events"], &events::COMMAND),
    ],
};

/// Docker's commands that are still to come.
pub(crate) const LATER: [&str; 31] = [
    "build",
    "builder",
    "buildx",
    "checkpoint",
    "commit",
    "compose",
    "config",
    "context",
    "cp",
    "diff",
    "export",
    "history",
    "login",
    "logout",
    "manifest",
    "network",
    "node",
    "plugin",
    "port",
    "pull",
    "push",
    "save",
    "search",
    "secret",
    "service",
    "stack",
    "stats",
    "swarm",
    "trust",
    "update",
    "volume",
];

/// The place of the program itself.
pub(crate) fn top() -> Place {
    Place { path: String::new(), usage: "[OPTIONS] COMMAND", failed: 1 }
}

/// All there is, for those who describe it.
pub(crate) fn root() -> &'static Group {
    &TOP
}

/// Does what the words after the global flags say; returns the status to exit with.
pub(crate) fn walk(cx: &Context, words: Vec<String>, help: bool) -> u8 {
    if words.first().is_some_and(|it| it == launch::STEP) {
        return launch::become_daemon().tell(cx, &top());
    }
    if cx.globals.version {
        return told(cx, &top(), output::line(&version::line(cx.program)).map(|()| 0));
    }
    descend(cx, &TOP, top(), words, help)
}

fn descend(cx: &Context, group: &Group, place: Place, mut words: Vec<String>, help: bool) -> u8 {
    let asked = help || matches!(words.first().map(String::as_str), Some("--help" | "-h"));
    if asked || words.is_empty() || (words[0] == "help" && place.path.is_empty()) {
        return explain(cx, group, &place, words);
    }
    let name = words.remove(0);
    let Some(item) = group.items.iter().find(|it| it.names.contains(&name.as_str())) else {
        return unknown(cx, group, &place, &name);
    };
    let path = if place.path.is_empty() { name } else { format!("{} {name}", place.path) };
    match item.node {
        Node::Group(group) => {
            descend(cx, group, Place { path, usage: "COMMAND", failed: 1 }, words, false)
        }
        Node::Command(entry) => {
            let place = Place { path, usage: entry.usage(), failed: entry.failed() };
            told(cx, &place, entry.execute(cx, &place, &|| aliases(entry), words))
        }
    }
}

fn told(cx: &Context, place: &Place, result: Result<u8, Failure>) -> u8 {
    result.unwrap_or_else(|failure| failure.tell(cx, place))
}

/// Shows the group's help, or, for `help COMMAND`, the command's.
fn explain(cx: &Context, group: &Group, place: &Place, mut words: Vec<String>) -> u8 {
    if words.first().is_some_and(|it| it == "help") && words.len() > 1 {
        words.remove(0);
        words.push("--help".to_owned());
        return descend(cx, group, place.clone(), words, false);
    }
    let globals: Vec<Names> = if place.path.is_empty() {
        context::FLAGS.iter().map(Names::from).collect()
    } else {
        Vec::new()
    };
    told(cx, place, output::print(&help::group(cx.program, place, group, &globals)).map(|()| 0))
}

fn unknown(cx: &Context, group: &Group, place: &Place, name: &str) -> u8 {
    if let Some(flag) = name.strip_prefix("--") {
        let error =
            crate::grammar::GrammarError::UnknownLong { name: flag.to_owned(), similar: None };
        return Failure::Grammar(error).tell(cx, place);
    }
    let names = group.items.iter().filter(|it| !it.hidden).flat_map(|it| it.names.iter().copied());
    let similar = similar::closest(name, names);
    let command =
        if place.path.is_empty() { name.to_owned() } else { format!("{} {name}", place.path) };
    Failure::UnknownCommand { program: cx.program, command, similar }.tell(cx, place)
}

/// All paths that lead to `entry`, the longer ones first.
fn aliases(entry: &'static dyn Entry) -> Vec<String> {
    let mut paths = Vec::new();
    find(&TOP, "", entry, &mut paths);
    paths.sort_by_key(|it| std::cmp::Reverse(it.split(' ').count()));
    paths
}

fn find(group: &Group, prefix: &str, entry: &'static dyn Entry, paths: &mut Vec<String>) {
    for item in group.items {
        let names = item.names.iter().map(|it| format!("{prefix}{it}"));
        match item.node {
            Node::Command(it) if std::ptr::addr_eq(it, entry) => paths.extend(names),
            Node::Command(_) => {}
            Node::Group(group) => {
                for name in names {
                    find(group, &format!("{name} "), entry, paths);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_knows_its_aliases() {
        assert_eq!(aliases(&ps::COMMAND), ["container ls", "container list", "container ps", "ps"]);
    }

    #[test]
    fn no_two_items_of_a_group_share_a_name() {
        for group in [&TOP, &CONTAINER, &IMAGE, &SYSTEM] {
            let mut names: Vec<_> = group.items.iter().flat_map(|it| it.names).collect();
            let count = names.len();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), count);
        }
    }
}
