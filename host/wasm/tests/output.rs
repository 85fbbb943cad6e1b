//! What a component says is in the host's log, and no amount of it does harm.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::io::Write;
use std::sync::{Arc, Mutex};

use agent_host_session::ports::store::Store;
use agent_host_wasm::{Engine, PersistenceOptions};
use support::{misbehaving, options, session};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
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
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    for (level, words) in [("INFO", "from stdout"), ("WARN", "from stderr\\u{1b}[31m"), ("ERROR", "from logging")] {
        let line = text.lines().find(|line| line.contains(words)).unwrap_or_else(|| panic!("{words:?} is not in {text}"));
        assert!(line.contains(level) && line.contains("misbehaving.wasm"), "{line}");
    }
    assert!(!text.contains('\u{1b}'));

    store.load_session(&session("flood")).await.unwrap();
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(text.contains("the rest is dropped"));
    assert!(text.lines().count() < 1000, "{} lines", text.lines().count());
}
