//! Where agents run: providers of sandboxes, one module folder each.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`local`] | sandboxes on this machine: directories and processes of their own, isolated by bubblewrap where it works |
#![forbid(unsafe_code)]

pub mod local;
