//! What one instance may look up and connect to.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use parking_lot::Mutex;
use wasmtime_wasi::sockets::SocketAddrUse;

use super::{MAX_ADDRESSES, obstacle};
use crate::capabilities::Capabilities;
use crate::grants::address::canonical;
use crate::grants::denials::Denial;
use crate::grants::host::{Ports, dns_name};

/// Addresses that an instance has found and may connect to. The oldest is forgotten first: who wants it again looks it up again.
const MAX_FOUND: usize = 1024;

/// What one instance may look up and connect to.
pub(crate) struct Gate {
    capabilities: Arc<Capabilities>,
    /// Addresses that were found under names that rules name, with the ports that those rules open.
    found: Mutex<VecDeque<Found>>,
}

#[derive(Clone, PartialEq, Eq)]
struct Found {
    address: IpAddr,
    ports: Ports,
}

/// Why a name has no addresses for a component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LookupError {
    /// It is no name.
    Invalid,
    /// No rule names it, or it leads where no name may lead.
    Denied,
    /// Nobody knows it.
    Unknown,
}

impl Gate {
    pub(crate) fn new(capabilities: &Arc<Capabilities>) -> Arc<Self> {
        Arc::new(Self { capabilities: Arc::clone(capabilities), found: Mutex::default() })
    }

    /// Whether the instance may use the address so. A refusal is counted.
    pub(crate) fn admits(&self, address: SocketAddr, usage: SocketAddrUse) -> bool {
        let what = match usage {
            SocketAddrUse::TcpConnect if self.may_connect(address) => return true,
            // What every connection begins with: the operating system chooses address and port.
            SocketAddrUse::TcpBind if address.ip().is_unspecified() && address.port() == 0 => return true,
            SocketAddrUse::TcpConnect => "connect to",
            SocketAddrUse::TcpBind | SocketAddrUse::TcpListen => "listen at",
            SocketAddrUse::TcpAccept => "accept",
            SocketAddrUse::UdpBind | SocketAddrUse::UdpSend | SocketAddrUse::UdpReceive => "UDP with",
        };
        self.capabilities.denials.record(Denial::Address, &format!("{what} {address}"));
        false
    }

    fn may_connect(&self, address: SocketAddr) -> bool {
        let (ip, port) = (canonical(address.ip()), address.port());
        let named = self.capabilities.grants.network.iter().any(|rule| rule.admits(ip, port));
        named || self.found.lock().iter().any(|found| found.address == ip && found.ports.contain(port))
    }

    /// The addresses of a name, those that the instance may connect to.
    ///
    /// # Errors
    /// [`LookupError`]; a refusal is counted.
    pub(crate) async fn look_up(&self, text: &str) -> Result<Vec<IpAddr>, LookupError> {
        // Nobody has to be asked.
        if let Ok(address) = text.parse() {
            return Ok(vec![address]);
        }
        let Some(name) = dns_name(text) else { return Err(LookupError::Invalid) };
        let denials = &self.capabilities.denials;
        let rules = &self.capabilities.grants.network;
        let ports: Vec<&Ports> = rules.iter().filter_map(|rule| rule.ports_of(&name)).collect();
        if ports.is_empty() {
            denials.record(Denial::Name, &name);
            return Err(LookupError::Denied);
        }
        let found = self.capabilities.resolver.resolve(&name).await.map_err(|error| {
            tracing::debug!(component = self.capabilities.component(), name, %error, "a name cannot be looked up");
            LookupError::Unknown
        })?;
        let mut allowed = Vec::new();
        let mut refused = None;
        for address in found.into_iter().take(MAX_ADDRESSES) {
            let is = canonical(address);
            match obstacle(&name, address) {
                None => {
                    self.remember(is, &ports);
                    allowed.push(address);
                }
                // A rule that names the address itself is enough to connect.
                Some(_) if rules.iter().any(|rule| rule.names_address(is)) => allowed.push(address),
                Some(kind) => refused = refused.or(Some((address, kind))),
            }
        }
        if let (true, Some((address, kind))) = (allowed.is_empty(), refused) {
            denials.record(Denial::Name, &format!("{name}, which is {address} ({kind})"));
            return Err(LookupError::Denied);
        }
        Ok(allowed)
    }

    fn remember(&self, address: IpAddr, ports: &[&Ports]) {
        let mut all = self.found.lock();
        for ports in ports {
            let found = Found { address, ports: (*ports).clone() };
            if !all.contains(&found) {
                all.push_back(found);
            }
        }
        while all.len() > MAX_FOUND {
            all.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grants::{Denials, Grants};
    use crate::limits::Limits;
    use crate::net::Resolver;

    /// Gives each name `n<i>.example.org` the address `1.<i / 256>.<i % 256>.1`.
    #[derive(Debug)]
    struct Numbered;

    #[async_trait::async_trait]
    impl Resolver for Numbered {
        async fn resolve(&self, name: &str) -> std::io::Result<Vec<IpAddr>> {
            let number: usize = name.strip_prefix('n').unwrap().strip_suffix(".example.org").unwrap().parse().unwrap();
            Ok(vec![format!("1.{}.{}.1", number / 256, number % 256).parse().unwrap()])
        }
    }

    fn gate(rules: &[&str]) -> Arc<Gate> {
        let grants = Grants { network: rules.iter().map(|rule| rule.parse().unwrap()).collect(), ..Grants::default() };
        let denials = Denials::new("test".into(), |_| Default::default());
        Gate::new(&Capabilities::new(denials, "test".into(), grants, Limits::default(), Arc::new(Numbered), None).unwrap())
    }

    fn connects(gate: &Gate, address: &str) -> bool {
        gate.admits(address.parse().unwrap(), SocketAddrUse::TcpConnect)
    }

    #[tokio::test]
    async fn an_address_is_open_once_it_was_found_at_the_ports_of_the_rules_that_name_it() {
        let gate = gate(&["n1.example.org:80", "*.example.org:8000-8010"]);
        assert!(!connects(&gate, "1.0.1.1:80"), "it was not looked up");
        assert_eq!(gate.look_up("N1.example.org.").await.unwrap(), ["1.0.1.1".parse::<IpAddr>().unwrap()]);
        for (address, open) in [
            ("1.0.1.1:80", true),
            ("1.0.1.1:8005", true),
            ("1.0.1.1:443", false),
            ("1.0.2.1:8005", false),
            ("[::ffff:1.0.1.1]:80", true),
            ("[64:ff9b::1.0.1.1]:443", false),
        ] {
            assert_eq!(connects(&gate, address), open, "{address}");
        }
        gate.look_up("n2.example.org").await.unwrap();
        assert!(connects(&gate, "1.0.2.1:8005"));
        assert!(!connects(&gate, "1.0.2.1:80"), "the rule for that port names another host");
    }

    #[tokio::test]
    async fn what_was_found_long_ago_is_forgotten() {
        let gate = gate(&["*.example.org:80"]);
        for number in 0..=MAX_FOUND {
            gate.look_up(&format!("n{number}.example.org")).await.unwrap();
        }
        assert!(!connects(&gate, "1.0.0.1:80"));
        assert!(connects(&gate, "1.0.1.1:80") && connects(&gate, "1.4.0.1:80"));
    }

    #[test]
    fn nothing_but_connecting_is_open() {
        let gate = gate(&["127.0.0.1:*"]);
        let address = "127.0.0.1:80".parse().unwrap();
        for usage in [
            SocketAddrUse::TcpBind,
            SocketAddrUse::TcpListen,
            SocketAddrUse::TcpAccept,
            SocketAddrUse::UdpBind,
            SocketAddrUse::UdpSend,
            SocketAddrUse::UdpReceive,
        ] {
            assert!(!gate.admits(address, usage), "{usage:?}");
        }
        assert!(gate.admits(address, SocketAddrUse::TcpConnect));
        assert!(gate.admits("0.0.0.0:0".parse().unwrap(), SocketAddrUse::TcpBind), "every connection begins so");
        assert!(!gate.admits("0.0.0.0:80".parse().unwrap(), SocketAddrUse::TcpBind));
        assert_eq!(gate.capabilities.denials.count(Denial::Address), 7);
    }
}
