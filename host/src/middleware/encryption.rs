//! The transmit middleware `Encryption`: every packet through AES with one key and one initialisation vector
//! (moleculer: src/middlewares/transmit/encryption.js).
//!
//! It is here to meet nodes of JavaScript that use it. The vector never changes and nothing is authenticated,
//! so equal beginnings stay equal and a packet can be changed unnoticed: TLS is the better answer, which
//! `docs/middlewares.md` says.

use std::sync::Arc;

use aes::{Aes128, Aes192, Aes256};
use bytes::Bytes;
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::consts::U16;
use cbc::cipher::crypto_common::InnerInit as _;
use cbc::cipher::{
    BlockCipher, BlockDecrypt, BlockDecryptMut as _, BlockEncrypt, BlockEncryptMut as _,
    BlockSizeUser, InnerIvInit as _, KeyInit as _, StreamCipher as _, StreamCipherCoreWrapper,
};

pub use cbc::cipher::InvalidLength;

use crate::config::transmit::{CipherMode, Encryption as Options};
use crate::middleware::Middleware;
use crate::middleware::hook::{ReceiveBytes, SendBytes};
use crate::middleware::refused::Refused;

/// Makes packets unreadable for others.
pub struct Encryption {
    cipher: Arc<Cipher>,
    refused: Refused,
}

impl Encryption {
    /// Encrypts as the options say.
    ///
    /// # Errors
    /// When key or vector do not have the size that the algorithm needs.
    pub fn new(options: &Options, refused: Refused) -> Result<Self, InvalidLength> {
        Ok(Self { cipher: Arc::new(Cipher::new(options)?), refused })
    }
}

impl Middleware for Encryption {
    fn transporter_send(&self, next: SendBytes) -> SendBytes {
        let cipher = Arc::clone(&self.cipher);
        Arc::new(move |topic, data| next(topic, cipher.encrypt(&data)))
    }

    fn transporter_receive(&self, next: ReceiveBytes) -> ReceiveBytes {
        let (cipher, refused) = (Arc::clone(&self.cipher), self.refused.clone());
        Arc::new(move |topic, data| match cipher.decrypt(&data) {
            Some(data) => next(topic, data),
            None => refused.count("Encryption", topic, &"it cannot be decrypted with this key"),
        })
    }
}

/// One algorithm with its key.
struct Cipher {
    blocks: Box<dyn Blocks>,
    mode: CipherMode,
    iv: [u8; 16],
}

impl Cipher {
    fn new(options: &Options) -> Result<Self, InvalidLength> {
        let key = options.password.as_slice();
        let blocks: Box<dyn Blocks> = match key.len() {
            16 => Box::new(Aes128::new_from_slice(key)?),
            24 => Box::new(Aes192::new_from_slice(key)?),
            _ => Box::new(Aes256::new_from_slice(key)?),
        };
        let mode = options.algorithm.mode;
        let iv = match mode {
            CipherMode::Ecb => [0; 16],
            _ => options.iv.as_slice().try_into().map_err(|_| InvalidLength)?,
        };
        Ok(Self { blocks, mode, iv })
    }

    fn encrypt(&self, data: &[u8]) -> Bytes {
        match self.mode {
            CipherMode::Cbc => self.blocks.encrypt_cbc(&self.iv, data),
            CipherMode::Ctr => self.blocks.ctr(&self.iv, data),
            CipherMode::Ecb => self.blocks.encrypt_ecb(data),
        }
        .into()
    }

    /// `None` when the padding shows that it was another key, or damage.
    fn decrypt(&self, data: &[u8]) -> Option<Bytes> {
        match self.mode {
            CipherMode::Cbc => self.blocks.decrypt_cbc(&self.iv, data),
            CipherMode::Ctr => Some(self.blocks.ctr(&self.iv, data)),
            CipherMode::Ecb => self.blocks.decrypt_ecb(data),
        }
        .map(Bytes::from)
    }
}

/// The modes of a block cipher that has its key. Padding is that of OpenSSL, PKCS #7.
trait Blocks: Send + Sync {
    fn encrypt_cbc(&self, iv: &[u8; 16], data: &[u8]) -> Vec<u8>;
    fn decrypt_cbc(&self, iv: &[u8; 16], data: &[u8]) -> Option<Vec<u8>>;
    fn encrypt_ecb(&self, data: &[u8]) -> Vec<u8>;
    fn decrypt_ecb(&self, data: &[u8]) -> Option<Vec<u8>>;
    /// The same in both directions.
    fn ctr(&self, iv: &[u8; 16], data: &[u8]) -> Vec<u8>;
}

impl<C> Blocks for C
where
    C: BlockCipher + BlockSizeUser<BlockSize = U16> + BlockEncrypt + BlockDecrypt,
    C: Clone + Send + Sync,
{
    fn encrypt_cbc(&self, iv: &[u8; 16], data: &[u8]) -> Vec<u8> {
        let cbc = cbc::Encryptor::inner_iv_init(self.clone(), iv.into());
        cbc.encrypt_padded_vec_mut::<Pkcs7>(data)
    }

    fn decrypt_cbc(&self, iv: &[u8; 16], data: &[u8]) -> Option<Vec<u8>> {
        let cbc = cbc::Decryptor::inner_iv_init(self.clone(), iv.into());
        cbc.decrypt_padded_vec_mut::<Pkcs7>(data).ok()
    }

    fn encrypt_ecb(&self, data: &[u8]) -> Vec<u8> {
        ecb::Encryptor::inner_init(self.clone()).encrypt_padded_vec_mut::<Pkcs7>(data)
    }

    fn decrypt_ecb(&self, data: &[u8]) -> Option<Vec<u8>> {
        ecb::Decryptor::inner_init(self.clone()).decrypt_padded_vec_mut::<Pkcs7>(data).ok()
    }

    fn ctr(&self, iv: &[u8; 16], data: &[u8]) -> Vec<u8> {
        let core =
            ctr::CtrCore::<C, ctr::flavors::Ctr128BE>::inner_iv_init(self.clone(), iv.into());
        let mut data = data.to_vec();
        StreamCipherCoreWrapper::from_core(core).apply_keystream(&mut data);
        data
    }
}

/// What holds whatever comes as encrypted bytes; see `crate::fuzz`.
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz {
    use super::{Cipher, CipherMode, Options};
    use crate::config::transmit::Algorithm;

    /// Bytes in each mode. What comes out goes in again.
    pub(crate) fn encrypted(data: &[u8]) {
        for mode in [CipherMode::Cbc, CipherMode::Ctr, CipherMode::Ecb] {
            let algorithm = Algorithm { key_size: 16, mode };
            let options = Options { algorithm, password: vec![3; 16], iv: vec![5; 16] };
            let Ok(cipher) = Cipher::new(&options) else { continue };
            if let Some(plain) = cipher.decrypt(data) {
                assert_eq!(cipher.encrypt(&plain), data, "{mode:?}");
            }
        }
    }

    /// Packets in each mode.
    pub(crate) fn seeds() -> Vec<Vec<u8>> {
        let of = |mode| {
            let algorithm = Algorithm { key_size: 16, mode };
            let options = Options { algorithm, password: vec![3; 16], iv: vec![5; 16] };
            let cipher = Cipher::new(&options).ok()?;
            Some(cipher.encrypt(br#"{"ver":"5","sender":"n"}"#).to_vec())
        };
        [CipherMode::Cbc, CipherMode::Ctr, CipherMode::Ecb].into_iter().filter_map(of).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::transmit::Algorithm;

    fn cipher(key_size: usize, mode: CipherMode, key: u8) -> Cipher {
        let algorithm = Algorithm { key_size, mode };
        let options = Options { algorithm, password: vec![key; key_size], iv: vec![b'v'; 16] };
        Cipher::new(&options).unwrap()
    }

    fn hex(data: &[u8]) -> String {
        data.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    // node: crypto.createCipheriv(algorithm, "k" × size, "v" × 16).update("isomer") and final()
    #[test]
    fn the_bytes_are_those_of_openssl() {
        let check = |key_size, mode, wanted: &str| {
            let cipher = cipher(key_size, mode, b'k');
            let data = cipher.encrypt(b"isomer");
            assert_eq!(hex(&data), wanted, "{key_size} {mode:?}");
            assert_eq!(cipher.decrypt(&data).unwrap(), &b"isomer"[..]);
        };
        check(16, CipherMode::Cbc, "114961e836d63b30b0a5434ccc34f63a");
        check(24, CipherMode::Cbc, "b802a208e059294eb600450aaec529e8");
        check(32, CipherMode::Cbc, "f3f7a585f562c11ccdcb91ddac687e34");
        check(16, CipherMode::Ctr, "ab304cff8f8b");
        check(24, CipherMode::Ctr, "6ac563ac3de9");
        check(32, CipherMode::Ctr, "b9df65b8ec62");
        check(16, CipherMode::Ecb, "a09328f6e656f9f0c92a7f511ecbc093");
        check(24, CipherMode::Ecb, "fc6aeb019378ae9457dff3aa371c6bd5");
        check(32, CipherMode::Ecb, "0596575482ef6182e9ec6c95f686ca06");
    }

    #[test]
    fn another_key_and_damage_are_noticed_where_there_is_padding() {
        for mode in [CipherMode::Cbc, CipherMode::Ecb] {
            let (ours, other) = (cipher(32, mode, b'k'), cipher(32, mode, b'o'));
            let data = ours.encrypt(&[b'x'; 100]);
            assert_eq!(ours.decrypt(&data).unwrap(), &[b'x'; 100][..]);
            assert_eq!(other.decrypt(&data), None);
            assert_eq!(ours.decrypt(&data[..data.len() - 1]), None);
            assert_eq!(ours.decrypt(&[]), None);
        }
        let ctr = cipher(32, CipherMode::Ctr, b'k');
        assert_eq!(ctr.decrypt(&[]).unwrap(), &[][..]);
    }
}
