//! The middlewares with options in the list of option `middlewares`, and what `Compression` and `Encryption`
//! are told (moleculer: src/middlewares/transmit).
//!
//! Those two change the bytes of all packets, so all nodes of a mesh need the same ones in the same order. What a
//! password is never leaves this value: neither in messages nor in its debug form.

use std::fmt;

use crate::config::debugging::{self, ActionLog, TransitLog};
use crate::config::quantity;
use crate::config::value::{Located, Value};

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transmit {
    /// Packets are made smaller.
    Compression(Compression),
    /// Packets are made unreadable for others.
    Encryption(Encryption),
    /// Calls are told.
    ActionLogger(Box<ActionLog>),
    /// Packets are told.
    TransitLogger(Box<TransitLog>),
}

/// Options of `Compression`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compression {
    /// In which format. Deflate
    pub method: Method,
    /// Smaller packets are sent as they are, in bytes; `None` compresses all. 1024
    pub threshold: Option<usize>,
}

impl Default for Compression {
    fn default() -> Self {
        Self { method: Method::Deflate, threshold: Some(1024) }
    }
}

/// Formats of compressed packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// `deflate`: with the header of zlib.
    Deflate,
    /// `deflateRaw`: without.
    DeflateRaw,
    /// `gzip`
    Gzip,
}

/// Options of `Encryption`.
#[derive(Clone, PartialEq, Eq)]
pub struct Encryption {
    /// How. Its key and initialisation vector have the sizes that it needs.
    pub algorithm: Algorithm,
    /// The key.
    pub password: Vec<u8>,
    /// The initialisation vector, empty for ECB.
    pub iv: Vec<u8>,
}

impl fmt::Debug for Encryption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encryption").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

/// AES with a size of key and a mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Algorithm {
    /// In bytes.
    pub key_size: usize,
    /// How blocks hang together.
    pub mode: CipherMode,
}

/// How blocks hang together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CipherMode {
    /// `cbc`
    Cbc,
    /// `ctr`
    Ctr,
    /// `ecb`: without an initialisation vector. Equal blocks stay equal.
    Ecb,
}

/// Size of a block of AES, and so of an initialisation vector, in bytes.
const BLOCK_SIZE: usize = 16;

/// What is allowed for an entry, for messages.
pub const ALLOWED: &str = "{\"name\": \"Compression\", \"options\": {\"method\", \"threshold\"}} or \
                           {\"name\": \"Encryption\", \"options\": {\"password\", \"algorithm\", \"iv\"}}, \
                           \"Debugging.ActionLogger\", \"Debugging.TransitLogger\"";

/// The prefixes of the names, which say the same as a table does.
const PREFIXES: [&str; 2] = ["Transmit.", "Debugging."];

fn without_prefix(name: &str) -> Option<&str> {
    PREFIXES.iter().find_map(|prefix| name.strip_prefix(prefix))
}

/// Reads an entry of the list; `None` when it names a component.
///
/// # Errors
/// What is wrong with it.
pub fn read(entry: &Located) -> Result<Option<Transmit>, String> {
    let Value::Table(keys) = &entry.value else {
        let name = entry.as_text().and_then(without_prefix);
        return name.map(|name| of(name, None)).transpose();
    };
    if let Some((key, _)) = keys.iter().find(|(key, _)| key != "name" && key != "options") {
        return Err(format!("unknown key '{key}'; the keys are name and options"));
    }
    let name = entry.find("name").and_then(Located::as_text).ok_or("a table needs a 'name'")?;
    of(without_prefix(name).unwrap_or(name), entry.find("options")).map(Some)
}

fn of(name: &str, options: Option<&Located>) -> Result<Transmit, String> {
    match name.to_ascii_lowercase().as_str() {
        "compression" => compression(options).map(Transmit::Compression),
        "encryption" => encryption(options).map(Transmit::Encryption),
        "actionlogger" => {
            debugging::action_log(options).map(|log| Transmit::ActionLogger(log.into()))
        }
        "transitlogger" => {
            debugging::transit_log(options).map(|log| Transmit::TransitLogger(log.into()))
        }
        _ => Err(format!("there is no middleware '{name}' with options; allowed: {ALLOWED}")),
    }
}

fn check_keys(options: Option<&Located>, known: &[&str]) -> Result<(), String> {
    match options.map(|options| &options.value) {
        None | Some(Value::Null) => Ok(()),
        Some(Value::Table(keys)) => match keys.iter().find(|(key, _)| !known.contains(&&**key)) {
            Some((key, _)) => {
                Err(format!("unknown option '{key}'; the options are {}", known.join(", ")))
            }
            None => Ok(()),
        },
        Some(_) => Err("'options' is not a table".into()),
    }
}

fn compression(options: Option<&Located>) -> Result<Compression, String> {
    check_keys(options, &["method", "threshold"])?;
    let mut read = Compression::default();
    let option = |name: &str| options.and_then(|options| options.find(name));
    if let Some(method) = option("method") {
        read.method = match method.as_text() {
            Some("deflate") => Method::Deflate,
            Some("deflateRaw") => Method::DeflateRaw,
            Some("gzip") => Method::Gzip,
            _ => return Err("'method' is deflate, deflateRaw or gzip".into()),
        };
    }
    if let Some(threshold) = option("threshold") {
        read.threshold = match &threshold.value {
            Value::Null => None,
            Value::Integer(bytes) => Some(u64::try_from(*bytes).ok()),
            _ => Some(threshold.as_text().and_then(quantity::bytes)),
        }
        .map(|bytes| bytes.and_then(|bytes| usize::try_from(bytes).ok()))
        .map(|bytes| bytes.ok_or("'threshold' is a size in bytes, such as \"1KiB\""))
        .transpose()?;
    }
    Ok(read)
}

fn encryption(options: Option<&Located>) -> Result<Encryption, String> {
    check_keys(options, &["password", "algorithm", "iv"])?;
    let option = |name: &str| options.and_then(|options| options.find(name));
    let algorithm = match option("algorithm") {
        None => algorithm("aes-256-cbc"),
        Some(name) => name.as_text().and_then(algorithm),
    };
    let algorithm =
        algorithm.ok_or("'algorithm' is aes-128, aes-192 or aes-256 with -cbc, -ctr or -ecb")?;
    let password = option("password").ok_or("Encryption needs a 'password'")?;
    let password = bytes("password", password, algorithm.key_size)?;
    let iv = match (algorithm.mode, option("iv")) {
        (CipherMode::Ecb, None) => Vec::new(),
        (CipherMode::Ecb, Some(_)) => return Err("an algorithm with -ecb takes no 'iv'".into()),
        (_, Some(iv)) => bytes("iv", iv, BLOCK_SIZE)?,
        (_, None) => return Err("this algorithm needs an 'iv'".into()),
    };
    Ok(Encryption { algorithm, password, iv })
}

/// As OpenSSL calls it.
fn algorithm(name: &str) -> Option<Algorithm> {
    let name = name.to_ascii_lowercase();
    let mut parts = name.split('-');
    let (aes, bits, mode) = (parts.next()?, parts.next()?, parts.next()?);
    if aes != "aes" || parts.next().is_some() {
        return None;
    }
    let key_size = match bits {
        "128" => 16,
        "192" => 24,
        "256" => 32,
        _ => return None,
    };
    let mode = match mode {
        "cbc" => CipherMode::Cbc,
        "ctr" => CipherMode::Ctr,
        "ecb" => CipherMode::Ecb,
        _ => return None,
    };
    Some(Algorithm { key_size, mode })
}

/// Text, whose UTF-8 is meant, or a list of bytes. Messages never hold it.
fn bytes(name: &str, located: &Located, wanted: usize) -> Result<Vec<u8>, String> {
    let byte = |item: &Located| match item.value {
        Value::Integer(byte) => u8::try_from(byte).ok(),
        _ => None,
    };
    let bytes: Option<Vec<u8>> = match &located.value {
        Value::List(items) => items.iter().map(byte).collect(),
        _ => located.as_text().map(|text| text.as_bytes().to_vec()),
    };
    let bytes = bytes.ok_or_else(|| format!("'{name}' is text or a list of bytes"))?;
    match bytes.len() {
        size if size == wanted => Ok(bytes),
        size => Err(format!("'{name}' has {size} bytes; this algorithm needs {wanted}")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::config::problem::Place;

    fn of(json: Json) -> Result<Option<Transmit>, String> {
        read(&Located::from_json(json, &Place::Flag("--set")))
    }

    #[test]
    fn compression_has_moleculers_defaults() {
        let all = Transmit::Compression(Compression::default());
        for written in [json!("Transmit.Compression"), json!({"name": "Compression"})] {
            assert_eq!(of(written), Ok(Some(all.clone())));
        }
        let options = json!({"method": "gzip", "threshold": null});
        let wanted = Compression { method: Method::Gzip, threshold: None };
        let read = of(json!({"name": "compression", "options": options}));
        assert_eq!(read, Ok(Some(Transmit::Compression(wanted))));
        let options = json!({"threshold": "2KiB"});
        let wanted = Compression { threshold: Some(2048), ..Compression::default() };
        let read = of(json!({"name": "Transmit.Compression", "options": options}));
        assert_eq!(read, Ok(Some(Transmit::Compression(wanted))));
        assert_eq!(of(json!("audit")), Ok(None));
    }

    #[test]
    fn keys_and_vectors_have_the_sizes_of_their_algorithm() {
        let encryption = |options: Json| of(json!({"name": "Encryption", "options": options}));
        let (key, iv) = ("Q".repeat(32), "v".repeat(16));
        let read = encryption(json!({"password": key, "iv": iv})).unwrap().unwrap();
        let Transmit::Encryption(read) = read else { panic!("{read:?}") };
        assert_eq!(read.algorithm, Algorithm { key_size: 32, mode: CipherMode::Cbc });
        assert!(!format!("{read:?}").contains('Q'), "{read:?}");
        let ecb = json!({"password": vec![7; 16], "algorithm": "AES-128-ECB"});
        assert!(encryption(ecb).is_ok());
        let wrong = [
            (json!({}), "needs a 'password'"),
            (json!({"password": key}), "needs an 'iv'"),
            (
                json!({"password": "short", "iv": iv}),
                "'password' has 5 bytes; this algorithm needs 32",
            ),
            (json!({"password": key, "iv": [1]}), "'iv' has 1 bytes"),
            (json!({"password": key, "iv": iv, "algorithm": "aes-256-gcm"}), "'algorithm' is"),
            (json!({"password": key, "iv": iv, "algorithm": "aes-256-ecb"}), "takes no 'iv'"),
            (json!({"password": key, "salt": 1}), "unknown option 'salt'"),
        ];
        for (options, part) in wrong {
            let error = encryption(options).unwrap_err();
            assert!(error.contains(part) && !error.contains(&key), "{error}");
        }
        assert!(of(json!({"name": "Other"})).unwrap_err().contains("no middleware 'Other'"));
    }
}
