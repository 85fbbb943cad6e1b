//! Agent profiles: kept, checked, and in force.

use agent_host_tests::{ModelApi, Scenarios, Setup, claude, session_with};
use serde_json::{Value, json};

#[tokio::test]
async fn profiles_are_listed_written_read_and_deleted() {
    let host = Setup::new().start().await;
    let client = host.client();
    let ids = |profiles: &Value| profiles.to_string();
    assert!(ids(&client.profiles().await.expect(200)).contains(r#""id":"default""#));

    let profile = json!({"id": "writer", "name": "Writer", "systemPrompt": "Write well.", "tools": ["Read"]});
    let put = client.put_profile("writer", &profile).await;
    assert!(matches!(put.status, 200 | 201 | 204), "{put:?}");
    let read = client.profile("writer").await.expect(200);
    assert_eq!((&read["name"], &read["systemPrompt"]), (&profile["name"], &profile["systemPrompt"]));
    assert!(ids(&client.profiles().await.expect(200)).contains(r#""id":"writer""#));
    let deleted = client.delete_profile("writer").await;
    assert!(matches!(deleted.status, 200 | 204), "{deleted:?}");
    client.profile("writer").await.expect_error(404, "PROFILE_NOT_FOUND");
}

#[tokio::test]
async fn names_and_paths_that_would_leave_their_directory_are_refused() {
    let host = Setup::new().start().await;
    let skill = |name: &str, file: &str| {
        json!({"id": "p", "name": "P", "skills": [{"name": name, "description": "d", "skillMd": "m",
            "supportingFiles": [{"relativePath": file, "content": "x"}]}]})
    };
    let file = |path: &str| json!({"id": "p", "name": "P", "defaultWorkspaceFiles": [{"path": path, "content": "x"}]});
    let command = |name: &str| json!({"id": "p", "name": "P", "commands": [{"name": name, "prompt": "x"}]});
    let subagent = |name: &str| json!({"id": "p", "name": "P", "subagents": [{"name": name, "description": "d", "prompt": "x"}]});
    let hostile = [
        skill("../../.ssh", "a"),
        skill("a/b", "a"),
        skill("ok", "../../../etc/x"),
        skill("ok", "/etc/x"),
        file("../../etc/x"),
        file("/etc/x"),
        file("a/../../x"),
        command("../x"),
        subagent("../x"),
    ];
    for profile in hostile {
        let refused = host.client().put_profile("p", &profile).await;
        assert!(matches!(refused.status, 400 | 422), "{profile} was answered by {refused:?}");
    }
    host.client().profile("p").await.expect_error(404, "PROFILE_NOT_FOUND");
}

#[tokio::test]
async fn a_profile_is_in_force_in_the_sandbox_and_before_the_model() {
    let Some(program) = claude() else { return };
    let api = ModelApi::start(Scenarios).unwrap();
    let host = Setup::new().with_claude(&program, &api).start().await;
    let profile = json!({
        "id": "whole", "name": "Whole",
        "systemPrompt": "SYSTEM-MARK",
        "agentMDFile": "# MEMORY-MARK",
        "skills": [{"name": "paint", "description": "SKILL-MARK", "skillMd": "---\nname: paint\ndescription: SKILL-MARK\n---\nPaint.",
            "supportingFiles": [{"relativePath": "lib/brush.txt", "content": "bristles"}]}],
        "subagents": [{"name": "helper", "description": "SUBAGENT-MARK", "prompt": "Help."}],
        "commands": [{"name": "shout", "prompt": "text COMMAND-MARK"}],
        "environmentVariables": {"PROFILE_VARIABLE": "VARIABLE-MARK"},
        "defaultWorkspaceFiles": [{"path": "given/a.txt", "content": "FILE-MARK"}],
    });
    let put = host.client().put_profile("whole", &profile).await;
    assert!(matches!(put.status, 200 | 201 | 204), "{put:?}");
    let (session, mut stream) = session_with(&host, "whole", "claude-agent-sdk").await;

    let message = host
        .client()
        .say(&session, "bash echo $PROFILE_VARIABLE; cat given/a.txt; find $HOME /workspace -name brush.txt 2>/dev/null")
        .await;
    stream.turn_end(&message).await;
    let answer = stream.fold(&session).blocks().answer();
    for mark in ["VARIABLE-MARK", "FILE-MARK", "brush.txt"] {
        assert!(answer.contains(mark), "no {mark} in {answer}");
    }
    let request = api.last_request().unwrap();
    let seen = format!("{}\n{}\n{}", request.system(), request.conversation(), request.body["tools"]);
    for mark in ["SYSTEM-MARK", "MEMORY-MARK", "SKILL-MARK", "SUBAGENT-MARK"] {
        assert!(seen.contains(mark), "the model does not see {mark}");
    }
    let message = host.client().say(&session, "/shout").await;
    stream.turn_end(&message).await;
    assert!(stream.fold(&session).blocks().answer().contains("COMMAND-MARK"));
}

#[tokio::test]
async fn the_tools_of_a_profile_are_all_that_the_agent_has() {
    let Some(program) = claude() else { return };
    let api = ModelApi::start(Scenarios).unwrap();
    let host = Setup::new().with_claude(&program, &api).start().await;
    host.client().put_profile("reader", &json!({"id": "reader", "name": "Reader", "tools": ["Read"]})).await;
    let (session, mut stream) = session_with(&host, "reader", "claude-agent-sdk").await;
    let message = host.client().say(&session, "bash echo hello").await;
    stream.turn_end(&message).await;
    let blocks = stream.fold(&session).blocks().clone();
    assert_eq!(blocks.all("tool_use")[0]["status"], "error", "{blocks:?}");
    let tools = api.last_request().unwrap().body["tools"].clone();
    let names: Vec<&str> = tools.as_array().into_iter().flatten().filter_map(|tool| tool["name"].as_str()).collect();
    assert!(names.contains(&"Read") && !names.contains(&"Bash"), "{names:?}");
}

/// An MCP server that needs nothing but a shell. Its tool says what installing it has written.
const MCP_SERVER: &str = r#"
word=$(cat installed/word.txt)
while read -r line; do
    id=$(printf '%s' "$line" | sed -n 's/.*"id":\([0-9]*\).*/\1/p')
    case "$line" in
        *'"initialize"'*) result='{"protocolVersion":"2024-11-05","capabilities":{"tools":{}},"serverInfo":{"name":"own","version":"1"}}' ;;
        *'"tools/list"'*) result='{"tools":[{"name":"word","description":"Says a word","inputSchema":{"type":"object"}}]}' ;;
        *'"tools/call"'*) result="{\"content\":[{\"type\":\"text\",\"text\":\"$word in $(pwd)\"}]}" ;;
        *) continue ;;
    esac
    printf '{"jsonrpc":"2.0","id":%s,"result":%s}\n' "$id" "$result"
done
"#;

#[tokio::test]
async fn a_bundled_mcp_server_is_copied_installed_and_used() {
    let Some(program) = claude() else { return };
    let api = ModelApi::start(Scenarios).unwrap();
    let projects = tempfile::tempdir().unwrap();
    let own = projects.path().join("own server");
    std::fs::create_dir_all(own.join("src")).unwrap();
    std::fs::write(own.join("src/server.sh"), MCP_SERVER).unwrap();
    let directory = projects.path().to_string_lossy().into_owned();
    let host = Setup::new().with_claude(&program, &api).set("profiles.projects", directory).start().await;
    let with = |path: &str, install: &str| {
        let server = json!({"name": "own", "description": "d", "localProjectPath": path, "startCommand": "sh src/server.sh", "installCommand": install});
        json!({"id": "bundled", "name": "Bundled", "bundledMCPs": [server]})
    };
    let install = "mkdir installed\nprintf \"it's INSTALLED\" > installed/word.txt";
    assert!(host.client().put_profile("bundled", &with("own server", install)).await.status < 300);
    let (session, mut stream) = session_with(&host, "bundled", "claude-agent-sdk").await;
    // It connects while the agent answers already.
    let mut answer = String::new();
    for _ in 0..20 {
        let message = host.client().say(&session, "tool mcp__own__word").await;
        stream.turn_end(&message).await;
        answer = stream.fold(&session).blocks().answer();
        if answer.contains("The tool said: it's INSTALLED in ") {
            break;
        }
    }
    assert!(answer.contains("The tool said: it's INSTALLED in ") && answer.contains("projects/own"), "{answer}");

    // What lies elsewhere, or cannot be installed, is no sandbox.
    let is_at_modal = std::env::var_os("AGENT_HOST_TEST_PROVIDER").is_some();
    let broken = if is_at_modal { "a command of the image has failed" } else { "exit status 3: BROKEN" };
    let outside = own.join("../..").to_string_lossy().into_owned();
    for (path, install, complaint) in [(outside.as_str(), "true", "cannot be copied"), ("own server", "echo BROKEN >&2; exit 3", broken)] {
        assert!(host.client().put_profile("bundled", &with(path, install)).await.status < 300);
        let (session, mut stream) = session_with(&host, "bundled", "claude-agent-sdk").await;
        let message = host.client().say(&session, "text hello").await;
        stream.turn_end(&message).await;
        let said = stream.fold(&session).blocks().texts("error").concat();
        assert!(!said.is_empty() && said.contains(complaint), "{said}");
    }
}
