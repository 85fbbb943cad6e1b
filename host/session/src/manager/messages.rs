//! Messages on their way to a session: their bounds, and what hooks make of them.

use super::{Error, Manager};
use crate::event::Event;
use crate::id::{MessageId, SessionId};
use crate::message::{Content, Message};
use crate::ports::hooks::Verdict;
use crate::task::Command;

impl Manager {
    /// Gives a session a message, whose turn comes when those before it have ended. It is stored when this returns. A message of an id that the session knows is not sent again.
    ///
    /// # Errors
    /// If the message is empty or too large, a hook denies it, too many wait already, or the store does not take it. After a `Store` error that is worth another try
    /// the message may have been taken nevertheless: trying again with the same id is safe.
    pub async fn send_message(&self, id: &SessionId, message_id: Option<MessageId>, content: Content) -> Result<MessageId, Error> {
        self.send(id, message_id, content, None).await
    }

    /// The same for a message that a hook sends, on which all others decide.
    ///
    /// # Errors
    /// As for [`send_message`](Self::send_message).
    pub async fn send_message_of_hook(
        &self,
        id: &SessionId,
        hook: &str,
        message_id: MessageId,
        content: Content,
    ) -> Result<MessageId, Error> {
        self.send(id, Some(message_id), content, Some(hook)).await
    }

    async fn send(&self, id: &SessionId, message_id: Option<MessageId>, content: Content, from: Option<&str>) -> Result<MessageId, Error> {
        self.check_content(&content)?;
        let is_named = message_id.is_some();
        let mut message = Message::new(message_id.unwrap_or_else(|| self.context.environment.uuid().into()), content);
        // A message that is accepted was decided on before.
        if self.context.hooks.wants().messages && !(is_named && self.knows(id, &message.id).await?) {
            match self.context.hooks.before_message(id, &message, from).await {
                Verdict::Allow => {}
                Verdict::Replace(content) => {
                    self.check_content(&content)?;
                    message = message.replaced(content);
                }
                Verdict::Deny { hook, reason } => {
                    let error = Error::Denied { hook, reason };
                    self.tell_denied(id, &error).await;
                    return Err(error);
                }
            }
        }
        self.ask(id, |reply| Command::Message { message: message.clone(), reply }).await
    }

    fn check_content(&self, content: &Content) -> Result<(), Error> {
        if content.is_empty() {
            return Err(Error::Invalid("the message is empty".to_owned()));
        }
        let (size, limit) = (content.weight(), self.context.settings.message_bytes);
        if size > limit { Err(Error::TooLarge { what: "the message", size, limit }) } else { Ok(()) }
    }

    async fn knows(&self, id: &SessionId, message_id: &MessageId) -> Result<bool, Error> {
        self.ask(id, |reply| Command::Knows { id: message_id.clone(), reply }).await
    }

    /// Those who watch the session see that a message was denied; nothing else is left of it.
    async fn tell_denied(&self, id: &SessionId, error: &Error) {
        let Some(handle) = self.loaded(id) else { return };
        let event = Event::Failed { code: "MESSAGE_DENIED".to_owned(), message: error.to_string() };
        // Whoever sent it gets the denial itself.
        drop(handle.ask(|reply| Command::Tell { event, reply }).await);
    }
}
