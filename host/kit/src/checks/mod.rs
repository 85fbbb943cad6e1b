//! The promises of the contract, and how each is tried.

mod durability;
mod epochs;
mod files;
mod instances;
mod killed;
mod leases;
mod lists;
mod profiles;
mod sequences;
mod sessions;
mod streams;

use std::fmt::Debug;

use agent_host_session::ports::store::Error;
use futures_util::future::LocalBoxFuture;

use crate::scratch::Scratch;

/// A promise, and how it is tried.
pub(crate) struct Check {
    /// Its group and its own name: `streams.append_is_idempotent`.
    pub(crate) name: &'static str,
    /// What the contract says, in a sentence.
    pub(crate) promise: &'static str,
    pub(crate) needs: Needs,
    pub(crate) run: for<'a> fn(&'a Scratch<'a>) -> LocalBoxFuture<'a, anyhow::Result<()>>,
}

/// What a check can do nothing without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needs {
    Nothing,
    /// The optional interface `leases`.
    Leases,
    /// That what is written outlasts the instance.
    Durability,
    /// That, and a process that can be killed.
    Process,
}

/// All checks, in the order in which they are tried: what others rest on first.
pub(crate) fn all() -> impl Iterator<Item = Check> {
    [
        sessions::checks(),
        epochs::checks(),
        streams::checks(),
        files::checks(),
        profiles::checks(),
        lists::checks(),
        instances::checks(),
        durability::checks(),
        killed::checks(),
        leases::checks(),
        sequences::checks(),
    ]
    .into_iter()
    .flatten()
}

/// A check, for those who want to know what there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its group and its own name.
    pub name: &'static str,
    /// What the contract says, in a sentence.
    pub promise: &'static str,
}

/// All checks there are, in the order in which they are tried.
pub fn list() -> impl Iterator<Item = Listed> {
    all().map(|check| Listed { name: check.name, promise: check.promise })
}

/// Declares the checks of a group. The first line of a check's documentation is its promise.
macro_rules! checks {
    ($group:literal, $needs:ident; $(#[doc = $promise:literal] async fn $name:ident($scratch:ident) $body:block)*) => {
        pub(super) fn checks() -> Vec<$crate::checks::Check> {
            vec![$({
                async fn run($scratch: &$crate::scratch::Scratch<'_>) -> anyhow::Result<()> {
                    $body
                    Ok(())
                }
                $crate::checks::Check {
                    name: concat!($group, ".", stringify!($name)),
                    promise: $promise.trim_ascii(),
                    needs: $crate::checks::Needs::$needs,
                    run: |scratch| Box::pin(run(scratch)),
                }
            }),*]
        }
    };
}
pub(crate) use checks;

/// A call that must be refused, and how.
macro_rules! refused {
    ($call:expr, $expected:pat, $($what:tt)+) => {{
        let answer = $call;
        anyhow::ensure!(
            matches!(&answer, Err($expected)),
            "{} was answered by {}, and not by {}",
            format_args!($($what)+),
            $crate::checks::answer(&answer),
            stringify!($expected)
        );
    }};
}
pub(crate) use refused;

/// What must be the same.
macro_rules! same {
    ($is:expr, $wanted:expr, $($what:tt)+) => {{
        let (is, wanted) = (&$is, &$wanted);
        anyhow::ensure!(*is == *wanted, "{}: expected {}, found {}", format_args!($($what)+), $crate::checks::short(wanted), $crate::checks::short(is));
    }};
}
pub(crate) use same;

/// An answer, in a few words.
pub(crate) fn answer<T: Debug>(answer: &Result<T, Error>) -> String {
    match answer {
        Ok(value) => format!("success ({})", short(value)),
        Err(error) => short(error),
    }
}

/// Longest value that is printed, in characters.
const LONGEST: usize = 400;

/// A value as it is printed, cut off where it is long.
pub(crate) fn short(value: &impl Debug) -> String {
    let text = format!("{value:?}");
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}
