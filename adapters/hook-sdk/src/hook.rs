//! The trait that a hook implements.

use crate::{Config, Event, HookInfo, MessageDraft, Result, SessionDraft, ToolDraft, Verdict};

/// Is told of what happens to sessions, and decides before it happens.
///
/// What the host does with it is said in `wit/0.1/hooks/hooks.wit`; what matters most is:
///
/// - Events come at least once, those of a session in order. [`Event`]'s session, epoch and seq tell a repeat.
/// - A question has a deadline of a few seconds. A hook that misses it, traps or answers with an error leaves the decision to [`HookInfo::on_failure`].
/// - Events and questions go to different instances, so that neither waits for the other: what they share is kept in the session's metadata
///   ([`control::set_metadata`](crate::control::set_metadata)) or in a database ([`sql`](crate::sql)), not in `self`.
///
/// An instance gets one call at a time.
///
/// # Errors
/// All functions: those of [`Error`](crate::Error), as the contract says.
pub trait Hook: Sized + 'static {
    /// Called once in each instance, before anything else.
    fn open(config: &Config) -> Result<Self>;

    /// Its name and version, the events that it wants, the questions that it decides on.
    fn info(&self) -> HookInfo;

    /// Events happened: never none, never one that [`info`](Self::info) does not name. After an error the same come again.
    fn on_events(&mut self, events: Vec<Event>) -> Result<()> {
        drop(events);
        Ok(())
    }

    /// A session is about to be created. [`Verdict::Replace`] has other options for it.
    fn before_session(&mut self, draft: SessionDraft) -> Result<Verdict> {
        drop(draft);
        Ok(Verdict::Allow)
    }

    /// A message is about to be accepted. [`Verdict::Replace`] has another content.
    fn before_message(&mut self, draft: MessageDraft) -> Result<Verdict> {
        drop(draft);
        Ok(Verdict::Allow)
    }

    /// The agent is about to use a tool. [`Verdict::Replace`] has another input.
    fn before_tool_use(&mut self, draft: ToolDraft) -> Result<Verdict> {
        drop(draft);
        Ok(Verdict::Allow)
    }
}
