//! Hooks and fallbacks of a real component do what Moleculer's do: every case of `tests/vectors/hooks.json`,
//! recorded by `tests/vectors/hooks.js` from the same service.

use isomer_host::config::BrokerOptions;
use isomer_host::context::{CallOptions, ContextBuilder};
use serde_json::{Value, json};
use tests::host::Host;
use tests::{broker, tree};

async fn host() -> Host {
    let options = BrokerOptions { node_id: Some("node-1".into()), ..BrokerOptions::default() };
    Host::start(options, &["hooks"]).await
}

/// A call, with the names of what ran in its course.
async fn call(host: &Host, action: &str, params: &Value) -> (Result<Value, Value>, Value) {
    let root = ContextBuilder::new("root".into(), "node-1".into()).build();
    let options = CallOptions { parent: Some(root.clone()), ..CallOptions::default() };
    let outcome = broker::call(&host.broker, action, params, options).await;
    let outcome = outcome.map_err(|error| error.to_wire("node-1"));
    (outcome, Value::Object(root.meta().to_map())["trace"].clone())
}

// moleculer: src/middlewares/action-hook.js, src/middlewares/fallback.js
#[tokio::test]
async fn hooks_run_change_fail_and_recover_as_in_moleculer() {
    let host = host().await;
    let text = tree::read(&tree::top().join("tests/vectors/hooks.json"));
    let vectors: Vec<Value> = serde_json::from_str(&text).unwrap();
    assert!(vectors.len() > 90, "are the vectors complete?");
    for vector in vectors {
        let action = format!("hooks.{}", vector["action"].as_str().unwrap());
        let (outcome, trace) = call(&host, &action, &vector["params"]).await;
        assert_eq!(trace, vector["trace"], "{vector}");
        match outcome {
            Ok(result) => assert_eq!(result, vector["result"], "{vector}"),
            Err(error) => {
                for (key, value) in vector["error"].as_object().unwrap() {
                    assert_eq!(&error[key], value, "{vector}");
                }
            }
        }
    }
}

#[tokio::test]
async fn nobody_is_told_of_hooks_and_fallbacks_nor_can_call_them() {
    let host = host().await;
    let services = host.call("$node.services", &json!({"withActions": true})).await.unwrap();
    let row = services.as_array().unwrap().iter().find(|row| row["name"] == "hooks").unwrap();
    let saved = json!({"name": "hooks.saved", "rawName": "saved"});
    assert_eq!(row["actions"]["hooks.saved"], saved);
    for action in ["hooks.saved|fallback", "hooks.instead", "hooks.own"] {
        let error = host.call(action, &json!({})).await.unwrap_err();
        assert_eq!(error.kind(), "SERVICE_NOT_FOUND", "{action}");
    }
}

#[tokio::test]
async fn the_fallback_of_a_call_goes_before_that_of_the_action() {
    let host = host().await;
    let options = CallOptions {
        fallback_response: Some(broker::json(&json!("of the call"))),
        ..CallOptions::default()
    };
    let params = json!({"fail": ["action"]});
    let outcome = broker::call(&host.broker, "hooks.saved", &params, options).await;
    assert_eq!(outcome.unwrap(), "of the call");
    let (outcome, _) = call(&host, "hooks.saved", &params).await;
    assert_eq!(outcome.unwrap()["data"], json!({"at": "action"}));
}
