//! Configurations right and wrong, from file, environment and flags.

use std::fmt::Write as _;
use std::time::Duration;

use super::*;
use crate::config::limits::Limits;
use crate::config::log::Level;
use crate::config::options::ControlSocket;
use crate::config::{ServiceOptions, Strategy, Transporter, sidecar};

fn load_file(name: &str, text: &str, variables: &[(&str, &str)]) -> Result<NodeOptions, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    std::fs::write(&path, text).unwrap();
    let variables = variables.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
    let sources = Sources { file: Some(path), variables, flags: Vec::new() };
    let prefix = format!("{}/", dir.path().display());
    load(sources).map_err(|problems| problems.to_string().replace(&prefix, ""))
}

fn check_error(name: &str, text: &str, expected: &str) {
    assert_eq!(load_file(name, text, &[]).unwrap_err(), expected);
}

fn service(text: &str) -> Result<ServiceOptions, String> {
    sidecar::parse(Path::new("posts.toml"), text, &Limits::default())
        .map_err(|problems| problems.to_string())
}

#[test]
fn three_mistakes_are_reported_together_with_their_lines() {
    check_error(
        "isomer.toml",
        "namespace = \"dev\"\nrequestTimeot = 5\n\n[limits]\nmemory = \"64Mb5\"\n\n[tracking]\nenabled = \"yes\"\n",
        "3 problems in the configuration:\n  \
         isomer.toml:2: unknown option 'requestTimeot'; did you mean 'requestTimeout'?\n  \
         isomer.toml:5: limits.memory is \"64Mb5\"; allowed: bytes, or text such as \"64MiB\" (64 KiB to 4 GiB)\n  \
         isomer.toml:8: tracking.enabled is \"yes\"; allowed: true or false",
    );
}

#[test]
fn json_mistakes_have_lines_too() {
    check_error(
        "isomer.json",
        "{\n  // comment\n  \"nodeId\": \"a\",\n  \"registry\": {\n    \"strategy\": \"Robin\"\n  }\n}",
        "2 problems in the configuration:\n  \
         isomer.json:3: unknown option 'nodeId'; it is called 'nodeID'\n  \
         isomer.json:5: registry.strategy is \"Robin\"; allowed: \"RoundRobin\", \"Random\"",
    );
}

#[test]
fn broken_files_are_located() {
    check_error(
        "isomer.json",
        "{\n \"a\" 1\n}",
        "isomer.json:2: not valid JSON: Expected colon after the string or word in object property (column 6)",
    );
    check_error("isomer.json", "[1]", "isomer.json:1: the file holds a list; allowed: a table");
    check_error(
        "isomer.json",
        "{\"namespace\":\"a\",\n\"namespace\":\"b\"}",
        "isomer.json:2: 'namespace' is given twice in this object",
    );
    let error = load_file("isomer.toml", "a = 1\nb = \n", &[]).unwrap_err();
    assert!(error.starts_with("isomer.toml:2: not valid TOML: "), "{error}");
    check_error("isomer.yaml", "", "isomer.yaml: a configuration file ends with .toml or .json");
    check_error(
        "moleculer.config.js",
        "",
        "moleculer.config.js: JavaScript cannot be read; write the options as .toml or .json",
    );
}

#[test]
fn every_section_is_read() {
    let text = r#"
        namespace = "dev"
        nodeID = "n1"
        transporter = { type = "NATS", options = { url = "nats://a,nats://b", user = "u", pass = "p/w" } }
        heartbeatInterval = 0.5
        logLevel = "warn,posts=debug"
        logger = "json"
        controlSocket = "/run/x.sock"
        cacher = false
        serializer = "JSON"
        [registry]
        strategy = "random"
        [limits]
        timeout = "2s"
        [limits.instances]
        max = 4
        [metadata]
        region = "eu"
    "#;
    let node = load_file("isomer.toml", text, &[]).unwrap();
    assert_eq!(node.broker.node_id.as_deref(), Some("n1"));
    let urls = vec!["nats://u:p%2Fw@a".into(), "nats://u:p%2Fw@b".into()];
    assert_eq!(node.broker.transporter, Some(Transporter::Nats { urls }));
    assert_eq!(node.broker.heartbeat_interval, Duration::from_millis(500));
    assert_eq!(node.log_levels.of("posts"), Level::Debug);
    assert_eq!(node.control_socket, ControlSocket::At("/run/x.sock".into()));
    assert_eq!(node.broker.registry.strategy, Strategy::Random);
    assert_eq!(node.broker.limits.timeout, Duration::from_secs(2));
    assert_eq!(node.broker.limits.instances.max, 4);
    assert_eq!(node.broker.metadata["region"], "eu");
}

#[test]
fn the_environment_goes_over_the_file_and_flags_over_both() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("isomer.toml");
    std::fs::write(&path, "namespace = 'file'\nnodeID = 'file'\nrequestTimeout = 1\n").unwrap();
    let variables = [
        ("MOL_NODE_ID", "env"),
        ("MOL_NAMESPACE", "env"),
        ("MOL_TRACKING__ENABLED", "FALSE"),
        ("MOL_METADATA__RACK", "7"),
        ("MOLECULER_CONFIG", "ignored"),
    ];
    let flags = vec![Flag { option: "namespace", flag: "--namespace", text: "flag".into() }];
    let variables = variables.map(|(a, b)| (a.to_owned(), b.to_owned())).to_vec();
    let node = load(Sources { file: Some(path), variables, flags }).unwrap();
    assert_eq!(node.broker.namespace, "flag");
    assert_eq!(node.broker.node_id.as_deref(), Some("env"));
    assert_eq!(node.broker.request_timeout, Duration::from_millis(1));
    assert!(!node.broker.tracking.enabled);
    assert_eq!(node.broker.metadata["rack"], 7);
}

#[test]
fn mistakes_of_variables_and_flags_name_them() {
    let variables = vec![
        ("MOL_HEARTBEAT_INTERVAL".to_owned(), "ten".to_owned()),
        ("MOL_REQEST_TIMEOUT".to_owned(), "1".to_owned()),
    ];
    let flags = vec![Flag {
        option: "transporter",
        flag: "--transporter",
        text: "redis://me:secret@host".into(),
    }];
    let problems = load(Sources { file: None, variables, flags }).unwrap_err();
    let text = problems.to_string();
    assert!(text.contains("MOL_HEARTBEAT_INTERVAL: heartbeatInterval is \"ten\""), "{text}");
    assert!(
        text.contains(
            "MOL_REQEST_TIMEOUT: unknown option 'reqestTimeout'; did you mean 'requestTimeout'?"
        ),
        "{text}"
    );
    assert!(text.contains("--transporter: transporter is \"redis://***@host\" (this version does not offer transporter redis)"), "{text}");
    assert!(!text.contains("secret"), "{text}");
}

#[test]
fn values_that_contradict_each_other_are_found() {
    check_error(
        "isomer.toml",
        "\nheartbeatTimeout = 5\n[limits.instances]\nmin = 9\nmax = 3",
        "2 problems in the configuration:\n  \
         isomer.toml:2: heartbeatInterval (10s) must be shorter than heartbeatTimeout (5s), or every node is taken for lost\n  \
         isomer.toml:4: instances.min (9) must not be above instances.max (3)",
    );
}

#[test]
fn options_of_moleculer_that_are_missing_here_are_said_to_be() {
    check_error(
        "isomer.json",
        "{\"circuitBreaker\": {\"enabled\": true}, \"bulkhead\": {\"enabled\": false}}",
        "isomer.json:1: 'circuitBreaker' is an option of Moleculer that this version does not offer; remove it",
    );
}

#[test]
fn a_sidecar_goes_over_the_defaults() {
    let service = service(
        "mode = 'fresh'\n[instances]\nmax = 2\n[limits]\nmemory = '1MiB'\n[grants]\ncall = ['users.*']\nemit = []\n\
         [settings]\nrate = 3\n[env]\nREGION = 'eu'\nN = 5\n",
    )
    .unwrap();
    assert_eq!(service.limits.instances.max, 2);
    assert_eq!(service.limits.memory, 1 << 20);
    assert_eq!(service.limits.fuel, Limits::default().fuel);
    assert_eq!(service.grants.call.as_deref(), Some(&["users.*".to_owned()][..]));
    assert_eq!(service.grants.emit.as_deref(), Some(&[][..]));
    assert_eq!(service.settings["rate"], 3);
    assert_eq!(service.env["N"], "5");
}

#[test]
fn mistakes_of_a_sidecar_are_located() {
    let error = service("mod = 'fresh'\n[grant]\ncall = []\n[limits]\nfuel = -1\n").unwrap_err();
    assert_eq!(
        error,
        "3 problems in the configuration:\n  \
         posts.toml:1: unknown option 'mod'; did you mean 'mode'?\n  \
         posts.toml:2: unknown option 'grant'; did you mean 'grants'?\n  \
         posts.toml:5: limits.fuel is -1; allowed: a whole number of at least 1"
    );
}

/// The reference that `docs/configuration.md` holds between its markers.
fn reference() -> String {
    fn rows<T>(text: &mut String, entries: &[schema::Entry<T>], with_variable: bool) {
        for entry in entries {
            let default = match entry.default {
                "" => String::from("–"),
                default => format!("`{default}`"),
            };
            let name = entry.name;
            let variable = if with_variable {
                format!(" `{}` |", env::variable_of(name))
            } else {
                String::new()
            };
            let allowed = entry.kind.allowed();
            writeln!(text, "| `{name}` | {allowed} | {default} | {} |{variable}", entry.doc)
                .unwrap();
        }
    }
    let mut text = String::from(
        "\n### Options of a node\n\n| option | takes | default | meaning | variable |\n|---|---|---|---|---|\n",
    );
    rows(&mut text, &options::entries(), true);
    text.push_str(
        "\n### Options of a service\n\n| option | takes | default | meaning |\n|---|---|---|---|\n",
    );
    let own: Vec<_> =
        sidecar::entries().into_iter().filter(|entry| !entry.name.starts_with("limits.")).collect();
    rows(&mut text, &own, false);
    text.push_str(
        "| `limits.…` | as above | the node's | The same limits as those of a node. |\n\n",
    );
    text
}

#[test]
fn the_documented_defaults_are_the_defaults() {
    let standard = format!("{:?}", NodeOptions::default());
    for entry in options::entries().iter().filter(|entry| !entry.default.is_empty()) {
        let text = format!("{} = {}", entry.name, entry.default);
        let node = load_file("isomer.toml", &text, &[]).unwrap();
        assert_eq!(format!("{node:?}"), standard, "{text}");
    }
}

/// Run with `UPDATE_DOCS=1` to write the reference into the document.
#[test]
fn the_documentation_holds_every_option() {
    const BEGIN: &str = "<!-- options: written by the test config::load -->";
    const END: &str = "<!-- end of options -->";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
    let document = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = document.split_once(BEGIN).unwrap();
    let (present, after) = rest.split_once(END).unwrap();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, format!("{before}{BEGIN}{}{END}{after}", reference())).unwrap();
    } else {
        assert_eq!(present, reference(), "run this test with UPDATE_DOCS=1");
    }
}
