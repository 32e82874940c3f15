//! The commands and examples of the README, run as they stand with the real binary, and the answers that
//! a person gets to mistakes.

use std::process::Output;

use serde_json::{Value, json};
use tests::nats_server::NatsServer;
use tests::node::{self, Node};
use tests::{guests, tree, wait};

/// The lines of all code blocks of one language.
fn blocks(language: &str) -> Vec<String> {
    let text = tree::read(&tree::top().join("README.md"));
    let fence = format!("```{language}\n");
    text.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs a line of shell in the folder of a node.
async fn shell(node: &Node, line: &str) -> Output {
    let mut command = tokio::process::Command::new("bash");
    let plain = node::command(node.folder());
    let environment = plain.as_std().get_envs();
    command.env_clear().envs(environment.filter_map(|(key, value)| Some((key, value?))));
    command.args(["-c", line]).current_dir(node.folder()).kill_on_drop(true);
    wait::for_result(line, command.output()).await.unwrap()
}

#[tokio::test]
async fn the_commands_of_the_readme_work() {
    let node = Node::start_samples(&[]).await;
    let all: String = blocks("sh").concat();
    let calls: Vec<&str> = all.lines().filter(|line| line.starts_with("isomer ")).collect();
    // Lines that start nodes have tests of their own.
    let starts = ["isomer start", "isomer dev"];
    let calls: Vec<&str> = calls
        .into_iter()
        .filter(|line| !starts.iter().any(|start| line.starts_with(start)))
        .collect();
    assert!(calls.len() >= 5, "the README shows how to call: {calls:?}");
    for line in calls {
        let output = shell(&node, line).await;
        let expected = if line.contains("# an error") { 1 } else { 0 };
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(expected), "{line}\n{out}\n{err}");
        let shown = if expected == 0 { &out } else { &err };
        assert!(!shown.trim().is_empty(), "{line} says nothing");
    }
    let stopped = node.stop().await;
    assert!(!stopped.contains("panicked"), "{stopped}");
}

#[tokio::test]
async fn server_the_javascript_of_the_readme_works_both_ways() {
    let nats = NatsServer::start().await;
    let node = Node::start_samples(&["--transporter", &nats.url()]).await;
    // What `npm install moleculer nats` would bring, from the peers.
    let modules = node.folder().join("node_modules");
    std::fs::create_dir(&modules).unwrap();
    let installed = tree::top().join("tests/peers/node_modules");
    for (name, package) in [("moleculer", "moleculer-0.15"), ("nats", "nats")] {
        std::os::unix::fs::symlink(installed.join(package), modules.join(name)).unwrap();
    }
    let example = blocks("js").concat();
    assert!(example.contains("nats://127.0.0.1:4222"));
    let example = example.replace("nats://127.0.0.1:4222", &nats.url());
    let file = node.folder().join("example.js");
    std::fs::write(&file, example).unwrap();
    let mut command = tokio::process::Command::new("node");
    command.arg(file).current_dir(node.folder());
    let mut js = tests::process::Process::spawn("the README's JavaScript", &mut command);
    js.line("Hello JavaScript!").await;
    let shouted = wait::until("the JavaScript service", || async {
        let output = node.run(&["call", "shout.it", r#"{"text":"hello"}"#, "--json"]).await;
        output.status.success().then(|| text(&output.stdout))
    })
    .await;
    assert_eq!(shouted.trim(), "\"HELLO\"");
    // The client verbs in a mesh of their own making, without the socket.
    let url = nats.url();
    let args = ["call", "math.add", r#"{"a":1,"b":2}"#, "--json", "--transporter", &url];
    let output = node.run(&args).await;
    let sum: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(sum, json!(3.0), "{}", text(&output.stderr));
}

/// A command that must fail with this exit code, and every fragment in what it writes.
async fn check_mistake(node: &Node, args: &[&str], code: i32, fragments: &[&str]) {
    let output = node.run(args).await;
    let written = text(&output.stderr) + &text(&output.stdout);
    assert_eq!(output.status.code(), Some(code), "isomer {}\n{written}", args.join(" "));
    for fragment in fragments {
        assert!(
            written.contains(fragment),
            "isomer {}: '{fragment}' is missing in\n{written}",
            args.join(" ")
        );
    }
    assert!(!written.contains("panicked"), "{written}");
}

#[tokio::test]
async fn mistakes_get_helpful_answers() {
    let node = Node::start(&["greeter"], &[]).await;
    check_mistake(&node, &["call"], 2, &["ACTION"]).await;
    check_mistake(&node, &["cal", "greeter.hello"], 2, &["call"]).await;
    check_mistake(&node, &["call", "greeter.hello", "{name:1}"], 2, &["JSON"]).await;
    check_mistake(&node, &["call", "greeter.helo"], 1, &["greeter.helo", "greeter.hello"]).await;
    let wrong = ["call", "greeter.welcome", r#"{"nam":"Ada"}"#];
    check_mistake(&node, &wrong, 1, &["ValidationError", "422", "name"]).await;
    check_mistake(&node, &["start", "no-such-folder"], 2, &["no-such-folder"]).await;
    let config = "nodeIDD = 1\nrequestTimeout = \"soon\"\n[registry]\nstrategy = \"best\"\n";
    std::fs::write(node.folder().join("bad.toml"), config).unwrap();
    let places = ["bad.toml:1", "nodeID", "bad.toml:2", "requestTimeout", "bad.toml:4", "best"];
    check_mistake(&node, &["start", "services", "-c", "bad.toml"], 2, &places).await;
    std::fs::write(node.folder().join("text.wasm"), "hello").unwrap();
    check_mistake(&node, &["inspect", "text.wasm"], 1, &["text.wasm", "not a WebAssembly"]).await;
}

#[tokio::test]
async fn without_a_node_the_client_verbs_say_how_to_start_one() {
    let folder = tempfile::tempdir().unwrap();
    let output = node::run(folder.path(), &["call", "greeter.hello"]).await;
    let written = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{written}");
    for fragment in ["no node", "isomer start"] {
        assert!(written.contains(fragment), "{written}");
    }
}

#[tokio::test]
async fn a_component_is_inspected_without_a_node() {
    let folder = tempfile::tempdir().unwrap();
    let file = guests::put("greeter", folder.path(), "greeter.wasm");
    let output = node::run(folder.path(), &["inspect", file.to_str().unwrap(), "--json"]).await;
    let shown: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", text(&output.stderr)));
    assert!(shown.to_string().contains("greeter"), "{shown}");
    let output = node::run(folder.path(), &["compile", file.to_str().unwrap()]).await;
    assert!(output.status.success(), "{}", text(&output.stderr));
}

#[tokio::test]
async fn a_file_that_is_replaced_is_followed_by_the_real_node() {
    let node = Node::start(&["greeter"], &[]).await;
    let answer = async |version: &str| {
        wait::until(&format!("version {version}"), || async {
            let output = node.run(&["call", "swapper.version", "--json"]).await;
            (text(&output.stdout).trim() == version).then_some(())
        })
        .await;
    };
    // The node was given the folder as `services`, not by its full path.
    guests::put("swapper_v1", &node.services(), "swapper.wasm");
    answer("1").await;
    guests::put("swapper_v2", &node.services(), "swapper.wasm");
    answer("2").await;
    let file = node.services().join("swapper.wasm");
    std::fs::write(&file, "this is no component").unwrap();
    wait::until("the reason in the list of services", || async {
        let output = node.run(&["services"]).await;
        text(&output.stdout).contains("not a WebAssembly").then_some(())
    })
    .await;
    answer("2").await;
    std::fs::remove_file(&file).unwrap();
    wait::until("the service to be gone", || async {
        let output = node.run(&["call", "swapper.version"]).await;
        text(&output.stderr).contains("SERVICE_NOT_FOUND").then_some(())
    })
    .await;
    node.stop().await;
}

#[tokio::test]
async fn every_sample_is_in_service_after_make_run() {
    let node = Node::start_samples(&[]).await;
    let output = node.run(&["services", "--json"]).await;
    let listed: Value = serde_json::from_slice(&output.stdout).unwrap();
    let names: Vec<&str> =
        listed.as_array().unwrap().iter().filter_map(|row| row["fullName"].as_str()).collect();
    for sample in ["greeter", "math", "posts", "v2.users", "mailer", "crunch", "files"] {
        assert!(names.contains(&sample), "{sample} is missing in {names:?}");
    }
    // One file for each folder, whatever the service is called: "users" is version 2.
    assert_eq!(names.len(), guests::samples().len());
    let created = node.run(&["call", "posts.create", r#"{"title":"First","author":1}"#]).await;
    assert!(created.status.success(), "{}", text(&created.stderr));
    let seen = wait::until("the mailer to see the post", || async {
        let output = node.run(&["call", "mailer.stats", "--json"]).await;
        let stats: Value = serde_json::from_slice(&output.stdout).unwrap();
        (stats["seen"]["post.created"] == 1).then_some(stats)
    })
    .await;
    assert_eq!(seen["sent"], 0);
}
