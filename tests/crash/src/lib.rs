//! Ends the host in every way while it works, and counts what is lost.
//!
//! Many clients use many sessions of a host whose agents tell a witness, who is neither the host nor ended with it, what they were asked and what they wrote. The host is killed,
//! told to end, stopped and woken, or another one takes its sessions over, at moments that are drawn from a seed; and is started again on the same data. At the end all that
//! clients were told and agents did is compared with what is stored and shown.
//!
//! | module | what it holds |
//! | --- | --- |
//! | `scenario` | what is done to the host, and how a run begins and ends |
//! | `settle` | coming to rest: what has to be true of a host before it is looked into |
//! | `worker` | clients that use sessions |
//! | `follower` | clients that watch them over WebSockets |
//! | `ledger` | what clients were told |
//! | `witness`, `words` | what agents did, and the language in which they say so |
//! | `store`, `processes` | what is stored, and what runs |
//! | `check` | whether the promises were kept |
//! | `report` | counts and findings |

#![forbid(unsafe_code)]
#![expect(clippy::indexing_slicing, reason = "what is read from JSON may be absent, which is null")]

pub mod api;
pub mod check;
pub mod follower;
pub mod ledger;
pub mod processes;
pub mod random;
pub mod report;
pub mod scenario;
mod settle;
pub mod store;
pub mod witness;
pub mod words;
pub mod worker;
