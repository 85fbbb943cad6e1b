//! The real `claude`, turn by turn: every kind of block, and the blocks of GET equal to those streamed.

use agent_host_tests::{DEADLINE, Scene, text_of};
use serde_json::{Value, json};

#[tokio::test]
async fn texts_and_thoughts_stream_as_blocks() {
    let Some(mut scene) = Scene::claude().await else { return };

    let blocks = scene.turn("text hello ünï 💡 world").await;
    assert_eq!(blocks.answer(), "hello ünï 💡 world");
    let streamed: String = scene.stream.frames().iter().filter_map(|frame| frame.delta()).collect();
    assert_eq!(streamed, "hello ünï 💡 world");

    let blocks = scene.turn("think about nothing").await;
    assert_eq!(blocks.texts("thinking"), ["Let me think about it step by step."]);
    assert_eq!(blocks.answer(), "about nothing");
    assert_eq!(blocks, scene.stored().await);
}

#[tokio::test]
async fn tools_show_their_use_and_their_result() {
    let Some(mut scene) = Scene::claude().await else { return };

    let blocks = scene.turn("bash echo from the shell").await;
    let (uses, results) = (blocks.all("tool_use"), blocks.all("tool_result"));
    assert_eq!((uses.len(), results.len()), (1, 1));
    assert_eq!((&uses[0]["toolName"], &uses[0]["status"]), (&json!("Bash"), &json!("success")));
    assert_eq!(uses[0]["input"]["command"], "echo from the shell");
    assert_eq!((&results[0]["toolUseId"], &results[0]["isError"]), (&uses[0]["toolUseId"], &json!(false)));
    assert!(text_of(results[0]).contains("from the shell"));
    let started = scene.stream.frames().iter().find(|frame| frame.is_block("start", "tool_use")).expect("the use did not begin");
    assert_eq!(started.data["block"]["status"], "pending");

    let blocks = scene.turn("fail").await;
    let (failed, result) = (blocks.all("tool_use")[1], blocks.all("tool_result")[1]);
    assert_eq!((&failed["status"], &result["isError"]), (&json!("error"), &json!(true)));
    assert!(text_of(result).contains("out") && text_of(result).contains("err"), "{result}");

    let blocks = scene.turn("unknown-tool").await;
    assert_eq!(blocks.all("tool_use")[2]["status"], "error");
    assert_eq!(blocks.answer(), "There is no such tool.");
    assert_eq!(blocks, scene.stored().await);
}

#[tokio::test]
async fn a_conversation_goes_on_after_a_restart_and_shows_the_same_blocks() {
    let Some(mut scene) = Scene::claude().await else { return };
    scene.turn("think one").await;
    let before = scene.turn("bash echo two").await;
    assert_eq!(before, scene.stored().await);
    scene.restart().await;
    assert_eq!(before, scene.stored().await);

    let after = scene.turn("history").await;
    assert_eq!(after.answer(), "think one\nbash echo two\nhistory");
    assert_eq!(after.main()[..before.main().len()], *before.main());
    let request = scene.api().last_request().unwrap();
    assert!(request.conversation().contains("The command printed: two"), "the model does not see the first turns");
}

#[tokio::test]
async fn usage_cost_and_model_are_told_and_add_up() {
    let Some(mut scene) = Scene::claude().await else { return };
    scene.turn("text one").await;
    let first = scene.client().session(&scene.session).await.expect(200)["metadata"].clone();
    scene.turn("text two").await;
    let second = scene.client().session(&scene.session).await.expect(200)["metadata"].clone();
    let number =
        |metadata: &Value, path: &str| metadata.pointer(path).and_then(Value::as_f64).unwrap_or_else(|| panic!("no {path} in {metadata}"));

    for path in ["/usage/inputTokens", "/usage/outputTokens", "/costUSD"] {
        assert!(number(&first, path) > 0.0 && number(&second, path) > number(&first, path), "{path}: {first}, then {second}");
    }
    assert!(second["model"].as_str().is_some_and(|model| model.contains("claude")), "{second}");
    assert!(scene.stream.frames().iter().any(|frame| frame.event == "session:metadata:update"));
    scene.restart().await;
    assert_eq!(scene.client().session(&scene.session).await.expect(200)["metadata"], second);
}

#[tokio::test]
async fn options_reach_the_agent() {
    let Some(mut scene) = Scene::claude().await else { return };
    let client = scene.client();
    client.set_options(&scene.session, &json!({"model": "claude-haiku-4-5"})).await.expect(200);
    assert_eq!(scene.stream.next_event("session:options:update").await.data["options"]["model"], "claude-haiku-4-5");
    scene.turn("text one").await;
    assert_eq!(scene.api().last_request().unwrap().model(), "claude-haiku-4-5");

    client.set_options(&scene.session, &json!({"model": "claude-opus-4-6"})).await.expect(200);
    scene.turn("text two").await;
    assert_eq!(scene.api().last_request().unwrap().model(), "claude-opus-4-6", "the running agent did not take the change over");
    client.set_options(&scene.session, &json!({"model": 7})).await.expect_error(422, "UNPROCESSABLE");
    assert_eq!(client.session(&scene.session).await.expect(200)["sessionOptions"]["model"], "claude-opus-4-6");
}

#[tokio::test]
async fn an_image_reaches_the_model() {
    let Some(mut scene) = Scene::claude().await else { return };
    // One pixel.
    let png = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg==";
    let image = json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": png}});
    let blocks = scene.turn(json!([image, {"type": "text", "text": "text what is this"}])).await;
    assert_eq!(blocks.answer(), "what is this");
    assert_eq!(blocks.main()[0]["content"][0]["source"]["data"], png);
    let request = scene.api().wait_for(DEADLINE, |request| request.conversation().contains(r#""type":"image""#)).await;
    assert!(request.is_some(), "the model did not get the image");
}

#[tokio::test]
async fn an_interrupt_in_mid_stream_ends_the_turn_and_the_next_one_works() {
    let Some(mut scene) = Scene::claude().await else { return };
    let message = scene.client().say(&scene.session, "slow 1000").await;
    scene.stream.next("a delta", |frame| frame.delta().is_some()).await;
    scene.client().interrupt(&scene.session).await.expect(200);
    scene.stream.turn_end(&message).await;

    let blocks = scene.streamed();
    assert!(blocks.answer().starts_with("tick0 "), "what was said is gone: {blocks:?}");
    assert!(!blocks.answer().contains("tick999"));
    assert_eq!(blocks, scene.stored().await);
    assert_eq!(scene.turn("text next").await.answer(), "next");
    scene.client().interrupt(&scene.session).await.expect(200);
    assert_eq!(scene.turn("text after an idle interrupt").await.answer(), "after an idle interrupt");
}

#[tokio::test]
async fn an_interrupt_in_a_tool_ends_the_tool() {
    let Some(mut scene) = Scene::claude().await else { return };
    let message = scene.client().say(&scene.session, "bash tail -f /dev/null").await;
    let running = |frame: &agent_host_tests::Frame| frame.event == "session:block:update" && frame.data["updates"]["status"] == "running";
    scene.stream.next("a running tool", running).await;
    scene.client().interrupt(&scene.session).await.expect(200);
    scene.stream.turn_end(&message).await;
    let blocks = scene.streamed();
    assert_eq!(blocks.all("tool_use")[0]["status"], "error");
    assert_eq!(blocks, scene.stored().await);
    assert_eq!(scene.turn("text next").await.answer(), "next");
}
