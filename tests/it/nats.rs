//! How a node meets a real nats-server: with credentials, over TLS, and when there is none.

use isomer_host::broker::ServiceBroker;
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
        assert!(line.contains("TLS"), "{line}");
    }
}
