//! Components that do what none may do, in a host that serves: it costs themselves, and a session that streams meanwhile does not notice.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::fs;
use std::time::Instant;

use agent_host_tests::{DEADLINE, Scene, Setup, guest};
use serde_json::json;

/// Lets the session stream slowly until `misbehaviour` is over, and looks that it streamed all of it.
async fn meanwhile<T>(scene: &mut Scene, misbehaviour: impl AsyncFnOnce() -> T) -> T {
    scene.client().set_options(&scene.session, &json!({"delayMs": 20})).await.expect(200);
    let before = scene.stream.frames().len();
    let message = scene.client().say(&scene.session, vec!["word"; 100].join(" ")).await;
    scene.stream.next_event("session:block:delta").await;
    let done = misbehaviour().await;
    scene.client().health().await.expect(200);
    scene.stream.turn_end(&message).await;
    let sequences: Vec<u64> =
        scene.stream.frames()[before..].iter().filter(|frame| frame.is_of(&scene.session)).filter_map(|frame| frame.seq).collect();
    assert!(sequences.windows(2).all(|pair| pair[1] == pair[0] + 1), "an event is missing: {sequences:?}");
    assert_eq!(scene.streamed(), scene.stored().await);
    done
}

/// The obedient hook does what the messages of another session say.
fn judge(on_failure: &str) -> toml::Table {
    let component = guest("obedient");
    let text = format!(
        "name = 'judge'\ncomponent = '{}'\nconfig = {{ decides = 'messages', {on_failure} }}\ndecision_timeout = '1s'\n[limits]\ncall_timeout = '2s'\ncpu_timeout = '500ms'\n",
        component.display()
    );
    text.parse().unwrap()
}

#[tokio::test]
async fn a_hook_that_traps_hangs_or_talks_rubbish_costs_the_message_it_was_asked_about() {
    for (on_failure, denied) in [("deny-on-failure = 'yes'", true), ("", false)] {
        let setup = Setup::new().set("hooks", vec![toml::Value::Table(judge(on_failure))]);
        let mut scene = Scene::of(setup.start().await, "echo", None).await;
        let other = scene.client().new_session("echo").await;
        let client = scene.client();
        meanwhile(&mut scene, async || {
            for failure in ["trap", "sleep", "rubbish", "error"] {
                let began = Instant::now();
                let answer = client.message(&other, failure).await;
                assert!(began.elapsed() < DEADLINE);
                if denied {
                    let problem = answer.expect_error(403, "DENIED");
                    assert!(problem["detail"].as_str().unwrap().contains("failed to decide"), "{failure}: {problem}");
                } else {
                    answer.expect(202);
                }
            }
        })
        .await;
        let hook = scene.host.operator().hook("judge").await;
        assert_eq!(
            (&hook["failures"]["trap"], &hook["failures"]["timeout"], &hook["failures"]["answer"]),
            (&json!(1), &json!(1), &json!(1)),
            "{hook}"
        );
        client.message(&other, "deny this").await.expect_error(403, "DENIED");
        client.message(&other, "allow this").await.expect(202);
    }
}

#[tokio::test]
async fn an_adapter_that_misbehaves_does_not_take_over() {
    // They are built before anything streams.
    let [misbehaving, mistyped, newer, stranger] = ["misbehaving", "mistyped", "newer", "stranger"].map(guest);
    let mut scene = Scene::echo().await;
    let operator = scene.host.operator();
    meanwhile(&mut scene, async || {
        for (name, config, phase) in [
            (&misbehaving, json!({"fail": "yes"}), "open"),
            (&misbehaving, json!({}), "smoke-test"),
            (&mistyped, json!({}), "open"),
            (&newer, json!({}), "open"),
            (&stranger, json!({}), "open"),
        ] {
            let request = json!({"path": name, "config": config, "grants": {}});
            let problem = operator.swap_named(&request, "").await.expect_error(422, "COMPONENT_REFUSED");
            assert_eq!(problem["phase"], phase, "{name:?}: {problem}");
        }
        let whole = fs::read(&misbehaving).unwrap();
        for cut in [0, 4, 8, whole.len() / 3, whole.len() - 1] {
            let problem = operator.swap(whole[..cut].to_vec(), "").await;
            assert!(problem.status == 422 || problem.status == 400, "{cut}: {}", problem.body);
        }
    })
    .await;
    assert_eq!(operator.serving().await.0, "sql");
}

/// Machine code in the cache is not believed: it is compiled anew.
#[tokio::test]
async fn damaged_machine_code_is_compiled_anew() {
    let mut scene = Scene::echo().await;
    let blocks = scene.turn("before").await;
    scene.host.stop().await;
    let cache = scene.host.data_directory().join("cache/components");
    let mut damaged = 0;
    for entry in fs::read_dir(cache).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0xff;
        fs::write(&path, bytes).unwrap();
        damaged += 1;
    }
    assert!(damaged > 0, "nothing is cached");
    scene.host.start_again().await;
    assert_eq!(scene.stored().await, blocks);
    assert!(scene.host.log().contains("cannot be used; it is compiled anew"));
}
