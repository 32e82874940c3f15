//! Options of the NATS transporter (moleculer: src/transporters/nats.js constructor).

use crate::config::Transporter;
use crate::config::transporter::{Kind, check_keys, escape, split_port};
use crate::config::value::{Located, Value};

/// How it is chosen.
pub(super) const KIND: Kind =
    Kind { name: "NATS", schemes: &["nats", "tls"], from_text, from_options };

/// Where NATS listens when nothing else is said (moleculer: src/transporters/nats.js).
const DEFAULT: &str = "nats://localhost:4222";

/// Options of the NATS transporter.
const OPTIONS: [&str; 8] =
    ["url", "servers", "user", "pass", "token", "nkeySeed", "nkeySeedFile", "userCreds"];

/// The largest file with a key that is read.
const KEY_FILE_MAX: u64 = 64 << 10;

fn from_text(text: &str) -> Result<Transporter, String> {
    let urls = if text.contains("://") { text } else { DEFAULT };
    Ok(Transporter::Nats { urls: addresses(urls)? })
}

fn from_options(options: &Located) -> Result<Transporter, String> {
    check_keys(options, "NATS", &OPTIONS)?;
    let text = |key: &str| options.find(key).and_then(Located::as_text);
    let servers = match options.find("servers").map(|servers| &servers.value) {
        Some(Value::List(items)) => {
            items.iter().filter_map(Located::as_text).collect::<Vec<_>>().join(",")
        }
        _ => text("servers").or_else(|| text("url")).unwrap_or(DEFAULT).to_owned(),
    };
    let mut urls = addresses(&servers)?;
    let logins = [
        text("user")
            .zip(text("pass"))
            .map(|(user, pass)| format!("{}:{}", escape(user), escape(pass))),
        text("token").map(escape),
        text("nkeySeed").map(|seed| seed_of(seed, "nkeySeed")).transpose()?,
        text("nkeySeedFile").map(seed_in_file).transpose()?,
        text("userCreds").map(creds_in_file).transpose()?,
    ];
    let half = text("user").is_some() != text("pass").is_some();
    let mut logins = logins.into_iter().flatten();
    let login = match (logins.next(), logins.next()) {
        (None, _) if !half => return Ok(Transporter::Nats { urls }),
        (Some(login), None) if !half => login,
        _ => {
            return Err(
                "give one of: user and pass, token, nkeySeed, nkeySeedFile, userCreds".into()
            );
        }
    };
    for url in &mut urls {
        *url = with_login(url, &login);
    }
    Ok(Transporter::Nats { urls })
}

/// Addresses with commas between them, as Moleculer takes them.
fn addresses(text: &str) -> Result<Vec<String>, String> {
    text.split(',').map(|address| check_address(address.trim())).collect()
}

fn check_address(address: &str) -> Result<String, String> {
    // Addresses may hold passwords, so a message never repeats them.
    let (scheme, rest) = address.split_once("://").ok_or("an address begins with nats://")?;
    if scheme != "nats" && scheme != "tls" {
        return Err(format!("'{scheme}' is no scheme of an address here; it is nats or tls"));
    }
    let host_port = rest.rsplit('@').next().unwrap_or(rest).trim_end_matches('/');
    let (host, port) = split_port(host_port);
    if host.is_empty() || host.contains([' ', '/', '?', '#']) {
        return Err("the address has no valid host".into());
    }
    match port.map(str::parse::<u16>) {
        None => Ok(address.to_owned()),
        Some(Ok(port)) if port > 0 => Ok(address.to_owned()),
        Some(_) => Err("the port is not a number from 1 to 65535".into()),
    }
}

fn with_login(url: &str, login: &str) -> String {
    match url.split_once("://") {
        Some((scheme, rest)) if !rest.contains('@') => format!("{scheme}://{login}@{rest}"),
        _ => url.to_owned(),
    }
}

/// A user's seed begins so.
fn seed_of(text: &str, option: &str) -> Result<String, String> {
    let seed = text.trim();
    let is_seed = seed.starts_with("SU")
        && seed.len() == 58
        && seed.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
    if is_seed {
        Ok(seed.to_owned())
    } else {
        Err(format!("'{option}' has no seed of a user (SU…)"))
    }
}

fn seed_in_file(path: &str) -> Result<String, String> {
    seed_of(&key_file(path)?, "nkeySeedFile")
}

/// A file as `nsc` writes it: a JWT and a seed, each between lines of dashes.
fn creds_in_file(path: &str) -> Result<String, String> {
    let text = key_file(path)?;
    let mut values = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with("--") && !line.contains(' '));
    let jwt = values.next().ok_or_else(|| format!("'userCreds': {path} has no JWT"))?;
    let seed = values.next().ok_or_else(|| format!("'userCreds': {path} has no seed"))?;
    Ok(format!("{}:{}", escape(jwt), seed_of(seed, "userCreds")?))
}

fn key_file(path: &str) -> Result<String, String> {
    let size = std::fs::metadata(path).map_err(|error| format!("cannot read {path}: {error}"))?;
    if size.len() > KEY_FILE_MAX {
        return Err(format!("{path} is too large to be a key"));
    }
    std::fs::read_to_string(path).map_err(|error| format!("cannot read {path}: {error}"))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use serde_json::{Value as Json, json};

    use super::*;
    use crate::config::problem::Place;

    const SEED: &str = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY";

    fn read(options: Json) -> Result<String, String> {
        let located = Located::from_json(options, &Place::Flag("--transporter"));
        match from_options(&located)? {
            Transporter::Nats { urls } => Ok(urls.join(",")),
            _ => Err("another transporter".into()),
        }
    }

    #[test]
    fn keys_are_read_from_options_and_files() {
        let expected = Ok(format!("nats://{SEED}@h"));
        assert_eq!(read(json!({"url": "nats://h", "nkeySeed": SEED})), expected);
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file, "{SEED}").unwrap();
        let path = file.path().display().to_string();
        assert_eq!(read(json!({"url": "nats://h", "nkeySeedFile": path})), expected);
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let (jwt, seed) = ("-----BEGIN NATS USER JWT-----", "-----BEGIN USER NKEY SEED-----");
        let note = "IMPORTANT: keep this";
        writeln!(file, "{jwt}\neyJ.x.y\n------END NATS USER JWT------\n\n{note}\n").unwrap();
        writeln!(file, "{seed}\n{SEED}\n------END USER NKEY SEED------").unwrap();
        let path = file.path().display().to_string();
        let expected = Ok(format!("nats://eyJ.x.y:{SEED}@h"));
        assert_eq!(read(json!({"url": "nats://h", "userCreds": path})), expected);
    }

    #[test]
    fn logins_that_contradict_each_other_are_refused() {
        for bad in [
            json!({"user": "u"}),
            json!({"token": "t", "nkeySeed": SEED}),
            json!({"nkeySeed": "secret"}),
            json!({"nkeySeedFile": "/nonexistent"}),
        ] {
            let error = read(bad.clone()).unwrap_err();
            assert!(!error.contains("secret"), "{bad}: {error}");
        }
    }
}
