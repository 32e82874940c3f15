//! What errors keep on their way, and that every class is made as Moleculer makes it.

use super::*;

#[test]
fn a_remote_error_keeps_every_field_through_this_node() {
    let sender: Arc<str> = "node-b".into();
    let wire = json!({"name": "OddError", "message": "m", "nodeID": "node-c", "code": "E_ODD",
        "type": "T", "retryable": true, "stack": "s", "data": {"z": 1, "a": null}, "hint": [1]});
    let error = MoleculerError::from_wire(wire.clone(), &sender);
    assert_eq!(error.to_wire("node-a"), wire);
}

// moleculer: src/errors.js
#[test]
fn every_class_is_made_as_moleculer_makes_it() {
    let (action, node) = ("posts.get", "node-2");
    let data = json!({"list": [1, null], "deep": {"text": "ü"}});
    let (kind, message) = ("TEAPOT", "went wrong");
    let mut server = MoleculerError::server(kind, message);
    server.fields_mut().code = Some(418);
    let made = [
        MoleculerError::new("MoleculerError", 418, kind, message, false).with_data(&data),
        MoleculerError::internal(message),
        MoleculerError::temporary(418, kind, message).with_data(&data),
        server.with_data(&data),
        MoleculerError::client(418, kind, message).with_data(&data),
        MoleculerError::service_not_found(action, Some(node)),
        MoleculerError::service_not_found(action, None),
        MoleculerError::service_not_available(action, Some(node)),
        MoleculerError::service_not_available(action, None),
        MoleculerError::request_timeout(action, node),
        MoleculerError::request_skipped(action, node),
        MoleculerError::request_rejected(action, node),
        MoleculerError::queue_is_full(action, node, 100, 100),
        MoleculerError::validation(
            "Parameters validation error!",
            &json!([{"type": "required", "field": "id"}]),
        ),
        MoleculerError::max_call_level(node, 10),
        MoleculerError::service_schema("the schema is wrong")
            .with_data(&json!({"service": "posts"})),
        MoleculerError::broker_options("the options are wrong")
            .with_data(&json!({"option": "nodeID"})),
        MoleculerError::graceful_stop_timeout(Some(("posts", &json!(2)))),
        MoleculerError::graceful_stop_timeout(None),
        MoleculerError::protocol_version_mismatch(node, "5", "4"),
        MoleculerError::invalid_packet_data(&json!({"packet": "REQ"})),
        MoleculerError::broker_disconnected(),
    ];
    let vectors: Vec<Value> =
        serde_json::from_str(include_str!("../../../tests/vectors/errors.json")).unwrap();
    assert_eq!(made.len(), vectors.len());
    for (error, vector) in made.iter().zip(vectors) {
        assert_eq!(error.to_wire("node-1"), vector["wire"]);
    }
}

#[test]
fn a_missing_node_is_the_sender() {
    let error = MoleculerError::from_wire(json!({"message": "m"}), &"node-b".into());
    assert_eq!(error.to_wire("me"), json!({"name": "Error", "message": "m", "nodeID": "node-b"}));
}

#[test]
fn an_error_that_is_no_object_becomes_one() {
    let error = MoleculerError::from_wire(json!("x"), &"b".into());
    assert_eq!(error.code(), 500);
}
