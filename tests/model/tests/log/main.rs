//! The hand-over between a picture of a session and what follows it, and between a connection and the next one: nothing is missed, nothing comes twice, nothing is seen before
//! the hooks have it, and nobody waits for ever (shuttle ends with "deadlock" if somebody does).

mod ports;

use std::sync::Arc;

use agent_host_model::{holds, is_found};
use agent_host_session::event::Event;
use agent_host_session::id::{Epoch, Sequence, SessionId};
use agent_host_session::log::{Ended, EventLog, Limits, Reveal, Subscription};
use futures_util::FutureExt as _;
use shuttle::future::block_on;
use shuttle::rand::{Rng as _, thread_rng};
use shuttle::sync::mpsc;
use shuttle::thread;

use self::ports::{Shelf, Spool};

const EPOCH: Epoch = Epoch(2);

/// Batches that a session publishes, of up to two events.
const BATCHES: usize = 4;

fn first() -> Sequence {
    Sequence::before(EPOCH)
}

fn log(events: usize, spool: &Arc<Spool>, shelf: Option<&Arc<Shelf>>) -> EventLog {
    let limits = Limits { events, bytes: 1 << 20 };
    let volume = shelf.map(|shelf| Arc::<Shelf>::clone(shelf) as _);
    EventLog::archived(SessionId::new("s").unwrap(), EPOCH, limits, Arc::<Spool>::clone(spool), volume)
}

/// Publishes one or two events.
fn publish(log: &EventLog) {
    let count = thread_rng().gen_range(1..=2);
    log.publish((0..count).map(|_| Event::Failed { code: "MODEL".into(), message: String::new() }));
}

/// Reads to the end, and gives the number of the last event.
fn follow(subscription: &mut Subscription, spool: &Spool) -> (Sequence, Ended) {
    loop {
        let before = subscription.cursor();
        match block_on(subscription.next()) {
            Ok(events) => {
                assert!(!events.is_empty(), "woken for nothing");
                let numbers = events.iter().map(|event| event.sequence.0);
                assert!(numbers.eq(before.0 + 1..=before.0 + events.len() as u64), "an event was missed or came twice");
                assert!(spool.has(subscription.cursor()), "an event was shown before the hooks had it");
            }
            Err(ended) => return (before, ended),
        }
    }
}

/// Publishes a session's batches, with hooks that come and go, and looks up at one of them.
fn session(log: &EventLog, spool: &Spool, mut look: impl FnMut()) {
    let looks_before = thread_rng().gen_range(0..=BATCHES);
    for batch in 0..=BATCHES {
        if batch == looks_before {
            look();
        }
        if batch < BATCHES {
            spool.wants(thread_rng().gen_bool(0.7));
            publish(log);
        }
    }
}

/// A picture of the session is taken, and handed to a client that follows from there. `in_two` is a bug: what is published between the two is missed.
fn picture(spool: Spool, in_two: bool) {
    let spool = Arc::new(spool);
    let log = log(100, &spool, None);
    let (hand_over, handed_over) = mpsc::channel();
    let client = {
        let spool = Arc::clone(&spool);
        thread::spawn(move || {
            let (picture, subscription, reveal): (Sequence, Subscription, Option<Reveal>) = handed_over.recv().unwrap();
            if let Some(reveal) = reveal {
                block_on(reveal.wait());
            }
            assert!(spool.has(picture), "a picture was shown before the hooks had it");
            let mut subscription = subscription;
            assert_eq!(subscription.cursor(), picture, "an event was missed or came twice");
            follow(&mut subscription, &spool)
        })
    };
    session(&log, &spool, || {
        let picture = log.latest();
        if in_two {
            publish(&log);
        }
        hand_over.send((picture, log.subscribe(), log.reveal())).unwrap();
    });
    let last = log.latest();
    drop(log);
    assert_eq!(client.join().unwrap(), (last, Ended::Unloaded));
}

#[test]
fn what_follows_a_picture_begins_where_it_ends() {
    holds(|| picture(Spool::default(), false));
}

#[test]
fn an_event_that_is_dropped_between_picture_and_subscription_is_found() {
    is_found("missed or came twice", || picture(Spool::default(), true));
}

#[test]
fn hooks_that_say_too_early_that_they_have_an_event_are_found() {
    is_found("before the hooks had it", || picture(Spool::that_lies(), false));
}

/// Clients whose connections are cut come back with the last number that they saw, while the session goes on and its log has room for two events only.
fn reconnects(room: usize, forgets: bool) {
    let spool = Arc::new(Spool::default());
    let shelf = Shelf::new(room);
    let log = Arc::new(log(2, &spool, Some(&shelf)));
    let clients: Vec<_> = (0..2)
        .map(|_| {
            let (log, spool) = (Arc::clone(&log), Arc::clone(&spool));
            thread::spawn(move || {
                let mut cursor = first();
                for _ in 0..3 {
                    let Some(mut subscription) = log.resume(cursor) else {
                        assert!(forgets, "what everybody was told of was kept, and cannot be read");
                        return;
                    };
                    // What is there now: a client that waits for more is another model's.
                    while let Some(read) = subscription.next().now_or_never() {
                        match read {
                            Ok(events) => {
                                let numbers = events.iter().map(|event| event.sequence.0);
                                assert!(numbers.eq(cursor.0 + 1..=cursor.0 + events.len() as u64), "an event was missed or came twice");
                                cursor = subscription.cursor();
                                assert!(spool.has(cursor), "an event was shown before the hooks had it");
                            }
                            Err(Ended::Lagged) => break,
                            Err(Ended::Unloaded) => panic!("the log is here"),
                        }
                    }
                }
            })
        })
        .collect();
    session(&log, &spool, || ());
    clients.into_iter().for_each(|client| client.join().unwrap());
}

#[test]
fn who_comes_back_goes_on_where_it_was() {
    holds(|| reconnects(usize::MAX, false));
}

#[test]
fn who_comes_back_too_late_is_told() {
    holds(|| reconnects(2, true));
}

/// A client that comes back and stays reads the archive, then the log, and what happens from then on.
#[test]
fn who_comes_back_and_stays_catches_up() {
    holds(|| {
        let spool = Arc::new(Spool::default());
        let shelf = Shelf::new(usize::MAX);
        let log = log(1, &spool, Some(&shelf));
        publish(&log);
        let (hand_over, handed_over) = mpsc::channel();
        let client = {
            let spool = Arc::clone(&spool);
            thread::spawn(move || {
                let mut subscription: Subscription = handed_over.recv().unwrap();
                follow(&mut subscription, &spool)
            })
        };
        session(&log, &spool, || hand_over.send(log.resume(first()).expect("all of it is kept")).unwrap());
        let last = log.latest();
        drop(log);
        // One that had caught up and did not read for more than the log has room for is told so, and it can come back.
        let (seen, ended) = client.join().unwrap();
        assert!(seen == last || ended == Ended::Lagged, "{seen:?} of {last:?} were seen, then {ended}");
    });
}

/// Nobody who waits for room in the log is forgotten.
#[test]
fn who_waits_until_the_hooks_have_caught_up_goes_on() {
    holds(|| {
        let spool = Arc::new(Spool::default());
        let log = log(2, &spool, None);
        session(&log, &spool, || block_on(log.caught_up()));
        block_on(log.caught_up());
        assert!(!log.is_behind());
    });
}
