//! Which location and which version are meant.

use crate::program::Place;

const LATEST: &str = "sha256:2ea56c9ca5d9d0822097de3065cedb0bf8c9a2afed1a9f8ae24c97ed1f8a5e24";
const RELEASE: &str = "sha256:467e31b6898dd8db3ef6ba798a14c6304884a2404edf1f50c3a8f4fe48c7ad51";

#[test]
fn a_version_is_chosen_in_every_way() {
    let place = Place::with("local-history");
    let by_digest = format!("type=local,src=local-history,digest={RELEASE}");
    let short = format!("./local-history,digest={RELEASE}");
    for (arguments, digest) in [
        (&["local-history"][..], LATEST),
        (&["type=local,src=local-history"], LATEST),
        (&["type=local,dest=./local-history,tag=release"], RELEASE),
        (&["local-history,tag=release"], RELEASE),
        (&["./local-history,tag=release"], RELEASE),
        (&[&by_digest], RELEASE),
        (&[&short], RELEASE),
        (&["local-history", "--tag", "release"], RELEASE),
        (&["local-history", "--digest", "467e"], RELEASE),
        (&["local-history", "-d", RELEASE], RELEASE),
        (&["local-history,tag=release", "--tag", "latest"], LATEST),
    ] {
        let arguments: Vec<&str> = ["inspect", "--json=digest"].iter().chain(arguments).copied().collect();
        assert_eq!(place.run(&arguments).json()["items"][0]["digest"], digest, "{arguments:?}");
    }
}

#[test]
fn without_a_command_locations_are_listed() {
    let place = Place::with("local-history");
    place.add("local-min", "ls");
    let listed = place.run(&["ls", "local-history"]);
    for location in ["local-history", "./local-history", "type=local,src=local-history"] {
        let ran = place.run(&[location]);
        assert_eq!((ran.code, &ran.out), (0, &listed.out), "{location}: {ran}");
    }
    // A folder that is called like a command needs its ./
    assert_eq!(place.run(&["./ls", "--json"]).json()["items"].as_array().unwrap().len(), 1);
    let before = place.run(&["./ls", "du"]);
    assert_eq!(before.code, 2);
    assert!(before.err.contains("commands come first"), "{before}");
}

#[test]
fn without_locations_the_usual_folders_are_looked_at() {
    let place = Place::empty();
    let nothing = place.run(&[]);
    insta::assert_snapshot!("nothing_found", nothing);
    assert_eq!(nothing.code, 0);
    assert_eq!(place.run(&["--json"]).json()["items"], serde_json::json!([]));
    assert!(place.run(&["du"]).err.contains("cachedeck demo"));

    place.add("local-min", ".buildx-cache");
    let found = place.run(&[]);
    assert!(found.err.contains("looking at local:./.buildx-cache"), "{found}");
    assert!(found.out.contains("latest"), "{found}");
    assert_eq!(place.run(&["inspect", "--json"]).json()["location"]["src"], "./.buildx-cache");
}

#[test]
fn the_system_s_temporary_folder_is_one_of_them() {
    let place = Place::empty();
    let elsewhere = Place::with("local-min");
    std::fs::rename(elsewhere.path("local-min"), elsewhere.path(".buildx-cache")).unwrap();
    let ran = place.command(&["ls", "--json"]).env("TMPDIR", elsewhere.path("")).output().unwrap();
    let listing: serde_json::Value = serde_json::from_slice(&ran.stdout).unwrap();
    assert_eq!(listing["items"].as_array().unwrap().len(), 1);
}

#[test]
fn the_config_names_locations() {
    let place = Place::with("local-min");
    std::fs::write(place.path("config.toml"), "[locations]\nci = \"type=local,src=local-min\"\n").unwrap();
    let named = place.run(&["ls", "--json", "--config", "config.toml", "@ci"]);
    assert_eq!(named.json()["location"]["src"], "local-min");
    let all = place.run(&["--config", "config.toml", "ls", "--json"]);
    assert_eq!(all.json()["location"]["src"], "local-min");
    let unknown = place.run(&["ls", "--config", "config.toml", "@cj"]);
    assert_eq!(unknown.code, 5);
    assert!(unknown.err.contains("did you mean @ci?"), "{unknown}");
    assert_eq!(place.run(&["ls", "--config", "gone.toml"]).code, 5);
}

#[test]
fn raw_prints_what_is_stored() {
    let place = Place::with("local-max");
    let manifest = place.run(&["raw", "local-max"]).out;
    let digest = place.run(&["inspect", "--json=digest,config", "local-max"]).json()["items"][0].clone();
    let stored = |field: &str| {
        let name = digest[field].as_str().unwrap().replace(':', "/");
        std::fs::read_to_string(place.path("local-max/blobs").join(name)).unwrap()
    };
    assert_eq!(manifest, stored("digest"));
    assert_eq!(place.run(&["raw", "--config", "local-max"]).out, stored("config"));
    assert_eq!(place.run(&["raw", "local-max", "--config"]).out, stored("config"));
}

#[test]
fn flags_can_be_given_to_buildx_and_back_to_us() {
    let place = Place::empty();
    place.add("local-history", "it's, here");
    let flags = place.run(&["flags", "./it's, here", "--digest", "467e", "--json"]).json();
    let from = flags["cache_from"].as_str().unwrap();
    assert_eq!(from, format!("type=local,\"src=./it's, here\",digest={RELEASE}"));
    assert_eq!(place.run(&["inspect", "--json=digest", from]).json()["items"][0]["digest"], RELEASE);
    let line = place.run(&["flags", "./it's, here", "--digest", "467e"]).out;
    assert_eq!(line, format!("--cache-from 'type=local,\"src=./it'\\''s, here\",digest={RELEASE}'\n"));
}
