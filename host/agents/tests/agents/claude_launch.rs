//! How `claude` is started, and what is laid down for it.

use std::collections::BTreeMap;

use agent_host_agents::claude::{ClaudeAgentSdk, Options};
use agent_host_session::ports::agent::{Architecture, Launch, LaunchContext, Output};
use agent_host_session::ports::sandbox::Root;
use agent_host_session::record::StreamName;
use bytes::Bytes;
use serde_json::{Value, json};

use crate::support::{Counting, Start, layout, profile};

fn launch(start: &Start) -> Launch {
    start.launch(&ClaudeAgentSdk::new(Options::default()))
}

fn argument<'a>(launch: &'a Launch, name: &str) -> Option<&'a str> {
    let position = launch.command.args.iter().position(|arg| arg == name)?;
    launch.command.args.get(position + 1).map(String::as_str)
}

fn home(launch: &Launch) -> BTreeMap<String, String> {
    let files = launch.files.iter().filter(|file| file.root == Root::Home);
    files.map(|file| (file.path.to_string(), String::from_utf8(file.content.to_vec()).unwrap())).collect()
}

#[test]
fn a_first_start_names_the_session_and_tells_the_name() {
    let mut launch = launch(&Start::default());
    let id = argument(&launch, "--session-id").unwrap().to_owned();
    assert_eq!(argument(&launch, "--resume"), None);
    let mut out = Vec::new();
    launch.driver.start(&mut out);
    let told =
        out.iter().any(|output| matches!(output, Output::Metadata { metadata, .. } if metadata.agent_session_id.as_ref() == Some(&id)));
    assert!(told, "{out:?}");
    assert!(!out.contains(&Output::Ready), "it is ready only when it answers");
}

#[test]
fn a_session_with_a_transcript_is_resumed() {
    let main = Bytes::from_static(b"{\"type\":\"user\",\"uuid\":\"1\"}\n");
    let start = Start {
        agent_session_id: Some("s-1".into()),
        transcripts: BTreeMap::from([
            (StreamName::Events, Bytes::from_static(b"not the agent's\n")),
            (StreamName::TranscriptMain, main.clone()),
            (StreamName::TranscriptSubagent("a1".into()), Bytes::from_static(b"{\"type\":\"user\"}\n")),
        ]),
        ..Start::default()
    };
    let launch = launch(&start);
    assert_eq!((argument(&launch, "--resume"), argument(&launch, "--session-id")), (Some("s-1"), None));
    let files = home(&launch);
    assert_eq!(files[".claude/projects/-workspace/s-1.jsonl"].as_bytes(), main);
    assert!(files.contains_key(".claude/projects/-workspace/s-1/subagents/agent-a1.jsonl"));
    assert!(!files.values().any(|content| content.contains("not the agent's")));
}

#[test]
fn a_session_that_left_nothing_to_resume_starts_afresh() {
    let queued = Bytes::from_static(b"{\"type\":\"queue-operation\",\"operation\":\"enqueue\"}\n");
    for (main, resets) in [(None, 0), (Some(Bytes::new()), 0), (Some(queued), 1)] {
        let transcripts = main.into_iter().map(|main| (StreamName::TranscriptMain, main)).collect();
        let start = Start { agent_session_id: Some("s-1".into()), transcripts, ..Start::default() };
        let mut launch = launch(&start);
        assert_eq!(argument(&launch, "--resume"), None);
        assert_ne!(argument(&launch, "--session-id"), Some("s-1"));
        let mut out = Vec::new();
        launch.driver.start(&mut out);
        assert_eq!(out.iter().filter(|output| matches!(output, Output::TranscriptReset { .. })).count(), resets);
    }
}

#[test]
fn options_become_arguments() {
    let options = json!({"model": "opus", "maxTurns": 7, "maxBudgetUsd": 1.5, "maxThinkingTokens": 2000, "effort": "low"});
    let launch = launch(&Start { options, ..Start::default() });
    let expected =
        [("--model", "opus"), ("--max-turns", "7"), ("--max-budget-usd", "1.5"), ("--max-thinking-tokens", "2000"), ("--effort", "low")];
    for (name, value) in expected {
        assert_eq!(argument(&launch, name), Some(value), "{name}");
    }
    assert_eq!(argument(&launch, "--permission-mode"), Some("bypassPermissions"));
    for flag in ["-p", "--verbose", "--include-partial-messages", "--session-mirror", "--strict-mcp-config"] {
        assert!(launch.command.args.iter().any(|arg| arg == flag), "{flag} is missing");
    }
}

#[test]
fn the_operators_environment_wins_over_the_profiles_and_that_over_ours() {
    let profile = profile(json!({"environmentVariables": {"A": "profile", "B": "profile", "CLAUDE_CODE_MAX_RETRIES": "5"}}));
    let operator = Options {
        command: "/opt/claude".into(),
        args: vec!["--add-dir".into(), "/data".into()],
        env: vec![("A".into(), "operator".into()), ("ANTHROPIC_API_KEY".into(), "secret".into())],
    };
    let launch = Start { profile, ..Start::default() }.launch(&ClaudeAgentSdk::new(operator));
    let env: BTreeMap<&str, &str> = launch.command.env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(env.len(), launch.command.env.len(), "a name stands twice");
    assert_eq!((env["A"], env["B"], env["CLAUDE_CODE_MAX_RETRIES"]), ("operator", "profile", "5"));
    assert_eq!((env["IS_SANDBOX"], env["CLAUDE_CODE_EMIT_SESSION_STATE_EVENTS"], env["ANTHROPIC_API_KEY"]), ("1", "1", "secret"));
    assert_eq!(launch.command.program, "/opt/claude");
    assert!(launch.command.args.ends_with(&["--add-dir".to_owned(), "/data".to_owned()]));
}

#[test]
fn a_profile_is_laid_down_where_claude_reads_it() {
    let profile = profile(json!({
        "systemPrompt": "You are terse.",
        "agentMDFile": "# Memory",
        "tools": ["Bash", "Read"],
        "skills": [
            {"name": "pdf", "description": "For \"PDFs\":\n- all: of them # yes\u{2028}", "skillMd": "Read it.", "supportingFiles": [{"relativePath": "scripts/a.py", "content": "print()"}]},
            {"name": "whole", "description": "ignored", "skillMd": "---\nname: whole\n---\ntext"},
        ],
        "subagents": [{"name": "helper", "description": "helps", "prompt": "You help.", "tools": ["Bash"], "model": "haiku"}],
        "commands": [{"name": "greet", "prompt": "Greet $ARGUMENTS"}],
        "externalMCPs": [{"name": "files", "command": "mcp-files", "args": ["--root", "/"], "env": {"K": "v"}}],
        "defaultWorkspaceFiles": [{"path": "src/a.txt", "content": "hello"}],
    }));
    let launch = launch(&Start { profile, options: json!({"appendSystemPrompt": "Be kind."}), ..Start::default() });
    let files = home(&launch);
    assert_eq!(argument(&launch, "--append-system-prompt-file"), Some("/home/agent/.agent-host/system-prompt.md"));
    assert_eq!(files[".agent-host/system-prompt.md"], "You are terse.\n\nBe kind.");
    assert_eq!(files[".claude/CLAUDE.md"], "# Memory");
    assert_eq!(argument(&launch, "--tools"), Some("Bash,Read"));
    assert_eq!(
        files[".claude/skills/pdf/SKILL.md"],
        "---\nname: \"pdf\"\ndescription: \"For \\\"PDFs\\\":\\n- all: of them # yes\\u2028\"\n---\n\nRead it."
    );
    assert_eq!(files[".claude/skills/pdf/scripts/a.py"], "print()");
    assert_eq!(files[".claude/skills/whole/SKILL.md"], "---\nname: whole\n---\ntext");
    assert_eq!(
        files[".claude/agents/helper.md"],
        "---\nname: \"helper\"\ndescription: \"helps\"\ntools: [\"Bash\"]\nmodel: \"haiku\"\n---\n\nYou help."
    );
    assert_eq!(files[".claude/commands/greet.md"], "Greet $ARGUMENTS");
    assert_eq!(argument(&launch, "--mcp-config"), Some("/home/agent/.agent-host/mcp.json"));
    let servers: Value = serde_json::from_str(&files[".agent-host/mcp.json"]).unwrap();
    let server = json!({"type": "stdio", "command": "mcp-files", "args": ["--root", "/"], "env": {"K": "v"}});
    assert_eq!(servers, json!({"mcpServers": {"files": server}}));
    let workspace: Vec<String> =
        launch.files.iter().filter(|file| file.root == Root::Workspace).map(|file| file.path.to_string()).collect();
    assert_eq!(workspace, ["src/a.txt"]);
}

#[test]
fn a_large_system_prompt_is_no_argument() {
    let prompt = "x".repeat(1_000_000);
    let launch = launch(&Start { profile: profile(json!({"systemPrompt": prompt})), ..Start::default() });
    assert!(launch.command.args.iter().all(|arg| arg.len() < 1000));
    assert_eq!(home(&launch)[".agent-host/system-prompt.md"].len(), 1_000_000);
}

#[test]
fn a_profile_that_cannot_be_carried_out_is_refused() {
    for (json, complaint) in [
        (json!({"tools": ["Bash(git *)"]}), "Bash(git *)"),
        (
            json!({"skills": [{"name": "a", "description": "", "skillMd": ""}, {"name": "a", "description": "", "skillMd": ""}]}),
            ".claude/skills/a/SKILL.md",
        ),
    ] {
        let error = ClaudeAgentSdk::default().launch(LaunchContext {
            profile: &profile(json),
            options: &serde_json::Map::new(),
            layout: &layout(),
            agent_session_id: None,
            transcripts: &BTreeMap::new(),
            asks_tools: false,
            environment: std::sync::Arc::new(Counting::default()),
        });
        let error = error.err().expect("it was carried out").to_string();
        assert!(error.contains(complaint), "{error}");
    }
}
