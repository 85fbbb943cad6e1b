//! What the manager promises, whoever uses it.

use std::time::Duration;

use agent_host_session::event::{Event, SandboxStatus, TurnOutcome};
use agent_host_session::id::{Epoch, MessageId, ProfileId, Sequence, SessionId};
use agent_host_session::log::{Ended, Published, Subscription};
use agent_host_session::manager::{Create, Error, Settings, Subscribed};
use agent_host_session::message::Content;
use agent_host_session::ports::store::{self, Store as _};
use agent_host_session::record::{Options, SessionRecord, StreamName};
use agent_host_session::state::View;
use agent_host_session::time::Timestamp;
use fake_ports::World;

use crate::support::{WAIT, create, id, idle_after, idle_with, say, say_as, settings, texts, until, world};

#[tokio::test(start_paused = true)]
async fn messages_sent_at_once_run_in_one_sandbox_one_after_the_other() {
    let world = world().await;
    let sends = (0..20).map(|n| {
        let manager = &world.manager;
        async move { say_as(manager, &format!("m{n}"), &format!("word{n}")).await }
    });
    for sent in futures_util::future::join_all(sends).await {
        sent.unwrap();
    }
    let view = idle_after(&world.manager, 20).await;
    let expected: Vec<String> = (0..20).flat_map(|n| [format!("user: word{n}"), format!("agent: word{n}")]).collect();
    assert_eq!(texts(&view), expected);
    assert_eq!(world.provider.started(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_streamed_is_what_is_read_now_and_after_a_restart() {
    let world = world().await;
    let Subscribed::Snapshot { mut subscription, .. } = world.manager.subscribe(&id(), None).await.unwrap() else { unreachable!() };
    say(&world.manager, "one two three").await;
    let view = idle_after(&world.manager, 1).await;

    let mut streamed = Vec::new();
    while subscription.cursor() < view.sequence {
        for published in subscription.next().await.unwrap() {
            if let Event::BlockCompleted { block, .. } = &published.event {
                streamed.push(std::sync::Arc::clone(block));
            }
        }
    }
    assert_eq!(streamed, view.blocks);

    world.manager.shutdown().await;
    let restarted = World::over(world.store, settings());
    let reloaded = restarted.manager.get(&id()).await.unwrap();
    assert_eq!(reloaded.blocks, view.blocks);
    assert_eq!(reloaded.metadata, view.metadata);
    assert!(reloaded.sequence > view.sequence, "a number of the new epoch is above all of the old one");
}

#[tokio::test(start_paused = true)]
async fn numbers_have_no_gaps_and_a_client_that_comes_back_misses_nothing() {
    let world = world().await;
    say(&world.manager, "a b c d").await;
    let view = idle_after(&world.manager, 1).await;
    let first = Sequence::before(Epoch(2));
    let Subscribed::Continued(mut subscription) = world.manager.subscribe(&id(), Some(first)).await.unwrap() else {
        panic!("the log has everything since the first event")
    };
    let mut last = first;
    while last < view.sequence {
        for published in subscription.next().await.unwrap() {
            assert_eq!(published.sequence, last.next());
            last = published.sequence;
        }
    }
    let from_elsewhere = world.manager.subscribe(&id(), Some(Sequence::before(Epoch(1)))).await.unwrap();
    assert!(matches!(from_elsewhere, Subscribed::Snapshot { resync: true, .. }));
}

#[tokio::test(start_paused = true)]
async fn a_repeated_message_is_sent_once_and_its_id_cannot_mean_something_else() {
    let world = world().await;
    let send = |text| say_as(&world.manager, "mine", text);
    let (first, second) = tokio::join!(send("hello"), send("hello"));
    assert_eq!((first.unwrap().as_str(), second.unwrap().as_str()), ("mine", "mine"));
    idle_after(&world.manager, 1).await;
    send("hello").await.unwrap();
    assert!(matches!(send("other").await, Err(Error::MessageConflict(_))));
    world.manager.unload(&id()).await.unwrap();
    send("hello").await.unwrap();
    say(&world.manager, "next").await;
    let view = idle_after(&world.manager, 2).await;
    assert_eq!(texts(&view), ["user: hello", "agent: hello", "user: next", "agent: next"]);
}

#[tokio::test(start_paused = true)]
async fn an_interrupted_turn_ends_and_the_next_one_runs() {
    let world = world().await;
    say(&world.manager, "hang").await;
    say(&world.manager, "after").await;
    until(&world.manager, |view| texts(view).last().is_some_and(|text| text == "agent: waiting")).await;
    assert!(world.manager.interrupt(&id()).await.unwrap());
    let view = idle_after(&world.manager, 2).await;
    assert_eq!(texts(&view), ["user: hang", "agent: waiting", "user: after", "agent: after"]);
    assert!(!world.manager.interrupt(&id()).await.unwrap(), "nothing runs any more");
}

#[tokio::test(start_paused = true)]
async fn a_turn_is_interrupted_while_its_sandbox_is_still_being_made() {
    let world = world().await;
    world.provider.hang(true);
    say(&world.manager, "never").await;
    assert!(world.manager.interrupt(&id()).await.unwrap());
    let view = idle_with(&world.manager, 1).await;
    assert_eq!(texts(&view), ["user: never"]);
    assert_eq!(view.metadata.turns, None, "the agent never saw it");
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_dies_is_told_of_and_the_next_message_starts_it_anew() {
    let world = world().await;
    say(&world.manager, "die").await;
    let view =
        until(&world.manager, |view| view.metadata.turns == Some(1) && view.runtime.sandbox.as_ref().unwrap().restart_count == 1).await;
    assert_eq!(texts(&view), ["user: die", "agent: dying"]);
    let sandbox = view.runtime.sandbox.unwrap();
    assert_eq!(sandbox.status, SandboxStatus::Terminated);
    assert!(sandbox.status_message.unwrap().contains("exit status 3"));
    assert_eq!(world.provider.alive(), 0);
    say(&world.manager, "again").await;
    let view = idle_after(&world.manager, 2).await;
    assert_eq!(texts(&view).last().unwrap(), "agent: again");
    assert_eq!(world.provider.started(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_waits_when_the_agent_dies_has_its_turn_with_the_next_one() {
    let world = world().await;
    say(&world.manager, "die").await;
    say(&world.manager, "again").await;
    let view = idle_after(&world.manager, 2).await;
    assert_eq!(texts(&view), ["user: die", "agent: dying", "user: again", "agent: again"]);
    assert_eq!((world.provider.started(), world.provider.alive()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_sandbox_that_cannot_be_made_ends_the_turn_with_its_reason() {
    let world = world().await;
    world.provider.fail(true);
    say(&world.manager, "hello").await;
    let view = idle_with(&world.manager, 2).await;
    assert_eq!(texts(&view), ["user: hello", "error: SANDBOX_FAILED"]);
    world.provider.fail(false);
    say(&world.manager, "again").await;
    let view = idle_after(&world.manager, 1).await;
    assert_eq!(texts(&view).last().unwrap(), "agent: again");
}

#[tokio::test(start_paused = true)]
async fn a_sandbox_that_never_comes_up_is_given_up() {
    let world = world().await;
    world.provider.hang(true);
    say(&world.manager, "hello").await;
    let view = idle_with(&world.manager, 2).await;
    assert_eq!(texts(&view), ["user: hello", "error: SANDBOX_FAILED"]);
}

#[tokio::test(start_paused = true)]
async fn workspace_files_are_stored_told_and_laid_down_again() {
    let world = world().await;
    say(&world.manager, "write a/b.txt some text").await;
    let view = idle_after(&world.manager, 1).await;
    assert_eq!(view.files.len(), 1);
    assert_eq!(view.files[0].path.as_str(), "a/b.txt");
    assert_eq!(world.store.file(&id(), "a/b.txt").unwrap(), "some text", "a file is stored when its turn is over");
    say(&world.manager, "write gone.txt x").await;
    say(&world.manager, "remove gone.txt").await;
    let view = idle_after(&world.manager, 3).await;
    assert_eq!(view.files.len(), 1);
    world.manager.sync(&id()).await.unwrap();
    assert!(world.store.file(&id(), "gone.txt").is_none());

    world.manager.unload(&id()).await.unwrap();
    // The same content again is no change: the new sandbox has the file already.
    say(&world.manager, "write a/b.txt some text").await;
    let again = idle_after(&world.manager, 4).await;
    assert_eq!(again.files, view.files);
}

#[tokio::test(start_paused = true)]
async fn the_transcript_is_stored_at_the_end_of_each_turn_and_given_back_to_the_agent() {
    let world = world().await;
    say(&world.manager, "first").await;
    idle_after(&world.manager, 1).await;
    let stored = world.store.stream(&id(), &StreamName::TranscriptMain);
    assert_eq!(stored, b"first\n");
    world.manager.unload(&id()).await.unwrap();
    say(&world.manager, "history").await;
    let view = idle_after(&world.manager, 2).await;
    assert_eq!(texts(&view).last().unwrap(), &format!("agent: {}", stored.len()));
}

#[tokio::test(start_paused = true)]
async fn what_a_running_block_has_so_far_is_stored_at_each_sync() {
    let first = world().await;
    say(&first.manager, "hang").await;
    until(&first.manager, |view| texts(view).last().is_some_and(|text| text == "agent: waiting")).await;
    first.manager.sync(&id()).await.unwrap();
    // Read as after a kill.
    let second = World::over(std::sync::Arc::clone(&first.store), settings());
    assert_eq!(texts(&second.manager.get(&id()).await.unwrap()), ["user: hang", "agent: waiting"]);
}

#[tokio::test(start_paused = true)]
async fn storing_costs_what_is_new_not_what_there_is() {
    let world = world().await;
    let mut lengths = Vec::new();
    let mut writes = Vec::new();
    for turn in 1..=50 {
        say(&world.manager, "the same words each time").await;
        idle_after(&world.manager, turn).await;
        lengths.push(world.store.stream(&id(), &StreamName::Events).len());
        writes.push(world.store.writes());
    }
    let bytes: Vec<usize> = lengths.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(bytes.iter().max().unwrap() - bytes.iter().min().unwrap() < 100, "the record grows alike each turn: {bytes:?}");
    let writes: Vec<usize> = writes.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(writes.iter().all(|writes| *writes <= 8), "a turn takes a few writes: {writes:?}");
}

#[tokio::test(start_paused = true)]
async fn a_session_leaves_memory_when_idle_and_its_sandbox_ends() {
    let world = world().await;
    say(&world.manager, "hello").await;
    idle_after(&world.manager, 1).await;
    assert_eq!(world.provider.alive(), 1);
    let mut changes = world.manager.watch_list();
    tokio::time::timeout(WAIT, async {
        while world.manager.get(&id()).await.unwrap().runtime.is_loaded {
            changes.recv().await.unwrap();
        }
    })
    .await
    .unwrap();
    assert_eq!(world.provider.alive(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_watched_keeps_its_watchers_but_not_its_sandbox() {
    let world = world().await;
    let Subscribed::Snapshot { mut subscription, .. } = world.manager.subscribe(&id(), None).await.unwrap() else { unreachable!() };
    say(&world.manager, "hello").await;
    tokio::time::timeout(WAIT, async {
        loop {
            for published in subscription.next().await.unwrap() {
                if let Event::StatusChanged { runtime } = &published.event
                    && runtime.sandbox.as_ref().is_some_and(|sandbox| sandbox.status == SandboxStatus::Terminated)
                {
                    return;
                }
            }
        }
    })
    .await
    .unwrap();
    assert_eq!(world.provider.alive(), 0);
    assert!(world.manager.get(&id()).await.unwrap().runtime.is_loaded);
    say(&world.manager, "again").await;
    idle_after(&world.manager, 2).await;
}

#[tokio::test(start_paused = true)]
async fn a_write_that_the_store_cannot_take_is_not_acknowledged_and_not_lost() {
    let world = world().await;
    say(&world.manager, "before").await;
    idle_after(&world.manager, 1).await;
    world.store.fail_writes(true);
    let send = || say_as(&world.manager, "mine", "during");
    assert!(matches!(send().await, Err(Error::Store(store::Error::Unavailable(_)))));
    assert!(matches!(send().await, Err(Error::Store(store::Error::Unavailable(_)))));
    world.store.fail_writes(false);
    let view = idle_after(&world.manager, 2).await;
    assert_eq!(texts(&view), ["user: before", "agent: before", "user: during", "agent: during"]);
    send().await.unwrap();
    assert_eq!(idle_after(&world.manager, 2).await.blocks, view.blocks);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_lost_after_its_write_doubles_nothing() {
    let world = world().await;
    world.store.lose_answers(true);
    let sent = say_as(&world.manager, "mine", "once");
    let (sent, ()) = tokio::join!(sent, async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        world.store.lose_answers(false);
    });
    sent.unwrap();
    let view = idle_after(&world.manager, 1).await;
    assert_eq!(texts(&view), ["user: once", "agent: once"]);
    let record = String::from_utf8(world.store.stream(&id(), &StreamName::Events)).unwrap();
    assert_eq!(record.matches("message-accepted").count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_host_whose_session_was_taken_over_does_not_overwrite_its_successor() {
    let first = world().await;
    say(&first.manager, "one").await;
    idle_after(&first.manager, 1).await;
    let second = World::over(std::sync::Arc::clone(&first.store), settings());
    say(&second.manager, "two").await;
    let view = idle_after(&second.manager, 2).await;
    assert_eq!(texts(&view), ["user: one", "agent: one", "user: two", "agent: two"]);
    // The first one notices at its next write, and goes on from what is stored, under a later epoch.
    say(&first.manager, "three").await;
    let view = idle_after(&first.manager, 3).await;
    assert_eq!(texts(&view), ["user: one", "agent: one", "user: two", "agent: two", "user: three", "agent: three"]);
    assert_eq!(first.store.epoch(&id()), Some(Epoch(4)));
}

#[tokio::test(start_paused = true)]
async fn what_a_killed_host_left_unfinished_is_closed_and_what_it_accepted_is_run() {
    let first = world().await;
    say(&first.manager, "hang").await;
    say(&first.manager, "waiting").await;
    until(&first.manager, |view| texts(view).last().is_some_and(|text| text == "agent: waiting")).await;
    // Wait for the started block to be stored, then forget the host, as a kill does.
    first.manager.sync(&id()).await.unwrap();
    let store = std::sync::Arc::clone(&first.store);
    let second = World::over(store, settings());
    let view = idle_after(&second.manager, 1).await;
    let expected =
        ["user: hang", "agent: waiting", "system: the host stopped before this turn had ended", "user: waiting", "agent: waiting"];
    assert_eq!(texts(&view), expected);
}

#[tokio::test(start_paused = true)]
async fn shutdown_lets_a_turn_end_or_interrupts_it_and_stores_everything() {
    let world = world().await;
    say(&world.manager, "hang").await;
    until(&world.manager, |view| texts(view).last().is_some_and(|text| text == "agent: waiting")).await;
    let before = tokio::time::Instant::now();
    world.manager.shutdown().await;
    assert_eq!(before.elapsed(), settings().shutdown_grace, "the turn had its grace, and no more");
    assert_eq!(world.provider.alive(), 0);
    let refused = world.manager.send_message(&id(), None, Content::Text("late".into())).await;
    assert!(matches!(refused, Err(Error::ShuttingDown)));
    let restarted = World::over(world.store, settings());
    let view = restarted.manager.get(&id()).await.unwrap();
    assert_eq!(texts(&view), ["user: hang", "agent: waiting"]);
    assert_eq!(view.metadata.turns, Some(1));
}

#[tokio::test(start_paused = true)]
async fn shutdown_does_not_wait_for_ever_for_a_store_that_is_away() {
    let world = world().await;
    say(&world.manager, "hang").await;
    until(&world.manager, |view| texts(view).last().is_some_and(|text| text == "agent: waiting")).await;
    world.store.fail_writes(true);
    tokio::time::timeout(Duration::from_secs(60), world.manager.shutdown()).await.unwrap();
    assert_eq!(world.provider.alive(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_deleted_session_is_gone_with_its_sandbox_even_in_mid_turn() {
    let world = world().await;
    let Subscribed::Snapshot { mut subscription, .. } = world.manager.subscribe(&id(), None).await.unwrap() else { unreachable!() };
    say(&world.manager, "hang").await;
    until(&world.manager, |view| texts(view).last().is_some_and(|text| text == "agent: waiting")).await;
    world.manager.delete(&id()).await.unwrap();
    assert_eq!(world.provider.alive(), 0);
    assert!(matches!(world.manager.get(&id()).await, Err(Error::SessionNotFound(_))));
    assert!(matches!(world.manager.delete(&id()).await, Err(Error::SessionNotFound(_))));
    let ended = tokio::time::timeout(WAIT, async {
        loop {
            if let Err(ended) = subscription.next().await {
                return ended;
            }
        }
    });
    assert_eq!(ended.await.unwrap(), Ended::Unloaded);
}

#[tokio::test(start_paused = true)]
async fn a_deletion_that_the_store_refuses_leaves_the_session() {
    let world = world().await;
    say(&world.manager, "hello").await;
    let view = idle_after(&world.manager, 1).await;
    world.store.fail_writes(true);
    assert!(matches!(world.manager.delete(&id()).await, Err(Error::Store(_))));
    assert_eq!(world.provider.alive(), 0);
    world.store.fail_writes(false);
    assert_eq!(world.manager.get(&id()).await.unwrap().blocks, view.blocks);
    world.manager.delete(&id()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn options_are_merged_checked_stored_and_reach_the_agent() {
    let world = world().await;
    say(&world.manager, "hello").await;
    idle_after(&world.manager, 1).await;
    let patch = |json: &str| serde_json::from_str::<Options>(json).unwrap();
    world.manager.update_options(&id(), patch(r#"{"model": "large", "depth": {"a": 1}}"#)).await.unwrap();
    let options = world.manager.update_options(&id(), patch(r#"{"depth": {"b": 2}}"#)).await.unwrap();
    assert_eq!(serde_json::to_string(&options).unwrap(), r#"{"depth":{"a":1,"b":2},"model":"large"}"#);
    until(&world.manager, |view| view.metadata.model.as_deref() == Some("large")).await;
    let refused = world.manager.update_options(&id(), patch(r#"{"colour": "red"}"#)).await;
    assert!(matches!(refused, Err(Error::Invalid(reason)) if reason.contains("colour")));
    world.manager.update_options(&id(), patch(r#"{"model": null}"#)).await.unwrap();
    world.manager.unload(&id()).await.unwrap();
    let stored = world.store.load_session(&id()).await.unwrap().unwrap().record.options;
    assert_eq!(serde_json::to_string(&stored).unwrap(), r#"{"depth":{"a":1,"b":2}}"#);
}

#[tokio::test(start_paused = true)]
async fn bounds_are_kept_with_clear_errors() {
    let bounded = Settings { queue: 2, message_bytes: 100, options_bytes: 100, sessions: 1, ..settings() };
    let world = World::new(bounded).await;
    world.manager.create(create()).await.unwrap();
    let second = SessionId::new("second").unwrap();
    world.manager.create(Create { id: Some(second.clone()), ..create() }).await.unwrap();
    let long = world.manager.send_message(&id(), None, Content::Text("x".repeat(101))).await;
    assert!(matches!(long, Err(Error::TooLarge { size: 101, limit: 100, .. })));
    assert!(matches!(world.manager.send_message(&id(), None, Content::Text("  ".into())).await, Err(Error::Invalid(_))));
    let wide = serde_json::from_str(&format!(r#"{{"model": "{}"}}"#, "x".repeat(100))).unwrap();
    assert!(matches!(world.manager.update_options(&id(), wide).await, Err(Error::TooLarge { .. })));
    say(&world.manager, "hang").await;
    until(&world.manager, |view| texts(view).last().is_some_and(|text| text == "agent: waiting")).await;
    say(&world.manager, "one").await;
    say(&world.manager, "two").await;
    assert!(matches!(world.manager.send_message(&id(), None, Content::Text("three".into())).await, Err(Error::QueueFull(2))));
    assert!(matches!(world.manager.send_message(&second, None, Content::Text("x".into())).await, Err(Error::TooManySessions(1))));
}

#[tokio::test(start_paused = true)]
async fn creating_is_idempotent_and_checked() {
    let world = world().await;
    let again = world.manager.create(create()).await.unwrap();
    assert!(!again.is_new);
    let other = Create { name: Some("other".into()), ..create() };
    assert!(matches!(world.manager.create(other).await, Err(Error::SessionConflict(_))));
    let unknown = Create { id: None, profile: ProfileId::new("nobody").unwrap(), ..create() };
    assert!(matches!(world.manager.create(unknown).await, Err(Error::ProfileNotFound(_))));
    let unknown = Create { id: None, architecture: "abacus".into(), ..create() };
    assert!(matches!(world.manager.create(unknown).await, Err(Error::UnknownArchitecture { .. })));
    assert_eq!(world.manager.list(None, 10).await.unwrap().sessions.len(), 1, "what was refused left nothing");
}

#[tokio::test(start_paused = true)]
async fn listing_is_paged_and_stable_while_sessions_are_added() {
    let world = World::new(settings()).await;
    let add = |n: usize| world.manager.create(Create { id: Some(SessionId::new(format!("s{n:03}")).unwrap()), ..create() });
    for n in 0..25 {
        add(n).await.unwrap();
    }
    let (mut cursor, mut seen) = (None, Vec::new());
    for added in 100.. {
        let page = world.manager.list(cursor.as_deref(), 10).await.unwrap();
        seen.extend(page.sessions.iter().map(|listed| listed.record.id.to_string()));
        add(added).await.unwrap();
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    let expected: Vec<String> = (0..25).rev().map(|n| format!("s{n:03}")).collect();
    assert_eq!(seen, expected);
}

#[tokio::test(start_paused = true)]
async fn a_turn_ends_with_its_usage_summed_over_restarts() {
    let world = world().await;
    for turn in 1..=3 {
        say(&world.manager, "x").await;
        idle_after(&world.manager, turn).await;
        world.manager.unload(&id()).await.unwrap();
    }
    let metadata = world.manager.get(&id()).await.unwrap().metadata;
    assert_eq!(metadata.usage.unwrap().output_tokens, 6);
    assert_eq!(metadata.cost_usd, Some(1.5));
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_was_interrupted_says_so_in_the_record() {
    let world = world().await;
    say(&world.manager, "hang").await;
    until(&world.manager, |view| texts(view).last().is_some_and(|text| text == "agent: waiting")).await;
    world.manager.interrupt(&id()).await.unwrap();
    idle_after(&world.manager, 1).await;
    let record = String::from_utf8(world.store.stream(&id(), &StreamName::Events)).unwrap();
    let ends: Vec<Event> = record
        .lines()
        .map(|line| serde_json::from_str::<agent_host_session::event::RecordLine>(line).unwrap().event)
        .filter(|event| matches!(event, Event::TurnEnded { .. }))
        .collect();
    assert!(matches!(ends.as_slice(), [Event::TurnEnded { outcome: TurnOutcome::Interrupted, .. }]), "{ends:?}");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_watches_an_old_session_misses_nothing_across_a_restart() {
    let first = world().await;
    let Subscribed::Snapshot { view, subscription, .. } = first.manager.subscribe(&id(), None).await.unwrap() else { unreachable!() };
    let (seen, ()) = tokio::join!(follow(subscription), first.manager.shutdown());
    let last = seen.last().map_or(view.sequence, |published| published.sequence);

    let second = World::over(std::sync::Arc::clone(&first.store), settings());
    let message = say(&second.manager, "after").await;
    let Subscribed::Continued(subscription) = second.manager.subscribe(&id(), Some(last)).await.unwrap() else {
        panic!("nothing has happened to the session before, so that all can be told")
    };
    let leaves = async {
        idle_after(&second.manager, 1).await;
        second.manager.unload(&id()).await.unwrap();
    };
    let (seen, ()) = tokio::join!(follow(subscription), leaves);
    let begins = |published: &Published| match &published.event {
        Event::BlockStarted { block, .. } => block.id().as_str() == message.as_str(),
        _ => false,
    };
    assert!(seen.iter().any(|published| begins(published)), "the client did not see the message's block begin");
    assert_eq!(seen[0].sequence, last.next());
}

/// All that comes until the session leaves memory.
async fn follow(mut subscription: Subscription) -> Vec<std::sync::Arc<Published>> {
    let mut seen = Vec::new();
    while let Ok(events) = subscription.next().await {
        seen.extend(events);
    }
    seen
}

#[tokio::test(start_paused = true)]
async fn a_message_that_comes_while_an_idle_sandbox_is_ended_is_answered() {
    let world = world().await;
    world.provider.linger(Duration::from_secs(2));
    let Subscribed::Snapshot { mut subscription, .. } = world.manager.subscribe(&id(), None).await.unwrap() else { unreachable!() };
    say(&world.manager, "one").await;
    idle_after(&world.manager, 1).await;
    // The sandbox has been told to end, and takes two seconds for it.
    tokio::time::sleep(settings().idle_timeout + Duration::from_secs(1)).await;
    assert_eq!(world.provider.alive(), 1);
    say(&world.manager, "two").await;
    let view = idle_after(&world.manager, 2).await;
    assert_eq!(texts(&view), ["user: one", "agent: one", "user: two", "agent: two"]);
    assert_eq!(world.provider.started(), 2);
    while let Ok(events) = tokio::time::timeout(Duration::from_millis(1), subscription.next()).await {
        let failed = events.unwrap().iter().any(|published| matches!(published.event, Event::Failed { .. }));
        assert!(!failed, "ending an idle sandbox is no failure");
    }
}

#[tokio::test(start_paused = true)]
async fn a_deleted_session_cannot_be_loaded_by_who_comes_at_the_same_time() {
    for _ in 0..50 {
        let world = world().await;
        let session = id();
        let (deleted, joined) = tokio::join!(world.manager.delete(&session), world.manager.subscribe(&session, None));
        deleted.unwrap();
        drop(joined);
        assert!(matches!(world.manager.get(&session).await, Err(Error::SessionNotFound(_))));
    }
}

#[tokio::test(start_paused = true)]
async fn options_that_change_while_the_sandbox_starts_reach_the_agent() {
    let world = world().await;
    say(&world.manager, "hello").await;
    let patch = serde_json::from_str::<Options>(r#"{"model": "late"}"#).unwrap();
    world.manager.update_options(&id(), patch).await.unwrap();
    until(&world.manager, |view| view.metadata.turns == Some(1)).await;
    let model = until(&world.manager, |view| view.metadata.model.is_some()).await.metadata.model;
    assert_eq!(model.as_deref(), Some("late"));
}

#[tokio::test(start_paused = true)]
async fn a_message_cannot_take_the_place_of_another_block() {
    let world = world().await;
    say(&world.manager, "hello").await;
    let view = idle_after(&world.manager, 1).await;
    let refused = say_as(&world.manager, view.blocks[1].id().as_str(), "gone").await;
    assert!(matches!(refused, Err(Error::MessageConflict(_))));
    assert_eq!(world.manager.get(&id()).await.unwrap().blocks, view.blocks);
}

#[tokio::test(start_paused = true)]
async fn shutdown_ends_a_session_that_was_being_unloaded_while_the_store_is_away() {
    let world = world().await;
    say(&world.manager, "hang").await;
    until(&world.manager, |view| texts(view).last().is_some_and(|text| text == "agent: waiting")).await;
    let unload = async {
        let result = world.manager.unload(&id()).await;
        assert!(result.is_err(), "nothing may be acknowledged that is not stored");
    };
    let shutdown = async {
        world.store.fail_writes(true);
        tokio::time::sleep(Duration::from_secs(1)).await;
        world.manager.shutdown().await;
    };
    tokio::time::timeout(Duration::from_secs(60), async { tokio::join!(unload, shutdown) }).await.unwrap();
    assert_eq!(world.provider.alive(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_session_from_elsewhere_is_read_goes_on_and_is_refused_whole_if_it_cannot_be_read() {
    let world = World::new(settings()).await;
    let transcripts = |text: &'static str| [(StreamName::TranscriptMain, bytes::Bytes::from(text))].into();
    let refused = world.manager.import(create(), &transcripts("an x")).await;
    assert!(matches!(refused, Err(Error::Invalid(_))));
    assert!(matches!(world.manager.get(&id()).await, Err(Error::SessionNotFound(_))), "what was refused left nothing");

    world.manager.import(create(), &transcripts("before")).await.unwrap();
    assert!(matches!(world.manager.import(create(), &transcripts("again")).await, Err(Error::SessionConflict(_))));
    assert_eq!(texts(&world.manager.get(&id()).await.unwrap()), ["agent: before"]);
    say(&world.manager, "history").await;
    let view = idle_after(&world.manager, 1).await;
    assert_eq!(texts(&view), ["agent: before", "user: history", "agent: 6"]);
}

#[tokio::test(start_paused = true)]
async fn a_session_whose_creation_got_no_answer_is_not_taken_for_anothers() {
    let world = World::new(settings()).await;
    let record = World::new(settings()).await.manager.create(create()).await.unwrap().record;
    let transcripts = [(StreamName::TranscriptMain, bytes::Bytes::from("before"))].into();
    // What the store did at the first try, before the second one found it there.
    world.store.create_session(Epoch::FIRST, &record).await.unwrap();
    world.manager.import(create(), &transcripts).await.unwrap();
    assert_eq!(texts(&world.manager.get(&id()).await.unwrap()), ["agent: before"]);

    let taken = World::new(settings()).await;
    let older = SessionRecord { created_at: Timestamp::from_millis(0), ..record };
    taken.store.create_session(Epoch::FIRST, &older).await.unwrap();
    assert!(matches!(taken.manager.import(create(), &transcripts).await, Err(Error::SessionConflict(_))), "it is another one");
}

#[tokio::test(start_paused = true)]
async fn a_turn_whose_end_could_not_be_stored_in_time_is_looked_after_by_the_next_process() {
    let first = world().await;
    say(&first.manager, "hang").await;
    until(&first.manager, |view| texts(view).last().is_some_and(|text| text == "agent: waiting")).await;
    first.store.fail_writes(true);
    first.manager.shutdown().await;
    first.store.fail_writes(false);
    let second = World::after(first.store, first.agenda, settings());
    second.manager.take_up();
    tokio::time::sleep(Duration::from_secs(10)).await;
    let view = second.manager.get(&id()).await.unwrap();
    assert_eq!(texts(&view).last().unwrap(), "system: the host stopped before this turn had ended");
}

#[tokio::test(start_paused = true)]
async fn whoever_watches_a_session_is_told_what_became_of_a_turn_that_another_host_did_not_end() {
    let first = world().await;
    say(&first.manager, "hang").await;
    until(&first.manager, |view| texts(view).last().is_some_and(|text| text == "agent: waiting")).await;
    first.manager.sync(&id()).await.unwrap();
    // The first one is never heard of again, and the second one has not its agenda.
    let second = World::over(first.store, settings());
    let view = until(&second.manager, |view| texts(view).len() == 3).await;
    assert_eq!(texts(&view), ["user: hang", "agent: waiting", "system: the host stopped before this turn had ended"]);
}

#[tokio::test(start_paused = true)]
async fn an_agent_gets_a_message_only_when_it_is_stored_that_its_turn_has_begun() {
    let world = world().await;
    say(&world.manager, "one").await;
    idle_after(&world.manager, 1).await;
    // The message is stored, and from then on nothing is.
    world.store.fail_writes_after(1);
    say(&world.manager, "two").await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    let view = world.manager.get(&id()).await.unwrap();
    assert_eq!(texts(&view), ["user: one", "agent: one", "user: two"], "the agent has a message of which that is not stored");
    world.store.fail_writes(false);
    assert_eq!(texts(&idle_after(&world.manager, 2).await), ["user: one", "agent: one", "user: two", "agent: two"]);
}

#[tokio::test(start_paused = true)]
async fn a_sandbox_is_removed_only_when_what_was_in_it_is_stored() {
    let world = world().await;
    say(&world.manager, "one").await;
    idle_after(&world.manager, 1).await;
    // The message and the beginning of its turn are stored, and then nothing is.
    world.store.fail_writes_after(2);
    say(&world.manager, "die").await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(world.provider.alive(), 1);
    world.store.fail_writes(false);
    let has_ended = |view: &View| view.runtime.sandbox.as_ref().is_some_and(|sandbox| sandbox.status == SandboxStatus::Terminated);
    until(&world.manager, has_ended).await;
    assert_eq!(world.provider.alive(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_turn_whose_sandbox_is_being_made_waits_for_a_store_that_is_away_for_a_while() {
    let world = world().await;
    world.manager.subscribe(&id(), None).await.map(drop).unwrap();
    world.store.fail_reads(true);
    say(&world.manager, "hello").await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    world.store.fail_reads(false);
    assert_eq!(texts(&idle_after(&world.manager, 1).await), ["user: hello", "agent: hello"]);
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_answered_in_time_is_heard_by_a_host_that_was_stopped() {
    // Which of two things that come at once is seen first is up to chance.
    for _ in 0..20 {
        let world = world().await;
        say(&world.manager, "hang 5").await;
        until(&world.manager, |view| texts(view).last().is_some_and(|text| text == "agent: waiting")).await;
        assert!(world.manager.interrupt(&id()).await.unwrap());
        tokio::time::sleep(Duration::from_secs(1)).await;
        // It wakes up: the agent has ended the turn in time, and that time is over.
        tokio::time::advance(Duration::from_secs(30)).await;
        assert_eq!(texts(&idle_after(&world.manager, 1).await), ["user: hang 5", "agent: waiting"]);
        assert_eq!(world.provider.alive(), 1, "the agent was ended");
    }
}

#[tokio::test(start_paused = true)]
async fn a_line_that_a_store_cut_off_before_its_end_counts_from_the_first_time_that_it_is_read() {
    let world = world().await;
    say(&world.manager, "one").await;
    idle_after(&world.manager, 1).await;
    world.manager.unload(&id()).await.unwrap();
    // The host was killed, and of its last write the store has all but the newline.
    let record = String::from_utf8(world.store.stream(&id(), &StreamName::Events)).unwrap();
    let accepted = record.lines().find(|line| line.contains("message-accepted")).unwrap();
    let known = serde_json::from_str::<serde_json::Value>(accepted).unwrap()["event"]["message"]["id"].as_str().unwrap().to_owned();
    let cut = accepted.replace(&known, "cut-off");
    let (epoch, end) = (world.store.epoch(&id()).unwrap(), record.len() as u64);
    world.store.append(epoch, &id(), &StreamName::Events, end, cut.into_bytes().into()).await.unwrap();

    // It waits for its turn, whoever asks.
    let again = MessageId::new("cut-off").unwrap();
    world.manager.send_message(&id(), Some(again), Content::Text("one".into())).await.unwrap();
    let view = idle_after(&world.manager, 2).await;
    assert_eq!(texts(&view), ["user: one", "agent: one", "user: one", "agent: one"]);
    world.manager.unload(&id()).await.unwrap();
    assert_eq!(texts(&world.manager.get(&id()).await.unwrap()), texts(&view));
    let record = String::from_utf8(world.store.stream(&id(), &StreamName::Events)).unwrap();
    assert_eq!(record.lines().filter(|line| line.contains("message-accepted") && line.contains("cut-off")).count(), 1, "{record}");
}
