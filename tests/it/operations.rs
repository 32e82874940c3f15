//! What the operator is given: the unit for systemd, the recipe for an image, and the exit codes, as
//! `docs/operations.md` says them; and how long a node takes to start that has compiled everything before.

use std::collections::BTreeMap;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process::Stdio;

use rustix::process::Signal;
use serde_json::json;
use tests::place::Place;
use tests::process::Process;
use tests::{crafted, guests, node, tree, wait};

/// The unit that the documentation shows.
fn unit() -> String {
    let text = tree::read(&tree::top().join("docs/operations.md"));
    text.split("```ini\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap().to_owned()
}

/// The settings of the unit.
fn settings(unit: &str) -> BTreeMap<&str, &str> {
    unit.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('='))
        .collect()
}

#[test]
fn the_unit_fits_what_the_node_does() {
    let unit = unit();
    let settings = settings(&unit);
    assert_eq!(settings["Type"], "notify");
    assert_eq!(settings["RestartPreventExitStatus"], "2", "a bad configuration");
    // Where the node keeps what it keeps is made by systemd, for this node alone.
    let environment = settings["Environment"];
    for (variable, kind, above) in [
        ("XDG_CACHE_HOME", "CacheDirectory", "/var/cache"),
        ("XDG_STATE_HOME", "StateDirectory", "/var/lib"),
        ("XDG_RUNTIME_DIR", "RuntimeDirectory", "/run"),
    ] {
        let folder = format!("{above}/{}", settings[kind]);
        assert!(environment.contains(&format!("{variable}={folder}")), "{environment}");
        assert_eq!(settings[&*format!("{kind}Mode")], "0700", "others may not look into it");
    }
    let default = isomer_host::config::BrokerOptions::default().tracking.shutdown_timeout;
    let stop: u64 = settings["TimeoutStopSec"].parse().unwrap();
    assert!(default.as_secs() < stop, "the node ends by itself first");
}

/// Its command with the file that is named in it, which must be understood: `--help` ends after the parsing.
#[tokio::test]
async fn the_command_of_the_unit_is_understood() {
    let unit = unit();
    let command = settings(&unit)["ExecStart"];
    let mut words = command.split(' ');
    assert_eq!(words.next(), Some("/usr/local/bin/isomer"));
    let folder = tempfile::tempdir().unwrap();
    let args: Vec<&str> = words.chain(["--help"]).collect();
    let output = node::run(folder.path(), &args).await;
    assert!(output.status.success(), "{output:?}");
}

/// Where systemd is installed, it says itself what it thinks of the unit.
#[tokio::test]
async fn systemd_finds_nothing_wrong_with_the_unit() {
    let folder = tempfile::tempdir().unwrap();
    let binary = node::binary();
    let unit = unit().replace("/usr/local/bin/isomer", binary.to_str().unwrap());
    let file = folder.path().join("isomer.service");
    std::fs::write(&file, unit).unwrap();
    let analyze = |args: &'static [&'static str]| {
        let mut command = tokio::process::Command::new("systemd-analyze");
        command.args(args).arg(&file).stdin(Stdio::null()).output()
    };
    let Ok(verified) = analyze(&["verify", "--man=no"]).await else { return };
    let said = String::from_utf8_lossy(&verified.stderr).into_owned();
    let of_it: Vec<&str> = said.lines().filter(|line| line.contains("isomer.service")).collect();
    assert!(of_it.is_empty(), "{said}");
    // 10 is what a service without any hardening has.
    let exposed = analyze(&["security", "--offline=true", "--threshold=20"]).await.unwrap();
    assert!(exposed.status.success(), "{}", String::from_utf8_lossy(&exposed.stdout));
}

/// The lines of the Dockerfile, with those that go on put together.
fn dockerfile() -> Vec<String> {
    let text = tree::read(&tree::top().join("Dockerfile")).replace("\\\n", " ");
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

/// What follows an instruction, each time that it is there.
fn instructions<'a>(lines: &'a [String], name: &'a str) -> Vec<&'a str> {
    let of_it = move |line: &'a String| line.strip_prefix(name)?.strip_prefix(' ');
    lines.iter().filter_map(of_it).collect()
}

#[test]
fn the_dockerfile_names_what_is_there() {
    let lines = dockerfile();
    let toolchain = tree::read(&tree::top().join("rust-toolchain.toml"));
    let base = instructions(&lines, "FROM")[0];
    let version = base.strip_prefix("rust:").and_then(|rest| rest.split('-').next()).unwrap();
    assert!(toolchain.contains(&format!("channel = \"{version}.")), "{base}: {toolchain}");
    // Both stages have the same C library.
    let release = base.split(['-', ' ']).nth(1).unwrap();
    assert!(instructions(&lines, "FROM")[1].contains(release), "{lines:?}");
    let build = lines.iter().find(|line| line.contains("cargo build")).unwrap();
    assert!(build.contains("--locked -p isomer-host --bin isomer"), "{build}");
    assert!(tree::top().join("Cargo.lock").is_file());
    let manifest = tree::read(&tree::top().join("host/Cargo.toml"));
    assert!(manifest.contains("name = \"isomer-host\"") && manifest.contains("name = \"isomer\""));
    let copied = lines.iter().find(|line| line.starts_with("COPY --from=build")).unwrap();
    assert!(copied.contains("/src/target/release/isomer /usr/local/bin/isomer"), "{copied}");
    // What is built on the machine is no part of the image.
    let ignored = tree::read(&tree::top().join(".dockerignore"));
    assert!(ignored.lines().any(|line| line == "target"), "{ignored}");
    // Folders that the node must have for itself are the user's, since a node refuses those of others; and no
    // volumes, into which a later step of a build cannot write.
    let user = instructions(&lines, "USER")[0];
    let folders = lines.iter().find(|line| line.starts_with("RUN install --directory")).unwrap();
    for folder in [".cache/isomer", ".local/state/isomer"] {
        assert!(folders.contains(&format!("/home/{user}/{folder}")), "{folders}");
    }
    assert!(folders.contains("--mode=0700") && folders.contains(&format!("--owner={user}")));
    assert!(instructions(&lines, "VOLUME").is_empty());
}

/// What a container runs, but for the folder of its services.
#[tokio::test]
async fn the_command_of_the_image_starts_a_node_that_sigterm_stops() {
    let lines = dockerfile();
    let list = |name| serde_json::from_str::<Vec<String>>(instructions(&lines, name)[0]).unwrap();
    assert_eq!(list("ENTRYPOINT"), ["isomer"]);
    assert_eq!(list("CMD"), ["start", "/services"]);
    let place = Place::with_cache_of_all(&[("greeter", "greeter.wasm")]);
    let mut node = place.ready(&[]).await;
    node.signal(Signal::TERM);
    assert_eq!(node.exit().await.code(), Some(0));
}

/// A second signal does not wait for what runs.
#[tokio::test]
async fn a_second_signal_ends_what_runs_with_130() {
    let place = Place::with_cache_of_all(&[("kit", "kit.wasm")]);
    let mut node = place.ready(&["--set", "tracking.shutdownTimeout=60000"]).await;
    let params = json!({"calls": [
        {"action": "kit.waitFor", "params": {"services": ["nobody"]}},
        {"action": "kit.print", "params": {"text": "both run"}},
    ]});
    let mut command = node::command(place.path());
    command.args(["call", "kit.parallel", &params.to_string()]);
    let _call = Process::spawn("a call", &mut command);
    node.line("out: both run").await;
    node.signal(Signal::TERM);
    node.line("a second signal stops at once").await;
    node.signal(Signal::INT);
    assert_eq!(node.exit().await.code(), Some(130));
}

#[tokio::test]
async fn what_cannot_work_ends_with_2_and_what_failed_with_1() {
    let place = Place::with_cache_of_all(&[]);
    let ended = async |args: &[&str]| place.spawn(args).exit().await.code();
    assert_eq!(ended(&["--set", "requestTimeout=soon"]).await, Some(2));
    assert_eq!(ended(&["--config", "missing.toml"]).await, Some(2));
    assert_eq!(ended(&["missing.wasm"]).await, Some(2));
    assert_eq!(ended(&["--socket", "missing/folder/node.sock"]).await, Some(1));
}

/// A name that begins with @ is no file: containers and newer managers use such sockets.
#[tokio::test]
async fn a_service_manager_may_listen_at_a_name_without_a_file() {
    let name = format!("isomer-{}", isomer_host::uid::new());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let socket = UnixDatagram::bind_addr(&address).unwrap();
    socket.set_nonblocking(true).unwrap();
    let socket = tokio::net::UnixDatagram::from_std(socket).unwrap();
    let place = Place::with_cache_of_all(&[]);
    let mut command = place.command();
    command.args(["start", "services"]).env("NOTIFY_SOCKET", format!("@{name}"));
    let mut node = Process::spawn("isomer start", &mut command);
    let heard = async || {
        let mut buffer = [0; 512];
        let size = wait::for_result("a word", socket.recv(&mut buffer)).await.unwrap();
        String::from_utf8_lossy(&buffer[..size]).into_owned()
    };
    assert!(heard().await.starts_with("READY=1"));
    node.signal(Signal::TERM);
    // Without WATCHDOG_USEC nobody waits for signs of life.
    assert!(heard().await.starts_with("STOPPING=1"));
    assert!(node.exit().await.success());
}

/// No compiler could be done in a millisecond.
#[tokio::test]
async fn a_hundred_services_that_were_compiled_before_start_without_a_compiler() {
    const SERVICES: usize = 100;
    let place = Place::new(&[]);
    for n in 0..SERVICES {
        let component = crafted::Crafted::named(&format!("s{n}")).build();
        guests::put_bytes(&component, &place.services(), &format!("s{n}.wasm"));
    }
    let first = place.ready(&[]).await;
    drop(first);
    let node = place.ready(&["--set", "compile.timeout=1"]).await;
    let services = place.ask(&["services", "--json"]).await.unwrap();
    let rows = services.as_array().unwrap();
    let ours = rows.iter().filter(|row| row["isomer"]["file"].is_string());
    assert_eq!(ours.filter(|row| row["available"] == true).count(), SERVICES);
    assert!(!node.output().text().contains("cannot be used"), "{}", node.output().text());
}
