//! Services in C: the header is that of the WIT package, projects are made and built, mistakes are told, and the
//! sample works beside one in Rust.

use std::path::Path;
use std::process::Output;

use isomer_host::config::BrokerOptions;
use serde_json::json;
use tests::host::Host;
use tests::recipe::{C, command_of};
use tests::{broker, guests, mirror, tree};
use wit_parser::Resolve;

fn isomer(folder: &Path, arguments: &[&str]) -> Output {
    command_of("isomer").args(arguments).current_dir(folder).output().unwrap()
}

/// Runs it and gives what it told, whatever became of it.
fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Every name, signature and comment. What has to be written is as in docs/c.md, by the generator itself.
#[test]
fn the_bindings_are_those_of_the_package() {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(tree::top().join("wit")).unwrap();
    let world = resolve.select_world(&[package], Some("service")).unwrap();
    let options = wit_bindgen_c::Opts {
        rename_world: Some("isomer-service".to_owned()),
        no_object_file: true,
        ..wit_bindgen_c::Opts::default()
    };
    let mut files = wit_bindgen_core::Files::default();
    options.build().generate(&mut resolve, world, &mut files).unwrap();
    let folder = tree::top().join("guest-sdk/c/generated");
    let mut names = Vec::new();
    for (name, contents) in files.iter() {
        let path = folder.join(name);
        if std::env::var_os("ISOMER_WRITE_C").is_some() {
            std::fs::write(&path, contents).unwrap();
        }
        let differs = std::fs::read(&path).unwrap_or_default() != contents;
        assert!(!differs, "{name} is not that of the WIT package; write it with ISOMER_WRITE_C=1");
        names.push(name.to_owned());
    }
    names.sort();
    assert_eq!(names, ["isomer_service.c", "isomer_service.h"]);
}

#[tokio::test]
async fn a_new_project_is_built_and_small() {
    if C.is_skipped() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let made = isomer(folder.path(), &["new", "counter", "--lang", "c"]);
    assert!(made.status.success(), "{}", told(&made));
    let project = folder.path().join("counter");
    let built = isomer(&project, &["build", "--release"]);
    assert!(built.status.success(), "{}", told(&built));
    let bytes = std::fs::read(project.join("build/counter.wasm")).unwrap();
    assert!(bytes.len() <= 66 << 10, "{} bytes", bytes.len());
    let services = tempfile::tempdir().unwrap();
    guests::put_bytes(&bytes, services.path(), "counter.wasm");
    let host = Host::start_on(BrokerOptions::default(), services).await;
    let heard = mirror::listen(&host.broker, "listener", "counter.*", "").await;
    let hello = host.call("counter.hello", &json!({"name": "Ada"})).await.unwrap();
    assert_eq!(hello, "Hello, Ada!");
    assert_eq!(heard.at_least(1).await[0]["params"], json!({"name": "Ada"}));
}

#[test]
fn mistakes_in_the_source_are_those_of_the_compiler_and_others_have_their_mend() {
    if C.is_skipped() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("wrong.c", "#include <isomer.h>\nint x = ;\n");
    let built = isomer(folder.path(), &["build", "wrong.c"]);
    assert_eq!(built.status.code(), Some(1));
    assert!(told(&built).contains("wrong.c:2:9"), "{}", told(&built));
    // A module that is no service.
    std::fs::write(folder.path().join("empty.wasm"), b"\0asm\x01\0\0\0").unwrap();
    let built = isomer(folder.path(), &["build", "empty.wasm", "-o", "out.wasm"]);
    assert_eq!(built.status.code(), Some(1));
    assert!(told(&built).contains("exports nothing of a service"), "{}", told(&built));
    assert!(!folder.path().join("out.wasm").exists());
    // Without a compiler.
    write("right.c", "#include <isomer.h>\nISOMER_SERVICE(.name = \"right\")\n");
    let mut command = command_of("isomer");
    let built = command.args(["build", "right.c"]).current_dir(folder.path()).env("PATH", "");
    let built = built.output().unwrap();
    assert_eq!(built.status.code(), Some(2));
    assert!(told(&built).contains("pip install ziglang"), "{}", told(&built));
}

#[tokio::test]
async fn the_sample_works_beside_one_in_rust() {
    if C.is_skipped() {
        return;
    }
    let sample = tree::top().join("sample-services").join("c-words");
    let services = tempfile::tempdir().unwrap();
    let output = services.path().join("words.wasm").display().to_string();
    let built = isomer(&sample, &["build", "words.c", "--release", "-o", &output]);
    assert!(built.status.success(), "{}", told(&built));
    guests::put("greeter", services.path(), "greeter.wasm");
    let host = Host::start_on(BrokerOptions::default(), services).await;
    assert_eq!((host.loaded.in_service, host.loaded.failed), (2, 0));
    let counted = host.call("words.count", &json!({"text": " zwölf  Boxkämpfer\n"})).await;
    assert_eq!(counted.unwrap(), json!({"words": 2, "letters": 15}));
    let names = json!({"names": ["Ada", "Bob"]});
    let greetings = host.call("words.greetings", &names).await.unwrap();
    assert_eq!(greetings["Bob"], json!({"words": 2, "letters": 9}));
    let heard = mirror::listen(&host.broker, "listener", "words.*", "").await;
    broker::emit(&host.broker, "text.arrived", &json!("one two three"), &[]).await;
    assert_eq!(heard.at_least(1).await[0]["params"], json!({"words": 3, "letters": 11}));
    let error = host.call("words.count", &json!({})).await.unwrap_err();
    assert_eq!(error.kind(), "VALIDATION_ERROR");
}
