//! The plumbing between the generated exports and a [`Hook`]: the instance, the context of errors.

use std::cell::RefCell;
use std::thread::LocalKey;

use crate::bindings::exports::agent_host::hooks::event_hook::Guest;
use crate::{Config, Error, Event, Hook, HookInfo, MessageDraft, Result, SessionDraft, ToolDraft, Verdict};

/// Where the hook of an instance is, once it is open.
pub struct Slot<H>(RefCell<Option<H>>);

impl<H> Slot<H> {
    /// Before `open`.
    pub const fn empty() -> Self {
        Self(RefCell::new(None))
    }
}

/// What `export_hook!` implements for a component.
pub trait Instance {
    /// The hook that it exports.
    type Hook: Hook;

    /// Where it is. A component has one thread.
    fn slot() -> &'static LocalKey<Slot<Self::Hook>>;
}

fn call<I: Instance, T>(doing: impl FnOnce() -> String, call: impl FnOnce(&mut I::Hook) -> Result<T>) -> Result<T> {
    let result = I::slot().with(|slot| match slot.0.try_borrow_mut().as_deref_mut() {
        Ok(Some(hook)) => call(hook),
        Ok(None) => Err(Error::invalid("the hook was called before `open`")),
        Err(_) => Err(reentered()),
    });
    result.map_err(|error| error.while_trying(doing))
}

fn reentered() -> Error {
    Error::other("the hook was called while it was answering another call")
}

impl<I: Instance> Guest for I {
    fn open(config: Vec<(String, String)>) -> Result<HookInfo> {
        crate::logging::install();
        I::slot().with(|slot| {
            let mut slot = slot.0.try_borrow_mut().map_err(|_| reentered())?;
            if slot.is_some() {
                return Err(Error::invalid("the hook is already open"));
            }
            let hook = I::Hook::open(&Config::new(config)).map_err(|error| error.while_trying(|| "open the hook".to_owned()))?;
            let info = hook.info();
            *slot = Some(hook);
            Ok(info)
        })
    }

    fn on_events(events: Vec<Event>) -> Result<()> {
        let count = events.len();
        call::<I, _>(|| format!("take {count} events"), |hook| hook.on_events(events))
    }

    fn before_session(draft: SessionDraft) -> Result<Verdict> {
        call::<I, _>(|| "decide on a new session".to_owned(), |hook| hook.before_session(draft))
    }

    fn before_message(draft: MessageDraft) -> Result<Verdict> {
        let (session, id) = (draft.session.clone(), draft.id.clone());
        call::<I, _>(|| format!("decide on message {id:?} of session {session:?}"), |hook| hook.before_message(draft))
    }

    fn before_tool_use(draft: ToolDraft) -> Result<Verdict> {
        let (session, tool) = (draft.session.clone(), draft.tool.clone());
        call::<I, _>(|| format!("decide on a use of {tool:?} in session {session:?}"), |hook| hook.before_tool_use(draft))
    }
}
