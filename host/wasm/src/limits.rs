//! How much memory one instance may have, all its memories and tables together.

use wasmtime::{Error, ResourceLimiter, Result};

/// Counts what an instance has and refuses what is too much: its allocation then fails, and what it does about that is its own affair.
pub(crate) struct MemoryLimit {
    limit: usize,
    used: usize,
    /// Counted in advance; taken back if the allocation fails.
    growth: usize,
}

impl MemoryLimit {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, used: 0, growth: 0 }
    }

    fn grow(&mut self, bytes: usize) -> bool {
        self.growth = 0;
        let Some(used) = self.used.checked_add(bytes).filter(|used| *used <= self.limit) else { return false };
        self.used = used;
        self.growth = bytes;
        true
    }

    fn take_back(&mut self) {
        self.used -= self.growth;
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
    fn growth_that_the_system_refuses_is_not_counted() {
        let mut limit = MemoryLimit::new(1000);
        assert!(limit.memory_growing(0, 900, None).unwrap());
        limit.memory_grow_failed(Error::msg("out of memory")).unwrap();
        assert!(limit.memory_growing(0, 900, None).unwrap());
    }
}
