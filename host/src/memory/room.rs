//! Whether there is memory for guests to grow, before the system finds out that there is none.
//!
//! Linux promises more memory than there is, and ends the process that uses it: in a container the whole node. So
//! growth is asked for here first. Two sums are held against the limit: what the node has in use, with what was granted
//! since the last look; and what guests have grown by, used or not, with what the node had in use before there were any.
//! The memory with which an instance begins counts when it is used, since most of it is shared with the others. Not
//! here: how much a single instance may take.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use parking_lot::Mutex;

use crate::clock::{self, Instant};

/// How long a look at what is in use is good for, while there is enough.
const FRESH: Duration = Duration::from_millis(10);

/// The memory that a node may use.
#[derive(Debug)]
pub struct Room {
    /// Bytes; `None` where nothing is known of the machine.
    limit: Option<u64>,
    state: Mutex<State>,
    /// How to look at what is in use.
    look: fn() -> Option<u64>,
}

#[derive(Debug, Default)]
struct State {
    /// What was in use, and when that was seen.
    used: u64,
    at: Option<Instant>,
    /// What was granted since.
    granted: u64,
    /// What was in use at the first look.
    base: Option<u64>,
    /// What guests that are there have grown by.
    grown: u64,
}

/// There is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full {
    /// Bytes that the node may use.
    pub limit: u64,
    /// Bytes that it uses.
    pub used: u64,
}

impl Room {
    /// For a process that may use this many bytes; without a number nine tenths of what its control group may, or of
    /// what the machine has.
    #[must_use]
    pub fn new(limit: Option<u64>) -> Self {
        let limit = limit.or_else(|| available(Path::new("/")).map(|total| total / 10 * 9));
        Self { limit, state: Mutex::default(), look: in_use }
    }

    /// Where nobody needs to be stopped.
    #[must_use]
    pub fn endless() -> Self {
        Self { limit: None, state: Mutex::default(), look: in_use }
    }

    /// Asks for the memory of a new instance: this many bytes.
    ///
    /// # Errors
    /// [`Full`]: they would be too many.
    pub fn begin(&self, size: usize) -> Result<(), Full> {
        let Some(limit) = self.limit else { return Ok(()) };
        self.ask(&mut self.state.lock(), limit, wide(size))
    }

    /// Asks for this many bytes more for an instance that is there. They are given back with [`Room::give_back`].
    ///
    /// # Errors
    /// [`Full`]: they would be too many.
    pub fn grow(&self, growth: usize) -> Result<(), Full> {
        let Some(limit) = self.limit else { return Ok(()) };
        let growth = wide(growth);
        let mut state = self.state.lock();
        let grown = state.grown.saturating_add(growth);
        let with_base = grown.saturating_add(state.base.unwrap_or(0));
        if with_base > limit {
            return Err(Full { limit, used: with_base - growth });
        }
        self.ask(&mut state, limit, growth)?;
        state.grown = grown;
        Ok(())
    }

    /// An instance that has grown by this many bytes is gone.
    pub fn give_back(&self, grown: usize) {
        let mut state = self.state.lock();
        state.grown = state.grown.saturating_sub(wide(grown));
    }

    fn ask(&self, state: &mut State, limit: u64, growth: u64) -> Result<(), Full> {
        let now = clock::now();
        let fresh = state.at.is_some_and(|at| now.saturating_duration_since(at) < FRESH);
        let fits = |state: &State| {
            state.used.saturating_add(state.granted).saturating_add(growth) <= limit
        };
        if !(fresh && fits(state)) {
            let Some(used) = (self.look)() else { return Ok(()) };
            state.base.get_or_insert(used);
            (state.used, state.at, state.granted) = (used, Some(now), 0);
        }
        if !fits(state) {
            return Err(Full { limit, used: state.used });
        }
        state.granted = state.granted.saturating_add(growth);
        Ok(())
    }
}

fn wide(size: usize) -> u64 {
    u64::try_from(size).unwrap_or(u64::MAX)
}

/// Bytes that this process has to itself in memory, which the system cannot take from it.
fn in_use() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/status").ok()?;
    let kib = |name: &str| kib_of(&text, name);
    Some(kib("RssAnon:")?.saturating_add(kib("RssShmem:").unwrap_or(0)) << 10)
}

/// Bytes that a process here may use: the least of the machine's and of its control groups'.
fn available(root: &Path) -> Option<u64> {
    let machine = fs::read_to_string(root.join("proc/meminfo")).ok();
    let machine = machine.and_then(|text| kib_of(&text, "MemTotal:")).map(|kib| kib << 10);
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    groups.lines().filter_map(|line| of_group(root, line)).chain(machine).min()
}

/// The limit of a control group and of those around it, by a line such as `0::/system.slice` (version 2) or
/// `7:memory:/docker/1` (version 1).
fn of_group(root: &Path, line: &str) -> Option<u64> {
    let mut parts = line.splitn(3, ':').skip(1);
    let (base, file) = match parts.next()? {
        "" => ("sys/fs/cgroup", "memory.max"),
        list if list.split(',').any(|name| name == "memory") => {
            ("sys/fs/cgroup/memory", "memory.limit_in_bytes")
        }
        _ => return None,
    };
    let base = root.join(base);
    let own = Path::new(parts.next()?.trim_start_matches('/'));
    // In a container the path may be one that only the outside knows; then the group itself is at the base.
    let around = own.ancestors().map(|path| base.join(path).join(file));
    around.filter_map(limit_in).min()
}

/// The number in a file of a control group; `max` is none.
fn limit_in(path: PathBuf) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// A line of the kind `Name:   123 kB`.
fn kib_of(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(look: fn() -> Option<u64>) -> Room {
        Room { limit: Some(1_000), state: Mutex::default(), look }
    }

    #[test]
    fn growth_goes_to_the_limit_and_no_further() {
        let room = room(|| Some(600));
        assert_eq!(room.begin(401), Err(Full { limit: 1_000, used: 600 }));
        assert_eq!(room.grow(401), Err(Full { limit: 1_000, used: 600 }));
        assert_eq!(room.grow(400), Ok(()), "what was refused is not counted");
    }

    #[test]
    fn what_was_granted_counts_until_the_next_look() {
        let room = room(|| Some(0));
        assert_eq!(room.begin(900), Ok(()));
        // Too much by what was granted, so it looks again: nothing of that is in use.
        assert_eq!(room.begin(900), Ok(()));
        assert_eq!(room.state.lock().granted, 900);
    }

    #[test]
    fn what_guests_grow_by_counts_before_they_use_it_and_until_they_are_gone() {
        let room = room(|| Some(100));
        room.begin(10).unwrap();
        assert_eq!(room.grow(500), Ok(()));
        assert_eq!(room.grow(401), Err(Full { limit: 1_000, used: 600 }));
        assert_eq!(room.grow(400), Ok(()));
        room.give_back(500);
        assert_eq!(room.grow(500), Ok(()));
    }

    #[test]
    fn nobody_is_stopped_where_nothing_is_known() {
        assert_eq!(room(|| None).begin(usize::MAX), Ok(()));
        assert_eq!(Room::endless().grow(usize::MAX), Ok(()));
    }

    #[test]
    fn the_least_limit_of_machine_and_control_groups_counts() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        assert_eq!(available(root.path()), None);
        write("proc/meminfo", "MemTotal:       1000 kB\nMemFree: 1 kB\n");
        assert_eq!(available(root.path()), Some(1_024_000));
        write("proc/self/cgroup", "0::/a/b\n");
        write("sys/fs/cgroup/a/b/memory.max", "max\n");
        assert_eq!(available(root.path()), Some(1_024_000));
        write("sys/fs/cgroup/a/memory.max", "700000\n");
        assert_eq!(available(root.path()), Some(700_000));
        // Within a container of its own name space.
        write("proc/self/cgroup", "3:cpu:/\n4:memory:/outside/1\n");
        write("sys/fs/cgroup/memory/memory.limit_in_bytes", "600000\n");
        assert_eq!(available(root.path()), Some(600_000));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn memory_that_is_written_is_in_use() {
        let before = in_use().unwrap();
        let block = vec![1_u8; 64 << 20];
        let after = in_use().unwrap();
        assert!(after >= before + (48 << 20), "{before} {after} {}", block.len());
    }
}
