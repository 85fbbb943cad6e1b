//! What a component says (standard output, standard error, `wasi:logging`) as tracing events, bounded so that no amount of it does harm.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

use crate::bindings::wasi::logging::logging::{self, Level};
use crate::state::State;

/// Longest line in bytes; the rest of a longer one is cut. Longer than any message for people.
const MAX_LINE_BYTES: usize = 4096;

/// Lines that all instances of a component together may say in a [`WINDOW`]: ten a second is more than anybody reads.
const LINES_PER_WINDOW: u32 = 600;

/// For which [`LINES_PER_WINDOW`] counts.
const WINDOW: Duration = Duration::from_secs(60);

/// Bytes that a component may write to a stream at once; wasmtime's own streams allow as much.
const WRITE_BYTES: usize = 64 * 1024;

/// Where all instances of one component speak.
pub(crate) struct Output {
    component: Arc<str>,
    /// Bytes that they together may say in a [`WINDOW`].
    bytes: usize,
    window: Mutex<Window>,
}

struct Window {
    began: Instant,
    lines: u32,
    bytes: usize,
    dropped: u64,
}

impl Output {
    pub(crate) fn new(component: Arc<str>, bytes: usize) -> Arc<Self> {
        Arc::new(Self { component, bytes, window: Mutex::new(Window::new()) })
    }

    /// One line. `source` is the stream, or what the component calls its part.
    fn say(&self, level: Level, source: &str, text: &str) {
        // By its length as it was said, so that what is dropped costs nothing; to print it may take a few times as much.
        if !self.admit(source.len().min(MAX_LINE_BYTES) + text.len().min(MAX_LINE_BYTES)) {
            return;
        }
        let (component, source, text) = (&*self.component, printable(source), printable(text));
        match level {
            Level::Trace => tracing::trace!(component, source, "{text}"),
            Level::Debug => tracing::debug!(component, source, "{text}"),
            Level::Info => tracing::info!(component, source, "{text}"),
            Level::Warn => tracing::warn!(component, source, "{text}"),
            Level::Error | Level::Critical => tracing::error!(component, source, "{text}"),
        }
    }

    /// Whether a line of so many bytes may be said.
    fn admit(&self, bytes: usize) -> bool {
        let mut window = self.window.lock();
        if window.began.elapsed() >= WINDOW {
            let dropped = window.dropped;
            *window = Window::new();
            if dropped > 0 {
                tracing::warn!(component = &*self.component, dropped, "lines of a component were dropped");
            }
        }
        if window.lines < LINES_PER_WINDOW && bytes <= self.bytes.saturating_sub(window.bytes) {
            window.lines += 1;
            window.bytes += bytes;
            return true;
        }
        if window.dropped == 0 {
            let bytes = self.bytes;
            tracing::warn!(
                component = &*self.component,
                "a component says more than {LINES_PER_WINDOW} lines or {bytes} bytes a minute; the rest is dropped"
            );
        }
        window.dropped += 1;
        false
    }
}

impl Window {
    fn new() -> Self {
        Self { began: Instant::now(), lines: 0, bytes: 0, dropped: 0 }
    }
}

/// Without what could forge another line or steer a terminal, and not longer than a line.
fn printable(text: &str) -> String {
    let mut clean = String::with_capacity(text.len().min(MAX_LINE_BYTES));
    for character in text.chars() {
        if clean.len() >= MAX_LINE_BYTES {
            clean.push('…');
            break;
        }
        if character.is_control() && character != '\t' { clean.extend(character.escape_default()) } else { clean.push(character) }
    }
    clean
}

/// Standard output or standard error of one instance.
#[derive(Clone)]
pub(crate) struct Stream(Arc<Lines>);

struct Lines {
    output: Arc<Output>,
    level: Level,
    name: &'static str,
    /// The line that is not yet over, cut at [`MAX_LINE_BYTES`].
    begun: Mutex<Vec<u8>>,
}

impl Stream {
    pub(crate) fn stdout(output: &Arc<Output>) -> Self {
        Self::new(output, Level::Info, "stdout")
    }

    /// Where a panic is told.
    pub(crate) fn stderr(output: &Arc<Output>) -> Self {
        Self::new(output, Level::Warn, "stderr")
    }

    fn new(output: &Arc<Output>, level: Level, name: &'static str) -> Self {
        Self(Arc::new(Lines { output: Arc::clone(output), level, name, begun: Mutex::new(Vec::new()) }))
    }

    fn take(&self, bytes: &[u8]) {
        let mut begun = self.0.begun.lock();
        for (index, piece) in bytes.split(|byte| *byte == b'\n').enumerate() {
            if index > 0 {
                self.0.say(&begun);
                begun.clear();
            }
            let room = MAX_LINE_BYTES.saturating_sub(begun.len());
            begun.extend_from_slice(piece.get(..room).unwrap_or(piece));
        }
    }
}

impl Lines {
    fn say(&self, line: &[u8]) {
        if !line.is_empty() {
            self.output.say(self.level, self.name, &String::from_utf8_lossy(line));
        }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        let begun = std::mem::take(self.begun.get_mut());
        self.say(&begun);
    }
}

impl IsTerminal for Stream {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Stream {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl OutputStream for Stream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.take(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_BYTES)
    }
}

#[async_trait::async_trait]
impl Pollable for Stream {
    async fn ready(&mut self) {}
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.take(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl logging::Host for State {
    async fn log(&mut self, level: Level, context: String, message: String) -> wasmtime::Result<()> {
        self.capabilities().output.say(level, &context, &message);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_and_control_characters_cannot_forge_one() {
        assert_eq!(printable("a\u{1b}[31m\nb\tc"), "a\\u{1b}[31m\\nb\tc");
        assert!(printable(&"x".repeat(1_000_000)).len() <= MAX_LINE_BYTES + '…'.len_utf8());
    }

    #[test]
    fn a_line_without_end_is_kept_only_in_part() {
        let stream = Stream::stdout(&Output::new("test".into(), usize::MAX));
        for _ in 0..1000 {
            stream.take(&[b'x'; WRITE_BYTES]);
        }
        assert_eq!(stream.0.begun.lock().len(), MAX_LINE_BYTES);
    }

    #[test]
    fn a_flood_is_dropped_beyond_its_share() {
        let output = Output::new("test".into(), usize::MAX);
        let admitted = (0..100_000).filter(|_| output.admit(10)).count();
        assert_eq!(admitted, LINES_PER_WINDOW as usize);
        let output = Output::new("test".into(), 10_000);
        let admitted = (0..100_000).filter(|_| output.admit(4096)).count();
        assert_eq!(admitted, 2, "few lines, but long ones");
    }
}
