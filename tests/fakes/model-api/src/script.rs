//! Who decides what is answered.

use std::collections::VecDeque;

use parking_lot::Mutex;

use crate::reply::Reply;
use crate::request::Request;
use crate::scenarios::Scenarios;

/// Decides what is answered. A closure from a [`Request`] to a [`Reply`] is one.
pub trait Script: Send + Sync + 'static {
    /// The reply to a request.
    fn reply(&self, request: &Request) -> Reply;
}

impl<F: Fn(&Request) -> Reply + Send + Sync + 'static> Script for F {
    fn reply(&self, request: &Request) -> Reply {
        self(request)
    }
}

/// Replies that are given in their order, whatever is asked; once they are used up, [`Scenarios`].
#[derive(Debug)]
pub struct Queue(Mutex<VecDeque<Reply>>);

impl Queue {
    /// These replies.
    pub fn new(replies: impl IntoIterator<Item = Reply>) -> Self {
        Self(Mutex::new(replies.into_iter().collect()))
    }
}

impl Script for Queue {
    fn reply(&self, request: &Request) -> Reply {
        let next = self.0.lock().pop_front();
        next.unwrap_or_else(|| Scenarios.reply(request))
    }
}
