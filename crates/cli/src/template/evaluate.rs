//! Filling a template in.

use super::{
    TemplateError, absent, functions,
    parse::{Node, Operand, Pipeline},
};
use crate::json::Json;

/// How a list of nodes was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    On,
    Break,
    Continue,
}

struct Scope<'a> {
    root: &'a Json,
    variables: Vec<(String, Json)>,
    text: String,
}

/// Fills the nodes in with `root`.
pub(super) fn execute(nodes: &[Node], root: &Json) -> Result<String, TemplateError> {
    let mut scope = Scope { root, variables: Vec::new(), text: String::new() };
    scope.nodes(nodes, root)?;
    Ok(scope.text)
}

impl Scope<'_> {
    fn nodes(&mut self, nodes: &[Node], dot: &Json) -> Result<Flow, TemplateError> {
        for node in nodes {
            let flow = match node {
                Node::Text(text) => {
                    self.text.push_str(text);
                    Flow::On
                }
                Node::Show(pipeline) => self.show(pipeline, dot)?,
                Node::Choice { with, condition, then, otherwise } => {
                    self.choice(*with, condition, [then, otherwise], dot)?
                }
                Node::Range { over, body, otherwise } => {
                    self.range(over, [body, otherwise], dot)?
                }
                Node::Break => Flow::Break,
                Node::Continue => Flow::Continue,
            };
            if flow != Flow::On {
                return Ok(flow);
            }
        }
        Ok(Flow::On)
    }

    fn show(&mut self, pipeline: &Pipeline, dot: &Json) -> Result<Flow, TemplateError> {
        let value = self.pipeline(pipeline, dot)?;
        if pipeline.variables.is_empty() {
            self.text.push_str(&value.to_string());
        } else {
            self.assign(pipeline, value);
        }
        Ok(Flow::On)
    }

    fn choice(
        &mut self,
        with: bool,
        condition: &Pipeline,
        [then, otherwise]: [&[Node]; 2],
        dot: &Json,
    ) -> Result<Flow, TemplateError> {
        let outer = self.variables.len();
        let value = self.pipeline(condition, dot)?;
        self.assign(condition, value.clone());
        let flow = match (functions::truth(&value), with) {
            (true, true) => self.nodes(then, &value)?,
            (true, false) => self.nodes(then, dot)?,
            (false, _) => self.nodes(otherwise, dot)?,
        };
        self.variables.truncate(outer);
        Ok(flow)
    }

    fn range(
        &mut self,
        over: &Pipeline,
        [body, otherwise]: [&[Node]; 2],
        dot: &Json,
    ) -> Result<Flow, TemplateError> {
        let items: Vec<(Json, Json)> = match self.pipeline(over, dot)? {
            Json::List(list) => (0..).map(Json::Integer).zip(list).collect(),
            Json::Object(mut fields) => {
                fields.sort_by(|left, right| left.0.cmp(&right.0));
                fields.into_iter().map(|(name, it)| (Json::Text(name), it)).collect()
            }
            Json::Null => Vec::new(),
            other => return Err(failed("range", &format!("can't iterate over {other}"))),
        };
        if items.is_empty() {
            return self.nodes(otherwise, dot);
        }
        let outer = self.variables.len();
        for (key, item) in items {
            match &over.variables[..] {
                [value] => self.variables.push((value.clone(), item.clone())),
                [name, value] => {
                    self.variables.push((name.clone(), key));
                    self.variables.push((value.clone(), item.clone()));
                }
                _ => {}
            }
            let flow = self.nodes(body, &item)?;
            self.variables.truncate(outer);
            if flow == Flow::Break {
                break;
            }
        }
        Ok(Flow::On)
    }

    fn assign(&mut self, pipeline: &Pipeline, value: Json) {
        let Some(name) = pipeline.variables.first() else { return };
        let known = self.variables.iter_mut().rev().find(|(it, _)| it == name);
        match known {
            Some((_, slot)) if !pipeline.declares => *slot = value,
            _ => self.variables.push((name.clone(), value)),
        }
    }

    fn pipeline(&mut self, pipeline: &Pipeline, dot: &Json) -> Result<Json, TemplateError> {
        let mut last = None;
        for command in &pipeline.commands {
            last = Some(self.command(command, last, dot)?);
        }
        Ok(last.unwrap_or_default())
    }

    fn command(
        &mut self,
        operands: &[Operand],
        last: Option<Json>,
        dot: &Json,
    ) -> Result<Json, TemplateError> {
        let Some((Operand::Function(name), rest)) = operands.split_first() else {
            if operands.len() > 1 || last.is_some() {
                return Err(failed("command", "can't give argument to non-function"));
            }
            return self.operand(&operands[0], dot);
        };
        let mut values =
            rest.iter().map(|it| self.operand(it, dot)).collect::<Result<Vec<_>, _>>()?;
        values.extend(last);
        functions::call(name, &values)
    }

    fn operand(&mut self, operand: &Operand, dot: &Json) -> Result<Json, TemplateError> {
        match operand {
            Operand::Value(value) => Ok(value.clone()),
            Operand::Dot(path) => walk(dot, path),
            Operand::Variable(name, path) if name.is_empty() => walk(self.root, path),
            Operand::Variable(name, path) => {
                let known = self.variables.iter().rev().find(|(it, _)| it == name);
                let undefined = || failed(name, &format!("undefined variable \"${name}\""));
                walk(&known.ok_or_else(undefined)?.1, path)
            }
            Operand::Group(pipeline, path) => {
                let value = self.pipeline(pipeline, dot)?;
                walk(&value, path)
            }
            Operand::Function(name) => functions::call(name, &[]),
        }
    }
}

/// Follows fields.
fn walk(value: &Json, path: &[String]) -> Result<Json, TemplateError> {
    let mut value = value.clone();
    for name in path {
        let kind = match &value {
            Json::Object(_) => {
                value = field(&value, name)?;
                continue;
            }
            Json::Null => "<nil>",
            Json::Bool(_) => "bool",
            Json::Integer(_) => "int",
            Json::Float(_) => "float64",
            Json::Text(_) => "string",
            Json::List(_) => "slice",
        };
        let message = format!("can't evaluate field {name} in type {kind}");
        return Err(failed(&format!(".{name}"), &message));
    }
    Ok(value)
}

/// The field `name`. What the daemon leaves out or calls null is, where its kind is known, an
/// empty value of that kind; other fields that are not there do not exist.
fn field(object: &Json, name: &str) -> Result<Json, TemplateError> {
    match object.get(name) {
        Some(Json::Null) => Ok(absent::of(name).unwrap_or(Json::List(Vec::new()))),
        Some(value) => Ok(value.clone()),
        None => absent::of(name).ok_or_else(|| {
            failed(&format!(".{name}"), &format!("map has no entry for key \"{name}\""))
        }),
    }
}

fn failed(at: &str, message: &str) -> TemplateError {
    TemplateError::Execute { message: format!("at <{at}>: {message}") }
}
