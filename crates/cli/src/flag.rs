//! Flags: the rows of the tables that describe what a command accepts.
//!
//! A [`Flag`] is one row: names, what it takes, one line of help, and how its value is put into
//! the command's options. The parser, the help text, the man pages and the completions are all
//! derived from the same rows; nothing else knows a flag's name.
//!
//! **Invariant:** a value is parsed here, at the edge. Past the table no option is a raw string
//! unless it is text by nature.

/// Why a flag's value was not accepted, in words for the person who typed it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Invalid(pub String);

/// Puts the text of a flag into a command's options.
pub(crate) type Set<T> = fn(&mut T, &str) -> Result<(), Invalid>;

/// One flag of a command whose options are a `T`.
pub(crate) struct Flag<T> {
    pub names: Names,
    pub value: Value<T>,
}

/// What a flag is called and what it says about itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Names {
    pub long: &'static str,
    pub short: Option<char>,
    pub help: &'static str,
    /// What the value is, as the help shows it; `None` for switches.
    pub takes: Option<&'static str>,
}

/// How a flag's value reaches the options.
pub(crate) enum Value<T> {
    /// On when named; `--flag=false` turns it off.
    Switch(fn(&mut T, bool)),
    /// Takes a value; given twice, it is the setter that adds or replaces.
    Text(Set<T>),
}

impl<T> Flag<T> {
    /// A flag that takes no value.
    pub(crate) const fn switch(
        long: &'static str,
        help: &'static str,
        set: fn(&mut T, bool),
    ) -> Self {
        Self { names: Names { long, short: None, help, takes: None }, value: Value::Switch(set) }
    }

    /// A flag that takes a value, shown as `takes`.
    pub(crate) const fn text(
        long: &'static str,
        takes: &'static str,
        help: &'static str,
        set: Set<T>,
    ) -> Self {
        Self {
            names: Names { long, short: None, help, takes: Some(takes) },
            value: Value::Text(set),
        }
    }

    /// The same flag with a one-letter name.
    #[must_use]
    pub(crate) const fn short(mut self, short: char) -> Self {
        self.names.short = Some(short);
        self
    }
}

impl Names {
    /// How messages about a flag's value name it: `-m, --memory` or `--cpus`.
    pub(crate) fn display(&self) -> String {
        match self.short {
            Some(short) => format!("-{short}, --{}", self.long),
            None => format!("--{}", self.long),
        }
    }
}

/// Appends to a list that the wire models keep optional.
pub(crate) fn push<V>(list: &mut Option<Vec<V>>, value: V) {
    list.get_or_insert_default().push(value);
}
