//! Always the same node for the same key (moleculer: src/strategies/shard.js).
//!
//! The ring is that of Moleculer: the nodes in the order of their IDs, in equal slices in turn, `vnodes` of
//! them each. Its bounds follow from the number of nodes, so that it is never built: a node that joins costs
//! its place in the list of IDs. A key's place is its MD5. There is no cache of keys: finding a place costs
//! less than a cache that calls share.
//!
//! When the node of a key may not be taken now (its circuit is open), the next one on the ring stands in;
//! Moleculer fails the call with `INVALID_ENDPOINT`.

use std::sync::Arc;

use md5::{Digest as _, Md5};
use serde_json::Value;

use super::path::Path;
use super::{Candidate, Subject};
use crate::config::StrategyOptions;
use crate::payload::{Object, Payload};

/// The ring of one endpoint list.
#[derive(Debug)]
pub(super) struct Shard {
    key: Option<Key>,
    vnodes: usize,
    /// Size of the ring, and what places are taken modulo of when the options name a size.
    size: f64,
    modulo: Option<u64>,
    /// IDs of the nodes, as JavaScript sorts them. One that has two endpoints is here twice.
    nodes: Vec<Arc<str>>,
}

/// Where the key of a call is.
#[derive(Debug)]
enum Key {
    Params(Path),
    Meta(Path),
}

impl Shard {
    pub(super) fn new(options: &StrategyOptions) -> Self {
        let key = options.shard_key.as_deref().filter(|key| !key.is_empty());
        let modulo = options.ring_size.filter(|size| *size > 0);
        #[expect(clippy::cast_precision_loss, reason = "JavaScript has no larger whole numbers")]
        let size = modulo.unwrap_or(1 << 32) as f64;
        Self {
            key: key.map(|key| match key.strip_prefix('#') {
                Some(key) => Key::Meta(Path::new(key)),
                None => Key::Params(Path::new(key)),
            }),
            vnodes: usize::try_from(options.vnodes).unwrap_or(usize::MAX).max(1),
            size,
            modulo,
            nodes: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, node_id: &Arc<str>) {
        self.nodes.insert(self.place(node_id), Arc::clone(node_id));
    }

    pub(super) fn remove(&mut self, node_id: &str) {
        let at = self.place(node_id);
        if self.nodes.get(at).is_some_and(|one| **one == *node_id) {
            self.nodes.remove(at);
        }
    }

    /// Where a node is in the list, or would be.
    fn place(&self, node_id: &str) -> usize {
        self.nodes.partition_point(|one| one.encode_utf16().lt(node_id.encode_utf16()))
    }

    /// The endpoint for the key of a call; `None` when it has none.
    pub(super) fn select<'a, C: Candidate>(
        &self,
        candidates: &(impl Iterator<Item = &'a Arc<C>> + Clone),
        subject: Subject<'_>,
    ) -> Option<&'a Arc<C>> {
        let key = text(&self.key_of(subject)?);
        let first = self.slice_of(self.place_of(&key))?;
        let walk = self.nodes.iter().cycle().skip(first % self.nodes.len()).take(self.nodes.len());
        walk.filter_map(|node| candidates.clone().find(|one| one.node_id() == node)).next()
    }

    fn key_of(&self, subject: Subject<'_>) -> Option<Value> {
        match self.key.as_ref()? {
            Key::Params(path) => match subject.params? {
                Payload::Json(json) => path.find(json),
                Payload::Absent | Payload::Bytes(_) | Payload::Stream(_) => None,
            },
            Key::Meta(path) => {
                let inherited = subject.inherited.map_or_else(Object::default, |ctx| ctx.meta());
                let meta =
                    subject.meta.map_or_else(|| inherited.clone(), |own| inherited.merged(own));
                path.find(meta.as_str())
            }
        }
    }

    fn place_of(&self, key: &str) -> u64 {
        let digest: [u8; 16] = Md5::digest(key).into();
        let [a, b, c, d, ..] = digest;
        let place = u64::from(u32::from_be_bytes([a, b, c, d]));
        self.modulo.map_or(place, |size| place % size)
    }

    /// The first slice whose upper bound is not below a place. Bounds are computed as JavaScript computes
    /// them, in doubles.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "places are below 2^53 and slices are counted in millions"
    )]
    fn slice_of(&self, place: u64) -> Option<usize> {
        let n_slices = self.nodes.len().checked_mul(self.vnodes).filter(|n| *n > 0)?;
        let (place, slice) = (place as f64, self.size / n_slices as f64);
        // One less than what the division says, in case it was rounded up.
        let guess = ((place / slice).ceil() as usize).saturating_sub(2);
        let bound = |index: usize| (slice * (index + 1) as f64).floor();
        (guess..n_slices).find(|index| place <= bound(*index)).or(Some(n_slices - 1))
    }
}

/// A value as JavaScript's `toString` writes it.
fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => number_text(number.as_f64().unwrap_or(f64::NAN)),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(","),
        Value::Object(_) => "[object Object]".to_owned(),
    }
}

/// A number as JavaScript writes it: with an exponent when it is very large or very small.
fn number_text(number: f64) -> String {
    let size = number.abs();
    if number == 0.0 {
        return "0".to_owned();
    }
    if (1e-6..1e21).contains(&size) {
        return number.to_string();
    }
    let text = format!("{number:e}");
    if size >= 1e21 { text.replace('e', "e+") } else { text }
}
