//! Services from nothing but the WIT package: what `docs/wit.md` shows, and the package as a registry gets it.

use isomer_host::config::BrokerOptions;
use isomer_host::toolchain::componentize::componentize;
use serde_json::{Value, json};
use tests::host::Host;
use tests::recipe::{C, command_of};
use tests::{broker, guests, mirror, tree, wait};
use wit_parser::Resolve;

/// The blocks of one language in a document, without their fences.
fn blocks(document: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    let parts = document.split(&fence).skip(1);
    parts.map(|part| part.split("```").next().unwrap_or_default().to_owned()).collect()
}

fn page() -> String {
    tree::read(&tree::top().join("docs/wit.md"))
}

#[tokio::test]
async fn a_service_in_rust_without_the_sdk_is_the_one_that_the_page_shows() {
    let shown = blocks(&page(), "rust");
    let source = tree::read(&tree::top().join("tests/guests/bare/src/lib.rs"));
    assert_eq!(shown, [source], "docs/wit.md shows another guest than tests/guests/bare");
    let host = Host::start(BrokerOptions::default(), &["bare"]).await;
    mirror::add(&host.broker).await;
    let heard = mirror::listen(&host.broker, "listener", "bare.seen", "").await;
    assert_eq!(host.call("bare.hello", &json!({"a": 1})).await.unwrap(), json!({"a": 1}));
    broker::emit(&host.broker, "user.created", &json!({"id": 5}), &[]).await;
    assert_eq!(heard.at_least(1).await[0]["params"], json!({"id": 5}));
}

#[tokio::test]
async fn a_service_in_c_by_hand_is_built_by_the_commands_that_the_page_shows() {
    if C.is_skipped() {
        return;
    }
    let page = page();
    let folder = tempfile::tempdir().unwrap();
    let shown = blocks(&page, "c");
    assert_eq!(shown.len(), 1, "one block of C");
    std::fs::write(folder.path().join("bare.c"), shown.concat()).unwrap();
    for line in blocks(&page, "sh").concat().lines() {
        let mut shell = command_of("sh");
        shell.args(["-c", &zig_of_this_machine(line)]).current_dir(folder.path());
        let output = shell.output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{line}: {told}");
    }
    let bytes = std::fs::read(folder.path().join("bare.wasm")).unwrap();
    assert!(bytes.len() < 5_000, "{} bytes", bytes.len());
    // The function of the library does what the command does.
    let module = std::fs::read(folder.path().join("bare-core.wasm")).unwrap();
    assert!(componentize(&module).unwrap() == bytes);
    let services = tempfile::tempdir().unwrap();
    guests::put_bytes(&bytes, services.path(), "bare-c.wasm");
    let host = Host::start_on(BrokerOptions::default(), services).await;
    assert_eq!((host.loaded.in_service, host.loaded.failed), (1, 0));
    let text = "x".repeat(100_000);
    for value in [json!({"a": [1]}), json!(text), Value::Null] {
        for _ in 0..20 {
            let echo = wait::for_result("the echo", host.call("bare-c.echo", &value)).await;
            assert!(echo.unwrap() == value);
        }
    }
}

/// Where Zig comes with Python, its command has another name.
fn zig_of_this_machine(line: &str) -> String {
    let alone = command_of("sh").args(["-c", "zig version"]).output().unwrap().status.success();
    match line.strip_prefix("zig ") {
        Some(rest) if !alone => format!("python3 -m ziglang {rest}"),
        _ => line.to_owned(),
    }
}

#[test]
fn the_rust_sdk_as_a_crate_brings_the_contract_along_and_no_other_sdk() {
    let mut cargo = command_of("cargo");
    cargo.args(["package", "--list", "--allow-dirty", "--offline", "-p", "isomer-sdk"]);
    let output = cargo.current_dir(tree::top()).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    let listed = String::from_utf8(output.stdout).unwrap();
    for path in ["src/lib.rs", "src/component/tasks.rs", "wit/world.wit", "wit/broker-async.wit"] {
        assert!(listed.lines().any(|line| line == path), "{path} is not in it:\n{listed}");
    }
    let foreign = |line: &&str| {
        line.contains('/') && !["src/", "wit/"].iter().any(|own| line.starts_with(own))
    };
    assert_eq!(listed.lines().find(foreign), None);
}

#[test]
fn the_package_can_be_encoded_and_read_again_as_a_registry_does() {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(tree::top().join("wit")).unwrap();
    let bytes = wit_component::encode(&resolve, package).unwrap();
    let decoded = wit_component::decode(&bytes).unwrap();
    let package = &decoded.resolve().packages[decoded.package()];
    assert_eq!(package.name.to_string(), "isomer:service@0.1.0");
    assert!(package.worlds.contains_key("service") && package.worlds.contains_key("middleware"));
    // Comments go along: they are the documentation of whoever gets the package.
    let handler = &decoded.resolve().interfaces[package.interfaces["handler"]];
    assert!(handler.functions["describe"].docs.contents.as_ref().unwrap().contains("schema"));
    let told: Value = tree::read(&tree::top().join("wit/wkg.toml"))
        .lines()
        .filter_map(|line| line.split_once(" = "))
        .map(|(key, value)| (key.to_owned(), Value::from(value.trim_matches('"'))))
        .collect::<serde_json::Map<_, _>>()
        .into();
    assert_eq!(told["licenses"], "MIT");
    assert!(["author", "description", "source"].iter().all(|key| told[*key].is_string()));
}
