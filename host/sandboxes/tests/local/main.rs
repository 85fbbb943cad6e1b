//! Local sandboxes with real processes, files and bubblewrap.

mod files;
mod isolation;
mod processes;
mod programs;
mod support;
mod watching;
