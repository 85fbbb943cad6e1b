//! What all providers do with the news that something happened to a workspace's files: they wait until it has settled, and leave out what nobody wants to know.

mod ignore;
mod inbox;

pub(crate) use self::ignore::Ignore;
pub(crate) use self::inbox::{Inbox, Pending};
