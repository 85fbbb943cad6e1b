//! How `claude` is started: its command line, its environment, and what is laid down for it.

use std::collections::BTreeMap;
use std::sync::Arc;

use agent_host_session::ports::agent::{Invalid, Launch, LaunchContext};
use agent_host_session::ports::sandbox::Command;
use agent_host_session::record::StreamName;

use super::Options;
use super::driver::{ClaudeDriver, Session};
use super::options::SessionOptions;
use super::{profile, transcript};

/// What the command is always told. The facts behind each are in the documentation of the lines that it prints.
const ARGS: [&str; 12] = [
    "-p",
    "--input-format",
    "stream-json",
    "--output-format",
    "stream-json",
    // Required with the above.
    "--verbose",
    // Deltas.
    "--include-partial-messages",
    // Tells when a message is taken up.
    "--replay-user-messages",
    // The transcript on standard output, so that the sandbox's disk need not be read.
    "--session-mirror",
    // The sandbox is the boundary.
    "--permission-mode",
    "bypassPermissions",
    // Only the profile's own MCP servers.
    "--strict-mcp-config",
];

const ENV: [(&str, &str); 8] = [
    // One connection, to the model's API, and nothing else.
    ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1"),
    ("DISABLE_TELEMETRY", "1"),
    ("DISABLE_AUTOUPDATER", "1"),
    ("DISABLE_ERROR_REPORTING", "1"),
    // The only sure sign that the agent is idle.
    ("CLAUDE_CODE_EMIT_SESSION_STATE_EVENTS", "1"),
    // Permissions can be bypassed as root only with this.
    ("IS_SANDBOX", "1"),
    // Subagents and commands end before the turn does.
    ("CLAUDE_CODE_DISABLE_BACKGROUND_TASKS", "1"),
    // By default even a wrong key is tried ten times, over three minutes.
    ("CLAUDE_CODE_MAX_RETRIES", "2"),
];

pub(super) fn launch(operator: &Options, context: LaunchContext<'_>) -> Result<Launch, Invalid> {
    let options = SessionOptions::parse(context.options)?;
    let main = context.transcripts.get(&StreamName::TranscriptMain);
    let session = match context.agent_session_id {
        Some(id) if main.is_some_and(|main| transcript::is_resumable(main)) => Session::resumed(id.to_owned()),
        // What was stored, if anything, cannot be resumed: it gives way to the new one.
        _ => Session::fresh(context.environment.uuid().to_string(), main.is_some_and(|main| !main.is_empty())),
    };

    let prompts = [context.profile.system_prompt.as_deref(), options.append_system_prompt.as_deref()];
    let prompt = prompts.into_iter().flatten().filter(|prompt| !prompt.is_empty()).collect::<Vec<_>>().join("\n\n");
    let prompt = (!prompt.is_empty()).then_some(prompt.as_str());
    let mut files = profile::files(context.profile, prompt, context.layout)?;

    let home = &context.layout.home;
    let mut args: Vec<String> = ARGS.iter().map(|&arg| arg.to_owned()).collect();
    let mut add = |name: &str, value: String| args.extend([name.to_owned(), value]);
    add("--mcp-config", format!("{home}/{}", profile::MCP_SERVERS));
    if prompt.is_some() {
        add("--append-system-prompt-file", format!("{home}/{}", profile::SYSTEM_PROMPT));
    }
    if let Some(tools) = profile::tools(context.profile)? {
        add("--tools", tools);
    }
    if context.asks_tools {
        // Its own hooks run commands on which nobody decides, and an agent can write them into its workspace. Those of the host are not among them.
        add("--settings", r#"{"disableAllHooks":true}"#.to_owned());
    }
    if let Some(model) = &options.model {
        add("--model", model.clone());
    }
    if let Some(effort) = &options.effort {
        add("--effort", effort.clone());
    }
    if let Some(turns) = options.max_turns {
        add("--max-turns", turns.to_string());
    }
    if let Some(dollars) = options.max_budget_usd {
        add("--max-budget-usd", dollars.to_string());
    }
    if let Some(tokens) = options.max_thinking_tokens {
        add("--max-thinking-tokens", tokens.to_string());
    }
    if session.is_fresh() {
        add("--session-id", session.id().to_owned());
    } else {
        add("--resume", session.id().to_owned());
        files.extend(transcript::restore(session.id(), context.transcripts, context.layout)?);
    }
    args.extend(operator.args.iter().cloned());

    let mut env: BTreeMap<String, String> = ENV.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
    env.extend(context.profile.environment_variables.clone());
    env.extend(operator.env.iter().cloned());

    Ok(Launch {
        files,
        command: Command { program: operator.command.clone(), args, env: env.into_iter().collect() },
        driver: Box::new(ClaudeDriver::new(Arc::clone(&context.environment), session, options, context.asks_tools)),
    })
}
