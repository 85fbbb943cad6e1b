//! Rules for tools and messages, as the operator writes them.

use agent_host_hook::{Error, Result};
use regex::Regex;
use serde_json::{Map, Value};

/// Which tools are denied, and for which inputs.
#[derive(Debug)]
pub(crate) struct ToolRules(Vec<ToolRule>);

#[derive(Debug)]
struct ToolRule {
    tools: Vec<Tool>,
    /// What must be found in the input; none denies all uses.
    expression: Option<Regex>,
    /// As it was written.
    text: String,
}

/// `Bash`, `mcp__github__*`, `Write.file_path`.
#[derive(Debug)]
struct Tool {
    name: String,
    is_beginning: bool,
    field: Option<String>,
}

impl ToolRules {
    pub(crate) fn parse(text: &str) -> Result<Self> {
        lines(text)
            .map(|(number, line)| rule(line).map_err(|reason| invalid("deny_tools", number, &reason)))
            .collect::<Result<_>>()
            .map(Self)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The text of the first rule that denies this use.
    pub(crate) fn find(&self, tool: &str, input: &Map<String, Value>) -> Option<&str> {
        self.0.iter().find(|rule| rule.denies(tool, input)).map(|rule| rule.text.as_str())
    }
}

impl ToolRule {
    fn denies(&self, name: &str, input: &Map<String, Value>) -> bool {
        let named = |tool: &Tool| if tool.is_beginning { name.starts_with(&tool.name) } else { name == tool.name };
        self.tools.iter().filter(|tool| named(tool)).any(|tool| match (&self.expression, &tool.field) {
            (None, _) => true,
            (Some(expression), Some(field)) => input.get(field).is_some_and(|value| finds(expression, value)),
            (Some(expression), None) => input.values().any(|value| finds(expression, value)),
        })
    }
}

/// Whether the expression finds something in one of the texts in a value. How deep it can be is bounded by whoever read it.
fn finds(expression: &Regex, value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(_) | Value::Number(_) => expression.is_match(&value.to_string()),
        Value::String(text) => expression.is_match(text),
        Value::Array(items) => items.iter().any(|item| finds(expression, item)),
        Value::Object(fields) => fields.values().any(|field| finds(expression, field)),
    }
}

fn rule(line: &str) -> std::result::Result<ToolRule, String> {
    let (tools, expression) = match line.split_once(':') {
        Some((tools, expression)) => (tools, Some(regex(expression.trim())?)),
        None => (line, None),
    };
    let tools: Vec<Tool> = tools.split(',').map(|text| tool(text.trim())).collect::<std::result::Result<_, _>>()?;
    if expression.is_none() && tools.iter().any(|tool| tool.field.is_some()) {
        return Err("it names a field, and no expression after a colon".to_owned());
    }
    Ok(ToolRule { tools, expression, text: line.to_owned() })
}

fn tool(text: &str) -> std::result::Result<Tool, String> {
    let (name, field) = match text.split_once('.') {
        Some((name, field)) => (name, Some(field)),
        None => (text, None),
    };
    let (beginning, is_beginning) = name.strip_suffix('*').map_or((name, false), |beginning| (beginning, true));
    let is_word = |text: &str| !text.contains(|c: char| c.is_whitespace() || c == '*');
    if name.is_empty() || !is_word(beginning) || field.is_some_and(|field| field.is_empty() || !is_word(field)) {
        return Err(format!("{text:?} is neither a tool's name, nor its beginning and one `*`, nor one of these with `.` and a field"));
    }
    Ok(Tool { name: beginning.to_owned(), is_beginning, field: field.map(str::to_owned) })
}

/// Regular expressions that no message's text may match.
#[derive(Debug)]
pub(crate) struct MessageRules(Vec<(usize, Regex)>);

impl MessageRules {
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let rule = |(number, line)| Ok((number, regex(line).map_err(|reason| invalid("deny_messages", number, &reason))?));
        lines(text).map(rule).collect::<Result<_>>().map(Self)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The line of the first rule that denies this text.
    pub(crate) fn find(&self, text: &str) -> Option<usize> {
        self.0.iter().find(|(_, expression)| expression.is_match(text)).map(|(number, _)| *number)
    }
}

/// The lines with something in them but comments, with their numbers.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().map(str::trim).enumerate().map(|(index, line)| (index + 1, line));
    lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

fn regex(text: &str) -> std::result::Result<Regex, String> {
    if text.is_empty() {
        return Err("the expression is empty".to_owned());
    }
    Regex::new(text).map_err(|error| error.to_string())
}

fn invalid(key: &str, number: usize, reason: &str) -> Error {
    Error::invalid(format!("line {number} of the configuration key {key:?} is invalid: {reason}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn denies(rules: &str, tool: &str, input: Value) -> bool {
        ToolRules::parse(rules).unwrap().find(tool, input.as_object().unwrap()).is_some()
    }

    #[test]
    fn tools_are_named_wholly_or_by_their_beginning() {
        let denies = |rules, tool| denies(rules, tool, json!({}));
        assert!(denies("WebFetch", "WebFetch") && !denies("WebFetch", "WebFetcher") && !denies("WebFetch", "webfetch"));
        assert!(denies("WebFetch, WebSearch", "WebSearch"));
        assert!(denies("mcp__github__*", "mcp__github__push") && !denies("mcp__github__*", "mcp__git"));
        assert!(denies("*", "anything"));
        assert!(denies("\n # Bash\n\n Read \n", "Read") && !denies("# Bash\nRead", "Bash"));
    }

    #[test]
    fn expressions_are_put_to_each_value_on_its_own() {
        let input = json!({"command": "rm -rf /", "description": "tidy\nup", "deep": [{"n": 42, "flag": true, "none": null}]});
        for (expression, is_found) in
            [("^rm -rf", true), ("^up", false), ("(?m)^up", true), ("^42$", true), ("^true$", true), ("null", false), ("command", false)]
        {
            assert_eq!(denies(&format!("Bash: {expression}"), "Bash", input.clone()), is_found, "{expression}");
        }
        assert!(!denies("Bash: rm", "Read", input));
    }

    #[test]
    fn a_field_is_looked_into_alone() {
        let input = json!({"file_path": "/workspace/.env", "content": "see .env.example", "edits": [{"new_string": "x"}]});
        assert!(denies(r"Edit.file_path, Write.file_path: (^|/)\.env$", "Write", input.clone()));
        assert!(!denies("Write.content: workspace", "Write", input.clone()));
        assert!(!denies("Write.absent: .", "Write", input.clone()));
        assert!(denies("*.edits: ^x$", "MultiEdit", input));
    }

    #[test]
    fn an_expression_may_have_colons_and_commas() {
        assert!(denies("WebFetch.url: ^http://(a|b),c:1", "WebFetch", json!({"url": "http://a,c:1"})));
    }

    #[test]
    fn the_first_rule_that_denies_is_told() {
        let rules = ToolRules::parse("Bash: git\nBash").unwrap();
        let find = |command: &str| rules.find("Bash", json!({"command": command}).as_object().unwrap());
        assert_eq!((find("git push"), find("ls")), (Some("Bash: git"), Some("Bash")));
    }

    #[test]
    fn messages_are_denied_by_what_is_found_in_them() {
        let rules = MessageRules::parse("# secrets\n(?i)internal use\n^ok$").unwrap();
        assert_eq!(rules.find("For INTERNAL use"), Some(2));
        assert_eq!(rules.find("ok"), Some(3));
        assert_eq!(rules.find("hello"), None);
    }

    #[test]
    fn what_is_wrong_with_a_rule_is_said_with_its_line() {
        let invalid = |result: Error| match result {
            Error::Invalid(text) => text,
            other => panic!("{other:?}"),
        };
        for rule in ["Bash:", "Bash: (", ": x", "a,,b", "B*h", "Bash.: x", ".x: y", "Web Fetch", "Bash.command", "mcp**"] {
            let text = invalid(ToolRules::parse(&format!("Read\n{rule}")).unwrap_err());
            assert!(text.contains("line 2") && text.contains("\"deny_tools\""), "{rule}: {text}");
        }
        let text = invalid(MessageRules::parse("[").unwrap_err());
        assert!(text.contains("line 1") && text.contains("\"deny_messages\""), "{text}");
    }
}
