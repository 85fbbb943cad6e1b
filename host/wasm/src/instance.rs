//! One instance of a component: how it is made and opened, and how a call into it is bounded.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use wasmtime::component::Linker;
use wasmtime::{Store, Trap, UpdateDeadline};

use crate::bindings::agent_host::types::types as wit;
use crate::call::{Error, Time};
use crate::capabilities::Capabilities;
use crate::component::Component;
use crate::engine::{Engine, TICK};
use crate::grants::{Denials, Grants};
use crate::hooks::Caller;
use crate::limits::Limits;
use crate::metrics::Role;
use crate::net;
use crate::pool::Call;
use crate::state::State;
use crate::world::World;

/// Makes instances of one component with one configuration.
pub(crate) struct Factory<W: World> {
    engine: Engine,
    component: Component,
    role: Role,
    pre: W::Pre,
    capabilities: Arc<Capabilities>,
    config: Vec<(String, String)>,
}

/// One instance. A call runs in it alone.
pub(crate) struct Instance<W> {
    store: Store<State>,
    exports: W,
}

impl<W: World> Factory<W> {
    /// Links the component to what the host gives. `caller` is as whom it speaks to sessions, if it is a hook.
    ///
    /// # Errors
    /// If it wants something that the host does not give, or exports something else than the contract says.
    pub(crate) fn new(
        engine: Engine,
        component: Component,
        grants: Grants,
        limits: Limits,
        config: Vec<(String, String)>,
        caller: Option<Caller>,
    ) -> wasmtime::Result<Self> {
        let mut linker = Linker::new(engine.wasmtime());
        net::add_to_linker(&mut linker)?;
        W::link(&mut linker)?;
        let pre = W::prepare(linker.instantiate_pre(&component.compiled)?)?;
        let resolver = Arc::clone(&engine.options().resolver);
        let role = caller.as_ref().map_or(Role::Persistence, |caller| Role::Hook(caller.name().as_str().into()));
        let denials = Denials::new(Arc::clone(&component.name), |denial| engine.metrics().denials(&role, denial));
        let capabilities = Capabilities::new(denials, Arc::clone(&component.name), grants, limits, resolver, caller)?;
        Ok(Self { engine, component, role, pre, capabilities, config })
    }

    pub(crate) fn component(&self) -> &str {
        &self.component.name
    }

    /// What the component is to the host.
    pub(crate) fn role(&self) -> &Role {
        &self.role
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// What the component was refused.
    pub(crate) fn denials(&self) -> &Arc<Denials> {
        &self.capabilities.denials
    }

    /// Makes an instance and opens it. Runs on the components' own threads.
    pub(crate) async fn make(&self) -> Result<(Instance<W>, W::Info), Error> {
        let limit = self.capabilities.limits.open_timeout;
        timeout(limit, self.make_in_time())
            .await
            .unwrap_or_else(|_| Err(self.cannot_start(format_args!("it was not open within {limit:?}"))))
    }

    async fn make_in_time(&self) -> Result<(Instance<W>, W::Info), Error> {
        let mut instance = self.instantiate().await?;
        let opened = instance.exports.open(&mut instance.store, &self.config).await;
        instance.end_transactions(self.component(), "open");
        match opened {
            Ok(Ok(info)) => {
                instance.store.data_mut().memory.opened();
                Ok((instance, info))
            }
            Ok(Err(error)) => Err(self.cannot_start(format_args!("`open` answered {error:?}"))),
            Err(error) => Err(self.cannot_start(format_args!("`open` failed: {}", describe(&error)))),
        }
    }

    /// Makes an instance and does not open it. It may compute for as long as it may take to be opened.
    pub(crate) async fn instantiate(&self) -> Result<Instance<W>, Error> {
        let limits = &self.capabilities.limits;
        let state = State::new(&self.capabilities).map_err(|error| self.cannot_start(format_args!("{error:#}")))?;
        let mut store = Store::new(self.engine.wasmtime(), state);
        store.limiter(|state| &mut state.memory);
        store.set_hostcall_fuel(limits.argument_bytes);
        store.epoch_deadline_callback(|mut context| {
            let state = context.data_mut();
            match state.ticks.checked_sub(1) {
                Some(left) => {
                    state.ticks = left;
                    Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now())))
                }
                None => Ok(UpdateDeadline::Interrupt),
            }
        });
        // A schema's migration may compute longer than a call.
        allow(&mut store, limits.open_timeout);
        let exports = W::instantiate(&self.pre, &mut store).await.map_err(|error| self.cannot_start(describe(&error)))?;
        Ok(Instance { store, exports })
    }

    fn cannot_start(&self, reason: impl std::fmt::Display) -> Error {
        Error::CannotStart { component: self.component().to_owned(), reason: reason.to_string() }
    }
}

impl<W: World> Instance<W> {
    /// Calls the component. After an error (but not after an answer that is one) the instance must not be used again.
    pub(crate) async fn call<T, F>(
        &mut self,
        factory: &Factory<W>,
        operation: &'static str,
        call: F,
    ) -> Result<Result<T, wit::Error>, Error>
    where
        F: for<'a> FnOnce(&'a W, &'a mut Store<State>) -> Call<'a, T>,
    {
        let limits = &factory.capabilities.limits;
        let component = || factory.component().to_owned();
        allow(&mut self.store, limits.cpu);
        let answer = timeout(limits.call_timeout, call(&self.exports, &mut self.store)).await;
        match answer {
            Ok(Ok(answer)) => {
                self.end_transactions(factory.component(), operation);
                Ok(answer)
            }
            Ok(Err(error)) if error.downcast_ref() == Some(&Trap::Interrupt) => {
                Err(Error::TimedOut { component: component(), operation, limit: limits.cpu, kind: Time::Computing })
            }
            Ok(Err(error)) => {
                tracing::debug!(component = component(), operation, error = format!("{error:?}"), "a call failed");
                Err(Error::Trap { component: component(), operation, reason: describe(&error) })
            }
            Err(_) => Err(Error::TimedOut { component: component(), operation, limit: limits.call_timeout, kind: Time::Clock }),
        }
    }

    /// Whether its calls have taken more than half of the memory that was left for them.
    pub(crate) fn is_used_up(&self) -> bool {
        self.store.data().memory.is_used_up()
    }

    fn end_transactions(&mut self, component: &str, operation: &'static str) {
        let forgotten = self.store.data_mut().databases.end_transactions();
        if forgotten > 0 {
            tracing::warn!(component, operation, forgotten, "a component left transactions open; they are rolled back");
        }
    }
}

/// Gives what comes next `time` to compute.
fn allow(store: &mut Store<State>, time: Duration) {
    let ticks = time.as_millis() / TICK.as_millis();
    store.data_mut().ticks = u64::try_from(ticks).unwrap_or(u64::MAX);
    store.set_epoch_deadline(1);
}

/// Why a call failed, without the stack, which is for the log.
fn describe(error: &wasmtime::Error) -> String {
    match error.downcast_ref::<Trap>() {
        Some(trap) => trap.to_string(),
        None => error.root_cause().to_string(),
    }
}
