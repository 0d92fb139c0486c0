//! The manual: man pages and completions, derived from the same tables as the parser.

use std::{io, path::Path};

use clap::{Arg, ArgAction, Command as Clap, ValueHint};
use clap_complete::Shell;

use crate::{
    command::{Group, Node},
    context,
    failure::Failure,
    flag::Names,
    tree,
};

/// The completions for `shell`.
pub(crate) fn completions(shell: &str, program: &'static str) -> Result<Vec<u8>, Failure> {
    let shell = match shell {
        "bash" => Shell::Bash,
        "zsh" => Shell::Zsh,
        "fish" => Shell::Fish,
        _ => {
            let message = format!("unknown shell '{shell}': there are bash, zsh and fish");
            return Err(Failure::Refused { message });
        }
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut whole(program), program, &mut script);
    Ok(script)
}

/// Writes a man page for the program and for each of its commands to `directory`.
pub(crate) fn pages(directory: &Path, program: &'static str) -> Result<(), Failure> {
    let failed = |source: io::Error| {
        let path = directory.to_owned();
        Failure::File { action: "write man pages to", path, source }
    };
    std::fs::create_dir_all(directory).map_err(failed)?;
    clap_mangen::generate_to(whole(program), directory).map_err(failed)
}

/// All commands, as clap describes commands.
fn whole(program: &'static str) -> Clap {
    let flags = context::FLAGS.iter().map(Names::from);
    let top = Clap::new(program)
        .version(env!("CARGO_PKG_VERSION"))
        .disable_help_subcommand(true)
        .disable_version_flag(true)
        .args(flags.map(|it| argument(&it)));
    group(top, tree::root())
}

fn group(clap: Clap, group: &'static Group) -> Clap {
    let items = group.items.iter().map(|item| {
        let clap = Clap::new(item.names[0])
            .about(item.about())
            .hide(item.hidden)
            .disable_help_subcommand(true)
            .visible_aliases(item.names[1..].iter().copied());
        match item.node {
            Node::Group(it) => self::group(clap, it),
            Node::Command(it) => {
                let flags: Vec<Names> = it.flags();
                // `-h` is the host name in some commands, and help in none.
                let clap = clap.disable_help_flag(true).args(flags.iter().map(argument));
                let help = Arg::new("help").long("help").help("Show this help");
                let clap = clap.arg(help.action(ArgAction::Help));
                match it.usage().strip_prefix("[OPTIONS]").unwrap_or(it.usage()).trim() {
                    "" => clap,
                    rest => clap.arg(Arg::new("rest").value_name(rest).num_args(0..)),
                }
            }
        }
    });
    clap.about(group.about).subcommands(items)
}

fn argument(names: &Names) -> Arg {
    let arg = Arg::new(names.long).long(names.long).help(names.help);
    let arg = match names.short {
        Some(short) => arg.short(short),
        None => arg,
    };
    match names.takes {
        None => arg.action(ArgAction::SetTrue),
        Some(takes) => {
            let hint = if takes == "file" { ValueHint::FilePath } else { ValueHint::Unknown };
            arg.action(ArgAction::Append).value_name(takes).value_hint(hint)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_completes_the_flags_of_run() {
        for shell in ["bash", "zsh", "fish"] {
            let script = completions(shell, "wadah").unwrap();
            let script = String::from_utf8(script).unwrap();
            assert!(script.contains("cap-add"), "{shell}");
        }
        completions("tcsh", "wadah").unwrap_err();
    }

    #[test]
    fn the_description_of_all_commands_is_sound() {
        whole("wadah").debug_assert();
    }
}
