//! Criterion's view of local calls: run it before and after a change of the call path.
//!
//! The table of `make bench` is another program, because its subjects must take turns.
#![expect(clippy::unwrap_used, reason = "a benchmark reports by panicking")]

use criterion::{Criterion, criterion_group, criterion_main};
use isomer_host::config::Mode;
use tests::bench::PAYLOAD;
use tests::bench::bare::Bare;
use tests::bench::local::{ACTION, GUEST, LocalNode};
use tests::guests;
use tokio::runtime::Runtime;
use tokio::sync::Mutex;

fn calls(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let file = guests::wasm(GUEST);
    let bare = Bare::load(&file);
    let warm = Mutex::new(runtime.block_on(bare.instance()));
    let pooled = runtime.block_on(LocalNode::start(&file, Mode::Pooled));
    let fresh = runtime.block_on(LocalNode::start(&file, Mode::Fresh));

    let mut group = criterion.benchmark_group("echo of 100 B");
    group.bench_function("warm, bare wasmtime", |bencher| {
        bencher.to_async(&runtime).iter(async || warm.lock().await.call("echo", PAYLOAD).await);
    });
    group.bench_function("warm, through the broker", |bencher| {
        bencher.to_async(&runtime).iter(|| pooled.call(ACTION));
    });
    group.bench_function("fresh, bare wasmtime", |bencher| {
        bencher.to_async(&runtime).iter(async || bare.instance().await.call("echo", PAYLOAD).await);
    });
    group.bench_function("fresh, through the broker", |bencher| {
        bencher.to_async(&runtime).iter(|| fresh.call(ACTION));
    });
    group.finish();
}

criterion_group!(benches, calls);
criterion_main!(benches);
