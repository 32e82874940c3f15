//! The keys of discovery in etcd, over its JSON gateway (moleculer: src/registry/discoverers/etcd3.js).
//!
//! `moleculer[-<namespace>]/discovery/beats/<node ID>/<first 8 characters of the instance ID>/<seq>` stands
//! under a lease of the heartbeat time-out and holds `{sender, ver, cpu, seq, instanceID}`;
//! `…/info/<node ID>` stands under one of a minute and holds an INFO. Leases are kept with each sign of
//! life. In one point we do better than Moleculer: the new sign is written before the old one goes.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use hyper::StatusCode;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::backoff;
use crate::config::HttpUrl;
use crate::discoverer::store::{Change, Error, Found, Kept, Owner, SIGNS_MAX, Store, Values};
use crate::http::{self, Answer, Connection, Post};
use crate::packet::check_node_id;
use crate::registry::Sign;

/// Port of a server whose address names none.
const DEFAULT_PORT: u16 = 2379;

/// Most time for one answer of one server.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// Longest pause between two attempts to reach a server.
const RETRY_MAX: Duration = Duration::from_secs(2);

/// How long what a node offers is kept without a sign of life (moleculer: etcd3.js sendLocalNodeInfo).
const INFO_TTL: Duration = Duration::from_secs(60);

/// Connections that are kept for later.
const CONNECTIONS_KEPT: usize = 4;

/// Largest answer with the signs of all nodes, in bytes, and with anything else but an INFO.
const SIGNS_BYTES_MAX: usize = 16 << 20;
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// What a [`Etcd`] is made with.
pub(super) struct Settings {
    /// Tried in turn.
    pub(super) hosts: Vec<String>,
    /// Name and password.
    pub(super) login: Option<(String, String)>,
    /// Between two signs of life.
    pub(super) heartbeat_interval: Duration,
}

/// The keys of a mesh in etcd.
pub(super) struct Etcd {
    owner: Owner,
    hosts: Vec<HttpUrl>,
    login: Option<(String, String)>,
    heartbeat_interval: Duration,
    /// `moleculer[-<namespace>]/discovery`
    prefix: String,
    state: Mutex<State>,
    /// A request found no server.
    lost: Notify,
}

#[derive(Default)]
struct State {
    /// True while a server answers.
    connected: bool,
    /// Why none does.
    reason: String,
    /// The server that answered last.
    host: usize,
    /// Connections with it.
    idle: Vec<Connection>,
    token: Option<String>,
    sign: Option<Written>,
    info: Option<Written>,
}

/// A key that was written, and its lease.
#[derive(Clone)]
struct Written {
    key: String,
    lease: String,
}

#[derive(Deserialize)]
struct Lease {
    #[serde(rename = "ID", default)]
    id: String,
    /// Seconds that are left; absent when the lease is not there any more.
    #[serde(rename = "TTL", default)]
    ttl: Option<String>,
}

#[derive(Deserialize)]
struct KeptAlive {
    result: Lease,
}

#[derive(Deserialize)]
struct Token {
    token: String,
}

#[derive(Deserialize)]
struct Range {
    #[serde(default)]
    kvs: Vec<KeyValue>,
    #[serde(default)]
    more: bool,
}

#[derive(Deserialize)]
struct KeyValue {
    key: String,
    #[serde(default)]
    value: String,
}

/// Why a request had no useful answer.
enum Failure {
    /// No server was reached.
    Away,
    /// A server refused.
    Refused { status: u16, message: String },
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Away => Self::Away,
            Failure::Refused { status, message } => {
                Self::Failed(format!("etcd refuses ({status}): {message}"))
            }
        }
    }
}

impl Etcd {
    /// # Errors
    /// [`Error::Address`].
    pub(super) fn new(settings: Settings, owner: Owner) -> Result<Self, Error> {
        let hosts = settings.hosts.iter().map(|host| server(host));
        let hosts = hosts.collect::<Result<Vec<_>, _>>().map_err(Error::Address)?;
        if hosts.is_empty() {
            return Err(Error::Address("it is empty".into()));
        }
        let prefix = match owner.namespace.as_str() {
            "" => "moleculer/discovery".to_owned(),
            namespace => format!("moleculer-{namespace}/discovery"),
        };
        Ok(Self {
            owner,
            hosts,
            login: settings.login,
            heartbeat_interval: settings.heartbeat_interval,
            prefix,
            state: Mutex::default(),
            lost: Notify::new(),
        })
    }

    fn info_key(&self, node_id: &str) -> String {
        format!("{}/info/{node_id}", self.prefix)
    }

    fn signs(&self) -> String {
        format!("{}/beats/", self.prefix)
    }

    /// Asks whichever server answers, unless none is known to.
    async fn ask<T: for<'de> Deserialize<'de>>(
        &self,
        path: &str,
        question: &Value,
        most: usize,
    ) -> Result<T, Failure> {
        if !self.state.lock().connected {
            return Err(Failure::Away);
        }
        let answer = self.ask_any(path, question, most).await;
        if let Err(Failure::Away) = &answer {
            self.state.lock().connected = false;
            self.lost.notify_one();
        }
        read(&answer?)
    }

    /// Asks with the token that a name and a password are worth; with a new one when the last is too old.
    async fn ask_any(&self, path: &str, question: &Value, most: usize) -> Result<Answer, Failure> {
        let text = question.to_string();
        let Some((name, password)) = &self.login else {
            return self.post(path, None, &text, most).await;
        };
        let token = self.state.lock().token.clone();
        if let Some(token) = token {
            let answer = self.post(path, Some(&token), &text, most).await?;
            if answer.status != StatusCode::UNAUTHORIZED {
                return Ok(answer);
            }
        }
        let login = json!({"name": name, "password": password}).to_string();
        let answer = self.post("/v3/auth/authenticate", None, &login, ANSWER_BYTES_MAX).await?;
        let Token { token } = read(&answer)?;
        self.state.lock().token = Some(token.clone());
        self.post(path, Some(&token), &text, most).await
    }

    /// Sends to the server that answered last, then to each of the others.
    async fn post(
        &self,
        path: &str,
        token: Option<&str>,
        text: &str,
        most: usize,
    ) -> Result<Answer, Failure> {
        let mut reasons = Vec::new();
        for _ in 0..self.hosts.len() {
            let (index, host) = {
                let state = self.state.lock();
                let index = state.host % self.hosts.len();
                let Some(host) = self.hosts.get(index) else { break };
                (index, host)
            };
            // One that was kept may have been closed meanwhile, so a failure on it says nothing.
            while let Some(connection) = self.take_idle() {
                if let Ok(answer) = self.post_on(connection, path, token, text, most).await {
                    return Ok(answer);
                }
            }
            let connecting = tokio::time::timeout(ANSWER_TIMEOUT, Connection::open(host)).await;
            let connection = connecting.unwrap_or_else(|_| Err(silent()));
            let reason = match connection {
                Err(reason) => reason,
                Ok(connection) => match self.post_on(connection, path, token, text, most).await {
                    Ok(answer) => return Ok(answer),
                    Err(reason) => reason,
                },
            };
            reasons.push(format!("{}: {reason}", host.authority()));
            let mut state = self.state.lock();
            if state.host % self.hosts.len() == index {
                state.host = index + 1;
                state.idle.clear();
            }
        }
        self.state.lock().reason = reasons.join("; ");
        Err(Failure::Away)
    }

    fn take_idle(&self) -> Option<Connection> {
        self.state.lock().idle.pop()
    }

    async fn post_on(
        &self,
        connection: Connection,
        path: &str,
        token: Option<&str>,
        text: &str,
        most: usize,
    ) -> Result<Answer, String> {
        let headers = http::authorization(token);
        let post = connection.post(Post {
            path,
            headers: &headers,
            content_type: "application/json",
            body: Bytes::copy_from_slice(text.as_bytes()),
            answer_max: most,
        });
        let (answer, again) =
            tokio::time::timeout(ANSWER_TIMEOUT, post).await.unwrap_or_else(|_| Err(silent()))?;
        let mut state = self.state.lock();
        if state.idle.len() < CONNECTIONS_KEPT {
            state.idle.extend(again);
        }
        Ok(answer)
    }

    async fn put(&self, key: &str, value: &[u8], lease: &str) -> Result<(), Failure> {
        let put = json!({"key": BASE64.encode(key), "value": BASE64.encode(value), "lease": lease});
        self.ask::<Value>("/v3/kv/put", &put, ANSWER_BYTES_MAX).await.map(drop)
    }

    async fn delete(&self, key: &str) -> Result<(), Failure> {
        let delete = json!({"key": BASE64.encode(key)});
        self.ask::<Value>("/v3/kv/deleterange", &delete, ANSWER_BYTES_MAX).await.map(drop)
    }

    async fn grant(&self, ttl: Duration) -> Result<String, Failure> {
        // Whole seconds, and more rather than fewer.
        let seconds = (ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0)).max(1);
        let grant = json!({"TTL": seconds});
        let lease: Lease = self.ask("/v3/lease/grant", &grant, ANSWER_BYTES_MAX).await?;
        Ok(lease.id)
    }

    /// False when the lease has ended, and with it what was written under it.
    async fn keep_lease(&self, lease: &str) -> Result<bool, Failure> {
        let question = json!({"ID": lease});
        let kept: KeptAlive = self.ask("/v3/lease/keepalive", &question, ANSWER_BYTES_MAX).await?;
        Ok(kept.result.ttl.is_some_and(|ttl| ttl != "0"))
    }

    async fn revoke(&self, lease: &str) -> Result<(), Failure> {
        let question = json!({"ID": lease});
        self.ask::<Value>("/v3/lease/revoke", &question, ANSWER_BYTES_MAX).await.map(drop)
    }

    async fn say(&self, seq: u64, cpu: Option<f64>) -> Result<Kept, Error> {
        let (last, info) = {
            let state = self.state.lock();
            (state.sign.clone(), state.info.clone())
        };
        let mut kept = Kept::Yes;
        if let Some(info) = info
            && !self.keep_lease(&info.lease).await?
        {
            self.state.lock().info = None;
            kept = Kept::No;
        }
        let mut lease = None;
        if let Some(last) = &last {
            if self.keep_lease(&last.lease).await? {
                lease = Some(last.lease.clone());
            } else {
                self.state.lock().sign = None;
                kept = Kept::No;
            }
        }
        let lease = match lease {
            Some(lease) => lease,
            None => self.grant(self.owner.heartbeat_timeout).await?,
        };
        let hash: String = self.owner.instance_id.chars().take(8).collect();
        let key = format!("{}{}/{hash}/{seq}", self.signs(), self.owner.node_id);
        self.put(&key, &self.owner.sign(seq, cpu), &lease).await?;
        self.state.lock().sign = Some(Written { key: key.clone(), lease });
        if let Some(last) = last.filter(|last| last.key != key) {
            self.delete(&last.key).await?;
        }
        Ok(kept)
    }

    async fn offer(&self, info: &[u8]) -> Result<(), Error> {
        let key = self.info_key(&self.owner.node_id);
        let written = self.state.lock().info.clone();
        let lease = match written {
            Some(Written { lease, .. }) if self.keep_lease(&lease).await? => lease,
            // Signs of life keep it, so it must outlive the time between them.
            _ => self.grant(INFO_TTL.max(3 * self.heartbeat_interval)).await?,
        };
        self.put(&key, info, &lease).await?;
        self.state.lock().info = Some(Written { key, lease });
        Ok(())
    }

    async fn found(&self, values: Values) -> Result<Vec<Found>, Error> {
        let prefix = self.signs();
        // All that begins with the prefix: up to the first that does not, whose last character is the next.
        let end = format!("{}0", prefix.trim_end_matches('/'));
        let question = json!({"key": BASE64.encode(&prefix), "range_end": BASE64.encode(end),
            "keys_only": values == Values::Left, "limit": SIGNS_MAX});
        let range: Range = self.ask("/v3/kv/range", &question, SIGNS_BYTES_MAX).await?;
        if range.more {
            return Err(Error::Failed(format!("there are more than {SIGNS_MAX} signs of life")));
        }
        let found = range.kvs.iter().filter_map(|kv| {
            let key = BASE64.decode(&kv.key).ok()?;
            let mut found = parse(std::str::from_utf8(&key).ok()?.strip_prefix(&prefix)?)?;
            let value = BASE64.decode(&kv.value).ok().map(Bytes::from);
            found.sign.cpu = value.and_then(|value| self.owner.load_in(&value));
            Some(found)
        });
        Ok(found.collect())
    }

    async fn info_of(&self, node_id: &str) -> Result<Option<Bytes>, Error> {
        let question = json!({"key": BASE64.encode(self.info_key(node_id))});
        // In base64, which makes four characters of three bytes, and with what etcd says around it.
        let most = self.owner.info_max / 3 * 4 + ANSWER_BYTES_MAX;
        let range: Range = self.ask("/v3/kv/range", &question, most).await?;
        let Some(kv) = range.kvs.first() else { return Ok(None) };
        let info = BASE64.decode(&kv.value).map_err(|error| Error::Failed(error.to_string()))?;
        if info.len() > self.owner.info_max {
            let most = self.owner.info_max;
            return Err(Error::Failed(format!(
                "the INFO of '{node_id}' has more than {most} bytes"
            )));
        }
        Ok(Some(info.into()))
    }

    async fn clear(&self) -> Result<(), Error> {
        let written = {
            let mut state = self.state.lock();
            [state.info.take(), state.sign.take()]
        };
        for written in written.into_iter().flatten() {
            self.delete(&written.key).await?;
            self.revoke(&written.lease).await?;
        }
        Ok(())
    }

    /// Looks for a server that answers, and tells; then waits until none does.
    async fn keep_connected(&self, told: &(dyn Fn(Change) + Send + Sync)) {
        let question = json!({"key": BASE64.encode(self.info_key(&self.owner.node_id)),
            "count_only": true});
        let mut attempt = 0;
        let mut reported = false;
        loop {
            tokio::time::sleep(backoff::delay(attempt, RETRY_MAX)).await;
            attempt += 1;
            let answer = self.ask_any("/v3/kv/range", &question, ANSWER_BYTES_MAX).await;
            let reason = match answer.and_then(|answer| read::<Value>(&answer)) {
                Ok(_) => {
                    self.state.lock().connected = true;
                    told(Change::Connected);
                    self.lost.notified().await;
                    (attempt, reported) = (0, false);
                    self.state.lock().reason.clone()
                }
                Err(Failure::Away) => self.state.lock().reason.clone(),
                Err(Failure::Refused { message, .. }) => message,
            };
            if !reported {
                reported = true;
                told(Change::Lost { reason });
            }
        }
    }
}

impl Store for Etcd {
    fn keep(&self, told: Box<dyn Fn(Change) + Send + Sync>) -> BoxFuture<'_, ()> {
        async move { self.keep_connected(&*told).await }.boxed()
    }

    fn beat(&self, seq: u64, cpu: Option<f64>) -> BoxFuture<'_, Result<Kept, Error>> {
        self.say(seq, cpu).boxed()
    }

    fn write_info(&self, info: Bytes) -> BoxFuture<'_, Result<(), Error>> {
        async move { self.offer(&info).await }.boxed()
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
        "failedCollectKeys"
    }
}

/// The address of a server, which is no more than host and port.
pub(super) fn server(text: &str) -> Result<HttpUrl, String> {
    let url = HttpUrl::parse(text, DEFAULT_PORT)?;
    if url.has_path() {
        return Err("what is no host and port does not belong there".into());
    }
    Ok(url)
}

fn silent() -> String {
    format!("no answer within {ANSWER_TIMEOUT:?}")
}

/// The answer, when it is none of refusal.
fn read<T: for<'de> Deserialize<'de>>(answer: &Answer) -> Result<T, Failure> {
    let status = answer.status.as_u16();
    let refused = |message: String| Failure::Refused { status, message };
    if answer.status != StatusCode::OK {
        let fields: BTreeMap<String, Value> =
            serde_json::from_slice(&answer.body).unwrap_or_default();
        let message = fields.get("error").or_else(|| fields.get("message"));
        return Err(refused(message.and_then(Value::as_str).unwrap_or("no reason").to_owned()));
    }
    serde_json::from_slice(&answer.body).map_err(|error| refused(error.to_string()))
}

/// `<node ID>/<instance>/<seq>`
fn parse(text: &str) -> Option<Found> {
    let mut parts = text.rsplitn(3, '/');
    let seq = parts.next()?.parse().ok()?;
    let instance = parts.next()?.to_owned();
    let node_id = parts.next().filter(|id| check_node_id(id).is_ok())?.into();
    Some(Found { node_id, sign: Sign { seq: Some(seq), instance, cpu: None } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_name_a_node_its_run_and_its_number() {
        let found = parse("a/b/05aa9194/2").unwrap();
        let sign = Sign { seq: Some(2), instance: "05aa9194".into(), cpu: None };
        // A node may have a slash in its name, which Moleculer would take for the end of it.
        assert_eq!((&*found.node_id, found.sign), ("a/b", sign));
        for bad in ["", "node", "node/x", "node/x/y", "/x/1", "a b/x/1"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_refusal_says_why() {
        let check = |status, body: &str, expected: &str| {
            let answer = Answer { status, body: body.to_owned().into() };
            let Err(Failure::Refused { message, .. }) = read::<Lease>(&answer) else {
                panic!("{body} was taken");
            };
            assert!(message.contains(expected), "{message}");
        };
        check(
            StatusCode::NOT_FOUND,
            "{\"error\":\"etcdserver: requested lease not found\",\"code\":5}",
            "lease not",
        );
        check(StatusCode::SERVICE_UNAVAILABLE, "<html>", "no reason");
        check(StatusCode::OK, "[]x", "trailing");
        let answer = Answer {
            status: StatusCode::OK,
            body: Bytes::from_static(b"{\"ID\":\"7\",\"TTL\":\"30\"}"),
        };
        assert!(read::<Lease>(&answer).is_ok_and(|lease| lease.id == "7"));
    }
}
