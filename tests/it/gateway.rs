//! What people put before and beside a mesh of Moleculer, unmodified, before ours: the gateway moleculer-web and
//! the console moleculer-repl, of both generations, over NATS.

use std::sync::Arc;

use isomer_host::config::Protocol;
use isomer_host::handler::Handler;
use isomer_host::payload::Payload;
use isomer_host::service::LocalService;
use serde_json::json;
use tests::gateway::{Console, Gateway};
use tests::host::Host;
use tests::nats_server::NatsServer;
use tests::peer::Version;
use tests::{broker, guests, tree};

const BOTH: [Version; 2] = [Version::V14, Version::V15];

/// A node with the samples that have routes, which speaks to a generation in its own protocol.
async fn host(version: Version, nats: &NatsServer) -> Host {
    let folder = tempfile::tempdir().unwrap();
    for name in ["posts", "users", "files", "greeter"] {
        guests::put(name, folder.path(), &format!("{name}.wasm"));
        let sidecar = tree::top().join(format!("sample-services/{name}/{name}.toml"));
        if sidecar.is_file() {
            std::fs::copy(sidecar, folder.path().join(format!("{name}.toml"))).unwrap();
        }
    }
    let mut options = broker::on_nats("rs-1", &nats.url());
    options.transit.protocol = match version {
        Version::V14 => Protocol::V4,
        Version::V15 => Protocol::V5,
    };
    Host::start_on(options, folder).await
}

async fn gateway(version: Version) -> (NatsServer, Host, Gateway) {
    let nats = NatsServer::start().await;
    let host = host(version, &nats).await;
    let gateway = Gateway::start(version, &nats.url()).await;
    gateway.until_found("/posts").await;
    gateway.until_found("/files/generate?bytes=0").await;
    (nats, host, gateway)
}

#[tokio::test]
async fn server_the_gateway_makes_routes_of_what_guests_declare() {
    for version in BOTH {
        let (_nats, _host, gateway) = gateway(version).await;
        let created = gateway.post("/posts", &json!({"title": "Notes", "author": 1})).await;
        assert_eq!(
            (created.status, &*created.headers["location"]),
            (201, "/posts/1"),
            "{version:?}"
        );
        assert_eq!(created.json(), json!({"id": 1, "title": "Notes", "author": 1}));
        let shown = gateway.get("/posts/1").await;
        assert_eq!((shown.status, &shown.json()["author"]["name"]), (200, &json!("Ada")));
        assert_eq!(shown.headers["content-type"], "application/json; charset=utf-8");
        let welcome = gateway.get("/greeter/welcome?name=Ada").await;
        assert!(String::from_utf8_lossy(&welcome.body).contains("Ada"), "{welcome:?}");
        assert_eq!(gateway.get("/posts").await.json().as_array().unwrap().len(), 1);
    }
}

#[tokio::test]
async fn server_errors_of_guests_have_their_status() {
    for version in BOTH {
        let (_nats, _host, gateway) = gateway(version).await;
        let missing = gateway.get("/posts/77").await;
        let error = missing.json();
        assert_eq!(
            (missing.status, &error["type"]),
            (404, &json!("POST_NOT_FOUND")),
            "{version:?}"
        );
        assert_eq!(error["data"], json!({"id": 77}));
        let invalid = gateway.post("/posts", &json!({"author": 1})).await;
        assert_eq!((invalid.status, &invalid.json()["type"]), (422, &json!("VALIDATION_ERROR")));
        assert_eq!(invalid.json()["data"][0]["field"], "title");
        let author = gateway.post("/posts", &json!({"title": "T", "author": 9})).await;
        assert_eq!((author.status, &author.json()["type"]), (404, &json!("USER_NOT_FOUND")));
    }
}

#[tokio::test]
async fn server_what_an_action_says_of_its_response_is_heard() {
    for version in BOTH {
        let (_nats, host, gateway) = gateway(version).await;
        let bytes: Handler = Arc::new(|ctx| {
            ctx.merge_meta(&broker::object(&json!({
                "$statusCode": 202, "$statusMessage": "Fine", "$responseType": "image/png",
                "$responseHeaders": {"X-Own": "own"}
            })));
            Box::pin(async { Ok(Payload::Bytes(vec![0, 255, 10].into())) })
        });
        let id: Handler = Arc::new(|ctx| {
            Box::pin(async move { Ok(broker::json(&json!({"id": &*ctx.request_id}))) })
        });
        let service = LocalService::builder("web")
            .handler("bytes", json!({"rest": "GET /bytes"}), bytes)
            .handler("id", json!({"rest": "GET /id"}), id)
            .handler("hidden", json!({"rest": "GET /hidden", "visibility": "public"}), hidden())
            .build();
        host.broker.add_service(service.unwrap()).await.unwrap();
        gateway.until_found("/web/bytes").await;
        let image = gateway.get("/web/bytes").await;
        assert_eq!((image.status, &*image.body), (202, &[0, 255, 10][..]), "{version:?}");
        assert_eq!(image.headers["content-type"], "image/png");
        assert_eq!(image.headers["x-own"], "own");
        let id = gateway.request("GET", "/web/id", "X-Request-ID: r-7", b"").await;
        assert_eq!((id.json()["id"].as_str(), &*id.headers["x-request-id"]), (Some("r-7"), "r-7"));
        assert_eq!(gateway.get("/web/hidden").await.status, 404);
    }
}

fn hidden() -> Handler {
    Arc::new(|_| Box::pin(async { Ok(Payload::null()) }))
}

/// SHA-256 of `abc`.
const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

#[tokio::test]
async fn server_files_go_up_to_a_guest_and_down_from_it() {
    for version in BOTH {
        let (_nats, _host, gateway) = gateway(version).await;
        let form = "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\n\
                    Content-Type: text/plain\r\n\r\nabc\r\n--b--\r\n";
        let header = "Content-Type: multipart/form-data; boundary=b";
        let sum = gateway.request("POST", "/files/checksum", header, form.as_bytes()).await;
        assert_eq!(sum.json(), json!({"bytes": 3, "sha256": ABC}), "{version:?}");

        let large = vec![b'a'; 3 << 20];
        let sum =
            gateway.request("PUT", "/raw", "Content-Type: application/octet-stream", &large).await;
        assert_eq!((sum.status, &sum.json()["bytes"]), (200, &json!(3 << 20)));

        let file = gateway.get("/files/generate?bytes=3000000").await;
        assert_eq!((file.status, file.body.len()), (200, 3_000_000));
        assert!(file.body.starts_with(b"abcdefghijklmnopqrstuvwxyzabc"));
        assert_eq!(file.headers["content-type"], "text/plain");
        let disposition = "attachment; filename=\"letters.txt\"";
        assert_eq!(file.headers["content-disposition"], disposition);

        let upper =
            gateway.request("PUT", "/upper", "Content-Type: text/plain", b"up and down").await;
        assert_eq!((upper.status, &*upper.body), (200, &b"UP AND DOWN"[..]));
        let error = gateway.post("/files/checksum", &json!({})).await;
        assert!(error.status >= 400, "{error:?}");
    }
}

#[tokio::test]
async fn server_the_console_of_moleculer_sees_and_calls_our_services() {
    for version in BOTH {
        let nats = NatsServer::start().await;
        let _host = host(version, &nats).await;
        let mut console =
            Console::start(version, &nats.url(), &["posts", "v2.users", "files", "greeter"]).await;
        console.run("nodes", "rs-1").await;
        console.run("services", "users   │       2").await;
        console.run("actions", "posts.create").await;
        console.run("events", "post.created").await;
        console.run("info", "Protocol version").await;
        console.run("call posts.create --title Notes --author 1", "'Notes'").await;
        console.run("dcall rs-1 greeter.welcome --name Grace", "Welcome, Grace!").await;
        console.run("call posts.get --id 77", "there is no post 77").await;
        console.run("emit post.created --author 1", "Emit 'post.created'").await;

        let (sent, saved) = (console.folder().join("sent.txt"), console.folder().join("saved.txt"));
        std::fs::write(&sent, "abc").unwrap();
        let upload = format!("call files.checksum --stream {}", sent.display());
        console.run(&upload, ABC).await;
        let download = format!("call files.generate --bytes 1000000 --save {}", saved.display());
        console.run(&download, "has been saved to").await;
        assert_eq!(std::fs::metadata(saved).unwrap().len(), 1_000_000, "{version:?}");
    }
}
