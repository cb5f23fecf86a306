# `just` alone lists the recipes.
_default:
    @just --list --unsorted

# All that CI runs.
check:
    CI=true .ci/run

# All tests, or those with FILTER in their name.
test *FILTER:
    tests/run {{FILTER}}

# The tests that take long, whole: all points to be killed at, 20,000 edits of index.json beside builds.
soak *FILTER:
    CACHEDECK_SOAK=1 tests/run {{FILTER}}

# Lints, as CI sees them.
lint:
    cargo clippy --locked --all-targets -- -D warnings

# Formats the code.
fmt:
    cargo fmt

# Licences, banned crates, sources.
deny:
    cargo deny --locked check licenses bans sources

# Benches, or those with FILTER in their name.
bench *FILTER:
    cargo bench --locked -- {{FILTER}}

# Measures cachedeck beside other programs on a large cache, for docs/performance.md.
compare:
    python3 benches/compare.py

# Measures du and ls on a bucket of a million blobs, for docs/performance.md: memory, requests, time.
bench-s3 *SIZE:
    cargo build --locked --release
    python3 benches/s3.py "${CARGO_TARGET_DIR:-target}/release/cachedeck" {{SIZE}}

# Measures du beside rclone on a bucket of 20,000 objects, for docs/performance.md.
compare-rclone:
    cargo build --locked --release
    tests/servers/with python3 benches/rclone.py "${CARGO_TARGET_DIR:-target}/release/cachedeck"

# Measures copies beside skopeo, cp, rclone and zcat | zstd, for docs/performance.md.
compare-copying:
    cargo build --locked --release
    tests/servers/with python3 benches/copying.py "${CARGO_TARGET_DIR:-target}/release/cachedeck"

# Every fuzz target for SECONDS each. Wants cargo-fuzz and a C++ compiler; fuzz/README.md tells more.
fuzz SECONDS="60":
    #!/usr/bin/env bash
    set -euo pipefail
    export RUSTC_BOOTSTRAP=1
    for target in $(cargo fuzz list); do
        mkdir -p "fuzz/corpus-new/$target"
        cargo fuzz run -s none "$target" "fuzz/corpus-new/$target" "fuzz/corpus/$target" -- \
            -dict=fuzz/words.dict -max_total_time={{SECONDS}} -rss_limit_mb=512 -timeout=2
    done

# Draws the pictures in screenshots/ again, from the fixtures and what the test servers hold.
screenshots:
    CACHEDECK_SCREENSHOTS=write tests/servers/with cargo test --locked --test tui -- screenshots eight_places

# Makes the cache that `cachedeck demo` opens again.
demo-asset:
    python3 assets/demo.py
