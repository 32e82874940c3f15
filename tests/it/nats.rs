//! How a node meets a real nats-server: with credentials, over TLS, and when there is none.

use isomer_host::broker::ServiceBroker;
use isomer_host::config::Transporter;
use isomer_host::config::problem::Place;
use isomer_host::config::transporter;
use isomer_host::config::value::Located;
use serde_json::json;
use tests::nats_server::NatsServer;
use tests::process::Process;
use tests::{broker, node, tree};

async fn connects(url: &str) -> bool {
    let mut options = broker::on_nats("n", url);
    options.transit.disable_reconnect = true;
    let node = ServiceBroker::new(options).unwrap();
    let started = node.start().await;
    node.stop().await;
    if let Err(error) = &started {
        let text = error.to_string();
        assert!(text.contains("Authorization Violation"), "{text}");
        assert!(!text.contains("secret"), "{text}");
    }
    started.is_ok()
}

#[tokio::test]
async fn server_credentials_in_the_url_are_used() {
    let nats = NatsServer::start_with(&["--user", "u", "--pass", "p@ secret"]).await;
    let port = nats.port();
    assert!(connects(&format!("nats://u:p%40%20secret@127.0.0.1:{port}")).await);
    assert!(!connects(&format!("nats://u:secret@127.0.0.1:{port}")).await);
    assert!(!connects(&nats.url()).await);
    let nats = NatsServer::start_with(&["--auth", "secret"]).await;
    assert!(connects(&format!("nats://secret@127.0.0.1:{}", nats.port())).await);
}

/// The pair in the documentation of nats-server.
#[tokio::test]
async fn server_a_user_is_known_by_its_key() {
    const SEED: &str = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY";
    const USER: &str = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4";
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("nats.conf");
    std::fs::write(&file, format!("authorization {{ users: [ {{ nkey: {USER} }} ] }}\n")).unwrap();
    let nats = NatsServer::start_with(&["-c", &file.display().to_string()]).await;
    let port = nats.port();
    let options = json!({"type": "NATS", "options": {"url": nats.url(), "nkeySeed": SEED}});
    let located = Located::from_json(options, &Place::Flag("--transporter"));
    let Some(Transporter::Nats { urls }) = transporter::read(&located).unwrap() else {
        panic!("no NATS")
    };
    assert!(connects(&urls[0]).await);
    assert!(!connects(&nats.url()).await);
    assert!(!connects(&format!("nats://secret@127.0.0.1:{port}")).await);
}

/// The authority must be given to a process by its environment.
#[tokio::test]
async fn server_tls_is_spoken_with_whom_the_system_trusts() {
    let file = |name: &str| tree::top().join("tests/tls").join(name).display().to_string();
    let (certificate, key) = (file("server.pem"), file("server.key"));
    let nats =
        NatsServer::start_with(&["--tls", "--tlscert", &certificate, "--tlskey", &key]).await;
    // A server that requires TLS gets it, also when the URL does not ask for it.
    for scheme in ["tls", "nats"] {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("services")).unwrap();
        let start = |trusted: &str| {
            let url = format!("{scheme}://localhost:{}", nats.port());
            let mut command = node::command(folder.path());
            command.args(["start", "services", "--transporter", &url]);
            command.env("SSL_CERT_FILE", trusted);
            Process::spawn("isomer start", &mut command)
        };
        start(&file("ca.pem")).line("connected to the transporter").await;
        let line = start(&certificate).line("cannot be joined").await;
        assert!(line.contains("TLS: invalid peer certificate"), "{line}");
    }
}
