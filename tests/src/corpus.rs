//! The hostile corpus: what a guest may do to harm its host, and an innocent service beside it.
//!
//! One guest (`tests/guests/hostile`) has an action for each misdeed; what no compiler would write is put together
//! byte by byte. Who is called is a [`Caller`]: a broker in this process, or the control socket of another one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use isomer_host::clock;
use isomer_host::config::BrokerOptions;
use isomer_host::context::{CallOptions, Caller, Outcome};
use isomer_host::handler::Handler;
use isomer_host::payload::stream::channel;
use isomer_host::payload::{Payload, Stream};
use isomer_host::service::LocalService;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::crafted::Crafted;
use crate::host::Host;
use crate::{broker, guests, wait};

/// Limits of the guest, tight, so that going past them is quick.
pub const LIMITS: &str = "[instances]\nmax = 4\nidle = \"1s\"\n[limits]\nfuel = 200_000_000\n\
    timeout = \"60s\"\nmemory = \"16MiB\"\npayload = \"256KiB\"\nmeta = \"16KiB\"\nhandles = 400\n\
    callsInFlight = 50\nevents = 1_000\nqueue = 20\nlogRate = 50\nlogLine = \"1KiB\"\n\
    streamTimeout = \"1s\"\nstreamIdle = \"300ms\"\n";

/// How an answer that is no error is called among the ends of calls.
pub const ANSWERED: &str = "an answer";
/// The error of a guest that trapped.
const TRAP: &str = "SERVICE_TRAPPED";
/// Calls of a hostile action that are made at once.
const CULPRITS: usize = 4;
/// The time that a caller of a hostile action gives it, where the guest would take longer.
const PATIENCE: Duration = Duration::from_millis(300);

/// Somebody whom nobody wants beside him.
#[derive(Clone, Debug)]
pub struct Neighbour {
    /// What it does.
    pub name: &'static str,
    /// How.
    pub misdeed: Misdeed,
}

impl Neighbour {
    fn changed(mut self, change: impl FnOnce(&mut Call)) -> Self {
        if let Misdeed::Call(call) = &mut self.misdeed {
            change(call);
        }
        self
    }

    fn with(self, streams: Streams) -> Self {
        self.changed(|call| call.streams = streams)
    }

    fn waited_for(self, timeout: Duration) -> Self {
        self.changed(|call| call.timeout = Some(timeout))
    }
}

/// What a neighbour does.
#[derive(Clone, Debug)]
pub enum Misdeed {
    /// It misuses a call.
    Call(Call),
    /// It is a component that should not be let in.
    File(File),
}

/// A call of a hostile action.
#[derive(Clone, Debug)]
pub struct Call {
    /// The action.
    pub action: &'static str,
    /// Its params.
    pub params: Value,
    /// How it may end: types of errors, or [`ANSWERED`].
    pub ends: &'static [&'static str],
    /// The streams of the caller.
    pub streams: Streams,
    /// How long the caller waits, when it is less than usual.
    pub timeout: Option<Duration>,
}

/// What a caller does with streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Streams {
    /// Nothing.
    None,
    /// It sends one.
    Sends,
    /// It reads the one that comes to its end.
    Reads,
    /// It takes the one that comes and does not read until the guest has given up.
    Ignores,
}

/// A component that is refused.
#[derive(Clone, Copy, Debug)]
pub struct File {
    /// How it is made.
    pub make: fn() -> Vec<u8>,
    /// What the operator says of it.
    pub sidecar: &'static str,
    /// What the reason of the refusal says.
    pub says: &'static str,
}

fn call(
    name: &'static str,
    action: &'static str,
    params: Value,
    ends: &'static [&'static str],
) -> Neighbour {
    let call = Call { action, params, ends, streams: Streams::None, timeout: None };
    Neighbour { name, misdeed: Misdeed::Call(call) }
}

fn file(
    name: &'static str,
    make: fn() -> Vec<u8>,
    sidecar: &'static str,
    says: &'static str,
) -> Neighbour {
    Neighbour { name, misdeed: Misdeed::File(File { make, sidecar, says }) }
}

/// All of them.
#[must_use]
pub fn all() -> Vec<Neighbour> {
    let mut all = computing();
    all.extend(handing_over());
    all.extend(calling());
    all.extend(streams());
    all.extend(forging());
    all.extend(files());
    all
}

fn computing() -> Vec<Neighbour> {
    vec![
        call("endless loop", "hostile.loop", json!({}), &["FUEL_EXHAUSTED"]),
        call("endless recursion", "hostile.recurse", json!({}), &[TRAP]),
        call("memory bomb", "hostile.bomb", json!({}), &["MEMORY_LIMIT"]),
        call("traps on every third call", "hostile.moody", json!({"n": 3}), &[ANSWERED, TRAP]),
        call("ends the process", "hostile.exit", json!({}), &[TRAP]),
    ]
}

fn handing_over() -> Vec<Neighbour> {
    const TOO_LARGE: &[&str] = &["PAYLOAD_TOO_LARGE"];
    const INVALID: &[&str] = &["INVALID_PAYLOAD"];
    // Where nothing of this level is logged, it is not even handed over.
    const LINE: &[&str] = &["PAYLOAD_TOO_LARGE", ANSWERED];
    // The guest has no room for so much itself, unless its operator gives it more.
    const HUGE: &[&str] = &["PAYLOAD_TOO_LARGE", "MEMORY_LIMIT", "FUEL_EXHAUSTED"];
    vec![
        call("result of 1 MB", "hostile.giant", json!({"n": 1 << 20}), TOO_LARGE),
        call("error with 10 MB of data", "hostile.giantError", json!({"n": 10 << 20}), HUGE),
        call("meta of 1 MB", "hostile.giantMeta", json!({"n": 1 << 20}), TOO_LARGE),
        call("JSON with 100,000 levels", "hostile.deep", json!({"n": 100_000}), INVALID),
        call("NaN", "hostile.say", json!("{\"a\":NaN}"), INVALID),
        // Legal JSON, which JavaScript writes, too: it is carried as it is.
        call("half of a surrogate pair", "hostile.say", json!(r#"{"a":"\ud800"}"#), &[ANSWERED]),
        call("more than one value", "hostile.invalidJson", json!({}), INVALID),
        call("10,000 log lines", "hostile.flood", json!({"n": 10_000}), &[ANSWERED]),
        call("a log line of 1 MB", "hostile.longLine", json!({"n": 1 << 20}), LINE),
    ]
}

fn calling() -> Vec<Neighbour> {
    let greets = |n: usize| json!({"n": n, "action": "greeter.hello"});
    // Of chains that wait for each other's instances, the time of their callers ends one.
    const IN_A_RING: &[&str] =
        &["SELF_DEADLOCK", "QUEUE_FULL", "REQUEST_TIMEOUT", "REQUEST_SKIPPED"];
    // Each call in flight is a handle, and so is one that was refused, until the guest looks at it.
    const MANY: &[&str] = &[TRAP, ANSWERED];
    const SWARMS: &[&str] = &[ANSWERED, "QUEUE_FULL", "REQUEST_TIMEOUT"];
    vec![
        call("1,500 events in one call", "hostile.storm", json!({"n": 1_500}), &[ANSWERED]),
        call("1,000 calls at once", "hostile.handles", greets(1_000), MANY),
        call("50 calls at once", "hostile.handles", greets(50), &[ANSWERED]),
        call("calls itself, four times each", "hostile.swarm", json!({"n": 4}), SWARMS),
        call("calls itself in a chain", "hostile.ring", json!({}), IN_A_RING).waited_for(PATIENCE),
        call("two that call each other", "hostile.round", json!({}), IN_A_RING)
            .waited_for(PATIENCE),
        call("waits in the host for an hour", "hostile.block", json!({}), &["REQUEST_TIMEOUT"])
            .waited_for(PATIENCE),
    ]
}

fn streams() -> Vec<Neighbour> {
    const LATE: &[&str] = &["REQUEST_TIMEOUT"];
    const IDLE: &[&str] = &["STREAM_IDLE", "REQUEST_TIMEOUT"];
    vec![
        call("a stream that is never read", "hostile.deaf", json!({}), LATE)
            .with(Streams::Sends)
            .waited_for(PATIENCE),
        call("a stream that its reader ignores", "hostile.pour", json!({}), IDLE)
            .with(Streams::Ignores),
        call("a stream byte by byte", "hostile.drip", json!({}), LATE).with(Streams::Reads),
    ]
}

fn forging() -> Vec<Neighbour> {
    vec![
        call("a call under another's name", "hostile.forge", json!({}), &["VALIDATION_ERROR"]),
        call("a value under another's key", "hostile.poison", json!({}), &["PERMISSION_DENIED"]),
    ]
}

fn files() -> Vec<Neighbour> {
    let small = "[limits]\nmemory = \"16MiB\"\n";
    vec![
        file(
            "`started` never ends",
            || {
                let schema = json!({"name": "stuck"}).to_string();
                Crafted { endless_start: true, ..Crafted::with_schema(schema) }.build()
            },
            "[limits]\nfuel = 200_000_000\ntimeout = \"60s\"\n",
            "fuel",
        ),
        file(
            "a schema of 50 MB",
            || Crafted { schema_len: Some(50 << 20), ..Crafted::with_schema("{}") }.build(),
            "",
            "bytes",
        ),
        file("100,000 actions", many_actions, "[limits]\nschema = \"8MiB\"\n", "1000"),
        file("names that are none", || Crafted::named("a b*>\n").build(), "", "name"),
        file("the name of the node's own service", || Crafted::named("$node").build(), "", "$node"),
        file(
            "100 memories",
            || Crafted { memories: 100, ..Crafted::named("many") }.build(),
            "[limits]\nobjects = 50\n",
            "count too high",
        ),
        file(
            "50 memories of 1 MiB",
            || Crafted { memories: 50, pages: 16, ..Crafted::named("sum") }.build(),
            small,
            "16777216",
        ),
        file(
            "a table of 5 million elements",
            || Crafted { elements: 5_000_000, ..Crafted::named("table") }.build(),
            small,
            "100000",
        ),
        file("cut off in the middle", || half(Crafted::named("half").build()), "", "component"),
    ]
}

fn many_actions() -> Vec<u8> {
    let actions: Value = (0..100_000).map(|n| (format!("a{n}"), json!({}))).collect();
    Crafted::with_schema(json!({"name": "rich", "actions": actions}).to_string()).build()
}

fn half(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.truncate(bytes.len() / 2);
    bytes
}

/// A folder with the innocent and the hostile guest.
#[must_use]
pub fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path());
    folder
}

/// Puts the innocent and the hostile guest into a folder.
pub fn fill(folder: &std::path::Path) {
    std::fs::write(folder.join("hostile.toml"), LIMITS).unwrap();
    guests::put("greeter", folder, "greeter.wasm");
    guests::put("hostile", folder, "hostile.wasm");
}

/// A node in this process with the innocent and the hostile guest, and a service that calls back.
pub async fn host() -> Host {
    let cacher = Some(isomer_host::config::Cacher::default());
    let host = Host::start_on(BrokerOptions { cacher, ..BrokerOptions::default() }, folder()).await;
    let caller = host.broker.caller();
    let pass: Handler = Arc::new(move |ctx| {
        let caller = caller.clone();
        Box::pin(async move {
            // The node ends last.
            let broker = caller.upgrade().unwrap();
            let options = CallOptions::child_of(&ctx);
            broker.call("hostile.round", Payload::empty_object(), options).await
        })
    });
    let schema = json!({"name": "relay", "actions": {"pass": {}}});
    let relay = LocalService::native(&schema, vec![("pass", pass)], Vec::new()).unwrap();
    host.broker.add_service(relay).await.unwrap();
    host
}

impl Call {
    /// Makes the call once and waits for its end.
    pub async fn make(&self, caller: &dyn Caller) -> String {
        let (writer, stream) = channel(false, 1 << 20);
        let sends = self.streams == Streams::Sends;
        if sends {
            writer.try_write(Payload::Bytes(vec![1; 64 << 10].into())).unwrap();
        }
        let options = CallOptions {
            timeout: self.timeout,
            stream: sends.then_some(stream),
            ..CallOptions::default()
        };
        let outcome = caller.call(self.action, broker::json(&self.params), options).await;
        match outcome {
            Ok(Payload::Stream(stream)) => self.take(&stream).await,
            outcome => end(outcome),
        }
    }

    /// Takes an answer that is a stream.
    async fn take(&self, stream: &Stream) -> String {
        let mut reader = stream.take().unwrap();
        if self.streams == Streams::Ignores {
            // A little longer than the guest has patience.
            let mut pause = ticks(Duration::from_millis(400));
            pause.tick().await;
            pause.tick().await;
        }
        loop {
            match reader.next().await {
                Ok(Some(_)) => {}
                Ok(None) => return ANSWERED.to_owned(),
                Err(error) => return error.kind().to_owned(),
            }
        }
    }
}

fn end(outcome: Outcome) -> String {
    match outcome {
        Ok(_) => ANSWERED.to_owned(),
        Err(error) => error.kind().to_owned(),
    }
}

/// Moments with so much time between them, whatever happens meanwhile.
fn ticks(period: Duration) -> Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// How much is done.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Calls of the innocent service.
    pub calls: usize,
    /// The time from one of them to the next.
    pub pause: Duration,
    /// Calls that each of the callers of the hostile action makes at least.
    pub misdeeds: usize,
}

/// How the innocent service fared.
#[derive(Clone, Debug, Default)]
pub struct Innocent {
    /// How long its calls took, sorted.
    pub times: Vec<Duration>,
    /// Those that failed, with their errors.
    pub failed: Vec<String>,
}

impl Innocent {
    /// The time within which this part of the calls was answered.
    #[must_use]
    pub fn within(&self, part: f64) -> Duration {
        let last = self.times.len().saturating_sub(1);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_precision_loss,
            clippy::cast_sign_loss,
            reason = "a place in a short list"
        )]
        let at = (last as f64 * part).round() as usize;
        self.times.get(at).copied().unwrap_or_default()
    }

    /// Calls the innocent service one call after the other.
    pub async fn call(caller: Arc<dyn Caller>, effort: Effort) -> Self {
        let mut innocent = Self::default();
        let mut ticks = ticks(effort.pause);
        for _ in 0..effort.calls {
            ticks.tick().await;
            let start = clock::now();
            let params = Payload::empty_object();
            let outcome = caller.call("greeter.hello", params, CallOptions::default()).await;
            innocent.times.push(start.elapsed());
            innocent.failed.extend(outcome.err().map(|error| error.to_string()));
        }
        innocent.times.sort_unstable();
        innocent
    }
}

/// What happened while both were called.
#[derive(Clone, Debug)]
pub struct Meeting {
    /// The innocent.
    pub innocent: Innocent,
    /// How the calls of the other ended, and how many so.
    pub ends: BTreeMap<String, u64>,
}

/// Calls the innocent service while four callers have a hostile action called again and again.
pub async fn beside(caller: &Arc<dyn Caller>, call: &Call, effort: Effort) -> Meeting {
    let stop = Arc::new(AtomicBool::new(false));
    let n_ended = Arc::new(AtomicUsize::new(0));
    let culprits: Vec<_> = (0..CULPRITS)
        .map(|_| {
            let (caller, call) = (Arc::clone(caller), call.clone());
            let (stop, n_ended) = (Arc::clone(&stop), Arc::clone(&n_ended));
            isomer_host::task::run(async move {
                let mut ends: BTreeMap<String, u64> = BTreeMap::new();
                while !stop.load(Ordering::Relaxed) || n_ended.load(Ordering::Relaxed) < CULPRITS {
                    *ends.entry(call.make(&*caller).await).or_default() += 1;
                    if ends.values().sum::<u64>() == effort.misdeeds as u64 {
                        n_ended.fetch_add(1, Ordering::Relaxed);
                    }
                    // One whose call is refused at once leaves the thread to others, as a peer would.
                    tokio::task::yield_now().await;
                }
                ends
            })
        })
        .collect();
    // As real calls are: in a task.
    let innocent = isomer_host::task::run(Innocent::call(Arc::clone(caller), effort));
    let innocent = wait::within(Duration::from_secs(240), "the innocent calls", innocent).await;
    stop.store(true, Ordering::Relaxed);
    let ends = wait::within(Duration::from_secs(240), "the hostile calls", join_all(culprits));
    let mut all: BTreeMap<String, u64> = BTreeMap::new();
    for ends in ends.await {
        for (end, count) in ends.unwrap() {
            *all.entry(end).or_default() += count;
        }
    }
    Meeting { innocent: innocent.unwrap(), ends: all }
}

/// The reason why a node does not take a file, while the innocent service is called.
pub async fn refused(host: &Host, file: &File, effort: Effort) -> (Innocent, String) {
    let name = "intruder";
    let sidecar = host.folder().join(name).with_extension("toml");
    std::fs::write(&sidecar, file.sidecar).unwrap();
    let caller = host.broker.caller().upgrade().unwrap();
    let innocent = isomer_host::task::run(Innocent::call(caller, effort));
    let path = guests::put_bytes(&(file.make)(), host.folder(), &format!("{name}.wasm"));
    let row = host.service(name, |row| row["isomer"]["error"].is_string()).await;
    let reason = row["isomer"]["error"].as_str().unwrap().to_owned();
    let innocent = wait::within(Duration::from_secs(240), "the innocent calls", innocent).await;
    std::fs::remove_file(path).unwrap();
    std::fs::remove_file(sidecar).unwrap();
    wait::until("the end of the refused file", || async {
        let list = host.call("$node.services", &json!({})).await.unwrap();
        list.as_array().unwrap().iter().all(|row| row["fullName"] != name).then_some(())
    })
    .await;
    (innocent.unwrap(), reason)
}
