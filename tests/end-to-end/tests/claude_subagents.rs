//! Subagents: conversations of their own, discovered and completed.

use agent_host_tests::{Scene, text_of};
use serde_json::json;

#[tokio::test]
async fn a_subagent_is_discovered_works_in_its_own_conversation_and_completes() {
    let Some(mut scene) = Scene::claude().await else { return };
    let blocks = scene.turn("subagent bash echo from below").await;

    let discovered = scene.stream.next_event("session:subagent:discovered").await;
    let id = discovered.data["subagent"]["id"].as_str().unwrap().to_owned();
    let completed = scene.stream.next_event("session:subagent:completed").await;
    assert_eq!((&completed.data["subagentId"], &completed.data["status"]), (&json!(id), &json!("completed")));

    assert_eq!(blocks.subagents(), [id.as_str()]);
    let below = blocks.of(&id);
    assert!(below.iter().any(|block| block["type"] == "tool_use" && block["toolName"] == "Bash"), "{below:?}");
    assert!(below.iter().any(|block| block["type"] == "tool_result" && text_of(block).contains("from below")), "{below:?}");
    let subagent = blocks.all("subagent");
    assert_eq!((&subagent[0]["subagentId"], &subagent[0]["status"]), (&json!(id), &json!("success")));
    assert!(blocks.answer().contains("from below"));

    assert_eq!(blocks, scene.stored().await);
    scene.restart().await;
    assert_eq!(blocks, scene.stored().await);
}

#[tokio::test]
async fn what_a_subagent_says_is_in_its_conversation() {
    let Some(mut scene) = Scene::claude().await else { return };
    let blocks = scene.turn("subagent text words from below").await;
    let below = blocks.of(blocks.subagents()[0]);
    assert!(below.iter().any(|block| block["type"] == "assistant_text" && block["content"] == "words from below"), "{below:?}");
}

#[tokio::test]
async fn two_subagents_at_once_do_not_mix() {
    let Some(mut scene) = Scene::claude().await else { return };
    let blocks = scene.turn("two-subagents").await;
    let ids = blocks.subagents();
    assert_eq!(ids.len(), 2);
    let with_tool = ids.iter().filter(|id| blocks.of(id).iter().any(|block| block["type"] == "tool_use")).count();
    assert_eq!(with_tool, 1, "{blocks:?}");
    assert_eq!(blocks, scene.stored().await);
}
