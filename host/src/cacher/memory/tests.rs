//! What is kept, for how long, how much of it, and what goes first.

use super::*;

fn cacher(change: impl FnOnce(&mut config::Cacher)) -> (Memory, MetricRegistry) {
    let mut options = config::Cacher::default();
    change(&mut options);
    let metrics = MetricRegistry::default();
    (Memory::new(&options, &metrics), metrics)
}

fn put(cacher: &Memory, key: &str, text: &str, ttl: Option<u64>) {
    let value = Payload::Json(text.into());
    assert!(matches!(cacher.set(key, value, ttl.map(Duration::from_secs)), Answer::Now(Ok(()))));
}

fn found(cacher: &Memory, key: &str) -> Option<String> {
    let Answer::Now(Ok(found)) = cacher.get(key) else { panic!("memory answers at once") };
    found.map(|value| value.to_json_text().to_string())
}

fn keys(cacher: &Memory) -> Vec<String> {
    let Answer::Now(Ok(keys)) = cacher.keys() else { panic!("memory answers at once") };
    keys
}

#[tokio::test(start_paused = true)]
async fn an_entry_lives_as_long_as_it_or_the_cacher_says() {
    let (cacher, metrics) = cacher(|options| options.ttl = Some(Duration::from_secs(10)));
    put(&cacher, "own", "1", Some(5));
    put(&cacher, "default", "2", None);
    put(&cacher, "for ever", "3", Some(0));
    tokio::time::advance(Duration::from_secs(5)).await;
    assert_eq!(found(&cacher, "own").as_deref(), Some("1"));
    tokio::time::advance(Duration::from_millis(1)).await;
    assert_eq!(found(&cacher, "own"), None);
    assert_eq!(found(&cacher, "default").as_deref(), Some("2"));
    tokio::time::advance(Duration::from_secs(5)).await;
    assert_eq!(found(&cacher, "default"), None);
    assert_eq!(found(&cacher, "for ever").as_deref(), Some("3"));
    assert_eq!(metrics.metric("moleculer.cacher.expired.total").get(), 2);
    assert_eq!(metrics.metric("moleculer.cacher.get.total").get(), 5);
    assert_eq!(metrics.metric("moleculer.cacher.found.total").get(), 3);
}

// moleculer: src/cachers/memory-lru.js updateAgeOnGet
#[tokio::test(start_paused = true)]
async fn reading_prolongs_an_entry_of_the_lru_when_the_cacher_has_a_ttl() {
    let lru = |ttl| {
        cacher(move |options| {
            options.store = CacheStore::MemoryLru { max: 10 };
            options.ttl = ttl;
        })
        .0
    };
    for (ttl, prolonged) in [(Some(Duration::from_secs(60)), true), (None, false)] {
        let cacher = lru(ttl);
        put(&cacher, "a", "1", Some(10));
        tokio::time::advance(Duration::from_secs(8)).await;
        assert!(found(&cacher, "a").is_some());
        tokio::time::advance(Duration::from_secs(8)).await;
        assert_eq!(found(&cacher, "a").is_some(), prolonged);
    }
}

#[tokio::test]
async fn undefined_is_no_entry_and_null_is_one() {
    let (cacher, _) = cacher(|_| {});
    put(&cacher, "a", "null", None);
    assert_eq!(found(&cacher, "a").as_deref(), Some("null"));
    let _ = cacher.set("a", Payload::Absent, None);
    assert_eq!(found(&cacher, "a"), None);
}

#[tokio::test]
async fn bytes_are_bounded_and_the_oldest_go() {
    let (cacher, metrics) = cacher(|options| options.max_bytes = 3 * (ENTRY_OVERHEAD + 5));
    for key in ["a", "b", "c"] {
        put(&cacher, key, "1234", None);
    }
    assert_eq!(keys(&cacher), ["a", "b", "c"]);
    // Reading does not make an entry younger here.
    assert!(found(&cacher, "a").is_some());
    put(&cacher, "d", "1234", None);
    assert_eq!(keys(&cacher), ["b", "c", "d"]);
    let (entries, bytes) = ("isomer.cacher.entries", "isomer.cacher.bytes");
    assert_eq!(metrics.metric(entries).get(), 3);
    assert_eq!(metrics.metric(bytes).get(), i64::try_from(3 * (ENTRY_OVERHEAD + 5)).unwrap());
    assert_eq!(metrics.metric("isomer.cacher.evicted.total").get(), 1);
    // As large as everything: fits alone. One byte more is not kept, and what it would replace goes.
    let whole = "1".repeat(3 * (ENTRY_OVERHEAD + 5) - ENTRY_OVERHEAD - 1);
    put(&cacher, "e", &whole, None);
    assert_eq!(keys(&cacher), ["e"]);
    put(&cacher, "e", &(whole + "1"), None);
    assert!(keys(&cacher).is_empty());
    assert_eq!(metrics.metric("isomer.cacher.tooLarge.total").get(), 1);
    assert_eq!(metrics.metric(bytes).get(), 0);
}

#[tokio::test]
async fn the_lru_is_bounded_in_number_and_the_least_used_go() {
    let (cacher, _) = cacher(|options| options.store = CacheStore::MemoryLru { max: 2 });
    put(&cacher, "a", "1", None);
    put(&cacher, "b", "2", None);
    assert!(found(&cacher, "a").is_some());
    put(&cacher, "c", "3", None);
    assert_eq!(keys(&cacher), ["a", "c"]);
}

// moleculer: src/cachers/memory.js clean
#[tokio::test]
async fn clean_takes_patterns_of_events() {
    let check = |patterns: &[&str], left: &[&str]| {
        let (cacher, _) = cacher(|_| {});
        for key in ["users.find:a|1", "users.find:a|1.5", "users.get:5", "posts.find:null"] {
            put(&cacher, key, "1", None);
        }
        let patterns: Vec<String> = patterns.iter().map(|text| String::from(*text)).collect();
        assert!(matches!(cacher.clean(&patterns), Answer::Now(Ok(()))));
        assert_eq!(keys(&cacher), left, "{patterns:?}");
    };
    check(&["users.*"], &["users.find:a|1.5", "posts.find:null"]);
    check(&["users.**"], &["posts.find:null"]);
    check(&["posts.*", "users.get:5"], &["users.find:a|1", "users.find:a|1.5"]);
    check(&["**"], &[]);
    check(&["nothing"], &["users.find:a|1", "users.find:a|1.5", "users.get:5", "posts.find:null"]);
    let (cacher, _) = cacher(|_| {});
    let answer = cacher.clean(&["a.(b?".to_owned()]);
    assert!(matches!(answer, Answer::Now(Err(Error::Pattern { .. }))));
}

#[tokio::test]
async fn del_takes_exact_keys() {
    let (cacher, metrics) = cacher(|_| {});
    put(&cacher, "a", "1", None);
    put(&cacher, "b", "1", None);
    let _ = cacher.del(&["a".to_owned(), "x".to_owned()]);
    assert_eq!(keys(&cacher), ["b"]);
    assert_eq!(metrics.metric("isomer.cacher.entries").get(), 1);
}

#[tokio::test(start_paused = true)]
async fn expired_entries_are_swept_away() {
    let (cacher, metrics) = cacher(|_| {});
    let cancel = task::CancellationToken::new();
    cacher.start(Surroundings { local_event: Arc::new(|_, _| {}), cancel: cancel.clone() });
    put(&cacher, "short", "1", Some(1));
    put(&cacher, "long", "1", Some(100));
    tokio::time::sleep(SWEEP_INTERVAL + Duration::from_secs(1)).await;
    assert_eq!(keys(&cacher), ["long"]);
    assert_eq!(metrics.metric("isomer.cacher.entries").get(), 1);
    cancel.cancel();
}

#[tokio::test]
async fn a_kept_value_shares_no_memory_with_what_it_came_from() {
    let (cacher, _) = cacher(|_| {});
    let packet = bytestring::ByteString::from("[1,2,3]".repeat(1_000));
    let value = Payload::Json(packet.slice_ref(&packet[..7]));
    let _ = cacher.set("a", value, None);
    let Answer::Now(Ok(Some(Payload::Json(kept)))) = cacher.get("a") else { panic!("kept") };
    assert!(!packet.as_bytes().as_ptr_range().contains(&kept.as_bytes().as_ptr()));
}
