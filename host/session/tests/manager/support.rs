//! A session over fake ports, and waiting for what becomes of it.

use std::time::Duration;

use agent_host_session::block::Block;
use agent_host_session::id::{MessageId, ProfileId, SessionId};
use agent_host_session::manager::{Create, Error, Manager, Settings, Subscribed};
use agent_host_session::message::Content;
use agent_host_session::record::Options;
use agent_host_session::state::View;
use fake_ports::World;

pub(crate) const WAIT: Duration = Duration::from_secs(3600);

pub(crate) fn id() -> SessionId {
    SessionId::new("s").unwrap()
}

pub(crate) fn create() -> Create {
    Create { id: Some(id()), profile: ProfileId::new("default").unwrap(), architecture: "fake".into(), name: None, options: Options::new() }
}

pub(crate) fn settings() -> Settings {
    Settings::default()
}

pub(crate) async fn world() -> World {
    let world = World::new(settings()).await;
    world.manager.create(create()).await.unwrap();
    world
}

pub(crate) async fn say(manager: &Manager, text: &str) -> MessageId {
    manager.send_message(&id(), None, Content::Text(text.into())).await.unwrap()
}

pub(crate) async fn say_as(manager: &Manager, message_id: &str, text: &str) -> Result<MessageId, Error> {
    manager.send_message(&id(), Some(MessageId::new(message_id).unwrap()), Content::Text(text.into())).await
}

/// Waits until the session has ended this many turns and does nothing.
pub(crate) async fn idle_after(manager: &Manager, turns: u64) -> View {
    until(manager, |view| view.metadata.turns == Some(turns) && view.runtime.running_message_id.is_none()).await
}

/// Waits until the session does nothing and has so many blocks.
pub(crate) async fn idle_with(manager: &Manager, blocks: usize) -> View {
    until(manager, |view| view.runtime.running_message_id.is_none() && view.runtime.queued_messages == 0 && view.blocks.len() == blocks)
        .await
}

pub(crate) async fn until(manager: &Manager, holds: impl Fn(&View) -> bool) -> View {
    let (view, mut subscription) = match manager.subscribe(&id(), None).await.unwrap() {
        Subscribed::Snapshot { view, subscription, .. } => (view, subscription),
        Subscribed::Continued(_) => unreachable!("asked for a snapshot"),
    };
    if holds(&view) {
        return *view;
    }
    tokio::time::timeout(WAIT, async {
        loop {
            subscription.next().await.unwrap();
            let view = manager.get(&id()).await.unwrap();
            if holds(&view) {
                return view;
            }
        }
    })
    .await
    .expect("it never came to that")
}

pub(crate) fn texts(view: &View) -> Vec<String> {
    view.blocks
        .iter()
        .map(|block| match block.as_ref() {
            Block::UserMessage(block) => format!("user: {}", block.content.text()),
            Block::AssistantText(block) => format!("agent: {}", block.content),
            Block::Error(block) => format!("error: {}", block.code.clone().unwrap_or_default()),
            Block::System(block) => format!("system: {}", block.message),
            other => format!("{other:?}"),
        })
        .collect()
}
