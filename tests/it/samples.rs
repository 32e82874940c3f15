//! The samples, as components in one node.

use isomer_host::config::BrokerOptions;
use serde_json::json;
use tests::host::Host;
use tests::{broker, tree, wait};

async fn samples() -> Host {
    let folder = tempfile::tempdir().unwrap();
    for name in ["posts", "users", "mailer", "math", "crunch", "greeter", "files"] {
        tests::guests::put(name, folder.path(), &format!("{name}.wasm"));
        let sidecar = tree::top().join(format!("sample-services/{name}/{name}.toml"));
        if sidecar.is_file() {
            std::fs::copy(sidecar, folder.path().join(format!("{name}.toml"))).unwrap();
        }
    }
    Host::start_on(BrokerOptions::default(), folder).await
}

#[tokio::test]
async fn posts_and_users_work_together_through_calls_events_and_meta() {
    let host = samples().await;
    assert_eq!((host.loaded.in_service, host.loaded.failed), (7, 0));
    let post = host.call("posts.create", &json!({"title": "Notes", "author": 1})).await.unwrap();
    assert_eq!(post, json!({"id": 1, "title": "Notes", "author": 1}));
    let shown = host.call("posts.get", &json!({"id": 1})).await.unwrap();
    assert_eq!((&shown["author"]["name"], &shown["by"]), (&json!("Ada"), &json!("Ada")));
    wait::until("the event to count for the author", || async {
        let user = host.call("v2.users.get", &json!({"id": 1})).await.unwrap();
        (user["posts"] == 1).then_some(())
    })
    .await;
    let error = host.call("posts.create", &json!({"title": "T", "author": 9})).await.unwrap_err();
    assert_eq!(error.kind(), "USER_NOT_FOUND");
    let error = host.call("posts.get", &json!({"id": 77})).await.unwrap_err();
    assert_eq!((error.code(), error.kind()), (404, "POST_NOT_FOUND"));
}

#[tokio::test]
async fn the_mailer_hears_patterns_in_its_groups() {
    let host = samples().await;
    broker::emit(&host.broker, "user.created", &json!({"name": "Ada"}), &[]).await;
    let stats = wait::until("mail", || async {
        let stats = host.call("mailer.stats", &json!({})).await.unwrap();
        (stats["seen"]["mail.sent"] == 1).then_some(stats)
    })
    .await;
    assert_eq!(stats["sent"], 1);
    assert_eq!(stats["seen"]["user.created"], 1);
}

#[tokio::test]
async fn numbers_and_their_errors_come_back() {
    let host = samples().await;
    let sum = host.call("math.add", &json!({"a": 0.5, "b": 2})).await.unwrap();
    assert_eq!(sum.as_f64(), Some(2.5));
    let error = host.call("math.div", &json!({"a": 1, "b": 0})).await.unwrap_err();
    assert_eq!((error.code(), error.kind()), (422, "DIVISION_BY_ZERO"));
    let error = host.call("math.add", &json!({"a": "one"})).await.unwrap_err();
    assert_eq!(error.kind(), "VALIDATION_ERROR");
}
