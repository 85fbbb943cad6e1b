//! The primitives that the swap is built with here: shuttle decides at each of them who goes on, and when a wait has taken too long.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::ops::Deref;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use shuttle::rand::{Rng as _, thread_rng};

pub(crate) use shuttle_parking_lot::Mutex;
pub(crate) use shuttle_tokio::sync::RwLockReadGuard;

thread_local! {
    /// A bug: nobody waits for those who write, nor they for anybody. (All threads of a model are one to the system.)
    pub(crate) static GATE_IS_OPEN: Cell<bool> = const { Cell::new(false) };
}

/// A pointer that is exchanged at once. Those who look and those who exchange it meet here.
pub(crate) struct ArcSwap<T>(Mutex<Arc<T>>);

impl<T> ArcSwap<T> {
    pub(crate) fn new(value: Arc<T>) -> Self {
        Self(Mutex::new(value))
    }

    pub(crate) fn load(&self) -> impl Deref<Target = Arc<T>> + use<T> {
        Box::new(self.load_full())
    }

    pub(crate) fn load_full(&self) -> Arc<T> {
        Arc::clone(&self.0.lock())
    }

    pub(crate) fn store(&self, value: Arc<T>) {
        *self.0.lock() = value;
    }

    pub(crate) fn swap(&self, value: Arc<T>) -> Arc<T> {
        std::mem::replace(&mut *self.0.lock(), value)
    }
}

pub(crate) struct RwLock<T>(shuttle_tokio::sync::RwLock<T>);

pub(crate) struct RwLockWriteGuard<'a, T>(
    #[expect(dead_code, reason = "held and given back")] Option<shuttle_tokio::sync::RwLockWriteGuard<'a, T>>,
);

impl<T> RwLock<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(shuttle_tokio::sync::RwLock::new(value))
    }

    pub(crate) async fn read(&self) -> RwLockReadGuard<'_, T> {
        self.0.read().await
    }

    pub(crate) async fn write(&self) -> RwLockWriteGuard<'_, T> {
        RwLockWriteGuard(if GATE_IS_OPEN.get() { None } else { Some(self.0.write().await) })
    }
}

/// Time is up at any moment, or never.
pub(crate) async fn timeout<F: Future>(_: Duration, future: F) -> Result<F::Output, ()> {
    let mut future = pin!(future);
    poll_fn(|context| {
        if thread_rng().gen_ratio(1, 16) {
            return Poll::Ready(Err(()));
        }
        future.as_mut().poll(context).map(Ok)
    })
    .await
}

/// Others go on meanwhile.
pub(crate) async fn sleep(_: Duration) {
    shuttle::future::yield_now().await;
}
