//! Event hooks in a running host: the three examples at work, and what an operator does with them.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use agent_host_tests::{EventId, Frame, Host, Receiver, Scene, Setup, Stream, eventually, example_hook, rebuilt_adapter, text_of};
use serde_json::{Value, json};
use toml::Table;

/// The secret of the webhook.
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A hook as the configuration names it.
fn hook(name: &str, example: &str, rest: &str) -> Table {
    let mut table: Table = rest.parse().unwrap();
    table.insert("name".to_owned(), name.into());
    table.insert("component".to_owned(), example_hook(example).to_str().unwrap().into());
    table
}

fn with_hooks(setup: Setup, hooks: impl IntoIterator<Item = Table>) -> Setup {
    setup.set("hooks", hooks.into_iter().map(toml::Value::Table).collect::<Vec<_>>())
}

fn webhook(receiver: &Receiver, events: &str) -> Table {
    let url = &receiver.url;
    hook(
        "webhook",
        "webhook",
        &format!(
            "config = {{ url = '{url}', events = '{events}' }}\ngrants = {{ http = ['{url}'], env = {{ WEBHOOK_SECRET = '{SECRET}' }} }}\n"
        ),
    )
}

fn guard(config: &str) -> Table {
    hook("guard", "guard", &format!("[config]\n{config}"))
}

/// The lines that the hook `audit` wrote.
fn audited(directory: &Path) -> Vec<Value> {
    let text = fs::read_to_string(directory.join("audit.jsonl")).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn id(line: &Value) -> EventId {
    (line["session"].as_str().unwrap().to_owned(), line["epoch"].as_u64().unwrap(), line["seq"].as_u64().unwrap())
}

/// The events of a session that a client saw, by what tells a repeat.
fn seen(frames: &[Frame], session: &str) -> BTreeMap<u64, Frame> {
    let is_event = |frame: &&Frame| frame.is_of(session) && frame.event != "session:snapshot";
    frames.iter().filter(is_event).filter_map(|frame| Some((frame.seq?, frame.clone()))).collect()
}

#[tokio::test]
async fn guard_stops_claude_from_running_a_command_and_the_tool_result_says_why() {
    let rules = "deny_tools = 'Bash.command: \\brm\\s+-rf\\b'";
    let Some(mut scene) = Scene::claude_with(|setup| with_hooks(setup, [guard(rules)])).await else { return };
    scene.turn("bash echo kept > kept.txt").await;
    let blocks = scene.turn("bash rm -rf kept.txt").await;
    let result = blocks.all("tool_result")[1];
    assert_eq!(result["isError"], true, "{result}");
    assert!(text_of(result).contains("rm"), "the result says which rule: {result}");
    assert!(blocks.answer().contains("The command printed:"), "the agent goes on: {}", blocks.answer());
    let blocks = scene.turn("bash cat kept.txt").await;
    assert!(text_of(blocks.all("tool_result")[2]).contains("kept"), "{blocks:?}");
    assert_eq!(blocks, scene.stored().await);
}

#[tokio::test]
async fn guard_ends_a_session_at_its_budget_and_says_so_in_the_conversation() {
    let Some(mut scene) = Scene::claude_with(|setup| with_hooks(setup, [guard("max_cost_usd = '0.000001'")])).await else { return };
    scene.turn("text that was dear").await;
    let note = scene.stream.next("a note of the guard", |frame| frame.is_block("complete", "system")).await;
    assert!(text_of(&note.data["block"]).contains("budget"), "{note:?}");
    let problem = scene.client().message(&scene.session, "text more").await.expect_error(403, "DENIED");
    assert!(problem["detail"].as_str().unwrap().contains("budget"), "{problem}");
    scene.host.operator().told("guard").await;
    let blocks = scene.stored().await;
    assert_eq!(blocks.all("user_message").len(), 1, "what was denied is not in the conversation");
    assert_eq!(blocks.all("system").iter().filter(|block| text_of(block).contains("budget")).count(), 1, "it is said once");
}

#[tokio::test]
async fn hooks_that_claude_finds_in_its_settings_do_not_run_where_tools_are_decided_on() {
    let settings = r#"{"hooks":{"PreToolUse":[{"matcher":"","hooks":[{"type":"command","command":"touch ran.txt"}]}]}}"#;
    let ran = async |configure: fn(Setup) -> Setup| {
        let mut scene = Scene::claude_with(configure).await?;
        scene.turn(format!("bash mkdir -p .claude && echo '{settings}' > .claude/settings.json")).await;
        scene.client().unload(&scene.session).await.expect(200);
        scene.turn("bash true").await;
        let blocks = scene.turn("bash ls").await;
        Some(text_of(blocks.all("tool_result").last().unwrap()).contains("ran.txt"))
    };
    let Some(alone) = ran(|setup| setup).await else { return };
    assert!(alone, "a profile may have hooks of the agent's own");
    assert_eq!(ran(|setup| with_hooks(setup, [guard("")])).await, Some(false));
}

#[tokio::test]
async fn a_message_that_is_denied_leaves_nothing_but_an_event() {
    let setup = with_hooks(Setup::new(), [guard("deny_messages = '(?i)secret plan'")]);
    let mut scene = Scene::of(setup.start().await, "echo", None).await;
    let before = scene.stored().await;
    let problem = scene.client().message(&scene.session, "The Secret Plan is …").await.expect_error(403, "DENIED");
    assert!(problem["detail"].as_str().unwrap().contains("guard"), "{problem}");
    let event = scene.stream.next_event("error").await;
    assert_eq!(event.data["code"], "MESSAGE_DENIED", "{event:?}");
    assert_eq!(scene.stored().await, before);
    assert_eq!(scene.turn("hello").await.answer(), "hello");
}

/// Both the host and the receiver fail, and in the end the receiver has every event that a client saw, and each one once.
#[tokio::test]
async fn webhook_delivers_every_event_to_a_receiver_that_fails_half_of_the_time_and_from_a_host_that_is_killed() {
    let receiver = Receiver::flaky().await;
    let mut host = with_hooks(Setup::new(), [webhook(&receiver, "*")]).start().await;
    let sessions = [host.client().new_session("echo").await, host.client().new_session("echo").await];
    let mut clients: BTreeMap<String, BTreeMap<u64, Frame>> = BTreeMap::new();
    for life in 0..3 {
        let mut streams: Vec<Stream> = Vec::new();
        for session in &sessions {
            let mut stream = host.stream().await;
            stream.join(session).await;
            streams.push(stream);
        }
        for turn in 0..3 {
            for (session, stream) in sessions.iter().zip(&mut streams) {
                let message = host.client().say(session, format!("words of turn {turn} in life {life} of the host")).await;
                stream.turn_end(&message).await;
            }
        }
        for (session, stream) in sessions.iter().zip(&streams) {
            clients.entry(session.clone()).or_default().extend(seen(stream.frames(), session));
        }
        // Deliveries are under way.
        host.kill().await;
        host.start_again().await;
    }
    host.operator().told("webhook").await;
    let received = receiver.events();
    for session in &sessions {
        let saw = &clients[session];
        let of_session: BTreeMap<u64, &Value> =
            received.iter().filter(|((of, ..), _)| of == session).map(|((.., seq), event)| (*seq, event)).collect();
        for (seq, frame) in saw {
            let event = of_session.get(seq).unwrap_or_else(|| panic!("{session}: event {seq} was seen and not delivered: {frame:?}"));
            assert_eq!((event["name"].as_str(), &event["data"]), (Some(frame.event.as_str()), &frame.data), "{session} {seq}");
        }
        // Numbers have no gaps within an epoch, so neither has what was delivered.
        let sequences: BTreeSet<u64> = of_session.keys().copied().collect();
        let epochs: BTreeSet<u64> = sequences.iter().map(|seq| seq >> 32).collect();
        assert!(epochs.len() >= 3, "{epochs:?}");
        for epoch in epochs {
            let numbers: Vec<u64> = sequences.iter().copied().filter(|seq| seq >> 32 == epoch).collect();
            assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{session}: a gap in epoch {epoch}: {numbers:?}");
        }
    }
    let (repeats, requests) = receiver.repeats_and_requests();
    println!(
        "{} events in {requests} requests, half of which failed; {repeats} came again and were told by (session, epoch, seq)",
        received.len()
    );
    assert!(repeats > 0, "the receiver refused what it had taken");
    for delivery in receiver.deliveries() {
        for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
            assert!(delivery.headers.contains_key(name), "a delivery without {name}");
        }
    }
}

#[tokio::test]
async fn audit_is_added_disabled_and_removed_while_a_session_streams() {
    let mut scene = Scene::echo().await;
    scene.turn("before").await;
    let directory = scene.host.beside("audit");
    fs::create_dir(&directory).unwrap();
    let grants = json!({"dirs": [{"host": directory, "guest": "/audit", "write": true}]});
    let component = example_hook("audit");
    let operator = scene.host.operator();
    scene.client().set_options(&scene.session, &json!({"delayMs": 20})).await.expect(200);
    let message = scene.client().say(&scene.session, vec!["word"; 60].join(" ")).await;
    scene.stream.next_event("session:block:delta").await;
    let report = operator.put_hook_named("audit", &json!({"path": component, "grants": grants})).await.expect(200);
    assert_eq!((&report["name"], &report["called"], &report["origin"]["file"]), (&json!("audit"), &json!("audit"), &json!(component)));
    scene.stream.turn_end(&message).await;
    operator.told("audit").await;
    let lines = audited(&directory);
    assert!(lines.iter().any(|line| line["name"] == "session:block:complete"), "{lines:?}");
    assert!(!lines.iter().any(|line| line["name"] == "session:block:delta"));

    operator.enable_hook("audit", false).await.expect(204);
    scene.client().set_options(&scene.session, &json!({"delayMs": 0})).await.expect(200);
    scene.turn("while it is disabled").await;
    assert_eq!(audited(&directory).len(), lines.len());
    let shown = operator.hook("audit").await;
    assert!(shown["state"] == "disabled" && shown["backlog"]["events"].as_u64().unwrap() > 0, "{shown}");
    scene.restart().await;
    let operator = scene.host.operator();
    assert_eq!(operator.hook("audit").await["state"], "disabled");
    operator.enable_hook("audit", true).await.expect(204);
    scene.turn("after").await;
    operator.told("audit").await;
    let lines = audited(&directory);
    let ids: Vec<EventId> = lines.iter().map(id).collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "an event was written twice");
    for text in ["while it is disabled", "after"] {
        assert!(lines.iter().any(|line| line["data"]["block"]["content"] == text), "{text}");
    }

    operator.remove_hook("audit").await.expect(204);
    operator.remove_hook("audit").await.expect_error(404, "HOOK_NOT_FOUND");
    scene.turn("nobody listens").await;
    assert_eq!(audited(&directory).len(), lines.len());
    scene.restart().await;
    assert_eq!(scene.host.operator().components().await["hooks"], json!([]));
}

#[tokio::test]
async fn what_is_no_working_hook_is_refused_in_words_and_nothing_changes() {
    let mut scene = Scene::of(with_hooks(Setup::new(), [guard("deny_messages = 'no'")]).start().await, "echo", None).await;
    let operator = scene.host.operator();
    let good = fs::read(example_hook("guard")).unwrap();
    for (component, phase, text) in [
        (b"not a component".to_vec(), "compile", ""),
        (good[..good.len() / 2].to_vec(), "compile", ""),
        (fs::read(rebuilt_adapter("9.9.1")).unwrap(), "open", "not an event hook"),
    ] {
        let problem = operator.put_hook("guard", component, "").await.expect_error(422, "COMPONENT_REFUSED");
        assert!(problem["phase"] == phase && problem["detail"].as_str().unwrap().contains(text), "{problem}");
    }
    for (request, phase, text) in [
        (json!({"path": example_hook("guard"), "config": {"deny_tools": "Bash: ["}}), "open", "deny_tools"),
        (json!({"path": example_hook("guard"), "config": {"colour": "red"}}), "open", "colour"),
        (json!({"path": example_hook("guard"), "grants": {"disk": []}}), "open", "grants.disk"),
        (json!({"path": example_hook("webhook"), "config": {"url": "http://127.0.0.1:1/"}}), "open", "WEBHOOK_SECRET"),
        (json!({"path": "/nowhere.wasm"}), "read", "/nowhere.wasm"),
    ] {
        let problem = operator.put_hook_named("other", &request).await.expect_error(422, "COMPONENT_REFUSED");
        assert!(problem["phase"] == phase && problem["detail"].as_str().unwrap().contains(text), "{problem}");
    }
    operator.put_hook("a%20b", good, "").await.expect_error(400, "INVALID_REQUEST");
    let components = operator.components().await;
    assert_eq!((components["hooks"].as_array().unwrap().len(), &components["hooks"][0]["name"]), (1, &json!("guard")));
    assert_eq!(components["hooks"][0]["generation"], 1);
    scene.client().message(&scene.session, "no").await.expect_error(403, "DENIED");
    assert_eq!(scene.turn("yes").await.answer(), "yes");
}

#[tokio::test]
async fn the_command_line_does_the_same() {
    let scene = Scene::echo().await;
    let host = &scene.host;
    let guard = example_hook("guard");
    let guard = guard.to_str().unwrap();
    let (done, said) = run(host, &["hook", "add", "guard", guard, "--set", "deny_messages=no"]);
    assert!(done && said.contains("\"generation\": 1"), "{said}");
    scene.client().message(&scene.session, "no").await.expect_error(403, "DENIED");
    let (done, said) = run(host, &["components"]);
    assert!(done && said.contains("hook guard") && said.contains("serving"), "{said}");
    assert!(run(host, &["hook", "disable", "guard"]).0);
    scene.client().say(&scene.session, "no").await;
    assert!(run(host, &["hook", "enable", "guard"]).0);
    // What it is told stays when its component is replaced.
    assert!(run(host, &["hook", "add", "guard", guard]).0);
    scene.client().message(&scene.session, "no").await.expect_error(403, "DENIED");
    assert!(run(host, &["hook", "remove", "guard"]).0);
    let (done, said) = run(host, &["hook", "remove", "guard"]);
    assert!(!done && said.contains("there is no hook"), "{said}");
    let (done, said) = run(host, &["component", "inspect", guard]);
    assert!(done && said.contains("event hook"), "{said}");
}

#[tokio::test]
async fn a_hook_whose_file_changes_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("hook.wasm");
    fs::copy(example_hook("guard"), &file).unwrap();
    let mut table = guard("deny_messages = 'no'");
    table.insert("component".to_owned(), file.to_str().unwrap().into());
    let host = with_hooks(Setup::new(), [table]).set("components.watch", true).start().await;
    let operator = host.operator();
    assert_eq!(operator.hook("guard").await["generation"], 1);
    // The same hook as other bytes: a custom section is added, as tools do that sign or annotate components.
    let mut other = fs::read(&file).unwrap();
    other.extend([0, 5, 4, b'n', b'o', b't', b'e']);
    fs::write(&file, other).unwrap();
    eventually("the new component serves", async || operator.hook("guard").await["generation"] == 2).await;
    let session = host.client().new_session("echo").await;
    host.client().message(&session, "no").await.expect_error(403, "DENIED");
}

/// Runs a command against the host; whether it succeeded, and what it said.
fn run(host: &Host, arguments: &[&str]) -> (bool, String) {
    let mut command = host.command();
    command.arg("--config").arg(host.write_config()).args(arguments).env("AGENT_HOST_LISTEN", host.address());
    let output = command.output().unwrap();
    (output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}
