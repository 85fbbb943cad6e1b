//! One turn at a time: messages queue, and none is lost or sent twice.

use agent_host_tests::{Scene, text_of};

#[tokio::test]
async fn twenty_messages_at_once_to_a_new_session_are_twenty_turns_in_one_sandbox() {
    let mut scene = Scene::echo().await;
    let client = scene.client();
    let tasks: Vec<_> = (0..20)
        .map(|number| {
            let (client, session) = (client.clone(), scene.session.clone());
            tokio::spawn(async move { (number, client.say(&session, format!("message {number} ends")).await) })
        })
        .collect();
    let mut messages = Vec::new();
    for task in tasks {
        messages.push(task.await.unwrap());
    }
    for (_, message) in &messages {
        scene.stream.turn_end(message).await;
    }

    let sandboxes = scene.stream.frames().iter().filter(|frame| frame.event == "session:status");
    let mut sandboxes: Vec<&str> = sandboxes.filter_map(|frame| frame.data["runtime"]["sandbox"]["sandboxId"].as_str()).collect();
    sandboxes.dedup();
    assert_eq!(sandboxes.len(), 1, "{sandboxes:?}");

    // Each answer follows its own question, before the next one's answer begins.
    let blocks = scene.stored().await;
    let answers: Vec<String> = blocks.texts("assistant_text");
    let turns = turns_in_order(&scene);
    assert_eq!((answers.len(), turns.len()), (20, 20));
    for (message, answer) in turns.iter().zip(&answers) {
        let question = blocks.main().iter().find(|block| block["id"] == **message).map(text_of).unwrap();
        assert!(answer.contains(&question), "{question:?} was answered by {answer:?}");
    }
    assert_eq!(scene.streamed(), blocks);
}

/// The messages in the order in which their turns ran.
fn turns_in_order(scene: &Scene) -> Vec<&str> {
    let statuses = scene.stream.frames().iter().filter(|frame| frame.event == "session:status");
    let mut turns: Vec<&str> = statuses.filter_map(|frame| frame.data.pointer("/runtime/runningMessageId")?.as_str()).collect();
    turns.dedup();
    turns
}

#[tokio::test]
async fn turns_run_in_the_order_in_which_messages_were_accepted() {
    let mut scene = Scene::echo().await;
    let client = scene.client();
    let mut messages = Vec::new();
    for number in 0..5 {
        messages.push(client.say(&scene.session, format!("message {number}")).await);
    }
    scene.stream.turn_end(&messages[4]).await;
    assert_eq!(turns_in_order(&scene), messages);
}

#[tokio::test]
async fn a_repeated_message_id_sends_nothing_twice() {
    let mut scene = Scene::echo().await;
    let client = scene.client();
    for _ in 0..3 {
        let accepted = client.message_with_id(&scene.session, "chosen", "only once").await.expect(202);
        assert_eq!(accepted["messageId"], "chosen");
    }
    scene.stream.turn_end("chosen").await;
    scene.restart().await;
    // The id is known after a restart, too.
    scene.client().message_with_id(&scene.session, "chosen", "only once").await.expect(202);

    let blocks = scene.turn("afterwards").await;
    assert_eq!(blocks.texts("user_message"), ["only once", "afterwards"]);
    assert_eq!(blocks.main()[0]["id"], "chosen", "the block of a message has another id than the message");
}

#[tokio::test]
async fn a_message_that_cannot_be_sent_changes_nothing() {
    let scene = Scene::echo().await;
    let client = scene.client();
    client.message(&scene.session, "  ").await.expect_error(422, "UNPROCESSABLE");
    client.message(&scene.session, 7).await.expect_error(400, "INVALID_REQUEST");
    client.message_with_id(&scene.session, "../x", "hello").await.expect_error(400, "INVALID_REQUEST");
    client.message("unknown", "hello").await.expect_error(404, "SESSION_NOT_FOUND");
    assert_eq!(scene.stored().await.types(), Vec::<&str>::new());
}
