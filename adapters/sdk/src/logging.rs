//! The `log` macros, written to the host's log through `wasi:logging`.

use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::bindings::wasi::logging::logging::{self, Level as HostLevel};

struct HostLog;

impl Log for HostLog {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let level = match record.level() {
            Level::Error => HostLevel::Error,
            Level::Warn => HostLevel::Warn,
            Level::Info => HostLevel::Info,
            Level::Debug => HostLevel::Debug,
            Level::Trace => HostLevel::Trace,
        };
        let arguments = record.args();
        match arguments.as_str() {
            Some(text) => logging::log(level, record.target(), text),
            None => logging::log(level, record.target(), &arguments.to_string()),
        }
    }

    fn flush(&self) {}
}

/// Sends the macros of the [`log`] crate to the host, from `debug` on: the host's own filter decides what is kept, and `trace` in a hot path
/// would cost a call into the host for each message. A component may change that with `log::set_max_level`.
pub(crate) fn install() {
    // It fails only if the component has installed a logger of its own, which then is the one to keep.
    if log::set_logger(&HostLog).is_ok() {
        log::set_max_level(LevelFilter::Debug);
    }
}
