//! The configuration of a node from file, environment and flags, as its operator sees it, and what single
//! options mean.

use std::time::Duration;

use futures_util::future::join_all;
use isomer_host::config::BrokerOptions;
use isomer_host::config::faults::{Bulkhead, RetryPolicy};
use isomer_host::context::CallOptions;
use isomer_host::error::MoleculerError;
use isomer_host::handler::Handler;
use isomer_host::service::LocalService;
use serde_json::{Value, json};
use tempfile::TempDir;
use tests::broker::{self, call};
use tests::cluster::Cluster;
use tests::node::{self, Node};

const FILE: &str = "namespace = 'dev'
requestRetry = 2
[metadata]
region = 'eu'
apiToken = 'hidden-1'
[cacher]
type = 'redis://user:hidden-2@localhost'
";

fn folder(file: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("isomer.toml"), file).unwrap();
    folder
}

/// Exit code, standard output and standard error of a command with some variables.
async fn run(folder: &TempDir, args: &[&str], variables: &[(&str, &str)]) -> (i32, String, String) {
    let mut command = node::command(folder.path());
    command.args(args).envs(variables.iter().copied()).kill_on_drop(true);
    let output = tests::wait::for_result("isomer config", command.output()).await.unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

#[tokio::test]
async fn what_is_in_force_is_shown_with_its_origin_and_without_secrets() {
    let folder = folder(FILE);
    let args = ["config", "--changed", "--set", "bulkhead=true"];
    let (code, out, err) = run(&folder, &args, &[("MOL_TRACKING__ENABLED", "TRUE")]).await;
    assert_eq!(code, 0, "{err}");
    let rows: Vec<Vec<&str>> = out
        .lines()
        .map(|line| line.split("  ").filter(|cell| !cell.is_empty()).collect())
        .collect();
    let trimmed: Vec<String> = rows
        .iter()
        .map(|cells| cells.iter().map(|cell| cell.trim()).collect::<Vec<_>>().join(" | "))
        .collect();
    assert_eq!(
        trimmed,
        [
            "OPTION | VALUE | ORIGIN",
            "namespace | \"dev\" | isomer.toml:1",
            "metadata.region | \"eu\" | isomer.toml:4",
            "metadata.apiToken | \"***\" | isomer.toml:5",
            "tracking.enabled | true | MOL_TRACKING__ENABLED",
            "retryPolicy.enabled | true | isomer.toml:2",
            "retryPolicy.retries | 2 | isomer.toml:2",
            "bulkhead.enabled | true | --set bulkhead",
            "cacher.type | \"redis://***@localhost\" | isomer.toml:7",
        ]
    );
    assert_eq!(err.matches("Warning: ").count(), 1, "{err}");
    assert!(err.contains("isomer.toml:2: 'requestRetry' is an older form"), "{err}");
}

#[tokio::test]
async fn the_configuration_is_shown_as_json_too() {
    let folder = folder(FILE);
    let (code, out, _) = run(&folder, &["config", ".", "--json"], &[("LOGLEVEL", "warn")]).await;
    assert_eq!(code, 0);
    let shown: Value = serde_json::from_str(&out).unwrap();
    let option = |name: &str| shown["options"][name].clone();
    assert_eq!(option("maxCallLevel"), json!({"value": 0, "origin": {"kind": "default"}}));
    assert_eq!(
        option("logLevel"),
        json!({"value": "warn", "origin": {"kind": "variable", "name": "LOGLEVEL"}})
    );
    assert_eq!(option("metadata.region")["origin"]["line"], 4);
    assert_eq!(shown["warnings"].as_array().unwrap().len(), 1);
    assert!(!out.contains("hidden"), "{out}");
}

#[tokio::test]
async fn mistakes_are_exit_code_2_and_all_of_them() {
    let folder = folder("requestTimeot = 5\n[cacher.options]\nredis = 'me:hidden@h'\n");
    let args = ["config", "--set", "bulkhead.concurrency=0"];
    let (code, out, err) = run(&folder, &args, &[("MOL_TRANSPORTER", "x://me:hidden@h")]).await;
    assert_eq!((code, out.as_str()), (2, ""));
    for part in [
        "4 problems in the configuration:",
        "isomer.toml:1: unknown option 'requestTimeot'; did you mean 'requestTimeout'?",
        "isomer.toml:3: cacher.options.redis is \"***@h\"",
        "MOL_TRANSPORTER: transporter is \"x://***@h\"",
        "--set bulkhead.concurrency: bulkhead.concurrency is \"0\"; allowed: a whole number from 1",
    ] {
        assert!(err.contains(part), "{part}\n{err}");
    }
    assert!(!err.contains("hidden"), "{err}");
}

#[tokio::test]
async fn a_node_warns_of_older_names_when_it_starts() {
    let folder = folder("requestRetry = 2\nmaxSafeObjectSize = 5\n");
    std::fs::create_dir(folder.path().join("services")).unwrap();
    let node = Node::start_in(folder, &["--set", "logger.options.colors=false"]).await;
    let log = node.stop().await;
    assert_eq!(log.matches("'requestRetry' is an older form").count(), 1, "{log}");
    assert_eq!(log.matches("'maxSafeObjectSize' changes nothing").count(), 1, "{log}");
    assert!(log.contains("WARN "), "{log}");
}

#[tokio::test(start_paused = true)]
async fn nodes_of_another_namespace_do_not_see_each_other() {
    let mut cluster = Cluster::start(&["a"], |options| options.namespace = "one".into()).await;
    let stranger = cluster.add("b", |options| options.namespace = "two".into()).await;
    let friend = cluster.add("c", |options| options.namespace = "one".into()).await;
    broker::wait_for_node(&cluster.nodes[0], "c", true).await;
    broker::wait_for_node(&friend, "a", true).await;
    for (node, n_nodes) in [(&cluster.nodes[0], 2), (&friend, 2), (&stranger, 1)] {
        let list = call(node, "$node.list", &json!({}), CallOptions::default()).await.unwrap();
        assert_eq!(list.as_array().unwrap().len(), n_nodes, "{list}");
    }
}

#[tokio::test(start_paused = true)]
async fn without_internal_middlewares_nothing_stands_in_front_of_a_service() {
    let node = broker::start(BrokerOptions {
        internal_middlewares: false,
        bulkhead: Bulkhead { enabled: true, concurrency: 1, max_queue_size: 1 },
        retry_policy: RetryPolicy { enabled: false, ..RetryPolicy::default() },
        ..BrokerOptions::default()
    })
    .await;
    let slow: Handler = std::sync::Arc::new(|_| {
        Box::pin(async {
            let work = std::future::pending::<()>();
            let _ = tokio::time::timeout(Duration::from_secs(1), work).await;
            Err(MoleculerError::server("BROKEN", "broken"))
        })
    });
    let schema = json!({"name": "t", "actions": {"slow": {"params": {"id": "number"}}}});
    let service = LocalService::native(&schema, vec![("slow", slow)], vec![]).unwrap();
    node.add_service(service).await.unwrap();
    let nothing = json!({});
    let calls = (0..5).map(|_| call(&node, "t.slow", &nothing, CallOptions::default()));
    for outcome in join_all(calls).await {
        assert_eq!(outcome.unwrap_err().kind(), "BROKEN");
    }
    let options =
        CallOptions { timeout: Some(Duration::from_millis(10)), ..CallOptions::default() };
    let late = call(&node, "t.slow", &nothing, options).await.unwrap_err();
    assert_eq!(late.kind(), "REQUEST_TIMEOUT");
}
