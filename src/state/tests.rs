use super::catalog::Catalog;
use super::*;
use std::fs;
use tempfile::TempDir;

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn now() -> Timestamp {
    time("2026-11-01T00:00:00Z")
}

fn state(folder: &TempDir) -> State {
    State::at(Some(&folder.path().join("cache")), Some(&folder.path().join("data")))
}

fn read(name: &str, version: &str, bytes: &[u8]) -> Read {
    let name = Some((name.to_owned(), version.to_owned()));
    Read { name, digest: None, bytes: Bytes::copy_from_slice(bytes) }
}

#[tokio::test]
async fn documents_come_back_by_name_and_version_and_by_digest() {
    let folder = TempDir::new().unwrap();
    let place = Place::new("type=s3,bucket=a");
    state(&folder).keep(place, vec![read("main", "1", b"{}"), read("main", "2", b"{ }")], now()).await;
    let again = state(&folder);
    let known = again.known(place, "main", "1").await.unwrap();
    assert_eq!((known.digest, &known.bytes[..]), (Digest::of(b"{}"), &b"{}"[..]));
    assert_eq!(again.known(place, "main", "2").await.unwrap().bytes, "{ }");
    assert_eq!(again.document(Digest::of(b"{}")).await.unwrap(), "{}");
    for (place, name, version) in [(place, "main", "3"), (place, "x", "1"), (Place::new("other"), "main", "1")] {
        assert_eq!(again.known(place, name, version).await, None);
    }
    assert_eq!(again.document(Digest::of(b"x")).await, None);
    let wrong = Read { digest: Some(Digest::of(b"x")), ..read("wrong", "1", b"{\"a\":1}") };
    again.keep(place, vec![wrong], now()).await;
    assert_eq!(again.known(place, "wrong", "1").await, None, "its bytes are not what was asked for");
}

#[tokio::test]
async fn what_names_led_to_is_kept_until_it_is_missed_often() {
    let folder = TempDir::new().unwrap();
    let (state, place) = (state(&folder), Place::new("type=registry,ref=a/b"));
    let (one, two) = (Digest::of(b"1"), Digest::of(b"2"));
    let later = time("2026-11-02T00:00:00Z");
    state.saw(place, vec![("main".into(), one)], now()).await;
    state.saw(place, vec![("main".into(), two), ("v1".into(), one)], later).await;
    let former = |name: &str, digest, first, last| Former { name: name.into(), digest, first, last };
    let all =
        vec![former("main", two, later, later), former("v1", one, later, later), former("main", one, now(), now())];
    assert_eq!(state.formerly(place, 10).await, all);
    assert_eq!(state.formerly(place, 1).await, all[..1]);
    for _ in 0..3 {
        assert!(state.formerly(place, 10).await.iter().any(|f| f.digest == one));
        state.missed(place, vec![one]).await;
    }
    assert_eq!(state.formerly(place, 10).await, all[..1]);
    // After a year it is forgotten.
    state.saw(place, vec![("x".into(), one)], time("2028-01-01T00:00:00Z")).await;
    assert_eq!(state.formerly(place, 10).await.len(), 1);
}

#[tokio::test]
async fn steps_are_learnt_to_the_nanosecond() {
    let folder = TempDir::new().unwrap();
    let step = |created: &str, step: &str| LearntStep {
        created: time(created),
        step: step.into(),
        builder: "ci".into(),
        learnt: now(),
    };
    let known = [step("2026-01-01T00:00:00.000000001Z", "RUN a"), step("2026-01-01T00:00:00.1Z", "RUN b")];
    state(&folder).learn(known.to_vec(), now()).await;
    state(&folder).learn(vec![step("2026-01-01T00:00:00.1Z", "RUN other")], now()).await;
    assert_eq!(state(&folder).learnt().await, known);
    assert_eq!(state(&folder).forget_steps(time("2027-01-01T00:00:00Z")).await, 2);
}

#[cfg(unix)]
#[tokio::test]
async fn only_the_user_can_read_it() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = TempDir::new().unwrap();
    let state = state(&folder);
    state.keep(Place::new("x"), vec![read("a", "1", b"{}")], now()).await;
    state.saw(Place::new("x"), vec![("a".into(), Digest::of(b""))], now()).await;
    for below in ["cache", "data"] {
        let below = folder.path().join(below);
        assert_eq!(fs::metadata(&below).unwrap().permissions().mode() & 0o777, 0o700);
        for file in fs::read_dir(below).unwrap().map(Result::unwrap) {
            let mode = file.metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{:?}", file.path());
        }
    }
}

#[tokio::test]
async fn a_damaged_file_is_begun_anew() {
    for garbage in [&b"not a database at all, but long enough to be looked at as one"[..], &[0; 8192], &[255; 200]] {
        let folder = TempDir::new().unwrap();
        for (below, name) in [("cache", "catalog.db"), ("data", "history.db")] {
            fs::create_dir(folder.path().join(below)).unwrap();
            fs::write(folder.path().join(below).join(name), garbage).unwrap();
        }
        let (state, place) = (state(&folder), Place::new("x"));
        state.keep(place, vec![read("a", "1", b"{}")], now()).await;
        state.saw(place, vec![("a".into(), Digest::of(b""))], now()).await;
        assert!(state.known(place, "a", "1").await.is_some());
        assert_eq!(state.formerly(place, 10).await.len(), 1);
        let damaged = fs::read(folder.path().join("data/history.db.damaged")).unwrap();
        assert_eq!(damaged, garbage, "what can't be had again is not thrown away");
        assert!(!folder.path().join("cache/catalog.db.damaged").exists());
    }
}

#[tokio::test]
async fn a_file_damaged_in_the_middle_costs_only_what_was_in_it() {
    let folder = TempDir::new().unwrap();
    let place = Place::new("x");
    let all: Vec<Read> =
        (0..200).map(|n| read(&format!("n{n}"), "1", format!("{{\"n\":{n}}}").repeat(40).as_bytes())).collect();
    state(&folder).keep(place, all, now()).await;
    let path = folder.path().join("cache/catalog.db");
    let mut bytes = fs::read(&path).unwrap();
    bytes.iter_mut().skip(4096).for_each(|byte| *byte ^= 0x5a);
    fs::write(&path, bytes).unwrap();
    let state = state(&folder);
    for n in 0..200 {
        let known = state.known(place, &format!("n{n}"), "1").await;
        assert!(known.is_none_or(|known| known.digest == Digest::of(format!("{{\"n\":{n}}}").repeat(40).as_bytes())));
    }
    state.keep(place, vec![read("a", "1", b"{}")], now()).await;
    assert!(state.known(place, "a", "1").await.is_some());
}

#[tokio::test]
async fn stored_bytes_that_do_not_hash_are_not_believed() {
    let folder = TempDir::new().unwrap();
    let place = Place::new("x");
    state(&folder).keep(place, vec![read("a", "1", b"{}")], now()).await;
    let db = rusqlite::Connection::open(folder.path().join("cache/catalog.db")).unwrap();
    db.execute("UPDATE documents SET packed = ?1", [zstd::bulk::compress(b"[]", 1).unwrap()]).unwrap();
    let state = state(&folder);
    assert_eq!(state.document(Digest::of(b"{}")).await, None);
    state.keep(place, vec![read("a", "1", b"{}")], now()).await;
    assert_eq!(state.known(place, "a", "1").await.unwrap().bytes, "{}");
}

#[tokio::test]
async fn what_a_newer_version_wrote_is_left_or_begun_anew() {
    let folder = TempDir::new().unwrap();
    let place = Place::new("x");
    let first = state(&folder);
    first.keep(place, vec![read("a", "1", b"{}")], now()).await;
    first.saw(place, vec![("a".into(), Digest::of(b""))], now()).await;
    drop(first);
    for file in ["cache/catalog.db", "data/history.db"] {
        let db = rusqlite::Connection::open(folder.path().join(file)).unwrap();
        db.pragma_update(None, "user_version", 99).unwrap();
    }
    let state = state(&folder);
    assert_eq!(state.known(place, "a", "1").await, None);
    state.keep(place, vec![read("a", "1", b"{}")], now()).await;
    assert!(state.known(place, "a", "1").await.is_some());
    state.saw(place, vec![("b".into(), Digest::of(b""))], now()).await;
    assert_eq!(state.formerly(place, 10).await, []);
    let db = rusqlite::Connection::open(folder.path().join("data/history.db")).unwrap();
    let rows: i64 = db.query_row("SELECT count(*) FROM seen", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 1, "a newer version's file is not written to");
}

#[tokio::test]
async fn without_a_folder_nothing_is_kept_and_nothing_fails() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let place = Place::new("x");
    for state in [State::at(None, None), State::at(Some(&file.join("below")), Some(&file))] {
        state.keep(place, vec![read("a", "1", b"{}")], now()).await;
        state.saw(place, vec![("a".into(), Digest::of(b""))], now()).await;
        assert_eq!(state.known(place, "a", "1").await, None);
        assert_eq!(state.formerly(place, 10).await, []);
        assert_eq!(state.learnt().await, []);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn several_at_once_lose_nothing() {
    let folder = TempDir::new().unwrap();
    let place = Place::new("x");
    // Each has its own connections, as another process would.
    let writers = (0..8).map(|writer| {
        let state = state(&folder);
        tokio::spawn(async move {
            for n in 0..20 {
                let name = format!("{writer}-{n}");
                state.keep(place, vec![read(&name, "1", name.as_bytes())], now()).await;
                state.saw(place, vec![(name.clone(), Digest::of(name.as_bytes()))], now()).await;
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let state = state(&folder);
    for name in (0..8).flat_map(|writer| (0..20).map(move |n| format!("{writer}-{n}"))) {
        assert!(state.known(place, &name, "1").await.is_some(), "{name}");
    }
    assert_eq!(state.formerly(place, 1000).await.len(), 160);
}

#[test]
fn the_catalog_forgets_what_was_not_used_for_longest() {
    let folder = TempDir::new().unwrap();
    let limit = 2 << 20;
    let (catalog, place) = (Catalog::with_limit(Some(folder.path()), limit), Place::new("x"));
    let noise = |n: u64| {
        let words = (0..2000).map(|k: u64| Digest::of(&[n.to_le_bytes(), k.to_le_bytes()].concat()).hex());
        words.collect::<String>()
    };
    for n in 0..64 {
        let now = Timestamp::from_second(1_700_000_000 + n as i64).unwrap();
        catalog.keep(place, &[read(&n.to_string(), "1", noise(n).as_bytes())], now);
    }
    assert_eq!(catalog.known(place, "0", "1"), None);
    assert!(catalog.known(place, "63", "1").is_some());
    let taken = fs::metadata(folder.path().join("catalog.db")).unwrap().len();
    assert!(taken < 2 * limit, "{taken}");
}
