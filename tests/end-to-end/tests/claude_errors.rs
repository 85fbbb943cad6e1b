//! What goes wrong between the agent and its model, and in the agent itself: the client is told, the turn ends, and the next one works.

#![expect(clippy::unwrap_used, reason = "tests report by panicking")]

use agent_host_tests::{Scene, Setup, StandIn};

#[tokio::test]
async fn a_refusal_of_the_api_is_an_error_block_and_the_end_of_the_turn() {
    let Some(mut scene) = Scene::claude().await else { return };
    for (number, prompt) in ["bad-request", "unauthorized"].into_iter().enumerate() {
        let blocks = scene.turn(prompt).await;
        assert_eq!(blocks.all("error").len(), number + 1, "{prompt}: {blocks:?}");
        assert_eq!(blocks, scene.stored().await);
    }
    assert_eq!(scene.turn("text still here").await.answer(), "still here");
}

#[tokio::test]
async fn a_stumbling_api_leaves_only_the_whole_answer() {
    let Some(mut scene) = Scene::claude().await else { return };
    assert_eq!(scene.turn("overloaded").await.answer(), "No longer overloaded.");
    for prompt in ["break", "sse-error"] {
        let before = scene.streamed().texts("assistant_text").len();
        let blocks = scene.turn(prompt).await;
        assert_eq!(blocks.texts("assistant_text")[before..], ["The second try is whole."], "{prompt}: an abandoned block stayed");
        assert_eq!(blocks, scene.stored().await);
    }
    assert!(scene.stream.frames().iter().any(|frame| frame.event == "session:block:removed"));
}

async fn stand_in(agent: &StandIn) -> Scene {
    stand_in_with(agent, Setup::new()).await
}

async fn stand_in_with(agent: &StandIn, setup: Setup) -> Scene {
    let directory = agent.path().parent().unwrap().to_string_lossy().into_owned();
    let setup = setup.with_agent(agent.path()).set("sandbox.local.readable", vec![directory]);
    Scene::of(setup.start().await, "claude-agent-sdk", None).await
}

#[tokio::test]
async fn an_agent_that_ends_without_a_result_ends_the_turn_with_an_error() {
    let agent = StandIn::agent("begin; say 'half an answer'; echo 'it hurts' >&2; exit 3");
    let mut scene = stand_in(&agent).await;
    let blocks = scene.turn("hello").await;
    assert!(!blocks.all("error").is_empty(), "{blocks:?}");
    assert!(blocks.texts("error").concat().contains('3'), "the error does not say how it ended: {blocks:?}");
    assert_eq!(blocks, scene.stored().await);
    // A new process answers the next message.
    assert!(scene.turn("again").await.texts("error").len() >= 2);
}

#[tokio::test]
async fn an_agent_that_cannot_be_started_is_told_to_the_client() {
    let setup = Setup::new().with_agent(std::path::Path::new("/no/such/agent"));
    let mut scene = Scene::of(setup.start().await, "claude-agent-sdk", None).await;
    let blocks = scene.turn("hello").await;
    let told = scene.stream.frames().iter().filter(|frame| frame.event == "error").map(|frame| frame.data["message"].to_string());
    let told = told.chain(blocks.texts("error")).collect::<Vec<_>>().join("\n");
    assert!(told.contains("/no/such/agent"), "nobody said what is missing: {told:?}");
    let runtime = scene.client().session(&scene.session).await.expect(200)["runtime"].clone();
    assert_ne!(runtime["sandbox"]["status"], "starting", "{runtime}");
}

#[tokio::test]
async fn unknown_and_broken_lines_of_the_agent_harm_nothing() {
    let noise = r#"line '{"type":"novelty","x":[1,2,3]}'; line 'not json'; line ''; line '{"type":'; line '[]'; printf '\377\376\n'"#;
    let agent = StandIn::agent(&format!("begin; {noise}; say \"answer $turn\"; {noise}; finish"));
    let mut scene = stand_in(&agent).await;
    assert_eq!(scene.turn("one").await.texts("assistant_text"), ["answer 1"]);
    let blocks = scene.turn("two").await;
    assert_eq!(blocks.texts("assistant_text"), ["answer 1", "answer 2"]);
    assert_eq!(blocks, scene.stored().await);
}

#[tokio::test]
async fn a_line_of_sixteen_megabytes_harms_nothing() {
    let agent = StandIn::agent(
        r#"begin; printf '{"type":"novelty","x":"'; head -c 16777216 /dev/zero | tr '\0' x; printf '"}\n'; say "answer $turn"; finish"#,
    );
    let mut scene = stand_in(&agent).await;
    let message = scene.client().say(&scene.session, "hello").await;
    // Others are served meanwhile.
    scene.client().health().await.expect(200);
    scene.stream.turn_end(&message).await;
    assert_eq!(scene.streamed().texts("assistant_text"), ["answer 1"]);
}

#[tokio::test]
async fn what_is_beyond_a_limit_is_told_and_counted_and_the_rest_goes_on() {
    let agent = StandIn::agent(
        r#"begin; printf '{"type":"novelty","x":"'; head -c 2097152 /dev/zero | tr '\0' x; printf '"}\n'; touch a b c d; say "answer $turn"; finish"#,
    );
    let mut scene = stand_in_with(&agent, Setup::new().set("limits.line", "1 MiB").set("limits.files", 2)).await;
    assert_eq!(scene.turn("hello").await.texts("assistant_text"), ["answer 1"]);
    scene.client().sync(&scene.session).await.expect(200);
    let errors = |code: &str| scene.stream.frames().iter().filter(|frame| frame.event == "error" && frame.data["code"] == code).count();
    assert_eq!((errors("LINE_TOO_LONG"), errors("TOO_MANY_FILES")), (1, 1));
    let metrics = scene.host.metrics().await;
    let left_out = |what: &str| metrics.sum("agent_host_left_out_total", &[("what", what)]);
    // A file may be looked at more than once.
    assert!(left_out("line") == 1.0 && left_out("file") >= 2.0, "{metrics:?}");
    let session = scene.client().session(&scene.session).await.expect(200);
    assert_eq!(session["workspaceFiles"].as_array().map(Vec::len), Some(2), "{session}");
}

#[tokio::test]
async fn a_character_that_is_cut_between_two_writes_stays_whole() {
    // Each byte of the character in a write of its own; the process in between makes sure of it.
    let cut = r#"printf '{"type":"stream_event","parent_tool_use_id":null,"event":{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a\360'; /bin/true; printf '\237'; /bin/true; printf '\222'; /bin/true; printf '\241z"}}}\n'"#;
    let agent = StandIn::agent(&format!("begin; open_text; {cut}; assistant 'a💡z'; close_text; finish"));
    let mut scene = stand_in(&agent).await;
    let blocks = scene.turn("hello").await;
    let streamed: String = scene.stream.frames().iter().filter_map(|frame| frame.delta()).collect();
    assert_eq!((streamed.as_str(), blocks.answer().as_str()), ("a💡z", "a💡z"));
}
