//! Sandboxes that are ready before a session asks for one.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use agent_host_modal::ImageId;
use agent_host_session::ports::sandbox::{Sandbox as _, Spec};
use parking_lot::Mutex;

use super::provider::Inner;
use super::sandbox::ModalSandbox;
use super::tags::{self, Shape};

/// How long an image that is not the plain one is kept ready after its last use.
const UNUSED: Duration = Duration::from_secs(60 * 60);

/// All that is ready.
#[derive(Default)]
pub(super) struct Warm(Mutex<State>);

#[derive(Default)]
struct State {
    shelves: HashMap<Shape, Shelf>,
    is_closed: bool,
}

/// What is ready of one shape.
struct Shelf {
    image: ImageId,
    /// Whether it is the image of profiles without packages.
    is_plain: bool,
    used: Instant,
    /// The oldest first.
    ready: Vec<(Instant, ModalSandbox)>,
    being_made: usize,
}

impl Warm {
    /// How many are missing of a shape, which from now on are being made.
    fn missing(&self, shape: &Shape, wanted: usize) -> usize {
        let mut state = self.0.lock();
        if state.is_closed {
            return 0;
        }
        let Some(shelf) = state.shelves.get_mut(shape) else { return 0 };
        let missing = wanted.saturating_sub(shelf.ready.len() + shelf.being_made);
        shelf.being_made += missing;
        missing
    }

    /// One was made, or could not be. It is given back if nobody wants it any more.
    fn made(&self, shape: &Shape, sandbox: Option<ModalSandbox>) -> Option<ModalSandbox> {
        let mut state = self.0.lock();
        let is_closed = state.is_closed;
        let Some(shelf) = state.shelves.get_mut(shape) else { return sandbox };
        shelf.being_made = shelf.being_made.saturating_sub(1);
        if is_closed {
            return sandbox;
        }
        shelf.ready.extend(sandbox.map(|sandbox| (Instant::now(), sandbox)));
        None
    }

    /// Takes one: nobody else gets it.
    fn take(&self, shape: &Shape) -> Option<ModalSandbox> {
        let mut state = self.0.lock();
        let shelf = state.shelves.get_mut(shape)?;
        if shelf.ready.is_empty() { None } else { Some(shelf.ready.remove(0).1) }
    }

    /// Takes out what is of no use any more: what Modal has ended, what is about to end, and what nobody has asked for in a long time.
    fn outdated(&self, running: &BTreeSet<String>, looked: Instant, lifetime: Duration) -> Vec<ModalSandbox> {
        let mut state = self.0.lock();
        let mut outdated = Vec::new();
        for shelf in state.shelves.values_mut() {
            let is_unused = !shelf.is_plain && shelf.used.elapsed() >= UNUSED;
            let is_outdated = |(made, sandbox): &mut (Instant, ModalSandbox)| {
                let has_ended = *made < looked && !running.contains(sandbox.id());
                is_unused || has_ended || made.elapsed() >= lifetime / 2
            };
            outdated.extend(shelf.ready.extract_if(.., is_outdated).map(|(_, sandbox)| sandbox));
        }
        state.shelves.retain(|_, shelf| shelf.is_plain || shelf.used.elapsed() < UNUSED || shelf.being_made > 0);
        outdated
    }

    /// Takes out everything, for ever.
    pub(super) fn close(&self) -> Vec<ModalSandbox> {
        let mut state = self.0.lock();
        state.is_closed = true;
        state.shelves.values_mut().flat_map(|shelf| shelf.ready.drain(..)).map(|(_, sandbox)| sandbox).collect()
    }
}

impl Inner {
    /// From now on some of this shape are kept ready.
    pub(super) fn keep_ready(self: &Arc<Self>, shape: &Shape, image: &ImageId, is_plain: bool) {
        if self.options.warm == 0 {
            return;
        }
        {
            let mut state = self.warm.0.lock();
            let new = || Shelf { image: image.clone(), is_plain, used: Instant::now(), ready: Vec::new(), being_made: 0 };
            let shelf = state.shelves.entry(shape.clone()).or_insert_with(new);
            shelf.used = Instant::now();
            shelf.is_plain |= is_plain;
        }
        self.fill(shape, image);
    }

    fn fill(self: &Arc<Self>, shape: &Shape, image: &ImageId) {
        for _ in 0..self.warm.missing(shape, self.options.warm) {
            let (inner, shape, image) = (Arc::clone(self), shape.clone(), image.clone());
            self.keeper.tasks.spawn(async move {
                let made = inner.prepared(&image, &shape, None).await;
                let (made, told) = match made {
                    Ok(sandbox) => {
                        let id = sandbox.id().to_owned();
                        (Some(sandbox), Ok(id))
                    }
                    Err(error) => (None, Err(error)),
                };
                // What is not wanted is terminated by being dropped.
                drop(inner.warm.made(&shape, made));
                match told {
                    Ok(id) => tracing::info!(sandbox = id, "a sandbox is ready for whoever comes"),
                    Err(error) => tracing::warn!(%error, "a sandbox could not be made ready, which is tried again"),
                }
            });
        }
    }

    /// Replaces what is of no use any more, given which sandboxes ran when they were looked at.
    pub(super) fn renew_ready(self: &Arc<Self>, running: &BTreeSet<String>, looked: Instant) {
        drop(self.warm.outdated(running, looked, self.options.lifetime));
        let shelves: Vec<(Shape, ImageId)> =
            self.warm.0.lock().shelves.iter().map(|(shape, shelf)| (shape.clone(), shelf.image.clone())).collect();
        for (shape, image) in shelves {
            self.fill(&shape, &image);
        }
    }

    /// One that is ready, if any is.
    pub(super) async fn claim(&self, spec: &Spec, shape: &Shape) -> Option<ModalSandbox> {
        while let Some(sandbox) = self.warm.take(shape) {
            match sandbox.claim(&tags::tags(&self.options, shape, Some(spec))).await {
                Ok(()) => return Some(sandbox),
                // Dropped, it is terminated.
                Err(error) => tracing::info!(sandbox = sandbox.id(), %error, "a sandbox that was kept ready cannot be used"),
            }
        }
        None
    }
}
