//! WASI's socket interfaces as the linker gives them to components: those of wasmtime, but for the functions by which a component could get further than
//! it was granted. wasmtime can only allow all lookups or none, and says nothing of a socket that it refuses to create.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use wasmtime::Result;
use wasmtime::component::{HasData, Linker, Resource};
use wasmtime_wasi::p2::bindings::sockets::ip_name_lookup::{self, ResolveAddressStream};
use wasmtime_wasi::p2::bindings::sockets::network::{self, ErrorCode, IpAddress, IpAddressFamily, Network};
use wasmtime_wasi::p2::bindings::sockets::{tcp_create_socket, udp_create_socket};
use wasmtime_wasi::p2::{DynPollable, Pollable, SocketError, TcpSocket, UdpSocket, subscribe};
use wasmtime_wasi::sockets::WasiSocketsView as _;

use super::gate::{Gate, LookupError};
use crate::grants::denials::Denial;
use crate::state::State;

/// Gives the linker all of WASI, with the network behind the grants.
pub(crate) fn add_to_linker(linker: &mut Linker<State>) -> Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)?;
    linker.allow_shadowing(true);
    tcp_create_socket::add_to_linker::<State, HasSockets>(linker, |state| Sockets(state))?;
    udp_create_socket::add_to_linker::<State, HasSockets>(linker, |state| Sockets(state))?;
    ip_name_lookup::add_to_linker::<State, HasSockets>(linker, |state| Sockets(state))?;
    linker.allow_shadowing(false);
    Ok(())
}

struct HasSockets;

impl HasData for HasSockets {
    type Data<'a> = Sockets<'a>;
}

/// The sockets of an instance.
struct Sockets<'a>(&'a mut State);

impl network::Host for Sockets<'_> {
    fn convert_error_code(&mut self, error: SocketError) -> Result<ErrorCode> {
        error.downcast()
    }

    fn network_error_code(&mut self, error: Resource<wasmtime::Error>) -> Result<Option<ErrorCode>> {
        self.0.sockets().network_error_code(error)
    }
}

impl network::HostNetwork for Sockets<'_> {
    fn drop(&mut self, network: Resource<Network>) -> Result<()> {
        network::HostNetwork::drop(&mut self.0.sockets(), network)
    }
}

impl tcp_create_socket::Host for Sockets<'_> {
    fn create_tcp_socket(&mut self, family: IpAddressFamily) -> Result<Resource<TcpSocket>, SocketError> {
        let capabilities = self.0.capabilities();
        // Each is a file descriptor of the host.
        if capabilities.grants.network.is_empty() {
            capabilities.denials.record(Denial::Address, "a TCP socket");
            return Err(ErrorCode::AccessDenied.into());
        }
        tcp_create_socket::Host::create_tcp_socket(&mut self.0.sockets(), family)
    }
}

impl udp_create_socket::Host for Sockets<'_> {
    async fn create_udp_socket(&mut self, _: IpAddressFamily) -> Result<Resource<UdpSocket>, SocketError> {
        self.0.capabilities().denials.record(Denial::Address, "a UDP socket");
        Err(ErrorCode::AccessDenied.into())
    }
}

/// The addresses of a name, once they are known.
///
/// To wasmtime's bindings it is a [`ResolveAddressStream`], which nobody but wasmtime can make. The number of the resource is all that passes through.
enum Lookup {
    Runs(Pin<Box<dyn Future<Output = Result<Vec<IpAddr>, LookupError>> + Send>>),
    Done(Result<std::vec::IntoIter<IpAddr>, LookupError>),
}

impl Lookup {
    fn begin(gate: Arc<Gate>, name: String) -> Self {
        Self::Runs(Box::pin(async move { gate.look_up(&name).await }))
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<&mut Result<std::vec::IntoIter<IpAddr>, LookupError>> {
        if let Self::Runs(lookup) = self
            && let Poll::Ready(found) = lookup.as_mut().poll(context)
        {
            *self = Self::Done(found.map(Vec::into_iter));
        }
        match self {
            Self::Done(found) => Poll::Ready(found),
            Self::Runs(_) => Poll::Pending,
        }
    }
}

#[async_trait::async_trait]
impl Pollable for Lookup {
    async fn ready(&mut self) {
        std::future::poll_fn(|context| self.poll(context).map(drop)).await;
    }
}

impl From<LookupError> for ErrorCode {
    fn from(error: LookupError) -> Self {
        match error {
            LookupError::Invalid => Self::InvalidArgument,
            LookupError::Denied => Self::AccessDenied,
            LookupError::Unknown => Self::NameUnresolvable,
        }
    }
}

impl ip_name_lookup::Host for Sockets<'_> {
    fn resolve_addresses(&mut self, network: Resource<Network>, name: String) -> Result<Resource<ResolveAddressStream>, SocketError> {
        self.0.table.get(&network)?;
        let lookup = self.0.table.push(Lookup::begin(self.0.gate(), name))?;
        Ok(Resource::new_own(lookup.rep()))
    }
}

impl ip_name_lookup::HostResolveAddressStream for Sockets<'_> {
    fn resolve_next_address(&mut self, stream: Resource<ResolveAddressStream>) -> Result<Option<IpAddress>, SocketError> {
        let lookup: &mut Lookup = self.0.table.get_mut(&Resource::new_borrow(stream.rep()))?;
        match lookup.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(addresses)) => Ok(addresses.next().map(|address| address.to_canonical().into())),
            Poll::Ready(Err(error)) => Err(ErrorCode::from(*error).into()),
            Poll::Pending => Err(ErrorCode::WouldBlock.into()),
        }
    }

    fn subscribe(&mut self, stream: Resource<ResolveAddressStream>) -> Result<Resource<DynPollable>> {
        let lookup: Resource<Lookup> = if stream.owned() { Resource::new_own(stream.rep()) } else { Resource::new_borrow(stream.rep()) };
        subscribe(&mut self.0.table, lookup)
    }

    fn drop(&mut self, stream: Resource<ResolveAddressStream>) -> Result<()> {
        self.0.table.delete(Resource::<Lookup>::new_own(stream.rep()))?;
        Ok(())
    }
}
