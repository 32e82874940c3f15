//! Memory of the node: what the allocator keeps although nobody uses it is given back here, and [`room`] says whether
//! there is some for guests.
//!
//! Work that is done at the same time leaves a heap as large as all of it needed, with what lives longer in
//! between, so that the allocator has nothing at its end to give back by itself.

pub mod room;

/// Gives pages that nobody uses back to the system. Takes some milliseconds for a large heap, in which other
/// threads may have to wait for memory: for the time after a burst, not for a call.
pub fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    trim();
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "a function of the C library; see SAFETY")]
fn trim() {
    // SAFETY: it may be called at any time from any thread, and changes nothing that is in use.
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(test)]
#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod tests {
    use super::*;

    /// Pages of this process that are in memory.
    fn resident() -> usize {
        let text = std::fs::read_to_string("/proc/self/statm").unwrap();
        text.split(' ').nth(1).unwrap().parse().unwrap()
    }

    #[test]
    fn what_lies_between_is_given_back_and_what_is_in_use_stays() {
        let mut pieces: Vec<_> =
            (0_u8..=255).cycle().take(64 << 10).map(|n| Some(vec![n; 1 << 10])).collect();
        // One in 64 stays, so that nothing at the end of the heap is free.
        for (index, piece) in pieces.iter_mut().enumerate() {
            if index % 64 != 63 {
                *piece = None;
            }
        }
        let before = resident();
        give_back();
        let freed = before.saturating_sub(resident());
        assert!(freed > 4_000, "{freed} pages of 4 KiB, of 16,000");
        for (index, piece) in pieces.iter().enumerate().filter(|(_, piece)| piece.is_some()) {
            assert_eq!(piece.as_deref().map(|piece| usize::from(piece[500])), Some(index % 256));
        }
    }
}
