//! Formats: how lists and single objects are shown, by `--format` or by default.

use crate::{columns, failure::Failure, json::Json, template::Template};

/// One column of a list: the name that templates use, and the header.
pub(crate) type Column = (&'static str, &'static str);

/// Shows `rows`, each an object with the names of `columns`; `shown` are those that the default
/// table has.
pub(crate) fn list(
    format: Option<&str>,
    columns: &[Column],
    shown: &[&str],
    rows: &[Json],
) -> Result<String, Failure> {
    let format = format.filter(|it| !it.is_empty()).unwrap_or("table");
    if format == "json" {
        return lines("{{json .}}", rows).map(|it| it.concat());
    }
    let Some(template) = table(format) else {
        return lines(&unescape(format), rows).map(|it| it.concat());
    };
    let template = match template {
        "" => shown.iter().map(|it| format!("{{{{.{it}}}}}")).collect::<Vec<_>>().join("\t"),
        template => unescape(template),
    };
    let header = Json::object(columns.iter().map(|(name, header)| (*name, (*header).to_owned())));
    let mut all = lines(&template, &[header])?;
    all.extend(lines(&template, rows)?);
    let all: Vec<String> = all.iter().map(|it| it.trim_end_matches('\n').to_owned()).collect();
    Ok(columns::align(&all))
}

/// Shows one object; what scripts ask for with `-f`.
pub(crate) fn object(format: &str, value: &Json) -> Result<String, Failure> {
    let template = if format == "json" { "{{json .}}" } else { format };
    lines(template, std::slice::from_ref(value)).map(|it| it.concat())
}

/// The template of a table, if `format` asks for a table; empty for the default one.
fn table(format: &str) -> Option<&str> {
    if format == "table" { Some("") } else { format.strip_prefix("table ").map(str::trim) }
}

/// In a shell's single quotes people write `\t` for a tab.
fn unescape(format: &str) -> String {
    format.replace("\\t", "\t").replace("\\n", "\n")
}

fn lines(template: &str, rows: &[Json]) -> Result<Vec<String>, Failure> {
    let failed = |error: crate::template::TemplateError| Failure::refused(error.to_string());
    let template = Template::parse(template).map_err(failed)?;
    rows.iter().map(|row| template.execute(row).map(|it| it + "\n").map_err(failed)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(format: Option<&str>, expected: &str) {
        let columns = [("ID", "CONTAINER ID"), ("Names", "NAMES")];
        let row = Json::object([("ID", "abc".to_owned()), ("Names", "web".to_owned())]);
        assert_eq!(list(format, &columns, &["ID", "Names"], &[row]).unwrap(), expected);
    }

    #[test]
    fn lists_are_tables_lines_or_json() {
        check(None, "CONTAINER ID   NAMES\nabc            web\n");
        check(Some("table {{.Names}}\\t{{.ID}}"), "NAMES     CONTAINER ID\nweb       abc\n");
        check(Some("{{.ID}}"), "abc\n");
        check(Some("json"), "{\"ID\":\"abc\",\"Names\":\"web\"}\n");
    }
}
