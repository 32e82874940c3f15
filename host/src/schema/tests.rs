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
fn a_wrong_value_names_service_key_what_was_found_and_what_is_allowed() {
    let check = |key: &str, value: Value, problem: &str| {
        let mut schema = json!({"name": "posts", "version": 2});
        schema[key] = value;
        let error = read(&schema).unwrap_err();
        assert_eq!(error.problems, [problem]);
        assert!(
            error.to_string().starts_with("the schema of service 'v2.posts' is wrong: "),
            "{error}"
        );
    };
    let action = |key: &str, value: Value| json!({"get": {key: value}});
    check("settings", json!([]), "'settings' must be an object, found an array");
    check("metadata", json!("x"), "'metadata' must be an object, found \"x\"");
    check("actions", json!(5), "'actions' must be an object, found 5");
    check("events", json!(true), "'events' must be an object, found true");
    let names = "names, or objects with 'name' and 'version'";
    check("dependencies", json!([1]), &format!("'dependencies' must be {names}, found 1"));
    check(
        "dependencies",
        json!({"version": 1}),
        &format!("'dependencies' must be {names}, found an object"),
    );
    let versions = "'dependencies.version' must be a number, a text, or an array of them, found";
    check("dependencies", json!({"name": "a", "version": true}), &format!("{versions} true"));
    check("dependencies", json!({"name": "a", "version": []}), &format!("{versions} an array"));
    let visibility =
        "'actions.get.visibility' must be one of published, public, protected, private, found";
    check("actions", action("visibility", json!("secret")), &format!("{visibility} \"secret\""));
    check("actions", action("visibility", json!(1)), &format!("{visibility} 1"));
    check("actions", action("name", json!(1)), "'actions.get.name' must be a text, found 1");
    let timeout = "'actions.get.timeout' must be milliseconds (0 for none), found";
    check("actions", action("timeout", json!("2s")), &format!("{timeout} \"2s\""));
    check("actions", action("timeout", json!(-1)), &format!("{timeout} -1"));
    let method = "'actions.get.fallback' must be the name of a method, found";
    check("actions", action("fallback", json!({})), &format!("{method} an object"));
    check("actions", json!({"get": "x"}), "'actions.get' must be an object, found \"x\"");
    check("events", json!({"a.b": {"group": 1}}), "'events.a.b.group' must be a text, found 1");
    let flag = "'settings.$noVersionPrefix' must be true or false, found \"no\"";
    check("settings", json!({"$noVersionPrefix": "no"}), flag);
}

// moleculer: src/service.js: an action that is `false` in the schema takes away that of a mixin.
#[test]
fn an_action_that_is_false_is_none() {
    let schema =
        read(&json!({"name": "x", "actions": {"a": false, "b": true, "c": null}})).unwrap();
    let names: Vec<&str> = schema.actions.iter().map(|action| &*action.name).collect();
    assert_eq!(names, ["x.b", "x.c"]);
}

#[test]
fn keys_that_the_node_does_not_know_are_advertised_as_they_are() {
    let definition =
        json!({"rest": {"path": "/"}, "openapi": {"a": [null, 1]}, "own": null, "tracing": false});
    let item =
        read(&json!({"name": "x", "actions": {"a": definition}, "events": {"e.*": definition},
        "metadata": {"any": [1]}}))
        .unwrap()
        .to_item();
    for (key, value) in definition.as_object().unwrap() {
        assert_eq!(item.actions["x.a"].get(key), Some(value));
        assert_eq!(item.events["e.*"].get(key), Some(value));
    }
    assert_eq!(item.metadata, json!({"any": [1]}));
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

#[test]
fn names_are_bounded() {
    let longest = "n".repeat(200);
    assert!(read(&json!({"name": longest, "actions": {&longest: {}}})).is_ok());
    assert!(read(&json!({"name": format!("{longest}n")})).is_err());
    assert!(read(&json!({"name": "x", "actions": {format!("{longest}n"): {}}})).is_err());
    for wrong in ["", "a b", "a\n", "a*", "a>", "a|b", "a?"] {
        assert!(read(&json!({"name": wrong})).is_err(), "{wrong:?}");
        assert!(read(&json!({"name": "x", "actions": {wrong: {}}})).is_err(), "{wrong:?}");
    }
}
