//! Two hosts on one store.

use std::sync::Arc;
use std::time::Duration;

use agent_host_session::event::Event;
use agent_host_session::id::Sequence;
use agent_host_session::manager::{Error, Leases, Settings, Subscribed};
use agent_host_session::ports::store::{Owner, Store as _};
use fake_ports::World;

use crate::support::{create, id, idle_after, say, say_as, settings, texts};

const TTL: Duration = Duration::from_secs(30);

fn of(name: &str) -> Settings {
    let owner = Owner { id: name.to_owned(), address: format!("http://{name}") };
    Settings { leases: Some(Leases { owner, ttl: TTL }), ..settings() }
}

/// A host that has a session loaded, and another one on the same store.
async fn two() -> (World, World) {
    let one = World::new(of("one")).await;
    one.manager.create(create()).await.unwrap();
    say(&one.manager, "first").await;
    idle_after(&one.manager, 1).await;
    let two = World::over(Arc::clone(&one.store), of("two"));
    (one, two)
}

fn owned<T>(result: Result<T, Error>) -> bool {
    matches!(result, Err(Error::Owned { address, .. }) if address == "http://one")
}

#[tokio::test(start_paused = true)]
async fn whoever_has_not_the_session_says_who_has_and_shows_what_is_stored() {
    let (_one, two) = two().await;
    assert!(owned(two.manager.unload(&id()).await));
    assert!(owned(two.manager.sync(&id()).await));
    assert!(owned(two.manager.interrupt(&id()).await));
    assert!(owned(two.manager.subscribe(&id(), None).await));
    let view = two.manager.get(&id()).await.unwrap();
    assert_eq!(texts(&view), ["user: first", "agent: first"]);
    assert_eq!(view.sequence, Sequence(0), "the other host may number events before this one loads the session");
}

#[tokio::test(start_paused = true)]
async fn whoever_goes_on_from_a_picture_of_another_host_is_given_a_new_one() {
    let (one, two) = two().await;
    let seen = two.manager.get(&id()).await.unwrap().sequence;
    say(&one.manager, "second").await;
    idle_after(&one.manager, 2).await;
    one.manager.unload(&id()).await.unwrap();
    let subscribed = two.manager.subscribe(&id(), Some(seen)).await.unwrap();
    assert!(matches!(subscribed, Subscribed::Snapshot { resync: true, .. }), "what happened at the other host would be missing");
}

#[tokio::test(start_paused = true)]
async fn whoever_loses_a_session_tells_those_who_watch() {
    let (one, two) = two().await;
    let Subscribed::Snapshot { mut subscription, .. } = one.manager.subscribe(&id(), None).await.unwrap() else { unreachable!() };
    // It was paused for longer than its lease lasts: nothing has prolonged it.
    tokio::time::sleep(TTL * 2).await;
    say(&two.manager, "second").await;
    idle_after(&two.manager, 2).await;
    assert!(say_as(&one.manager, "late", "third").await.is_err());
    let mut told = false;
    while let Ok(events) = subscription.next().await {
        told |= events.iter().any(|event| matches!(&event.event, Event::Failed { code, .. } if code == "TAKEN_OVER"));
    }
    assert!(told);
    assert_eq!(two.store.lease(&id()).await.unwrap().unwrap().owner.id, "two");
}
