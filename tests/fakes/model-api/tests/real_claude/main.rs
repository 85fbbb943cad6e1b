//! Each scenario as the real `claude` plays it. The tests have several turns in one process, since a start costs a second of CPU.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests report by panicking")]

mod process;

use fake_model_api::{ModelApi, Queue, Reply, Scenarios};
use serde_json::json;

use crate::process::Claude;

/// A `claude` on the built-in script. Fields are dropped in their order: the process before the API and the directory.
struct Setup {
    claude: Claude,
    api: ModelApi,
    directory: tempfile::TempDir,
}

fn setup() -> Option<Setup> {
    let program = agent_host_test_programs::claude()?;
    let api = ModelApi::start(Scenarios).unwrap();
    let directory = tempfile::tempdir().unwrap();
    Some(Setup { claude: Claude::start(&program, &api, directory.path(), &[]), api, directory })
}

#[tokio::test]
async fn texts_and_thoughts_are_streamed_and_whole() {
    let Some(Setup { mut claude, api, directory: _directory }) = setup() else { return };

    let turn = claude.turn("text hello ünï 💡 world").await;
    assert_eq!(turn.answer(), "hello ünï 💡 world");
    assert_eq!(turn.streamed("text_delta", "text"), "hello ünï 💡 world");
    assert_eq!(turn.result()["is_error"], false);
    assert_eq!(api.last_request().unwrap().api_key.as_deref(), Some("fake-key"));

    let turn = claude.turn("think about nothing").await;
    assert!(turn.streamed("thinking_delta", "thinking").contains("step by step"));
    assert_eq!(turn.answer(), "about nothing");

    let turn = claude.turn("big 64").await;
    assert_eq!(turn.streamed("text_delta", "text").len(), 64 * 1024);

    let turn = claude.turn("what is this?").await;
    assert_eq!(turn.answer(), "what is this?");

    let turn = claude.turn("history").await;
    assert_eq!(turn.answer(), "text hello ünï 💡 world\nthink about nothing\nbig 64\nwhat is this?\nhistory");
}

#[tokio::test]
async fn tools_run_and_their_results_go_on_with_the_scenario() {
    let Some(Setup { mut claude, api: _api, directory }) = setup() else { return };

    let turn = claude.turn("write notes/a.txt some words").await;
    assert_eq!(turn.answer(), "The file is written.");
    assert_eq!(std::fs::read_to_string(directory.path().join("workspace/notes/a.txt")).unwrap(), "some words");

    let turn = claude.turn("bash printf '\\000\\377' > b.bin; echo written").await;
    assert_eq!(turn.answer(), "The command printed: written");
    assert_eq!(std::fs::read(directory.path().join("workspace/b.bin")).unwrap(), [0, 255]);

    let turn = claude.turn("fail").await;
    let results = turn.blocks("user", "tool_result");
    assert_eq!(results[0]["is_error"], true);
    assert!(turn.answer().contains("Exit code 3"), "{}", turn.answer());
    assert_eq!(turn.result()["is_error"], false);

    let turn = claude.turn("unknown-tool").await;
    assert_eq!(turn.blocks("user", "tool_result")[0]["is_error"], true);
    assert_eq!(turn.answer(), "There is no such tool.");
}

#[tokio::test]
async fn subagents_get_their_own_prompts() {
    let Some(Setup { mut claude, api, directory: _directory }) = setup() else { return };

    let turn = claude.turn("subagent bash echo from below").await;
    assert!(turn.answer().contains("The command printed: from below"), "{}", turn.answer());
    assert_eq!(turn.system("task_started"), 1);
    assert!(turn.lines("assistant").any(|line| !line["parent_tool_use_id"].is_null()), "no line of the subagent");
    assert!(api.requests().iter().any(|request| request.prompt() == Some("bash echo from below")));

    let turn = claude.turn("two-subagents").await;
    assert!(turn.answer().contains("The command printed: one") && turn.answer().contains("two"), "{}", turn.answer());
    assert_eq!(turn.system("task_started"), 2);
}

#[tokio::test]
async fn an_api_that_stumbles_is_asked_again() {
    let Some(Setup { mut claude, api: _api, directory: _directory }) = setup() else { return };

    let turn = claude.turn("overloaded").await;
    assert_eq!(turn.answer(), "No longer overloaded.");
    assert_eq!(turn.system("api_retry"), 2);

    for prompt in ["break", "sse-error"] {
        let turn = claude.turn(prompt).await;
        assert_eq!(turn.answer(), "The second try is whole.", "{prompt}");
        let abandoned = turn.lines("stream_event").any(|line| line["abandoned_blocks"].is_object());
        assert!(abandoned, "{prompt}: no block was abandoned");
    }
}

#[tokio::test]
async fn an_api_that_refuses_ends_the_turn_with_an_error() {
    let Some(Setup { mut claude, api: _api, directory: _directory }) = setup() else { return };

    let turn = claude.turn("bad-request").await;
    assert_eq!(turn.result()["is_error"], true);
    assert!(turn.answer().contains("the scripted request is invalid"), "{}", turn.answer());

    let turn = claude.turn("unauthorized").await;
    assert_eq!(turn.result()["is_error"], true);
    assert_eq!(turn.result()["api_error_status"], 401);

    let turn = claude.turn("text still here").await;
    assert_eq!(turn.answer(), "still here");
}

#[tokio::test]
async fn a_slow_and_a_held_answer_can_be_interrupted() {
    let Some(Setup { mut claude, api, directory: _directory }) = setup() else { return };
    let interrupt = json!({"type": "control_request", "request_id": "r1", "request": {"subtype": "interrupt"}});

    for prompt in ["slow 1000", "hold first words"] {
        claude.say(prompt).await;
        while claude.line().await["event"]["delta"]["type"] != "text_delta" {}
        claude.write(&interrupt).await;
        let turn = claude.finish().await;
        assert_eq!(turn.result()["terminal_reason"], "aborted_streaming", "{prompt}");
    }

    api.release();
    let turn = claude.turn("hold more").await;
    assert_eq!(turn.answer(), "more (released)");
}

#[tokio::test]
async fn a_resumed_conversation_carries_its_first_turn() {
    let Some(program) = agent_host_test_programs::claude() else { return };
    let api = ModelApi::start(Queue::new([Reply::text("queued")])).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let session = "0b1e6c1e-5a5c-4d67-9d4c-0b9a3c6d2f10";

    let mut first = Claude::start(&program, &api, directory.path(), &["--session-id", session]);
    assert_eq!(first.turn("text one").await.answer(), "queued");
    drop(first);

    let mut second = Claude::start(&program, &api, directory.path(), &["--resume", session]);
    assert_eq!(second.turn("history").await.answer(), "text one\nhistory");
}
