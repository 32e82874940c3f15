//! Configurations right and wrong, from file, environment and flags.

use std::fmt::Write as _;
use std::time::Duration;

use super::*;
use crate::config::BrokerOptions;
use crate::config::cacher::{CacheLock, CacheStore};
use crate::config::discoverer::Finder;
use crate::config::faults::ErrorCheck;
use crate::config::limits::Limits;
use crate::config::log::{Format, Level};
use crate::config::metrics::ReporterKind;
use crate::config::names::Answer;
use crate::config::older::Older;
use crate::config::options::ControlSocket;
use crate::config::tracing::{Receiver, TraceExporter};
use crate::config::{
    Bulkhead, Cacher, CircuitBreaker, RetryPolicy, Serializer, ServiceOptions, Strategy,
    Transporter, Validator, sidecar,
};

fn load_file(name: &str, text: &str, variables: &[(&str, &str)]) -> Result<NodeOptions, String> {
    configuration(name, text, variables).map(|configuration| configuration.options)
}

fn configuration(
    name: &str,
    text: &str,
    variables: &[(&str, &str)],
) -> Result<Configuration, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    std::fs::write(&path, text).unwrap();
    let variables = variables.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
    let sources = Sources { file: Some(path), variables, ..Sources::default() };
    let prefix = format!("{}/", dir.path().display());
    load(sources).map_err(|problems| problems.to_string().replace(&prefix, ""))
}

/// The warnings of a configuration without mistakes, without their places.
fn warnings(json: &str) -> Vec<String> {
    let configuration = configuration("isomer.json", json, &[]).unwrap();
    configuration.warnings.into_iter().map(|warning| warning.message).collect()
}

/// What is in force: name, value and origin in one line each, defaults left out.
fn changed(configuration: &Configuration) -> Vec<String> {
    let changed = configuration.effective().into_iter().filter(|one| one.origin.is_some());
    changed
        .map(|one| {
            let origin = match one.origin.unwrap() {
                Place::File { line, .. } => format!("line {line}"),
                place => place.to_string(),
            };
            format!("{} = {} ({origin})", one.name, one.value)
        })
        .collect()
}

fn check_error(name: &str, text: &str, expected: &str) {
    assert_eq!(load_file(name, text, &[]).unwrap_err(), expected);
}

fn service(text: &str) -> Result<ServiceOptions, String> {
    sidecar::parse(Path::new("posts.toml"), text, &BrokerOptions::default())
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
         isomer.json:5: registry.strategy is \"Robin\"; allowed: \"RoundRobin\", \"Random\", \"CpuUsage\", \"Latency\", \"Shard\"",
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
    let settings = vec![("requestTimeout".to_owned(), "2s".to_owned())];
    let node = load(Sources { file: Some(path), variables, settings, flags }).unwrap().options;
    assert_eq!(node.broker.namespace, "flag");
    assert_eq!(node.broker.node_id.as_deref(), Some("env"));
    assert_eq!(node.broker.request_timeout, Duration::from_secs(2));
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
        text: "stan://me:secret@host".into(),
    }];
    let problems = load(Sources { variables, flags, ..Sources::default() }).unwrap_err();
    let text = problems.to_string();
    assert!(text.contains("MOL_HEARTBEAT_INTERVAL: heartbeatInterval is \"ten\""), "{text}");
    assert!(
        text.contains(
            "MOL_REQEST_TIMEOUT: unknown option 'reqestTimeout'; did you mean 'requestTimeout'?"
        ),
        "{text}"
    );
    assert!(text.contains("--transporter: transporter is \"stan://***@host\" (this version does not offer transporter stan)"), "{text}");
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
fn a_serializer_is_chosen_by_name_in_any_case_or_by_a_table() {
    let check = |text: &str, expected: Serializer| {
        let node = load_file("isomer.json", text, &[]).unwrap();
        assert_eq!(node.broker.serializer, expected, "{text}");
    };
    check("{}", Serializer::Json);
    check(r#"{"serializer": null}"#, Serializer::Json);
    check(r#"{"serializer": "jsonext"}"#, Serializer::JsonExt);
    check(r#"{"serializer": "MSGPACK"}"#, Serializer::MsgPack);
    check(r#"{"serializer": {"type": "Notepack"}}"#, Serializer::Notepack);
    check(
        r#"{"serializer": {"type": "CBOR", "options": {"useRecords": false, "useTag259ForMaps": false}}}"#,
        Serializer::Cbor,
    );
    let node = load_file("isomer.json", "{}", &[("MOL_SERIALIZER", "cbor")]).unwrap();
    assert_eq!(node.broker.serializer, Serializer::Cbor);
    let refused = |text: &str, reason: &str| {
        let error = load_file("isomer.json", text, &[]).unwrap_err();
        assert!(error.contains(reason), "{error}");
    };
    refused(r#"{"serializer": "Avro"}"#, "dropped it with 0.15");
    refused(r#"{"serializer": "Thrift"}"#, "dropped it with 0.15");
    refused(r#"{"serializer": "MsgPak"}"#, "did you mean 'MsgPack'?");
    refused(r#"{"serializer": 5}"#, "not the name of a serializer");
    refused(
        r#"{"serializer": {"type": "CBOR", "options": {"useRecords": true}}}"#,
        "'useRecords' can only be false",
    );
    refused(r#"{"serializer": {"type": "JSONExt", "options": {"customs": []}}}"#, "functions");
    refused(r#"{"serializer": {"type": "JSON", "options": {"x": 1}}}"#, "option 'x'");
}

#[test]
fn options_of_moleculer_that_are_not_read_are_answered() {
    check_error(
        "isomer.json",
        "{\"errorHandler\": \"x\", \"uidGenerator\": null, \"transit\": {\"maxChunkSize\": 262144},\n\
         \"contextParamsCloning\": true, \"serializer\": \"ProtoBuf\"}",
        "2 problems in the configuration:\n  \
         isomer.json:1: 'errorHandler' is an option of Moleculer that is not offered \
         (a function; a middleware sees, changes and answers errors); remove it\n  \
         isomer.json:2: serializer.type is \"ProtoBuf\" (Moleculer itself has dropped it with 0.15, and it is not offered here); \
         allowed: \"JSON\", \"JSONExt\", \"MsgPack\", \"Notepack\" or \"CBOR\"",
    );
    assert_eq!(
        warnings("{\"maxSafeObjectSize\": 5, \"replOptions\": null}"),
        ["'maxSafeObjectSize' changes nothing: log lines are cut at `limits.logLine`",]
    );
}

#[test]
fn every_answer_accepts_what_asks_for_nothing() {
    for answered in &names::ANSWERED {
        let (start, end): (String, String) =
            answered.name.split('.').map(|key| (format!("{{\"{key}\":"), "}")).unzip();
        let json = format!("{start}null{end}");
        assert!(warnings(&json).is_empty(), "{json}");
    }
}

#[test]
fn switches_of_the_mesh_are_read() {
    let node = load_file(
        "isomer.json",
        r#"{
            "transit": {"disableReconnect": true, "disableVersionCheck": true, "maxQueueSize": 7},
            "registry": {
                "strategy": "cpuusage", "strategyOptions": {"lowCpuUsage": 20, "sampleCount": 0, "cacheSize": 9},
                "discoverer": {"type": "Local", "options": {"heartbeatInterval": 1, "heartbeatTimeout": 3,
                    "disableHeartbeatChecks": true, "cleanOfflineNodesTimeout": 60}},
                "stopDelay": 0, "preferLocal": false
            },
            "internalServices": {"$node": {"metadata": {"a": 1}}}, "localOnlyDollarEvents": true,
            "metrics": true, "middlewares": ["auth", "audit"], "middlewareDir": "guards"
        }"#,
        &[],
    )
    .unwrap()
    .broker;
    assert!(node.transit.disable_reconnect && node.transit.disable_version_check);
    assert_eq!(node.registry.strategy, Strategy::CpuUsage);
    assert_eq!(node.registry.strategy_options.sample_count, Some(0));
    assert!((node.registry.strategy_options.low_cpu_usage - 20.0).abs() < 1e-9);
    assert_eq!(node.heartbeat_timeout, Duration::from_secs(3));
    assert!(node.registry.discoverer.disable_heartbeat_checks);
    assert_eq!(node.registry.discoverer.clean_offline_nodes_timeout, Duration::from_secs(60));
    assert_eq!(node.internal_schema["metadata"]["a"], 1);
    assert!(node.internal_services && node.local_only_dollar_events && node.metrics.enabled);
    assert_eq!(node.middlewares, ["auth", "audit"]);
    assert_eq!(node.middleware_dir.as_deref(), Some(Path::new("guards")));
}

#[test]
fn fault_tolerance_is_read() {
    let node = load_file(
        "isomer.json",
        r#"{
            "retryPolicy": {"enabled": true, "retries": 2, "delay": "50ms", "maxDelay": 200, "factor": 1.5,
                "check": {"retryable": true, "codes": [503], "types": ["X"]}},
            "circuitBreaker": {"enabled": true, "threshold": 0.3, "windowTime": 30, "minRequestCount": 5,
                "halfOpenTime": 2000, "check": {"minCode": 400, "names": "RequestTimeoutError"}},
            "bulkhead": {"enabled": true, "concurrency": 3, "maxQueueSize": 0}
        }"#,
        &[],
    )
    .unwrap()
    .broker;
    assert_eq!(
        node.retry_policy,
        RetryPolicy {
            enabled: true,
            retries: 2,
            delay: Duration::from_millis(50),
            max_delay: Duration::from_millis(200),
            factor: 1.5,
            check: ErrorCheck {
                retryable: true,
                codes: vec![503],
                types: vec!["X".into()],
                ..ErrorCheck::default()
            },
        }
    );
    assert_eq!(
        node.circuit_breaker,
        CircuitBreaker {
            enabled: true,
            threshold: 0.3,
            window_time: Duration::from_secs(30),
            min_request_count: 5,
            half_open_time: Duration::from_secs(2),
            check: ErrorCheck {
                min_code: Some(400),
                names: vec!["RequestTimeoutError".into()],
                ..ErrorCheck::default()
            },
            ..CircuitBreaker::default()
        }
    );
    assert_eq!(node.bulkhead, Bulkhead { enabled: true, concurrency: 3, max_queue_size: 0 });
    let variables = [
        ("MOL_RETRY_POLICY__CHECK__CODES", "503,504"),
        ("MOL_RETRY_POLICY__CHECK__MIN_CODE", "-1"),
    ];
    let check = load_file("isomer.toml", "", &variables).unwrap().broker.retry_policy.check;
    assert_eq!(check.codes, [503, 504]);
    assert_eq!(check.min_code, Some(-1));
    check_error(
        "isomer.json",
        "{\"retryPolicy\": {\"check\": {\"code\": 5}}, \"circuitBreaker\": {\"threshold\": 2}}",
        "2 problems in the configuration:\n  \
         isomer.json:1: circuitBreaker.threshold is 2; allowed: a number from 0 to 1\n  \
         isomer.json:1: retryPolicy.check is a table (there is no 'code'); allowed: a table with some of \
         retryable (true or false), minCode, codes, types, names; an error that has one of these properties \
         counts",
    );
}

#[test]
fn every_form_of_the_discoverer_is_read() {
    let finder = |json: &str| {
        let json = format!("{{\"registry\": {{\"discoverer\": {json}}}}}");
        load_file("isomer.json", &json, &[]).unwrap().broker.registry.discoverer.finder
    };
    let redis = |urls: &[&str], cluster, scan_length| Finder::Redis {
        urls: urls.iter().map(|url| (*url).to_owned()).collect(),
        cluster,
        scan_length,
    };
    let etcd = |hosts: &[&str], login: Option<(&str, &str)>| Finder::Etcd3 {
        hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
        login: login.map(|(name, password)| (name.to_owned(), password.to_owned())),
    };
    for local in ["null", "\"local\"", "{\"type\": \"Local\"}", "{\"options\": {}}"] {
        assert_eq!(finder(local), Finder::Local, "{local}");
    }
    assert_eq!(finder("\"Redis\""), redis(&["redis://localhost:6379"], false, 100));
    assert_eq!(finder("\"rediss://:p@h/2\""), redis(&["rediss://:p@h/2"], false, 100));
    assert_eq!(
        finder(
            "{\"type\": \"redis\", \"options\": {\"redis\": {\"host\": \"h\"}, \"scanLength\": 7, \"fullCheck\": 3}}"
        ),
        redis(&["redis://h:6379/0"], false, 7)
    );
    assert_eq!(
        finder(
            "{\"type\": \"Redis\", \"options\": {\"cluster\": {\"nodes\": [\"redis://a\", \"redis://b\"]}}}"
        ),
        redis(&["redis://a", "redis://b"], true, 100)
    );
    assert_eq!(finder("\"etcd3\""), etcd(&["localhost:2379"], None));
    assert_eq!(finder("\"etcd3://a:1, etcd3://b\""), etcd(&["a:1", "b"], None));
    assert_eq!(
        finder(
            "{\"type\": \"Etcd3\", \"options\": {\"serializer\": \"JSON\", \"etcd\": {\"hosts\": [\"https://a\"], \
             \"auth\": {\"username\": \"u\", \"password\": \"p\"}}}}"
        ),
        etcd(&["https://a"], Some(("u", "p")))
    );
    check_error(
        "isomer.json",
        "{\"registry\": {\"discoverer\": {\"type\": \"Redis\", \"options\": {\"serializer\": \"CBORX\"}}}}",
        "isomer.json:1: registry.discoverer.options.serializer is \"CBORX\" (not the name of a serializer; did you mean \
         'CBOR'?); allowed: \"JSON\", \"JSONExt\", \"MsgPack\", \"Notepack\" or \"CBOR\"",
    );
    check_error(
        "isomer.json",
        "{\"registry\": {\"discoverer\": {\"type\": \"etcd3://u:secret@h\", \"options\": {\"scanLength\": 1}}}}",
        "2 problems in the configuration:\n  \
         isomer.json:1: registry.discoverer.options.scanLength is 1 (only a discoverer of type Redis has it); \
         allowed: a whole number of at least 1\n  \
         isomer.json:1: registry.discoverer.type is \"etcd3://***@h\" (an address is a host with its port); allowed: \
         \"Local\", \"Redis\", \"redis://host:6379\", \"Etcd3\" or \"etcd3://host:2379\"",
    );
}

#[test]
fn exporters_of_spans_are_read_with_variables_below_their_options() {
    let exporters = |json: &str, variables: &[(&str, &str)]| {
        let json = format!("{{\"tracing\": {{\"exporter\": {json}}}}}");
        load_file("isomer.json", &json, variables).map(|node| node.broker.tracing.exporters)
    };
    let address = |json: &str, variables: &[(&str, &str)]| {
        let exporters = exporters(json, variables).unwrap();
        let [TraceExporter::Upload(upload)] = &exporters[..] else { panic!("{exporters:?}") };
        match &upload.to {
            Receiver::Zipkin { base_url: url, .. }
            | Receiver::NewRelic { base_url: url, .. }
            | Receiver::Otlp { url, .. }
            | Receiver::Datadog { url, .. } => url.to_string(),
            Receiver::Jaeger(jaeger) => format!("{}:{}", jaeger.host, jaeger.port),
        }
    };
    assert_eq!(address("\"zipkin\"", &[]), "http://localhost:9411");
    let zipkin = [("ZIPKIN_URL", "http://z:1"), ("DD_AGENT_URL", "")];
    assert_eq!(address("\"Zipkin\"", &zipkin), "http://z:1");
    assert_eq!(
        address("{\"type\": \"Zipkin\", \"options\": {\"interval\": 1}}", &zipkin),
        "http://z:1"
    );
    let written = "{\"type\": \"Zipkin\", \"options\": {\"baseURL\": \"http://w\"}}";
    assert_eq!(address(written, &zipkin), "http://w:80");
    assert_eq!(address("[\"Jaeger\"]", &zipkin), "127.0.0.1:6832");
    assert_eq!(address("\"DatadogSimple\"", &zipkin), "http://localhost:8126/v0.4/traces");
    let otel = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://o:1"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://o:2/t"),
    ];
    assert_eq!(address("\"OTLP\"", &otel[..1]), "http://o:1/v1/traces");
    assert_eq!(address("\"OpenTelemetry\"", &otel), "http://o:2/t");
    let written = "{\"type\": \"OTLP\", \"options\": {\"endpoint\": \"http://w:1\"}}";
    assert_eq!(address(written, &otel), "http://w:1/v1/traces");

    let both = exporters("[\"Console\", {\"type\": \"Zipkin\"}]", &zipkin).unwrap();
    assert_eq!(both.len(), 2);
    let refused = |json: &str, cause: &str| {
        let error = exporters(json, &[]).unwrap_err();
        assert!(error.contains(cause), "{error}");
    };
    refused("\"Zipkn\"", "did you mean 'Zipkin'?");
    refused("\"EventLegacy\"", "\"Event\" sends the same spans");
    refused("\"NewRelic\"", "no 'insertKey'");
}

#[test]
fn the_datadog_reporter_needs_a_key_which_nobody_is_shown() {
    let json = "{\"metrics\": {\"reporter\": [\"Console\", \"datadog\"]}}";
    let error = load_file("isomer.json", json, &[]).unwrap_err();
    assert!(error.contains("environment variable DATADOG_API_KEY"), "{error}");
    let found = configuration("isomer.json", json, &[("DATADOG_API_KEY", "secret")]).unwrap();
    let reporter = &found.options.broker.metrics.reporters[1];
    assert_eq!(reporter.interval.as_secs(), 10);
    let ReporterKind::Datadog { url, api_key, host: None, .. } = &reporter.kind else {
        panic!("{reporter:?}");
    };
    assert_eq!(url.to_string(), "https://api.datadoghq.com:443/api/v1/series");
    assert_eq!(api_key, "secret");
    let json = "{\"tracing\": {\"exporter\": [{\"type\": \"NewRelic\", \"options\": {\"insertKey\": \"secret\"}}, \
        {\"type\": \"Zipkin\", \"options\": {\"headers\": {\"X-Team\": \"secret\"}}}]}}";
    for shown in [&found, &configuration("isomer.json", json, &[]).unwrap()].map(changed) {
        let text = shown.join("\n");
        assert!(text.contains("***") && !text.contains("secret"), "{text}");
    }
    let refused = |options: &str, cause: &str| {
        let json = format!(
            "{{\"metrics\": {{\"reporter\": {{\"type\": \"Datadog\", \"options\": {options}}}}}}}"
        );
        let error = load_file("isomer.json", &json, &[]).unwrap_err();
        assert!(error.contains(cause) && !error.contains("secret"), "{error}");
    };
    refused("{\"apiKey\": \"secret\", \"apiVersion\": \"v2\"}", "'apiVersion' is not \"v1\"");
    refused("{\"apiKey\": \"secret\", \"baseUrl\": \"ftp://h/\"}", "'baseUrl' is not an address");
    refused("{\"apiKey\": \"secret\", \"hosts\": \"h\"}", "did you mean 'host'?");
}

#[test]
fn every_form_of_the_redis_transporter_is_read() {
    let read = |json: &str| {
        let loaded = load_file("isomer.json", &format!("{{\"transporter\": {json}}}"), &[]);
        match loaded.map(|node| node.broker.transporter) {
            Ok(Some(Transporter::Redis { urls })) => urls.join(" "),
            Ok(other) => format!("{other:?}"),
            Err(error) => error,
        }
    };
    assert_eq!(read("\"Redis\""), "redis://localhost:6379");
    assert_eq!(read("{\"type\": \"redis\"}"), "redis://localhost:6379");
    assert_eq!(read("\"rediss://:p@h:1/2\""), "rediss://:p@h:1/2");
    assert_eq!(read("{\"type\": \"Redis\", \"options\": \"redis://h\"}"), "redis://h");
    assert_eq!(
        read(
            "{\"type\": \"Redis\", \"options\": {\"host\": \"h\", \"port\": 1, \"password\": \"p@\", \"tls\": {}}}"
        ),
        "rediss://:p%40@h:1/0"
    );
    assert_eq!(
        read(
            "{\"type\": \"Redis\", \"options\": {\"cluster\": {\"nodes\": [{\"host\": \"a\"}, {\"host\": \"b\", \"port\": 7}]}}}"
        ),
        "redis://a:6379/0 redis://b:7/0"
    );
    let refused = |json: &str, cause: &str| {
        let error = read(&format!("{{\"type\": \"Redis\", \"options\": {json}}}"));
        assert!(error.contains(cause) && !error.contains("secret"), "{error}");
    };
    refused("{\"hosts\": \"h\"}", "did you mean 'host'?");
    refused("{\"port\": 99999, \"password\": \"secret\"}", "the port is not a number");
    refused("{\"cluster\": {\"nodes\": []}}", "not a list of nodes");
    refused("{\"cluster\": {}}", "the cluster has no nodes");
    refused("{\"host\": \"h\", \"cluster\": {\"nodes\": [\"redis://h\"]}}", "belongs to each");
    refused(
        "{\"cluster\": {\"nodes\": [\"redis://h\"], \"clusterOptions\": {}}}",
        "clusterOptions",
    );
}

#[test]
fn every_form_of_the_cacher_is_read() {
    let cacher = |json: &str| {
        load_file("isomer.json", &format!("{{\"cacher\": {json}}}"), &[]).unwrap().broker.cacher
    };
    let redis = |url: &str| CacheStore::Redis {
        urls: vec![url.to_owned()],
        cluster: false,
        prefix: None,
        ping_interval: None,
    };
    for off in ["null", "false", "\"\"", "{\"type\": false, \"options\": {\"max\": 5}}"] {
        assert_eq!(cacher(off), None, "{off}");
    }
    for memory in
        ["true", "\"memory\"", "{\"type\": \"Memory\"}", "{\"options\": {\"clone\": true}}"]
    {
        assert_eq!(cacher(memory), Some(Cacher::default()), "{memory}");
    }
    let store = |json: &str| cacher(json).unwrap().store;
    assert_eq!(store("\"MemoryLRU\""), CacheStore::MemoryLru { max: 1_000 });
    assert_eq!(
        store("{\"options\": {\"max\": 7}, \"type\": \"memorylru\"}"),
        CacheStore::MemoryLru { max: 7 }
    );
    assert_eq!(store("\"Redis\""), redis("redis://localhost:6379"));
    assert_eq!(store("\"rediss://:p@h/2\""), redis("rediss://:p@h/2"));
    assert_eq!(
        store(
            "{\"type\": \"Redis\", \"options\": {\"redis\": {\"host\": \"h\", \"password\": \"p/w\", \"db\": 1}}}"
        ),
        redis("redis://:p%2Fw@h:6379/1")
    );
    assert_eq!(
        store(
            "{\"type\": \"Redis\", \"options\": {\"cluster\": {\"nodes\": [{\"host\": \"a\"}, \"redis://b\"]}, \
             \"prefix\": \"X-\", \"pingInterval\": 5000}}"
        ),
        CacheStore::Redis {
            urls: vec!["redis://a:6379/0".into(), "redis://b".into()],
            cluster: true,
            prefix: Some("X-".into()),
            ping_interval: Some(Duration::from_secs(5)),
        }
    );
    assert_eq!(
        cacher(
            "{\"options\": {\"ttl\": 0.5, \"maxParamsLength\": 60, \"maxBytes\": \"1MiB\", \
             \"lock\": {\"ttl\": 2, \"staleTime\": 1}}}"
        ),
        Some(Cacher {
            store: CacheStore::Memory,
            ttl: Some(Duration::from_millis(500)),
            max_params_length: Some(60),
            max_bytes: 1 << 20,
            lock: CacheLock {
                enabled: true,
                ttl: Duration::from_secs(2),
                stale_time: Some(Duration::from_secs(1)),
            },
        })
    );
    check_error(
        "isomer.json",
        "{\"cacher\": {\"type\": \"Memory\", \"options\": {\"max\": 5, \"redis\": \"me:secret@h\"}}}",
        "2 problems in the configuration:\n  \
         isomer.json:1: cacher.options.max is 5 (only a cacher of type MemoryLRU has it); \
         allowed: a whole number of at least 1\n  \
         isomer.json:1: cacher.options.redis is \"***@h\" (an address begins with redis:// or rediss://); \
         allowed: an address, or a table with host, port, username, password, db, tls",
    );
}

#[test]
fn every_form_of_the_validator_is_read() {
    let validator = |json: &str| {
        load_file("isomer.json", &format!("{{\"validator\": {json}}}"), &[])
            .unwrap()
            .broker
            .validator
    };
    assert_eq!(validator("true"), Validator::default());
    assert_eq!(validator("\"fastest\""), Validator::default());
    assert_eq!(validator("false"), Validator::Off);
    assert_eq!(validator("null"), Validator::Off);
    assert_eq!(validator("{\"type\": \"JsonSchema\"}"), Validator::JsonSchema);
    let Validator::Fastest(options) = validator(
        "{\"options\": {\"haltOnFirstError\": true, \"messages\": {\"required\": \"Needed!\"}, \
         \"aliases\": {\"name\": \"string|min:3\"}, \"defaults\": {\"object\": {\"strict\": true}}}}",
    ) else {
        panic!("not Fastest")
    };
    assert!(options.halt_on_first_error);
    assert_eq!(options.messages["required"], "Needed!");
    assert_eq!(options.aliases["name"], "string|min:3");
    assert_eq!(options.defaults["object"]["strict"], true);
}

#[test]
fn every_form_of_the_logger_is_read() {
    let log = |json: &str| {
        let node = load_file("isomer.json", &format!("{{\"logger\": {json}}}"), &[]).unwrap();
        (node.log_format, node.log_levels.default)
    };
    for off in ["false", "null"] {
        assert_eq!(log(off), (Format::Full, Level::Off), "{off}");
    }
    for full in ["true", "\"Console\"", "\"full\"", "[{\"type\": \"Console\"}]"] {
        assert_eq!(log(full), (Format::Full, Level::Info), "{full}");
    }
    for json in ["\"json\"", "\"Pino\"", "{\"options\": {\"formatter\": \"jsonext\"}}"] {
        assert_eq!(log(json), (Format::Json, Level::Info), "{json}");
    }
    assert_eq!(
        log(
            "{\"type\": \"Console\", \"options\": {\"formatter\": \"short\", \"level\": \"warn\"}}"
        ),
        (Format::Short, Level::Warn)
    );
}

#[test]
fn an_old_file_is_accepted_as_it_is() {
    // The options of Moleculer 0.12's documentation.
    let json = r#"{
        "namespace": "dev", "nodeID": "node-1", "logger": true, "logLevel": "info",
        "logFormatter": "default", "transporter": "nats://localhost:4222", "requestTimeout": 5000,
        "requestRetry": 3, "maxCallLevel": 100, "heartbeatInterval": 5, "heartbeatTimeout": 15,
        "trackContext": true, "gracefulStopTimeout": 2000, "disableBalancer": false,
        "registry": {"strategy": "RoundRobinStrategy", "preferLocal": true},
        "circuitBreaker": {"enabled": true, "maxFailures": 3, "halfOpenTime": 10000,
            "failureOnTimeout": true, "failureOnReject": true},
        "transit": {"maxQueueSize": 50000}, "cacher": "memory", "serializer": null, "validation": true,
        "metricsRate": 1, "internalServices": true, "hotReload": false, "replCommands": null
    }"#;
    let configuration = configuration("isomer.json", json, &[]).unwrap();
    let node = &configuration.options.broker;
    assert!(node.retry_policy.enabled && node.retry_policy.retries == 3);
    assert_eq!(node.circuit_breaker.max_failures, Some(3));
    assert!(node.circuit_breaker.count_timeouts && node.tracking.enabled);
    assert_eq!(node.cacher, Some(Cacher::default()));
    let named: Vec<&str> = configuration
        .warnings
        .iter()
        .map(|warning| warning.message.split('\'').nth(1).unwrap())
        .collect();
    let expected = [
        "circuitBreaker.failureOnReject",
        "circuitBreaker.failureOnTimeout",
        "circuitBreaker.maxFailures",
        "gracefulStopTimeout",
        "logFormatter",
        "metricsRate",
        "registry.strategy = \"…Strategy\"",
        "replCommands",
        "requestRetry",
        "trackContext",
        "validation",
    ];
    let mut named = named;
    named.sort_unstable();
    assert_eq!(named, expected);
}

#[test]
fn the_defaults_of_0_12_lie_below_everything_else() {
    let configuration =
        configuration("isomer.toml", "heartbeatTimeout = 20", &[("MOL_COMPAT", "0.12")]).unwrap();
    assert_eq!(configuration.options.broker.heartbeat_interval, Duration::from_secs(5));
    assert_eq!(configuration.options.broker.heartbeat_timeout, Duration::from_secs(20));
    let changed = changed(&configuration);
    assert!(
        changed.contains(&"heartbeatInterval = 5 (compat = \"0.12\")".to_owned()),
        "{changed:?}"
    );
}

#[test]
fn variables_without_the_prefix_are_read_as_moleculer_s_runner_does() {
    let variables = [
        ("LOGLEVEL", "debug"),
        ("CIRCUITBREAKER_ENABLED", "TRUE"),
        ("CACHER", "Memory"),
        ("REQUESTRETRY", "2"),
        ("NAMESPACE", "plain"),
        ("MOL_NAMESPACE", "prefixed"),
        ("LIMITS_MODE", "another program's"),
        ("METADATA", ""),
        ("MOL_METADATA", "{\"rack\": 7}"),
    ];
    let node = load_file("isomer.toml", "logLevel = 'error'", &variables).unwrap();
    assert_eq!(node.log_levels.default, Level::Debug);
    assert!(node.broker.circuit_breaker.enabled);
    assert_eq!(node.broker.cacher, Some(Cacher::default()));
    assert_eq!(node.broker.retry_policy.retries, 2);
    assert_eq!(node.broker.namespace, "prefixed");
    assert_eq!(node.broker.metadata["rack"], 7);
}

#[test]
fn what_is_in_force_is_shown_with_its_origin_and_without_secrets() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("isomer.toml");
    let text = "requestRetry = 3\n[metadata]\nregion = 'eu'\napiKey = 'abc'\n[transporter.options]\n\
                url = 'nats://h'\nuser = 'me'\npass = 'secret'\n";
    std::fs::write(&path, text).unwrap();
    let sources = Sources {
        file: Some(path),
        variables: vec![
            ("MOL_METADATA__RACK".into(), "7".into()),
            ("MOL_CACHER".into(), "redis://u:secret@h".into()),
        ],
        settings: vec![("bulkhead".into(), "true".into())],
        flags: vec![Flag { option: "namespace", flag: "--namespace", text: "dev".into() }],
    };
    let configuration = load(sources).unwrap();
    assert_eq!(
        changed(&configuration),
        [
            "namespace = \"dev\" (--namespace)",
            "transporter.options.url = \"nats://h\" (line 6)",
            "transporter.options.user = \"me\" (line 7)",
            "transporter.options.pass = \"***\" (line 8)",
            "metadata.region = \"eu\" (line 3)",
            "metadata.apiKey = \"***\" (line 4)",
            "metadata.rack = 7 (MOL_METADATA__RACK)",
            "retryPolicy.enabled = true (line 1)",
            "retryPolicy.retries = 3 (line 1)",
            "bulkhead.enabled = true (--set bulkhead)",
            "cacher.type = \"redis://***@h\" (MOL_CACHER)",
        ]
    );
    let all = configuration.effective();
    let timeout = all.iter().find(|one| one.name == "requestTimeout").unwrap();
    assert_eq!((&timeout.value, &timeout.origin), (&serde_json::json!(0), &None));
    let check = all.iter().find(|one| one.name == "retryPolicy.check").unwrap();
    assert_eq!(check.value, serde_json::json!({"retryable": true}));
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
fn a_service_without_lists_of_its_own_has_the_grants_of_the_node() {
    let node =
        load_file("isomer.toml", "[grants]\ncall = []\nemit = ['log.*']\n", &[]).unwrap().broker;
    let read = |text| sidecar::parse(Path::new("posts.toml"), text, &node).unwrap().grants;
    let silent = read("mode = 'fresh'\n");
    assert_eq!(silent.call.as_deref(), Some(&[][..]));
    assert_eq!(silent.emit.as_deref(), Some(&["log.*".to_owned()][..]));
    assert_eq!(silent.hear, None);
    let own = read("[grants]\ncall = ['users.*']\n");
    assert_eq!(own.call.as_deref(), Some(&["users.*".to_owned()][..]));
    assert_eq!(own.emit, silent.emit);
}

#[test]
fn grants_of_a_sidecar_are_read_in_all_their_forms() {
    let read = |text: &str| service(text).map(|service| service.grants);
    let grants = read(
        "[grants]\nhear = 'user.*'\ntcp = ['db:5432', '10.0.0.0/8:*']\n\
         dirs = [{ host = '/srv/a' }, { host = '/srv/b', guest = '/b', write = true }]\n",
    )
    .unwrap();
    assert_eq!(grants.hear.as_deref(), Some(&["user.*".to_owned()][..]));
    let lines = grants.to_lines();
    assert_eq!(
        lines,
        [
            "hear user.*",
            "dirs /srv/a = /srv/a (read)",
            "dirs /b = /srv/b (read and write)",
            "tcp db:5432",
            "tcp 10.0.0.0/8:*"
        ]
    );
    let short = read("[grants.dirs]\n'/a' = '/srv/a'\n'/b' = { host = '/srv/b', write = true }\n");
    assert_eq!(short.unwrap().to_lines()[1], "dirs /b = /srv/b (read and write)");
    for (text, why) in [
        ("dirs = [{ guest = '/a' }]", "without 'host'"),
        ("dirs = { '/a' = { host = '/b', wirte = true } }", "'wirte' is unknown"),
        ("dirs = [{ host = '/a' }, { host = '/a' }]", "there twice"),
        ("dirs = { '/a' = '../b' }", "must begin with /"),
        ("dirs = 5", "neither a table nor a list"),
        ("tcp = [5]", "is no text"),
        ("tcp = ['db']", "names no port"),
    ] {
        let error = read(&format!("[grants]\n{text}\n")).unwrap_err();
        assert!(error.contains(why), "{text}: {error}");
    }
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
    fn rows<T>(text: &mut String, entries: &[Entry<T>], with_variable: bool) {
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
    text.push_str("| `limits.…` | as above | the node's | The same limits as those of a node. |\n");
    text.push_str(
        "\n### Older names\n\nEach is accepted with one warning. Within one source today's name wins.\n\n\
         | older | today | since |\n|---|---|---|\n",
    );
    for Older { name, today, since, .. } in &older::OLDER {
        writeln!(text, "| `{name}` | {today} | {since} |").unwrap();
    }
    let defaults = older::defaults_of_0_12();
    writeln!(text, "\n`compat = \"0.12\"` changes defaults: `{defaults}`.").unwrap();
    text.push_str(
        "\n### Options of Moleculer that are not read\n\n| option | becomes | why |\n|---|---|---|\n",
    );
    for answered in &names::ANSWERED {
        let becomes = match answered.answer {
            Answer::AlwaysSo => "accepted",
            Answer::NoEffect => "accepted with a warning",
            Answer::Refused => "refused, unless it is off",
        };
        writeln!(text, "| `{}` | {becomes} | {} |", answered.name, answered.reason).unwrap();
    }
    text.push('\n');
    text
}

#[test]
fn the_documented_defaults_are_the_defaults() {
    let standard = format!("{:?}", NodeOptions::default());
    // Options of a cacher switch one on; theirs are compared below.
    let plain = |name: &str| !name.starts_with("cacher.options.");
    for entry in options::entries().iter().filter(|entry| !entry.default.is_empty()) {
        if !plain(entry.name) {
            continue;
        }
        let text = format!("{} = {}", entry.name, entry.default);
        let node = load_file("isomer.toml", &text, &[]).unwrap();
        assert_eq!(format!("{node:?}"), standard, "{text}");
    }
    for kind in ["Memory", "MemoryLRU", "Redis"] {
        let written = |line: &str| {
            let text = format!("[cacher]\ntype = '{kind}'\n[cacher.options]\n{line}");
            load_file("isomer.toml", &text, &[]).map(|node| node.broker.cacher)
        };
        let standard = written("");
        for entry in options::entries().iter().filter(|entry| !plain(entry.name)) {
            let key = entry.name.trim_start_matches("cacher.options.");
            match written(&format!("{key} = {}", entry.default)) {
                _ if entry.default.is_empty() => {}
                Err(error) => assert!(error.contains("only a cacher of type"), "{error}"),
                given => assert_eq!(given, standard, "{key}"),
            }
        }
    }
}

#[test]
fn the_examples_of_the_documentation_are_right() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
    let document = std::fs::read_to_string(&path).unwrap();
    let mut n_examples = 0;
    for section in document.split("\n## ") {
        for (fence, file) in [("```toml\n", "isomer.toml"), ("```json\n", "isomer.json")] {
            for example in section.split(fence).skip(1) {
                let text = example.split("```").next().unwrap();
                n_examples += 1;
                let done = if section.starts_with("Beside a component") {
                    service(text).map(drop)
                } else {
                    configuration(file, text, &[]).map(|read| assert_eq!(read.warnings, []))
                };
                done.unwrap_or_else(|error| panic!("{error}\n{text}"));
            }
        }
    }
    assert!(n_examples >= 7, "{n_examples}");
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
