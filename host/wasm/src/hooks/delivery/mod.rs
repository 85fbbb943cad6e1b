//! How a hook is told of the events that wait for it: in batches, in order, again until it has had them, and for each hook by a task of its own.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use backon::{BackoffBuilder as _, ExponentialBuilder};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::spool::{Backlog, Error, Spool, Throttle};
use super::{Event, Hook};

/// The first and the longest pause between tries. The first is about what a receiver's restart takes at least; the longest is what a hook that is well again waits.
const RETRY_PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));

/// Who is told of events.
#[async_trait]
pub trait Target: Send + Sync + 'static {
    /// Takes events in: one at least, those of a session in order.
    ///
    /// # Errors
    /// Whatever it says, the same events come again.
    async fn deliver(&self, events: Vec<Event>) -> Result<(), Box<dyn std::error::Error + Send + Sync>>;
}

#[async_trait]
impl Target for Hook {
    async fn deliver(&self, events: Vec<Event>) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self::deliver(self, events).await?)
    }
}

/// How events are put together. A batch is delivered when the first of these is reached.
#[derive(Clone, Copy, Debug)]
pub struct DeliveryOptions {
    /// Events.
    pub events: usize,
    /// Bytes; one event may be larger.
    pub bytes: u64,
    /// How long the first event waits for more.
    pub delay: Duration,
}

impl Default for DeliveryOptions {
    fn default() -> Self {
        Self {
            // A call costs a hook about as much as the work on ten events.
            events: 100,
            // Far below what an instance's memory is limited to, and a body that any receiver of a webhook takes.
            bytes: 1024 * 1024,
            // Not felt where a hook reacts to what people do, and enough to make one batch of an agent's burst.
            delay: Duration::from_millis(200),
        }
    }
}

/// The task that tells one hook. Dropped, it is aborted: what was being delivered comes again.
pub struct Delivery {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Delivery {
    /// Tells `target` of the events that wait for `hook`, from where it is, until it is stopped or the hook is removed. There must be one delivery
    /// for a hook at a time.
    ///
    /// # Errors
    /// [`Error::UnknownHook`] if the hook was not added to the spool.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start(spool: Spool, hook: &str, target: Arc<dyn Target>, options: DeliveryOptions) -> Result<Self, Error> {
        let backlog = spool.watch(hook)?;
        let stop = CancellationToken::new();
        let courier = Courier { spool, hook: hook.to_owned(), target, options, backlog, stop: stop.clone() };
        Ok(Self { stop, task: tokio::spawn(courier.run()) })
    }

    /// Begins no other delivery, and gives the one that runs so long to end. One that does not comes again when the hook is next told.
    pub async fn stop(mut self, deadline: Duration) {
        self.stop.cancel();
        // A task that panicked has ended, too.
        let _ = tokio::time::timeout(deadline, &mut self.task).await;
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Delivery").field("is_stopping", &self.stop.is_cancelled()).finish_non_exhaustive()
    }
}

/// The delivery was stopped, or the hook removed.
struct Ended;

struct Courier {
    spool: Spool,
    hook: String,
    target: Arc<dyn Target>,
    options: DeliveryOptions,
    backlog: watch::Receiver<Backlog>,
    stop: CancellationToken,
}

impl Courier {
    async fn run(mut self) {
        while self.deliver_next().await.is_ok() {}
    }

    async fn deliver_next(&mut self) -> Result<(), Ended> {
        let DeliveryOptions { events, bytes, delay } = self.options;
        self.wait_for(|backlog| backlog.events > 0).await?;
        let is_full = self.wait_for(move |backlog| backlog.events >= events || backlog.bytes >= bytes);
        if let Ok(Err(ended)) = tokio::time::timeout(delay, is_full).await {
            return Err(ended);
        }
        let Some(chunk) = self.persist("read events", || self.spool.read(&self.hook, events, bytes)).await? else { return Ok(()) };
        if !chunk.events.is_empty() {
            self.persist("deliver events", || self.target.deliver(chunk.events.clone())).await?;
        }
        self.spool.acknowledge(&self.hook, chunk.end).map_err(|_| Ended)
    }

    async fn wait_for(&mut self, mut condition: impl FnMut(&Backlog) -> bool) -> Result<(), Ended> {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Err(Ended),
            changed = self.backlog.wait_for(|backlog| condition(backlog)) => changed.map(drop).map_err(|_| Ended),
        }
    }

    /// Tries until it succeeds. What has been begun is ended; a pause is not.
    async fn persist<T, E, F>(&self, doing: &str, attempt: impl Fn() -> F) -> Result<T, Ended>
    where
        F: Future<Output = Result<T, E>>,
        E: fmt::Display,
    {
        let (first, longest) = RETRY_PAUSE;
        let mut pauses = ExponentialBuilder::new().with_min_delay(first).with_max_delay(longest).without_max_times().with_jitter().build();
        let mut throttle = Throttle::default();
        let mut failures: u64 = 0;
        loop {
            let error = match attempt().await {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            failures += 1;
            // A hook that was removed is not tried for ever.
            if self.backlog.has_changed().is_err() {
                return Err(Ended);
            }
            if throttle.allows() {
                tracing::warn!(hook = %self.hook, %error, failures, "failed to {doing}, which is tried again");
            }
            tokio::select! {
                () = self.stop.cancelled() => return Err(Ended),
                () = tokio::time::sleep(pauses.next().unwrap_or(longest)) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests;
