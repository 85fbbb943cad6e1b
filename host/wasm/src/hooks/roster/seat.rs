//! A hook's place: who is in it, who is told of its events, and what waits there.

use std::time::{Duration, Instant};

use super::change::role;
use super::state::State;
use super::{Member, Roster, Running, Started};
use crate::exchange::{Error, Phase, refused};
use crate::hooks::Interests;
use crate::hooks::delivery::Delivery;
use crate::hooks::spool::Begin;
use crate::hooks::start::Name;

/// What a call may take beyond its deadline until it is noticed.
const DELIVERY_GRACE: Duration = Duration::from_secs(1);

/// What became of a place.
pub(super) struct Seated {
    /// What was in it.
    pub(super) before: Option<Running>,
    /// For which events are stored although the new hook wants none.
    pub(super) unwanted: Option<Interests>,
}

impl Roster {
    /// Puts a hook that runs in its place, when that is remembered. Events go on where the one before was: it is told of nothing more when the new one's interests count,
    /// and what waits is not touched before all that can fail is done.
    pub(super) async fn take_seat(&self, name: &Name, begin: Begin, started: Started, state: State) -> Result<Seated, Error> {
        let known = self.spool.interests(name.as_str());
        self.pause_delivery(name).await;
        let kept = async {
            if !started.hook.info().events.is_empty() {
                self.spool.add(started.hook.interests().clone(), begin).await.map_err(refused(Phase::Remember))?;
            }
            self.remember(state).await.map_err(refused(Phase::Remember))
        };
        if let Err(error) = kept.await {
            self.restore_events(name, known.as_deref()).await;
            self.begin_delivery(name);
            return Err(error);
        }
        let unwanted = known.filter(|_| started.hook.info().events.is_empty());
        let before = self.seat(name, started);
        self.begin_delivery(name);
        Ok(Seated { before, unwanted: unwanted.map(|interests| (*interests).clone()) })
    }

    /// Puts a hook that runs in its place, lets sessions see it, and gives the one before. It is told of no events yet.
    pub(super) fn seat(&self, name: &Name, started: Started) -> Option<Running> {
        let Started { hook, options } = started;
        let running = Running { hook, options, delivery: None, probation: None };
        let before = {
            let mut members = self.members.lock();
            let index = match members.iter().position(|member| member.name == *name) {
                Some(index) => index,
                None => {
                    let index = self.place(&members, name);
                    members.insert(index, Member { name: name.clone(), running: None });
                    index
                }
            };
            members.get_mut(index).and_then(|member| member.running.replace(running))
        };
        self.publish();
        before
    }

    /// Where a hook belongs that is not there: a configured one behind those that are configured before it, any other behind all.
    fn place(&self, members: &[Member], name: &Name) -> usize {
        let configured = self.configuration.hooks();
        let Some(rank) = configured.iter().position(|hook| hook.name == *name) else { return members.len() };
        let comes_later = |member: &Member| configured.iter().position(|hook| hook.name == member.name).is_none_or(|other| other > rank);
        members.iter().position(comes_later).unwrap_or(members.len())
    }

    pub(super) fn begin_delivery(&self, name: &Name) {
        let mut members = self.members.lock();
        if let Some(running) = members.iter_mut().find(|member| member.name == *name).and_then(|member| member.running.as_mut()) {
            running.delivery = self.deliver(name, &running.hook, running.options);
        }
    }

    /// Tells the hook that is in this place of nothing more.
    pub(super) async fn pause_delivery(&self, name: &Name) {
        let paused = {
            let mut members = self.members.lock();
            let running = members.iter_mut().find(|member| member.name == *name).and_then(|member| member.running.as_mut());
            running.and_then(|running| Some((running.delivery.take()?, running.hook.delivery_timeout())))
        };
        if let Some((delivery, timeout)) = paused {
            self.end_delivery(name, delivery, timeout).await;
        }
    }

    /// What is being delivered comes to its end, which its own deadlines bring: two hooks of one name are never told at once.
    async fn end_delivery(&self, name: &Name, delivery: Delivery, timeout: Duration) {
        let began = Instant::now();
        delivery.stop(timeout + DELIVERY_GRACE).await;
        self.engine.metrics().drained(role(name), began.elapsed());
    }

    pub(super) async fn end(&self, running: Running) {
        let Running { hook, delivery, .. } = running;
        if let Some(delivery) = delivery {
            self.end_delivery(hook.name(), delivery, hook.delivery_timeout()).await;
        }
        hook.shutdown(self.settings.drain_timeout).await;
    }

    /// Has the events stored that were before, and those wait again that did.
    pub(super) async fn restore_events(&self, name: &Name, known: Option<&Interests>) {
        let restored = match known {
            Some(interests) => {
                async {
                    if self.spool.interests_before(name.as_str()).is_some_and(|before| *before == *interests) {
                        self.spool.restore(name.as_str()).await?;
                    }
                    self.spool.add(interests.clone(), Begin::AtEnd).await?;
                    self.spool.settle(name.as_str()).await
                }
                .await
            }
            None => self.spool.remove(name.as_str()).await,
        };
        if let Err(error) = restored {
            tracing::error!(hook = %name, %error, "failed to have events stored for the event hook as before");
        }
    }

    /// The hook that is in this place stays there: what waits for it is what it wants itself. `unwanted` is for which events are stored although it wants none.
    pub(super) async fn settle_events(&self, name: &Name, unwanted: Option<&Interests>) {
        if let Some(unwanted) = unwanted {
            self.forget(name, unwanted).await;
        }
        if let Err(error) = self.spool.settle(name.as_str()).await {
            tracing::warn!(hook = %name, %error, "failed to forget the events that an event hook does not want any more");
        }
    }

    /// Forgets what waits for a hook that wants no events, unless it is another one's by now.
    pub(super) async fn forget(&self, name: &Name, unwanted: &Interests) {
        if self.spool.interests(name.as_str()).is_some_and(|known| *known == *unwanted)
            && let Err(error) = self.spool.remove(name.as_str()).await
        {
            tracing::warn!(hook = %name, %error, "failed to forget the events of a hook that wants none any more");
        }
    }
}
