//! What a handler has used: on its context, in the log at debug, and in the meta of its answer when the caller
//! asks for it with `$fuel` in the meta of the request.
//!
//! It is what the handler itself has used, without the calls that it made; these say it for themselves.

use serde_json::{Value, json};

use crate::context::Context;
use crate::payload::Object;

/// The key of the meta.
const KEY: &str = "$fuel";

/// Tells what the handler of a context has used.
pub(super) fn tell(service: &str, ctx: &Context, fuel: u64) {
    ctx.note_fuel(fuel);
    let (name, request_id) = (&*ctx.name, &*ctx.request_id);
    tracing::debug!(service, name, requestID = request_id, fuel, "handled");
    if is_asked(&ctx.meta())
        && let Ok(told) = Object::from_value(&json!({ KEY: fuel }))
    {
        ctx.merge_meta(&told);
    }
}

fn is_asked(meta: &Object) -> bool {
    let text = meta.as_str();
    // Most meta has nothing of the kind, and need not be read for that.
    text.contains(KEY)
        && !matches!(meta.to_map().get(KEY), None | Some(Value::Null | Value::Bool(false)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::ContextBuilder;

    #[test]
    fn who_asks_is_told() {
        for (meta, expected) in [
            (json!({"$fuel": true, "a": 1}), json!({"$fuel": 7, "a": 1})),
            (json!({"$fuel": 3}), json!({"$fuel": 7})),
            (json!({"$fuel": false}), json!({"$fuel": false})),
            (json!({"b": "$fuel"}), json!({"b": "$fuel"})),
        ] {
            let ctx = ContextBuilder::new("a.b".into(), "n".into())
                .meta(Object::from_value(&meta).unwrap())
                .build();
            tell("a", &ctx, 7);
            assert_eq!(Value::Object(ctx.meta().to_map()), expected);
            assert_eq!(ctx.fuel(), 7);
        }
    }
}
