//! A node of ours and Moleculer JS on a real mosquitto.

use isomer_host::broker::ServiceBroker;
use isomer_host::config::Transporter;
use isomer_host::config::transporter::mqtt::Options;
use serde_json::{Value, json};
use tests::mqtt_server::MqttServer;
use tests::pair::{self, Pair};
use tests::peer::Version;
use tests::process::Process;
use tests::{broker, node, tree};

fn ours(server: &MqttServer) -> Options {
    Options::new(vec![server.url()])
}

/// A node of ours and one of JavaScript; JS takes `more` as further options of its transporter.
async fn pair(version: Version, server: &MqttServer, ours: Options, more: Value) -> Pair {
    let mut options = json!({"host": "127.0.0.1", "port": server.port()});
    options.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
    let transporter = json!({"transporter": {"type": "MQTT", "options": options}});
    let node = pair::on("rs-1", "mqtt.ns", Transporter::Mqtt(ours));
    Pair::start(version, node, pair::js_options("mqtt.ns", &transporter)).await
}

#[tokio::test]
async fn server_mqtt_carries_everything_to_and_from_moleculer_0_15() {
    let server = MqttServer::start().await;
    let pair = pair(Version::V15, &server, ours(&server), json!({})).await;
    pair.check().await;
    pair.js.stop().await;
    broker::wait_for_node(&pair.rs, "js-1", false).await;
}

#[tokio::test]
async fn server_mqtt_carries_everything_to_and_from_moleculer_0_14() {
    let server = MqttServer::start().await;
    let pair = pair(Version::V14, &server, ours(&server), json!({})).await;
    pair.check().await;
    pair.stop().await;
}

#[tokio::test]
async fn server_mqtt_separator_and_quality_are_those_that_were_asked_for() {
    let server = MqttServer::start().await;
    for qos in [1, 2] {
        let ours = Options { qos, topic_separator: "/".into(), ..ours(&server) };
        let more = json!({"qos": qos, "topicSeparator": "/"});
        let pair = pair(Version::V15, &server, ours, more).await;
        pair.check().await;
        pair.stop().await;
    }
}

#[tokio::test]
async fn server_mqtt_is_joined_again_after_a_restart_of_the_server() {
    let mut server = MqttServer::start().await;
    let more = json!({"reconnectPeriod": 200});
    let pair = pair(Version::V15, &server, ours(&server), more).await;
    pair.check().await;
    server.kill().await;
    server.restart().await;
    // Both ask who is there when they are back; what is sent before is lost.
    tests::wait::until("an answer after the restart", || async {
        let limit = Some(std::time::Duration::from_millis(500));
        let options = isomer_host::context::CallOptions { timeout: limit, ..Default::default() };
        broker::call(&pair.rs, "js.node", &json!({}), options).await.ok()
    })
    .await;
    pair.know_each_other().await;
    pair.check().await;
}

async fn connects(url: &str) -> bool {
    let mut options = pair::on("n", "", Transporter::Mqtt(Options::new(vec![url.into()])));
    options.transit.disable_reconnect = true;
    let node = ServiceBroker::new(options).unwrap();
    let started = node.start().await;
    node.stop().await;
    if let Err(error) = &started {
        let text = error.to_string();
        assert!(text.contains("not authorized"), "{text}");
        assert!(!text.contains("secret"), "{text}");
    }
    started.is_ok()
}

#[tokio::test]
async fn server_mqtt_credentials_are_used() {
    let lines = "allow_anonymous false\npassword_file {FOLDER}/passwords\n";
    let server = MqttServer::start_with(lines).await;
    let port = server.port();
    assert!(connects(&format!("mqtt://u:p%40%20secret@127.0.0.1:{port}")).await);
    assert!(!connects(&format!("mqtt://u:secret@127.0.0.1:{port}")).await);
    assert!(!connects(&server.url()).await);
}

/// The authority must be given to a process by its environment.
#[tokio::test]
async fn server_mqtt_over_tls_is_spoken_with_whom_the_system_trusts() {
    let file = |name: &str| tree::top().join("tests/tls").join(name).display().to_string();
    let (certificate, key) = (file("server.pem"), file("server.key"));
    let lines = format!("allow_anonymous true\ncertfile {certificate}\nkeyfile {key}\n");
    let server = MqttServer::start_with(&lines).await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("services")).unwrap();
    let start = |trusted: &str| {
        let url = format!("mqtts://localhost:{}", server.port());
        let mut command = node::command(folder.path());
        command.args(["start", "services", "--transporter", &url]);
        command.env("SSL_CERT_FILE", trusted);
        Process::spawn("isomer start", &mut command)
    };
    start(&file("ca.pem")).line("connected to the transporter").await;
    let line = start(&certificate).line("cannot be joined").await;
    assert!(line.contains("TLS: invalid peer certificate"), "{line}");
}

/// Moleculer: src/service-broker.js: the option is switched off with a warning.
#[tokio::test]
async fn server_mqtt_cannot_balance_so_the_node_does() {
    let server = MqttServer::start().await;
    let mut options = pair::on("rs-1", "", Transporter::Mqtt(ours(&server)));
    options.disable_balancer = true;
    let node = broker::start(options).await;
    tests::mirror::add(&node).await;
    let answer = broker::call(&node, "rs.echo", &json!(1), broker::to("rs-1")).await;
    assert_eq!(answer.unwrap(), 1);
    let any = isomer_host::context::CallOptions::default();
    assert_eq!(broker::call(&node, "rs.node", &json!({}), any).await.unwrap(), "rs-1");
}
