//! Help: a command's usage and the table of its flags as text.

use std::fmt::Write as _;

use crate::{command::Group, flag::Names};

/// Where in the tree of commands something stands, and what is said about it there.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// The words that lead here, without the program's name: `container ls`.
    pub path: String,
    /// What follows these words in the usage.
    pub usage: &'static str,
    /// The exit status when the command fails for reasons of its own.
    pub failed: u8,
}

/// A path with the program's name before it.
pub(crate) fn full(program: &str, path: &str) -> String {
    if path.is_empty() { program.to_owned() } else { format!("{program} {path}") }
}

/// The usage line, without the word "Usage".
pub(crate) fn usage(program: &str, place: &Place) -> String {
    format!("{} {}", full(program, &place.path), place.usage).trim_end().to_owned()
}

/// The whole help of one command; `aliases` are all the paths that lead to it.
pub(crate) fn command(
    program: &str,
    place: &Place,
    about: &str,
    aliases: &[String],
    flags: &[Names],
    width: usize,
) -> String {
    let mut text = format!("Usage:  {}\n\n{about}\n", usage(program, place));
    if aliases.len() > 1 {
        let all: Vec<String> = aliases.iter().map(|it| full(program, it)).collect();
        put(&mut text, format_args!("\nAliases:\n  {}\n", all.join(", ")));
    }
    if !flags.is_empty() {
        put(&mut text, format_args!("\nOptions:\n{}", rows(flags, width)));
    }
    text
}

/// The help of a group of commands, or of the program itself.
pub(crate) fn group(program: &str, place: &Place, group: &Group, globals: &[Names]) -> String {
    let mut text = format!("Usage:  {}\n\n{}\n", usage(program, place), group.about);
    for (title, groups) in [("Management Commands", true), ("Commands", false)] {
        let mut lines: Vec<(&str, &str)> = group
            .items
            .iter()
            .filter(|it| !it.hidden && it.is_group() == groups)
            .map(|it| (it.names[0], it.about()))
            .collect();
        lines.sort_unstable();
        if lines.is_empty() {
            continue;
        }
        put(&mut text, format_args!("\n{title}:\n"));
        for (name, about) in lines {
            put(&mut text, format_args!("  {name:<11} {about}\n"));
        }
    }
    if !globals.is_empty() {
        put(&mut text, format_args!("\nGlobal Options:\n{}", rows(globals, 80)));
    }
    let path = full(program, &place.path);
    put(
        &mut text,
        format_args!("\nRun '{path} COMMAND --help' for more information on a command.\n"),
    );
    text
}

/// The flags, sorted, one aligned row each.
fn rows(flags: &[Names], width: usize) -> String {
    let mut flags: Vec<&Names> = flags.iter().collect();
    flags.sort_by_key(|it| it.long);
    let left: Vec<String> = flags.iter().map(|it| left(it)).collect();
    let column = left.iter().map(String::len).max().unwrap_or(0) + 3;
    let mut text = String::new();
    for (flag, left) in flags.iter().zip(left) {
        let room = width.saturating_sub(column).max(24);
        for (number, line) in wrap(flag.help, room).iter().enumerate() {
            let left = if number == 0 { left.as_str() } else { "" };
            put(&mut text, format_args!("{left:<column$}{line}\n"));
        }
    }
    text
}

fn left(flag: &Names) -> String {
    let short = flag.short.map_or("      ".to_owned(), |it| format!("  -{it}, "));
    let takes = flag.takes.map_or(String::new(), |it| format!(" {it}"));
    format!("{short}--{}{takes}", flag.long)
}

/// Breaks `text` at spaces into lines of at most `room` characters.
fn wrap(text: &str, room: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let last = lines.len() - 1;
        if !lines[last].is_empty() && lines[last].len() + 1 + word.len() > room {
            lines.push(word.to_owned());
        } else {
            if !lines[last].is_empty() {
                lines[last].push(' ');
            }
            lines[last].push_str(word);
        }
    }
    lines
}

fn put(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    text.write_fmt(arguments).expect("BUG: formatting into a string does not fail");
}
