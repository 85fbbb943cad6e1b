//! What an IP address really is, and which addresses are nobody's unless a rule names them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// The address that packets to `address` end up at: IPv6 has many ways to write an IPv4 address, and a rule must not depend on which one was used.
///
/// These are IPv4-mapped, IPv4-compatible and IPv4-translated addresses, NAT64 (RFC 6052) and 6to4 (RFC 3056).
pub(crate) fn canonical(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(long) => embedded(long).map_or(address, IpAddr::V4),
    }
}

fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    match address.segments() {
        // The unspecified address and the loopback address, which are IPv6's own.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..] => Some(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low))),
        _ => None,
    }
}

/// A range of addresses that a name must not lead to.
#[derive(Debug)]
pub(crate) struct Reserved {
    /// What it is for.
    pub(crate) kind: &'static str,
    network: IpNet,
}

/// The range that a canonical address is in; `None` for a public one.
pub(crate) fn reserved(address: IpAddr) -> Option<&'static Reserved> {
    RESERVED.iter().find(|range| range.network.contains(&address))
}

/// Whether a rule for `network` is one for the canonical `address`.
///
/// A rule names a reserved address only if it lies within the address's range: `10.0.0.0/8` names private addresses, `0.0.0.0/0` public ones only, and
/// the address of a cloud's metadata service is named by itself.
pub(crate) fn admits(network: &IpNet, address: IpAddr) -> bool {
    network.contains(&address) && reserved(address).is_none_or(|range| range.network.contains(network))
}

/// From the registries of special-purpose addresses (RFC 6890 and its updates) and the clouds' documentation. The first one that fits counts.
static RESERVED: [Reserved; 40] = [
    // What gives credentials to whoever asks. AWS, Azure, Google and others; ECS; EKS; Azure's wire server; Alibaba; Oracle; then by IPv6.
    v4("cloud metadata", [169, 254, 169, 254], 32),
    v4("cloud metadata", [169, 254, 170, 2], 32),
    v4("cloud metadata", [169, 254, 170, 23], 32),
    v4("cloud metadata", [168, 63, 129, 16], 32),
    v4("cloud metadata", [100, 100, 100, 200], 32),
    v4("cloud metadata", [192, 0, 0, 192], 32),
    v6("cloud metadata", [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254], 128),
    v6("cloud metadata", [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23], 128),
    v6("cloud metadata", [0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254], 128),
    // This machine, and the network that it is in.
    v4("unspecified", [0, 0, 0, 0], 8),
    v4("loopback", [127, 0, 0, 0], 8),
    v4("private", [10, 0, 0, 0], 8),
    v4("private", [172, 16, 0, 0], 12),
    v4("private", [192, 168, 0, 0], 16),
    v4("link-local", [169, 254, 0, 0], 16),
    v4("carrier-grade NAT", [100, 64, 0, 0], 10),
    v6("unspecified", [0, 0, 0, 0, 0, 0, 0, 0], 128),
    v6("loopback", [0, 0, 0, 0, 0, 0, 0, 1], 128),
    v6("unique-local", [0xfc00, 0, 0, 0, 0, 0, 0, 0], 7),
    v6("link-local", [0xfe80, 0, 0, 0, 0, 0, 0, 0], 10),
    v6("site-local", [0xfec0, 0, 0, 0, 0, 0, 0, 0], 10),
    // Of this network's own translator, which leads anywhere.
    v6("local NAT64", [0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48),
    // Nobody's.
    v4("IETF protocol", [192, 0, 0, 0], 24),
    v4("6to4 relay", [192, 88, 99, 0], 24),
    v4("documentation", [192, 0, 2, 0], 24),
    v4("documentation", [198, 51, 100, 0], 24),
    v4("documentation", [203, 0, 113, 0], 24),
    v4("benchmark", [198, 18, 0, 0], 15),
    v4("multicast", [224, 0, 0, 0], 4),
    v4("reserved", [240, 0, 0, 0], 4),
    v6("benchmark", [0x2001, 2, 0, 0, 0, 0, 0, 0], 48),
    // Teredo among them, which leads to IPv4 addresses.
    v6("IETF protocol", [0x2001, 0, 0, 0, 0, 0, 0, 0], 23),
    v6("documentation", [0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32),
    v6("documentation", [0x3fff, 0, 0, 0, 0, 0, 0, 0], 20),
    v6("multicast", [0xff00, 0, 0, 0, 0, 0, 0, 0], 8),
    v6("discard", [0x100, 0, 0, 0, 0, 0, 0, 0], 64),
    v6("segment routing", [0x5f00, 0, 0, 0, 0, 0, 0, 0], 16),
    // What is left beside 2000::/3, the only addresses that were ever given to anybody.
    v6("reserved", [0, 0, 0, 0, 0, 0, 0, 0], 3),
    v6("reserved", [0x4000, 0, 0, 0, 0, 0, 0, 0], 2),
    v6("reserved", [0x8000, 0, 0, 0, 0, 0, 0, 0], 1),
];

const fn v4(kind: &'static str, [a, b, c, d]: [u8; 4], prefix: u8) -> Reserved {
    Reserved { kind, network: IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)) }
}

const fn v6(kind: &'static str, [a, b, c, d, e, f, g, h]: [u16; 8], prefix: u8) -> Reserved {
    Reserved { kind, network: IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, e, f, g, h), prefix)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_ipv4_address_is_recognised_however_it_is_written() {
        for (written, is) in [
            ("10.1.2.3", "10.1.2.3"),
            ("::ffff:10.1.2.3", "10.1.2.3"),
            ("::10.1.2.3", "10.1.2.3"),
            ("::ffff:0:10.1.2.3", "10.1.2.3"),
            ("64:ff9b::10.1.2.3", "10.1.2.3"),
            ("2002:a01:203::1", "10.1.2.3"),
            ("2002:7f00:1:1234::", "127.0.0.1"),
            ("::ffff:127.0.0.1", "127.0.0.1"),
            ("::1", "::1"),
            ("::", "::"),
            ("2606:4700::1111", "2606:4700::1111"),
            ("64:ff9b:1::a01:203", "64:ff9b:1::a01:203"),
        ] {
            assert_eq!(canonical(address(written)), address(is), "{written}");
        }
    }

    #[test]
    fn what_is_not_public_is_known() {
        for (text, kind) in [
            ("127.0.0.1", "loopback"),
            ("127.255.255.255", "loopback"),
            ("0.0.0.0", "unspecified"),
            ("0.1.2.3", "unspecified"),
            ("10.0.0.1", "private"),
            ("172.16.0.1", "private"),
            ("172.31.255.255", "private"),
            ("192.168.1.1", "private"),
            ("169.254.1.1", "link-local"),
            ("169.254.169.254", "cloud metadata"),
            ("168.63.129.16", "cloud metadata"),
            ("100.100.100.200", "cloud metadata"),
            ("100.64.0.1", "carrier-grade NAT"),
            ("100.127.255.255", "carrier-grade NAT"),
            ("192.0.2.1", "documentation"),
            ("198.51.100.1", "documentation"),
            ("203.0.113.1", "documentation"),
            ("198.18.0.1", "benchmark"),
            ("198.19.255.255", "benchmark"),
            ("224.0.0.1", "multicast"),
            ("255.255.255.255", "reserved"),
            ("::", "unspecified"),
            ("::1", "loopback"),
            ("fd12:3456::1", "unique-local"),
            ("fd00:ec2::254", "cloud metadata"),
            ("fe80::1", "link-local"),
            ("ff02::1", "multicast"),
            ("2001:db8::1", "documentation"),
            ("2001:0:1234::1", "IETF protocol"),
            ("2001:2::1", "benchmark"),
            ("64:ff9b:1::1", "local NAT64"),
            ("4000::1", "reserved"),
            ("8000::1", "reserved"),
        ] {
            assert_eq!(reserved(address(text)).map(|range| range.kind), Some(kind), "{text}");
        }
        for public in
            ["1.1.1.1", "9.255.255.255", "11.0.0.0", "172.15.255.255", "172.32.0.0", "100.63.255.255", "100.128.0.0", "2606:4700::1111"]
        {
            assert!(reserved(address(public)).is_none(), "{public}");
        }
    }

    #[test]
    fn a_reserved_address_is_named_only_by_a_network_within_its_range() {
        for (network, text, admitted) in [
            ("10.0.0.0/8", "10.1.2.3", true),
            ("10.1.0.0/16", "10.2.0.1", false),
            ("127.0.0.1/32", "127.0.0.1", true),
            ("1.1.1.1/32", "1.1.1.1", true),
            ("0.0.0.0/0", "1.1.1.1", true),
            ("0.0.0.0/0", "10.1.2.3", false),
            ("0.0.0.0/0", "127.0.0.1", false),
            ("::/0", "2606:4700::1111", true),
            ("::/0", "::1", false),
            ("::/0", "1.1.1.1", false),
            ("169.254.0.0/16", "169.254.1.1", true),
            ("169.254.0.0/16", "169.254.169.254", false),
            ("169.254.169.254/32", "169.254.169.254", true),
            ("fd00::/8", "fd12::1", true),
        ] {
            assert_eq!(admits(&network.parse().unwrap(), address(text)), admitted, "{network} and {text}");
        }
    }
}
