//! The harness itself: a nats-server and two real Moleculer brokers that find and call each other.

use serde_json::json;
use tests::nats_server::NatsServer;
use tests::peer::Peer;

#[tokio::test]
async fn server_two_moleculer_brokers_call_each_other() {
    let nats = NatsServer::start().await;
    let a = Peer::start("js-a", &nats.url(), json!({})).await;
    let b = Peer::listening(
        tests::peer::Version::V15,
        "js-b",
        &nats.url(),
        json!({}),
        &[("mail", "user.*", "")],
    )
    .await;
    a.wait_for_node("js-b", true).await;
    a.wait_for_services(&["mail"]).await;
    let options = json!({"nodeID": "js-b"});
    let answer = a.call_with("js.node", tests::peer::value(&json!({})), options).await.unwrap();
    assert_eq!(answer["result"]["value"], "js-b");
    a.ask("emit", json!({"event": "user.created", "data": tests::peer::value(&json!(7))}))
        .await
        .unwrap();
    assert_eq!(b.received("user.created", 1).await[0]["data"]["value"], 7);
    b.kill().await;
    let error = a.call("js.fail", json!({"className": "MoleculerClientError", "code": 404})).await;
    assert_eq!(error.unwrap_err()["code"], 404);
}
