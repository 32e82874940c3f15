//! A node that is killed at any moment, whose cache is damaged, shared, or cannot be written, that runs out of
//! files, that compiles what needs too much; and what it tells the service manager.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

use futures_util::future::join_all;
use isomer_host::metrics::MetricRegistry;
use rustix::process::Signal;
use serde_json::json;
use tests::place::{PATIENCE, Place, kill_after, serves};
use tests::process::Process;
use tests::{guests, node, rig, wait};

/// Every entry whose hash is there is the code that the hash is of.
fn assert_sound(cache: &Path) {
    let files = fs::read_dir(cache).into_iter().flatten().map(|file| file.unwrap().path());
    for hash in files.filter(|file| file.extension().is_some_and(|e| e == "sha256")) {
        let expected = fs::read_to_string(&hash).unwrap();
        let code = fs::read(hash.with_extension("cwasm")).unwrap();
        assert_eq!(tests::streams::hash(&code), expected, "{}", hash.display());
    }
}

#[tokio::test]
async fn a_node_that_is_killed_while_it_compiles_or_writes_its_cache_starts_again() {
    let place = Place::new(&[("greeter", "greeter.wasm"), ("swapper_v1", "swapper.wasm")]);
    for round in 0..10 {
        if round == 5 {
            // From here on there are entries, which are replaced.
            let _ = fs::remove_dir_all(place.cache());
        }
        kill_after(place.spawn(&[]), 40 + 170 * (round % 5)).await;
        assert_sound(&place.cache());
    }
    let node = place.ready(&[]).await;
    assert_eq!(place.call("swapper.version").await.unwrap(), 1);
    assert_sound(&place.cache());
    drop(node);
}

#[tokio::test]
async fn a_node_that_is_killed_while_it_swaps_comes_back_with_what_the_folder_holds() {
    let place = Place::new(&[("swapper_v1", "swapper.wasm")]);
    for round in 0..6 {
        let node = place.ready(&[]).await;
        let (version, name) = if round % 2 == 0 { (2, "swapper_v2") } else { (1, "swapper_v1") };
        if round < 2 {
            // Compiling is a part of these swaps.
            let _ = fs::remove_dir_all(place.cache());
            fs::create_dir_all(place.cache()).unwrap();
            fs::set_permissions(place.cache(), fs::Permissions::from_mode(0o700)).unwrap();
        }
        place.put(name, "swapper.wasm");
        kill_after(node, 5 + 35 * round).await;
        let node = place.ready(&[]).await;
        assert_eq!(place.call("swapper.version").await.unwrap(), version, "round {round}");
        kill_after(node, 0).await;
        assert_sound(&place.cache());
    }
}

#[tokio::test]
async fn what_a_killed_compiler_has_left_is_removed_later() {
    let place = Place::new(&[("greeter", "greeter.wasm")]);
    fs::create_dir_all(place.cache()).unwrap();
    fs::set_permissions(place.cache(), fs::Permissions::from_mode(0o700)).unwrap();
    let (old, new) = (place.cache().join("old.tmp"), place.cache().join("new.tmp"));
    fs::write(&new, "x").unwrap();
    let file = fs::File::create(&old).unwrap();
    file.set_modified(std::time::SystemTime::now() - Duration::from_secs(3_600)).unwrap();
    let _node = place.ready(&[]).await;
    assert!(!old.exists(), "a file of a process that died");
    assert!(new.exists(), "it may belong to a process that lives");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_may_share_a_cache_while_its_entries_are_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    let metrics = MetricRegistry::default();
    let runtimes: Vec<_> = (0..4).map(|_| rig::runtime(cache.clone(), &metrics)).collect();
    let file = guests::wasm("greeter");
    for _ in 0..5 {
        let loads = runtimes.iter().map(|runtime| runtime.load(&file));
        for loaded in join_all(loads).await {
            loaded.unwrap();
        }
        assert_sound(&cache);
        for entry in fs::read_dir(&cache).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "cwasm") {
                // Another file, as a node makes it: running code is mapped from the old one.
                fs::remove_file(&path).unwrap();
                fs::write(&path, "damaged").unwrap();
            }
        }
    }
}

#[tokio::test]
async fn a_cache_that_cannot_be_trusted_or_written_is_named_with_what_mends_it() {
    let place = Place::new(&[("greeter", "greeter.wasm")]);
    fs::create_dir_all(place.cache()).unwrap();
    fs::set_permissions(place.cache(), fs::Permissions::from_mode(0o755)).unwrap();
    let mut process = place.spawn(&[]);
    process.line("0700").await;
    let status = process.exit().await;
    let text = process.output().text();
    assert_eq!(status.code(), Some(1), "{text}");
    assert!(text.contains("cache"), "{text}");
}

/// A limit on the size of files stands for a disk without room.
#[tokio::test]
async fn without_room_for_compiled_code_new_files_are_refused_and_taken_when_there_is_room_again() {
    let place = Place::new(&[]);
    let mut process = place.spawn_after("trap '' XFSZ; ulimit -S -f 100", &[]);
    serves(&mut process).await;
    place.put("greeter", "greeter.wasm");
    let line = process.line("this file cannot be used").await;
    assert!(line.contains("cache") || line.contains("File too large"), "{line}");
    assert_sound(&place.cache());
    // There is room again; nobody touches the file.
    let pid = rustix::process::Pid::from_raw(process.pid().try_into().unwrap());
    let none = rustix::process::Rlimit { current: None, maximum: None };
    rustix::process::prlimit(pid, rustix::process::Resource::Fsize, none).unwrap();
    process.line("service started").await;
    assert_sound(&place.cache());
}

#[tokio::test]
async fn compiling_that_needs_too_much_time_or_memory_says_which_and_how_to_mend_it() {
    let place = Place::new(&[("kit", "kit.wasm")]);
    for (setting, expected) in
        [("compile.timeout=1", "compile.timeout"), ("compile.memory=64MiB", "compile.memory")]
    {
        let mut process = place.spawn(&["--set", setting]);
        let line = process.line_within(PATIENCE, "this file cannot be used").await;
        assert!(line.contains(expected) && line.contains("raise it"), "{line}");
        process.kill().await;
    }
    let _node = place.ready(&[]).await;
}

#[tokio::test]
async fn a_node_without_files_left_says_so_and_recovers() {
    let place = Place::new(&[("greeter", "greeter.wasm")]);
    let mut process = place.ready(&[]).await;
    let pid = rustix::process::Pid::from_raw(process.pid().try_into().unwrap());
    let in_use = fs::read_dir(format!("/proc/{}/fd", process.pid())).unwrap().count() as u64;
    let nofile = rustix::process::Resource::Nofile;
    let maximum = rustix::process::getrlimit(nofile).maximum;
    let limit = |files| rustix::process::Rlimit { current: Some(files), maximum };
    rustix::process::prlimit(pid, nofile, limit(in_use + 4)).unwrap();
    let files = fs::read_dir(place.path().join("isomer")).unwrap();
    let socket = files
        .map(|file| file.unwrap().path())
        .find(|path| path.extension().is_some_and(|extension| extension == "sock"))
        .unwrap();
    let mut clients = Vec::new();
    for _ in 0..12 {
        clients.push(tokio::net::UnixStream::connect(&socket).await.unwrap());
    }
    process.line("was not accepted").await;
    // A new file is refused, since it cannot be read or compiled, and what runs goes on.
    place.put("math", "math.wasm");
    process.line("this file cannot be used").await;
    drop(clients);
    rustix::process::prlimit(pid, nofile, limit(1_000)).unwrap();
    wait::until("an answer of the new service", || async { place.call("math.add").await.ok() })
        .await;
    assert_eq!(place.call("greeter.hello").await.unwrap(), "Hello Ada!");
    process.signal(Signal::TERM);
    assert!(process.exit().await.success());
}

/// Address space stands for memory: an instance reserves more of it than there is left.
#[tokio::test]
async fn a_node_without_memory_refuses_what_is_new_and_recovers() {
    let place = Place::with_cache_of_all(&[("greeter", "greeter.wasm")]);
    let mut process = place.ready(&[]).await;
    let pid = rustix::process::Pid::from_raw(process.pid().try_into().unwrap());
    let status = fs::read_to_string(format!("/proc/{}/status", process.pid())).unwrap();
    let in_use = status.lines().find_map(|line| line.strip_prefix("VmSize:")).unwrap();
    let in_use: u64 = in_use.trim().strip_suffix(" kB").unwrap().parse().unwrap();
    let space = rustix::process::Resource::As;
    let maximum = rustix::process::getrlimit(space).maximum;
    let limit = |bytes| rustix::process::Rlimit { current: bytes, maximum };
    // Room for threads and small things, as there is with memory.
    rustix::process::prlimit(pid, space, limit(Some((in_use + (512 << 10)) << 10))).unwrap();
    place.put("math", "math.wasm");
    let line = process.line("this file cannot be used").await;
    assert!(line.contains("memory"), "{line}");
    assert_eq!(place.call("greeter.hello").await.unwrap(), "Hello Ada!");
    rustix::process::prlimit(pid, space, limit(None)).unwrap();
    place.put("math", "math.wasm");
    wait::until("an answer of the new service", || async { place.call("math.add").await.ok() })
        .await;
    process.signal(Signal::TERM);
    assert!(process.exit().await.success());
}

/// As in a container that has less memory than its guests may take together.
#[tokio::test]
async fn a_guest_that_takes_all_memory_of_the_node_is_stopped_and_the_node_recovers() {
    let components = [("greeter", "greeter.wasm"), ("crunch", "crunch.wasm")];
    let place = Place::with_cache_of_all(&components);
    let settings = ["--set", "memory.max=256MiB", "--set", "limits.memory=1GiB"];
    let mut process = place.ready(&settings).await;
    let take = async |mb: u32| {
        let params = json!({"mb": mb}).to_string();
        place.ask(&["call", "crunch.memory", &params]).await
    };
    assert_eq!(take(20).await.unwrap(), 20);
    let refused = take(400).await.unwrap_err();
    assert!(refused.contains("503 NODE_MEMORY"), "{refused}");
    assert_eq!(place.call("greeter.hello").await.unwrap(), "Hello Ada!");
    assert_eq!(take(20).await.unwrap(), 20);
    process.signal(Signal::TERM);
    assert!(process.exit().await.success());
}

#[tokio::test]
async fn the_service_manager_hears_that_a_node_is_ready_lives_and_stops() {
    let place = Place::new(&[("greeter", "greeter.wasm")]);
    let path = place.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_nonblocking(true).unwrap();
    let socket = tokio::net::UnixDatagram::from_std(socket).unwrap();
    let mut command = place.command();
    command.args(["start", "services"]).env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "200000");
    let mut process = Process::spawn("isomer start", &mut command);
    let next = async |wanted: &str| {
        let mut buffer = [0; 512];
        loop {
            let size = socket.recv(&mut buffer).await.unwrap();
            let text = String::from_utf8_lossy(&buffer[..size]).into_owned();
            if text.contains(wanted) {
                return text;
            }
        }
    };
    let text = wait::for_result("READY", next("READY=1")).await;
    assert!(text.contains("STATUS=1 service(s), 0 failed"), "{text}");
    for _ in 0..3 {
        wait::for_result("a sign of life", next("WATCHDOG=1")).await;
    }
    process.signal(Signal::TERM);
    wait::for_result("STOPPING", next("STOPPING=1")).await;
    assert!(process.exit().await.success());
}

/// A call that runs is finished; what comes too late gets a clear answer, and the node ends in time.
#[tokio::test]
async fn a_node_that_is_stopped_under_load_ends_in_its_time() {
    let place = Place::new(&[("greeter", "greeter.wasm")]);
    let mut process = place.ready(&["--set", "tracking.shutdownTimeout=3000"]).await;
    let calls = (0..20).map(|_| place.call("greeter.hello"));
    let stop = async {
        process.signal(Signal::TERM);
        wait::within(Duration::from_secs(20), "the end", process.exit()).await
    };
    let (answers, status) = tokio::join!(join_all(calls), stop);
    assert!(status.success());
    for answer in answers.into_iter().filter_map(Result::err) {
        assert!(!answer.contains("panicked"), "{answer}");
    }
    let output = node::run(place.path(), &["call", "greeter.hello"]).await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let text = json!(String::from_utf8_lossy(&output.stderr));
    assert!(text.as_str().is_some_and(|text| !text.is_empty()));
}
