//! Logging in at a server: SASL with a password as it is, or with a proof that one has it (RFC 5802).

use std::num::NonZeroU32;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::{digest, hmac, pbkdf2};

use crate::config::transporter::kafka::{Mechanism, Sasl};
use crate::transporter::link::Lost;
use crate::uid;

use super::protocol::{self, Code};
use super::server::{Server, malformed};

/// Rounds that a server may ask for; each costs a microsecond.
const ROUNDS_MAX: u32 = 1_000_000;

/// Says who this is.
pub(super) async fn log_in(server: &mut Server, sasl: &Sasl) -> Result<(), Lost> {
    let (name, hash) = match sasl.mechanism {
        Mechanism::Plain => ("PLAIN", None),
        Mechanism::ScramSha256 => ("SCRAM-SHA-256", Some(Hash::SHA256)),
        Mechanism::ScramSha512 => ("SCRAM-SHA-512", Some(Hash::SHA512)),
    };
    let answer = server.ask(&protocol::sasl_handshake(name)).await?;
    match protocol::read_handshake(&answer).map_err(|_| malformed())? {
        Code::NONE => {}
        code => return Err(Lost::Refused(code.to_string())),
    }
    match hash {
        None => {
            let token = format!("\0{}\0{}", sasl.username, sasl.password);
            authenticate(server, &token).await.map(drop)
        }
        Some(hash) => prove(server, sasl, &hash).await,
    }
}

async fn authenticate(server: &mut Server, token: &str) -> Result<String, Lost> {
    let answer = server.ask(&protocol::sasl_authenticate(token.as_bytes())).await?;
    let token = protocol::read_authenticated(&answer).map_err(|_| malformed())?;
    let token = token.map_err(Lost::Refused)?;
    String::from_utf8(token.to_vec()).map_err(|_| malformed())
}

async fn prove(server: &mut Server, sasl: &Sasl, hash: &Hash) -> Result<(), Lost> {
    let proof = Proof { user: &sasl.username, password: &sasl.password, nonce: uid::new() };
    let challenge = authenticate(server, &proof.hello()).await?;
    let (answer, expected) = proof.answer(&challenge, hash).map_err(Lost::Protocol)?;
    let verdict = authenticate(server, &answer).await?;
    // A server that does not know the password must not pass for one that does.
    match verdict.split(',').find_map(|part| part.strip_prefix("v=")) == Some(&*expected) {
        true => Ok(()),
        false => Err(Lost::Protocol("it does not prove that it knows the password")),
    }
}

/// A hash function, and what is made with it.
struct Hash {
    digest: &'static digest::Algorithm,
    hmac: hmac::Algorithm,
    pbkdf2: pbkdf2::Algorithm,
}

impl Hash {
    const SHA256: Self = Self {
        digest: &digest::SHA256,
        hmac: hmac::HMAC_SHA256,
        pbkdf2: pbkdf2::PBKDF2_HMAC_SHA256,
    };
    const SHA512: Self = Self {
        digest: &digest::SHA512,
        hmac: hmac::HMAC_SHA512,
        pbkdf2: pbkdf2::PBKDF2_HMAC_SHA512,
    };

    fn sign(&self, key: &[u8], text: &str) -> hmac::Tag {
        hmac::sign(&hmac::Key::new(self.hmac, key), text.as_bytes())
    }
}

/// The client's side of a proof.
struct Proof<'a> {
    user: &'a str,
    password: &'a str,
    nonce: Arc<str>,
}

impl Proof<'_> {
    /// The name, without what has a meaning in a message.
    fn bare_hello(&self) -> String {
        let user = self.user.replace('=', "=3D").replace(',', "=2C");
        format!("n={user},r={}", self.nonce)
    }

    fn hello(&self) -> String {
        format!("n,,{}", self.bare_hello())
    }

    /// The proof, and what the server proves in turn.
    fn answer(&self, challenge: &str, hash: &Hash) -> Result<(String, String), &'static str> {
        let part = |name: &str| challenge.split(',').find_map(|part| part.strip_prefix(name));
        let nonce = part("r=").filter(|nonce| nonce.starts_with(&*self.nonce));
        let nonce = nonce.ok_or("its challenge is not for this login")?;
        let salt = part("s=").and_then(|salt| STANDARD.decode(salt).ok());
        let salt = salt.ok_or("its challenge has no salt")?;
        let rounds = part("i=").and_then(|rounds| rounds.parse::<NonZeroU32>().ok());
        let rounds = rounds.filter(|rounds| rounds.get() <= ROUNDS_MAX);
        let rounds = rounds.ok_or("its challenge asks for no rounds, or too many")?;
        let mut salted = vec![0; hash.digest.output_len()];
        pbkdf2::derive(hash.pbkdf2, rounds, &salt, self.password.as_bytes(), &mut salted);
        let client_key = hash.sign(&salted, "Client Key");
        let stored_key = digest::digest(hash.digest, client_key.as_ref());
        let answer = format!("c=biws,r={nonce}");
        let all = format!("{},{challenge},{answer}", self.bare_hello());
        let signature = hash.sign(stored_key.as_ref(), &all);
        let proof = client_key.as_ref().iter().zip(signature.as_ref()).map(|(a, b)| a ^ b);
        let proof = STANDARD.encode(proof.collect::<Vec<_>>());
        let server_key = hash.sign(&salted, "Server Key");
        let expected = STANDARD.encode(hash.sign(server_key.as_ref(), &all));
        Ok((format!("{answer},p={proof}"), expected))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7677.
    #[test]
    fn the_proof_is_that_of_the_rfc() {
        let nonce = "rOprNGfwEbeRWgbNEkqO".into();
        let proof = Proof { user: "user", password: "pencil", nonce };
        assert_eq!(proof.hello(), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let challenge = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                         s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
        let (answer, expected) = proof.answer(challenge, &Hash::SHA256).unwrap();
        assert_eq!(
            answer,
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
             p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        );
        assert_eq!(expected, "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
        for bad in ["", "r=x,s=,i=1", "r=rOprNGfwEbeRWgbNEkqO,s=W22Z,i=0"] {
            assert!(proof.answer(bad, &Hash::SHA256).is_err(), "{bad}");
        }
        let greedy = "r=rOprNGfwEbeRWgbNEkqO,s=W22Z,i=2000000";
        assert!(proof.answer(greedy, &Hash::SHA512).is_err());
    }
}
