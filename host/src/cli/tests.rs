//! What the command line takes and refuses.

use clap::{CommandFactory as _, error::ErrorKind};

use super::*;
use crate::config::options::ControlSocket;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(line.split(' '))
}

#[test]
fn the_definition_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn every_verb_takes_its_flags() {
    for line in [
        "isomer start",
        "isomer start a b.wasm -c x.toml --transporter nats://h --namespace n --node-id i --log-level debug --no-hot --socket /s",
        "isomer call a.b",
        "isomer call a.b {} --meta {} --timeout 5 --node n --transporter nats://h --namespace n --json",
        "isomer call a.b -",
        "isomer call a.b -5",
        "isomer call a.b --retries 3 --headers {} --request-id r --set requestTimeout=5",
        "isomer call a.b --retry-count 3",
        "isomer emit a.b {} --groups a,b --headers {}",
        "isomer start --set a=1 --set b.c=2=3",
        "isomer config",
        "isomer config d -c x.toml --set a=1 --changed --json",
        "isomer broadcast a.b --socket /s",
        "isomer nodes --json",
        "isomer services -a",
        "isomer actions",
        "isomer events",
        "isomer ping",
        "isomer ping a b --timeout 5 --json --transporter nats://h",
        "isomer new posts --lang rust --dir d",
        "isomer new posts -l python",
        "isomer build",
        "isomer build d -o x.wasm --release --json -c x.toml --set a=1",
        "isomer dev",
        "isomer dev a b/c.service.js d",
        "isomer dev d --attach --release --transporter nats://h --socket /s --log-level debug",
        "isomer test d --filter a --no-unit --release --json --log-level debug --set a=1",
        "isomer inspect a.wasm --json",
        "isomer compile a.wasm --cache-dir d",
        "isomer __compile a b 4294967296",
    ] {
        parse(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    }
}

#[test]
fn wrong_use_is_exit_code_2() {
    for (line, kind) in [
        ("isomer strat", ErrorKind::InvalidSubcommand),
        ("isomer call", ErrorKind::MissingRequiredArgument),
        ("isomer call a.b {} {}", ErrorKind::UnknownArgument),
        ("isomer call a.b --timeout soon", ErrorKind::ValueValidation),
        ("isomer config --set requestTimeout", ErrorKind::ValueValidation),
        ("isomer start --no-hott", ErrorKind::UnknownArgument),
        ("isomer services --namespace x", ErrorKind::MissingRequiredArgument),
        ("isomer services --transporter nats://h --socket /s", ErrorKind::ArgumentConflict),
        ("isomer compile", ErrorKind::MissingRequiredArgument),
        ("isomer new posts", ErrorKind::MissingRequiredArgument),
        ("isomer new posts --lang cobol", ErrorKind::ValueValidation),
    ] {
        let error = parse(line).err().unwrap_or_else(|| panic!("{line} was taken"));
        assert_eq!(error.kind(), kind, "{line}");
        assert_eq!(error.exit_code(), 2, "{line}");
    }
}

#[test]
fn every_verb_explains_itself() {
    let mut command = Cli::command();
    for verb in command.get_subcommands_mut().filter(|verb| !verb.is_hide_set()) {
        let help = verb.render_help().to_string();
        assert!(help.lines().count() > 5, "{help}");
        for argument in verb.get_arguments() {
            assert!(argument.get_help().is_some(), "{} {}", verb.get_name(), argument.get_id());
        }
    }
}

#[test]
fn the_documentation_names_every_verb_and_flag() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/cli.md");
    let document = std::fs::read_to_string(path).unwrap();
    for verb in Cli::command().get_subcommands().filter(|verb| !verb.is_hide_set()) {
        let name = verb.get_name();
        assert!(document.contains(&format!("isomer {name}")), "verb {name}");
        for flag in verb.get_arguments().filter_map(clap::Arg::get_long) {
            assert!(flag == "help" || document.contains(&format!("--{flag}")), "{name} --{flag}");
        }
    }
}

#[test]
fn the_node_on_this_machine_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let find = |flag: Option<&Path>, configured: &ControlSocket| {
        target::find_socket(flag, configured, dir.path())
    };
    let none = find(None, &ControlSocket::Standard).unwrap_err();
    assert_eq!(none.code(), 1);
    let looked = format!("looked at {}/default.sock", dir.path().display());
    assert!(none.text().contains(&looked), "{}", none.text());

    let first = dir.path().join("default.sock");
    let _first = std::os::unix::net::UnixListener::bind(&first).unwrap();
    assert_eq!(find(None, &ControlSocket::Standard).unwrap(), first);

    let second = dir.path().join("n2.sock");
    let _second = std::os::unix::net::UnixListener::bind(&second).unwrap();
    let several = find(None, &ControlSocket::Standard).unwrap_err();
    assert_eq!(several.code(), 2);
    assert!(several.text().contains("n2.sock"), "{}", several.text());
    assert_eq!(find(Some(&second), &ControlSocket::Standard).unwrap(), second);
    assert_eq!(find(None, &ControlSocket::At(second.clone())).unwrap(), second);
}
