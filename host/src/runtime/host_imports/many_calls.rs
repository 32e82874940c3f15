//! `mcall`: several calls at once, given and answered as a list or as a map
//! (moleculer: src/service-broker.js mcall).

use std::sync::Arc;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt as _};
use indexmap::IndexMap;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::context::{CallOptions, Outcome};
use crate::error::MoleculerError;
use crate::payload::{self, Payload};
use crate::runtime::bindings::isomer::service::types::PayloadResult;
use crate::runtime::failure::check_len;
use crate::runtime::handlers::Handle;
use crate::runtime::host_imports::options;
use crate::runtime::pending_call::beside;
use crate::runtime::state::State;

/// One call as the guest writes it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Item<'a> {
    action: String,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
    #[serde(borrow)]
    options: Option<&'a RawValue>,
}

/// The calls, with keys if they were given as a map.
struct Calls<'a> {
    keys: Option<Vec<String>>,
    items: Vec<Item<'a>>,
}

/// Calls that have been checked.
type Checked = Vec<Result<BoxFuture<'static, Outcome>, MoleculerError>>;

/// Checks the calls of a handler. The future makes them and waits for all of them, also when one fails, as
/// JavaScript lets them go on.
pub(super) fn prepare(
    state: &State,
    ctx: Handle,
    calls: &str,
    options: Option<&str>,
) -> Result<impl Future<Output = Outcome> + Send + use<>, MoleculerError> {
    let (common, settled) = options::many_calls_options(options, state.environment.limits.meta)?;
    let len_max = state.payload_len_max(ctx)?;
    let Calls { keys, items } = read(calls, len_max)?;
    let n_calls = u32::try_from(items.len()).unwrap_or(u32::MAX);
    let first_action = items.first().map(|item| &*item.action).unwrap_or_default();
    let permits = Arc::clone(state.handlers.calls(ctx)?)
        .try_acquire_many_owned(n_calls)
        .map_err(|_| state.too_many_calls(first_action))?;
    let calls: Checked = items
        .iter()
        .map(|item| prepare_one(state, ctx, item, &common).map(FutureExt::boxed))
        .collect();
    let node_id = Arc::clone(&state.environment.node_id);
    Ok(async move {
        let outcomes = call_all(calls, settled).await?;
        drop(permits);
        answer(&node_id, len_max, keys, outcomes, settled)
    })
}

fn read(text: &str, len_max: usize) -> Result<Calls<'_>, MoleculerError> {
    check_len("list of calls", text.len(), len_max)?;
    payload::check_json(text).map_err(|error| wrong(&error.to_string()))?;
    let problem = |error: serde_json::Error| {
        wrong(&format!("not a list or map of {{action, params, options}}: {error}"))
    };
    if text.trim_ascii_start().starts_with('[') {
        let items = serde_json::from_str(text).map_err(problem)?;
        return Ok(Calls { keys: None, items });
    }
    let map: IndexMap<String, Item<'_>> = serde_json::from_str(text).map_err(problem)?;
    let (keys, items) = map.into_iter().unzip();
    Ok(Calls { keys: Some(keys), items })
}

fn wrong(problem: &str) -> MoleculerError {
    MoleculerError::invalid_payload("list of calls", problem)
}

/// The outcomes in the order of the items; without `settled`, the error that came first in time.
async fn call_all(calls: Checked, settled: bool) -> Result<Vec<Outcome>, MoleculerError> {
    let mut outcomes: Vec<Outcome> = calls.iter().map(|_| Ok(Payload::Absent)).collect();
    let mut running: FuturesUnordered<_> = calls
        .into_iter()
        .enumerate()
        .map(async |(index, call)| match call {
            Ok(call) => (index, beside(call).await),
            Err(error) => (index, Err(error)),
        })
        .collect();
    let mut first_error = None;
    while let Some((index, outcome)) = running.next().await {
        if let (None, Err(error)) = (&first_error, &outcome) {
            first_error = Some(error.clone());
        }
        if let Some(slot) = outcomes.get_mut(index) {
            *slot = outcome;
        }
    }
    match first_error {
        Some(error) if !settled => Err(error),
        _ => Ok(outcomes),
    }
}

fn prepare_one(
    state: &State,
    ctx: Handle,
    item: &Item<'_>,
    common: &CallOptions,
) -> Result<impl Future<Output = Outcome> + Send + use<>, MoleculerError> {
    let own = item.options.map(RawValue::get).filter(|text| *text != "null");
    let own = options::call_options(own, state.environment.limits.meta)?;
    let params = match item.params {
        None => PayloadResult::Absent,
        Some(raw) => PayloadResult::Json(raw.get().to_owned()),
    };
    state.prepare_call(ctx, &item.action, params, options::over(common, own))
}

/// The result in the form in which the calls were given.
fn answer(
    node_id: &str,
    len_max: usize,
    keys: Option<Vec<String>>,
    outcomes: Vec<Outcome>,
    settled: bool,
) -> Outcome {
    let texts = outcomes.into_iter().map(|outcome| {
        if settled {
            return Some(settled_text(outcome, node_id));
        }
        match outcome {
            Ok(Payload::Absent) | Err(_) => None,
            Ok(payload) => Some(payload.to_json_text().to_string()),
        }
    });
    let text = match keys {
        None => {
            let texts: Vec<String> =
                texts.map(|text| text.unwrap_or_else(|| "null".into())).collect();
            format!("[{}]", texts.join(","))
        }
        // A value that is undefined leaves no key, as in JSON.stringify.
        Some(keys) => {
            let pairs: Vec<String> = keys
                .into_iter()
                .zip(texts)
                .filter_map(|(key, text)| {
                    Some(format!("{}:{}", serde_json::Value::String(key), text?))
                })
                .collect();
            format!("{{{}}}", pairs.join(","))
        }
    };
    check_len("results of the calls", text.len(), len_max)?;
    // Spliced from texts that were well-formed each; one level deeper may be one too many.
    Payload::from_json_text(text.into())
        .map_err(|error| MoleculerError::invalid_payload("list of results", &error.to_string()))
}

/// One result of `settled` (JavaScript's `Promise.allSettled`).
fn settled_text(outcome: Outcome, node_id: &str) -> String {
    match outcome {
        Ok(Payload::Absent) => r#"{"status":"fulfilled"}"#.into(),
        Ok(payload) => format!(r#"{{"status":"fulfilled","value":{}}}"#, payload.to_json_text()),
        Err(error) => {
            format!(r#"{{"status":"rejected","reason":{}}}"#, error.to_wire(node_id))
        }
    }
}
