//! What a component may use of memory, time, the log and the host's tables.

use std::time::Duration;

use wasmtime::{Error, ResourceLimiter, Result};

/// What a component may use. All but the log is for each instance, or for each call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Memory of an instance in bytes, all its memories and tables together. No more than the engine was made for.
    pub memory: usize,
    /// How long a call may compute.
    pub cpu: Duration,
    /// How long a call may take, waiting included.
    pub call_timeout: Duration,
    /// How long an instance may take to be made and opened.
    pub open_timeout: Duration,
    /// Bytes that all instances together may say in a minute, to standard output, standard error and the log.
    pub log_bytes: usize,
    /// Files, sockets, streams, results and transactions that an instance may have open at once.
    pub resources: usize,
    /// Bytes that an instance may give the host in one call, as the arguments of a host's function.
    pub argument_bytes: usize,
    /// Random bytes that an instance may ask for at once.
    pub random_bytes: u64,
    /// What its HTTP requests may be like.
    pub http: HttpLimits,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // A 16 MiB line of a transcript, copied a few times by a garbage-collected language, with room to spare.
            memory: 256 * 1024 * 1024,
            // An honest call computes for milliseconds.
            cpu: Duration::from_secs(5),
            // Far above what a slow disk needs, shorter than clients' patience.
            call_timeout: Duration::from_secs(10),
            // A schema may have to be migrated.
            open_timeout: Duration::from_secs(120),
            // Some hundred bytes for each of the lines that may be said: more than anybody reads, and no disk is full of it soon.
            log_bytes: 256 * 1024,
            // Many times what an honest one needs; and each may be a file descriptor, of which processes often have 1024.
            resources: 500,
            // The largest line of a transcript with its copies in one batch; wasmtime's default is twice as much, for each call that runs.
            argument_bytes: 64 * 1024 * 1024,
            // A seed takes 32; some languages fill a buffer. wasmtime's default would take 64 MiB of the host's memory.
            random_bytes: 1024 * 1024,
            http: HttpLimits::default(),
        }
    }
}

/// What a component's HTTP requests may be like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpLimits {
    /// Bytes of a request's body.
    pub request_bytes: usize,
    /// Bytes of a response's body.
    pub response_bytes: usize,
    /// Headers of a request, and of a response.
    pub headers: usize,
    /// Bytes of all those headers, names and values.
    pub header_bytes: usize,
    /// How long a request may take, redirects and body included; four fifths of a call's time at most.
    pub timeout: Duration,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            // A batch of events, or a page of an API; it is held in the host and in the component at once.
            request_bytes: 8 * 1024 * 1024,
            response_bytes: 8 * 1024 * 1024,
            // What servers take, by and large.
            headers: 100,
            header_bytes: 32 * 1024,
            // An API that takes longer is not well, and whoever waits for the call is not patient for ever.
            timeout: Duration::from_secs(8),
        }
    }
}

/// Counts what an instance has and refuses what is too much: its allocation then fails, and what it does about that is its own affair.
pub(crate) struct MemoryLimit {
    limit: usize,
    used: usize,
    /// Counted in advance; taken back if the allocation fails.
    growth: usize,
    /// What it had when it was open, which every other instance has as well.
    opened: usize,
}

impl MemoryLimit {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, used: 0, growth: 0, opened: 0 }
    }

    fn grow(&mut self, bytes: usize) -> bool {
        self.growth = 0;
        let Some(used) = self.used.checked_add(bytes).filter(|used| *used <= self.limit) else { return false };
        self.used = used;
        self.growth = bytes;
        true
    }

    /// The instance is open, and begins to serve.
    pub(crate) fn opened(&mut self) {
        self.opened = self.used;
        self.growth = 0;
    }

    /// Whether calls have taken more than half of what was left for them. Memory never shrinks: an instance that keeps a little of every call comes to its limit in the middle of one.
    pub(crate) fn is_used_up(&self) -> bool {
        self.used.saturating_sub(self.opened) > (self.limit - self.opened) / 2
    }

    fn take_back(&mut self) {
        self.used = self.used.saturating_sub(self.growth);
        self.growth = 0;
    }
}

impl ResourceLimiter for MemoryLimit {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> Result<bool> {
        Ok(self.grow(desired.saturating_sub(current)))
    }

    fn memory_grow_failed(&mut self, _: Error) -> Result<()> {
        self.take_back();
        Ok(())
    }

    fn table_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> Result<bool> {
        // wasmtime keeps a pointer for each element.
        Ok(self.grow(desired.saturating_sub(current).saturating_mul(size_of::<usize>())))
    }

    fn table_grow_failed(&mut self, _: Error) -> Result<()> {
        self.take_back();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memories_and_tables_share_one_limit_and_failed_growth_is_given_back() {
        let mut limit = MemoryLimit::new(1000);
        assert!(limit.memory_growing(0, 600, None).unwrap());
        assert!(limit.table_growing(0, 50, None).unwrap(), "400 bytes are left");
        assert!(!limit.memory_growing(600, 601, None).unwrap());
        limit.memory_grow_failed(Error::msg("refused")).unwrap();
        assert!(!limit.memory_growing(600, 601, None).unwrap(), "a refused growth gives nothing back");
    }

    #[test]
    fn an_instance_is_used_up_by_its_calls_and_not_by_what_it_is_made_of() {
        let mut limit = MemoryLimit::new(1000);
        assert!(limit.memory_growing(0, 800, None).unwrap());
        limit.opened();
        assert!(!limit.is_used_up());
        assert!(limit.memory_growing(800, 900, None).unwrap());
        assert!(!limit.is_used_up(), "half of the rest is left");
        assert!(limit.memory_growing(900, 901, None).unwrap());
        assert!(limit.is_used_up());
    }

    #[test]
    fn a_failure_of_what_it_was_not_asked_about_gives_nothing_back() {
        let mut limit = MemoryLimit::new(1000);
        limit.table_grow_failed(Error::msg("too many elements")).unwrap();
        assert!(limit.memory_growing(0, 600, None).unwrap());
        limit.opened();
        limit.table_grow_failed(Error::msg("too many elements")).unwrap();
        assert!(!limit.memory_growing(600, 1200, None).unwrap());
        assert!(!limit.is_used_up());
    }

    #[test]
    fn growth_that_the_system_refuses_is_not_counted() {
        let mut limit = MemoryLimit::new(1000);
        assert!(limit.memory_growing(0, 900, None).unwrap());
        limit.memory_grow_failed(Error::msg("out of memory")).unwrap();
        assert!(limit.memory_growing(0, 900, None).unwrap());
    }
}
