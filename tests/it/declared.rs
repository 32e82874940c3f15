//! Everything that a service schema can declare, on a real component: names, settings and secrets, metadata,
//! dependencies, visibility, keys of its own.

use isomer_host::config::{BrokerOptions, Cacher};
use isomer_host::service::LocalService;
use serde_json::{Value, json};
use tests::host::Host;
use tests::{broker, guests};

/// A node with the guest `declared`, whose settings the operator overlays, and what it depends on.
async fn declared(settings: &str) -> Host {
    let options = BrokerOptions { node_id: Some("node-1".into()), ..BrokerOptions::default() };
    declared_on(options, settings).await
}

async fn declared_on(options: BrokerOptions, settings: &str) -> Host {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("declared.toml"), format!("[settings]\n{settings}")).unwrap();
    let host = Host::start_on(options, folder).await;
    for schema in [json!({"name": "users"}), json!({"name": "mailer", "version": "next"})] {
        let service = LocalService::native(&schema, vec![], vec![]).unwrap();
        host.broker.add_service(service).await.unwrap();
    }
    host.put("declared", "declared.wasm");
    host
}

/// What is told of it when it is there.
async fn told(host: &Host, full_name: &str) -> Value {
    host.service(full_name, |row| row["available"] == true).await;
    let all = json!({"withActions": true, "withEvents": true});
    let rows = host.call("$node.services", &all).await.unwrap();
    let mut rows = rows.as_array().unwrap().iter();
    rows.find(|row| row["fullName"] == full_name).unwrap().clone()
}

#[tokio::test]
async fn settings_without_secrets_metadata_and_own_keys_are_told() {
    let host = declared("pageSize = 20\n").await;
    let row = told(&host, "v2.declared").await;
    assert_eq!((&row["name"], &row["version"]), (&json!("declared"), &json!(2)));
    let settings = json!({"pageSize": 20, "database": {"user": "ada"}, "rest": "/declared",
        "$shutdownTimeout": 2000, "$cache": {"ttl": 5}});
    assert_eq!(row["settings"], settings);
    assert_eq!(row["metadata"], json!({"region": "eu", "scaling": {"max": 3}}));
    let get = json!({"name": "v2.declared.get", "rawName": "get", "description": "gives one",
        "rest": {"method": "GET", "path": "/:id"}, "openapi": {"summary": "one of them"},
        "x-team": ["web", null], "cache": {"ttl": 5}});
    assert_eq!(row["actions"]["v2.declared.get"], get);
    // The service itself sees all its settings.
    let seen = host.call("v2.declared.context", &json!({})).await.unwrap();
    let database = json!({"user": "ada", "password": "secret"});
    assert_eq!(
        (&seen["settings"]["database"], &seen["settings"]["pageSize"]),
        (&database, &json!(20))
    );
    assert_eq!(seen["context"]["service"], json!({"fullName": "v2.declared"}));
}

#[tokio::test]
async fn names_have_the_prefixes_that_the_settings_say() {
    let check = async |settings: &str, full_name: &str, action: &str| {
        let host = declared(settings).await;
        told(&host, full_name).await;
        assert_eq!(host.call(action, &json!({})).await.unwrap(), action);
        let own = action.replace("listAll", "own");
        let secret = host.call(&own, &json!({"p": 1})).await.unwrap();
        assert_eq!(secret, json!({"params": {"p": 1}, "caller": full_name, "level": 2}));
    };
    check("", "v2.declared", "v2.declared.listAll").await;
    check("\"$noVersionPrefix\" = true\n", "declared", "declared.listAll").await;
    check("\"$noServiceNamePrefix\" = true\n", "v2.declared", "listAll").await;
}

// moleculer: src/service-broker.js registerMiddlewares: ActionHook is the innermost.
#[tokio::test]
async fn hooks_stand_inside_of_what_the_host_does() {
    let cacher = Some(Cacher::default());
    let host = declared_on(BrokerOptions { cacher, ..BrokerOptions::default() }, "").await;
    told(&host, "v2.declared").await;
    let guarded = async |n: Value| host.call("v2.declared.guarded", &json!({ "n": n })).await;
    assert_eq!(guarded(json!("one")).await.unwrap_err().name(), "ValidationError");
    assert_eq!(guarded(json!(1)).await.unwrap(), 1, "the refused call has not reached the hook");
    assert_eq!(guarded(json!(1)).await.unwrap(), 1, "a kept result passes the hook by");
    assert_eq!(guarded(json!(2)).await.unwrap(), 2);
}

#[tokio::test]
async fn visibility_says_who_may_call() {
    let host = declared("").await;
    told(&host, "v2.declared").await;
    for (action, ok) in [("get", true), ("open", true), ("inner", true), ("secret", false)] {
        let outcome = host.call(&format!("v2.declared.{action}"), &json!({})).await;
        assert_eq!(outcome.is_ok(), ok, "{action}: {outcome:?}");
    }
    let secret = host.call("v2.declared.own", &json!({})).await.unwrap();
    assert_eq!((&secret["caller"], &secret["level"]), (&json!("v2.declared"), &json!(2)));
}

#[tokio::test]
async fn other_nodes_reach_published_and_public_actions() {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::start_on(broker::on_bus("node-1", "declared"), folder).await;
    for schema in [json!({"name": "users"}), json!({"name": "mailer", "version": 3})] {
        let service = LocalService::native(&schema, vec![], vec![]).unwrap();
        host.broker.add_service(service).await.unwrap();
    }
    host.put("declared", "declared.wasm");
    let other = broker::start(broker::on_bus("node-2", "declared")).await;
    broker::wait_for_service_on(&other, "v2.declared", "node-1").await;
    for (action, ok) in [("get", true), ("open", true), ("inner", false), ("secret", false)] {
        let name = format!("v2.declared.{action}");
        let outcome = broker::call(&other, &name, &json!({}), broker::to("node-1")).await;
        assert_eq!(outcome.is_ok(), ok, "{action}: {outcome:?}");
    }
    // What the service itself may do, it may also do when it was called from elsewhere.
    let own = broker::call(&other, "v2.declared.own", &json!({}), broker::to("node-1")).await;
    assert_eq!(own.unwrap()["caller"], "v2.declared");
}

#[tokio::test]
async fn a_component_waits_for_what_it_depends_on() {
    let folder = tempfile::tempdir().unwrap();
    let options = BrokerOptions { node_id: Some("node-1".into()), ..BrokerOptions::default() };
    guests::put("declared", folder.path(), "declared.wasm");
    let settings = "[settings]\n\"$dependencyTimeout\" = 20\n";
    std::fs::write(folder.path().join("declared.toml"), settings).unwrap();
    let host = Host::start_on(options, folder).await;
    let row = host.service("declared", |row| row["isomer"]["error"].is_string()).await;
    let text = row.to_string();
    assert!(text.contains("v3.mailer or next.mailer"), "{text}");
}

#[tokio::test]
async fn a_wrong_setting_keeps_a_component_out_and_says_why() {
    let host = declared("\"$secureSettings\" = \"tokens\"\n").await;
    let row = host.service("declared", |row| row["isomer"]["error"].is_string()).await;
    let text = row.to_string();
    let problem = "the schema of service 'v2.declared' is wrong: 'settings.$secureSettings' must be an \
                   array of names or dotted paths, found";
    assert!(text.contains(problem), "{text}");
}
