//! Reading and verifying a local cache of 100 versions (some 3,000 blobs), warm. For the large cache beside its peers see
//! `benches/compare.py`.

#![allow(clippy::expect_used)]

use cachedeck::model::location::Location;
use cachedeck::ops::{load, verify};
use cachedeck::progress::Progress;
use cachedeck::store::catalog;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::process::Command;

fn cache(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/mkbig.py");
    let made = Command::new("python3").arg(script).arg(folder.path()).args(["100", "80", "0.7", "8192"]).output();
    assert!(made.expect("python3 runs").status.success(), "mkbig.py failed");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let store = catalog::open(&Location::local_dir(folder.path().to_string_lossy())).expect("a store");
    let inventory = runtime.block_on(load::load(&store, &Progress::new())).expect("an inventory");

    let mut group = criterion.benchmark_group("local");
    group.sample_size(20);
    group.throughput(Throughput::Elements(inventory.usage.blobs));
    group.bench_function("load", |bench| {
        bench.iter(|| runtime.block_on(load::load(&store, &Progress::new())).expect("an inventory"));
    });
    group.throughput(Throughput::Bytes(inventory.usage.bytes));
    group.bench_function("verify", |bench| {
        let level = verify::Level::Digest;
        bench.iter(|| runtime.block_on(verify::verify(&store, &inventory, level, &Progress::new())).expect("a report"));
    });
    group.finish();
}

criterion_group!(benches, cache);
criterion_main!(benches);
