//! Reporters of metrics, as those see them whom they tell.

use std::net::TcpListener;
use std::time::Duration;

use isomer_host::broker::ServiceBroker;
use isomer_host::config::BrokerOptions;
use isomer_host::config::metrics::{MetricReporter, ReporterKind};
use isomer_host::context::CallOptions;
use serde_json::json;
use tests::{broker, mirror, wait};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};

/// A node that tells of its metrics and was called once.
async fn node(kind: ReporterKind) -> ServiceBroker {
    let mut options = BrokerOptions { node_id: Some("n-1".into()), ..BrokerOptions::default() };
    options.metrics.enabled = true;
    options.metrics.reporters = vec![MetricReporter {
        kind,
        interval: Duration::from_millis(50),
        only_changes: false,
        includes: None,
        excludes: vec!["os.**".into()],
        name_prefix: "my.".into(),
        name_suffix: String::new(),
    }];
    let node = broker::start(options).await;
    mirror::add(&node).await;
    broker::call(&node, "rs.echo", &json!(1), CallOptions::default()).await.unwrap();
    node
}

/// An answer to a question, with its head.
async fn ask(port: u16, question: &str) -> Option<String> {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    socket.write_all(question.as_bytes()).await.ok()?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.ok()?;
    Some(answer)
}

#[tokio::test]
async fn prometheus_reads_the_metrics_of_a_node() {
    let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let (host, path) = ("127.0.0.1".into(), "/metrics".into());
    let node = node(ReporterKind::Prometheus { host, port, path, default_labels: None }).await;
    let answer = wait::until("an answer", || async {
        ask(port, "GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n").await
    })
    .await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    let line = "my_moleculer_request_total{namespace=\"\",nodeID=\"n-1\",service=\"rs\",\
                action=\"rs.echo\",type=\"local\",caller=\"null\"} 1\n";
    assert!(answer.contains(line), "{answer}");
    assert!(answer.contains("# TYPE my_moleculer_request_time histogram\n"), "{answer}");
    assert!(answer.contains("le=\"+Inf\"} 1\n"), "{answer}");
    assert!(!answer.contains("\nmy_os_"), "{answer}");
    let other = ask(port, "GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert!(other.starts_with("HTTP/1.1 404 "), "{other}");
    let other = ask(port, "POST /metrics HTTP/1.1\r\n\r\n").await.unwrap();
    assert!(other.starts_with("HTTP/1.1 405 "), "{other}");
    let other = ask(port, "\0\r\n\r\n").await.unwrap();
    assert!(other.starts_with("HTTP/1.1 400 "), "{other}");
    node.stop().await;
}

#[tokio::test]
async fn statsd_is_told_of_calls() {
    let server = UdpSocket::bind(("127.0.0.1", 0)).await.unwrap();
    let port = server.local_addr().unwrap().port();
    let kind = ReporterKind::StatsD { host: "127.0.0.1".into(), port, payload_max: 1_300 };
    let node = node(kind).await;
    let wanted = "my.moleculer.request.total:1|c|#service:rs,action:rs.echo,type:local,caller:null";
    wait::for_result("the call in a datagram", async {
        let mut datagram = [0; 2_000];
        loop {
            let size = server.recv(&mut datagram).await.unwrap();
            assert!(size <= 1_300, "{size}");
            let text = std::str::from_utf8(&datagram[..size]).unwrap();
            if text.lines().any(|line| line == wanted) {
                return;
            }
        }
    })
    .await;
    node.stop().await;
}

#[tokio::test]
async fn changes_are_written_into_files() {
    let folder = tempfile::tempdir().unwrap();
    let kind = ReporterKind::Csv {
        folder: folder.path().join("deep/metrics"),
        delimiter: ";".into(),
        row_delimiter: "\n".into(),
        by_label: false,
        types: None,
    };
    let node = node(kind).await;
    let path = folder.path().join("deep/metrics/my.moleculer.request.total.csv");
    let rows = async |count: usize| {
        wait::until("the rows of the calls", || async {
            let text = std::fs::read_to_string(&path).ok()?;
            let rows: Vec<_> = text.lines().map(str::to_owned).collect();
            (rows.iter().filter(|row| row.contains(";rs.echo;")).count() == count).then_some(rows)
        })
        .await
    };
    let first = rows(1).await;
    let header = "Timestamp;Metric;Label service;Label action;Label type;Label caller;Value";
    assert_eq!(first[0], header);
    let end = ";my.moleculer.request.total;rs;rs.echo;local;;1";
    assert!(first.iter().any(|row| row.ends_with(end)), "{first:?}");
    broker::call(&node, "rs.echo", &json!(1), CallOptions::default()).await.unwrap();
    let second = rows(2).await;
    assert!(second.last().unwrap().ends_with(";rs;rs.echo;local;;2"), "{second:?}");
    assert!(!folder.path().join("deep/metrics/my.os.uptime.csv").exists());
    node.stop().await;
}
