//! Clients that follow a session across cut connections, and look whether they are told everything once and in order.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use agent_host_session::block::Block;
use agent_host_session::event::{Event, Runtime};
use agent_host_session::id::{Sequence, SessionId};
use agent_host_session::log::{Published, Subscription};
use agent_host_session::manager::{Error, Subscribed};
use agent_host_session::metadata::Metadata;
use agent_host_session::path::RelativePath;
use agent_host_session::record::{FileInfo, Options};
use agent_host_session::state::View;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::host::Host;
use crate::hosts::Hosts;
use crate::world::{Bug, Promise, World, note};

/// How long a client waits for an answer before it turns to another host.
pub(crate) const PATIENCE: Duration = Duration::from_secs(45);

/// A session as a client has it on its screen.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Picture {
    pub(crate) sequence: Sequence,
    blocks: Vec<Block>,
    files: BTreeMap<RelativePath, FileInfo>,
    metadata: Metadata,
    options: Options,
    runtime: Runtime,
}

impl Picture {
    pub(crate) fn of(view: &View) -> Self {
        Self {
            sequence: view.sequence,
            blocks: view.blocks.iter().map(|block| Block::clone(block)).collect(),
            files: view.files.iter().map(|file| (file.path.clone(), file.clone())).collect(),
            metadata: view.metadata.clone(),
            options: view.record.options.clone(),
            runtime: view.runtime.clone(),
        }
    }

    /// The same session, whatever it is doing and however it is numbered.
    pub(crate) fn at_rest(mut self) -> Self {
        self.sequence = Sequence(0);
        self.runtime = Runtime::default();
        self
    }

    fn take_in(&mut self, event: &Event) {
        match event {
            Event::BlockStarted { block, .. } | Event::BlockCompleted { block, .. } => {
                let block = Block::clone(block);
                match self.blocks.iter_mut().find(|known| known.id() == block.id()) {
                    Some(known) => *known = block,
                    None => self.blocks.push(block),
                }
            }
            Event::BlockDelta { block_id, delta, .. } => {
                if let Some(block) = self.blocks.iter_mut().find(|known| known.id() == block_id) {
                    block.push_text(delta);
                }
            }
            Event::BlockRemoved { block_id, .. } => self.blocks.retain(|block| block.id() != block_id),
            Event::MetadataUpdated { metadata, .. } => self.metadata.merge(metadata),
            Event::OptionsUpdated { options } => self.options.clone_from(options),
            Event::FileCreated { file, .. } | Event::FileModified { file, .. } => drop(self.files.insert(file.path.clone(), file.clone())),
            Event::FileDeleted { path } => drop(self.files.remove(path)),
            Event::StatusChanged { runtime } => self.runtime.clone_from(runtime),
            _ => {}
        }
    }
}

/// Why a client does not go on reading.
enum Left {
    /// The connection is cut: it comes back with the number of what it saw last.
    Cut,
    /// There is no such session.
    Gone,
}

/// A client that follows a session.
pub(crate) struct Client {
    world: Arc<World>,
    hosts: Arc<Hosts>,
    name: String,
    pub(crate) session: SessionId,
    /// How often in a hundred times it is slow, which changes.
    pub(crate) is_slow: Mutex<u32>,
    /// Cuts its connection.
    pub(crate) cut: Notify,
    pub(crate) picture: Mutex<Option<Picture>>,
}

impl Client {
    pub(crate) fn new(world: &Arc<World>, hosts: &Arc<Hosts>, number: usize, session: SessionId) -> Arc<Self> {
        let (world, hosts, name) = (Arc::clone(world), Arc::clone(hosts), format!("client{number}"));
        Arc::new(Self { world, hosts, name, session, is_slow: Mutex::new(0), cut: Notify::new(), picture: Mutex::new(None) })
    }

    /// Follows the session for ever, or until it is gone.
    pub(crate) async fn follow(self: Arc<Self>) {
        loop {
            let host = self.hosts.any().await;
            let followed = tokio::select! {
                biased;
                () = self.cut.notified() => Left::Cut,
                followed = host.ask(self.connection(&host)) => followed.unwrap_or(Left::Cut),
            };
            if let Left::Gone = followed {
                note!(self.world, "{}: {} is gone", self.name, self.session);
                if !self.world.known(&self.session, |known| known.may_be_gone) {
                    self.world.violated(Promise::AcknowledgedIsDurable, format!("{} is gone and nobody has deleted it", self.session));
                }
                return;
            }
            let pause = self.world.millis(if self.world.chance(70) { 100 } else { 20_000 });
            tokio::time::sleep(pause).await;
        }
    }

    /// One connection to a host, from its beginning to its end.
    async fn connection(&self, host: &Host) -> Left {
        let since = self.picture.lock().as_ref().map(|picture| picture.sequence).filter(|_| !self.world.chance(10));
        let subscribing = async {
            if self.world.bug == Some(Bug::DropsAtHandOver) && since.is_none() {
                return self.snapshot_and_then_subscribe(host).await;
            }
            host.manager.subscribe(&self.session, since).await
        };
        let subscribed = match tokio::time::timeout(PATIENCE, subscribing).await {
            Ok(Ok(subscribed)) => subscribed,
            Ok(Err(Error::SessionNotFound(_))) => return Left::Gone,
            Ok(Err(error)) => {
                note!(self.world, "{} cannot follow {} at {}: {error}", self.name, self.session, host.name);
                return Left::Cut;
            }
            Err(_) => return Left::Cut,
        };
        host.pulse.pass().await;
        let subscription = match subscribed {
            Subscribed::Snapshot { view, subscription, resync } => {
                note!(self.world, "{} sees {} at {} as of {:x}, after {since:x?}", self.name, self.session, host.name, view.sequence.0);
                if since.is_some() != resync {
                    self.broken(format!("a client that asked to go on after {since:?} got a snapshot with resync: {resync}"));
                }
                *self.picture.lock() = Some(Picture::of(&view));
                subscription
            }
            Subscribed::Continued(subscription) => {
                note!(self.world, "{} goes on with {} at {} after {since:x?}", self.name, self.session, host.name);
                subscription
            }
        };
        self.read(host, subscription).await;
        Left::Cut
    }

    /// The bug: what is published between the two is in neither.
    async fn snapshot_and_then_subscribe(&self, host: &Host) -> Result<Subscribed, Error> {
        let mut subscribed = host.manager.subscribe(&self.session, None).await?;
        self.world.waver().await;
        if let Subscribed::Snapshot { subscription: following, .. } = &mut subscribed
            && let Subscribed::Snapshot { subscription, .. } = host.manager.subscribe(&self.session, None).await?
        {
            *following = subscription;
        }
        Ok(subscribed)
    }

    async fn read(&self, host: &Host, mut subscription: Subscription) {
        loop {
            if self.world.chance(*self.is_slow.lock()) {
                tokio::time::sleep(self.world.millis(8_000)).await;
            }
            let next = subscription.next().await;
            host.pulse.pass().await;
            match next {
                Ok(events) => events.iter().for_each(|event| self.see(event)),
                Err(ended) => return note!(self.world, "{}: {ended}", self.name),
            }
        }
    }

    fn see(&self, published: &Published) {
        let mut picture = self.picture.lock();
        let Some(picture) = picture.as_mut() else { return };
        let number = published.sequence;
        if number != picture.sequence.next() {
            self.broken(format!("{} of {} came after {:x}", describe(published), self.session, picture.sequence.0));
        }
        picture.sequence = number;
        picture.take_in(&published.event);
        let what = format!("{:?}", published.event);
        let other = self.world.known(&self.session, |known| {
            let first = known.numbers.entry(number).or_insert_with(|| what.clone());
            (*first != what).then(|| first.clone())
        });
        if let Some(other) = other {
            self.broken(format!("the number {:x} of {} is both {other} and {what}", number.0, self.session));
        }
    }

    fn broken(&self, text: String) {
        self.world.violated(Promise::StreamsResumeExactly, format!("{}: {text}", self.name));
    }
}

fn describe(published: &Published) -> String {
    format!("{:x} ({})", published.sequence.0, published.event.name())
}
