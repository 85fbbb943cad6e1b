//! What was written of late.

use std::collections::{HashSet, VecDeque};

/// What is remembered at most: many times what the host delivers at once, in less than a megabyte.
const CAPACITY: usize = 16 * 1024;

/// The identities of the entries that were written last.
#[derive(Default)]
pub(crate) struct Recent {
    known: HashSet<u64>,
    /// The oldest first.
    order: VecDeque<u64>,
}

impl Recent {
    pub(crate) fn contains(&self, identity: u64) -> bool {
        self.known.contains(&identity)
    }

    pub(crate) fn insert(&mut self, identity: u64) {
        if !self.known.insert(identity) {
            return;
        }
        self.order.push_back(identity);
        if self.order.len() > CAPACITY
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_forgotten_first() {
        let mut recent = Recent::default();
        let count = CAPACITY as u64 + 1;
        for identity in (0..count).chain([count - 1]) {
            recent.insert(identity);
        }
        assert!(!recent.contains(0) && recent.contains(1) && recent.contains(count - 1));
        assert_eq!((recent.known.len(), recent.order.len()), (CAPACITY, CAPACITY));
    }
}
