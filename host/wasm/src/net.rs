//! The network as components see it: WASI's sockets behind the component's grants, checked by name and again by address.
//!
//! A component may ask for the addresses of names that its rules name, of no others: DNS reaches the whole world, and could carry anything there. It may
//! connect to an address that a rule names, or that was found under a name that a rule names and is public. It may not listen, and has no UDP.

mod gate;
mod resolver;
mod sockets;

use std::net::IpAddr;

pub use resolver::{Resolver, SystemResolver};

pub(crate) use gate::Gate;
pub(crate) use sockets::add_to_linker;

use crate::grants::address::{canonical, reserved};
use crate::grants::host::is_localhost;

/// Addresses of one name that are considered: a name has a few, and the rest would be remembered for nothing.
pub(crate) const MAX_ADDRESSES: usize = 32;

/// What keeps `name` from leading to `address`, if anything does: DNS belongs to whoever has the name, and is not to choose among the machines around
/// the host. `localhost` alone is this machine, and nothing else.
pub(crate) fn obstacle(name: &str, address: IpAddr) -> Option<&'static str> {
    let address = canonical(address);
    match reserved(address) {
        _ if is_localhost(name) => (!address.is_loopback()).then_some("not a loopback address"),
        Some(range) => Some(range.kind),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_leads_to_public_addresses_and_localhost_to_the_machine_itself() {
        for (name, address, obstructed) in [
            ("example.org", "1.1.1.1", false),
            ("example.org", "127.0.0.1", true),
            ("example.org", "::ffff:10.0.0.1", true),
            ("example.org", "64:ff9b::7f00:1", true),
            ("example.org", "2002:a9fe:a9fe::1", true),
            ("example.org", "2606:4700::1111", false),
            ("localhost", "127.0.0.1", false),
            ("localhost", "::1", false),
            ("localhost", "10.0.0.1", true),
            ("localhost", "1.1.1.1", true),
        ] {
            assert_eq!(obstacle(name, address.parse().unwrap()).is_some(), obstructed, "{name} at {address}");
        }
    }
}
