//! The transmit middleware `Compression`: one byte in front of every packet, 0 for bytes as they are and
//! anything else for compressed ones (moleculer: src/middlewares/transmit/compression.js).
//!
//! What comes from outside is never read further than a packet may be large, whatever it would grow to.

use std::io::{self, Read, Write};
use std::sync::Arc;

use bytes::Bytes;
use flate2::Compression as Level;
use flate2::read::{DeflateDecoder, GzDecoder, ZlibDecoder};
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

use crate::config::transmit::{Compression as Options, Method};
use crate::middleware::Middleware;
use crate::middleware::hook::{ReceiveBytes, SendBytes};
use crate::middleware::refused::Refused;

/// Makes packets smaller.
pub struct Compression {
    options: Options,
    /// Largest packet, in bytes.
    size_max: usize,
    refused: Refused,
}

impl Compression {
    /// Compresses as the options say; packets of more than `size_max` bytes are refused.
    #[must_use]
    pub fn new(options: Options, size_max: usize, refused: Refused) -> Self {
        Self { options, size_max, refused }
    }
}

impl Middleware for Compression {
    fn transporter_send(&self, next: SendBytes) -> SendBytes {
        let options = self.options;
        Arc::new(move |topic, data| next(topic, pack(options, &data)))
    }

    fn transporter_receive(&self, next: ReceiveBytes) -> ReceiveBytes {
        let (method, size_max) = (self.options.method, self.size_max);
        let refused = self.refused.clone();
        Arc::new(move |topic, data| match unpack(method, &data, size_max) {
            Ok(data) => next(topic, data),
            Err(error) => refused.count("Compression", topic, &error),
        })
    }
}

fn pack(options: Options, data: &Bytes) -> Bytes {
    let mut packed = Vec::with_capacity(data.len() + 1);
    let small = options.threshold.is_some_and(|threshold| data.len() < threshold);
    packed.push(u8::from(!small));
    if small || compress(options.method, data, &mut packed).is_err() {
        // Memory is written to, which does not fail; if it ever did, the bytes would go as they are.
        packed.clear();
        packed.push(0);
        packed.extend_from_slice(data);
    }
    packed.into()
}

fn compress(method: Method, data: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    let level = Level::default();
    // Each encoder finishes when it is dropped, but tells only here whether that worked.
    match method {
        Method::Deflate => {
            let mut encoder = ZlibEncoder::new(out, level);
            encoder.write_all(data)?;
            encoder.finish().map(drop)
        }
        Method::DeflateRaw => {
            let mut encoder = DeflateEncoder::new(out, level);
            encoder.write_all(data)?;
            encoder.finish().map(drop)
        }
        Method::Gzip => {
            let mut encoder = GzEncoder::new(out, level);
            encoder.write_all(data)?;
            encoder.finish().map(drop)
        }
    }
}

/// Why bytes are no packet.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("it is empty")]
    Empty,
    #[error("it grows beyond the {0} bytes of transit.maxPacketSize")]
    TooLarge(usize),
    #[error("it cannot be decompressed")]
    Damaged(#[from] io::Error),
}

fn unpack(method: Method, data: &Bytes, size_max: usize) -> Result<Bytes, Error> {
    let flag = data.first().ok_or(Error::Empty)?;
    let packed = data.slice(1..);
    if *flag == 0 {
        return Ok(packed);
    }
    match method {
        Method::Deflate => take(ZlibDecoder::new(&*packed), size_max),
        Method::DeflateRaw => take(DeflateDecoder::new(&*packed), size_max),
        Method::Gzip => take(GzDecoder::new(&*packed), size_max),
    }
}

fn take(decoder: impl Read, size_max: usize) -> Result<Bytes, Error> {
    let mut data = Vec::new();
    let limit = u64::try_from(size_max).unwrap_or(u64::MAX).saturating_add(1);
    decoder.take(limit).read_to_end(&mut data)?;
    if data.len() > size_max { Err(Error::TooLarge(size_max)) } else { Ok(data.into()) }
}

/// What holds whatever comes as compressed bytes; see `crate::fuzz`.
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz {
    use super::{Bytes, Method, Options, pack, unpack};

    /// Largest packet that is taken.
    const SIZE_MAX: usize = 64 << 10;
    const METHODS: [Method; 3] = [Method::Deflate, Method::DeflateRaw, Method::Gzip];

    /// Bytes in each format. What comes out is no larger than it may be, and goes in again.
    pub(crate) fn packed(data: &[u8]) {
        let n_given = data.len();
        for method in METHODS {
            let Ok(data) = unpack(method, &Bytes::copy_from_slice(data), SIZE_MAX) else {
                continue;
            };
            // Bytes that go as they are were measured before.
            assert!(data.len() <= SIZE_MAX.max(n_given), "{}", data.len());
            let options = Options { method, threshold: None };
            let again = unpack(method, &pack(options, &data), data.len());
            assert!(again.is_ok_and(|again| again == data), "it does not come back");
        }
    }

    /// A packet in each format, and one as it is.
    pub(crate) fn seeds() -> Vec<Vec<u8>> {
        let packet =
            Bytes::from_static(br#"{"ver":"5","sender":"n","cpu":12,"x":"aaaaaaaaaaaaaa"}"#);
        let mut seeds = vec![[&[0], &*packet].concat()];
        let packed = |method| pack(Options { method, threshold: None }, &packet).to_vec();
        seeds.extend(METHODS.map(packed));
        seeds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const METHODS: [Method; 3] = [Method::Deflate, Method::DeflateRaw, Method::Gzip];

    fn options(method: Method) -> Options {
        Options { method, ..Options::default() }
    }

    #[test]
    fn small_packets_go_as_they_are_and_large_ones_smaller() {
        for method in METHODS {
            let small = Bytes::from(vec![b'x'; 1023]);
            let packed = pack(options(method), &small);
            assert_eq!((packed[0], packed.len()), (0, 1024));
            assert_eq!(unpack(method, &packed, 1023).unwrap(), small);
            let large = Bytes::from(vec![b'x'; 1024]);
            let packed = pack(options(method), &large);
            assert_eq!(packed[0], 1);
            assert!(packed.len() < 100);
            assert_eq!(unpack(method, &packed, 1024).unwrap(), large);
        }
    }

    #[test]
    fn a_bomb_is_read_no_further_than_a_packet_may_be() {
        let bomb = Bytes::from(vec![0; 1 << 20]);
        for method in METHODS {
            let packed = pack(options(method), &bomb);
            assert!(unpack(method, &packed, 1 << 20).is_ok());
            let error = unpack(method, &packed, (1 << 20) - 1).unwrap_err();
            assert!(matches!(error, Error::TooLarge(_)), "{error}");
        }
    }

    #[test]
    fn damage_is_an_error() {
        for method in METHODS {
            let whole = pack(options(method), &Bytes::from(vec![b'x'; 5_000]));
            for data in [&[][..], &[1], &[1, 2, 3], &whole[..whole.len() / 2]] {
                assert!(unpack(method, &Bytes::copy_from_slice(data), 1 << 20).is_err());
            }
        }
    }
}
