//! The grammar of a template.

use super::{TemplateError, functions, lex::Token};
use crate::json::Json;

/// A piece of a template.
#[derive(Clone, Debug)]
pub(super) enum Node {
    Text(String),
    Show(Pipeline),
    /// `if` and `with`: the latter moves the dot.
    Choice {
        with: bool,
        condition: Pipeline,
        then: Vec<Self>,
        otherwise: Vec<Self>,
    },
    Range {
        over: Pipeline,
        body: Vec<Self>,
        otherwise: Vec<Self>,
    },
    Break,
    Continue,
}

/// Commands whose values flow to the right, and the variables that take the result.
#[derive(Clone, Debug)]
pub(super) struct Pipeline {
    pub variables: Vec<String>,
    /// Whether the variables are new.
    pub declares: bool,
    pub commands: Vec<Vec<Operand>>,
}

/// What a command is made of.
#[derive(Clone, Debug)]
pub(super) enum Operand {
    Value(Json),
    /// The dot, and fields of it.
    Dot(Vec<String>),
    Variable(String, Vec<String>),
    Group(Box<Pipeline>, Vec<String>),
    Function(String),
}

struct Parser {
    tokens: std::iter::Peekable<std::vec::IntoIter<Token>>,
    depth: usize,
}

/// How deep blocks and parentheses may be nested.
const DEEPEST: usize = 100;

/// How a list of nodes ended.
#[derive(Debug, PartialEq, Eq)]
enum Stop {
    End,
    Else,
    Eof,
}

/// Understands the words of a template.
pub(super) fn parse(tokens: Vec<Token>) -> Result<Vec<Node>, TemplateError> {
    let mut parser = Parser { tokens: tokens.into_iter().peekable(), depth: 0 };
    match parser.nodes()? {
        (nodes, Stop::Eof) => Ok(nodes),
        (_, Stop::End) => Err(failed("unexpected {{end}}")),
        (_, Stop::Else) => Err(failed("unexpected {{else}}")),
    }
}

fn failed(message: impl Into<String>) -> TemplateError {
    TemplateError::Parse { message: message.into() }
}

impl Parser {
    /// Reads nodes up to `{{else` or `{{end`; the rest of the former is still to be read.
    fn nodes(&mut self) -> Result<(Vec<Node>, Stop), TemplateError> {
        let mut nodes = Vec::new();
        while let Some(token) = self.tokens.next() {
            if let Token::Text(text) = token {
                nodes.push(Node::Text(text));
                continue;
            }
            let Some(Token::Word(word)) = self.tokens.peek().cloned() else {
                nodes.push(self.show()?);
                continue;
            };
            match word.as_str() {
                "end" => {
                    self.tokens.next();
                    self.close()?;
                    return Ok((nodes, Stop::End));
                }
                "else" => {
                    self.tokens.next();
                    return Ok((nodes, Stop::Else));
                }
                "if" | "with" | "range" | "break" | "continue" => {
                    self.tokens.next();
                    nodes.push(self.block(&word)?);
                }
                _ => nodes.push(self.show()?),
            }
        }
        Ok((nodes, Stop::Eof))
    }

    fn show(&mut self) -> Result<Node, TemplateError> {
        let pipeline = self.pipeline()?;
        self.close()?;
        Ok(Node::Show(pipeline))
    }

    fn close(&mut self) -> Result<(), TemplateError> {
        match self.tokens.next() {
            Some(Token::Close) => Ok(()),
            Some(token) => Err(failed(format!("unexpected {} in action", name(&token)))),
            None => Err(failed("unclosed action")),
        }
    }

    fn block(&mut self, word: &str) -> Result<Node, TemplateError> {
        match word {
            "break" => return self.close().map(|()| Node::Break),
            "continue" => return self.close().map(|()| Node::Continue),
            _ => {}
        }
        self.deeper()?;
        let head = self.pipeline()?;
        self.close()?;
        let (then, stop) = self.nodes()?;
        let otherwise = match stop {
            Stop::End => Vec::new(),
            Stop::Else => self.otherwise()?,
            Stop::Eof => return Err(failed("unexpected EOF")),
        };
        self.depth -= 1;
        Ok(match word {
            "range" => Node::Range { over: head, body: then, otherwise },
            _ => Node::Choice { with: word == "with", condition: head, then, otherwise },
        })
    }

    /// Reads what follows `{{else`: a further condition, or nodes up to the end.
    fn otherwise(&mut self) -> Result<Vec<Node>, TemplateError> {
        if let Some(Token::Word(word)) = self.tokens.peek().cloned()
            && (word == "if" || word == "with")
        {
            self.tokens.next();
            return Ok(vec![self.block(&word)?]);
        }
        self.close()?;
        match self.nodes()? {
            (nodes, Stop::End) => Ok(nodes),
            (_, Stop::Else) => Err(failed("unexpected {{else}}")),
            (_, Stop::Eof) => Err(failed("unexpected EOF")),
        }
    }

    fn deeper(&mut self) -> Result<(), TemplateError> {
        self.depth += 1;
        if self.depth > DEEPEST { Err(failed("nested too deeply")) } else { Ok(()) }
    }

    fn pipeline(&mut self) -> Result<Pipeline, TemplateError> {
        let (variables, declares) = self.variables()?;
        let mut commands = Vec::new();
        loop {
            commands.push(self.command()?);
            if self.tokens.peek() != Some(&Token::Sign("|")) {
                return Ok(Pipeline { variables, declares, commands });
            }
            self.tokens.next();
        }
    }

    /// Reads `$a :=`, `$a, $b :=` or `$a =`, if one of them is next.
    fn variables(&mut self) -> Result<(Vec<String>, bool), TemplateError> {
        let mut ahead = self.tokens.clone();
        let mut names = Vec::new();
        while let Some(Token::Variable(name)) = ahead.next() {
            names.push(name);
            match ahead.next() {
                Some(Token::Sign(sign @ (":=" | "="))) => {
                    self.tokens = ahead;
                    return Ok((names, sign == ":="));
                }
                Some(Token::Sign(",")) => {}
                _ => break,
            }
        }
        Ok((Vec::new(), false))
    }

    fn command(&mut self) -> Result<Vec<Operand>, TemplateError> {
        let mut operands = Vec::new();
        loop {
            match self.tokens.peek() {
                None | Some(Token::Close | Token::Sign("|" | ")")) => break,
                Some(_) => operands.push(self.operand()?),
            }
        }
        if operands.is_empty() { Err(failed("missing value for command")) } else { Ok(operands) }
    }

    fn operand(&mut self) -> Result<Operand, TemplateError> {
        let token = self.tokens.next().ok_or_else(|| failed("unclosed action"))?;
        match token {
            Token::Dot => Ok(Operand::Dot(Vec::new())),
            Token::Field(name, _) => {
                let mut path = vec![name];
                path.extend(self.path());
                Ok(Operand::Dot(path))
            }
            Token::Variable(name) => Ok(Operand::Variable(name, self.path())),
            Token::Quoted(text) => Ok(Operand::Value(Json::Text(text))),
            Token::Integer(number) => Ok(Operand::Value(Json::Integer(number))),
            Token::Float(number) => Ok(Operand::Value(Json::Float(number))),
            Token::Word(word) => word_operand(word),
            Token::Sign("(") => {
                self.deeper()?;
                let inner = self.pipeline()?;
                if self.tokens.next() != Some(Token::Sign(")")) {
                    return Err(failed("unclosed left paren"));
                }
                self.depth -= 1;
                Ok(Operand::Group(Box::new(inner), self.path()))
            }
            token => Err(failed(format!("unexpected {} in operand", name(&token)))),
        }
    }

    /// Reads the fields that follow directly.
    fn path(&mut self) -> Vec<String> {
        let mut path = Vec::new();
        while let Some(Token::Field(_, false)) = self.tokens.peek() {
            if let Some(Token::Field(name, _)) = self.tokens.next() {
                path.push(name);
            }
        }
        path
    }
}

fn word_operand(word: String) -> Result<Operand, TemplateError> {
    match word.as_str() {
        "true" => Ok(Operand::Value(Json::Bool(true))),
        "false" => Ok(Operand::Value(Json::Bool(false))),
        "nil" => Ok(Operand::Value(Json::Null)),
        _ if functions::exists(&word) => Ok(Operand::Function(word)),
        _ => Err(failed(format!("function {word:?} not defined"))),
    }
}

fn name(token: &Token) -> String {
    match token {
        Token::Text(_) => "text".to_owned(),
        Token::Open => "\"{{\"".to_owned(),
        Token::Close => "\"}}\"".to_owned(),
        Token::Dot => "<.>".to_owned(),
        Token::Field(name, _) => format!("<.{name}>"),
        Token::Variable(name) => format!("<${name}>"),
        Token::Word(word) => format!("<{word}>"),
        Token::Quoted(text) => format!("{text:?}"),
        Token::Integer(number) => format!("\"{number}\""),
        Token::Float(number) => format!("\"{number}\""),
        Token::Sign(sign) => format!("{sign:?}"),
    }
}
