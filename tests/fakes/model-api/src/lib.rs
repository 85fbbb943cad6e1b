//! A scripted Anthropic Messages API on loopback, for tests of programs that expect the real one: above all of `claude`.
//!
//! ```no_run
//! let api = fake_model_api::ModelApi::start(fake_model_api::Scenarios)?;
//! println!("ANTHROPIC_BASE_URL={}", api.base_url());
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! | file | what it is |
//! | --- | --- |
//! | `server.rs` | the sockets, and the [`ModelApi`] that ends them |
//! | `routes.rs` | what each address answers |
//! | `request.rs` | a request, read as a script wants it: the newest prompt, what the tools gave since |
//! | `reply.rs` | what a script answers |
//! | `script.rs` | who decides: a closure, a queue, or |
//! | `scenarios.rs` | the built-in script, which understands prompts by their first word |
//! | `rules.rs` | a script read from a JSON file |
//! | `stream.rs` | a reply as server-sent events |
//! | `message.rs` | a reply as one JSON document, and what it is said to have cost |

#![forbid(unsafe_code)]

mod message;
mod reply;
mod request;
mod routes;
mod rules;
mod scenarios;
mod script;
mod server;
mod stream;

pub use reply::{Answer, Delta, Piece, Refusal, Reply};
pub use request::{Request, ToolResult};
pub use rules::Rules;
pub use scenarios::Scenarios;
pub use script::{Queue, Script};
pub use server::ModelApi;
