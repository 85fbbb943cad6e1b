//! What hooks decide, do and are told.

use std::sync::Arc;
use std::time::Duration;

use agent_host_session::block::{Block, SystemSubtype};
use agent_host_session::event::{Event, TurnOutcome};
use agent_host_session::id::{MessageId, SessionId};
use agent_host_session::log::{Published, Subscription};
use agent_host_session::manager::{Create, Error, Settings, Subscribed};
use agent_host_session::message::Content;
use agent_host_session::metadata::HOOKS_BYTES;
use agent_host_session::ports::hooks::Verdict;
use agent_host_session::record::{Options, StreamName};
use fake_ports::World;
use fake_ports::hooks::Keep;
use futures_util::FutureExt as _;
use serde_json::{Map, Value, json};

use crate::support::{create, id, idle_after, idle_with, say, say_as, settings, texts, until, world};

fn deny<T>(reason: &str) -> Verdict<T> {
    Verdict::Deny { hook: "guard".to_owned(), reason: reason.to_owned() }
}

fn text(text: &str) -> Content {
    Content::Text(text.to_owned())
}

fn object(json: Value) -> Map<String, Value> {
    json.as_object().unwrap().clone()
}

fn model(name: &str) -> Options {
    object(json!({"model": name}))
}

async fn follow(world: &World) -> Subscription {
    match world.manager.subscribe(&id(), None).await.unwrap() {
        Subscribed::Snapshot { subscription, .. } | Subscribed::Continued(subscription) => subscription,
    }
}

fn read_now(subscription: &mut Subscription) -> Vec<Arc<Published>> {
    subscription.next().now_or_never().map(Result::unwrap).unwrap_or_default()
}

#[tokio::test(start_paused = true)]
async fn a_session_that_a_hook_denies_is_not_created() {
    let world = World::new(settings()).await;
    world.hooks.on_session(|draft| if draft.name.is_none() { deny("it needs a name") } else { Verdict::Allow });
    let denied = world.manager.create(create()).await.unwrap_err();
    assert!(matches!(&denied, Error::Denied { hook, reason } if hook == "guard" && reason == "it needs a name"));
    assert_eq!(denied.to_string(), r#"the hook "guard" denied it: it needs a name"#);
    assert!(matches!(world.manager.get(&id()).await, Err(Error::SessionNotFound(_))));
    let named = Create { name: Some("n".to_owned()), ..create() };
    assert!(world.manager.create(named.clone()).await.unwrap().is_new);
    assert!(!world.manager.create(named).await.unwrap().is_new);
    assert_eq!(world.hooks.asked().len(), 2, "a session that is there was decided on before");
}

#[tokio::test(start_paused = true)]
async fn a_hook_replaces_the_options_of_a_session_once() {
    let world = World::new(settings()).await;
    world.hooks.on_session(|_| Verdict::Replace(model("small")));
    let request = Create { options: model("large"), ..create() };
    assert_eq!(world.manager.create(request.clone()).await.unwrap().record.options, model("small"));
    assert!(!world.manager.create(request).await.unwrap().is_new, "the client repeats what it asked for");
    let other = Create { name: Some("other".to_owned()), ..create() };
    assert!(matches!(world.manager.create(other).await, Err(Error::SessionConflict(_))));

    world.hooks.on_session(|_| Verdict::Replace(object(json!({"nonsense": 1}))));
    let new = Create { id: Some(SessionId::new("new").unwrap()), ..create() };
    assert!(matches!(world.manager.create(new).await, Err(Error::Invalid(_))), "what a hook gives is checked");
    assert!(matches!(world.manager.get(&SessionId::new("new").unwrap()).await, Err(Error::SessionNotFound(_))));
}

#[tokio::test(start_paused = true)]
async fn a_message_that_a_hook_denies_leaves_no_trace_but_an_event() {
    let world = world().await;
    say(&world.manager, "before").await;
    let before = idle_after(&world.manager, 1).await;
    let stored = world.store.stream(&id(), &StreamName::Events);
    let mut subscription = follow(&world).await;

    world.hooks.on_message(|message| if message.content.text().contains("rm") { deny("no rm") } else { Verdict::Allow });
    let denied = say_as(&world.manager, "m", "rm everything").await;
    assert!(matches!(denied, Err(Error::Denied { reason, .. }) if reason == "no rm"));
    let events = read_now(&mut subscription);
    assert_eq!(events.len(), 1);
    assert!(matches!(&events[0].event, Event::Failed { code, message } if code == "MESSAGE_DENIED" && message.contains("no rm")));
    assert_eq!(world.manager.get(&id()).await.unwrap().blocks, before.blocks);
    assert_eq!(world.store.stream(&id(), &StreamName::Events), stored);

    say_as(&world.manager, "m", "else").await.unwrap();
    let view = idle_after(&world.manager, 2).await;
    assert_eq!(texts(&view).last().unwrap(), "agent: else");
}

#[tokio::test(start_paused = true)]
async fn a_denial_is_told_to_who_watches_a_session_that_nothing_was_written_to_yet() {
    let world = world().await;
    let mut subscription = follow(&world).await;
    world.hooks.on_message(|_| deny("no"));
    assert!(say_as(&world.manager, "m", "hello").await.is_err());
    assert!(matches!(&read_now(&mut subscription)[0].event, Event::Failed { code, .. } if code == "MESSAGE_DENIED"));
}

#[tokio::test(start_paused = true)]
async fn a_replaced_message_is_known_again_by_what_was_sent() {
    let world = world().await;
    world.hooks.on_message(|message| Verdict::Replace(text(&message.content.text().replace("secret", "***"))));
    let (one, two) = tokio::join!(say_as(&world.manager, "m", "my secret"), say_as(&world.manager, "m", "my secret"));
    assert!(one.is_ok() && two.is_ok());
    let view = idle_after(&world.manager, 1).await;
    assert_eq!(texts(&view), ["user: my ***", "agent: my***"]);

    let asked = world.hooks.asked().len();
    for unloaded in [false, true] {
        if unloaded {
            world.manager.unload(&id()).await.unwrap();
        }
        say_as(&world.manager, "m", "my secret").await.unwrap();
        for other in ["my ***", "something else"] {
            assert!(matches!(say_as(&world.manager, "m", other).await, Err(Error::MessageConflict(_))), "{other}, unloaded: {unloaded}");
        }
    }
    assert_eq!(world.hooks.asked().len(), asked, "a message that was accepted is not decided on again");
    assert_eq!(world.manager.get(&id()).await.unwrap().blocks, view.blocks);
}

#[tokio::test(start_paused = true)]
async fn what_a_hook_puts_in_the_place_of_a_message_has_the_same_bounds() {
    let world = World::new(Settings { message_bytes: 100, ..settings() }).await;
    world.manager.create(create()).await.unwrap();
    world.hooks.on_message(|message| Verdict::Replace(text(&message.content.text().repeat(50))));
    assert!(matches!(say_as(&world.manager, "m", "large").await, Err(Error::TooLarge { .. })));
    world.hooks.on_message(|_| Verdict::Replace(text(" ")));
    assert!(matches!(say_as(&world.manager, "m", "empty").await, Err(Error::Invalid(_))));
    assert!(world.manager.get(&id()).await.unwrap().blocks.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_slow_decision_delays_its_message_and_nothing_else() {
    let world = world().await;
    say(&world.manager, "hang").await;
    until(&world.manager, |view| texts(view).last().is_some_and(|text| text == "agent: waiting")).await;
    world.hooks.on_message(|_| Verdict::Allow);
    world.hooks.hold(true);
    let manager = Arc::clone(&world.manager);
    let slow = tokio::spawn(async move { say_as(&manager, "slow", "hello").await });
    world.hooks.wait_asked(1).await;
    assert!(world.manager.interrupt(&id()).await.unwrap(), "the session goes on");
    idle_after(&world.manager, 1).await;
    assert!(!slow.is_finished());
    world.hooks.hold(false);
    slow.await.unwrap().unwrap();
    idle_after(&world.manager, 2).await;
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_sends_a_message_is_named_to_the_others() {
    let world = world().await;
    world.hooks.on_message(|_| Verdict::Allow);
    let session = id();
    let send = || world.manager.send_message_of_hook(&session, "webhook", MessageId::new("m").unwrap(), text("hello"));
    send().await.unwrap();
    send().await.unwrap();
    idle_after(&world.manager, 1).await;
    assert_eq!(world.hooks.asked(), ["m from webhook"]);
}

#[tokio::test(start_paused = true)]
async fn a_tool_is_used_denied_or_used_otherwise_as_hooks_decide() {
    let world = world().await;
    world.hooks.on_tool(|draft| match draft.tool.as_str() {
        "rm" => deny("no rm"),
        "echo" => Verdict::Replace(object(json!({"text": "quietly"}))),
        _ => Verdict::Allow,
    });
    for message in ["tool rm all", "tool echo loud", "tool ls here"] {
        say(&world.manager, message).await;
    }
    let view = idle_after(&world.manager, 3).await;
    let said: Vec<String> = texts(&view).into_iter().filter(|text| text.starts_with("agent")).collect();
    assert_eq!(said, ["agent: asking denied no rm", "agent: asking ran quietly", "agent: asking ran here"]);
    assert_eq!(world.hooks.asked(), ["rm", "echo", "ls"]);
}

#[tokio::test(start_paused = true)]
async fn whether_tools_are_asked_about_can_change_while_the_agent_runs() {
    let world = world().await;
    for turn in 1..=3 {
        say(&world.manager, "tool rm all").await;
        let view = idle_after(&world.manager, turn).await;
        let expected = if turn == 2 { "agent: asking denied no" } else { "agent: asking ran all" };
        assert_eq!(texts(&view).last().unwrap(), expected);
        if turn == 1 {
            world.hooks.on_tool(|_| deny("no"));
        } else {
            world.hooks.ignore_tools();
        }
    }
    assert_eq!(world.provider.started(), 1);
    assert_eq!(world.hooks.asked().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_cannot_begin_to_ask_is_started_anew_before_its_next_turn() {
    let world = World::new(settings()).await;
    world.manager.create(Create { options: object(json!({"stubborn": true})), ..create() }).await.unwrap();
    say(&world.manager, "tool rm all").await;
    idle_after(&world.manager, 1).await;
    world.hooks.on_tool(|_| deny("no"));
    // The clock goes on when nothing else does: then the agent has said that it cannot.
    tokio::time::sleep(Duration::from_secs(1)).await;
    say(&world.manager, "tool rm all").await;
    let view = idle_after(&world.manager, 2).await;
    assert_eq!(texts(&view).last().unwrap(), "agent: asking denied no");
    assert_eq!(world.provider.started(), 2);
}

#[tokio::test(start_paused = true)]
async fn while_a_tool_is_decided_on_the_agent_is_read_and_an_interrupt_withdraws_the_question() {
    let world = world().await;
    world.hooks.on_tool(|_| Verdict::Allow);
    world.hooks.hold(true);
    say(&world.manager, "tool rm all").await;
    until(&world.manager, |view| texts(view).last().is_some_and(|text| text == "agent: asking")).await;
    world.hooks.wait_asked(1).await;
    assert!(world.manager.interrupt(&id()).await.unwrap());
    let mut view = idle_after(&world.manager, 1).await;
    assert_eq!(texts(&view).last().unwrap(), "agent: asking");
    assert_eq!(world.hooks.withdrawn(), 1);
    world.hooks.hold(false);
    say(&world.manager, "tool rm all").await;
    view = idle_after(&world.manager, 2).await;
    assert_eq!(texts(&view).last().unwrap(), "agent: asking ran all");
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_unloaded_while_a_tool_is_decided_on_waits_for_nobody() {
    let world = world().await;
    world.hooks.on_tool(|_| Verdict::Allow);
    world.hooks.hold(true);
    say(&world.manager, "tool rm all").await;
    world.hooks.wait_asked(1).await;
    world.manager.unload(&id()).await.unwrap();
    assert_eq!((world.hooks.withdrawn(), world.provider.alive()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn what_hooks_keep_in_the_metadata_survives_and_is_bounded() {
    let world = world().await;
    let session = id();
    let set = |hook: &'static str, key: &'static str, value: Value| world.manager.set_metadata(&session, hook, key, value);
    set("guard", "spent", json!(5)).await.unwrap();
    set("guard", "gone", json!(true)).await.unwrap();
    set("audit", "seen", json!({"all": 1})).await.unwrap();
    set("guard", "gone", Value::Null).await.unwrap();
    let expected = json!({"audit": {"seen": {"all": 1}}, "guard": {"spent": 5}});
    let too_large = set("guard", "large", json!("x".repeat(HOOKS_BYTES))).await;
    assert!(matches!(too_large, Err(Error::TooLarge { .. })));
    assert!(set("guard", "", json!(1)).await.is_err());
    // It could be written into the record, and not be read again.
    let too_deep = (0..120).fold(json!(1), |inner, _| json!([inner]));
    assert!(matches!(set("guard", "deep", too_deep).await, Err(Error::Invalid(_))));
    for unloaded in [false, true] {
        if unloaded {
            world.manager.unload(&id()).await.unwrap();
        }
        let state = world.manager.state(&id()).await.unwrap();
        assert_eq!(serde_json::to_value(&state.metadata.hooks).unwrap(), expected);
        assert!(!state.is_running);
        assert_eq!(world.manager.get(&id()).await.unwrap().metadata.hooks, state.metadata.hooks);
    }
    set("audit", "seen", Value::Null).await.unwrap();
    assert!(!world.manager.state(&id()).await.unwrap().metadata.hooks.contains_key("audit"));
    let missing = world.manager.set_metadata(&SessionId::new("missing").unwrap(), "guard", "k", json!(1)).await;
    assert!(matches!(missing, Err(Error::SessionNotFound(_))));
}

#[tokio::test(start_paused = true)]
async fn the_bound_counts_what_is_still_being_written() {
    let world = world().await;
    let half = || json!("x".repeat(HOOKS_BYTES / 2 - 100));
    let session = id();
    let set = |hook| world.manager.set_metadata(&session, hook, "key", half());
    let results = tokio::join!(set("a"), set("b"), set("c"));
    let refused = [results.0, results.1, results.2].iter().filter(|result| result.is_err()).count();
    assert_eq!(refused, 1);
}

#[tokio::test(start_paused = true)]
async fn a_note_is_a_block_of_the_conversation_and_survives() {
    let world = world().await;
    say(&world.manager, "hang").await;
    until(&world.manager, |view| texts(view).last().is_some_and(|text| text == "agent: waiting")).await;
    world.manager.note(&id(), "guard", "The budget is spent.").await.unwrap();
    assert!(world.manager.state(&id()).await.unwrap().is_running);
    assert!(world.manager.note(&id(), "guard", " ").await.is_err());
    assert!(matches!(world.manager.note(&id(), "guard", &"x".repeat(100_000)).await, Err(Error::TooLarge { .. })));
    world.manager.interrupt(&id()).await.unwrap();
    let view = idle_with(&world.manager, 3).await;
    assert_eq!(texts(&view), ["user: hang", "agent: waiting", "system: The budget is spent."]);
    let Block::System(note) = view.blocks[2].as_ref() else { panic!("the note is a system block") };
    assert_eq!((note.subtype, note.metadata.clone()), (SystemSubtype::Hook, Some(json!({"hook": "guard"}))));
    world.manager.unload(&id()).await.unwrap();
    assert_eq!(world.manager.get(&id()).await.unwrap().blocks, view.blocks);
}

#[tokio::test(start_paused = true)]
async fn an_event_of_a_hook_reaches_subscribers_and_is_not_stored() {
    let world = world().await;
    let mut subscription = follow(&world).await;
    world.manager.emit(&id(), "guard", "warned", json!({"left": 1})).await.unwrap();
    let events = read_now(&mut subscription);
    assert_eq!(events[0].event.name(), "hook:guard:warned");
    assert_eq!(events[0].frame(&id()).data(), r#"{"sessionId":"s","data":{"left":1}}"#);
    let stored = world.store.stream(&id(), &StreamName::Events);
    assert!(!String::from_utf8_lossy(&stored).contains("warned"));
    for name in ["", "a b", "a\"b", &"x".repeat(129)] {
        assert!(world.manager.emit(&id(), "guard", name, Value::Null).await.is_err(), "{name:?} was accepted");
    }
    assert!(matches!(world.manager.emit(&id(), "guard", "n", json!("x".repeat(100_000))).await, Err(Error::TooLarge { .. })));
    let missing = world.manager.emit(&SessionId::new("missing").unwrap(), "guard", "n", Value::Null).await;
    assert!(matches!(missing, Err(Error::SessionNotFound(_))));
}

#[tokio::test(start_paused = true)]
async fn hooks_are_told_of_every_event_in_order() {
    let world = world().await;
    world.hooks.keep(Keep::AtOnce);
    let mut subscription = follow(&world).await;
    say(&world.manager, "one two").await;
    let view = idle_after(&world.manager, 1).await;
    let mut seen = Vec::new();
    while subscription.cursor() < view.sequence {
        seen.extend(subscription.next().await.unwrap().iter().map(|event| event.sequence));
    }
    let told: Vec<_> = world.hooks.events().iter().map(|event| event.sequence).collect();
    assert_eq!(told, seen);
}

#[tokio::test(start_paused = true)]
async fn nobody_sees_what_the_hooks_do_not_have() {
    let world = world().await;
    let mut subscription = follow(&world).await;
    world.hooks.keep(Keep::Later);
    world.manager.emit(&id(), "guard", "warned", Value::Null).await.unwrap();
    assert!(read_now(&mut subscription).is_empty());
    let session = id();
    let mut picture = Box::pin(world.manager.get(&session));
    let mut joined = Box::pin(world.manager.subscribe(&session, None));
    for _ in 0..10 {
        tokio::task::yield_now().await;
        assert!(picture.as_mut().now_or_never().is_none() && joined.as_mut().now_or_never().is_none());
    }
    assert!(world.manager.state(&session).await.is_ok(), "hooks need not wait for themselves");
    world.hooks.store(0);
    let (view, subscribed) = (picture.await.unwrap(), joined.await.unwrap());
    let last = read_now(&mut subscription)[0].sequence;
    assert!(view.sequence == last && matches!(subscribed, Subscribed::Snapshot { view, .. } if view.sequence == last));
}

#[tokio::test(start_paused = true)]
async fn a_session_goes_on_with_hooks_that_cannot_keep_events() {
    let world = world().await;
    world.hooks.keep(Keep::Never);
    say(&world.manager, "hello").await;
    let view = idle_after(&world.manager, 1).await;
    assert_eq!(texts(&view), ["user: hello", "agent: hello"]);
    let record = world.store.stream(&id(), &StreamName::Events);
    assert!(String::from_utf8_lossy(&record).contains(&serde_json::to_string(&TurnOutcome::Completed).unwrap()));
}
