//! Keys are those of Moleculer JS: every vector of `tests/vectors/cache_keys.json`.

use bytes::Bytes;
use serde_json::Value;

use super::*;
use crate::context::ContextBuilder;
use crate::payload::Object;

const VECTORS: &str = include_str!("../../../../tests/vectors/cache_keys.json");

fn context(vector: &Value, contexts: &Value) -> Context {
    let params = match (vector["params"].as_str(), vector["buffer"].as_array()) {
        (Some(text), _) => Payload::from_json_text(text.to_owned().into()).unwrap(),
        (_, Some(bytes)) => {
            let bytes = bytes.iter().map(|byte| u8::try_from(byte.as_u64().unwrap()).unwrap());
            Payload::Bytes(bytes.collect::<Vec<u8>>().into())
        }
        _ => Payload::Absent,
    };
    let given = &contexts[usize::try_from(vector["context"].as_u64().unwrap()).unwrap()];
    ContextBuilder::new("posts.find".into(), "n".into())
        .meta(Object::from_value(&given["meta"]).unwrap())
        .with(|ctx| {
            ctx.params = params;
            ctx.headers = Object::from_value(&given["headers"]).unwrap();
        })
        .build()
}

fn keys(list: &Value) -> Keys {
    match list.as_array() {
        None => Keys::Params,
        Some(list) => {
            Keys::Selected(list.iter().map(|path| Path::new(path.as_str().unwrap())).collect())
        }
    }
}

// moleculer: src/cachers/base.js defaultKeygen
#[test]
fn keys_are_those_of_moleculer() {
    let vectors: Value = serde_json::from_str(VECTORS).unwrap();
    let (mut n, mut wrong) = (0, Vec::new());
    for vector in vectors["vectors"].as_array().unwrap() {
        let ctx = context(vector, &vectors["contexts"]);
        for result in vector["results"].as_array().unwrap() {
            n += 1;
            let max = result["max"].as_u64().map(|max| usize::try_from(max).unwrap());
            let made = of(&ctx, &keys(&result["keys"]), max);
            let expected = format!("posts.find{}", result["key"].as_str().unwrap());
            if made != expected {
                let (params, keys) = (&vector["params"], &result["keys"]);
                wrong.push(format!("{params} {keys}: {made}, Moleculer makes {expected}"));
            }
        }
    }
    assert!(n > 1_000, "only {n} vectors: are they complete?");
    assert!(wrong.is_empty(), "{} of {n} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn bytes_that_look_like_params_have_no_properties_of_names() {
    let ctx = ContextBuilder::new("a.b".into(), "n".into())
        .with(|ctx| ctx.params = Payload::Bytes(Bytes::from_static(b"{\"id\":1}")))
        .build();
    assert_eq!(of(&ctx, &keys(&serde_json::json!(["id"])), None), "a.b:undefined");
}
