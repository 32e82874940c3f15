//! What is kept, found, forgotten, and what comes of damage.

use super::*;

const FILE: &str = "/srv/services/posts.wasm";

fn shelf() -> (tempfile::TempDir, Shelf) {
    let root = tempfile::tempdir().unwrap();
    let shelf = Shelf::open(&root.path().join("versions"), "dev").unwrap();
    (root, shelf)
}

fn entry(bytes: &[u8]) -> Entry {
    let digest = hex(&Sha256::digest(bytes));
    Entry { digest, since: "2026-01-01".into(), size: bytes.len(), sidecar: Some("a = 1".into()) }
}

fn record(file: &str, versions: &[&[u8]]) -> Record {
    let versions = versions.iter().map(|bytes| entry(bytes)).collect();
    Record { file: file.into(), versions, ..Record::default() }
}

fn write(shelf: &Shelf, file: &str, versions: &[&[u8]]) -> Vec<String> {
    for bytes in versions {
        shelf.keep(Path::new(file), &entry(bytes).digest, bytes).unwrap();
    }
    shelf.write(Path::new(file), record(file, versions)).unwrap()
}

fn known(shelf: &Shelf, file: &str) -> Option<Vec<String>> {
    let record = shelf.record(Path::new(file))?;
    Some(record.versions.into_iter().map(|entry| entry.digest).collect())
}

fn digests(versions: &[&[u8]]) -> Option<Vec<String>> {
    Some(versions.iter().map(|bytes| entry(bytes).digest).collect())
}

#[test]
fn what_is_written_is_found_by_the_same_mesh_alone() {
    let (root, shelf) = shelf();
    let file = Path::new(FILE);
    assert_eq!(shelf.record(file), None);
    assert!(write(&shelf, FILE, &[b"1", b"2"]).is_empty());
    drop(shelf);
    let dir = root.path().join("versions");
    let shelf = Shelf::open(&dir, "dev").unwrap();
    assert_eq!(shelf.record(file).unwrap(), record(FILE, &[b"1", b"2"]));
    assert_eq!(shelf.component(file, &entry(b"1").digest).unwrap(), b"1");
    assert_eq!(shelf.record(Path::new("/elsewhere/posts.wasm")), None);
    assert_eq!(Shelf::open(&dir, "prod").unwrap().record(file), None);
    shelf.forget(file).unwrap();
    assert_eq!(shelf.record(file), None);
    shelf.forget(file).unwrap();
}

#[test]
fn versions_that_no_record_names_are_forgotten() {
    let (_root, shelf) = shelf();
    write(&shelf, FILE, &[b"1", b"2"]);
    let all: Vec<Vec<u8>> = (3..=9).map(|n: u8| vec![n]).collect();
    for n in 1..=all.len() {
        let from = n.saturating_sub(VERSIONS_MAX);
        let ours: Vec<&[u8]> = all[from..n].iter().map(Vec::as_slice).collect();
        write(&shelf, FILE, &ours);
    }
    let last: Vec<&[u8]> = all[2..].iter().map(Vec::as_slice).collect();
    assert_eq!(known(&shelf, FILE), digests(&last));
    let folder = shelf.folder(Path::new(FILE));
    assert_eq!(entries(&folder).count(), VERSIONS_MAX + 1, "five versions and the record");
    // One that never came into service stays for a while, since it may yet.
    shelf.keep(Path::new(FILE), "failed", b"failed").unwrap();
    write(&shelf, FILE, &last);
    assert!(candidate(&folder, "failed").is_file());
    let old = SystemTime::now() - 2 * LEFT_OVER_AGE;
    File::open(candidate(&folder, "failed")).unwrap().set_modified(old).unwrap();
    write(&shelf, FILE, &last);
    assert!(!candidate(&folder, "failed").exists());
}

#[test]
fn what_others_have_written_stays_as_far_as_there_is_room() {
    let (root, ours) = shelf();
    let theirs = Shelf::open(&root.path().join("versions"), "dev").unwrap();
    write(&ours, FILE, &[b"1", b"2"]);
    write(&theirs, FILE, &[b"2", b"3"]);
    assert_eq!(known(&ours, FILE), digests(&[b"1", b"2", b"3"]));
    write(&ours, FILE, &[b"1", b"2", b"4", b"5"]);
    assert_eq!(known(&ours, FILE), digests(&[b"3", b"1", b"2", b"4", b"5"]));
    // A quarantine is the longer of two.
    let until = |until| Sentence { until, pause: 1, reason: "trapped".into() };
    let with = |digest: &[u8], until| Record {
        quarantine: BTreeMap::from([(entry(digest).digest, until)]),
        ..record(FILE, &[b"1", b"5"])
    };
    ours.write(Path::new(FILE), with(b"1", until(10))).unwrap();
    theirs.write(Path::new(FILE), with(b"5", until(20))).unwrap();
    theirs.write(Path::new(FILE), with(b"1", until(5))).unwrap();
    let found = ours.record(Path::new(FILE)).unwrap().quarantine;
    assert_eq!(found.values().map(|one| one.until).collect::<Vec<_>>().len(), 2);
    assert_eq!(found[&entry(b"1").digest].until, 10);
}

#[test]
fn what_is_damaged_or_too_large_counts_as_not_there() {
    let (_root, shelf) = shelf();
    let file = Path::new(FILE);
    write(&shelf, FILE, &[b"1", b"2"]);
    let folder = shelf.folder(file);
    fs::write(component(&folder, &entry(b"1").digest), b"x").unwrap();
    let error = shelf.component(file, &entry(b"1").digest).unwrap_err();
    assert!(error.is_lost() && error.to_string().contains("damaged"), "{error}");
    let error = shelf.component(file, &entry(b"1").digest).unwrap_err();
    assert!(error.is_lost(), "{error}");
    // A record that names it leaves it out from then on.
    assert_eq!(shelf.write(file, record(FILE, &[b"1", b"2"])).unwrap(), [entry(b"1").digest]);
    assert_eq!(known(&shelf, FILE), digests(&[b"2"]));
    for torn in ["", "{\"file\": \"/srv", "[]"] {
        fs::write(folder.join(RECORD), torn).unwrap();
        assert_eq!(shelf.record(file), None, "{torn}");
    }
    let record = File::create(folder.join(RECORD)).unwrap();
    record.set_len(RECORD_LEN_MAX + 1).unwrap();
    assert_eq!(shelf.record(file), None);
    assert!(read_bounded(&folder.join(RECORD), RECORD_LEN_MAX).is_err());
    record.set_len(RECORD_LEN_MAX).unwrap();
    assert!(read_bounded(&folder.join(RECORD), RECORD_LEN_MAX).is_ok());
    // It is written anew.
    write(&shelf, FILE, &[b"2"]);
    assert_eq!(known(&shelf, FILE), digests(&[b"2"]));
}

#[test]
fn there_is_a_bound_on_files_and_bytes() {
    let (_root, mut shelf) = shelf();
    shelf.files_max = 2;
    let age = |shelf: &Shelf, file: &str, s: u64| {
        let record = shelf.folder(Path::new(file)).join(RECORD);
        let at = SystemTime::now() - Duration::from_secs(s);
        File::open(record).unwrap().set_modified(at).unwrap();
    };
    write(&shelf, "/a.wasm", &[b"1"]);
    write(&shelf, "/b.wasm", &[b"1"]);
    assert!(known(&shelf, "/a.wasm").is_some() && known(&shelf, "/b.wasm").is_some());
    age(&shelf, "/a.wasm", 50);
    age(&shelf, "/b.wasm", 100);
    write(&shelf, "/c.wasm", &[b"1"]);
    assert!(known(&shelf, "/b.wasm").is_none(), "the oldest");
    assert!(known(&shelf, "/a.wasm").is_some() && known(&shelf, "/c.wasm").is_some());
    let len = |file: &str| {
        entries(&shelf.folder(Path::new(file))).map(|(_, metadata)| metadata.len()).sum::<u64>()
    };
    shelf.len_max = len("/a.wasm") + len("/c.wasm");
    shelf.prune(&mut shelf.lock().unwrap());
    assert!(known(&shelf, "/a.wasm").is_some(), "as much as there is room for");
    shelf.len_max -= 1;
    shelf.prune(&mut shelf.lock().unwrap());
    assert!(known(&shelf, "/a.wasm").is_none() && known(&shelf, "/c.wasm").is_some());
}

#[test]
fn a_place_that_others_can_write_to_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let root = tempfile::tempdir().unwrap();
    fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let error = Shelf::open(root.path(), "").unwrap_err();
    assert!(error.to_string().contains("set its mode to 0700"), "{error}");
    assert!(!error.is_lost());
}

/// Threads of one node and of two write at once; every record that is seen is whole.
#[test]
fn many_may_write_at_once() {
    let (root, first) = shelf();
    let second = Shelf::open(&root.path().join("versions"), "dev").unwrap();
    std::thread::scope(|scope| {
        for shelf in [&first, &second, &first, &second] {
            scope.spawn(move || {
                for n in 0..20_u8 {
                    write(shelf, FILE, &[&[n % 4]]);
                    let record = shelf.record(Path::new(FILE)).unwrap();
                    assert!(!record.versions.is_empty());
                }
            });
        }
    });
    let record = first.record(Path::new(FILE)).unwrap();
    assert_eq!(record.versions.len(), 4);
    for entry in record.versions {
        first.component(Path::new(FILE), &entry.digest).unwrap();
    }
}
