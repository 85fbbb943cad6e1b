//! The addresses that connections go to: those of a name that may be reached.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper_util::client::legacy::connect::dns::Name;
use tower_service::Service;

use crate::grants::HttpRule;
use crate::grants::host::dns_name;
use crate::net::{MAX_ADDRESSES, Resolver, obstacle};

/// Resolves a name, once for each connection, and gives only what may be connected to.
#[derive(Clone)]
pub(super) struct CheckedResolver {
    rules: Arc<[HttpRule]>,
    resolver: Arc<dyn Resolver>,
}

/// Why a name has no addresses for a component.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    /// The request's URL was checked before; this is for what the two might read differently.
    #[error("the host {0:?} is not granted to this component")]
    Name(String),
    /// The name leads where no name may lead.
    #[error("the host {name} resolves to {address} ({kind}), where no name may lead")]
    Address { name: String, address: IpAddr, kind: &'static str },
}

impl CheckedResolver {
    pub(super) fn new(rules: &Arc<[HttpRule]>, resolver: &Arc<dyn Resolver>) -> Self {
        Self { rules: Arc::clone(rules), resolver: Arc::clone(resolver) }
    }

    async fn resolve(self, asked: Name) -> Result<std::vec::IntoIter<SocketAddr>, BoxError> {
        let named = dns_name(asked.as_str()).filter(|name| self.rules.iter().any(|rule| rule.names(name)));
        let Some(name) = named else { return Err(Refused::Name(asked.to_string()).into()) };
        let found = self.resolver.resolve(&name).await?.into_iter().take(MAX_ADDRESSES);
        let (allowed, refused): (Vec<_>, Vec<_>) = found.partition(|address| obstacle(&name, *address).is_none());
        if let (true, Some(&address)) = (allowed.is_empty(), refused.first()) {
            let kind = obstacle(&name, address).unwrap_or_default();
            return Err(Refused::Address { name, address, kind }.into());
        }
        // The port is that of the URL.
        Ok(allowed.into_iter().map(|address| SocketAddr::new(address, 0)).collect::<Vec<_>>().into_iter())
    }
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl Service<Name> for CheckedResolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        Box::pin(self.clone().resolve(name))
    }
}
