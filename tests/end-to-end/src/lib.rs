//! What the end-to-end tests are made of: the built host as a process, its clients, and the agents that it runs.
//!
//! The tests themselves are in `tests/`, a file for each theme. They need the binary: `cargo build -p agent-host` makes it, and `AGENT_HOST_BIN`
//! can name another.
//!
//! | file | what it is |
//! | --- | --- |
//! | `setup.rs` | what a host is to be like: its configuration |
//! | `host.rs` | a host as a process: started, stopped, killed, restarted; its log |
//! | `process.rs` | what a process prints, and how it is ended in time |
//! | `database.rs` | the adapter's database, seen from outside |
//! | `faults.rs` | a persistence component that fails as it is told |
//! | `client.rs` | the REST API |
//! | `operator.rs` | the admin calls |
//! | `kit.rs` | the conformance kit |
//! | `receiver.rs` | a receiver of webhooks |
//! | `metrics.rs` | what the host tells Prometheus |
//! | `collector.rs` | a receiver of traces |
//! | `stream.rs` | the WebSocket |
//! | `events.rs` | server-sent events |
//! | `frame.rs` | what comes over both |
//! | `fold.rs` | blocks, folded from events as a client does it |
//! | `scene.rs` | a host with a session that has a stream, as most tests begin |
//! | `stand_in.rs` | shell scripts that speak as `claude` does, for what the real one cannot be made to do |
//!
//! Whatever a test waits for has a deadline, and what does not come in time ends the test with what came instead.

#![forbid(unsafe_code)]
#![expect(clippy::panic, clippy::expect_used, clippy::indexing_slicing, reason = "the support of tests reports by panicking, as tests do")]

mod client;
mod collector;
mod database;
mod events;
mod faults;
mod fold;
mod frame;
mod host;
mod kit;
mod metrics;
mod operator;
mod process;
mod receiver;
mod scene;
mod setup;
mod stand_in;
mod stream;

use std::time::Duration;

pub use agent_host_test_programs::{
    broken_adapter, claude, encrypting_adapter, example_hook, faulty_adapter, guest, http, older_claude, rebuilt_adapter, require,
    shipped_adapter,
};
pub use client::{Answer, Client};
pub use collector::{Collector, Span};
pub use events::Events;
pub use fake_model_api::{ModelApi, Scenarios};
pub use faults::Faults;
pub use fold::{Blocks, Fold};
pub use frame::{Frame, blocks_completed, text_of};
pub use host::Host;
pub use kit::{Kit, Report};
pub use metrics::Metrics;
pub use operator::Operator;
pub use receiver::{Delivery, EventId, Outcome, Receiver};
pub use scene::{Scene, session_with};
pub use setup::Setup;
pub use stand_in::StandIn;
pub use stream::Stream;

/// For anything that a healthy host does: a hundred times what it takes on a quiet machine, so that only a failure is slower.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Between two looks at what tells nobody that it changed.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Waits until `condition` holds. For what no event tells; `what` names it in a failure.
pub async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let looking = async {
        while !condition().await {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    if tokio::time::timeout(DEADLINE, looking).await.is_err() {
        panic!("{what} did not come true within {DEADLINE:?}");
    }
}
