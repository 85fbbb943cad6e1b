//! The rules of `agent-host-wasm` for what a component may reach, from that crate's source.

#[path = "../../../../host/wasm/src/grants/address.rs"]
mod address;
#[path = "../../../../host/wasm/src/grants/host.rs"]
mod host;
#[path = "../../../../host/wasm/src/grants/http.rs"]
mod http;
#[path = "../../../../host/wasm/src/grants/network.rs"]
mod network;

pub use self::host::RuleError;
pub use self::http::HttpRule;
pub use self::network::NetworkRule;
