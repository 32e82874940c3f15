//! Versions of a service outlive the node: what was gone back to stays in force, what was there can be gone back to,
//! what was in quarantine stays there; whatever happened to the node, to the disk, or to what is kept.

use std::fs;
use std::path::PathBuf;

use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};
use serde_json::Value;
use tests::place::{Place, kill_after, serves};
use tests::process::Process;
use tests::wait;

const FILE: &str = "swapper.wasm";
const VERSION: &str = "swapper.version";

fn place() -> Place {
    Place::with_cache_of_all(&[("swapper_v1", FILE)])
}

async fn until_version(place: &Place, wanted: u64) {
    wait::until("the other version", || async {
        place.call(VERSION).await.is_ok_and(|version| version == wanted).then_some(())
    })
    .await;
}

async fn versions(place: &Place) -> Vec<Value> {
    let shown = place.ask(&["versions", "swapper", "--json"]).await.unwrap();
    shown["versions"].as_array().unwrap().clone()
}

/// In which states the versions are, once those of the present one are on disk.
async fn states(place: &Place) -> Vec<String> {
    let versions = wait::until("the versions to be on disk", || async {
        let versions = versions(place).await;
        versions.iter().all(|version| version["onDisk"] == true).then_some(versions)
    })
    .await;
    versions.iter().map(|version| version["state"].as_str().unwrap().to_owned()).collect()
}

async fn roll_back(place: &Place, to: &[&str]) -> Result<Value, String> {
    place.ask(&[&["rollback", "swapper", "--json"], to].concat()).await
}

/// Everything that is kept, by its ending.
fn kept(place: &Place, ending: &str) -> Vec<PathBuf> {
    let folders = fs::read_dir(place.versions()).into_iter().flatten().flatten();
    let files = folders.flat_map(|folder| fs::read_dir(folder.path()).into_iter().flatten());
    let paths = files.map(|file| file.unwrap().path());
    paths.filter(|path| path.extension().is_some_and(|found| found == ending)).collect()
}

/// Every component that a record names is there, whole.
fn assert_sound(place: &Place) {
    for record in kept(place, "json") {
        let text = fs::read_to_string(&record).unwrap();
        let value: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
        for version in value["versions"].as_array().unwrap() {
            let digest = version["digest"].as_str().unwrap();
            let bytes = fs::read(record.with_file_name(format!("{digest}.wasm"))).unwrap();
            assert_eq!(tests::streams::hash(&bytes), digest);
        }
    }
}

#[tokio::test]
async fn what_was_gone_back_to_stays_in_force_after_a_start_and_until_the_file_changes() {
    let place = place();
    let node = place.ready(&[]).await;
    place.put("swapper_v2", FILE);
    until_version(&place, 2).await;
    assert_eq!(states(&place).await, ["in service", "earlier"]);
    kill_after(node, 0).await;
    let node = place.ready(&[]).await;
    assert_eq!(place.call(VERSION).await.unwrap(), 2, "as the folder holds");
    assert_eq!(states(&place).await, ["in service", "earlier"]);
    roll_back(&place, &[]).await.unwrap();
    assert_eq!(place.call(VERSION).await.unwrap(), 1, "a version from before the start");
    kill_after(node, 0).await;
    let mut node = place.ready(&[]).await;
    node.line("somebody went back to another version").await;
    assert_eq!(place.call(VERSION).await.unwrap(), 1);
    place.put("swapper_v3", FILE);
    until_version(&place, 3).await;
    assert_eq!(states(&place).await, ["in service", "earlier", "earlier"]);
    let digest = versions(&place).await[2]["version"].as_str().unwrap().to_owned();
    roll_back(&place, &[&digest[..6]]).await.unwrap();
    assert_eq!(place.call(VERSION).await.unwrap(), 2);
    assert_sound(&place);
    // A file that is gone takes its versions with it.
    fs::remove_file(place.services().join(FILE)).unwrap();
    node.line("its service ends").await;
    wait::until("nothing to be kept", || async { kept(&place, "json").is_empty().then_some(()) })
        .await;
    node.signal(Signal::TERM);
    assert!(node.exit().await.success());
}

#[tokio::test]
async fn a_version_that_went_back_comes_with_the_options_that_it_had() {
    let place = place();
    let sidecar = place.services().join("swapper.toml");
    fs::write(&sidecar, "[env]\nMODE = \"first\"\n").unwrap();
    let node = place.ready(&[]).await;
    states(&place).await;
    fs::write(&sidecar, "[env]\nOTHER = \"second\"\n").unwrap();
    place.put("swapper_v2", FILE);
    until_version(&place, 2).await;
    states(&place).await;
    kill_after(node, 0).await;
    let _node = place.ready(&[]).await;
    roll_back(&place, &[]).await.unwrap();
    let record = fs::read_to_string(&kept(&place, "json")[0]).unwrap();
    let record: Value = serde_json::from_str(&record).unwrap();
    let last = record["versions"].as_array().unwrap().last().unwrap();
    assert!(last["sidecar"].as_str().unwrap().contains("first"), "{last}");
}

#[tokio::test]
async fn a_version_stays_in_quarantine_when_the_node_starts_anew() {
    let place = place();
    let node = place.ready(&[]).await;
    place.put("swapper_v3", FILE);
    until_version(&place, 3).await;
    for _ in 0..5 {
        place.call("swapper.trap").await.unwrap_err();
    }
    until_version(&place, 1).await;
    assert_eq!(states(&place).await, ["in service", "quarantined"]);
    kill_after(node, 0).await;
    let mut node = place.ready(&[]).await;
    node.line("still in quarantine").await;
    assert_eq!(place.call(VERSION).await.unwrap(), 1);
    assert_eq!(states(&place).await, ["in service", "quarantined"]);
    let services = place.ask(&["services", "--json"]).await.unwrap().to_string();
    assert!(services.contains("trapped 5 times"), "{services}");
    // Somebody who knows what he does may put it into service.
    let digest = versions(&place).await[1]["version"].as_str().unwrap().to_owned();
    roll_back(&place, &[&digest]).await.unwrap();
    assert_eq!(place.call(VERSION).await.unwrap(), 3);
}

#[tokio::test]
async fn a_node_that_is_killed_at_any_moment_finds_versions_that_hold() {
    let place = place();
    kill_after(place.ready(&[]).await, 0).await;
    for round in 0..8_u64 {
        let node = place.ready(&[]).await;
        let in_service = place.call(VERSION).await.unwrap();
        if round % 2 == 0 {
            let other = if in_service == 1 { "swapper_v2" } else { "swapper_v1" };
            place.put(other, FILE);
            kill_after(node, 10 + 25 * round).await;
        } else {
            let asked = roll_back(&place, &[]);
            let killed = kill_after(node, 10 + 25 * round);
            let (asked, ()) = tokio::join!(asked, killed);
            if asked.is_ok() {
                let node = place.ready(&[]).await;
                let now = place.call(VERSION).await.unwrap();
                assert!(now != in_service, "what was said to be done is done");
                kill_after(node, 0).await;
            }
        }
        assert_sound(&place);
    }
    let _node = place.ready(&[]).await;
    assert!(!versions(&place).await.is_empty());
}

#[tokio::test]
async fn nodes_that_share_folder_and_state_add_to_one_history() {
    let place = place();
    let mut one = place.ready(&["--socket", "one.sock"]).await;
    let mut other = place.ready(&["--socket", "other.sock"]).await;
    for (name, done) in [("swapper_v2", 1), ("swapper_v3", 2)] {
        place.put(name, FILE);
        for node in [&mut one, &mut other] {
            wait::until("both to have swapped", || async {
                let replaced = node.output().text().matches("service replaced").count();
                (replaced >= done).then_some(())
            })
            .await;
        }
    }
    wait::until("both to have written", || async {
        let record = kept(&place, "json").pop()?;
        let written: Value = serde_json::from_str(&fs::read_to_string(record).unwrap()).unwrap();
        (written["versions"].as_array().unwrap().len() == 3).then_some(())
    })
    .await;
    kill_after(other, 0).await;
    kill_after(one, 0).await;
    assert_sound(&place);
    let _node = place.ready(&[]).await;
    assert_eq!(states(&place).await, ["in service", "earlier", "earlier"]);
}

/// A limit on the size of files stands for a disk without room; compiled code is in the cache already.
#[tokio::test]
async fn without_room_for_versions_services_come_all_the_same() {
    let place = place();
    kill_after(place.ready(&[]).await, 0).await;
    fs::remove_dir_all(place.versions()).unwrap();
    let mut node = place.spawn_after("trap '' XFSZ; ulimit -S -f 10", &[]);
    serves(&mut node).await;
    node.line("known until the node stops").await;
    assert_eq!(place.call(VERSION).await.unwrap(), 1);
    assert_eq!(versions(&place).await[0]["onDisk"], false);
    assert!(kept(&place, "tmp").is_empty(), "nothing is left of what did not fit");
    let pid = Pid::from_raw(node.pid().try_into().unwrap());
    let none = Rlimit { current: None, maximum: None };
    prlimit(pid, Resource::Fsize, none).unwrap();
    // There is room again, and the next version is kept.
    place.put("swapper_v2", FILE);
    until_version(&place, 2).await;
    wait::until("the version to be on disk", || async {
        (versions(&place).await[0]["onDisk"] == true).then_some(())
    })
    .await;
    roll_back(&place, &[]).await.unwrap();
    assert_eq!(place.call(VERSION).await.unwrap(), 1, "from memory");
}

/// The disk is what it is: a version that cannot be had is named, and the node goes on.
#[tokio::test]
async fn what_is_damaged_on_disk_is_told_and_costs_nothing_else() {
    let place = place();
    let node = place.ready(&[]).await;
    place.put("swapper_v2", FILE);
    until_version(&place, 2).await;
    let earlier = versions(&place).await[1]["digest"].as_str().unwrap().to_owned();
    states(&place).await;
    kill_after(node, 0).await;
    let file = kept(&place, "wasm")
        .into_iter()
        .find(|path| path.file_stem().is_some_and(|stem| *stem == *earlier));
    fs::write(file.unwrap(), "torn").unwrap();
    let node = place.ready(&[]).await;
    let error = roll_back(&place, &[]).await.unwrap_err();
    assert!(error.contains("damaged"), "{error}");
    assert_eq!(place.call(VERSION).await.unwrap(), 2);
    let error = roll_back(&place, &[]).await.unwrap_err();
    assert!(error.contains("no earlier one"), "{error}");
    kill_after(node, 0).await;
    // A record that is torn is no record.
    for record in kept(&place, "json") {
        fs::write(record, "{\"file\":").unwrap();
    }
    let mut node = place.ready(&[]).await;
    node.line("versions from before are not known").await;
    assert_eq!(place.call(VERSION).await.unwrap(), 2);
    // Nor is a place that somebody else can write to, which keeps no node from starting.
    stop(node).await;
    fs::set_permissions(place.versions(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .unwrap();
    let mut node = place.ready(&[]).await;
    node.line("set its mode to 0700").await;
    assert_eq!(place.call(VERSION).await.unwrap(), 2);
}

async fn stop(mut node: Process) {
    node.signal(Signal::TERM);
    assert!(node.exit().await.success());
}
