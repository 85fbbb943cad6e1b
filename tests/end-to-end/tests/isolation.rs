//! What an agent can reach of the machine it runs on.

#![expect(clippy::unwrap_used, reason = "tests report by panicking")]

use agent_host_tests::{ModelApi, Scenarios, Scene, Setup, claude, require};

async fn isolated() -> Option<Scene> {
    require("bwrap")?;
    let program = claude()?;
    let api = ModelApi::start(Scenarios).unwrap();
    let setup = Setup::new()
        .with_claude(&program, &api)
        .set("sandbox.local.isolation", "required")
        .with_variable("HOST_SECRET", "HOST-SECRET-MARK");
    Some(Scene::of(setup.start().await, "claude-agent-sdk", Some(api)).await)
}

#[tokio::test]
async fn an_agent_sees_its_own_tree_and_no_secret_of_the_host() {
    let Some(mut scene) = isolated().await else { return };
    std::fs::write(scene.host.beside("private.txt"), "PRIVATE-MARK").unwrap();
    let private = scene.host.beside("private.txt");
    let data = scene.host.data_directory();
    let blocks = scene.turn(format!("bash cat {} 2>&1; ls {} 2>&1; env; pwd", private.display(), data.display())).await;
    let answer = blocks.answer();
    assert!(answer.contains("/workspace"), "{answer}");
    for mark in ["PRIVATE-MARK", "HOST-SECRET-MARK"] {
        assert!(!answer.contains(mark), "the agent sees {mark}: {answer}");
    }
}

#[tokio::test]
async fn two_agents_have_homes_and_temporary_directories_of_their_own() {
    let Some(mut scene) = isolated().await else { return };
    scene.turn("bash touch $HOME/mine /tmp/mine mine; echo done").await;
    let (other, mut stream) = agent_host_tests::session_with(&scene.host, "default", "claude-agent-sdk").await;
    let message = scene.client().say(&other, "bash ls $HOME /tmp /workspace").await;
    stream.turn_end(&message).await;
    let answer = stream.fold(&other).blocks().answer();
    assert!(!answer.contains("mine"), "{answer}");
}
