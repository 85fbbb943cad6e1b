//! What the domain needs from outside, as traits.

pub mod agenda;
pub mod agent;
pub mod archive;
pub mod environment;
pub mod hooks;
pub mod sandbox;
pub mod store;
