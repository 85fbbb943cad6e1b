//! Sessions of other people's SDK programs in the host's store: what the SDKs ask of a store, over the examples in Python and TypeScript, and the calls behind it.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests report by panicking")]

use std::path::{Path, PathBuf};
use std::process::Command;

use agent_host_tests::{Answer, Client, Faults, Host, ModelApi, Scenarios, Scene, Setup, require};
use reqwest::Method;
use serde_json::{Value, json};

const KEY: &str = "a-key-of-the-test";

/// What the host takes in one body.
const MAX_BODY: usize = 16 * 1024 * 1024;

/// `/session-store/…` of the session `s` of the project `p`.
fn path(what: &str, more: &str) -> String {
    format!("/session-store/{what}?projectKey=p&sessionId=s{more}")
}

async fn append_to(client: &Client, more: &str, offset: u64, lines: impl Into<String>) -> Answer {
    let path = path("transcript", &format!("&offset={offset}{more}"));
    client.send(client.request(Method::POST, &path).body(lines.into())).await
}

async fn append(client: &Client, offset: u64, lines: impl Into<String>) -> Answer {
    append_to(client, "", offset, lines).await
}

async fn read(client: &Client, more: &str) -> Answer {
    let response = client.request(Method::GET, &path("transcript", more)).send().await.unwrap();
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    // Lines of JSON may be one JSON text by accident.
    let body = if status == 200 { Value::String(text) } else { serde_json::from_str(&text).unwrap() };
    Answer { status, body }
}

async fn delete(client: &Client, more: &str) -> Answer {
    client.send(client.request(Method::DELETE, &path("transcript", more))).await
}

async fn listed(client: &Client) -> Value {
    client.get("/session-store/sessions?projectKey=p").await.expect(200)["sessions"].clone()
}

async fn host_id(client: &Client) -> String {
    client.get(&path("transcripts", "")).await.expect(200)["session"]["hostSessionId"].as_str().unwrap().to_owned()
}

/// Runs `test.sh` of an example on a host, with a `claude` if there is one.
async fn example(name: &str) -> String {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/session-store").join(name);
    let api = ModelApi::start(Scenarios).unwrap();
    let host = Setup::new().with_key(KEY).start().await;
    let mut command = Command::new(directory.join("test.sh"));
    command.arg(host.base_url()).arg(KEY).env("ANTHROPIC_API_KEY", "fake-key").env("ANTHROPIC_BASE_URL", api.base_url());
    // As in a shell of somebody who is in no session of Claude Code.
    command.env_remove("CLAUDECODE").env_remove("CLAUDE_CODE_ENTRYPOINT");
    if let Some(claude) = agent_host_tests::claude() {
        command.env("CLAUDE_PROGRAM", claude);
    }
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
    said
}

#[tokio::test]
async fn the_example_in_python_keeps_all_contracts_of_the_sdk() {
    let Some(_) = require("python3") else { return };
    let said = example("python").await;
    assert!(said.contains(" passed") && (agent_host_tests::claude().is_none() || !said.contains(" skipped")), "{said}");
}

#[tokio::test]
async fn the_example_in_typescript_keeps_all_contracts_of_the_sdk() {
    let Some(_) = require("npm") else { return };
    let said = example("typescript").await;
    let all_ran = said.contains("# skipped 0") || agent_host_tests::claude().is_none();
    assert!(said.contains("ok") && said.contains("14. ") && said.contains("# fail 0") && all_ran, "{said}");
}

#[tokio::test]
async fn an_append_continues_the_transcript_or_is_told_where_it_ends() {
    let host = Setup::new().start().await;
    let client = host.client();
    let (one, two) = ("{\"n\":1}\n", "{\"n\":2,\"text\":\"ü💡\"}\n");
    assert_eq!(append(&client, 5, one).await.expect_error(409, "OFFSET_MISMATCH")["length"], 0);
    read(&client, "").await.expect_error(404, "SESSION_NOT_FOUND");
    assert_eq!(append(&client, 0, one).await.expect(200), json!({"length": 8}));
    let length = (one.len() + two.len()) as u64;
    for _ in 0..2 {
        assert_eq!(append(&client, 8, two).await.expect(200)["length"], length);
    }
    assert_eq!(append(&client, 0, one).await.expect(200)["length"], length, "an older one again");
    for (offset, lines) in [(8, one), (0, two), (length + 1, one), (9, two)] {
        assert_eq!(append(&client, offset, lines).await.expect_error(409, "OFFSET_MISMATCH")["length"], length, "{offset} {lines}");
    }
    for (more, text) in [("", format!("{one}{two}")), ("&offset=8", two.to_owned()), (&format!("&offset={length}"), String::new())] {
        assert_eq!(read(&client, more).await.expect(200), text, "{more}");
    }
    assert_eq!(read(&client, "&offset=1000").await.expect_error(409, "OFFSET_MISMATCH")["length"], length);
    let response = client.request(Method::GET, &path("transcript", "&offset=8")).send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "application/x-ndjson");
    assert_eq!(response.content_length(), Some(two.len() as u64));
    read(&client, "&subpath=nobody").await.expect_error(404, "TRANSCRIPT_NOT_FOUND");
}

#[tokio::test]
async fn what_cannot_be_kept_is_refused_and_changes_nothing() {
    let host = Setup::new().start().await;
    let client = host.client();
    for body in ["", "{}", "[]\n", "{}\nx\n", "{\"a\":\n"] {
        append(&client, 0, body).await.expect_error(400, "INVALID_REQUEST");
    }
    let long = "x".repeat(1000);
    for query in [
        "projectKey=p&sessionId=s",
        "projectKey=p&sessionId=s&offset=-1",
        "projectKey=p&sessionId=s&offset=18446744073709551615",
        "projectKey=p&sessionId=s&offset=0&other=1",
        "projectKey=&sessionId=s&offset=0",
        "projectKey=p&sessionId=a%00b&offset=0",
        "projectKey=p&sessionId=%FF&offset=0",
        "projectKey=p&sessionId=s&offset=0&subpath=",
        &format!("projectKey={long}&sessionId=s&offset=0"),
        &format!("projectKey=p&sessionId=s&offset=0&subpath={long}"),
    ] {
        let request = client.request(Method::POST, &format!("/session-store/transcript?{query}"));
        client.send(request.body("{}\n")).await.expect_error(400, "INVALID_REQUEST");
    }
    append_to(&client, "&agentProfileRef=nobody", 0, "{}\n").await.expect_error(422, "UNKNOWN_PROFILE");
    client.get("/session-store/sessions?projectKey=p&cursor=rubbish").await.expect_error(400, "INVALID_REQUEST");
    assert_eq!(listed(&client).await, json!([]));
    let reserved = json!({"agentProfileRef": "default", "architecture": "echo", "sessionId": "agent-host.sdk.mine"});
    client.create(&reserved).await.expect_error(422, "UNPROCESSABLE");
}

#[tokio::test]
async fn a_line_may_be_as_long_as_a_body_and_no_longer() {
    let host = Setup::new().start().await;
    let client = host.client();
    let line = |bytes: usize| format!("{{\"text\":\"{}\"}}\n", "x".repeat(bytes - "{\"text\":\"\"}\n".len()));
    append(&client, 0, line(MAX_BODY + 1)).await.expect_error(413, "PAYLOAD_TOO_LARGE");
    let longest = line(MAX_BODY);
    assert_eq!(append(&client, 0, longest.clone()).await.expect(200)["length"], MAX_BODY);
    assert_eq!(append(&client, 0, longest.clone()).await.expect(200)["length"], MAX_BODY);
    assert!(read(&client, "").await.expect(200) == longest, "it came back as another");
}

/// Each reads what it has missed when it was not the first, as a store does.
#[tokio::test]
async fn programs_that_append_at_once_lose_nothing() {
    let host = Setup::new().start().await;
    let (programs, appends) = (8, 25);
    let program = async |number: usize| {
        let client = host.client();
        let (mut offset, mut conflicts) = (0, 0);
        for turn in 0..appends {
            loop {
                let answer = append(&client, offset, format!("{{\"program\":{number},\"turn\":{turn}}}\n")).await;
                offset = answer.body["length"].as_u64().unwrap();
                if answer.status == 200 {
                    break;
                }
                answer.expect_error(409, "OFFSET_MISMATCH");
                conflicts += 1;
            }
        }
        conflicts
    };
    let conflicts: usize = futures_util::future::join_all((0..programs).map(program)).await.into_iter().sum();
    assert!(conflicts > 0, "nothing was tried");
    let transcript = read(&host.client(), "").await.expect(200);
    let lines: Vec<Value> = transcript.as_str().unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), programs * appends);
    for number in 0..programs {
        let turns: Vec<_> = lines.iter().filter(|line| line["program"] == number).map(|line| line["turn"].as_u64().unwrap()).collect();
        assert_eq!(turns, (0..appends as u64).collect::<Vec<_>>(), "of program {number}");
    }
}

#[tokio::test]
async fn a_restart_and_another_component_keep_all() {
    let mut host = Setup::new().start().await;
    append(&host.client(), 0, "{\"n\":1}\n").await.expect(200);
    append_to(&host.client(), "&subpath=subagents/agent-a1", 0, "{\"n\":2}\n").await.expect(200);
    append_to(&host.client(), "&subpath=any%20thing/%2E", 0, "{\"n\":3}\n").await.expect(200);
    let (sessions, transcripts) = (listed(&host.client()).await, host.client().get(&path("transcripts", "")).await.expect(200));
    assert_eq!(sessions[0]["sessionId"], "s");
    assert_eq!(
        transcripts["transcripts"],
        json!([{"length": 8}, {"subpath": "any thing/.", "length": 8}, {"subpath": "subagents/agent-a1", "length": 8}])
    );
    let keeps = async |host: &Host| {
        let client = host.client();
        assert_eq!(listed(&client).await, sessions);
        assert_eq!(client.get(&path("transcripts", "")).await.expect(200), transcripts);
        assert_eq!(read(&client, "&subpath=any%20thing/%2E").await.expect(200), "{\"n\":3}\n");
        let in_list = client.sessions("").await.expect(200)["sessions"][0].clone();
        assert_eq!(in_list["origin"], json!({"projectKey": "p", "sessionId": "s", "adopted": false}));
    };
    keeps(&host).await;
    host.restart().await;
    keeps(&host).await;
    host.kill().await;
    host.start_again().await;
    keeps(&host).await;
    host.operator().swap_named(&json!({"builtin": "memory"}), "?migrate=true").await.expect(200);
    keeps(&host).await;
    assert_eq!(append(&host.client(), 8, "{\"n\":4}\n").await.expect(200)["length"], 16);
}

#[tokio::test]
async fn one_transcript_is_deleted_or_all_of_them() {
    let host = Setup::new().start().await;
    let client = host.client();
    delete(&client, "").await.expect(204);
    delete(&client, "&subpath=a").await.expect(204);
    append(&client, 0, "{}\n").await.expect(200);
    for name in ["a", "b"] {
        append_to(&client, &format!("&subpath={name}"), 0, "{}\n").await.expect(200);
    }
    delete(&client, "&subpath=a").await.expect(204);
    let left = client.get(&path("transcripts", "")).await.expect(200)["transcripts"].clone();
    assert_eq!(left, json!([{"length": 3}, {"subpath": "b", "length": 3}]));
    delete(&client, "").await.expect(204);
    assert_eq!(listed(&client).await, json!([]));
    assert_eq!(client.sessions("").await.expect(200)["sessions"], json!([]));
    read(&client, "&subpath=b").await.expect_error(404, "SESSION_NOT_FOUND");
}

#[tokio::test]
async fn without_a_key_nothing_is_told_and_nothing_changed() {
    let host = Setup::new().with_key(KEY).start().await;
    append(&host.client(), 0, "{}\n").await.expect(200);
    let adopt = format!("/sessions/{}/adopt", host_id(&host.client()).await);
    for (key, code) in [(None, "AUTH_REQUIRED"), (Some("wrong"), "INVALID_API_KEY")] {
        let thief = host.client().with_key(key);
        append(&thief, 3, "{}\n").await.expect_error(401, code);
        read(&thief, "").await.expect_error(401, code);
        delete(&thief, "").await.expect_error(401, code);
        thief.command(&adopt).await.expect_error(401, code);
        for path in [&path("transcripts", ""), "/session-store/sessions?projectKey=p"] {
            thief.get(path).await.expect_error(401, code);
        }
    }
    assert_eq!(read(&host.client(), "").await.expect(200), "{}\n");
}

#[tokio::test]
async fn what_the_store_has_not_is_not_acknowledged() {
    let faults = Faults::new();
    let host = faults.configure(Setup::new()).start().await;
    let client = host.client();
    append(&client, 0, "{\"n\":1}\n").await.expect(200);
    faults.are("unavailable 100");
    for _ in 0..4 {
        append(&client, 8, "{\"n\":2}\n").await.expect_error(503, "STORE_UNAVAILABLE");
    }
    faults.are("");
    assert_eq!(append(&client, 8, "{\"n\":2}\n").await.expect(200)["length"], 16);
    assert_eq!(read(&client, "").await.expect(200), "{\"n\":1}\n{\"n\":2}\n");
}

/// A file below the directory whose name ends like this.
fn find(directory: &Path, ending: &str) -> Option<PathBuf> {
    std::fs::read_dir(directory).ok()?.flatten().find_map(|entry| {
        let path = entry.path();
        if path.is_dir() && !path.is_symlink() { find(&path, ending) } else { path.to_string_lossy().ends_with(ending).then_some(path) }
    })
}

#[tokio::test]
async fn a_conversation_from_outside_is_shown_and_adopted_and_goes_on_with_claude() {
    let Some(mut scene) = Scene::claude().await else { return };
    scene.turn("text said elsewhere").await;
    let transcript = find(&scene.host.data_directory().join("sandboxes"), ".jsonl").expect("Claude leaves a transcript");
    let transcript = std::fs::read_to_string(transcript).unwrap();
    let client = scene.client();
    append(&client, 0, transcript.clone()).await.expect(200);
    let session = host_id(&client).await;

    assert_eq!(scene.host.blocks(&session).await.texts("user_message"), ["text said elsewhere"]);
    client.message(&session, "history").await.expect_error(409, "RUNS_OUTSIDE");
    client.set_options(&session, &json!({"model": "x"})).await.expect_error(409, "RUNS_OUTSIDE");
    assert_eq!(append(&client, transcript.len() as u64, "{\"type\":\"mode\"}\n").await.expect(200)["length"], transcript.len() + 16);

    client.command(&format!("/sessions/{}/adopt", scene.session)).await.expect_error(422, "UNPROCESSABLE");
    client.command("/sessions/nobody/adopt").await.expect_error(404, "SESSION_NOT_FOUND");
    for _ in 0..2 {
        client.command(&format!("/sessions/{session}/adopt")).await.expect(200);
    }
    append(&client, transcript.len() as u64 + 16, "{}\n").await.expect_error(409, "SESSION_ADOPTED");
    delete(&client, "&subpath=a").await.expect_error(409, "SESSION_ADOPTED");
    scene.restart().await;
    scene.session = session;
    scene.stream.join(&scene.session).await;
    let blocks = scene.turn("history").await;
    assert!(blocks.answer().contains("said elsewhere"), "the model did not see the first turn: {}", blocks.answer());
    // The program that has begun it can still read it, with what the host has added.
    let client = scene.client();
    client.sync(&scene.session).await.expect(200);
    let now = read(&client, "").await.expect(200);
    assert!(now.as_str().unwrap().starts_with(&transcript) && now.as_str().unwrap().contains("\"history\""), "{now}");
    assert_eq!(listed(&client).await[0]["adopted"], true);
    delete(&client, "").await.expect_error(409, "SESSION_ADOPTED");
    client.session(&scene.session).await.expect(200);
}
