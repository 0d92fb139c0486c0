//! JSON bodies, read field by field as Go's `encoding/json` reads them into Docker's structs.
//!
//! Names match whatever their case, `null` is absence, unknown fields are ignored, and a value of
//! the wrong type is an error that names the field. (serde's own errors name a line and a column
//! of a body that no user of a client ever sees.)
//!
//! **Invariant:** no input panics or recurses without bound: `serde_json` stops at 128 levels.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::error::ApiError;

/// A JSON object, and where in the body it was found.
#[derive(Debug, Default)]
pub(crate) struct Object {
    path: String,
    fields: Map<String, Value>,
}

impl Object {
    /// Reads a whole body.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, ApiError> {
        let value = serde_json::from_slice(bytes)
            .map_err(|error| ApiError::bad_request(format!("invalid JSON: {error}")))?;
        match value {
            Value::Object(fields) => Ok(Self { path: String::new(), fields }),
            Value::Null => Ok(Self::default()),
            other => Err(ApiError::bad_request(format!(
                "invalid JSON: the body is {} and must be an object",
                kind_of(&other)
            ))),
        }
    }

    /// A string; empty if absent.
    pub(crate) fn string(&mut self, name: &str) -> Result<String, ApiError> {
        self.optional_string(name).map(Option::unwrap_or_default)
    }

    /// A string, if present.
    pub(crate) fn optional_string(&mut self, name: &str) -> Result<Option<String>, ApiError> {
        self.take(name).map(|it| it.string()).transpose()
    }

    /// A boolean; false if absent.
    pub(crate) fn flag(&mut self, name: &str) -> Result<bool, ApiError> {
        self.optional_flag(name).map(Option::unwrap_or_default)
    }

    /// A boolean, if present.
    pub(crate) fn optional_flag(&mut self, name: &str) -> Result<Option<bool>, ApiError> {
        let Some(field) = self.take(name) else { return Ok(None) };
        match field.value {
            Value::Bool(it) => Ok(Some(it)),
            _ => Err(field.wrong("a boolean")),
        }
    }

    /// A whole number; 0 if absent.
    pub(crate) fn number(&mut self, name: &str) -> Result<i64, ApiError> {
        self.optional_number(name).map(Option::unwrap_or_default)
    }

    /// A whole number, if present.
    pub(crate) fn optional_number(&mut self, name: &str) -> Result<Option<i64>, ApiError> {
        self.take(name).map(|it| it.number()).transpose()
    }

    /// A whole number of a narrower type; 0 if absent.
    pub(crate) fn narrow<T: TryFrom<i64> + Default>(&mut self, name: &str) -> Result<T, ApiError> {
        let Some(field) = self.take(name) else { return Ok(T::default()) };
        let path = field.path.clone();
        let number = field.number()?;
        let out_of_range =
            |_| ApiError::bad_request(format!("invalid JSON: {path} is out of range: {number}"));
        T::try_from(number).map_err(out_of_range)
    }

    /// A list of strings; empty if absent.
    pub(crate) fn strings(&mut self, name: &str) -> Result<Vec<String>, ApiError> {
        self.optional_strings(name).map(Option::unwrap_or_default)
    }

    /// A list of strings, if present.
    pub(crate) fn optional_strings(&mut self, name: &str) -> Result<Option<Vec<String>>, ApiError> {
        let Some(field) = self.take(name) else { return Ok(None) };
        field.items()?.into_iter().map(Field::string).collect::<Result<_, _>>().map(Some)
    }

    /// A list of strings, or one string, as Docker takes for commands.
    pub(crate) fn words(&mut self, name: &str) -> Result<Option<Vec<String>>, ApiError> {
        let Some(field) = self.take(name) else { return Ok(None) };
        if let Value::String(word) = field.value {
            return Ok(Some(vec![word]));
        }
        field.items()?.into_iter().map(Field::string).collect::<Result<_, _>>().map(Some)
    }

    /// Strings by name; none if absent.
    pub(crate) fn map(&mut self, name: &str) -> Result<BTreeMap<String, String>, ApiError> {
        let Some(field) = self.take(name) else { return Ok(BTreeMap::new()) };
        let entries = field.entries()?.into_iter();
        entries.map(|(key, value)| Ok((key, value.string()?))).collect()
    }

    /// The keys of an object used as a set: `{"80/tcp":{}}`.
    pub(crate) fn keys(&mut self, name: &str) -> Result<Vec<String>, ApiError> {
        let Some(field) = self.take(name) else { return Ok(Vec::new()) };
        let mut keys = Vec::new();
        for (key, value) in field.entries()? {
            value.object()?;
            keys.push(key);
        }
        Ok(keys)
    }

    /// An object; an empty one if absent.
    pub(crate) fn object(&mut self, name: &str) -> Result<Self, ApiError> {
        self.optional_object(name).map(Option::unwrap_or_default)
    }

    /// An object, if present.
    pub(crate) fn optional_object(&mut self, name: &str) -> Result<Option<Self>, ApiError> {
        self.take(name).map(|it| it.object()).transpose()
    }

    /// A list of objects; empty if absent.
    pub(crate) fn objects(&mut self, name: &str) -> Result<Vec<Self>, ApiError> {
        let Some(field) = self.take(name) else { return Ok(Vec::new()) };
        field.items()?.into_iter().map(Field::object).collect()
    }

    /// Objects by name; none if absent.
    pub(crate) fn object_map(&mut self, name: &str) -> Result<Vec<(String, Self)>, ApiError> {
        let Some(field) = self.take(name) else { return Ok(Vec::new()) };
        let entries = field.entries()?.into_iter();
        entries.map(|(key, value)| Ok((key, value.object()?))).collect()
    }

    /// Lists of objects by name; none if absent.
    pub(crate) fn object_lists(
        &mut self,
        name: &str,
    ) -> Result<Vec<(String, Vec<Self>)>, ApiError> {
        let Some(field) = self.take(name) else { return Ok(Vec::new()) };
        let mut lists = Vec::new();
        for (key, value) in field.entries()? {
            let items = match value.value {
                Value::Null => Vec::new(),
                _ => value.items()?,
            };
            lists.push((key, items.into_iter().map(Field::object).collect::<Result<_, _>>()?));
        }
        Ok(lists)
    }

    /// A list of lists of strings; empty if absent.
    pub(crate) fn string_lists(&mut self, name: &str) -> Result<Vec<Vec<String>>, ApiError> {
        let Some(field) = self.take(name) else { return Ok(Vec::new()) };
        let strings = |it: Field| it.items()?.into_iter().map(Field::string).collect();
        field.items()?.into_iter().map(strings).collect()
    }

    /// A pair of whole numbers, each 0 to 65535.
    pub(crate) fn pair(&mut self, name: &str) -> Result<Option<(u16, u16)>, ApiError> {
        let Some(field) = self.take(name) else { return Ok(None) };
        let path = field.path.clone();
        let mut numbers = field.items()?.into_iter().map(Field::number);
        let wrong = || ApiError::bad_request(format!("invalid JSON: {path} must be two numbers"));
        let mut next = || {
            let number = numbers.next().unwrap_or(Ok(-1))?;
            u16::try_from(number).map_err(|_| wrong())
        };
        Ok(Some((next()?, next()?)))
    }

    fn take(&mut self, name: &str) -> Option<Field> {
        let key = if self.fields.contains_key(name) {
            name.to_owned()
        } else {
            self.fields.keys().find(|it| it.eq_ignore_ascii_case(name))?.clone()
        };
        let value = self.fields.remove(&key).filter(|it| !it.is_null())?;
        Some(Field { path: join(&self.path, name), value })
    }
}

/// A value, and where in the body it was found.
struct Field {
    path: String,
    value: Value,
}

impl Field {
    fn string(self) -> Result<String, ApiError> {
        match self.value {
            Value::String(it) => Ok(it),
            _ => Err(self.wrong("a string")),
        }
    }

    fn number(self) -> Result<i64, ApiError> {
        self.value.as_i64().ok_or_else(|| self.wrong("a whole number of at most 64 bits"))
    }

    fn object(self) -> Result<Object, ApiError> {
        match self.value {
            Value::Object(fields) => Ok(Object { path: self.path, fields }),
            Value::Null => Ok(Object { path: self.path, fields: Map::new() }),
            _ => Err(self.wrong("an object")),
        }
    }

    fn items(self) -> Result<Vec<Self>, ApiError> {
        let Value::Array(values) = self.value else { return Err(self.wrong("a list")) };
        let path = &self.path;
        let field = |(number, value)| Self { path: format!("{path}[{number}]"), value };
        Ok(values.into_iter().enumerate().map(field).collect())
    }

    fn entries(self) -> Result<Vec<(String, Self)>, ApiError> {
        let Value::Object(fields) = self.value else { return Err(self.wrong("an object")) };
        let path = &self.path;
        let entry = |(key, value): (String, Value)| {
            let path = join(path, &key);
            (key, Self { path, value })
        };
        Ok(fields.into_iter().map(entry).collect())
    }

    fn wrong(&self, wanted: &str) -> ApiError {
        let Self { path, value } = self;
        ApiError::bad_request(format!(
            "invalid JSON: {path} is {} and must be {wanted}",
            kind_of(value)
        ))
    }
}

fn join(path: &str, name: &str) -> String {
    // A hostile key is shortened: the message is for people.
    let name: String = name.chars().take(80).collect();
    if path.is_empty() { name } else { format!("{path}.{name}") }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(it) if it.is_f64() => "a fractional number",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(text: &str) -> Object {
        Object::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn names_match_whatever_their_case_and_null_is_absence() {
        let mut body =
            object(r#"{"image":"a","TTY":true,"Cmd":null,"Memory":5,"Labels":{"a":"b"}}"#);
        assert_eq!(body.string("Image").unwrap(), "a");
        assert!(body.flag("Tty").unwrap());
        assert_eq!(body.words("Cmd").unwrap(), None);
        assert_eq!(body.number("Memory").unwrap(), 5);
        assert_eq!(body.map("Labels").unwrap()["a"], "b");
    }

    #[test]
    fn a_command_may_be_one_word() {
        let mut body = object(r#"{"Cmd":"true","Entrypoint":["a","b"]}"#);
        assert_eq!(body.words("Cmd").unwrap().unwrap(), ["true"]);
        assert_eq!(body.words("Entrypoint").unwrap().unwrap(), ["a", "b"]);
    }

    #[test]
    fn an_error_names_the_field() {
        let mut body = object(r#"{"HostConfig":{"Memory":"1g","Binds":["a",5],"Init":1.5}}"#);
        let mut host = body.object("HostConfig").unwrap();
        let check = |error: ApiError, expected: &str| assert_eq!(error.to_string(), expected);
        check(
            host.number("Memory").unwrap_err(),
            "invalid JSON: HostConfig.Memory is a string and must be a whole number of at most \
             64 bits",
        );
        check(
            host.strings("Binds").unwrap_err(),
            "invalid JSON: HostConfig.Binds[1] is a number and must be a string",
        );
        check(
            host.flag("Init").unwrap_err(),
            "invalid JSON: HostConfig.Init is a fractional number and must be a boolean",
        );
    }

    #[test]
    fn garbage_is_refused() {
        let deep = "[".repeat(100_000);
        for text in ["", "{", "[]", "5", "{}x", r#"{"a":"\ud800"}"#, deep.as_str()] {
            let error = Object::parse(text.as_bytes()).unwrap_err();
            assert_eq!(error.status().as_u16(), 400, "{text:.10}");
        }
        Object::parse(b"{\"a\":\"\xff\"}").unwrap_err();
    }
}
