//! A pool of instances of one component: one call at a time in each, and none is used again after a call that did not come back.
//!
//! | what happens | what it costs |
//! | --- | --- |
//! | the component answers with an error of the contract | nothing |
//! | it traps, or takes too long | the call and the instance; the next call has a new one |
//! | the caller does not wait any more | the instance, unless it is the only one that there may be: then the call goes on to its end |
//! | it forgets a transaction | the transaction |
//! | its calls have taken more than half of the memory that was left for them | the instance, unless it holds the component's state |
//!
//! Replacing a component while it is used means a second pool beside this one: nothing here is shared between pools but the engine.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use wasmtime::Store;

use crate::bindings::agent_host::types::types as wit;
use crate::call::{Error, Time};
use crate::grants::Denials;
use crate::instance::{Factory, Instance};
use crate::state::State;
use crate::world::World;

/// A call into a component, as the generated bindings make it.
pub(crate) type Call<'a, T> = Pin<Box<dyn Future<Output = wasmtime::Result<Result<T, wit::Error>>> + Send + 'a>>;

/// What a pool may do with its instances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// One is as good as another.
    Alike,
    /// There is one, whose calls come to their end whoever waits for them; another one may take its place between two calls.
    InTurn,
    /// There is one, which holds the component's state.
    Stateful,
}

/// Instances of one component.
pub(crate) struct Pool<W: World> {
    factory: Arc<Factory<W>>,
    usage: Use,
    /// How long a call waits for an instance.
    wait: Duration,
    instances: u32,
    /// A permit for each instance that may be in use.
    slots: Arc<Semaphore>,
    idle: Mutex<Vec<Instance<W>>>,
    retired: AtomicU64,
    /// What the engine has promised.
    _room: OwnedSemaphorePermit,
}

impl<W: World> Pool<W> {
    /// A pool around its first instance. `room` is what the engine has promised, which bounds how many instances there will be.
    pub(crate) fn new(factory: Arc<Factory<W>>, first: Instance<W>, usage: Use, wait: Duration, room: OwnedSemaphorePermit) -> Arc<Self> {
        let instances = u32::try_from(room.num_permits()).unwrap_or(u32::MAX);
        let slots = Arc::new(Semaphore::new(room.num_permits()));
        Arc::new(Self { factory, usage, wait, instances, slots, idle: Mutex::new(vec![first]), retired: AtomicU64::new(0), _room: room })
    }

    /// Makes and opens an instance on the components' own threads.
    pub(crate) async fn first(factory: &Arc<Factory<W>>) -> Result<(Instance<W>, W::Info), Error> {
        let component = factory.component().to_owned();
        let making = Arc::clone(factory);
        let task = factory.engine().spawn(async move { making.make().await });
        let Some(task) = task else { return Err(Error::ShutDown { component }) };
        let mut task = Running { task, abandon: true };
        (&mut task.task).await.unwrap_or_else(|error| Err(Error::Host { component, operation: "open", reason: error.to_string() }))
    }

    /// Calls the component in an instance that is free, or in a new one.
    pub(crate) async fn call<T, F>(self: &Arc<Self>, operation: &'static str, call: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: for<'a> FnOnce(&'a W, &'a mut Store<State>) -> Call<'a, T> + Send + 'static,
    {
        let watch = self.factory.engine().metrics().call(self.factory.role(), operation);
        let result = self.call_in_time(operation, call).await;
        watch.ended(result.as_ref().err());
        result
    }

    /// [Calls](Self::call) the component, and gives up when `limit` has passed, the wait for an instance included.
    pub(crate) async fn call_within<T, F>(self: &Arc<Self>, limit: Duration, operation: &'static str, call: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: for<'a> FnOnce(&'a W, &'a mut Store<State>) -> Call<'a, T> + Send + 'static,
    {
        let watch = self.factory.engine().metrics().call(self.factory.role(), operation);
        let result = tokio::time::timeout(limit, self.call_in_time(operation, call)).await.unwrap_or_else(|_| {
            let component = self.factory.component().to_owned();
            Err(Error::TimedOut { component, operation, limit, kind: Time::Clock })
        });
        watch.ended(result.as_ref().err());
        result
    }

    async fn call_in_time<T, F>(self: &Arc<Self>, operation: &'static str, call: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: for<'a> FnOnce(&'a W, &'a mut Store<State>) -> Call<'a, T> + Send + 'static,
    {
        let component = || self.factory.component().to_owned();
        let permit = match tokio::time::timeout(self.wait, Arc::clone(&self.slots).acquire_owned()).await {
            Ok(Ok(permit)) => permit,
            Ok(Err(_)) => return Err(Error::ShutDown { component: component() }),
            Err(_) => return Err(Error::NoInstance { component: component(), operation, waited: self.wait }),
        };
        let pool = Arc::clone(self);
        let task = self.factory.engine().spawn(async move {
            let result = pool.call_in_instance(operation, call).await;
            // Only now, when the instance is back in its place or gone.
            drop(permit);
            result
        });
        let Some(task) = task else { return Err(Error::ShutDown { component: component() }) };
        let mut task = Running { task, abandon: self.usage == Use::Alike };
        match (&mut task.task).await {
            Ok(result) => result,
            Err(error) => Err(Error::Host { component: component(), operation, reason: error.to_string() }),
        }
    }

    async fn call_in_instance<T, F>(&self, operation: &'static str, call: F) -> Result<T, Error>
    where
        F: for<'a> FnOnce(&'a W, &'a mut Store<State>) -> Call<'a, T> + Send,
    {
        let idle = self.idle().pop();
        let mut instance = match idle {
            Some(instance) => instance,
            None => self.factory.make().await?.0,
        };
        let component = || self.factory.component().to_owned();
        match instance.call(&self.factory, operation, call).await {
            Ok(answer) => {
                if instance.is_used_up() && self.usage != Use::Stateful {
                    self.retire(instance);
                } else {
                    self.idle().push(instance);
                }
                answer.map_err(|error| Error::Guest { component: component(), operation, error })
            }
            Err(error) => {
                drop(instance);
                tracing::error!(%error, "an instance was discarded");
                if self.usage == Use::Stateful {
                    tracing::error!(component = component(), "the component keeps its state in its one instance: all of it is lost");
                }
                Err(error)
            }
        }
    }

    /// Ends an instance between two calls, so that none fails in it for want of memory.
    fn retire(&self, instance: Instance<W>) {
        drop(instance);
        self.retired.fetch_add(1, Ordering::Relaxed);
        self.factory.engine().metrics().retired(self.factory.role());
        tracing::debug!(
            component = self.factory.component(),
            "the calls of an instance have taken half of the memory that was left for them, and it is replaced"
        );
    }

    /// Instances that were ended because of the memory that they had taken.
    pub(crate) fn retired(&self) -> u64 {
        self.retired.load(Ordering::Relaxed)
    }

    /// Instances that there are: those that wait, and those in which a call runs.
    pub(crate) fn instances(&self) -> usize {
        self.idle().len() + self.max_instances().saturating_sub(self.slots.available_permits())
    }

    /// Instances that there may be.
    pub(crate) fn max_instances(&self) -> usize {
        self.instances as usize
    }

    /// What the component was refused.
    pub(crate) fn denials(&self) -> &Arc<Denials> {
        self.factory.denials()
    }

    /// Lets no new call begin, waits for those that run until `deadline` has passed, and ends the idle instances.
    pub(crate) async fn shut_down(&self, deadline: Duration) {
        let drained = tokio::time::timeout(deadline, self.slots.acquire_many(self.instances)).await.is_ok();
        if !drained {
            tracing::warn!(
                component = self.factory.component(),
                ?deadline,
                "calls into a component still run; they are left to their own deadlines"
            );
        }
        self.slots.close();
        self.idle().clear();
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Instance<W>>> {
        self.idle.lock()
    }
}

/// A call on the components' threads. It has deadlines, so it ends by itself even where it may not be ended with its caller.
struct Running<T> {
    task: JoinHandle<T>,
    /// Whether it ends when the caller does not wait any more.
    abandon: bool,
}

impl<T> Drop for Running<T> {
    fn drop(&mut self) {
        if self.abandon {
            self.task.abort();
        }
    }
}
