//! The functions that templates may call: Go's, and those that Docker adds.

use std::cmp::Ordering;

use super::TemplateError;
use crate::json::Json;

const NAMES: [&str; 23] = [
    "and", "eq", "ge", "gt", "index", "join", "json", "le", "len", "lower", "lt", "ne", "not",
    "or", "pad", "print", "printf", "println", "slice", "split", "title", "truncate", "upper",
];

/// Whether there is a function of this name.
pub(super) fn exists(name: &str) -> bool {
    NAMES.contains(&name)
}

/// Whether a value counts as true: all do but false, zero and what is empty.
pub(super) fn truth(value: &Json) -> bool {
    match value {
        Json::Null => false,
        Json::Bool(value) => *value,
        Json::Integer(number) => *number != 0,
        Json::Float(number) => *number != 0.0,
        Json::Text(text) => !text.is_empty(),
        Json::List(list) => !list.is_empty(),
        Json::Object(fields) => !fields.is_empty(),
    }
}

/// Calls the function `name`.
pub(super) fn call(name: &str, values: &[Json]) -> Result<Json, TemplateError> {
    let result = match name {
        "and" | "or" | "not" | "eq" | "ne" | "lt" | "le" | "gt" | "ge" => logic(name, values),
        "index" | "len" | "slice" => parts(name, values),
        "print" | "println" | "printf" => printing(name, values),
        _ => text(name, values),
    };
    result.map_err(|message| TemplateError::Execute { message: format!("at <{name}>: {message}") })
}

fn wrong(name: &str) -> String {
    format!("wrong number or type of args for {name}")
}

fn logic(name: &str, values: &[Json]) -> Result<Json, String> {
    let last = values.last().ok_or_else(|| wrong(name))?;
    let first = &values[0];
    let order = |accept: fn(Ordering) -> bool| match values {
        [left, right] => compare(left, right).map(accept).map(Json::Bool),
        _ => Err(wrong(name)),
    };
    match name {
        "and" => Ok(values.iter().find(|it| !truth(it)).unwrap_or(last).clone()),
        "or" => Ok(values.iter().find(|it| truth(it)).unwrap_or(last).clone()),
        "not" => Ok(Json::Bool(!truth(first))),
        "eq" if values.len() > 1 => Ok(Json::Bool(values[1..].iter().any(|it| equal(first, it)))),
        "ne" if values.len() == 2 => Ok(Json::Bool(!equal(first, last))),
        "lt" => order(Ordering::is_lt),
        "le" => order(Ordering::is_le),
        "gt" => order(Ordering::is_gt),
        "ge" => order(Ordering::is_ge),
        _ => Err(wrong(name)),
    }
}

fn equal(left: &Json, right: &Json) -> bool {
    left == right || compare(left, right) == Ok(Ordering::Equal)
}

fn compare(left: &Json, right: &Json) -> Result<Ordering, String> {
    let incomparable = || "incompatible types for comparison".to_owned();
    match (left, right) {
        (Json::Text(left), Json::Text(right)) => Ok(left.cmp(right)),
        (Json::Integer(left), Json::Integer(right)) => Ok(left.cmp(right)),
        (Json::Float(left), Json::Float(right)) => left.partial_cmp(right).ok_or_else(incomparable),
        _ => Err(incomparable()),
    }
}

fn parts(name: &str, values: &[Json]) -> Result<Json, String> {
    let (first, rest) = values.split_first().ok_or_else(|| wrong(name))?;
    match name {
        "index" => rest.iter().try_fold(first.clone(), |it, key| element(&it, key)),
        "len" => {
            let count = match first {
                Json::Text(text) => text.len(),
                Json::List(list) => list.len(),
                Json::Object(fields) => fields.len(),
                other => return Err(format!("len of {other}")),
            };
            Ok(Json::Integer(i128::try_from(count).unwrap_or(i128::MAX)))
        }
        _ => cut(first, rest),
    }
}

fn element(value: &Json, key: &Json) -> Result<Json, String> {
    match (value, key) {
        (Json::List(list), Json::Integer(at)) => {
            let item = usize::try_from(*at).ok().and_then(|it| list.get(it));
            item.cloned().ok_or_else(|| format!("index out of range: {at}"))
        }
        (Json::Object(_), Json::Text(name)) => Ok(value.get(name).cloned().unwrap_or_default()),
        (Json::Null, _) => Err("index of untyped nil".to_owned()),
        _ => Err(format!("cannot index {value} by {key}")),
    }
}

fn cut(value: &Json, bounds: &[Json]) -> Result<Json, String> {
    let bound = |at: usize, default: usize| match bounds.get(at) {
        None => Ok(default),
        Some(Json::Integer(it)) => usize::try_from(*it).map_err(|_| wrong("slice")),
        Some(_) => Err(wrong("slice")),
    };
    let out = || "slice bounds out of range".to_owned();
    match value {
        Json::Text(text) => {
            let range = bound(0, 0)?..bound(1, text.len())?;
            text.get(range).map(|it| Json::Text(it.to_owned())).ok_or_else(out)
        }
        Json::List(list) => {
            let range = bound(0, 0)?..bound(1, list.len())?;
            list.get(range).map(|it| Json::List(it.to_vec())).ok_or_else(out)
        }
        _ => Err(wrong("slice")),
    }
}

fn text(name: &str, values: &[Json]) -> Result<Json, String> {
    let text = match (name, values) {
        ("json", [value]) => value.compact(),
        ("lower", [Json::Text(text)]) => text.to_lowercase(),
        ("upper", [Json::Text(text)]) => text.to_uppercase(),
        ("title", [Json::Text(text)]) => {
            let mut letters = text.chars();
            letters.next().map_or(String::new(), |it| it.to_uppercase().chain(letters).collect())
        }
        ("join", [Json::List(list), Json::Text(between)]) => {
            list.iter().map(Json::to_string).collect::<Vec<_>>().join(between)
        }
        ("join", [Json::Null, Json::Text(_)]) => String::new(),
        ("split", [Json::Text(text), Json::Text(at)]) => {
            let parts = text.split(at.as_str()).map(|it| Json::Text(it.to_owned()));
            return Ok(Json::List(parts.collect()));
        }
        ("truncate", [Json::Text(text), Json::Integer(room)]) => {
            text.chars().take(usize::try_from(*room).unwrap_or(0)).collect()
        }
        ("pad", [Json::Text(text), Json::Integer(left), Json::Integer(right)]) => {
            let spaces = |it: i128| " ".repeat(usize::try_from(it.clamp(0, 1000)).unwrap_or(0));
            format!("{}{text}{}", spaces(*left), spaces(*right))
        }
        _ => return Err(wrong(name)),
    };
    Ok(Json::Text(text))
}

fn printing(name: &str, values: &[Json]) -> Result<Json, String> {
    let joined = |between| values.iter().map(Json::to_string).collect::<Vec<_>>().join(between);
    match (name, values) {
        ("println", _) => Ok(Json::Text(joined(" ") + "\n")),
        ("print", _) => Ok(Json::Text(joined(""))),
        (_, [Json::Text(format), rest @ ..]) => printf(format, rest).map(Json::Text),
        _ => Err(wrong(name)),
    }
}

/// Go's `printf`, as far as flags `-` and `0`, a width and a precision go.
fn printf(format: &str, values: &[Json]) -> Result<String, String> {
    let mut text = String::new();
    let mut values = values.iter();
    let mut rest = format;
    while let Some(at) = rest.find('%') {
        text.push_str(&rest[..at]);
        let directive = &rest[at + 1..];
        let end = directive.find(|it: char| it.is_alphabetic() || it == '%');
        let Some(end) = end else { return Err("incomplete format".to_owned()) };
        let (flags, verb) = (&directive[..end], directive[end..].chars().next().unwrap_or('%'));
        rest = &directive[end + verb.len_utf8()..];
        if verb == '%' {
            text.push('%');
            continue;
        }
        let value = values.next().ok_or_else(|| format!("missing value for %{verb}"))?;
        let shown = match (verb, value) {
            ('q', value) => Json::Text(value.to_string()).compact(),
            ('x', Json::Integer(number)) => format!("{number:x}"),
            ('f', Json::Float(number)) => {
                let places = flags.split_once('.').map_or(Ok(6), |(_, it)| it.parse());
                format!("{number:.*}", places.unwrap_or(6).min(30))
            }
            (_, value) => value.to_string(),
        };
        pad(&mut text, flags, &shown);
    }
    text.push_str(rest);
    Ok(text)
}

fn pad(text: &mut String, flags: &str, shown: &str) {
    let left = flags.starts_with('-');
    let flags = flags.trim_start_matches(['-', '+']);
    let fill = if flags.starts_with('0') && !left { "0" } else { " " };
    let width: usize = flags.split('.').next().unwrap_or_default().parse().unwrap_or(0);
    let fill = fill.repeat(width.min(1000).saturating_sub(shown.chars().count()));
    if left {
        text.push_str(shown);
        text.push_str(&fill);
    } else {
        text.push_str(&fill);
        text.push_str(shown);
    }
}
