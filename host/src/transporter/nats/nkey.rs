//! Keys of NATS: who connects signs what the server says, and never shows the key itself.
//!
//! A seed is 32 bytes of an Ed25519 key, written in base32 between a mark of what it is for and a checksum.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{Ed25519KeyPair, KeyPair as _};

/// Letters of base32, five bits each.
const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// Marks a seed (`S`).
const SEED: u8 = 18 << 3;

/// Marks a user (`U`): the only kind that connects.
const USER: u8 = 20 << 3;

/// A user's key.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Seed([u8; 32]);

impl Seed {
    /// Reads `SU…`. `None` for whatever is not a user's seed.
    pub(super) fn read(text: &str) -> Option<Self> {
        let bytes = base32_decode(text)?;
        let (checked, sum) = bytes.split_last_chunk::<2>()?;
        let (mark, seed) = checked.split_first_chunk::<2>()?;
        let marked = *mark == [SEED | (USER >> 5), (USER & 31) << 3];
        let whole = crc16(checked) == u16::from_le_bytes(*sum);
        let seed = seed.try_into().ok()?;
        (marked && whole).then_some(Self(seed))
    }

    /// The name of the user, `U…`, and the signature of what the server said.
    pub(super) fn sign(&self, nonce: &str) -> Option<(String, String)> {
        let pair = Ed25519KeyPair::from_seed_unchecked(&self.0).ok()?;
        let mut public = vec![USER];
        public.extend_from_slice(pair.public_key().as_ref());
        public.extend_from_slice(&crc16(&public).to_le_bytes());
        let signature = URL_SAFE_NO_PAD.encode(pair.sign(nonce.as_bytes()));
        Some((base32_encode(&public), signature))
    }
}

/// The checksum of XMODEM.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc: u16, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
        })
    })
}

fn base32_decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() * 5 / 8);
    let (mut bits, mut n_bits) = (0_u32, 0_u32);
    for letter in text.bytes() {
        let value = ALPHABET.iter().position(|known| *known == letter)?;
        bits = (bits << 5) | u32::try_from(value).ok()?;
        n_bits += 5;
        if n_bits >= 8 {
            n_bits -= 8;
            bytes.push(u8::try_from(bits >> n_bits).ok()?);
            bits &= (1 << n_bits) - 1;
        }
    }
    Some(bytes)
}

fn base32_encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(5) * 8);
    let (mut bits, mut n_bits) = (0_u32, 0_u32);
    let mut put = |value: u32| {
        let letter = usize::try_from(value & 31).ok().and_then(|index| ALPHABET.get(index));
        text.extend(letter.map(|letter| char::from(*letter)));
    };
    for byte in bytes {
        bits = (bits << 8) | u32::from(*byte);
        n_bits += 8;
        while n_bits >= 5 {
            n_bits -= 5;
            put(bits >> n_bits);
        }
        bits &= (1 << n_bits) - 1;
    }
    if n_bits > 0 {
        put(bits << (5 - n_bits));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::uid::damage::Damage;

    /// The pair in the documentation of nats-server.
    const SEED_TEXT: &str = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY";
    const PUBLIC: &str = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4";

    #[test]
    fn a_seed_gives_the_name_of_its_user() {
        let seed = Seed::read(SEED_TEXT).unwrap();
        let (public, signature) = seed.sign("nonce").unwrap();
        assert_eq!(public, PUBLIC);
        assert_eq!(signature.len(), 86);
    }

    #[test]
    fn whatever_is_no_user_s_seed_is_none() {
        let mut other = SEED_TEXT.to_owned();
        other.replace_range(9..10, "B");
        for bad in ["", "token", PUBLIC, &SEED_TEXT[1..], &SEED_TEXT.to_lowercase(), &other] {
            assert!(Seed::read(bad).is_none(), "{bad}");
        }
    }

    static PIECES: [&[u8]; 3] = [b"SU", b"=", b"\xff"];

    #[test]
    fn damaged_seeds_never_panic() {
        let mut damage = Damage::new(0x5eed_0008_c0ff_ee08, &PIECES);
        for _ in 0..10_000 {
            let bytes = damage.copy(SEED_TEXT.as_bytes());
            let _ = Seed::read(&String::from_utf8_lossy(&bytes));
        }
    }
}
