//! Where to look first. What is found there is proved, so that a hint that is wrong costs a read, and nothing else.

use std::cell::RefCell;
use std::collections::BTreeMap;

/// Streams of which an instance knows something. Each takes some hundred bytes.
const MOST: usize = 2000;

type Pages = RefCell<BTreeMap<(String, String), u64>>;

/// Pages of streams.
#[derive(Default)]
pub(crate) struct Hints {
    ends: Pages,
    reads: Pages,
}

impl Hints {
    /// The page in which the stream ended.
    pub(crate) fn end(&self, session: &str, stream: &str) -> Option<u64> {
        get(&self.ends, session, stream)
    }

    pub(crate) fn set_end(&self, session: &str, stream: &str, page: u64) {
        set(&self.ends, session, stream, page);
    }

    /// The page in which the last read ended, where often the next one begins.
    pub(crate) fn read(&self, session: &str, stream: &str) -> Option<u64> {
        get(&self.reads, session, stream)
    }

    pub(crate) fn set_read(&self, session: &str, stream: &str, page: u64) {
        set(&self.reads, session, stream, page);
    }
}

fn get(pages: &Pages, session: &str, stream: &str) -> Option<u64> {
    pages.try_borrow().ok()?.get(&(session.to_owned(), stream.to_owned())).copied()
}

fn set(pages: &Pages, session: &str, stream: &str, page: u64) {
    if let Ok(mut pages) = pages.try_borrow_mut() {
        if pages.len() >= MOST {
            pages.clear();
        }
        pages.insert((session.to_owned(), stream.to_owned()), page);
    }
}
