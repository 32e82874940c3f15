//! From a file to a component: the cache, and every kind of file that is no service.

use std::fs;
use std::path::Path;

use isomer_host::config::Limits;
use isomer_host::metrics::MetricRegistry;
use isomer_host::runtime::{Error, Runtime};
use tests::{guests, rig};

fn compiled_files(cache: &Path) -> Vec<std::path::PathBuf> {
    let files = fs::read_dir(cache).unwrap().map(|file| file.unwrap().path());
    files.filter(|file| file.extension().is_some_and(|e| e == "cwasm")).collect()
}

async fn load(runtime: &Runtime) {
    let component = runtime.load(&guests::wasm("greeter")).await.unwrap();
    let schema = component.describe(&Limits::default()).await.unwrap();
    assert!(schema.contains("\"greeter\""), "{schema}");
}

#[tokio::test]
async fn a_component_is_compiled_once_and_again_when_its_cache_entry_is_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    let metrics = MetricRegistry::default();
    let n_compiled = || metrics.metric("isomer.component.compiled.total").get();
    let runtime = rig::runtime(cache.clone(), &metrics);
    load(&runtime).await;
    load(&rig::runtime(cache.clone(), &metrics)).await;
    assert_eq!(n_compiled(), 1);
    let [entry] = &compiled_files(&cache)[..] else { panic!("one entry expected") };
    let code = fs::read(entry).unwrap();
    for damaged in [&code[..code.len() / 2], b"", b"text"] {
        fs::remove_file(entry).unwrap();
        fs::write(entry, damaged).unwrap();
        load(&runtime).await;
    }
    assert_eq!(n_compiled(), 4);
    assert_eq!(fs::read_dir(&cache).unwrap().count(), 2, "no temporary file is left");
}

#[tokio::test]
async fn files_that_are_no_service_are_refused_with_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = rig::runtime(folder.path().join("cache"), &MetricRegistry::default());
    let greeter = fs::read(guests::wasm("greeter")).unwrap();
    let check = async |bytes: &[u8], expected: &str| {
        let error = runtime.load_bytes(bytes.to_vec()).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    };
    check(b"I am a text", "not a WebAssembly file").await;
    check(b"\0asm\x01\0\0\0", "core module").await;
    check(b"\0asm\x0d\0\x01\0", "does not export isomer:service/handler").await;
    check(&greeter[..greeter.len() / 2], "not a valid component").await;
    let handler = "isomer:service/handler@0.1.0";
    check(&replaced(&greeter, handler, "isomer:service/handler@0.9.0"), "this node speaks").await;
    let foreign = replaced(&greeter, "isomer:service/logger@0.1.0", "isomer:service/lagger@0.1.0");
    check(&foreign, "lagger").await;
    assert!(compiled_files(&folder.path().join("cache")).is_empty());
}

#[tokio::test]
async fn a_file_that_is_too_large_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = isomer_host::runtime::RuntimeOptions::new(
        folder.path().join("cache"),
        std::sync::Arc::from("n"),
    );
    let size = fs::metadata(guests::wasm("greeter")).unwrap().len();
    options.compile.file_size = size;
    let runtime = Runtime::new(options.clone()).unwrap();
    runtime.load(&guests::wasm("greeter")).await.unwrap();
    options.compile.file_size = size - 1;
    let error = Runtime::new(options).unwrap().load(&guests::wasm("greeter")).await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }), "{error}");
}

#[tokio::test]
async fn a_schema_may_be_as_long_as_the_limit() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = rig::runtime(folder.path().join("cache"), &MetricRegistry::default());
    let component = runtime.load(&guests::wasm("greeter")).await.unwrap();
    let schema = component.describe(&Limits::default()).await.unwrap().len();
    component.describe(&Limits { schema, ..Limits::default() }).await.unwrap();
    let limits = Limits { schema: schema - 1, ..Limits::default() };
    assert_eq!(component.describe(&limits).await.unwrap_err().kind(), "PAYLOAD_TOO_LARGE");
}

#[tokio::test]
async fn a_component_is_inspected_without_running() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = rig::runtime(folder.path().join("cache"), &MetricRegistry::default());
    let component = runtime.load(&guests::wasm("greeter")).await.unwrap();
    let inspection = component.inspection();
    assert_eq!(inspection.language, "Rust");
    assert!(!inspection.asynchronous);
    assert_eq!(inspection.exports, ["isomer:service/handler@0.1.0"]);
    assert!(inspection.imports.iter().any(|name| name.starts_with("wasi:io/")));
}

/// A copy with one text in place of another of the same length.
fn replaced(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut bytes = bytes.to_vec();
    let places: Vec<usize> = (0..bytes.len() - from.len())
        .filter(|at| bytes[*at..].starts_with(from.as_bytes()))
        .collect();
    for at in places {
        bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
    }
    bytes
}
