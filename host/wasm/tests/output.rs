//! What a component says is in the host's log, and no amount of it does harm.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::io::Write;
use std::sync::Arc;

use agent_host_session::ports::store::Store;
use agent_host_wasm::{Engine, PersistenceOptions};
use parking_lot::Mutex;
use support::{guest, misbehaving, options, probe, session, start};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn what_a_component_says_is_logged_within_bounds() {
    let log = Log::default();
    let writer = log.clone();
    // For all threads: components run on their own.
    tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false).init();
    let engine = Engine::new(options()).unwrap();
    let store = misbehaving(&engine, &[], PersistenceOptions::default()).await;

    store.load_session(&session("say")).await.unwrap();
    let text = String::from_utf8(log.0.lock().clone()).unwrap();
    for (level, words) in [("INFO", "from stdout"), ("WARN", "from stderr\\u{1b}[31m"), ("ERROR", "from logging")] {
        let line = text.lines().find(|line| line.contains(words)).unwrap_or_else(|| panic!("{words:?} is not in {text}"));
        assert!(line.contains(level) && line.contains("misbehaving.wasm"), "{line}");
    }
    assert!(!text.contains('\u{1b}'));

    store.load_session(&session("flood")).await.unwrap();
    let text = String::from_utf8(log.0.lock().clone()).unwrap();
    assert!(text.contains("the rest is dropped"));
    assert!(text.lines().count() < 1000, "{} lines", text.lines().count());

    let mut options = PersistenceOptions::default();
    options.grants.network.push("db.example.org:5432".parse().unwrap());
    let store = start(&engine, guest("prober"), options).await;
    for port in 1..=5 {
        probe(&store, &format!("connect 127.0.0.1:{port}")).await;
        probe(&store, &format!("fetch GET http://localhost:{port}/?token=secret")).await;
    }
    probe(&store, "lookup data.evil.example").await;
    probe(&store, "database secrets").await;
    let text = String::from_utf8(log.0.lock().clone()).unwrap();
    let refusals: Vec<&str> =
        text.lines().filter(|line| line.contains("refused what it was not granted") && line.contains("prober.wasm")).collect();
    let [address, url, name, database] = &refusals[..] else { panic!("one line for each kind: {refusals:#?}") };
    for (line, denial, target) in [
        (address, "address", "connect to 127.0.0.1:1"),
        (url, "url", "http://localhost:1"),
        (name, "name", "data.evil.example"),
        (database, "database", "secrets"),
    ] {
        assert!(line.contains("WARN") && line.contains(&format!("denial={denial} target=\"{target}\"")), "{line}");
    }
    assert!(!text.contains("token=secret"), "a URL may hold secrets");
}
