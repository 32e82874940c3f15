//! Memory and tables of one instance: summed, limited, and the reason of a refusal remembered.
//!
//! wasmtime's own limits count each memory alone. A guest turns a refused growth into a plain
//! `unreachable`, so growth is refused with a trap, and what was asked for is kept for the error.

use std::sync::Arc;

use wasmtime::ResourceLimiter;

use crate::config::Limits;
use crate::memory::room::{Full, Room};

/// A growth that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Denied {
    /// The instance has as much as it may.
    Instance {
        /// The most that is allowed: bytes of memory, or elements of tables.
        limit: usize,
        /// What the sum would have become.
        asked: usize,
    },
    /// The node has.
    Node(Full),
}

/// Says no; why is kept as [`Denied`].
#[derive(Debug, thiserror::Error)]
#[error("growth refused")]
struct Refusal;

/// The limiter of one store.
#[derive(Debug)]
pub(super) struct Limiter {
    memory_limit: usize,
    table_limit: usize,
    objects: usize,
    memory: usize,
    table_elements: usize,
    /// Size of the growth that was allowed last, to be taken back when the system refuses it.
    last_memory_growth: usize,
    last_table_growth: usize,
    denied: Option<Denied>,
    room: Arc<Room>,
    /// Bytes of all memories when the instance was made; `None` while it is made.
    began_with: Option<usize>,
}

impl Limiter {
    pub(super) fn new(limits: &Limits, room: &Arc<Room>) -> Self {
        Self {
            room: Arc::clone(room),
            began_with: None,
            memory_limit: limits.memory,
            table_limit: limits.table_elements,
            objects: limits.objects,
            memory: 0,
            table_elements: 0,
            last_memory_growth: 0,
            last_table_growth: 0,
            denied: None,
        }
    }

    /// The limit of the call that runs now. What an instance has grown to before stays its own.
    pub(super) fn set_memory_limit(&mut self, limit: usize) {
        self.memory_limit = limit;
    }

    /// The instance is made: from now on it grows.
    pub(super) fn instantiated(&mut self) {
        self.began_with = Some(self.memory);
    }

    /// Bytes of all memories now.
    pub(super) fn memory(&self) -> usize {
        self.memory
    }

    /// What was refused, if that is why the guest ended.
    pub(super) fn denied(&self) -> Option<Denied> {
        self.denied
    }

    fn deny(&mut self, why: Denied) -> wasmtime::Error {
        self.denied = Some(why);
        Refusal.into()
    }
}

impl Drop for Limiter {
    fn drop(&mut self) {
        let began_with = self.began_with.unwrap_or(self.memory);
        self.room.give_back(self.memory.saturating_sub(began_with));
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let growth = desired.saturating_sub(current);
        let asked = self.memory.saturating_add(growth);
        if asked > self.memory_limit {
            return Err(self.deny(Denied::Instance { limit: self.memory_limit, asked }));
        }
        let room = match self.began_with {
            None => self.room.begin(growth),
            Some(_) => self.room.grow(growth),
        };
        if let Err(full) = room {
            return Err(self.deny(Denied::Node(full)));
        }
        self.memory = asked;
        self.last_memory_growth = growth;
        Ok(true)
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        // The guest gets its -1: this was the module's own maximum, or the system's.
        let growth = std::mem::take(&mut self.last_memory_growth);
        self.memory = self.memory.saturating_sub(growth);
        if self.began_with.is_some() {
            self.room.give_back(growth);
        }
        Ok(())
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let growth = desired.saturating_sub(current);
        let asked = self.table_elements.saturating_add(growth);
        if asked > self.table_limit {
            return Err(self.deny(Denied::Instance { limit: self.table_limit, asked }));
        }
        self.table_elements = asked;
        self.last_table_growth = growth;
        Ok(true)
    }

    fn table_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        let growth = std::mem::take(&mut self.last_table_growth);
        self.table_elements = self.table_elements.saturating_sub(growth);
        Ok(())
    }

    fn instances(&self) -> usize {
        self.objects
    }

    fn tables(&self) -> usize {
        self.objects
    }

    fn memories(&self) -> usize {
        self.objects
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: usize = 64 << 10;

    fn limiter() -> Limiter {
        let limits = Limits { memory: 4 * PAGE, table_elements: 10, ..Limits::default() };
        Limiter::new(&limits, &Arc::new(Room::endless()))
    }

    #[test]
    fn memories_are_summed_up_to_the_limit() {
        let mut limiter = limiter();
        assert!(limiter.memory_growing(0, 2 * PAGE, None).unwrap());
        assert!(limiter.memory_growing(0, 2 * PAGE, None).unwrap());
        assert_eq!(limiter.denied(), None);
        assert!(limiter.memory_growing(2 * PAGE, 3 * PAGE, None).is_err());
        assert_eq!(limiter.denied(), Some(Denied::Instance { limit: 4 * PAGE, asked: 5 * PAGE }));
    }

    #[test]
    fn growth_that_the_system_refuses_is_not_counted() {
        let mut limiter = limiter();
        assert!(limiter.memory_growing(0, 3 * PAGE, None).unwrap());
        limiter.memory_grow_failed(wasmtime::Error::msg("no")).unwrap();
        assert_eq!(limiter.memory(), 0);
    }

    #[test]
    fn tables_are_summed_up_to_the_limit() {
        let mut limiter = limiter();
        assert!(limiter.table_growing(0, 5, None).unwrap());
        assert!(limiter.table_growing(0, 5, None).unwrap());
        assert!(limiter.table_growing(5, 6, None).is_err());
    }
}
