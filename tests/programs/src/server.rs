//! What all servers of tests have in common: a port of their own, and a beginning that is waited for.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::Child;
use std::time::{Duration, Instant};

/// Between two looks at whether a server serves.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// A port of 127.0.0.1 that is free now.
#[expect(clippy::panic, reason = "this is how a test fails")]
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
    listener.unwrap_or_else(|error| panic!("there is no free port: {error}")).port()
}

/// Waits until somebody can connect to the port. `false` if the server ends before, or it takes longer than `patience`.
pub(crate) fn serves(child: &mut Child, port: u16, patience: Duration) -> bool {
    let begin = Instant::now();
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
        if begin.elapsed() > patience || !matches!(child.try_wait(), Ok(None)) {
            return false;
        }
        std::thread::sleep(LOOK_AGAIN);
    }
    true
}
