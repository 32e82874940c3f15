//! `isomer new`, `build`, `test` and `dev`, as a user types them.

use std::path::Path;
use std::process::Output;

use isomer_host::config::{BrokerOptions, ServiceOptions};
use isomer_host::runtime::{Runtime, RuntimeOptions};
use isomer_host::scenario::{File, Report, Theatre};
use rustix::process::Signal;
use serde_json::{Value, json};
use tests::process::Process;
use tests::{guests, node, tree, wait, workshop};

fn texts(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

/// Checks the exit code, and that standard error holds all parts.
fn check(output: &Output, code: i32, parts: &[&str]) {
    let (out, err) = texts(output);
    assert_eq!(output.status.code(), Some(code), "{out}\n{err}");
    for part in parts {
        assert!(err.contains(part), "'{part}' is not in:\n{err}");
    }
}

fn edit(file: &Path, from: &str, to: &str) {
    let text = std::fs::read_to_string(file).unwrap();
    assert!(text.contains(from), "{from} in {text}");
    std::fs::write(file, text.replace(from, to)).unwrap();
}

#[tokio::test]
async fn a_new_rust_service_builds_and_passes_its_tests() {
    let folder = tempfile::tempdir().unwrap();
    workshop::new_rust(folder.path(), "blog-posts").await;
    let project = folder.path().join("blog-posts");

    let built = workshop::run(&project, &["build"]).await;
    check(&built, 0, &["> put isomer-sdk", "> cargo build"]);
    let (out, _) = texts(&built);
    for part in [
        "component    ",
        "build/blog-posts.wasm",
        "language     Rust",
        "service      blog-posts",
        "hello",
    ] {
        assert!(out.contains(part), "{part}: {out}");
    }

    let tested = workshop::run(&project, &["test"]).await;
    check(&tested, 0, &["> cargo test", "test tests::it_greets ... ok"]);
    let (out, _) = texts(&tested);
    assert!(
        out.contains("ok      greets whoever is named") && out.ends_with("2 passed\n"),
        "{out}"
    );

    let output = folder.path().join("services/");
    let args = ["build", "blog-posts", "--release", "--json", "-o", "services/"];
    let released = workshop::run(folder.path(), &args).await;
    check(&released, 0, &["--release"]);
    let value: Value = serde_json::from_slice(&released.stdout).unwrap();
    assert_eq!(value["schema"]["name"], "blog-posts");
    assert_eq!((&value["language"], &value["release"]), (&json!("rust"), &json!(true)));
    let size = std::fs::metadata(output.join("blog-posts.wasm")).unwrap().len();
    assert_eq!(value["size"], size);
    assert!(size < 1 << 20, "a release is small, not {size} bytes");
}

#[tokio::test]
async fn mistakes_in_sources_and_tests_are_shown() {
    let folder = tempfile::tempdir().unwrap();
    workshop::new_rust(folder.path(), "posts").await;
    let project = folder.path().join("posts");
    let scenario = project.join("tests/hello.toml");

    edit(&scenario, "Hello, Ada!", "Good day, Ada!");
    let failed = workshop::run(&project, &["test", "--no-unit"]).await;
    check(&failed, 1, &[]);
    let (out, _) = texts(&failed);
    let shown = "FAILED  greets whoever is named";
    assert!(out.contains(shown) && out.contains("1 passed, 1 failed"), "{out}");
    assert!(
        out.contains("expected  \"Good day, Ada!\"\n")
            && out.contains("got       \"Hello, Ada!\"\n"),
        "{out}"
    );

    let failed =
        workshop::run(&project, &["test", "--no-unit", "--json", "--filter", "greets"]).await;
    check(&failed, 1, &[]);
    let value: Value = serde_json::from_slice(&failed.stdout).unwrap();
    assert_eq!((&value["passed"], &value["failed"]), (&json!(0), &json!(1)));
    let problem = json!({"at": "result", "expected": "Good day, Ada!", "got": "Hello, Ada!"});
    assert_eq!(value["tests"][0]["problems"], json!([problem]));

    edit(&scenario, "call = ", "cal = ");
    let wrong = workshop::run(&project, &["test"]).await;
    check(&wrong, 2, &["tests/hello.toml", "unknown field `cal`"]);

    edit(&project.join("src/lib.rs"), "params.name))", "params.name)");
    let broken = workshop::run(&project, &["build"]).await;
    check(&broken, 1, &["delimiter", "src/lib.rs:", "cargo build --target wasm32-wasip2 failed"]);
    assert!(!project.join("build/posts.wasm").exists());
}

#[tokio::test]
async fn wrong_uses_say_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let run = async |args: &[&str]| workshop::run(at, args).await;
    check(&run(&["new", "posts", "--lang", "cobol"]).await, 2, &["known languages are rust"]);
    check(
        &run(&["new", "Blog Posts", "--lang", "rust"]).await,
        2,
        &["'Blog Posts' cannot be", "blog-posts"],
    );
    check(&run(&["new", "posts", "--lang", "rust"]).await, 0, &[]);
    check(&run(&["new", "posts", "--lang", "rust"]).await, 2, &["posts is there already", "--dir"]);
    check(&run(&["new", "posts", "--lang", "rust", "--dir", "other"]).await, 0, &[]);
    assert!(at.join("other/Cargo.toml").is_file());
    check(&run(&["build"]).await, 2, &["no service here", "isomer new NAME"]);
    check(&run(&["build", "nowhere"]).await, 2, &["nowhere"]);
    check(&run(&["build", "posts", "-o", "posts.txt"]).await, 2, &["ends with .wasm"]);
    check(&run(&["build", "posts/src/lib.rs"]).await, 2, &["name the folder"]);
    check(&run(&["dev", "posts", "other"]).await, 2, &["two projects would make posts.wasm"]);

    let mut without_tools = node::command(at);
    without_tools.env("PATH", at).args(["build", "posts"]);
    let missing = without_tools.output().await.unwrap();
    check(&missing, 2, &["cargo is missing", "install it: curl", "https://sh.rustup.rs"]);
}

#[tokio::test]
async fn dev_swaps_what_builds_and_keeps_what_served() {
    let folder = tempfile::tempdir().unwrap();
    workshop::new_rust(folder.path(), "letters").await;
    let project = folder.path().join("letters");
    let mut command = workshop::command(&project);
    let mut dev = Process::spawn("isomer dev", command.arg("dev"));
    dev.line_within(workshop::PATIENCE, "try          ").await;
    let call = async || {
        let called = node::run(&project, &["call", "letters.hello", r#"{"name":"Ada"}"#]).await;
        texts(&called).0.trim().to_owned()
    };
    // The node's control socket is where the command looks for it.
    assert_eq!(call().await, "\"Hello, Ada!\"");

    let source = project.join("src/lib.rs");
    edit(&source, "Hello, {}!", "Welcome, {}!");
    dev.line_within(workshop::PATIENCE, "service replaced").await;
    // That may have been a build which began before the edit.
    let changed = async { while call().await != "\"Welcome, Ada!\"" {} };
    wait::within(workshop::PATIENCE, "the edited service", changed).await;

    edit(&source, "params.name))", "params.name)");
    dev.line_within(workshop::PATIENCE, "the version before stays in service").await;
    assert!(dev.output().text().contains("delimiter"), "{}", dev.output().text());
    assert_eq!(call().await, "\"Welcome, Ada!\"");

    dev.signal(Signal::INT);
    assert_eq!(dev.exit().await.code(), Some(0), "{}", dev.output().text());
}

#[tokio::test]
async fn dev_attaches_to_the_node_on_this_machine() {
    let node = node::Node::start(&[], &[]).await;
    let folder = node.folder().to_owned();
    workshop::new_rust(&folder, "parcels").await;
    let mut command = workshop::command(&folder);
    let mut dev = Process::spawn("isomer dev", command.args(["dev", "parcels", "--attach"]));
    dev.line_within(workshop::PATIENCE, "is watched; Ctrl-C ends").await;
    assert!(node.services().join("parcels.wasm").is_file(), "{}", dev.output().text());
    dev.signal(Signal::TERM);
    assert_eq!(dev.exit().await.code(), Some(0));
    node.stop().await;
}

#[tokio::test]
async fn dev_serves_the_projects_of_a_folder_and_builds_only_what_has_changed() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["stamps", "clerks"] {
        workshop::new_rust(folder.path(), name).await;
    }
    std::fs::create_dir(folder.path().join("docs")).unwrap();
    // The second one begins with a mistake, which keeps nobody from using the first.
    let clerks = folder.path().join("clerks/src/lib.rs");
    edit(&clerks, "params.name))", "params.name)");
    let mut command = workshop::command(folder.path());
    let mut dev = Process::spawn("isomer dev", command.arg("dev"));
    dev.line_within(workshop::PATIENCE, "> 1 of 2 have errors: clerks").await;
    dev.line_within(workshop::PATIENCE, "try          ").await;
    let call = async |action: &str| {
        let called = node::run(folder.path(), &["call", action, r#"{"name":"Ada"}"#]).await;
        texts(&called).0.trim().to_owned()
    };
    assert_eq!(call("stamps.hello").await, "\"Hello, Ada!\"");

    edit(&clerks, "params.name)", "params.name))");
    dev.line_within(workshop::PATIENCE, "clerks is built").await;
    let served = async { while call("clerks.hello").await != "\"Hello, Ada!\"" {} };
    wait::within(workshop::PATIENCE, "the mended service", served).await;
    let built = dev.output().text().matches("stamps is built").count();
    assert_eq!(built, 1, "{}", dev.output().text());

    dev.signal(Signal::INT);
    assert_eq!(dev.exit().await.code(), Some(0), "{}", dev.output().text());
}

/// Plays a file against a component.
async fn play(component: &str, file: &File) -> Vec<Report> {
    let cache = tree::target().join("isomer-test-cache");
    let runtime = Runtime::new(RuntimeOptions::new(cache, "test".into())).unwrap();
    let bytes = std::fs::read(guests::wasm(component)).unwrap();
    let (service, broker) = (ServiceOptions::default(), BrokerOptions::default());
    let theatre = Theatre::new(runtime, bytes, service, broker).await.unwrap();
    let mut reports = Vec::new();
    for test in &file.test {
        reports.push(theatre.play(file, test).await);
    }
    reports
}

#[tokio::test]
async fn a_sample_is_played_without_its_neighbours() {
    let path = tree::top().join("sample-services/posts/tests/posts.toml");
    let reports = play("posts", &File::read(&path).unwrap()).await;
    assert_eq!(reports.len(), 3);
    for Report { name, problems, .. } in reports {
        assert!(problems.is_empty(), "{name}: {problems:#?}");
    }
}

#[tokio::test]
async fn what_was_not_expected_is_reported_with_its_step_and_its_cause() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("posts.json");
    let create = json!({"call": "create", "params": {"title": "a", "author": 1}});
    let test = json!({"name": "a", "steps": [{"call": "list", "expect": {"result": []}}, create]});
    std::fs::write(&path, json!({"test": [test]}).to_string()).unwrap();
    let reports = play("posts", &File::read(&path).unwrap()).await;
    let messages: Vec<_> =
        reports[0].problems.iter().filter_map(|problem| problem.message.as_deref()).collect();
    let expected = [
        "in step 2",
        "it failed: ServiceNotFoundError: Service 'v2.users.get' is not found.",
        "it called 'v2.users.get', for which there is no mock",
    ];
    assert_eq!(messages, expected);
}
