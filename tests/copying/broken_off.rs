//! Copies that break off: killed, out of room, out of what may be sent. The next try goes on where they were.

use crate::fixtures::Fixture;
use crate::places::{self, all_there, copy, fixture, only};

use cachedeck::error::Kind;
use cachedeck::model::digest::Digest;
use cachedeck::ops::copy::{Fate, Pace, Selection, Wish};
use cachedeck::store::catalog;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

#[tokio::test]
async fn what_may_not_be_sent_is_left_for_the_next_time() {
    let (max, to) = (fixture("local-max"), places::bucket());
    let mut rounds = 0;
    loop {
        let wish = Wish { pace: Pace { most: Some(101 << 10), ..Pace::default() }, ..Wish::default() };
        let copied = copy(&max.location, &to.location, &Selection::One, &wish).await.unwrap();
        rounds += 1;
        assert!(copied.sent.bytes <= 101 << 10, "{copied:?}");
        if copied.versions[0].fate == Fate::Copied {
            break;
        }
        assert!(copied.limited && matches!(copied.versions[0].fate, Fate::Failed(..)), "{copied:?}");
        let names = catalog::open(&to.location).unwrap().references().await.unwrap();
        assert_eq!(names.items, [], "no name before all is there");
        assert!(rounds < 9, "it gets nowhere");
    }
    assert!(rounds > 1, "it was no limit");
    assert_eq!(only(&to.location).await.1.max_bytes, only(&max.location).await.1.max_bytes);
}

/// Blobs of a layout, by name.
fn blobs(folder: &Path) -> BTreeSet<String> {
    let Ok(entries) = std::fs::read_dir(folder.join("blobs/sha256")) else { return BTreeSet::new() };
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn cachedeck(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cachedeck"));
    command.env_clear().env("HOME", home).env("PATH", std::env::var_os("PATH").unwrap());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[test]
fn killed_in_the_middle_it_goes_on_where_it_was() {
    let (from, old) = (Fixture::unpack("local-zstd"), Fixture::unpack("local-min"));
    let home = tempfile::tempdir().unwrap();
    let (from, to) = (from.path(), old.path());
    let before = std::fs::read(to.join("index.json")).unwrap();
    let there = blobs(&to);
    // Through the server, so that there is something to wait for; one at a time.
    let copying = |limit: &str| {
        let mut command = cachedeck(home.path());
        command.args(["copy", "--overwrite", "--parallel", "1", "--compression", "gzip", "--bwlimit", limit]);
        command.arg(&from).arg(&to).spawn().unwrap()
    };
    let mut child = copying("64KiB");
    let until = Instant::now() + Duration::from_secs(60);
    // Some blobs are there, and not all.
    while blobs(&to).difference(&there).count() < 2 {
        assert!(Instant::now() < until, "no blob arrives");
        assert!(child.try_wait().unwrap().is_none(), "it was done before it could be killed");
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(std::fs::read(to.join("index.json")).unwrap(), before, "the old version is as it was");
    for name in blobs(&to) {
        let bytes = std::fs::read(to.join("blobs/sha256").join(&name)).unwrap();
        assert_eq!(Digest::of(&bytes).hex(), name, "no blob is half there");
    }
    let arrived = blobs(&to).difference(&there).count() as u64;
    let output = cachedeck(home.path())
        .args(["copy", "--overwrite", "--compression", "gzip", "--json"])
        .arg(&from)
        .arg(&to)
        .output()
        .unwrap();
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["items"][0]["result"], "copied", "{told}");
    assert!(told["there"]["blobs"].as_u64().unwrap() >= arrived, "what arrived is not sent again: {told}");
}

#[test]
fn out_of_room_it_leaves_the_old_version_and_nothing_half() {
    let (from, old) = (Fixture::unpack("local-uncompressed"), Fixture::unpack("local-min"));
    let home = tempfile::tempdir().unwrap();
    let (from, to) = (from.path(), old.path());
    let before = (std::fs::read(to.join("index.json")).unwrap(), blobs(&to));
    // No file may be longer than 64 KiB: writing the rest fails, as on a full disk.
    let mut limited = Command::new("bash");
    limited.env_clear().env("HOME", home.path()).env("PATH", std::env::var_os("PATH").unwrap());
    let script = "trap '' XFSZ; ulimit -f 64; exec \"$@\"";
    let output = limited
        .args(["-c", script, "bash"])
        .arg(env!("CARGO_BIN_EXE_cachedeck"))
        .args(["copy", "--overwrite"])
        .arg(&from)
        .arg(&to);
    let output = output.output().unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("blob sha256:") && said.contains("hint:") || said.contains("too large"), "{said}");
    assert_eq!(std::fs::read(to.join("index.json")).unwrap(), before.0, "the old version is as it was");
    for name in blobs(&to).difference(&before.1) {
        let bytes = std::fs::read(to.join("blobs/sha256").join(name)).unwrap();
        assert_eq!(Digest::of(&bytes).hex(), *name, "no blob is half there");
    }
    let again = cachedeck(home.path()).args(["copy", "--overwrite"]).arg(&from).arg(&to).output().unwrap();
    assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stderr));
}

#[tokio::test]
async fn stopped_by_the_user_it_publishes_nothing() {
    let (max, to) = (fixture("local-max"), places::local());
    let (from, to) = (catalog::open(&max.location).unwrap(), catalog::make(&to.location).unwrap());
    let progress = cachedeck::progress::Progress::new();
    let wish = Wish { pace: Pace { rate: Some(16 << 10), ..Pace::default() }, ..Wish::default() };
    let bucket = places::bucket();
    let bucket = catalog::make(&bucket.location).unwrap();
    let copying = places::copy_between(&from, &bucket, &Selection::One, &wish, &progress);
    let stopping = async {
        while progress.counts().bytes == 0 || progress.counts().bytes_total == 0 {
            tokio::task::yield_now().await;
        }
        progress.cancel();
    };
    let (copied, ()) = tokio::join!(copying, stopping);
    assert_eq!(copied.unwrap_err().kind(), Kind::Cancelled);
    assert_eq!(bucket.references().await.unwrap().items, []);
    drop(to);
    all_there(&copy(&max.location, bucket.location(), &Selection::One, &Wish::default()).await.unwrap());
}
