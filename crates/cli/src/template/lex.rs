//! The words of a template: text, and what stands between braces.

use super::TemplateError;

/// A word.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// Text outside of braces.
    Text(String),
    /// Opening braces.
    Open,
    /// Closing braces.
    Close,
    /// `.a`, one step of a path; the flag tells whether a space stood before it.
    Field(String, bool),
    /// `.` alone.
    Dot,
    /// `$` or `$name`.
    Variable(String),
    /// A function's name or a keyword.
    Word(String),
    /// A text in quotes.
    Quoted(String),
    Integer(i128),
    Float(f64),
    /// `|`, `(`, `)`, `,`, `:=` or `=`.
    Sign(&'static str),
}

/// Cuts a template into words.
pub(super) fn lex(text: &str) -> Result<Vec<Token>, TemplateError> {
    let mut tokens = Vec::new();
    let mut rest = text;
    let mut trim = false;
    while let Some(start) = rest.find("{{") {
        let (before, after) = rest.split_at(start);
        let after = &after[2..];
        let trims = after.starts_with("- ") || after.starts_with("-\n");
        let before = if trim { before.trim_start() } else { before };
        push_text(&mut tokens, if trims { before.trim_end() } else { before });
        let after = if trims { &after[1..] } else { after };
        let inside = after.trim_start();
        let end =
            if inside.starts_with("/*") { comment(after)? } else { action(after, &mut tokens)? };
        trim = after[..end].ends_with(" -");
        rest = &after[end + 2..];
    }
    push_text(&mut tokens, if trim { rest.trim_start() } else { rest });
    Ok(tokens)
}

fn push_text(tokens: &mut Vec<Token>, text: &str) {
    if !text.is_empty() {
        tokens.push(Token::Text(text.to_owned()));
    }
}

fn failed(message: impl Into<String>) -> TemplateError {
    TemplateError::Parse { message: message.into() }
}

/// Passes over a comment; returns where the closing braces stand.
fn comment(text: &str) -> Result<usize, TemplateError> {
    let end = text.find("*/").ok_or_else(|| failed("unclosed comment"))?;
    let close = text[end..].find("}}").ok_or_else(|| failed("unclosed action"))?;
    Ok(end + close)
}

/// Cuts up an action; returns where the closing braces stand.
fn action(text: &str, tokens: &mut Vec<Token>) -> Result<usize, TemplateError> {
    tokens.push(Token::Open);
    let mut at = 0;
    let mut spaced = true;
    loop {
        let rest = &text[at..];
        let Some(first) = rest.chars().next() else { return Err(failed("unclosed action")) };
        if rest.starts_with("}}") {
            tokens.push(Token::Close);
            return Ok(at);
        }
        if rest.starts_with(" -}}") {
            tokens.push(Token::Close);
            return Ok(at + 2);
        }
        if first.is_whitespace() {
            spaced = true;
            at += first.len_utf8();
            continue;
        }
        let (token, length) = word(rest, first, spaced)?;
        tokens.push(token);
        spaced = false;
        at += length;
    }
}

/// Reads one word; returns its length as well.
fn word(rest: &str, first: char, spaced: bool) -> Result<(Token, usize), TemplateError> {
    let name = |from: usize| {
        let tail = &rest[from..];
        let end = tail.find(|it: char| !it.is_alphanumeric() && it != '_').unwrap_or(tail.len());
        (tail[..end].to_owned(), from + end)
    };
    for sign in [":=", "|", "(", ")", ",", "="] {
        if rest.starts_with(sign) {
            return Ok((Token::Sign(sign), sign.len()));
        }
    }
    let after = rest[first.len_utf8()..].chars().next();
    match first {
        '.' if after.is_some_and(|it| it.is_alphabetic() || it == '_') => {
            let (name, length) = name(1);
            Ok((Token::Field(name, spaced), length))
        }
        '.' if !after.is_some_and(|it| it.is_ascii_digit()) => Ok((Token::Dot, 1)),
        '$' => {
            let (name, length) = name(1);
            Ok((Token::Variable(name), length))
        }
        '"' => quoted(rest),
        '`' => {
            let end =
                rest[1..].find('`').ok_or_else(|| failed("unterminated raw quoted string"))?;
            Ok((Token::Quoted(rest[1..=end].to_owned()), end + 2))
        }
        '-' | '+' | '.' | '0'..='9' => number(rest),
        _ if first.is_alphabetic() || first == '_' => {
            let (name, length) = name(0);
            Ok((Token::Word(name), length))
        }
        _ => Err(failed(format!("unexpected {first:?} in command"))),
    }
}

fn quoted(rest: &str) -> Result<(Token, usize), TemplateError> {
    let mut text = String::new();
    let mut characters = rest.char_indices().skip(1);
    while let Some((at, it)) = characters.next() {
        match it {
            '"' => return Ok((Token::Quoted(text), at + 1)),
            '\\' => match characters.next().map(|(_, it)| it) {
                Some('n') => text.push('\n'),
                Some('t') => text.push('\t'),
                Some('r') => text.push('\r'),
                Some(it @ ('"' | '\\' | '\'')) => text.push(it),
                _ => return Err(failed("invalid syntax in quoted string")),
            },
            _ => text.push(it),
        }
    }
    Err(failed("unterminated quoted string"))
}

fn number(rest: &str) -> Result<(Token, usize), TemplateError> {
    let end = rest
        .char_indices()
        .skip(1)
        .find(|(_, it)| !it.is_ascii_digit() && *it != '.')
        .map_or(rest.len(), |(at, _)| at);
    let text = &rest[..end];
    if let Ok(number) = text.parse() {
        return Ok((Token::Integer(number), end));
    }
    match text.parse() {
        Ok(number) => Ok((Token::Float(number), end)),
        Err(_) => Err(failed(format!("bad number syntax: {text:?}"))),
    }
}
