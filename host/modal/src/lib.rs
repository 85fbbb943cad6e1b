//! A client for [Modal](https://modal.com)'s sandboxes: containers in the cloud in which programs of other people's can be run.
//!
//! ```no_run
//! use agent_host_modal::{Client, Command, Image, Sandbox, SandboxOptions};
//! # async fn example() -> Result<(), agent_host_modal::Error> {
//! let client = Client::from_env()?;
//! let app = client.app("my-app").create_if_missing().await?;
//! let image = Image::from_registry("debian:12-slim").dockerfile_commands(["RUN apt-get update && apt-get install -y git"]).build(&app).await?;
//! let sandbox = Sandbox::create(&app, &image, &SandboxOptions::new().tag("for", "the guide")).await?;
//! sandbox.fs().write("/work/hello.txt", "Hello").await?;
//! let printed = sandbox.exec(&Command::new("cat").arg("/work/hello.txt")).await?.finish().await?;
//! assert!(printed.exit.is_success() && printed.stdout == b"Hello");
//! sandbox.terminate().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # What there is
//!
//! - [`Client`] calls Modal, as [`Config`] says: from the variables `MODAL_*` and `~/.modal.toml`, like Modal's own clients.
//! - [`App`] is what images and sandboxes belong to.
//! - [`Image`] is a recipe; [`Image::build`] gives an [`ImageId`], with the log of the [`Build`] if you want it. The same recipe is built once.
//!   It may have [`Files`] in it.
//! - [`Sandbox`] is a container: [`create`](Sandbox::create), [`from_id`](Sandbox::from_id), [`from_name`](Sandbox::from_name) or [`list`](Sandbox::list) them, and
//!   [`terminate`](Sandbox::terminate) each: dropping one ends nothing.
//! - [`Sandbox::exec`] runs a [`Command`] as a [`Process`], whose input is an [`AsyncWrite`](tokio::io::AsyncWrite) and whose output is an
//!   [`AsyncRead`](tokio::io::AsyncRead).
//! - [`Fs`] reads, writes, lists and watches files.
//!
//! # What happens on a bad day
//!
//! Every call is made again after failures that pass, with the pauses of Modal's own clients, and as long as Modal puts it off. Creating a sandbox twice by this is not
//! possible: all tries have one key. Output is read on from the byte where a connection was lost, input is written on likewise: every byte arrives once. A call that
//! does not succeed gives an [`Error`] that says what was being done; one because of a sandbox that has ended is [`Error::Ended`] with the reason.
//!
//! Every wait can be dropped. What was asked of Modal by then may happen all the same: a dropped [`Sandbox::create`] may leave a sandbox, which its tags tell, and a
//! dropped [`Sandbox::exec`] a program. No secret is in any error, log or `Debug` output.
#![forbid(unsafe_code)]

mod app;
mod auth;
mod client;
mod config;
mod error;
mod fs;
mod image;
mod process;
mod proto;
mod retry;
mod router;
mod sandbox;
mod transport;

pub use secrecy::SecretString;

pub use self::app::{App, AppLookup};
pub use self::client::Client;
pub use self::config::{Backend, Config, Token};
pub use self::error::{BuildFailure, End, EndReason, Error, FileErrorKind};
pub use self::fs::{Entry, EntryKind, FileEvent, FileEventKind, Fs, Watch};
pub use self::image::{Build, Files, Image, ImageId};
pub use self::process::{Command, Exec, Exit, Finished, Process};
pub use self::router::{Output, Stdin};
pub use self::sandbox::{Listed, Network, Port, Sandbox, SandboxFilter, SandboxOptions, Tunnel};
