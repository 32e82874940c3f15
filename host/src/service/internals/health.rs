//! `$node.health`: what the machine and this process are up to (moleculer: src/health.js).
//!
//! Words are Node's, so that dashboards need not know who answers. Figures that the system does not give are
//! null; of the memory figures of Node.js only `rss` has a meaning here.

use std::ffi::CStr;

use serde_json::{Value, json};

use crate::clock;
use crate::packet::Info;

/// Clock ticks per second in `/proc`; fixed by the kernel's interface on every architecture we run on.
const TICKS: f64 = 100.0;

/// The answer; `info` is what this node tells about itself.
#[must_use]
pub fn health(info: &Info) -> Value {
    let now = clock::unix_ms();
    json!({
        "cpu": cpu(),
        "mem": memory(),
        "os": os(),
        "process": {
            "pid": std::process::id(),
            "memory": {"rss": rss()},
            "uptime": process_uptime(),
            "argv": std::env::args().collect::<Vec<_>>(),
        },
        "client": info.client,
        "net": {"ip": info.ip_list},
        "time": {"now": now, "iso": clock::iso_8601(now), "utc": clock::rfc_1123(now)},
    })
}

/// The CPU section alone.
#[must_use]
pub fn cpu() -> Value {
    let loads = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let mut loads = loads.split_whitespace().map(|word| word.parse::<f64>().ok());
    let mut next = || loads.next().flatten();
    let (load1, load5, load15) = (next(), next(), next());
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let utilization = load1.map(|load| {
        // Precision does not matter for a number of cores.
        let cores = f64::from(u32::try_from(cores).unwrap_or(u32::MAX));
        (load * 100.0 / cores).floor().min(100.0)
    });
    json!({"load1": load1, "load5": load5, "load15": load15, "cores": cores, "utilization": utilization})
}

fn memory() -> Value {
    let table = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let bytes = |key: &str| {
        let line = table.lines().find_map(|line| line.strip_prefix(key))?;
        line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib * 1_024)
    };
    let (free, total) = (bytes("MemAvailable:"), bytes("MemTotal:"));
    let percent = match (free, total) {
        #[expect(clippy::cast_precision_loss, reason = "bytes of memory are below 2^53")]
        (Some(free), Some(total)) if total > 0 => Some(free as f64 * 100.0 / total as f64),
        _ => None,
    };
    // The part that is free, not the part that is used: that is how Moleculer has it.
    json!({"free": free, "total": total, "percent": percent})
}

fn os() -> Value {
    let system = rustix::system::uname();
    let text = |word: &CStr| word.to_string_lossy().into_owned();
    json!({
        "uptime": first_number("/proc/uptime"),
        "type": text(system.sysname()),
        "release": text(system.release()),
        "hostname": text(system.nodename()),
        "arch": arch(),
        "platform": std::env::consts::OS,
        "user": user(),
    })
}

/// Node's word for this architecture.
fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "x64",
        "aarch64" => "arm64",
        "x86" => "ia32",
        other => other,
    }
}

/// Who runs this process, with what the system's table of users says.
fn user() -> Value {
    let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    let table = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let mut rows = table.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let row = rows.find(|row| row.get(2).and_then(|id| id.parse().ok()) == Some(uid));
    let field = |index: usize| row.as_ref().and_then(|row| row.get(index).copied());
    json!({"uid": uid, "gid": gid, "username": field(0), "homedir": field(5), "shell": field(6)})
}

fn first_number(path: &str) -> Option<f64> {
    std::fs::read_to_string(path).ok()?.split_whitespace().next()?.parse().ok()
}

/// Resident memory of this process in bytes.
fn rss() -> Option<u64> {
    let table = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = table.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib * 1_024)
}

/// Seconds since this process started: system uptime less the start time, which is in clock ticks.
fn process_uptime() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let start: f64 = stat.rsplit(')').next()?.split_whitespace().nth(19)?.parse().ok()?;
    first_number("/proc/uptime").map(|uptime| uptime - start / TICKS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_has_every_section() {
        let health = health(&Info::default());
        for section in ["cpu", "mem", "os", "process", "client", "net", "time"] {
            assert!(health.get(section).is_some(), "{section}");
        }
        assert!(health["process"]["memory"]["rss"].as_u64().unwrap() > 0);
        assert!(health["os"]["user"]["uid"].is_number());
    }
}
