//! The built-in script, which understands prompts by their first word.
//!
//! | prompt | what the model does |
//! | --- | --- |
//! | `text WORDS` | says the words, one delta each |
//! | `think [WORDS]` | thinks, then says the words |
//! | `write PATH CONTENT` | writes a file (a relative path is below the agent's working directory), then says so |
//! | `bash COMMAND` | runs the command, then says what it printed |
//! | `tool NAME` | uses the tool of that name, without input, then says what it gave |
//! | `fail` | runs a command that prints on both outputs and exits with status 3, then says so |
//! | `unknown-tool` | uses a tool that does not exist, then says so |
//! | `subagent [PROMPT]` | gives the prompt, itself one of these, to a subagent in the foreground, then says what it reported |
//! | `two-subagents` | the same with two at once, `bash echo one` and `text two` |
//! | `slow N [MILLISECONDS]` | says N words with a pause (50 ms) after each |
//! | `hold WORDS` | says the words, and does not end before [`ModelApi::release`](crate::ModelApi::release) is called |
//! | `overloaded` | 529 twice, then says so |
//! | `unauthorized` | 401 |
//! | `bad-request` | 400 |
//! | `break` | the connection is cut in mid-stream; the next try is answered |
//! | `sse-error` | an error event in mid-stream; the next try is answered |
//! | `history` | says all prompts of the conversation, one a line |
//! | `big N` | says N KiB |
//! | anything else | says the prompt |

use std::time::Duration;

use serde_json::json;

use crate::reply::{Answer, Delta, Piece, Refusal, Reply};
use crate::request::{Request, ToolResult};
use crate::script::Script;

/// The built-in script.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scenarios;

/// Between the words of `slow`: a stream at reading speed, which leaves time to interrupt it.
const DEFAULT_PAUSE: Duration = Duration::from_millis(50);

/// How often `overloaded` refuses: more than once, so that a client's waiting grows, and less often than any client gives up.
const REFUSALS: usize = 2;

/// What a subagent is asked when the prompt does not say.
const SUBAGENT_PROMPT: &str = "text hello from the subagent";

/// One delta of `big`.
const BIG_DELTA: usize = 1024;

impl Script for Scenarios {
    fn reply(&self, request: &Request) -> Reply {
        let prompt = request.prompt().unwrap_or_default();
        let (name, rest) = prompt.split_once(char::is_whitespace).unwrap_or((prompt, ""));
        let rest = rest.trim();
        let results = request.tool_results();
        match (name, results.as_slice()) {
            ("text", _) => Reply::text(rest),
            ("think", _) => Answer::new().thinking("Let me think about it step by step.").text(or(rest, "Done thinking.")).into(),
            ("write", []) => write(request, rest),
            ("write", [result, ..]) => Reply::text(if result.is_error { &result.text } else { "The file is written." }),
            ("bash", []) => bash(rest, "Run a command"),
            ("fail", []) => bash("echo out; echo err >&2; exit 3", "Run a command that fails"),
            ("bash" | "fail", [result, ..]) => Reply::text(format!("The command printed: {}", result.text)),
            ("tool", []) => Reply::tool(rest, json!({})),
            ("tool", [result, ..]) => Reply::text(format!("The tool said: {}", result.text)),
            ("unknown-tool", []) => Reply::tool("NoSuchTool", json!({"anything": 1})),
            ("unknown-tool", _) => Reply::text("There is no such tool."),
            ("subagent", []) => subagents(&[or(rest, SUBAGENT_PROMPT)]),
            ("two-subagents", []) => subagents(&["bash echo one", "text two"]),
            ("subagent" | "two-subagents", results) => Reply::text(format!("The subagents reported: {}", joined(results))),
            ("slow", _) => slow(rest),
            ("hold", _) => hold(rest),
            ("overloaded", _) if request.attempt < REFUSALS => Reply::refusal(529, "overloaded_error", "Overloaded"),
            ("overloaded", _) => Reply::text("No longer overloaded."),
            ("unauthorized", _) => Reply::refusal(401, "authentication_error", "invalid x-api-key"),
            ("bad-request", _) => Reply::refusal(400, "invalid_request_error", "the scripted request is invalid"),
            ("break", _) if request.attempt == 0 => Answer::new().text("This is cut in the middle").cut().into(),
            ("break", _) => Reply::text("The second try is whole."),
            ("sse-error", _) if request.attempt == 0 => {
                Answer::new().text("This fails in the middle").error(Refusal::new(529, "overloaded_error", "Overloaded")).into()
            }
            ("sse-error", _) => Reply::text("The second try is whole."),
            ("history", _) => Reply::text(request.prompts().join("\n")),
            ("big", _) => big(rest),
            _ => Reply::text(prompt),
        }
    }
}

fn or<'a>(text: &'a str, otherwise: &'a str) -> &'a str {
    if text.is_empty() { otherwise } else { text }
}

fn joined(results: &[ToolResult]) -> String {
    results.iter().map(|result| result.text.as_str()).collect::<Vec<_>>().join("\n")
}

fn write(request: &Request, rest: &str) -> Reply {
    let (path, content) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let path = match request.working_directory() {
        Some(directory) if !path.starts_with('/') => format!("{directory}/{path}"),
        _ => path.to_owned(),
    };
    Answer::new().text("I will write the file.").tool("Write", json!({"file_path": path, "content": content})).into()
}

fn bash(command: &str, description: &str) -> Reply {
    Reply::tool("Bash", json!({"command": command, "description": description}))
}

fn subagents(prompts: &[&str]) -> Reply {
    let answer = prompts.iter().fold(Answer::new(), |answer, prompt| {
        let input = json!({"description": "A small job", "prompt": prompt, "subagent_type": "general-purpose", "run_in_background": false});
        answer.tool("Agent", input)
    });
    answer.into()
}

fn slow(rest: &str) -> Reply {
    let mut numbers = rest.split_whitespace();
    let count: usize = numbers.next().and_then(|text| text.parse().ok()).unwrap_or(10);
    let pause = numbers.next().and_then(|text| text.parse().ok()).map_or(DEFAULT_PAUSE, Duration::from_millis);
    let deltas = (0..count).flat_map(|index| [Delta::Say(format!("tick{index} ")), Delta::Pause(pause)]).collect();
    Answer::new().piece(Piece::Text(deltas)).into()
}

fn hold(rest: &str) -> Reply {
    let words = rest.split_inclusive(char::is_whitespace).map(|word| Delta::Say(word.to_owned()));
    let deltas = words.chain([Delta::Hold, Delta::Say(" (released)".to_owned())]).collect();
    Answer::new().piece(Piece::Text(deltas)).into()
}

fn big(rest: &str) -> Reply {
    let kibibytes: usize = rest.parse().unwrap_or(1);
    // A line that is numbered, so that a piece which is lost or doubled shows.
    let line = |index: usize| format!("{index:07} {}\n", "x".repeat(BIG_DELTA - 9));
    Answer::new().piece(Piece::Text((0..kibibytes).map(|index| Delta::Say(line(index))).collect())).into()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn reply(prompt: &str, attempt: usize) -> Reply {
        let body = json!({"messages": [{"role": "user", "content": prompt}]});
        Scenarios.reply(&Request { path: "/v1/messages".into(), api_key: None, body, attempt })
    }

    #[test]
    fn overloaded_refuses_twice() {
        let refused: Vec<bool> = (0..4).map(|attempt| matches!(reply("overloaded", attempt), Reply::Refusal(_))).collect();
        assert_eq!(refused, [true, true, false, false]);
    }

    #[test]
    fn an_unknown_prompt_is_said_back() {
        assert_eq!(reply("what is this?", 0), Reply::text("what is this?"));
    }

    #[test]
    fn big_is_as_big_as_it_says() {
        let Reply::Answer(answer) = reply("big 3", 0) else { panic!("refused") };
        let [Piece::Text(deltas)] = answer.pieces.as_slice() else { panic!("{answer:?}") };
        assert_eq!(crate::reply::said(deltas).len(), 3 * 1024);
    }

    #[test]
    fn a_relative_path_is_written_in_the_working_directory() {
        let body = json!({"messages": [{"role": "user", "content": [
            {"type": "text", "text": "<system-reminder>\n - Primary working directory: /workspace\n</system-reminder>"},
            {"type": "text", "text": "write a.txt some words"},
        ]}]});
        let reply = Scenarios.reply(&Request { path: "/v1/messages".into(), api_key: None, body, attempt: 0 });
        let Reply::Answer(answer) = reply else { panic!("refused") };
        let Some(Piece::ToolUse { input, .. }) = answer.pieces.get(1) else { panic!("{answer:?}") };
        assert_eq!(input["file_path"], Value::from("/workspace/a.txt"));
        assert_eq!(input["content"], Value::from("some words"));
    }
}
