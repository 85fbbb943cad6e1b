//! Sessions out of transcripts that Claude Code left somewhere else.

use std::path::{Path, PathBuf};

use agent_host_tests::{ModelApi, Scenarios, Scene, Setup};

/// A file below the directory whose name ends like this.
fn find(directory: &Path, ending: &str) -> Option<PathBuf> {
    std::fs::read_dir(directory).ok()?.flatten().find_map(|entry| {
        let path = entry.path();
        if path.is_dir() && !path.is_symlink() { find(&path, ending) } else { path.to_string_lossy().ends_with(ending).then_some(path) }
    })
}

#[tokio::test]
async fn a_transcript_from_elsewhere_becomes_a_session_that_goes_on() {
    let Some(program) = agent_host_tests::claude() else { return };
    let Some(mut elsewhere) = Scene::claude().await else { return };
    let said = elsewhere.turn("text said elsewhere").await;
    let transcript = find(&elsewhere.host.data_directory().join("sandboxes"), ".jsonl").expect("Claude leaves a transcript");

    let api = ModelApi::start(Scenarios).unwrap();
    let mut host = Setup::new().with_claude(&program, &api).start().await;
    host.stop().await;
    let import = |session: &str| {
        let mut command = host.command();
        command.arg("--config").arg(host.write_config()).arg("import").arg(&transcript).args(["--session-id", session]);
        command.output().unwrap()
    };
    let output = import("moved");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "moved\n");
    let again = import("moved");
    assert!(!again.status.success(), "the id is taken");
    assert!(String::from_utf8_lossy(&again.stderr).contains("exists already"));

    host.start_again().await;
    let imported = host.blocks("moved").await;
    assert_eq!(imported.texts("user_message"), ["text said elsewhere"]);
    assert_eq!(imported.answer(), said.answer());
    let mut scene = Scene { session: "moved".to_owned(), stream: host.stream().await, host, api: Some(api) };
    scene.stream.join("moved").await;
    let blocks = scene.turn("history").await;
    assert!(blocks.answer().contains("said elsewhere"), "the model did not see the first turn: {}", blocks.answer());
}
