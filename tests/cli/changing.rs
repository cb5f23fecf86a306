//! Changing caches: shown first, agreed to, done, told, taken back; and nothing changed by anything else.

use crate::program::{Place, Ran};
use serde_json::Value;
use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

const DANGLING: [&str; 4] = ["d9d014ba1951", "21450e49a0a4", "1b4979d95935", "4756e3e170db"];

/// Everything below a folder, with what tells whether it was touched. What we keep there ourselves is left out unless `all`.
fn listing(folder: &Path, all: bool) -> BTreeMap<String, (u64, i64, i64, i64, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(at) = folders.pop() {
        for entry in std::fs::read_dir(&at).unwrap() {
            let entry = entry.unwrap();
            let (path, metadata) = (entry.path(), entry.metadata().unwrap());
            let name = path.strip_prefix(folder).unwrap().to_string_lossy().into_owned();
            if name.starts_with(".cachedeck") && !all {
                continue;
            }
            if metadata.is_dir() {
                folders.push(path);
                continue;
            }
            let changed = if all { metadata.ctime() } else { 0 };
            let node = if all { metadata.ino() } else { 0 };
            let content = std::fs::read(&path).unwrap();
            found.insert(name, (node, metadata.mtime(), metadata.mtime_nsec(), changed, content));
        }
    }
    found
}

/// The same without what differs from run to run.
fn steady(ran: &Ran) -> String {
    let text = ran.to_string();
    let is_id = |word: &str| word.trim_end_matches([':', '\n']).parse::<cachedeck::model::plan::RunId>().is_ok();
    let words = text.split_inclusive([' ', '\n']).map(|word| {
        let bare = word.trim_end();
        if is_id(bare) { word.replace(bare.trim_end_matches(':'), "RUN") } else { word.to_owned() }
    });
    words.collect()
}

fn local() -> Place {
    Place::with("local-history")
}

#[test]
fn plans_say_what_goes_and_why() {
    let place = local();
    for (name, arguments) in [
        ("prune", &["prune", "local-history"][..]),
        ("prune_last", &["prune", "local-history", "--keep-last", "1", "--group-by", "none"]),
        ("prune_tags", &["prune", "local-history", "--keep-tag", "rel*", "--keep-digest", "21450e"]),
        ("prune_size", &["prune", "local-history", "--max-size", "600KiB"]),
        ("prune_by_hand", &["prune", "local-history", "--remove", "release", "--keep", "d9d014"]),
        ("prune_refused", &["prune", "local-history", "--max-delete", "3"]),
        ("prune_exclusive", &["prune", "local-history", "--exclusive"]),
        ("delete", &["delete", "local-history", "release", "21450e49"]),
        ("untag", &["untag", "local-history", "release", "--dry-run"]),
        ("pin", &["pin", "local-history", "--digest", "d9d014", "--until", "90d", "--dry-run"]),
    ] {
        insta::assert_snapshot!(format!("plan_{name}"), steady(&place.run(arguments)));
    }
}

#[test]
fn nothing_is_changed_by_looking_or_planning() {
    let place = local();
    place.add("local-max", "broken");
    let gone = "blobs/sha256/04d3bea617a8a9099577d77d90bf8a2d6a49181c1638f8da494f55bcfc67ebdf";
    std::fs::remove_file(place.path("broken").join(gone)).unwrap();
    let before = ["local-history", "broken"].map(|name| listing(&place.path(name), true));
    let looking: [&[&str]; 24] = [
        &["ls", "local-history"],
        &["inspect", "local-history"],
        &["versions", "local-history"],
        &["layers", "local-history"],
        &["graph", "local-history"],
        &["records", "local-history"],
        &["raw", "local-history"],
        &["du", "local-history"],
        &["blobs", "local-history"],
        &["verify", "--level", "digest", "local-history"],
        &["diff", "local-history"],
        &["files", "local-history", "#6"],
        &["find", "app", "local-history"],
        &["flags", "local-history"],
        &["pins", "local-history"],
        &["log", "local-history"],
        &["trash", "ls", "local-history"],
        &["prune", "local-history", "--keep-last", "1"],
        &["prune", "local-history", "--plan-out", "plan.json"],
        &["apply", "plan.json", "--dry-run"],
        &["delete", "local-history", "release"],
        &["untag", "local-history", "release", "--dry-run"],
        &["repair", "broken"],
        &["pin", "local-history", "--tag", "latest", "--dry-run"],
    ];
    for arguments in looking {
        let ran = place.run(arguments);
        assert_eq!(ran.code, 0, "{arguments:?}: {ran}");
        let after = ["local-history", "broken"].map(|name| listing(&place.path(name), true));
        assert!(before == after, "{arguments:?} changed something");
    }
    // A dry run wins over everything, and what nobody agreed to does not happen.
    for (arguments, code) in [
        (&["prune", "local-history", "--grace", "0s", "--apply", "--yes", "--dry-run"][..], 0),
        (&["prune", "local-history", "-n", "--apply", "--force", "--exclusive"], 0),
        (&["delete", "local-history", "release", "-n", "--apply", "-y"], 0),
        (&["prune", "local-history", "--grace", "0s", "--apply"], 2),
        (&["delete", "local-history", "release", "--apply"], 2),
        (&["repair", "broken", "--apply"], 2),
        (&["apply", "plan.json"], 2),
        (&["undo", "local-history"], 2),
        (&["trash", "empty", "local-history"], 2),
        (&["trash", "restore", "local-history"], 2),
        (&["prune", "--apply", "--yes"], 2),
        (&["prune", "local-history", "--apply", "--yes", "--max-delete", "3"], 7),
        (&["untag", "local-history", "release"], 7),
        (&["prune", "local-history", "--apply", "--yes", "--read-only"], 4),
        (&["pin", "local-history", "--read-only"], 4),
        (&["untag", "local-history", "release", "--force", "--read-only"], 4),
        (&["undo", "local-history", "--yes", "--read-only"], 4),
        (&["trash", "empty", "local-history", "--yes", "--read-only"], 4),
        (&["apply", "plan.json", "--yes", "--read-only"], 4),
        (&["unpin", "local-history", "none"], 5),
        (&["delete", "local-history", "none", "--apply", "--yes"], 5),
        (&["pin", "local-history", "--tag", "latest", "--name", "latest"], 2),
        (&["pin", "local-history", "--tag", "latest", "--name", "release"], 8),
        (&["pin", "local-history", "--until", "2020-01-01"], 2),
        (&["pin", "broken"], 6),
    ] {
        let ran = place.run(arguments);
        assert_eq!(ran.code, code, "{arguments:?}: {ran}");
        let after = ["local-history", "broken"].map(|name| listing(&place.path(name), true));
        assert!(before == after, "{arguments:?} changed something");
    }
}

#[test]
fn what_goes_is_hidden_and_undo_brings_it_back_as_it_was() {
    let place = local();
    let cache = place.path("local-history");
    let before = listing(&cache, false);
    let ran = place.run(&["prune", "local-history", "--grace", "0s", "--apply", "--yes"]);
    assert_eq!(ran.code, 0, "{ran}");
    insta::assert_snapshot!("applied", steady(&ran));
    assert!(listing(&cache, false).len() < before.len());
    let left = place.run(&["ls", "--json=tags,missing", "local-history"]).json();
    let left: Vec<String> = left["items"].as_array().unwrap().iter().map(Value::to_string).collect();
    assert_eq!(left, [r#"{"tags":["latest"],"missing":[]}"#, r#"{"tags":["release"],"missing":[]}"#]);
    assert_eq!(place.run(&["verify", "--level", "digest", "local-history"]).code, 0);

    let trash = place.run(&["trash", "ls", "--json", "local-history"]).json()["items"][0].clone();
    assert_eq!((&trash["phase"]["is"], &trash["can_undo"]), (&"hidden".into(), &true.into()));
    assert_eq!(trash["due_at"], "2026-11-28T00:00:00Z");
    let id = trash["id"].as_str().unwrap();

    let undone = place.run(&["undo", id, "--yes"]);
    assert_eq!(undone.code, 0, "{undone}");
    assert!(before == listing(&cache, false), "not all is as it was");
    let log = place.run(&["log", "--json"]).json()["items"].clone();
    assert_eq!((log.as_array().unwrap().len(), &log[0]["phase"]["is"]), (1, &"undone".into()));
    assert_eq!(place.run(&["undo", id, "--yes"]).code, 8, "undone once");
    assert_eq!(place.run(&["undo", "local-history", "--yes"]).code, 5, "nothing more to undo");
}

#[test]
fn what_was_hidden_is_freed_once_it_is_due_or_when_the_trash_is_emptied() {
    let place = local();
    let prune = ["prune", "local-history", "--grace", "0s", "--apply", "--yes"];
    assert_eq!(place.run(&prune).code, 0);
    let hidden = || place.run(&["trash", "ls", "--json", "local-history"]).json()["items"].as_array().unwrap().len();
    let soon = place.run(&prune);
    assert_eq!((soon.code, hidden()), (0, 1), "{soon}");
    let later = place.command(&prune).env("CACHEDECK_NOW", "2026-11-28T00:00:01Z").output().unwrap();
    let later = Ran::of(later);
    assert_eq!((later.code, hidden()), (0, 0), "{later}");
    assert!(later.err.contains("of 1 earlier run: 25 blobs freed"), "{later}");

    // A name goes as well this time.
    let delete = ["delete", "local-history", "release", "--grace", "0s", "--apply", "--yes"];
    assert_eq!(place.run(&delete).code, 0);
    let emptied = place.run(&["trash", "empty", "local-history", "--yes"]);
    assert_eq!((emptied.code, hidden()), (0, 0), "{emptied}");
    assert_eq!(place.run(&["undo", "local-history", "--yes"]).code, 5, "what is freed is gone");
    assert_eq!(place.run(&["verify", "--level", "digest", "local-history"]).code, 0);
    let noop = place.run(&["prune", "local-history", "--apply", "--yes", "--error-on-noop"]);
    assert_eq!(noop.code, 9, "{noop}");
    assert_eq!(place.run(&["prune", "local-history", "--error-on-noop"]).code, 9);
}

#[test]
fn exclusive_frees_at_once() {
    let place = local();
    let run = place.run(&["prune", "local-history", "--exclusive", "--apply", "--yes", "--json"]).json();
    assert_eq!((&run["schema"], &run["hidden"], &run["freed"]), (&"cachedeck.run/1".into(), &0.into(), &25.into()));
    assert_eq!((&run["phase"]["is"], &run["due_at"], &run["stopped"]), (&"done".into(), &Value::Null, &Value::Null));
    assert_eq!(place.run(&["du", "--json", "local-history"]).json()["items"][0]["dangling_bytes"], 0);
}

#[test]
fn what_has_other_names_outside_frees_nothing() {
    let place = local();
    let (blobs, other) = (place.path("local-history/blobs/sha256"), place.path("other"));
    std::fs::create_dir(&other).unwrap();
    let prune = ["prune", "local-history", "--exclusive", "--json"];
    let before = place.run(&prune).json();
    // All but one, as `cp -al` would do.
    let target = |plan: &Value| plan["steps"][7].clone();
    let alone = target(&before);
    let hex = alone["digest"].as_str().unwrap()[7..].to_owned();
    for entry in std::fs::read_dir(&blobs).unwrap().map(Result::unwrap) {
        if entry.file_name() != *hex {
            std::fs::hard_link(entry.path(), other.join(entry.file_name())).unwrap();
        }
    }
    let plan = place.run(&prune).json();
    assert_eq!(plan["steps"], before["steps"], "all of it goes nevertheless");
    assert_eq!(plan["frees_bytes"], alone["size_bytes"]);
    let rows = plan["rows"].as_array().unwrap().iter().filter_map(|row| row["frees_bytes"].as_u64());
    assert_eq!(Some(rows.sum()), alone["size_bytes"].as_u64());
    assert!(plan["warnings"].to_string().contains("24 blobs"), "{}", plan["warnings"]);
    let hide = ["prune", "local-history", "--grace", "0s", "--apply", "--yes", "--json"];
    let hidden = place.run(&hide).json();
    assert_eq!((&hidden["hidden"], &hidden["hidden_bytes"]), (&25.into(), &alone["size_bytes"]));
    assert_eq!(place.run(&["trash", "empty", "local-history", "--yes"]).code, 0);
    let run = place.run(&["log", "--json", "local-history"]).json()["items"][0].clone();
    assert_eq!((&run["freed"], &run["freed_bytes"]), (&25.into(), &alone["size_bytes"]));
}

#[test]
fn a_pin_keeps_a_version_and_goes_when_it_is_told_to() {
    let place = local();
    let pin = ["pin", "local-history", "--digest", "d9d014", "--name", "v1", "--until", "90d", "--reason", "shipped"];
    let pinned = place.run(&pin);
    assert_eq!(pinned.code, 0, "{pinned}");
    let from = pinned.out.trim().strip_prefix("--cache-from ").unwrap().to_owned();
    assert!(
        from.ends_with(",digest=sha256:d9d014ba1951c5756a6e2bd7ea1c61aa9fce7b0ca00a5e56ca2446a6dabbabaf"),
        "{from}"
    );
    assert_eq!(place.run(&["inspect", "--json=tags", &from]).json()["items"][0]["tags"], serde_json::json!(["v1"]));
    insta::assert_snapshot!("pins", place.run(&["pins", "local-history"]));

    let prune =
        ["prune", "local-history", "--exclusive", "--keep-none", "--max-delete-size", "100%", "--apply", "--yes"];
    let pruned = place.run(&prune);
    assert_eq!(pruned.code, 0, "{pruned}");
    let left = || place.run(&["ls", "--json=tags", "local-history"]).json()["items"].to_string();
    assert_eq!(left(), r#"[{"tags":["v1"]}]"#);
    // The same pin again only changes its note.
    let longer = place.run(&["pin", "local-history", "--tag", "v1", "--name", "v1", "--until", "1y", "--json"]).json();
    assert_eq!((&longer["run"], &longer["until_at"]), (&Value::Null, &"2027-11-27T18:00:00Z".into()));

    let after =
        |now: &str, arguments: &[&str]| Ran::of(place.command(arguments).env("CACHEDECK_NOW", now).output().unwrap());
    let expired = after("2028-01-01", &["pins", "local-history", "--json"]);
    assert_eq!(expired.json()["items"][0]["state"], "expired");

    assert_eq!(place.run(&["unpin", "local-history", "v1"]).code, 0);
    assert_eq!(place.run(&["pins", "--json", "local-history"]).json()["items"], serde_json::json!([]));
    assert_eq!(left(), r#"[{"tags":[]}]"#);
    let refused = place.run(&["prune", "local-history", "--exclusive", "--apply", "--yes"]);
    assert_eq!((refused.code, left()), (7, r#"[{"tags":[]}]"#.to_owned()), "nothing would be left: {refused}");
}

#[test]
fn undoing_a_pin_takes_its_note_along() {
    let place = local();
    assert_eq!(place.run(&["pin", "local-history", "--digest", "d9d014"]).code, 0);
    assert_eq!(place.run(&["undo", "local-history", "--yes"]).code, 0);
    assert_eq!(place.run(&["pins", "--json", "local-history"]).json()["items"], serde_json::json!([]));
    let dangling = place.run(&["ls", "--json=digest", "--filter", "dangling=true", "local-history"]).json();
    assert_eq!(dangling["items"].as_array().unwrap().len(), DANGLING.len());
}

#[test]
fn a_plan_is_done_once_and_where_it_was_made_for() {
    let place = local();
    place.add("local-history", "other");
    let out = place.run(&["prune", "local-history", "--grace", "0s", "--plan-out", "plan.json"]);
    assert_eq!(out.code, 0, "{out}");
    assert!(out.err.contains("to do it: cachedeck apply plan.json"), "{out}");
    let mode = std::fs::metadata(place.path("plan.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let elsewhere = place.run(&["apply", "plan.json", "other", "--yes"]);
    assert_eq!(elsewhere.code, 2, "{elsewhere}");
    // A build wrote the index meanwhile.
    let index = place.path("local-history/index.json");
    let text = std::fs::read_to_string(&index).unwrap();
    std::fs::write(&index, text.replace("\"release\"", "\"released\"")).unwrap();
    let changed = place.run(&["apply", "plan.json", "--yes"]);
    assert_eq!(changed.code, 8, "{changed}");
    assert!(changed.err.contains("has changed since the plan was made"), "{changed}");
    std::fs::write(&index, text).unwrap();
    let done = place.run(&["apply", "plan.json", "--yes"]);
    assert_eq!(done.code, 0, "{done}");
    assert!(done.err.contains("25 blobs hidden, not yet freed"), "{done}");
    assert_eq!(place.run(&["undo", "local-history", "--yes"]).code, 0);
    let twice = place.run(&["apply", "plan.json", "--yes"]);
    assert_eq!(twice.code, 8, "{twice}");
    assert!(twice.err.contains("was applied before"), "{twice}");
    std::fs::write(place.path("wrong.json"), "{}").unwrap();
    assert_eq!(place.run(&["apply", "wrong.json", "--yes"]).code, 2);
    assert_eq!(place.run(&["apply", "gone.json", "--yes"]).code, 5);
}

#[test]
fn a_plan_is_the_same_in_json_and_in_its_file() {
    let place = local();
    let plan = place.run(&["prune", "local-history", "--json", "--plan-out", "plan.json"]).json();
    assert_eq!(plan["schema"], "cachedeck.plan/1");
    let file: Value = serde_json::from_slice(&std::fs::read(place.path("plan.json")).unwrap()).unwrap();
    assert_eq!(plan, file);
    let two = place.run(&["prune", "--json", "local-history", "local-history,tag=release"]);
    assert_eq!((two.code, two.out.lines().count()), (0, 2), "a line each");
}

#[test]
fn the_configuration_says_how_a_place_is_pruned_and_that_it_is_not() {
    let place = local();
    let config =
        "[locations.old]\nlocation = './local-history'\npolicy = { keep_last = 1, group_by = 'none', grace = '0s' }\n";
    std::fs::write(place.path("config.toml"), config).unwrap();
    let plan = |more: &[&str]| {
        let arguments = [&["prune", "--config", "config.toml", "--json", "@old"], more].concat();
        place.run(&arguments).json()["policy"][0].as_str().unwrap().to_owned()
    };
    assert_eq!(plan(&[]), "keep the last 1");
    assert_eq!(plan(&["--keep-within", "1d"]), "keep what is younger than 1d", "a policy that is given counts alone");

    std::fs::write(place.path("config.toml"), "locations.old = { location = './local-history', read_only = true }")
        .unwrap();
    let before = listing(&place.path("local-history"), true);
    std::os::unix::fs::symlink("local-history", place.path("link")).unwrap();
    let absolute = place.path("local-history").canonicalize().unwrap();
    for spelt in ["@old", "local-history", "./local-history", "link", absolute.to_str().unwrap()] {
        let ran = place.run(&["prune", "--config", "config.toml", spelt, "--exclusive", "--apply", "--yes"]);
        assert_eq!(ran.code, 4, "{spelt}: {ran}");
        assert!(ran.err.contains("@old is read-only"), "{ran}");
        assert_eq!(place.run(&["pin", "--config", "config.toml", spelt, "--digest", "d9d014"]).code, 4);
    }
    let variable =
        place.command(&["prune", "local-history", "--apply", "--yes"]).env("CACHEDECK_READ_ONLY", "1").output();
    assert_eq!(Ran::of(variable.unwrap()).code, 4);
    assert!(before == listing(&place.path("local-history"), true));
}

#[test]
fn names_go_and_come_back() {
    let place = local();
    let names =
        || place.run(&["ls", "--json=tags", "--filter", "dangling=false", "local-history"]).json()["items"].to_string();
    let before = std::fs::read(place.path("local-history/index.json")).unwrap();
    let refused = place.run(&["untag", "local-history", "release"]);
    assert!(refused.err.contains("say --force"), "{refused}");
    assert_eq!(place.run(&["untag", "local-history", "release", "--force"]).code, 0);
    assert_eq!(names(), r#"[{"tags":["latest"]}]"#);
    assert_eq!(place.run(&["undo", "local-history", "--yes"]).code, 0);
    assert_eq!(names(), r#"[{"tags":["latest"]},{"tags":["release"]}]"#);
    let index = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap()["manifests"].as_array().unwrap().len();
    assert_eq!(index(&before), index(&std::fs::read(place.path("local-history/index.json")).unwrap()));
    assert_eq!(place.run(&["untag", "local-history", "gone"]).code, 5);
}

#[test]
fn a_broken_version_is_mended() {
    let place = Place::with("local-max");
    place.add("local-max", "whole");
    let layer = "blobs/sha256/04d3bea617a8a9099577d77d90bf8a2d6a49181c1638f8da494f55bcfc67ebdf";
    let lose = || std::fs::remove_file(place.path("local-max").join(layer)).unwrap();
    lose();
    let fetched = place.run(&["repair", "local-max", "--from", "whole", "--apply", "--yes"]);
    assert_eq!(fetched.code, 0, "{fetched}");
    assert_eq!(place.run(&["verify", "--level", "digest", "local-max"]).code, 0);
    assert!(place.path("local-max").join(layer).exists());

    lose();
    assert_eq!(place.run(&["verify", "local-max"]).code, 6);
    let mended = place.run(&["repair", "local-max", "--apply", "--yes"]);
    assert_eq!(mended.code, 0, "{mended}");
    assert_eq!(place.run(&["verify", "--level", "digest", "local-max"]).code, 0);
    assert!(!place.path("local-max").join(layer).exists());
    let again = place.run(&["repair", "local-max", "--apply", "--yes", "--error-on-noop"]);
    assert_eq!(again.code, 9, "nothing is broken any more: {again}");
}

#[test]
fn hostile_names_do_nothing_to_the_terminal() {
    let place = local();
    let index = place.path("local-history/index.json");
    let text = std::fs::read_to_string(&index).unwrap();
    std::fs::write(&index, text.replace("\"release\"", "\"\\u001b[31mevil\\u202e\\n\"")).unwrap();
    for arguments in [
        &["prune", "local-history"][..],
        &["prune", "local-history", "--keep-tag", "latest", "--format", "wide"],
        &["prune", "local-history", "--keep-tag", "latest", "--format", "tsv"],
        &["prune", "local-history", "--json"],
        &["delete", "local-history", "467e31"],
    ] {
        let ran = place.run(arguments);
        assert_eq!(ran.code, 0, "{ran}");
        assert!(!ran.to_string().contains(['\u{1b}', '\u{202e}']), "{arguments:?}");
    }
}

#[test]
fn places_that_have_their_own_way_say_so() {
    let place = Place::empty();
    let builder = crate::builder::Builder::start(crate::builder::Told::recorded());
    let daemon = format!("type=daemon,addr={}", builder.address());
    for arguments in
        [&["prune", &daemon][..], &["delete", &daemon, "x"], &["untag", &daemon, "x"], &["repair", &daemon]]
    {
        let ran = place.run(arguments);
        assert_eq!(ran.code, 10, "{arguments:?}: {ran}");
    }
}

#[test]
fn a_sample_reads_less() {
    let place = local();
    let ran = place.run(&["verify", "--level", "digest", "--sample", "3", "local-history"]);
    assert_eq!(ran.code, 0, "{ran}");
    assert!(ran.err.contains(" of 3 hashed"), "{ran}");
    assert_eq!(place.run(&["verify", "--sample", "5%", "local-history"]).code, 2);
}
