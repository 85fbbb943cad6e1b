//! An older `claude` than the one that the driver was written for: npm installs it beside an older Node.

use agent_host_tests::Scene;

#[tokio::test]
async fn an_older_claude_answers_writes_files_has_subagents_and_resumes() {
    let Some(mut scene) = Scene::older_claude().await else { return };
    assert_eq!(scene.turn("text words of the first turn").await.answer(), "words of the first turn");

    scene.turn("write notes.txt from an older claude").await;
    let files = scene.with_files().await["workspaceFiles"].clone();
    assert_eq!((files[0]["path"].as_str(), files[0]["content"].as_str()), (Some("notes.txt"), Some("from an older claude")));

    let blocks = scene.turn("subagent text words from below").await;
    let subagents = blocks.subagents();
    let said = |id: &str| blocks.of(id).iter().any(|block| block["type"] == "assistant_text" && block["content"] == "words from below");
    assert!(subagents.len() == 1 && said(subagents[0]), "{blocks:?}");

    scene.restart().await;
    assert!(scene.turn("history").await.answer().contains("words of the first turn"));
}
