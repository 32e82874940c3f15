//! HTTP requests of guests: to granted hosts, bounded in number, bytes and time, whatever a server answers.

use isomer_host::config::BrokerOptions;
use serde_json::{Value, json};
use tests::host::Host;
use tests::process::Process;
use tests::web_server::WebServer;
use tests::{guests, node, tree};

/// A node with the guest and this file beside it.
async fn host(toml: &str) -> Host {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("reach.toml"), toml).unwrap();
    guests::put("reach", folder.path(), "reach.wasm");
    Host::start_on(BrokerOptions::default(), folder).await
}

async fn ask_with(host: &Host, to: &str, path: &str, more: Value) -> Value {
    let mut params = json!({"scheme": "http", "to": to, "path": path});
    params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    host.call("reach.http", &params).await.unwrap()
}

async fn ask(host: &Host, to: &str, path: &str) -> Value {
    ask_with(host, to, path, json!({})).await
}

/// Asks for what fails, with this error to the guest.
async fn fails(host: &Host, to: &str, path: &str, more: Value, error: &str) {
    let answer = ask_with(host, to, path, more).await;
    assert!(answer["error"].to_string().contains(error), "{to}{path}: {answer}");
}

fn counted(host: &Host, metric: &'static str) -> i64 {
    host.broker.metrics().metric(metric).get()
}

fn denied(host: &Host) -> i64 {
    counted(host, "isomer.guest.permissionDenied.total")
}

fn refused(host: &Host) -> i64 {
    counted(host, "isomer.guest.httpRefused.total")
}

#[tokio::test]
async fn a_granted_host_is_asked_and_no_other() {
    let (server, other) = (WebServer::start().await, WebServer::start().await);
    let (to, by_name) = (server.at(), format!("localhost:{}", server.port()));
    let host = host(&format!("[grants]\nhosts = ['{to}', '{by_name}']\n")).await;
    let answer = ask(&host, &to, "/a?b=c").await;
    assert_eq!(
        (&answer["ok"]["status"], &answer["ok"]["body"]),
        (&json!(200), &json!("GET /a?b=c HTTP/1.1"))
    );
    let answer = ask(&host, &by_name, "").await;
    assert_eq!(answer["ok"]["body"], "GET / HTTP/1.1", "{answer}");
    assert_eq!(denied(&host), 0);
    for to in [other.at(), "example.invalid".into(), format!("127.0.0.2:{}", server.port())] {
        fails(&host, &to, "/", json!({}), "HttpRequestDenied").await;
    }
    assert_eq!(denied(&host), 3);
    assert_eq!(other.counts().begun, 0);
    fails(&host, &format!("user@{to}"), "/", json!({}), "HttpRequestUriInvalid").await;
    fails(&host, &to, "/", json!({"method": "CONNECT"}), "HttpRequestMethodInvalid").await;
    assert_eq!(ask(&host, &to, "/").await["ok"]["status"], 200, "it goes on");
}

#[tokio::test]
async fn without_a_grant_nobody_is_asked_and_with_a_star_nobody_inside() {
    let server = WebServer::start().await;
    let (to, by_name) = (server.at(), format!("localhost:{}", server.port()));
    let none = host("").await;
    fails(&none, &to, "/", json!({}), "HttpRequestDenied").await;
    let public = host("[grants]\nhosts = ['*:*']\n").await;
    fails(&public, &to, "/", json!({}), "HttpRequestDenied").await;
    fails(&public, &by_name, "/", json!({}), "HttpRequestDenied").await;
    // Another way to write the same address, which only the lookup understands.
    fails(&public, &format!("2130706433:{}", server.port()), "/", json!({}), "HttpRequestDenied")
        .await;
    assert_eq!((denied(&public), server.counts().begun), (3, 0));
}

#[tokio::test]
async fn nothing_is_followed() {
    let server = WebServer::start().await;
    let host = host(&format!("[grants]\nhosts = ['{}']\n", server.at())).await;
    let answer = ask(&host, &server.at(), "/redirect").await;
    assert_eq!(answer["ok"]["status"], 302, "{answer}");
    assert_eq!(answer["ok"]["location"], format!("http://{}/", server.at()));
    assert_eq!(server.counts().begun, 1);
}

#[tokio::test]
async fn bodies_are_as_large_as_the_limit_each_way_and_no_larger() {
    let server = WebServer::start().await;
    let to = server.at();
    let with = async |limit: u64| {
        host(&format!("[limits]\nhttpBody = {limit}\n[grants]\nhosts = ['{to}']\n")).await
    };
    let exact = with(1 << 20).await;
    assert_eq!(ask(&exact, &to, "/big").await["ok"]["length"], 1 << 20);
    let sent = ask_with(&exact, &to, "/count", json!({"send": 1 << 20})).await;
    assert_eq!(sent["ok"]["body"], "1048576", "{sent}");
    assert_eq!(refused(&exact), 0);
    fails(&exact, &to, "/count", json!({"send": (1 << 20) + 1}), "HttpRequestBodySize").await;
    let less = with((1 << 20) - 1).await;
    fails(&less, &to, "/big", json!({}), "HttpResponseBodySize").await;
    assert_eq!((refused(&exact), refused(&less)), (1, 1));
}

#[tokio::test]
async fn heads_are_as_large_as_the_limit_and_no_larger() {
    let server = WebServer::start().await;
    let to = server.at();
    let host = host(&format!("[grants]\nhosts = ['{to}']\n")).await;
    let fields = |n: u64, len: u64| json!({"fields": n, "fieldLen": len});
    assert_eq!(ask_with(&host, &to, "/", fields(31, 1 << 10)).await["ok"]["status"], 200);
    let error = "HttpRequestHeaderSectionSize";
    fails(&host, &to, "/", fields(32, 1 << 10), error).await;
    assert_eq!(ask(&host, &to, "/100-fields").await["ok"]["status"], 200);
    let error = "HttpResponseHeaderSectionSize";
    fails(&host, &to, "/101-fields", json!({}), error).await;
    fails(&host, &to, "/10000-fields", json!({}), error).await;
    fails(&host, &to, "/endless-head", json!({}), error).await;
    assert_eq!(refused(&host), 4);
    // Who collects far more than can be sent means harm.
    let mut params = fields(10_000, 1 << 10);
    params["to"] = json!(to);
    let error = host.call("reach.http", &params).await.unwrap_err();
    assert_eq!(error.kind(), "SERVICE_TRAPPED");
}

#[tokio::test]
async fn a_hostile_server_costs_the_guest_an_error_and_nobody_else_anything() {
    let server = WebServer::start().await;
    let to = server.at();
    let host = host(&format!("[limits]\nhttpBody = '64KiB'\n[grants]\nhosts = ['{to}']\n")).await;
    for (path, error) in [
        ("/close", "HttpResponseIncomplete"),
        ("/garbage", "HttpProtocolError"),
        ("/short", "HttpResponseIncomplete"),
        ("/lie", "HttpResponseBodySize"),
        ("/two-lengths", "HttpProtocolError"),
        ("/endless-body", "HttpResponseBodySize"),
        ("/endless-trailer", "ErrorCode::"),
    ] {
        fails(&host, &to, path, json!({}), error).await;
    }
    let pause = json!({"bytesTimeoutMs": 50});
    fails(&host, &to, "/drip", pause, "ConnectionReadTimeout").await;
    assert_eq!(
        ask(&host, &to, "/long").await["ok"]["body"],
        "01234",
        "the rest is not the answer's"
    );
    assert_eq!(counted(&host, "isomer.guest.trapped.total"), 0);
    server.until("all connections to end", |counts| counts.ended == counts.begun).await;
}

#[tokio::test]
async fn a_request_has_the_time_of_its_handler() {
    let server = WebServer::start().await;
    let to = server.at();
    let host = host(&format!("[limits]\ntimeout = 300\n[grants]\nhosts = ['{to}']\n")).await;
    for path in ["/never", "/drip", "/endless-hints"] {
        let params = json!({"scheme": "http", "to": to, "path": path});
        let error = host.call("reach.http", &params).await.unwrap_err();
        assert_eq!(error.kind(), "REQUEST_TIMEOUT", "{path}");
        server.until("the connection to end", |counts| counts.ended == counts.begun).await;
    }
    // One that is left behind ends with its handler, which does not wait for it.
    let left = ask_with(&host, &to, "/never", json!({"leave": true})).await;
    assert_eq!(left["ok"], Value::Null);
    server.until("the connection to end", |counts| counts.ended == counts.begun).await;
}

#[tokio::test]
async fn an_instance_has_so_many_requests_under_way() {
    let server = WebServer::start().await;
    let to = server.at();
    let limits = "[limits]\nhttpRequests = 4\ntimeout = 1000\n";
    let host = host(&format!("{limits}[grants]\nhosts = ['{to}']\n")).await;
    let many = async |n: u64| {
        let params = json!({"scheme": "http", "to": to, "path": "/never", "n": n});
        host.call("reach.http_many", &params).await
    };
    assert_eq!(many(4).await.unwrap_err().kind(), "REQUEST_TIMEOUT");
    assert_eq!(refused(&host), 0, "as many as are allowed");
    let answer = many(5).await.unwrap();
    assert!(answer["error"].to_string().contains("ConnectionLimitReached"), "{answer}");
    assert_eq!(refused(&host), 1);
    assert_eq!(counted(&host, "isomer.guest.httpRequests.total"), 8);
}

#[tokio::test]
async fn an_asynchronous_service_asks_while_its_other_calls_go_on() {
    let server = WebServer::start().await;
    let to = server.at();
    let start = async |toml: &str| {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("lobby.toml"), toml).unwrap();
        guests::put("lobby", folder.path(), "lobby.wasm");
        Host::start_on(BrokerOptions::default(), folder).await
    };
    let host = start(&format!("[grants]\nhosts = ['{to}']\n")).await;
    let (silent, polite) = (json!({"to": to, "path": "/never"}), json!({"to": to, "path": "/"}));
    let waiting = host.call("lobby.look_outside", &silent);
    let others = async {
        server.until("the request", |counts| counts.begun == 1).await;
        host.call("lobby.look_outside", &polite).await
    };
    tokio::select! {
        ended = waiting => panic!("{ended:?}"),
        answer = others => assert_eq!(answer.unwrap(), json!(200)),
    }
    let none = start("").await;
    let error = none.call("lobby.look_outside", &polite).await.unwrap_err();
    assert!(error.message().contains("HttpRequestDenied"), "{error}");
}

/// The authority must be given to a process by its environment.
#[tokio::test]
async fn tls_trusts_whom_the_system_trusts_and_what_is_denied_is_told_once() {
    let server = WebServer::start_tls().await;
    let folder = tempfile::tempdir().unwrap();
    let services = folder.path().join("services");
    std::fs::create_dir(&services).unwrap();
    guests::put("reach", &services, "reach.wasm");
    let port = server.port();
    let toml = format!("[grants]\nhosts = ['localhost:{port}', '127.0.0.0/8:{port}']\n");
    std::fs::write(services.join("reach.toml"), toml).unwrap();
    let start = |trusted: &str| {
        let mut command = node::command(folder.path());
        let trusted = tree::top().join("tests/tls").join(trusted);
        command.args(["start", "services"]).env("SSL_CERT_FILE", trusted);
        Process::spawn("isomer start", &mut command)
    };
    let ask = async |to: &str| {
        let params = json!({"scheme": "https", "to": to, "path": "/"}).to_string();
        let output = node::run(folder.path(), &["call", "reach.http", &params]).await;
        String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr)
    };
    let by_name = format!("localhost:{port}");
    let mut trusting = start("ca.pem");
    trusting.line(node::READY).await;
    for to in [&by_name, &server.at()] {
        let answer = ask(to).await;
        assert!(answer.contains("GET / HTTP/1.1"), "{answer}");
    }
    let other_name = ask(&format!("127.0.0.2:{port}")).await;
    assert!(other_name.contains("TlsCertificateError"), "{other_name}");
    for _ in 0..2 {
        assert!(ask("example.org").await.contains("HttpRequestDenied"));
    }
    let wanted =
        "wanted to send a request to https://example.org:443; to allow it, add it to 'hosts'";
    trusting.line(wanted).await;
    trusting.kill().await;
    assert_eq!(trusting.output().text().matches(wanted).count(), 1, "{}", trusting.output().text());
    let mut other = start("server.pem");
    other.line(node::READY).await;
    let answer = ask(&by_name).await;
    assert!(answer.contains("TlsCertificateError"), "{answer}");
    other.kill().await;
}
