//! A large mesh on the in-process bus: what a broker of ours has to do with it, and that nothing of it is left.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use isomer_host::transporter::fake::Verdict;
use parking_lot::Mutex;
use tests::cluster::Cluster;
use tests::scale::{self, Report, Size};
use tests::tree;

/// Where the figures of the large mesh are kept.
const DOCUMENT: &str = "docs/scale.md";

fn counts<const N: usize>(expected: [(&'static str, usize); N]) -> BTreeMap<&'static str, u64> {
    expected.into_iter().map(|(kind, count)| (kind, count as u64)).collect()
}

/// What every mesh must show, whatever its size.
fn check(report: &Report) {
    let Size { nodes, services } = report.size;
    let (all, some) = (nodes - 1, (nodes / 10).max(1));
    let received = |name: &str| report.stage(name).received.packets();
    let sent = |name: &str| {
        let mut sent = report.stage(name).sent.packets();
        sent.remove("HEARTBEAT");
        sent
    };
    let known = |name: &str| (report.stage(name).reachable, report.stage(name).endpoints);
    let endpoints = services * 5;

    // Each newcomer is told once, and nobody else hears of it.
    let join = "all join";
    assert_eq!(received(join), counts([("DISCOVER", all), ("HEARTBEAT", all), ("INFO", all)]));
    assert_eq!(sent(join), counts([("INFO", all)]));
    assert_eq!(known(join), (all, all * endpoints));
    assert_eq!(sent("a minute"), counts([]));
    assert_eq!(received("a minute"), counts([("HEARTBEAT", 6 * all)]));
    assert_eq!(sent("a tenth falls"), counts([]));
    assert_eq!(known("a tenth falls"), (all - some, (all - some) * endpoints));
    // Who was lost and is heard again is asked what it offers.
    let back = "the silent";
    assert_eq!(sent(back), counts([("DISCOVER", some)]));
    assert_eq!(received(back), counts([("HEARTBEAT", all), ("INFO", some)]));
    assert_eq!(known(back), (all, all * endpoints));
    assert_eq!(sent("a tenth leaves"), counts([]));
    assert_eq!(known("a tenth leaves"), (all - some, (all - some) * endpoints));
    assert_eq!(sent("it returns"), counts([("INFO", some)]));
    assert_eq!(known("it returns"), (all, all * endpoints));
    // A change is told to all at once; an action that goes takes two packets.
    assert_eq!(sent("the broker has one more"), counts([("INFO", 1)]));
    assert_eq!(sent("one of its actions"), counts([("INFO", 2)]));
    let lost = "the broker loses";
    assert_eq!(sent(lost), counts([("DISCOVER", 1), ("INFO", 1)]));
    assert_eq!(received(lost)["INFO"], all as u64);
    assert_eq!(known(lost), (all, all * endpoints));
    assert_eq!(sent("all leave"), counts([]));
    assert_eq!(known("all leave"), (0, 0));
    assert_eq!(received("the nodes"), counts([]));
}

/// Small in every run; with `ISOMER_WRITE_SCALE=1` as large as the document says, which it then writes. That takes a
/// minute, and the memory is that of the whole process, so that it has to run alone.
#[tokio::test(start_paused = true)]
async fn a_mesh_joins_breaks_heals_and_goes() {
    if std::env::var_os("ISOMER_WRITE_SCALE").is_none() {
        check(&scale::simulate(Size { nodes: 40, services: 5 }).await);
        return;
    }
    let reports = [
        scale::simulate(Size { nodes: 50, services: 50 }).await,
        scale::simulate(Size { nodes: 500, services: 50 }).await,
    ];
    reports.iter().for_each(check);
    assert!(reports.iter().all(|report| report.bytes_per_node() < 512 << 10), "{reports:?}");
    let path = tree::top().join(DOCUMENT);
    let text = tree::read(&path);
    let head = text.split("\n## Figures\n").next().unwrap().trim_end();
    let figures = reports.each_ref().map(Report::render).join("\n");
    std::fs::write(&path, format!("{head}\n\n## Figures\n\n{figures}")).unwrap();
}

/// Packets by kind that went over the bus of a mesh, those to one node and those to all apart.
type Told = Arc<Mutex<BTreeMap<(String, bool), usize>>>;

#[tokio::test(start_paused = true)]
async fn twenty_brokers_tell_each_newcomer_once_and_all_of_the_newcomer_once() {
    let mut cluster = Cluster::start(&["n00"], |_| {}).await;
    // What it tells of its own services is behind it.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let told = Told::default();
    let log = Arc::clone(&told);
    cluster.bus.set_rule(move |delivery| {
        let mut parts = delivery.topic.splitn(3, '.').skip(1);
        let (kind, target) = (parts.next().unwrap_or_default(), parts.next());
        // What all get is counted where its sender would get it as well.
        if target.is_some() || delivery.to == delivery.from {
            *log.lock().entry((kind.to_owned(), target.is_some())).or_default() += 1;
        }
        Verdict::Deliver
    });
    for n in 1..20 {
        cluster.add(&format!("n{n:02}"), |_| {}).await;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let pairs: usize = (1..20).sum();
    let told = |kind: &str, targeted| told.lock().get(&(kind.to_owned(), targeted)).copied();
    assert_eq!(told("DISCOVER", false), Some(19));
    assert_eq!(told("INFO", true), Some(pairs), "one answer of each that was there");
    assert_eq!(told("INFO", false), Some(19));
    assert_eq!(told("DISCOVER", true), None);
    for node in &cluster.nodes {
        let registry = node.registry().read();
        assert_eq!(registry.nodes.iter().filter(|node| node.available).count(), 20);
    }
}
