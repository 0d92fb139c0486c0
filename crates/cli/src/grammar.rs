//! The grammar of a command's arguments, which is that of Docker's client.
//!
//! Long flags are `--name value` or `--name=value`; short ones may be bundled (`-it`), with the
//! value attached (`-p80:80`), after `=`, or in the next argument. Switches take a value only
//! after `=`. `--` ends the flags, and so does the first other argument of a command whose tail
//! belongs to somebody else (`run`, `exec`).
//!
//! **Invariant:** nothing is guessed: no prefix of a flag's name is taken for the flag.

use std::slice;

use crate::{
    flag::{Flag, Invalid, Names, Value},
    similar,
};

/// A command's arguments, understood.
#[derive(Debug)]
pub(crate) struct Parsed<T> {
    pub options: T,
    pub rest: Vec<String>,
    /// `--help` was among the flags.
    pub help: bool,
}

/// Why a command's arguments were not understood.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GrammarError {
    #[error("unknown flag: --{name}")]
    UnknownLong { name: String, similar: Option<&'static str> },
    #[error("unknown shorthand flag: '{name}' in -{bundle}")]
    UnknownShort { name: char, bundle: String },
    #[error("flag needs an argument: --{name}")]
    NeedsValue { name: &'static str },
    #[error("flag needs an argument: '{name}' in -{bundle}")]
    NeedsShortValue { name: char, bundle: String },
    #[error("bad flag syntax: {argument}")]
    Syntax { argument: String },
    #[error("invalid argument \"{value}\" for \"{flag}\" flag: {reason}")]
    Value { value: String, flag: String, reason: Invalid },
}

/// Where flags end: see the module's documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flags {
    /// Flags and other arguments may be mixed.
    Anywhere,
    /// The first other argument ends the flags.
    First,
}

/// Reads `arguments` by the rows of `tables`.
pub(crate) fn parse<T: Default>(
    tables: &[&'static [Flag<T>]],
    flags: Flags,
    arguments: Vec<String>,
) -> Result<Parsed<T>, GrammarError> {
    let mut parsed = Parsed { options: T::default(), rest: Vec::new(), help: false };
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        if argument == "--" {
            parsed.rest.extend(arguments);
            break;
        } else if let Some(long) = argument.strip_prefix("--") {
            parse_long(tables, &mut parsed, long, &mut arguments)?;
        } else if argument.len() > 1 && argument.starts_with('-') {
            parse_bundle(tables, &mut parsed, &argument[1..], &mut arguments)?;
        } else {
            parsed.rest.push(argument);
            if flags == Flags::First {
                parsed.rest.extend(arguments);
                break;
            }
        }
    }
    Ok(parsed)
}

fn parse_long<T>(
    tables: &[&'static [Flag<T>]],
    parsed: &mut Parsed<T>,
    long: &str,
    arguments: &mut impl Iterator<Item = String>,
) -> Result<(), GrammarError> {
    let (name, attached) = match long.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (long, None),
    };
    if name.is_empty() || name.starts_with('-') {
        return Err(GrammarError::Syntax { argument: format!("--{long}") });
    }
    let Some(flag) = rows(tables).find(|it| it.names.long == name) else {
        if name == "help" {
            parsed.help = true;
            return Ok(());
        }
        let similar = similar::closest(name, rows(tables).map(|it| it.names.long));
        return Err(GrammarError::UnknownLong { name: name.to_owned(), similar });
    };
    match (&flag.value, attached) {
        (Value::Switch(set), None) => {
            set(&mut parsed.options, true);
            Ok(())
        }
        (_, Some(value)) => assign(flag, &mut parsed.options, value),
        (Value::Text(_), None) => {
            let next = arguments.next();
            let value = next.ok_or(GrammarError::NeedsValue { name: flag.names.long })?;
            assign(flag, &mut parsed.options, &value)
        }
    }
}

fn parse_bundle<T>(
    tables: &[&'static [Flag<T>]],
    parsed: &mut Parsed<T>,
    bundle: &str,
    arguments: &mut impl Iterator<Item = String>,
) -> Result<(), GrammarError> {
    let mut letters = bundle.chars();
    while let Some(letter) = letters.next() {
        let found = rows(tables).find(|it| it.names.short == Some(letter));
        let Some(flag) = found else {
            return Err(GrammarError::UnknownShort { name: letter, bundle: bundle.to_owned() });
        };
        let tail = letters.as_str();
        match (&flag.value, tail.strip_prefix('=')) {
            (_, Some(value)) => return assign(flag, &mut parsed.options, value),
            (Value::Switch(set), None) => set(&mut parsed.options, true),
            (Value::Text(_), None) if !tail.is_empty() => {
                return assign(flag, &mut parsed.options, tail);
            }
            (Value::Text(_), None) => {
                let missing =
                    || GrammarError::NeedsShortValue { name: letter, bundle: bundle.to_owned() };
                let value = arguments.next().ok_or_else(missing)?;
                return assign(flag, &mut parsed.options, &value);
            }
        }
    }
    Ok(())
}

fn assign<T>(flag: &Flag<T>, options: &mut T, value: &str) -> Result<(), GrammarError> {
    let result = match flag.value {
        Value::Switch(set) => truth(value).map(|on| set(options, on)),
        Value::Text(set) => set(options, value),
    };
    result.map_err(|reason| invalid(&flag.names, value, reason))
}

fn invalid(names: &Names, value: &str, reason: Invalid) -> GrammarError {
    GrammarError::Value { value: value.to_owned(), flag: names.display(), reason }
}

/// Reads a switch's explicit value; these are the spellings that Docker's client takes.
fn truth(value: &str) -> Result<bool, Invalid> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(Invalid("must be true or false".to_owned())),
    }
}

/// All rows of `tables`, in order.
fn rows<'a, T>(tables: &'a [&'static [Flag<T>]]) -> impl Iterator<Item = &'static Flag<T>> + 'a {
    tables.iter().copied().flat_map(<[Flag<T>]>::iter as fn(_) -> slice::Iter<'static, _>)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, PartialEq)]
    struct Options {
        detach: bool,
        tty: bool,
        publish: Vec<String>,
        number: Option<u32>,
    }

    static TABLE: &[Flag<Options>] = &[
        Flag::switch("detach", "", |o: &mut Options, on| o.detach = on).short('d'),
        Flag::switch("tty", "", |o: &mut Options, on| o.tty = on).short('t'),
        Flag::text("publish", "list", "", |o: &mut Options, v| {
            o.publish.push(v.to_owned());
            Ok(())
        })
        .short('p'),
        Flag::text("number", "int", "", |o: &mut Options, v| {
            o.number = Some(v.parse().map_err(|_| Invalid("not a number".to_owned()))?);
            Ok(())
        })
        .short('n'),
    ];

    fn check(flags: Flags, line: &str, expected: &str) {
        let arguments = line.split_whitespace().map(str::to_owned).collect();
        let shown = match parse(&[TABLE], flags, arguments) {
            Ok(it) => {
                let o = it.options;
                format!("{} {} {:?} {:?} {:?}", o.detach, o.tty, o.publish, o.number, it.rest)
            }
            Err(error) => error.to_string(),
        };
        assert_eq!(shown, expected, "for {line:?}");
    }

    #[test]
    fn short_flags_bundle_and_take_values_in_three_ways() {
        check(Flags::First, "-dt img", r#"true true [] None ["img"]"#);
        check(Flags::First, "-dp 80 img", r#"true false ["80"] None ["img"]"#);
        check(Flags::First, "-p80 -p=81 -p 82", r#"false false ["80", "81", "82"] None []"#);
    }

    #[test]
    fn switches_take_a_value_only_after_an_equals_sign() {
        check(Flags::First, "--detach=false -t=0 x", r#"false false [] None ["x"]"#);
        check(Flags::First, "--detach false", r#"true false [] None ["false"]"#);
        check(
            Flags::First,
            "--detach=x",
            "invalid argument \"x\" for \"-d, --detach\" flag: must be true or false",
        );
    }

    #[test]
    fn the_tail_of_run_is_not_ours() {
        check(Flags::First, "img -d --nope", r#"false false [] None ["img", "-d", "--nope"]"#);
        check(Flags::Anywhere, "img -d x", r#"true false [] None ["img", "x"]"#);
        check(Flags::Anywhere, "-- -d", r#"false false [] None ["-d"]"#);
    }

    #[test]
    fn errors_are_in_dockers_words() {
        check(Flags::First, "--nope", "unknown flag: --nope");
        check(Flags::First, "-dx", "unknown shorthand flag: 'x' in -dx");
        check(Flags::First, "--publish", "flag needs an argument: --publish");
        check(Flags::First, "-dp", "flag needs an argument: 'p' in -dp");
        check(
            Flags::First,
            "-n z",
            "invalid argument \"z\" for \"-n, --number\" flag: not a number",
        );
    }

    #[test]
    fn a_lone_dash_is_an_argument() {
        check(Flags::Anywhere, "- -d", r#"true false [] None ["-"]"#);
    }
}
