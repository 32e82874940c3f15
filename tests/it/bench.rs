//! The benchmarks on a tiny scale: they measure nothing then, but they work.

use tests::bench::raw_nats::Place;
use tests::bench::table::{Row, Table};
use tests::bench::{Scale, features, languages, local, memory, remote, sandbox, start, swap};

fn check(rows: Vec<Row>, n_rows: usize) {
    assert_eq!(rows.len(), n_rows);
    for row in &rows {
        assert!(row.ours.median().is_finite(), "{row:?}");
    }
    assert_eq!(Table(rows).to_string().lines().count(), 2 + n_rows);
}

#[tokio::test(flavor = "multi_thread")]
async fn fresh_calls_are_measured() {
    check(local::fresh(Scale::tiny()).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_middlewares_cost_is_measured() {
    check(features::cost(Scale::tiny()).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn server_local_calls_are_measured_beside_moleculer() {
    check(local::warm(Scale::tiny(), &local::js().await).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn server_remote_calls_are_measured_beside_moleculer() {
    let medium = remote::Medium::nats(&Place::Here).await;
    check(remote::throughput(Scale::tiny(), medium).await, 29);
}

#[tokio::test(flavor = "multi_thread")]
async fn server_remote_calls_over_redis_are_measured_beside_moleculer() {
    let medium = remote::Medium::redis().await;
    check(remote::throughput(Scale::tiny(), medium).await, 13);
}

#[tokio::test(flavor = "multi_thread")]
async fn server_remote_calls_over_tcp_are_measured_beside_moleculer() {
    check(remote::throughput(Scale::tiny(), remote::Medium::tcp()).await, 13);
}

#[tokio::test(flavor = "multi_thread")]
async fn server_swaps_are_measured() {
    check(swap::latency(Scale::tiny()).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn server_memory_is_measured() {
    check(memory::per_instance(Scale::tiny()).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn server_languages_are_measured_beside_rust() {
    let rows = languages::compare(Scale::tiny()).await;
    let n_rows = rows.len();
    assert!(n_rows >= 5 && n_rows.is_multiple_of(5), "{n_rows} rows");
    check(rows, n_rows);
}

#[tokio::test(flavor = "multi_thread")]
async fn starts_are_measured() {
    check(start::cached(Scale::tiny()).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_neighbours_are_measured() {
    let measured = sandbox::measure(Scale::tiny()).await;
    assert_eq!(measured.table.lines().count(), 2 + tests::corpus::all().len());
    check(vec![measured.row], 1);
}
