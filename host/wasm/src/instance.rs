//! One instance of a component: how it is made and opened, and how a call into it is bounded.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use wasmtime::component::{HasSelf, Linker};
use wasmtime::{Store, Trap, UpdateDeadline};

use crate::bindings::agent_host::types::types as wit;
use crate::bindings::exports::agent_host::persistence::lifecycle::AdapterInfo;
use crate::bindings::{Adapter, AdapterPre};
use crate::call::{Error, Time};
use crate::component::Component;
use crate::engine::{Engine, TICK};
use crate::grants::Grants;
use crate::output::Output;
use crate::pool::Call;
use crate::state::State;

/// Makes instances of one component with one configuration.
pub(crate) struct Factory {
    engine: Engine,
    component: Component,
    pre: AdapterPre<State>,
    grants: Arc<Grants>,
    config: Vec<(String, String)>,
    output: Arc<Output>,
}

/// One instance. A call runs in it alone.
pub(crate) struct Instance {
    store: Store<State>,
    adapter: Adapter,
}

impl Factory {
    /// Links the component to what the host gives.
    ///
    /// # Errors
    /// If it wants something that the host does not give, or exports something else than the contract says.
    pub(crate) fn new(engine: Engine, component: Component, grants: Grants, config: Vec<(String, String)>) -> wasmtime::Result<Self> {
        let mut linker = Linker::new(engine.wasmtime());
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
        Adapter::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
        let pre = AdapterPre::new(linker.instantiate_pre(&component.compiled)?)?;
        let output = Output::new(Arc::clone(&component.name));
        Ok(Self { engine, component, pre, grants: Arc::new(grants), config, output })
    }

    pub(crate) fn component(&self) -> &str {
        &self.component.name
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Makes an instance and opens it. Runs on the components' own threads.
    pub(crate) async fn make(&self) -> Result<(Instance, AdapterInfo), Error> {
        let limit = self.engine.options().open_timeout;
        timeout(limit, self.make_in_time())
            .await
            .unwrap_or_else(|_| Err(self.cannot_start(format_args!("it was not open within {limit:?}"))))
    }

    async fn make_in_time(&self) -> Result<(Instance, AdapterInfo), Error> {
        let options = self.engine.options();
        let state =
            State::new(&self.grants, options.memory_limit, &self.output).map_err(|error| self.cannot_start(format_args!("{error:#}")))?;
        let mut store = Store::new(self.engine.wasmtime(), state);
        store.limiter(|state| &mut state.memory);
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
        allow(&mut store, options.open_timeout);
        let adapter = self.pre.instantiate_async(&mut store).await.map_err(|error| self.cannot_start(describe(&error)))?;
        let mut instance = Instance { store, adapter };
        let opened = instance.adapter.agent_host_persistence_lifecycle().call_open(&mut instance.store, &self.config).await;
        instance.end_transactions(self.component(), "open");
        match opened {
            Ok(Ok(info)) => Ok((instance, info)),
            Ok(Err(error)) => Err(self.cannot_start(format_args!("`open` answered {error:?}"))),
            Err(error) => Err(self.cannot_start(format_args!("`open` failed: {}", describe(&error)))),
        }
    }

    fn cannot_start(&self, reason: impl std::fmt::Display) -> Error {
        Error::CannotStart { component: self.component().to_owned(), reason: reason.to_string() }
    }
}

impl Instance {
    /// Calls the component. After an error (but not after an answer that is one) the instance must not be used again.
    pub(crate) async fn call<T, F>(&mut self, factory: &Factory, operation: &'static str, call: F) -> Result<Result<T, wit::Error>, Error>
    where
        F: for<'a> FnOnce(&'a Adapter, &'a mut Store<State>) -> Call<'a, T>,
    {
        let options = factory.engine.options();
        let component = || factory.component().to_owned();
        allow(&mut self.store, options.cpu_timeout);
        let answer = timeout(options.call_timeout, call(&self.adapter, &mut self.store)).await;
        match answer {
            Ok(Ok(answer)) => {
                self.end_transactions(factory.component(), operation);
                Ok(answer)
            }
            Ok(Err(error)) if error.downcast_ref() == Some(&Trap::Interrupt) => {
                Err(Error::TimedOut { component: component(), operation, limit: options.cpu_timeout, kind: Time::Computing })
            }
            Ok(Err(error)) => {
                tracing::debug!(component = component(), operation, error = format!("{error:?}"), "a call failed");
                Err(Error::Trap { component: component(), operation, reason: describe(&error) })
            }
            Err(_) => Err(Error::TimedOut { component: component(), operation, limit: options.call_timeout, kind: Time::Clock }),
        }
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
