//! The processes of a run, by the mark in their environment; those of others are never looked at twice.

use std::fs;
use std::path::Path;

use crate::words;

/// So much of a command line tells what it is.
const SHOWN: usize = 200;

/// The processes that bear the mark of this run, but for this one: id and command line.
pub fn marked(run: &str) -> Vec<(u32, String)> {
    let mark = format!("{}={run}", words::RUN);
    let own = std::process::id();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    ids.filter(|id| *id != own && is_marked(*id, &mark)).map(|id| (id, command_line(id))).collect()
}

/// One that is just ending has no environment any more.
fn is_marked(id: u32, mark: &str) -> bool {
    let environment = fs::read(format!("/proc/{id}/environ")).unwrap_or_default();
    environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
}

fn command_line(id: u32) -> String {
    let line = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&line).replace('\0', " ").chars().take(SHOWN).collect()
}

/// The directories of sandboxes that are in a data directory.
pub fn sandboxes(data: &Path) -> Vec<String> {
    let entries = fs::read_dir(data.join("sandboxes")).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    // The other one is the host's own.
    names.filter(|name| !name.starts_with('.')).collect()
}
