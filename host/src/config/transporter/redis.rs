//! Options of the Redis transporter (moleculer: src/transporters/redis.js getRedisClient).

use crate::config::Transporter;
use crate::config::redis;
use crate::config::transporter::{Kind, check_keys, split_port};
use crate::config::value::{Located, Value};

/// How it is chosen.
pub(super) const KIND: Kind =
    Kind { name: "Redis", schemes: &["redis", "rediss"], from_text, from_options };

/// What may stand beside `cluster`: nothing, since each node has parts of its own.
const OPTIONS: [&str; 7] = ["host", "port", "username", "password", "db", "tls", "cluster"];

fn from_text(text: &str) -> Result<Transporter, String> {
    let url = if text.contains("://") { text } else { redis::DEFAULT };
    Ok(Transporter::Redis { urls: vec![checked(url)?] })
}

fn from_options(options: &Located) -> Result<Transporter, String> {
    if !matches!(options.value, Value::Table(_)) {
        return Ok(Transporter::Redis { urls: vec![checked(&redis::url(options)?)?] });
    }
    check_keys(options, "Redis", &OPTIONS)?;
    let urls = match options.find("cluster").filter(|cluster| !cluster.is_off()) {
        None => vec![redis::url(options)?],
        Some(cluster) => {
            if let Some(key) = redis::KEYS.iter().find(|key| options.find(key).is_some()) {
                return Err(format!("with a cluster, {key} belongs to each of its nodes"));
            }
            check_keys(cluster, "cluster", &["nodes"])?;
            redis::nodes(cluster.find("nodes").ok_or("the cluster has no nodes")?)?
        }
    };
    let urls = urls.iter().map(|url| checked(url)).collect::<Result<_, _>>()?;
    Ok(Transporter::Redis { urls })
}

/// An address that can work.
fn checked(url: &str) -> Result<String, String> {
    // Addresses may hold passwords, so a message never repeats them.
    let (scheme, rest) = url.split_once("://").ok_or("an address begins with redis://")?;
    let place = rest.rsplit('@').next().unwrap_or(rest);
    let (host_port, database) = place.split_once('/').unwrap_or((place, ""));
    if database.contains('?') || host_port.contains('?') {
        return Err("an address has no options behind a '?'; give a table".into());
    }
    if !database.is_empty() && database.parse::<u32>().is_err() {
        return Err("what follows the host is not the number of a database".into());
    }
    let (host, port) = split_port(host_port);
    if host.is_empty() || host.contains([' ', '#']) {
        return Err("the address has no valid host".into());
    }
    match port.map(str::parse::<u16>) {
        None | Some(Ok(1..)) => Ok(format!("{}://{rest}", scheme.to_ascii_lowercase())),
        Some(_) => Err("the port is not a number from 1 to 65535".into()),
    }
}
