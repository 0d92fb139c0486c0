//! JSON that keeps the order of fields: what people see is what the daemon sent.

use std::fmt::{self, Write as _};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};

/// A value.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Json {
    #[default]
    Null,
    Bool(bool),
    Integer(i128),
    Float(f64),
    Text(String),
    List(Vec<Self>),
    Object(Vec<(String, Self)>),
}

impl Json {
    /// The field `name`, exactly spelt.
    pub(crate) fn get(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Object(fields) => fields.iter().find(|(it, _)| it == name).map(|(_, it)| it),
            _ => None,
        }
    }

    /// The value at a path of fields, if there is one.
    pub(crate) fn at(&self, path: &[&str]) -> Option<&Self> {
        path.iter().try_fold(self, |it, name| it.get(name))
    }

    /// The text at a path, or nothing.
    pub(crate) fn text(&self, path: &[&str]) -> &str {
        match self.at(path) {
            Some(Self::Text(text)) => text,
            _ => "",
        }
    }

    /// The whole number at a path, or zero.
    pub(crate) fn integer(&self, path: &[&str]) -> i64 {
        match self.at(path) {
            Some(Self::Integer(number)) => i64::try_from(*number).unwrap_or(i64::MAX),
            _ => 0,
        }
    }

    /// Whether what is at a path is true.
    pub(crate) fn is(&self, path: &[&str]) -> bool {
        self.at(path) == Some(&Self::Bool(true))
    }

    /// The elements of the list at a path, or none.
    pub(crate) fn list(&self, path: &[&str]) -> &[Self] {
        match self.at(path) {
            Some(Self::List(list)) => list,
            _ => &[],
        }
    }

    /// The fields of the object at a path, or none.
    pub(crate) fn fields(&self, path: &[&str]) -> &[(String, Self)] {
        match self.at(path) {
            Some(Self::Object(fields)) => fields,
            _ => &[],
        }
    }

    /// An object of texts.
    pub(crate) fn object<'a>(fields: impl IntoIterator<Item = (&'a str, String)>) -> Self {
        Self::Object(fields.into_iter().map(|(k, v)| (k.to_owned(), Self::Text(v))).collect())
    }

    /// Writes the value on one line.
    pub(crate) fn compact(&self) -> String {
        let mut text = String::new();
        self.write(&mut text, None);
        text
    }

    /// Writes the value over several lines, indented by four spaces from `depth` on.
    pub(crate) fn pretty(&self, depth: usize) -> String {
        let mut text = String::new();
        self.write(&mut text, Some(depth));
        text
    }

    fn write(&self, to: &mut String, depth: Option<usize>) {
        match self {
            Self::Null => to.push_str("null"),
            Self::Bool(value) => put(to, value),
            Self::Integer(number) => put(to, number),
            Self::Float(number) => put(to, number),
            Self::Text(text) => quote(text, to),
            Self::List(list) => {
                let items = list.iter().map(|it| (None, it));
                write_items(to, depth, ['[', ']'], items);
            }
            Self::Object(fields) => {
                let items = fields.iter().map(|(name, it)| (Some(name.as_str()), it));
                write_items(to, depth, ['{', '}'], items);
            }
        }
    }
}

fn write_items<'a>(
    to: &mut String,
    depth: Option<usize>,
    [open, close]: [char; 2],
    items: impl ExactSizeIterator<Item = (Option<&'a str>, &'a Json)>,
) {
    let empty = items.len() == 0;
    to.push(open);
    for (index, (name, item)) in items.enumerate() {
        if index > 0 {
            to.push(',');
        }
        if let Some(depth) = depth {
            indent(to, depth + 1);
        }
        if let Some(name) = name {
            quote(name, to);
            to.push_str(if depth.is_some() { ": " } else { ":" });
        }
        item.write(to, depth.map(|it| it + 1));
    }
    if let (Some(depth), false) = (depth, empty) {
        indent(to, depth);
    }
    to.push(close);
}

fn indent(to: &mut String, depth: usize) {
    to.push('\n');
    for _ in 0..depth {
        to.push_str("    ");
    }
}

fn quote(text: &str, to: &mut String) {
    to.push('"');
    for it in text.chars() {
        match it {
            '"' => to.push_str("\\\""),
            '\\' => to.push_str("\\\\"),
            '\n' => to.push_str("\\n"),
            '\r' => to.push_str("\\r"),
            '\t' => to.push_str("\\t"),
            '\u{8}' => to.push_str("\\b"),
            '\u{c}' => to.push_str("\\f"),
            ..' ' | '\u{2028}' | '\u{2029}' => put(to, format_args!("\\u{:04x}", u32::from(it))),
            _ => to.push(it),
        }
    }
    to.push('"');
}

fn put(to: &mut String, value: impl fmt::Display) {
    write!(to, "{value}").expect("BUG: formatting into a string does not fail");
}

impl fmt::Display for Json {
    /// Shows the value as Go's `fmt.Print` would show it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("<nil>"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Integer(number) => write!(f, "{number}"),
            Self::Float(number) => write!(f, "{number}"),
            Self::Text(text) => f.write_str(text),
            Self::List(list) => {
                f.write_char('[')?;
                for (index, item) in list.iter().enumerate() {
                    write!(f, "{}{item}", if index > 0 { " " } else { "" })?;
                }
                f.write_char(']')
            }
            Self::Object(fields) => {
                f.write_str("map[")?;
                let mut fields: Vec<_> = fields.iter().collect();
                fields.sort_by_key(|(name, _)| name);
                for (index, (name, item)) in fields.into_iter().enumerate() {
                    write!(f, "{}{name}:{item}", if index > 0 { " " } else { "" })?;
                }
                f.write_char(']')
            }
        }
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Builder)
    }
}

struct Builder;

impl<'de> Visitor<'de> for Builder {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Json, E> {
        Ok(Json::Integer(i128::from(number)))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Json, E> {
        Ok(Json::Integer(i128::from(number)))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Json, E> {
        Ok(Json::Float(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Json, E> {
        Ok(Json::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Json, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = entries.next_entry()? {
            fields.push(field);
        }
        Ok(Json::Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_fields_is_kept() {
        let text = r#"{"z":1,"a":[true,null,{}],"m":{"x":"\u0001\"<"}}"#;
        let json: Json = serde_json::from_str(text).unwrap();
        assert_eq!(json.compact(), text);
    }

    #[test]
    fn several_lines_are_indented_by_four() {
        let json: Json = serde_json::from_str(r#"{"a":[1,2],"b":{},"c":[]}"#).unwrap();
        let expected =
            "{\n    \"a\": [\n        1,\n        2\n    ],\n    \"b\": {},\n    \"c\": []\n}";
        assert_eq!(json.pretty(0), expected);
    }

    #[test]
    fn values_print_as_in_go() {
        let json: Json = serde_json::from_str(r#"{"b":[1,"x"],"a":null}"#).unwrap();
        assert_eq!(json.to_string(), "map[a:<nil> b:[1 x]]");
    }
}
