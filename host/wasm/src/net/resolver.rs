//! Who knows the addresses of names.

use std::fmt;
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::Semaphore;

use super::MAX_ADDRESSES;

/// Lookups that the operating system has to do at once. Each keeps a thread until it is done, also when nobody waits for it any more.
const MAX_LOOKUPS: usize = 32;

/// Who knows the addresses of names. A port, so that a test can have names lead where it likes.
#[async_trait]
pub trait Resolver: fmt::Debug + Send + Sync {
    /// The addresses of a DNS name, which is in lower case and has no dot at its end.
    ///
    /// # Errors
    /// If the name is not known, or nobody who knows it can be reached.
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>>;
}

/// The operating system's resolver: `/etc/hosts`, DNS, and whatever else it was told to ask.
#[derive(Debug)]
pub struct SystemResolver {
    lookups: Arc<Semaphore>,
}

impl Default for SystemResolver {
    fn default() -> Self {
        Self { lookups: Arc::new(Semaphore::new(MAX_LOOKUPS)) }
    }
}

#[async_trait]
impl Resolver for SystemResolver {
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let permit = Arc::clone(&self.lookups).acquire_owned().await.map_err(io::Error::other)?;
        let name = name.to_owned();
        let lookup = tokio::task::spawn_blocking(move || {
            let found = (name.as_str(), 0).to_socket_addrs().map(|found| found.map(|address| address.ip()).take(MAX_ADDRESSES).collect());
            drop(permit);
            found
        });
        lookup.await.map_err(io::Error::other)?
    }
}
