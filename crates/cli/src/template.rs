//! Templates: the language of `--format`, which is that of Go's `text/template`.
//!
//! What Docker's documentation uses is here: fields, pipelines, variables, `if`, `range`, `with`,
//! and Docker's functions. Absent: `define`, `template`, `block`, method calls with arguments.

mod absent;
mod evaluate;
mod functions;
mod lex;
mod parse;

use self::parse::Node;
use crate::json::Json;

/// A template that has been understood.
#[derive(Debug)]
pub(crate) struct Template {
    nodes: Vec<Node>,
}

/// Why a template cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TemplateError {
    #[error("template parsing error: template: :1: {message}")]
    Parse { message: String },
    #[error("template parsing error: template: :1: executing \"\" {message}")]
    Execute { message: String },
}

impl Template {
    /// Understands a template.
    pub(crate) fn parse(text: &str) -> Result<Self, TemplateError> {
        let nodes = parse::parse(lex::lex(text)?)?;
        Ok(Self { nodes })
    }

    /// Fills the template in with the fields of `value`.
    pub(crate) fn execute(&self, value: &Json) -> Result<String, TemplateError> {
        evaluate::execute(&self.nodes, value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(template: &str, expected: &str) {
        let value = r#"{"Name":"/web","Id":"abc","State":{"Running":true,"Pid":7,"Health":null},
            "Ports":{"80/tcp":[{"HostPort":"8080"}],"81/tcp":null},"Env":["A=1","B=2"],"Zero":0,
            "Labels":{"com.x.y":"z"}}"#;
        let value: Json = serde_json::from_str(value).unwrap();
        let shown = match Template::parse(template).and_then(|it| it.execute(&value)) {
            Ok(text) => text,
            Err(error) => error.to_string(),
        };
        assert_eq!(shown, expected, "for {template}");
    }

    #[test]
    fn fields_are_filled_in() {
        check("{{.Name}} {{ .State.Pid }}", "/web 7");
        check("{{.State.Health}}|{{.Env}}", "<nil>|[A=1 B=2]");
        check("{{json .State}}", r#"{"Running":true,"Pid":7,"Health":null}"#);
        check("{{.Labels}}", "map[com.x.y:z]");
    }

    #[test]
    fn functions_are_called_in_pipelines() {
        check("{{.Id | upper | printf \"%s!\"}}", "ABC!");
        check("{{join .Env \",\"}}", "A=1,B=2");
        check("{{index .Labels \"com.x.y\"}} {{index .Env 1}}", "z B=2");
        check("{{(index (index .Ports \"80/tcp\") 0).HostPort}}", "8080");
        check("{{len .Env}} {{slice .Id 0 2}} {{title \"web\"}}", "2 ab Web");
        check("{{split \"a:b\" \":\"}}", "[a b]");
        check("{{println \"x\"}}", "x\n");
        check("{{truncate .Id 2}}{{pad \"x\" 1 2}}|", "ab x  |");
    }

    #[test]
    fn blocks_choose_and_repeat() {
        check("{{if .State.Running}}up{{else}}down{{end}}", "up");
        check("{{if .Zero}}a{{else if eq .Id \"abc\"}}b{{else}}c{{end}}", "b");
        check("{{range .Env}}<{{.}}>{{end}}", "<A=1><B=2>");
        check("{{range $k, $v := .Labels}}{{$k}}={{$v}}{{end}}", "com.x.y=z");
        check("{{range $i, $e := .Env}}{{$i}}{{$e}} {{end}}", "0A=1 1B=2 ");
        check("{{range .Mounts}}x{{else}}none{{end}}", "none");
        check("{{with .State}}{{.Pid}}{{$.Id}}{{end}}", "7abc");
        check(
            "{{range $p, $c := .Ports}}{{$p}} -> {{(index $c 0).HostPort}};{{break}}{{end}}",
            "80/tcp -> 8080;",
        );
    }

    #[test]
    fn values_are_compared() {
        check("{{and .State.Running (gt .State.Pid 5)}}", "true");
        check("{{or .Zero .Id}} {{not .Zero}}", "abc true");
        check("{{ne .Id \"x\"}} {{le 3 3}} {{lt \"a\" \"b\"}}", "true true true");
    }

    #[test]
    fn variables_and_spaces() {
        check("{{$x := .Id}}{{$x}}{{$x = \"n\"}}{{$x}}", "abcn");
        check("a  {{- .Id -}}  b", "aabcb");
        check("a{{/* a comment */}}b{{`raw`}}", "abraw");
    }

    #[test]
    fn errors_are_told() {
        check("{{.Name", "template parsing error: template: :1: unclosed action");
        check("{{if .Id}}", "template parsing error: template: :1: unexpected EOF");
        check(
            "{{nope .Id}}",
            "template parsing error: template: :1: function \"nope\" not defined",
        );
        check(
            "{{.Id.X}}",
            "template parsing error: template: :1: executing \"\" at <.X>: can't evaluate field X in type string",
        );
        check(
            "{{.Nope}}",
            "template parsing error: template: :1: executing \"\" at <.Nope>: map has no entry for key \"Nope\"",
        );
        check(
            "{{index .Env 9}}",
            "template parsing error: template: :1: executing \"\" at <index>: index out of range: 9",
        );
    }
}
