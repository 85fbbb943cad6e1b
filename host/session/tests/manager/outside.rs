//! Sessions whose agents run outside of the host.

use std::sync::Arc;
use std::time::Duration;

use agent_host_session::id::{Epoch, ProfileId, SessionId};
use agent_host_session::manager::{Error, Leases, ListChange, Manager, Settings};
use agent_host_session::message::Content;
use agent_host_session::origin::{self, Origin};
use agent_host_session::ports::hooks::Verdict;
use agent_host_session::ports::store::{Owner, Store as _};
use agent_host_session::record::StreamName;
use fake_ports::World;
use futures_util::FutureExt as _;

use crate::support::{settings, texts};

fn origin(session: &str) -> Origin {
    Origin::new("project", session).unwrap()
}

fn host_id(session: &str) -> SessionId {
    origin(session).host_id().unwrap()
}

fn subagent(id: &str) -> StreamName {
    origin::stream(Some(&format!("subagents/agent-{id}"))).unwrap()
}

async fn append_to(manager: &Manager, session: &str, stream: &StreamName, offset: u64, data: &str) -> Result<u64, Error> {
    let agent = (ProfileId::new("default").unwrap(), "fake".to_owned());
    manager.append_outside(&origin(session), stream, offset, data.to_owned().into(), agent).await
}

async fn append(manager: &Manager, offset: u64, data: &str) -> Result<u64, Error> {
    append_to(manager, "s", &StreamName::TranscriptMain, offset, data).await
}

async fn read(manager: &Manager, stream: &StreamName) -> Result<String, Error> {
    let transcript = manager.transcript(&origin("s"), stream).await?;
    let content = manager.read_transcript(&transcript, 0).await?;
    Ok(String::from_utf8(content.to_vec()).unwrap())
}

#[tokio::test(start_paused = true)]
async fn an_append_continues_the_transcript_or_says_how_long_it_is() {
    let world = World::new(settings()).await;
    let manager = &world.manager;
    assert!(matches!(append(manager, 3, "1\n").await, Err(Error::OffsetMismatch(0))), "nothing begins in the middle");
    assert!(matches!(manager.outside(&origin("s")).await, Err(Error::SessionNotFound(_))), "and nothing was created");
    assert_eq!(append(manager, 0, "1\n").await.unwrap(), 2);
    assert_eq!(append(manager, 2, "2\n").await.unwrap(), 4);
    for (offset, data) in [(0, "1\n"), (2, "2\n"), (0, "1\n2\n")] {
        assert_eq!(append(manager, offset, data).await.unwrap(), 4, "what is there already is a success");
    }
    for (offset, data) in [(5, "3\n"), (2, "x\n"), (3, "3\n")] {
        assert!(matches!(append(manager, offset, data).await, Err(Error::OffsetMismatch(4))), "{offset} {data:?}");
    }
    assert_eq!(read(manager, &StreamName::TranscriptMain).await.unwrap(), "1\n2\n");
    assert_eq!(world.store.epoch(&host_id("s")), Some(Epoch::FIRST), "no host has the session");
}

#[tokio::test(start_paused = true)]
async fn each_append_is_seen_in_the_list_of_its_project() {
    let world = World::new(settings()).await;
    let manager = &world.manager;
    let mut changes = manager.watch_list();
    for session in ["a", "b"] {
        append_to(manager, session, &StreamName::TranscriptMain, 0, "1\n").await.unwrap();
    }
    assert!(matches!(changes.try_recv().unwrap(), ListChange::Updated(listed) if listed.record.id == host_id("a")));
    let times = async || {
        let listing = manager.list_outside("project", None).await.unwrap();
        assert_eq!(listing.next, None);
        listing.sessions.into_iter().map(|kept| (kept.origin.session_id, kept.modified_at)).collect::<std::collections::BTreeMap<_, _>>()
    };
    let before = times().await;
    tokio::time::advance(Duration::from_secs(5)).await;
    append_to(manager, "a", &subagent("x"), 0, "1\n").await.unwrap();
    let after = times().await;
    assert!(after["a"] > before["a"]);
    assert_eq!(after["b"], before["b"]);
    assert!(manager.list_outside("another", None).await.unwrap().sessions.is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_host_does_not_run_it_and_shows_what_was_said() {
    let world = World::new(settings()).await;
    let manager = &world.manager;
    append(manager, 0, "hello").await.unwrap();
    let id = host_id("s");
    assert_eq!(texts(&manager.get(&id).await.unwrap()), ["agent: hello"]);
    assert!(matches!(manager.send_message(&id, None, Content::Text("m".into())).await, Err(Error::RunsOutside(_))));
    assert!(matches!(manager.subscribe(&id, None).await, Err(Error::RunsOutside(_))));
    assert!(matches!(manager.update_options(&id, serde_json::Map::new()).await, Err(Error::RunsOutside(_))));
    assert!(!manager.interrupt(&id).await.unwrap());
    manager.unload(&id).await.unwrap();
    // Nothing of that has kept the program out.
    assert_eq!(append(manager, 5, " again").await.unwrap(), 11);
    assert_eq!(texts(&manager.get(&id).await.unwrap()), ["agent: hello again"]);
    // What cannot be read is kept all the same.
    append(manager, 11, " x").await.unwrap();
    assert!(manager.get(&id).await.unwrap().blocks.is_empty());
    // One that is large is not read for each request.
    let large = "y".repeat(9 * 1024 * 1024);
    append_to(manager, "large", &StreamName::TranscriptMain, 0, &large).await.unwrap();
    assert!(manager.get(&host_id("large")).await.unwrap().blocks.is_empty());
    manager.adopt(&host_id("large")).await.unwrap();
    assert_eq!(texts(&manager.get(&host_id("large")).await.unwrap()), [format!("agent: {large}")]);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_adopted_goes_on_in_the_host_and_nowhere_else() {
    let world = World::new(settings()).await;
    let manager = &world.manager;
    let id = host_id("s");
    assert!(matches!(manager.adopt(&id).await, Err(Error::SessionNotFound(_))));
    append(manager, 0, "outside").await.unwrap();
    assert!(manager.adopt(&id).await.unwrap().origin.unwrap().adopted);
    assert!(manager.adopt(&id).await.unwrap().origin.unwrap().adopted, "again is the same");
    assert!(matches!(append(manager, 7, "2\n").await, Err(Error::Adopted(_))));
    assert!(matches!(manager.delete_transcript(&origin("s"), &StreamName::TranscriptMain).await, Err(Error::Adopted(_))));
    assert_eq!(read(manager, &StreamName::TranscriptMain).await.unwrap(), "outside");
    manager.send_message(&id, None, Content::Text("inside".into())).await.unwrap();
    assert!(manager.adopt(&id).await.unwrap().origin.unwrap().adopted, "also when it is loaded");
    manager.unload(&id).await.unwrap();
    let said = texts(&manager.get(&id).await.unwrap());
    assert_eq!((&*said[0], &*said[1]), ("agent: outside", "user: inside"), "{said:?}");
    assert!(manager.list_outside("project", None).await.unwrap().sessions[0].origin.adopted);

    world.manager.create(crate::support::create()).await.unwrap();
    assert!(matches!(manager.adopt(&crate::support::id()).await, Err(Error::Invalid(_))), "the host's own is nobody else's");
}

#[tokio::test(start_paused = true)]
async fn what_the_host_cannot_read_stays_with_the_program() {
    let world = World::new(settings()).await;
    append(&world.manager, 0, "an x").await.unwrap();
    assert!(matches!(world.manager.adopt(&host_id("s")).await, Err(Error::Invalid(reason)) if reason.contains("there is an x")));
    assert_eq!(append(&world.manager, 4, "y").await.unwrap(), 5);
}

#[tokio::test(start_paused = true)]
async fn adopting_is_done_again_when_the_store_failed_in_the_middle() {
    // After each of its writes.
    for writes in 0..5 {
        let world = World::new(settings()).await;
        append(&world.manager, 0, "outside").await.unwrap();
        world.store.fail_writes_after(writes);
        let failed = world.manager.adopt(&host_id("s")).await;
        world.store.fail_writes(false);
        let id = host_id("s");
        match failed {
            Ok(_) => assert!(writes >= 4, "{writes}"),
            Err(Error::Store(_)) => {
                assert!(matches!(world.manager.subscribe(&id, None).await, Err(Error::RunsOutside(_))), "{writes}");
                world.manager.adopt(&id).await.unwrap();
            }
            Err(error) => panic!("{writes}: {error}"),
        }
        assert!(matches!(append(&world.manager, 7, "2\n").await, Err(Error::Adopted(_))), "{writes}");
        assert_eq!(texts(&world.manager.get(&id).await.unwrap()), ["agent: outside"], "{writes}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_transcript_is_deleted_alone_and_a_session_with_all_of_them() {
    let world = World::new(settings()).await;
    let manager = &world.manager;
    let main = StreamName::TranscriptMain;
    manager.delete_transcript(&origin("s"), &subagent("a")).await.unwrap();
    append(manager, 0, "1\n").await.unwrap();
    for name in ["a", "b"] {
        append_to(manager, "s", &subagent(name), 0, "1\n").await.unwrap();
    }
    manager.delete_transcript(&origin("s"), &subagent("a")).await.unwrap();
    let streams: Vec<_> = manager.outside(&origin("s")).await.unwrap().1;
    assert_eq!(streams, [(main.clone(), 2), (subagent("b"), 2)]);
    assert!(matches!(read(manager, &subagent("a")).await, Err(Error::TranscriptNotFound(_))));
    for _ in 0..2 {
        manager.delete_outside(&origin("s")).await.unwrap();
    }
    assert!(matches!(read(manager, &main).await, Err(Error::SessionNotFound(_))));
    assert_eq!(append(manager, 0, "new\n").await.unwrap(), 4, "it can begin anew");
    assert_eq!(read(manager, &main).await.unwrap(), "new\n");
    manager.adopt(&host_id("s")).await.unwrap();
    assert!(
        matches!(manager.delete_outside(&origin("s")).await, Err(Error::Adopted(_))),
        "what the host runs is deleted by whoever uses the host"
    );
}

#[tokio::test(start_paused = true)]
async fn hooks_decide_on_it_as_on_any_session() {
    let world = World::new(settings()).await;
    world.hooks.on_session(|_| Verdict::Deny { hook: "guard".to_owned(), reason: "not here".to_owned() });
    assert!(matches!(append(&world.manager, 0, "1\n").await, Err(Error::Denied { .. })));
    assert!(matches!(world.manager.outside(&origin("s")).await, Err(Error::SessionNotFound(_))));
    let unknown = (ProfileId::new("nobody").unwrap(), "fake".to_owned());
    let refused = world.manager.append_outside(&origin("s"), &StreamName::TranscriptMain, 0, "1\n".into(), unknown).await;
    assert!(matches!(refused, Err(Error::ProfileNotFound(_))));
}

#[tokio::test(start_paused = true)]
async fn an_append_that_the_store_did_not_take_is_not_acknowledged_and_may_be_repeated() {
    let world = World::new(settings()).await;
    append(&world.manager, 0, "1\n").await.unwrap();
    world.store.fail_writes(true);
    assert!(matches!(append(&world.manager, 2, "2\n").await, Err(Error::Store(_))));
    world.store.fail_writes(false);
    world.store.lose_answers(true);
    assert!(matches!(append(&world.manager, 2, "2\n").await, Err(Error::Store(_))));
    world.store.lose_answers(false);
    assert_eq!(append(&world.manager, 2, "2\n").await.unwrap(), 4);
    assert_eq!(read(&world.manager, &StreamName::TranscriptMain).await.unwrap(), "1\n2\n");
}

/// Of a host that shares its store.
fn shared(name: &str) -> Settings {
    let owner = Owner { id: name.to_owned(), address: format!("http://{name}") };
    Settings { leases: Some(Leases { owner, ttl: Duration::from_secs(30) }), ..settings() }
}

#[tokio::test(start_paused = true)]
async fn a_session_stays_this_hosts_however_long_it_takes_to_adopt_it() {
    let world = World::new(shared("one")).await;
    let id = host_id("s");
    append(&world.manager, 0, "outside").await.unwrap();
    world.store.slow_reads(Duration::from_secs(100));
    let watched = async {
        let mut held = 0;
        loop {
            tokio::time::sleep(Duration::from_secs(5)).await;
            if let Some(lease) = world.store.lease(&id).await.unwrap() {
                assert!(!lease.expires_in.is_zero(), "the lease ended after {held} looks");
                held += 1;
            } else if held > 0 {
                return held;
            }
        }
    };
    let (adopted, held) = tokio::join!(world.manager.adopt(&id), watched);
    assert!(adopted.unwrap().origin.unwrap().adopted);
    assert!(held > 15, "it took no longer than a lease: {held}");
}

#[tokio::test(start_paused = true)]
async fn what_is_adopted_while_it_is_to_be_deleted_stays() {
    for name in ["alone", "among others"] {
        let world = World::new(if name == "alone" { settings() } else { shared(name) }).await;
        let id = host_id("s");
        append(&world.manager, 0, "outside").await.unwrap();
        world.store.slow_reads(Duration::from_secs(1));
        let later = async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            world.manager.delete_outside(&origin("s")).await
        };
        let (adopted, deleted) = tokio::join!(world.manager.adopt(&id), later);
        adopted.unwrap();
        assert!(matches!(deleted, Err(Error::Adopted(_))), "{name}: {deleted:?}");
        assert_eq!(texts(&world.manager.get(&id).await.unwrap()), ["agent: outside"], "{name}");
        world.manager.send_message(&id, None, Content::Text("inside".into())).await.unwrap();
        let deleted = world.manager.delete_outside(&origin("s")).await;
        assert!(matches!(deleted, Err(Error::Adopted(_))), "{name}, loaded: {deleted:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn hosts_that_share_a_store_take_appends_alike_until_one_adopts_the_session() {
    let one = World::new(shared("one")).await;
    let two = World::over(Arc::clone(&one.store), shared("two"));
    let id = host_id("s");
    assert_eq!(append(&one.manager, 0, "1\n").await.unwrap(), 2);
    assert_eq!(append(&two.manager, 2, "2\n").await.unwrap(), 4);
    assert!(matches!(append(&one.manager, 2, "3\n").await, Err(Error::OffsetMismatch(4))));
    assert!(matches!(two.manager.subscribe(&id, None).await, Err(Error::RunsOutside(_))));
    assert_eq!(append(&one.manager, 4, "3\n").await.unwrap(), 6);
    two.manager.adopt(&id).await.unwrap();
    for world in [&one, &two] {
        assert!(matches!(append(&world.manager, 6, "4\n").await, Err(Error::Adopted(_))));
    }
    // It is nobody's in particular, and can be loaded by whoever comes first.
    assert!(one.store.lease(&id).now_or_never().unwrap().unwrap().is_none());
    one.manager.subscribe(&id, None).await.unwrap();
}
