//! The commands `copy` and `sync` as people and scripts meet them.

use crate::places::github;
use crate::program::Place;
use crate::support::faults::{Asked, Fault, Proxy, When};
use crate::support::s3::Bucket;
use serde_json::{Value, json};

fn json_of(place: &Place, arguments: &[&str]) -> (i32, Value) {
    let ran = place.run(arguments);
    (ran.code, serde_json::from_str(&ran.out).unwrap_or_else(|e| panic!("{e}: {} {}", ran.out, ran.err)))
}

fn names(place: &Place, location: &str) -> Vec<String> {
    let (_, listing) = json_of(place, &["ls", "--json", location]);
    let tags = listing["items"].as_array().unwrap().iter().flat_map(|item| item["tags"].as_array().unwrap().clone());
    let mut names: Vec<String> = tags.map(|tag| tag.as_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

#[test]
fn a_dry_run_makes_nothing_and_says_what_it_comes_to() {
    let place = Place::with("local-max");
    let ran = place.run(&["copy", "local-max", "./new", "-n", "--mode", "min"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.out.contains("planned") && ran.err.contains("leaves out 177.0 KiB"), "{}{}", ran.out, ran.err);
    assert!(ran.err.contains("would send 4 blobs"), "{}", ran.err);
    assert!(!place.path("new").exists(), "nothing was made");
}

#[test]
fn a_copy_says_how_to_use_it_and_how_to_take_it_back() {
    let place = Place::with("local-history");
    let (code, told) = json_of(&place, &["copy", "local-history", "./new", "--json"]);
    assert_eq!((code, &told["schema"], &told["items"][0]["result"]), (0, &json!("cachedeck.copy/1"), &json!("copied")));
    assert_eq!(told["items"][0]["cache_from"], "type=local,src=./new,tag=latest");
    assert_eq!(names(&place, "./new"), ["latest"]);
    let run = told["runs"][0].as_str().unwrap();
    assert_eq!(place.run(&["undo", run, "./new", "--yes"]).code, 0);
    assert_eq!(names(&place, "./new"), Vec::<String>::new());
    let (_, told) = json_of(&place, &["copy", "local-history", "./new", "--all", "--json"]);
    assert_eq!(names(&place, "./new"), ["latest", "release"]);
    assert!(told["there"]["blobs"].as_u64().unwrap() > 0, "what was copied before is not sent again: {told}");
}

#[test]
fn mistakes_are_told_with_what_helps() {
    let place = Place::with("local-max");
    place.add("local-min", "other");
    std::fs::create_dir(place.path("photos")).unwrap();
    std::fs::write(place.path("photos/cat.jpg"), "meow").unwrap();
    for (arguments, code, word) in [
        (["copy", "local-max", "./photos"].as_slice(), 2, "not empty"),
        (&["copy", "local-max", "./other"], 8, "--overwrite"),
        (&["copy", "local-max", "./other", "--tag", "nosuch"], 5, "no name"),
        (&["copy", "local-max", "./x", "--compression", "estargz"], 2, "estargz"),
        (&["copy", "local-max", "./x", "--compression-level", "3"], 2, "--compression"),
        (&["copy", "./gone", "./x"], 5, "no such folder"),
        (&["--read-only", "copy", "local-max", "./x"], 4, "read-only"),
        (&["copy", "local-max", "type=daemon,builder=nobody"], 5, "builder"),
        (&["copy", "local-max", "type=inline,ref=localhost:1/x"], 10, "image"),
    ] {
        let ran = place.run(arguments);
        assert_eq!(ran.code, code, "{arguments:?}: {}", ran.err);
        assert!(ran.err.contains(word), "{arguments:?}: {}", ran.err);
    }
    assert!(!place.path("x").exists(), "nothing is made for what can't be");
    assert_eq!(std::fs::read_dir(place.path("photos")).unwrap().count(), 1);
}

#[test]
fn sync_shows_what_goes_and_takes_it_away_only_when_told() {
    let place = Place::with("local-history");
    place.add("local-max", "mirror");
    assert_eq!(place.run(&["copy", "local-history", "./mirror,tag=old", "--tag", "release"]).code, 0);
    assert_eq!(place.run(&["copy", "local-history", "./mirror,tag=kept", "--tag", "release"]).code, 0);
    let pinned = place.run(&["pin", "./mirror", "--tag", "old", "--name", "pinned"]);
    assert_eq!(pinned.code, 0, "{}", pinned.err);
    let before = names(&place, "./mirror");
    assert_eq!(before, ["kept", "latest", "old", "pinned"]);

    let shown = place.run(&["sync", "local-history", "./mirror", "--keep-tag", "ke*"]);
    assert_eq!(shown.code, 0, "{}", shown.err);
    assert!(shown.out.contains("REMOVE") && shown.err.contains("--apply"), "{}{}", shown.out, shown.err);
    assert_eq!(names(&place, "./mirror"), before, "nothing is done");
    let asked = place.run(&["sync", "local-history", "./mirror", "--apply"]);
    assert_eq!(asked.code, 2, "nobody can be asked: {}", asked.err);
    assert_eq!(names(&place, "./mirror"), before);

    let (code, told) =
        json_of(&place, &["sync", "local-history", "./mirror", "--keep-tag", "ke*", "--apply", "--yes", "--json"]);
    assert_eq!((code, &told["removes"]), (0, &json!(["old"])), "{told}");
    assert_eq!(names(&place, "./mirror"), ["kept", "latest", "pinned", "release"]);
    let again = ["sync", "local-history", "./mirror", "--keep-tag", "ke*", "--apply", "--yes", "--error-on-noop"];
    assert_eq!(place.run(&again).code, 9);
    // What can't be seen whole says nothing of what is not in it.
    let index = place.path("local-history").join("index.json");
    let mut broken: serde_json::Value = serde_json::from_slice(&std::fs::read(&index).unwrap()).unwrap();
    let whole = broken.clone();
    broken["manifests"].as_array_mut().unwrap().push(json!({ "digest": "no digest", "size": 1 }));
    std::fs::write(&index, broken.to_string()).unwrap();
    let careful = place.run(&["sync", "local-history", "./mirror", "--apply", "--yes"]);
    assert!(careful.err.contains("no names are taken away"), "{}", careful.err);
    assert_eq!(names(&place, "./mirror"), ["kept", "latest", "pinned", "release"]);
    std::fs::write(&index, whole.to_string()).unwrap();
    // Both runs can be taken back, the last one first.
    for run in told["runs"].as_array().unwrap().iter().rev() {
        let undone = place.run(&["undo", run.as_str().unwrap(), "./mirror", "--yes"]);
        assert_eq!(undone.code, 0, "{}", undone.err);
    }
    assert_eq!(names(&place, "./mirror"), before);
}

#[test]
fn sync_goes_where_names_cannot_be_taken_away() {
    let place = Place::with("local-history");
    let github = github(2);
    let there = github.location.reveal();
    for _ in 0..2 {
        let synced = place.run(&["sync", "local-history", &there, "--tag", "latest", "--apply", "--yes"]);
        assert_eq!(synced.code, 0, "{}{}", synced.out, synced.err);
        assert!(!synced.err.contains("no names are taken away"), "what was written is wanted: {}", synced.err);
        assert_eq!(names(&place, &there).len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sync_leaves_a_name_that_somebody_led_elsewhere_meanwhile() {
    let place = Place::with("local-history");
    place.add("local-max", "mirror");
    let bucket = Bucket::new().await;
    let s3 = |endpoint: &str| {
        format!(
            "type=s3,bucket={},region=us-east-1,endpoint_url={endpoint},use_path_style=true,access_key_id=tests,secret_access_key=tests",
            bucket.name
        )
    };
    for arguments in [
        &["copy", "local-history", &s3(&bucket.endpoint), "--all"][..],
        &["copy", "local-history", "./mirror,tag=old", "--tag", "release"],
        &["copy", "local-history", "./mirror,tag=gone", "--tag", "release"],
    ] {
        let ran = place.run(arguments);
        assert_eq!(ran.code, 0, "{}", ran.err);
    }
    let proxy = Proxy::before(&bucket.endpoint);
    let index = place.path("mirror/index.json");
    // As soon as a blob is read, a build leads `old` to what `latest` led to.
    let lead = move |asked: Asked| {
        let mut all: Value = serde_json::from_slice(&std::fs::read(&index).unwrap()).unwrap();
        let entries = all["manifests"].as_array_mut().unwrap();
        let name = |entry: &Value| entry["annotations"]["org.opencontainers.image.ref.name"].clone();
        if let Some(latest) = entries.iter().find(|entry| name(entry) == "latest").cloned()
            && let Some(old) = entries.iter_mut().find(|entry| name(entry) == "old")
        {
            (old["digest"], old["size"]) = (latest["digest"].clone(), latest["size"].clone());
        }
        std::fs::write(&index, all.to_string()).unwrap();
        Ok(asked)
    };
    proxy.play(When::nth(1).of("/blobs/"), Fault::asked(lead));
    let synced = place.run(&["sync", &s3(proxy.url()), "./mirror", "--apply", "--yes"]);
    assert!(synced.code == 0 && synced.err.contains("old leads elsewhere by now"), "{} {}", synced.code, synced.err);
    assert_eq!(names(&place, "./mirror"), ["latest", "old", "release"]);
}
