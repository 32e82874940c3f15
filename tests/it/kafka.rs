//! Nodes of ours on the Kafka cluster of librdkafka's own tests.

use std::time::Duration;

use isomer_host::broker::ServiceBroker;
use isomer_host::config::transporter::kafka::Options;
use isomer_host::config::{BrokerOptions, Transporter};
use isomer_host::context::CallOptions;
use serde_json::json;
use tests::kafka_server::KafkaServer;
use tests::{broker, mirror, pair, wait};

fn on(node_id: &str, server: &KafkaServer) -> BrokerOptions {
    // The cluster answers a reader only when its time is over.
    let options = Options { max_wait: Duration::from_millis(20), ..Options::new(server.brokers()) };
    pair::on(node_id, "kafka-ns", Transporter::Kafka(Box::new(options)))
}

/// Two nodes that know each other, each with a service of its name.
async fn two(server: &KafkaServer) -> [ServiceBroker; 2] {
    let a = broker::start(on("a", server)).await;
    mirror::add_as(&a, "on-a").await;
    let b = broker::start(on("b", server)).await;
    mirror::add_as(&b, "on-b").await;
    broker::wait_for(&a, &["on-b"]).await;
    broker::wait_for(&b, &["on-a"]).await;
    [a, b]
}

#[tokio::test]
async fn server_kafka_carries_calls_events_pings_and_the_end_of_a_node() {
    let server = KafkaServer::start(3).await;
    let [a, b] = two(&server).await;
    let any = CallOptions::default;
    for size in [0, 1, 10_000, 900_000] {
        let text = "x".repeat(size);
        let answer = broker::call(&a, "on-b.echo", &json!({"text": text}), any()).await.unwrap();
        assert_eq!(answer["text"].as_str().map(str::len), Some(size));
    }
    let calls = (0..500).map(|n| {
        let b = b.clone();
        async move { broker::call(&b, "on-a.echo", &json!(n), CallOptions::default()).await }
    });
    let answers = futures_util::future::join_all(calls).await;
    let answers: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
    assert_eq!(answers, (0..500).map(|n| json!(n)).collect::<Vec<_>>());
    let heard = mirror::listen(&b, "desk", "paid", "").await;
    broker::wait_for(&a, &["desk"]).await;
    broker::emit(&a, "paid", &json!(1), &[]).await;
    broker::broadcast(&a, "paid", &json!(2), &[]).await;
    let heard = heard.at_least(2).await;
    assert_eq!((&heard[0]["params"], &heard[1]["params"]), (&json!(1), &json!(2)));
    let pong = a.ping(&"b".into(), wait::PATIENCE).await.unwrap();
    assert!(pong.is_some());
    b.stop().await;
    broker::wait_for_node(&a, "b", false).await;
    a.stop().await;
}

#[tokio::test]
async fn server_kafka_messages_that_are_too_large_are_refused_before_they_are_sent() {
    let server = KafkaServer::start(1).await;
    let [a, _b] = two(&server).await;
    let params = json!({"text": "x".repeat(1_000_001)});
    let error = broker::call(&a, "on-b.echo", &params, CallOptions::default()).await.unwrap_err();
    assert!(error.to_string().contains("the limit is 1000000"), "{error}");
    let answer = broker::call(&a, "on-b.echo", &json!(1), CallOptions::default()).await;
    assert_eq!(answer.unwrap(), 1);
}

#[tokio::test]
async fn server_a_kafka_that_stands_still_or_dies_is_told() {
    let mut server = KafkaServer::start(2).await;
    let [a, b] = two(&server).await;
    server.pause();
    let limit = Some(Duration::from_millis(300));
    let soon = || CallOptions { timeout: limit, ..CallOptions::default() };
    let error = broker::call(&a, "on-b.echo", &json!(1), soon()).await.unwrap_err();
    assert_eq!(error.name(), "RequestTimeoutError");
    server.resume();
    // What was sent meanwhile was not lost.
    let answer = broker::call(&a, "on-b.echo", &json!(2), CallOptions::default()).await;
    assert_eq!(answer.unwrap(), 2);
    server.kill().await;
    wait::until("the loss to be noticed", || async {
        (broker::metric(&a, "moleculer.transit.connected") == 0).then_some(())
    })
    .await;
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn server_a_node_id_that_is_taken_is_refused_over_kafka() {
    let server = KafkaServer::start(1).await;
    let first = broker::start(on("taken", &server)).await;
    let second = ServiceBroker::new(on("taken", &server)).unwrap();
    let refused = second.start().await.unwrap_err().to_string();
    assert!(refused.contains("another process uses the node ID 'taken'"), "{refused}");
    second.stop().await;
    first.stop().await;
}

#[tokio::test]
async fn a_kafka_that_is_not_there_is_named() {
    let options = Options::new(vec!["127.0.0.1:1".into()]);
    let mut options = pair::on("a", "", Transporter::Kafka(Box::new(options)));
    options.transit.disable_reconnect = true;
    let node = ServiceBroker::new(options).unwrap();
    let error = wait::for_result("a refusal", node.start()).await.unwrap_err().to_string();
    assert!(error.contains("kafka://127.0.0.1:1"), "{error}");
    node.stop().await;
}
