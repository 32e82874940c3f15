//! Bytes damaged in every way that a generator with a fixed seed comes up with, for the tests of all that
//! reads what peers send. A run can be repeated, and its time is bounded by its number of rounds.

/// Makes damage.
pub(crate) struct Damage {
    state: u64,
    pieces: &'static [&'static [u8]],
}

impl Damage {
    /// A generator with a seed, which is not 0, and bytes that mean something to the reader: they are put
    /// anywhere.
    pub(crate) fn new(seed: u64, pieces: &'static [&'static [u8]]) -> Self {
        Self { state: seed, pieces }
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        usize::try_from(self.state % u64::try_from(bound.max(1)).unwrap()).unwrap()
    }

    /// A copy with one to four damages; it is never empty, and not longer than 2 KiB and some pieces.
    pub(crate) fn copy(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes[..bytes.len().min(2_048)].to_vec();
        for _ in 0..=self.below(3) {
            if bytes.is_empty() {
                bytes.push(0x80);
            }
            let at = self.below(bytes.len());
            match self.below(5) {
                0 => bytes[at] = u8::try_from(self.below(256)).unwrap(),
                1 => bytes[at] ^= 1 << self.below(8),
                2 => bytes.truncate(at.max(1)),
                3 => {
                    let piece = self.pieces[self.below(self.pieces.len())].iter().copied();
                    drop(bytes.splice(at..at, piece));
                }
                _ => drop(bytes.drain(at..(at + self.below(9)).min(bytes.len()))),
            }
        }
        bytes
    }
}
