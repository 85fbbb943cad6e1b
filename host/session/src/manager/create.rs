//! New sessions.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::{Create, Created, Error, ListChange, Listed, Manager, import};
use crate::event::Runtime;
use crate::id::{Epoch, RESERVED_PREFIX};
use crate::ports::hooks::{SessionDraft, Verdict};
use crate::ports::store;
use crate::record::{SessionRecord, StreamName};

impl Manager {
    /// Creates a session. One of the same id and content is given back as it is.
    ///
    /// # Errors
    /// If the profile or the architecture does not exist, the options do not fit, a hook denies it, or the id is taken by another session.
    pub async fn create(&self, request: Create) -> Result<Created, Error> {
        let has_own_id = request.id.is_some();
        let mut record = self.new_record(request).await?;
        if self.context.hooks.wants().sessions {
            // One that is there was decided on before.
            if has_own_id && self.context.store.load_session(&record.id).await?.is_some() {
                return self.created_before(record).await;
            }
            self.decide_on(&mut record).await?;
        }
        match self.context.store.create_session(Epoch::FIRST, &record).await {
            Ok(()) => {
                let listed = Listed { record, runtime: Runtime::default() };
                drop(self.context.changes.send(ListChange::Updated(Arc::new(listed.clone()))));
                Ok(Created { record: listed.record, runtime: listed.runtime, is_new: true })
            }
            Err(store::Error::AlreadyExists(_)) => self.created_before(record).await,
            Err(error) => Err(error.into()),
        }
    }

    pub(super) async fn new_record(&self, request: Create) -> Result<SessionRecord, Error> {
        self.check_open()?;
        if request.id.as_ref().is_some_and(|id| id.as_str().starts_with(RESERVED_PREFIX)) {
            return Err(Error::Invalid(format!("ids that begin with {RESERVED_PREFIX:?} are the host's own")));
        }
        let architecture = self.architecture(&request.architecture)?;
        self.context.settings.check_options(&request.options)?;
        architecture.check_options(&request.options).map_err(|error| Error::Invalid(error.to_string()))?;
        self.load_profile(&request.profile).await?;
        let environment = &self.context.environment;
        let now = environment.now();
        Ok(SessionRecord {
            id: request.id.unwrap_or_else(|| environment.uuid().into()),
            created_at: now,
            last_activity: now,
            profile: request.profile,
            architecture: request.architecture,
            name: request.name,
            options: request.options,
            origin: None,
        })
    }

    /// Creates a session out of an agent's transcripts that come from elsewhere. Its next message continues the conversation.
    ///
    /// # Errors
    /// As for [`create`](Self::create); if the architecture cannot read the transcripts; if the id is taken, whatever the content. Nothing is left of a session that
    /// could not be stored whole, unless the store refuses that, too.
    pub async fn import(&self, request: Create, transcripts: &BTreeMap<StreamName, Bytes>) -> Result<SessionRecord, Error> {
        let record = self.new_record(request).await?;
        let events = self.architecture(&record.architecture)?.import(transcripts).map_err(|error| Error::Invalid(error.to_string()))?;
        let store = self.context.store.as_ref();
        match store.create_session(Epoch::FIRST, &record).await {
            Err(store::Error::AlreadyExists(_)) if self.has_just_created(&record).await? => {}
            Err(store::Error::AlreadyExists(_)) => return Err(Error::SessionConflict(record.id)),
            created => created?,
        }
        let stored = import::store(store, &record, &events, transcripts).await;
        store.release(&record.id);
        if let Err(error) = stored {
            if let Err(error) = store.delete_session(Epoch::FIRST, &record.id).await {
                tracing::error!(session = %record.id, %error, "failed to remove a session that could not be imported whole");
            }
            return Err(error.into());
        }
        let listed = Listed { record: record.clone(), runtime: Runtime::default() };
        drop(self.context.changes.send(ListChange::Updated(Arc::new(listed))));
        Ok(record)
    }

    /// Whether a session that is there is the one that was to be created: then the answer to that was lost, and it was tried again.
    async fn has_just_created(&self, record: &SessionRecord) -> Result<bool, Error> {
        let there = self.context.store.load_session(&record.id).await?;
        Ok(there.is_some_and(|there| {
            there.record == *record && there.epoch == Epoch::FIRST && there.streams.is_empty() && there.files.is_empty()
        }))
    }

    /// Asks the hooks about a session. They may replace its options.
    pub(super) async fn decide_on(&self, record: &mut SessionRecord) -> Result<(), Error> {
        let draft = SessionDraft {
            profile: record.profile.clone(),
            architecture: record.architecture.clone(),
            name: record.name.clone(),
            options: record.options.clone(),
        };
        match self.context.hooks.before_session(&draft).await {
            Verdict::Allow => Ok(()),
            Verdict::Deny { hook, reason } => Err(Error::Denied { hook, reason }),
            Verdict::Replace(options) => {
                self.context.settings.check_options(&options)?;
                let checked = self.architecture(&record.architecture)?.check_options(&options);
                checked.map_err(|error| {
                    Error::Invalid(format!("the options that a hook put in place of the session's are not valid: {error}"))
                })?;
                record.options = options;
                Ok(())
            }
        }
    }

    async fn created_before(&self, mut asked: SessionRecord) -> Result<Created, Error> {
        let there = self.context.store.load_session(&asked.id).await?.ok_or_else(|| Error::SessionNotFound(asked.id.clone()))?.record;
        let is_same_agent = there.profile == asked.profile && there.architecture == asked.architecture && there.name == asked.name;
        if is_same_agent && there.options != asked.options && self.context.hooks.wants().sessions {
            // A hook may have replaced the options when the session was created: then it does so again. If it fails to, they differ.
            drop(self.decide_on(&mut asked).await);
        }
        if !is_same_agent || there.options != asked.options {
            return Err(Error::SessionConflict(asked.id));
        }
        let runtime = self.runtime(&there.id);
        Ok(Created { record: there, runtime, is_new: false })
    }
}
