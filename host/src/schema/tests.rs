//! Rules of reading and advertising schemas.

use serde_json::{Map, Value, json};

use super::*;

const BOUNDS: Bounds = Bounds { len: 10_000, items: 3, internal: false };

fn read(schema: &Value) -> Result<ServiceSchema, Error> {
    ServiceSchema::read(&schema.to_string(), &Map::new(), BOUNDS)
}

#[test]
fn names_carry_the_version_as_in_moleculer() {
    let check = |service: Value, expected: &str| {
        assert_eq!(&*read(&service).unwrap().actions[0].name, expected);
    };
    check(json!({"name": "posts", "actions": {"get": {}}}), "posts.get");
    check(json!({"name": "posts", "version": 2, "actions": {"get": {}}}), "v2.posts.get");
    check(json!({"name": "posts", "version": "beta", "actions": {"get": {}}}), "beta.posts.get");
    check(
        json!({"name": "posts", "version": 2, "settings": {"$noVersionPrefix": true}, "actions": {"get": {}}}),
        "posts.get",
    );
    check(
        json!({"name": "posts", "settings": {"$noServiceNamePrefix": true}, "actions": {"get": {"name": "fetch"}}}),
        "fetch",
    );
}

#[test]
fn every_fault_is_reported_at_once() {
    let error = read(&json!({"name": "a b", "version": [], "actions": {
        "x": {"visibility": "secret", "timeout": "5s"}, "y": 3,
        "z": {"isomer": {"limits": {"fule": 1}}}}, "events": {"a.(b?": {}}}))
    .unwrap_err();
    assert_eq!(error.problems.len(), 7, "{error}");
}

#[test]
fn the_number_of_actions_is_bounded() {
    let actions =
        |n: usize| -> Map<String, Value> { (0..n).map(|i| (format!("a{i}"), json!({}))).collect() };
    assert!(read(&json!({"name": "x", "actions": actions(3)})).is_ok());
    assert!(read(&json!({"name": "x", "actions": actions(4)})).is_err());
}

#[test]
fn the_length_of_a_schema_is_bounded() {
    let text =
        |pad: usize| format!("{{\"name\":\"x\",\"metadata\":{{\"p\":\"{}\"}}}}", "y".repeat(pad));
    let empty = text(0).len();
    assert!(ServiceSchema::read(&text(BOUNDS.len - empty), &Map::new(), BOUNDS).is_ok());
    assert!(ServiceSchema::read(&text(BOUNDS.len - empty + 1), &Map::new(), BOUNDS).is_err());
}

#[test]
fn secrets_private_actions_and_fallback_names_are_not_advertised() {
    let schema = read(&json!({"name": "x", "settings": {"$secureSettings": ["db.password", "token"],
        "db": {"password": "p", "host": "h"}, "token": "t", "open": 1},
        "actions": {"a": {"visibility": "private"}, "b": {"fallback": "method", "rest": "GET /b"}}}))
    .unwrap();
    let item = schema.to_item();
    assert_eq!(item.settings, json!({"db": {"host": "h"}, "open": 1}));
    assert_eq!(
        Value::Object(item.actions),
        json!({"x.b": {"rest": "GET /b", "rawName": "b", "name": "x.b"}})
    );
}

#[test]
fn the_operator_overlays_settings_deeply() {
    let overlay = json!({"db": {"host": "prod"}}).as_object().unwrap().clone();
    let text = json!({"name": "x", "settings": {"db": {"host": "dev", "port": 1}}}).to_string();
    let schema = ServiceSchema::read(&text, &overlay, BOUNDS).unwrap();
    assert_eq!(schema.settings["db"], json!({"host": "prod", "port": 1}));
}

#[test]
fn dependencies_name_versions() {
    let schema = read(&json!({"name": "x", "dependencies": ["a", {"name": "b", "version": 2}, {"name": "c", "version": [1, 2]}]})).unwrap();
    let names: Vec<Vec<String>> = schema.dependencies.into_iter().map(|d| d.any_of).collect();
    assert_eq!(names, [vec!["a"], vec!["v2.b"], vec!["v1.c", "v2.c"]]);
}

#[test]
fn a_service_cannot_take_the_place_of_the_nodes_own() {
    assert!(read(&json!({"name": "$node"})).is_err());
}
