//! The keys of discovery in Redis (moleculer: src/registry/discoverers/redis.js).
//!
//! `MOL[-<namespace>]-DSCVR-BEAT:<node ID>|<first 8 characters of the instance ID>|<seq>` lives for the heartbeat
//! time-out and holds `{sender, ver, cpu, seq, instanceID}`; `MOL[-<namespace>]-DSCVR-INFO:<node ID>` holds
//! an INFO. In one point we do better than Moleculer: the new sign is written before the old one goes, with
//! commands of their own, so that nobody sees a node without one and a cluster may keep them apart.

use std::collections::HashSet;
use std::time::Duration;

use ::redis::cmd;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use parking_lot::Mutex;

use crate::clock::{self, Instant};
use crate::discoverer::store::{Change, Error, Found, Kept, Owner, SIGNS_MAX, Store, Values};
use crate::redis::{self, Client, Link, Scan};
use crate::registry::Sign;

/// How long what a node offers is kept, how long when it is kept on, and how often that is done.
const INFO_TTL: Duration = Duration::from_secs(30 * 60);
const INFO_TTL_ON: Duration = Duration::from_secs(60 * 60);
const INFO_KEEP_ON: Duration = Duration::from_secs(20 * 60);

/// Largest sign of life that is read, in bytes; those of nodes have some hundred.
const SIGN_MAX: usize = 4 << 10;

/// Signs of life that are asked for at once.
const READS_MAX: usize = 64;

/// What a [`Redis`] is made with.
pub(super) struct Settings {
    /// One address, or the nodes of a cluster.
    pub(super) urls: Vec<String>,
    pub(super) cluster: bool,
    /// Keys that a server looks at in one step.
    pub(super) scan_length: usize,
}

/// The keys of a mesh in Redis.
pub(super) struct Redis {
    owner: Owner,
    link: Link,
    scan_length: usize,
    /// What the keys of all signs begin with.
    signs: String,
    /// What the keys of all INFOs begin with.
    infos: String,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The key of the sign that was written last.
    sign: Option<String>,
    /// When the INFO was written, or kept on.
    info: Option<Instant>,
}

impl Redis {
    /// # Errors
    /// [`Error::Address`].
    pub(super) fn new(settings: &Settings, owner: Owner) -> Result<Self, Error> {
        let client = Client::new(&settings.urls, settings.cluster)?;
        let prefix = match owner.namespace.as_str() {
            "" => "MOL-DSCVR".to_owned(),
            namespace => format!("MOL-{namespace}-DSCVR"),
        };
        Ok(Self {
            owner,
            link: Link::new(client, None),
            scan_length: settings.scan_length,
            signs: format!("{prefix}-BEAT:"),
            infos: format!("{prefix}-INFO:"),
            state: Mutex::default(),
        })
    }

    fn info_key(&self) -> String {
        format!("{}{}", self.infos, self.owner.node_id)
    }

    /// What all signs of this run of the node begin with.
    fn own_signs(&self) -> String {
        let hash: String = self.owner.instance_id.chars().take(8).collect();
        format!("{}{}|{hash}|", self.signs, self.owner.node_id)
    }

    async fn there(&self, key: &str) -> Result<bool, Error> {
        Ok(self.link.ask::<u64>(cmd("EXISTS").arg(key)).await? > 0)
    }

    async fn write(&self, key: &str, value: &[u8], ttl: Duration) -> Result<(), Error> {
        let ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).max(1);
        Ok(self.link.ask(cmd("PSETEX").arg(key).arg(ms).arg(value)).await?)
    }

    /// At most so many bytes and one more of a value; nothing when there is none.
    async fn read(&self, key: &[u8], most: usize) -> Result<Vec<u8>, Error> {
        Ok(self.link.ask(cmd("GETRANGE").arg(key).arg(0).arg(most)).await?)
    }

    async fn say(&self, seq: u64, cpu: Option<f64>) -> Result<Kept, Error> {
        let key = format!("{}{seq}", self.own_signs());
        let (last, info) = {
            let state = self.state.lock();
            (state.sign.clone(), state.info)
        };
        let mut kept = Kept::Yes;
        if let Some(last) = &last
            && !self.there(last).await?
        {
            kept = Kept::No;
        }
        let value = self.owner.sign(seq, cpu);
        self.write(&key, &value, self.owner.heartbeat_timeout).await?;
        if let Some(last) = last.filter(|last| *last != key) {
            self.link.ask::<()>(cmd("DEL").arg(last)).await?;
        }
        self.state.lock().sign = Some(key);
        if let Some(since) = info {
            kept = if self.keep_info(since).await? { kept } else { Kept::No };
        }
        Ok(kept)
    }

    /// False when the INFO that was written is not there any more.
    async fn keep_info(&self, since: Instant) -> Result<bool, Error> {
        let key = self.info_key();
        let now = clock::now();
        if now.saturating_duration_since(since) < INFO_KEEP_ON {
            return self.there(&key).await;
        }
        let there: bool = self.link.ask(cmd("EXPIRE").arg(&key).arg(INFO_TTL_ON.as_secs())).await?;
        self.state.lock().info = Some(now);
        Ok(there)
    }

    async fn all_signs(&self) -> Result<HashSet<Vec<u8>>, Error> {
        let pattern = format!("{}*", escaped(&self.signs));
        let mut scan = Scan::new(&self.link, pattern, self.scan_length).await?;
        let mut all = HashSet::new();
        while let Some(keys) = scan.next().await? {
            all.extend(keys);
            if all.len() > SIGNS_MAX {
                return Err(Error::Failed(format!(
                    "there are more than {SIGNS_MAX} signs of life"
                )));
            }
        }
        Ok(all)
    }

    async fn found(&self, values: Values) -> Result<Vec<Found>, Error> {
        let keys = self.all_signs().await?;
        let prefix = self.signs.as_bytes();
        let named = keys.iter().filter_map(|key| {
            let found = std::str::from_utf8(key.strip_prefix(prefix)?).ok()?;
            Some((key, parse(found)?))
        });
        if values == Values::Left {
            return Ok(named.map(|(_, found)| found).collect());
        }
        let read = |(key, mut found): (&Vec<u8>, Found)| {
            let key = key.clone();
            async move {
                let value = match self.read(&key, SIGN_MAX).await {
                    Ok(value) => Bytes::from(value),
                    // One that has ended, or is none, says what its key says.
                    Err(Error::Failed(_)) => return Ok(found),
                    Err(error) => return Err(error),
                };
                if value.len() <= SIGN_MAX {
                    found.sign.cpu = self.owner.load_in(&value);
                }
                Ok::<_, Error>(found)
            }
        };
        let named: Vec<_> = named.collect();
        stream::iter(named).map(read).buffer_unordered(READS_MAX).try_collect().await
    }

    async fn info_of(&self, node_id: &str) -> Result<Option<Bytes>, Error> {
        let most = self.owner.info_max;
        let text = self.read(format!("{}{node_id}", self.infos).as_bytes(), most).await?;
        if text.len() > most {
            return Err(Error::Failed(format!(
                "the INFO of '{node_id}' has more than {most} bytes"
            )));
        }
        Ok(Some(Bytes::from(text)).filter(|text| !text.is_empty()))
    }

    async fn clear(&self) -> Result<(), Error> {
        *self.state.lock() = State::default();
        self.link.ask::<()>(cmd("DEL").arg(self.info_key())).await?;
        let pattern = format!("{}*", escaped(&self.own_signs()));
        let mut scan = Scan::new(&self.link, pattern, self.scan_length).await?;
        while let Some(keys) = scan.next().await? {
            for key in keys {
                self.link.ask::<()>(cmd("DEL").arg(key)).await?;
            }
        }
        Ok(())
    }
}

impl Store for Redis {
    fn keep(&self, told: Box<dyn Fn(Change) + Send + Sync>) -> BoxFuture<'_, ()> {
        let told = move |change| match change {
            redis::Change::Connected => told(Change::Connected),
            redis::Change::Lost(loss) => told(Change::Lost { reason: loss.reason }),
        };
        self.link.clone().keep(told).boxed()
    }

    fn beat(&self, seq: u64, cpu: Option<f64>) -> BoxFuture<'_, Result<Kept, Error>> {
        self.say(seq, cpu).boxed()
    }

    fn write_info(&self, info: Bytes) -> BoxFuture<'_, Result<(), Error>> {
        async move {
            self.write(&self.info_key(), &info, INFO_TTL).await?;
            self.state.lock().info = Some(clock::now());
            Ok(())
        }
        .boxed()
    }

    fn signs(&self, values: Values) -> BoxFuture<'_, Result<Vec<Found>, Error>> {
        self.found(values).boxed()
    }

    fn read_info<'a>(&'a self, node_id: &'a str) -> BoxFuture<'a, Result<Option<Bytes>, Error>> {
        self.info_of(node_id).boxed()
    }

    fn remove(&self) -> BoxFuture<'_, Result<(), Error>> {
        self.clear().boxed()
    }

    fn failure(&self) -> &'static str {
        "failedKeyScan"
    }
}

impl From<redis::Error> for Error {
    fn from(error: redis::Error) -> Self {
        match error {
            // The loss is told by the link.
            redis::Error::Away | redis::Error::Lost { .. } => Self::Away,
            redis::Error::Failed { reason } => Self::Failed(reason),
            redis::Error::Address { reason } => Self::Address(reason),
        }
    }
}

/// `<node ID>|<instance>|<seq>`
fn parse(text: &str) -> Option<Found> {
    let mut parts = text.rsplitn(3, '|');
    let seq = parts.next()?.parse().ok()?;
    let instance = parts.next()?.to_owned();
    let node_id = parts.next().filter(|id| crate::packet::check_node_id(id).is_ok())?.into();
    Some(Found { node_id, sign: Sign { seq: Some(seq), instance, cpu: None } })
}

/// Text that matches itself alone.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if "*?[]\\^".contains(c) {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_name_a_node_its_run_and_its_number() {
        let found = parse("node-1|05aa9194|2").unwrap();
        let sign = Sign { seq: Some(2), instance: "05aa9194".into(), cpu: None };
        assert_eq!((&*found.node_id, found.sign), ("node-1", sign));
        for bad in ["", "node", "node|x", "node|x|y", "|x|1", "a b|x|1", "a|b|c|1"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_namespace_is_no_pattern() {
        assert_eq!(escaped("MOL-a*[b]?\\-DSCVR"), "MOL-a\\*\\[b\\]\\?\\\\-DSCVR");
    }
}
