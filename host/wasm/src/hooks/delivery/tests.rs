//! How hooks are told: in batches, again after a failure, each at its own pace.

use futures_util::FutureExt as _;
use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::*;
use crate::hooks::spool::tests::{Scratch, told};
use crate::hooks::spool::{Begin, SpoolOptions};

/// So long that only the other bounds count.
const NEVER: Duration = Duration::from_secs(3600);

/// Tells the test what it is told, fails as often as it should, and then waits while it is held.
struct Receiver {
    batches: mpsc::UnboundedSender<Vec<String>>,
    failures: Mutex<usize>,
    is_held: watch::Receiver<bool>,
}

#[async_trait]
impl Target for Receiver {
    async fn deliver(&self, events: Vec<Event>) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        self.batches.send(told(&events))?;
        {
            let mut failures = self.failures.lock();
            if *failures > 0 {
                *failures -= 1;
                return Err("out of order".into());
            }
        }
        self.is_held.clone().wait_for(|is_held| !is_held).await?;
        Ok(())
    }
}

struct Told {
    delivery: Delivery,
    batches: mpsc::UnboundedReceiver<Vec<String>>,
    is_held: watch::Sender<bool>,
}

fn tell(scratch: &Scratch, hook: &str, options: DeliveryOptions, failures: usize) -> Told {
    let (sender, batches) = mpsc::unbounded_channel();
    let is_held = watch::Sender::new(false);
    let receiver = Receiver { batches: sender, failures: Mutex::new(failures), is_held: is_held.subscribe() };
    let delivery = Delivery::start(scratch.spool.clone(), hook, Arc::new(receiver), options).unwrap();
    Told { delivery, batches, is_held }
}

async fn scratch(hooks: &[&str]) -> Scratch {
    let scratch = Scratch::new(SpoolOptions::default());
    for hook in hooks {
        scratch.add(hook, &["*"], Begin::AtEnd).await;
    }
    scratch
}

fn by_count(events: usize) -> DeliveryOptions {
    DeliveryOptions { events, delay: NEVER, ..DeliveryOptions::default() }
}

/// Waits until the hook has had everything.
async fn has_had_all(scratch: &Scratch, hook: &str) {
    scratch.spool.watch(hook).unwrap().wait_for(|backlog| backlog.events == 0).await.unwrap();
}

#[tokio::test]
async fn a_batch_goes_when_it_has_so_many_events() {
    let scratch = scratch(&["audit"]).await;
    let mut audit = tell(&scratch, "audit", by_count(3), 0);
    scratch.publish("hook:x:a", &["1", "2", "3", "4", "5", "6", "7"]).await;
    assert_eq!(audit.batches.recv().await.unwrap(), ["1", "2", "3"]);
    assert_eq!(audit.batches.recv().await.unwrap(), ["4", "5", "6"]);
    scratch.spool.watch("audit").unwrap().wait_for(|backlog| backlog.events == 1).await.unwrap();
    assert!(audit.batches.try_recv().is_err(), "the last waits for more");
}

#[tokio::test]
async fn a_batch_goes_when_it_has_so_many_bytes_or_was_delayed_so_long() {
    let scratch = scratch(&["bytes", "delay"]).await;
    let mut bytes = tell(&scratch, "bytes", DeliveryOptions { bytes: 2500, delay: NEVER, ..DeliveryOptions::default() }, 0);
    let mut delay = tell(&scratch, "delay", DeliveryOptions { delay: Duration::from_millis(1), ..DeliveryOptions::default() }, 0);
    let large = ["a", "b", "c"].map(|text| text.repeat(1000));
    scratch.publish("hook:x:a", &[&large[0]]).await;
    assert_eq!(delay.batches.recv().await.unwrap(), large[..1]);
    scratch.publish("hook:x:a", &[&large[1], &large[2]]).await;
    assert_eq!(bytes.batches.recv().await.unwrap(), large[..2]);
}

#[tokio::test]
async fn the_same_events_come_again_until_the_hook_has_had_them() {
    let scratch = scratch(&["failing", "well"]).await;
    let mut failing = tell(&scratch, "failing", by_count(2), usize::MAX);
    let mut well = tell(&scratch, "well", by_count(2), 0);
    scratch.publish("hook:x:a", &["1", "2", "3", "4"]).await;
    for _ in 0..3 {
        assert_eq!(failing.batches.recv().await.unwrap(), ["1", "2"]);
    }
    assert_eq!(well.batches.recv().await.unwrap(), ["1", "2"], "it is not delayed");
    assert_eq!(well.batches.recv().await.unwrap(), ["3", "4"]);
    has_had_all(&scratch, "well").await;
    assert_eq!(scratch.spool.backlogs()["failing"].events, 4);
    failing.delivery.stop(NEVER).await;
    let mut again = tell(&scratch, "failing", by_count(2), 1);
    for expected in [["1", "2"], ["1", "2"], ["3", "4"]] {
        assert_eq!(again.batches.recv().await.unwrap(), expected);
    }
    has_had_all(&scratch, "failing").await;
}

#[tokio::test]
async fn a_delivery_that_runs_is_ended_when_it_is_stopped() {
    let scratch = scratch(&["audit"]).await;
    let mut audit = tell(&scratch, "audit", by_count(1), 0);
    audit.is_held.send_replace(true);
    scratch.publish("hook:x:a", &["1", "2"]).await;
    assert_eq!(audit.batches.recv().await.unwrap(), ["1"]);
    let mut stopped = Box::pin(audit.delivery.stop(NEVER));
    assert!(stopped.as_mut().now_or_never().is_none());
    audit.is_held.send_replace(false);
    stopped.await;
    assert_eq!(scratch.spool.backlogs()["audit"].events, 1, "its place is stored");
    assert!(audit.batches.recv().await.is_none(), "and no other has begun");
}

#[tokio::test]
async fn a_delivery_that_does_not_end_in_time_comes_again() {
    let scratch = scratch(&["audit"]).await;
    let mut audit = tell(&scratch, "audit", by_count(1), 0);
    audit.is_held.send_replace(true);
    scratch.publish("hook:x:a", &["1"]).await;
    assert_eq!(audit.batches.recv().await.unwrap(), ["1"]);
    audit.delivery.stop(Duration::ZERO).await;
    assert!(audit.batches.recv().await.is_none(), "it was aborted");
    let mut again = tell(&scratch, "audit", by_count(1), 0);
    assert_eq!(again.batches.recv().await.unwrap(), ["1"]);
}

#[tokio::test]
async fn deliveries_end_with_the_hook() {
    let scratch = scratch(&["idle", "failing"]).await;
    let mut idle = tell(&scratch, "idle", by_count(9), 0);
    let mut failing = tell(&scratch, "failing", by_count(1), usize::MAX);
    scratch.publish("hook:x:a", &["1"]).await;
    assert_eq!(failing.batches.recv().await.unwrap(), ["1"]);
    scratch.spool.remove("idle").await.unwrap();
    scratch.spool.remove("failing").await.unwrap();
    assert!(idle.batches.recv().await.is_none());
    while failing.batches.recv().await.is_some() {}
    let refused = Delivery::start(scratch.spool.clone(), "idle", Arc::new(Nobody), DeliveryOptions::default());
    assert!(matches!(refused, Err(Error::UnknownHook(_))));
}

struct Nobody;

#[async_trait]
impl Target for Nobody {
    async fn deliver(&self, _events: Vec<Event>) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        Ok(())
    }
}
