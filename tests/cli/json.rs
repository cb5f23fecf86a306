//! The JSON that others build on.

use crate::program::Place;
use serde_json::{Value, json};

/// Every command that lists something, with arguments for `local-history`.
pub const LISTS: [&[&str]; 14] = [
    &["ls"],
    &["versions"],
    &["inspect"],
    &["layers"],
    &["records"],
    &["du"],
    &["du", "--by", "index"],
    &["du", "--by", "layer"],
    &["du", "--by", "step"],
    &["blobs"],
    &["verify"],
    &["find", "app"],
    &["files", "local-history", "#6"],
    &["diff"],
];

fn arguments<'a>(list: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    let mut all = list.to_vec();
    all.extend(more);
    if list[0] != "files" {
        all.push("local-history");
    }
    all
}

#[test]
fn every_list_is_one_object_of_one_shape() {
    let place = Place::with("local-history");
    for list in LISTS {
        let object = place.run(&arguments(list, &["--json"])).json();
        let schema = object["schema"].as_str().unwrap();
        assert!(schema.starts_with("cachedeck.") && schema.ends_with("/1"), "{schema}");
        if list[0] != "diff" {
            let location = json!({"type": "local", "src": "local-history", "title": "local:local-history"});
            assert_eq!(object["location"], location, "{list:?}");
        }
        assert!(object["items"].is_array() && object["warnings"] == json!([]), "{list:?}");
        assert_eq!(object["complete"], true, "{list:?}");
        numbers_are_integers(&object);
    }
}

fn numbers_are_integers(value: &Value) {
    match value {
        Value::Number(number) => assert!(number.is_i64() || number.is_u64(), "{number}"),
        Value::Array(items) => items.iter().for_each(numbers_are_integers),
        Value::Object(fields) => fields.values().for_each(numbers_are_integers),
        _ => {}
    }
}

#[test]
fn lines_are_objects_that_say_what_they_are() {
    let place = Place::with("local-history");
    for list in LISTS {
        let object = place.run(&arguments(list, &["--json"])).json();
        let lines = place.run(&arguments(list, &["--format", "jsonl"]));
        let lines: Vec<Value> = lines.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), object["items"].as_array().unwrap().len(), "{list:?}");
        for (line, item) in lines.iter().zip(object["items"].as_array().unwrap()) {
            let mut line = line.as_object().unwrap().clone();
            assert!(line.shift_remove("type").unwrap().is_string());
            assert_eq!(&Value::Object(line), item, "{list:?}");
        }
    }
}

#[test]
fn items_never_leave_a_field_out() {
    let place = Place::with("local-history");
    place.add("inline-image", "inline-image");
    for list in [&["ls"][..], &["layers"], &["inspect"]] {
        let keys = |location: &str| -> Vec<String> {
            let mut arguments = list.to_vec();
            arguments.extend(["--json", location]);
            let object = place.run(&arguments).json();
            object["items"][0].as_object().unwrap().keys().cloned().collect()
        };
        assert_eq!(keys("local-history"), keys("inline-image"), "{list:?}");
    }
}

#[test]
fn fields_can_be_chosen() {
    let place = Place::with("local-history");
    let chosen = place.run(&["ls", "--json=tags,digest", "-L", "1", "local-history"]).json();
    let keys: Vec<&String> = chosen["items"][0].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["tags", "digest"]);
    assert_eq!(chosen["complete"], false, "the limit cut something off");
    let wrong = place.run(&["ls", "--json=tag,digest", "local-history"]);
    assert_eq!((wrong.code, wrong.out.as_str()), (2, ""));
    let error: Value = serde_json::from_str(&wrong.err).unwrap();
    assert!(error["hint"].as_str().unwrap().contains("did you mean tags?"), "{error}");
}

#[test]
fn several_locations_are_one_object_still() {
    let place = Place::with("local-min");
    place.add("local-multi", "local-multi");
    let object = place.run(&["ls", "--json", "local-min", "local-multi"]).json();
    assert_eq!(object["location"], Value::Null);
    let titles = |value: &Value| value["title"].as_str().unwrap().to_owned();
    let all: Vec<String> = object["locations"].as_array().unwrap().iter().map(titles).collect();
    assert_eq!(all, ["local:local-min", "local:local-multi"]);
    let each: Vec<String> = object["items"].as_array().unwrap().iter().map(|i| titles(&i["location"])).collect();
    assert_eq!(each, all);

    let partly = place.run(&["ls", "--json", "local-min", "./gone"]);
    assert_eq!(partly.code, 3);
    let object: Value = serde_json::from_str(&partly.out).unwrap();
    assert_eq!((&object["complete"], object["items"].as_array().unwrap().len()), (&json!(false), 1));
    let error: Value = serde_json::from_str(&partly.err).unwrap();
    assert_eq!((&error["code"], &error["location"]["src"]), (&json!("not_found"), &json!("./gone")));
}

#[test]
fn an_image_without_a_cache_has_nothing_to_count() {
    let place = Place::with("inline-image");
    // The same image without its records.
    let image = place.path("inline-image");
    let index: Value = serde_json::from_str(&std::fs::read_to_string(image.join("index.json")).unwrap()).unwrap();
    let store = |value: &Value| crate::files::add_blob(&image, value.to_string().as_bytes());
    let load = |digest: &Value| -> Value {
        let path = image.join("blobs").join(digest.as_str().unwrap().replace(':', "/"));
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    };
    let mut manifest = load(&index["manifests"][0]["digest"]);
    let mut config = load(&manifest["config"]["digest"]);
    config.as_object_mut().unwrap().shift_remove("moby.buildkit.cache.v0").unwrap();
    let (digest, size) = store(&config);
    manifest["config"]["digest"] = digest.into();
    manifest["config"]["size"] = size.into();
    let (digest, size) = store(&manifest);
    let media_type = &index["manifests"][0]["mediaType"];
    let annotations = json!({"org.opencontainers.image.ref.name": "plain"});
    let entry = json!({"mediaType": media_type, "digest": digest, "size": size, "annotations": annotations});
    crate::program::write_index(&image, &json!({"schemaVersion": 2, "manifests": [entry]}).to_string());

    let listing = place.run(&["ls", "--json", "inline-image"]).json();
    let item = listing["items"].as_array().unwrap().iter().find(|i| i["tags"] == json!(["plain"])).unwrap().clone();
    assert_eq!(item["form"], "image");
    for field in ["mode", "layers", "unique_blobs", "records", "sinks", "records_with_result", "min_bytes", "max_bytes"]
    {
        assert_eq!(item[field], Value::Null, "{field}");
    }
    let layers = place.run(&["layers", "inline-image", "--tag", "plain"]);
    assert_eq!(layers.code, 10, "{layers}");
}

#[test]
fn secrets_are_in_no_output() {
    let place = Place::empty();
    let location = "type=s3,bucket=b,region=r,endpoint_url=http://127.0.0.1:1,access_key_id=AKIAsecret,secret_access_key=hunter2,session_token=tok3n";
    for arguments in [&["ls", "--json", location][..], &["ls", location], &["inspect", location, "-vvv"]] {
        let ran = place.run(arguments);
        assert_eq!(ran.code, 1, "{ran}");
        for secret in ["AKIAsecret", "hunter2", "tok3n"] {
            assert!(!ran.to_string().contains(secret), "{ran}");
        }
    }
}

#[test]
fn graphs_are_json_too() {
    let place = Place::with("local-max");
    for arguments in [&["graph", "local-max", "--json"][..], &["graph", "--records", "--format", "json", "local-max"]] {
        assert_eq!(place.run(arguments).json()["schema"], "cachedeck.graph/1");
    }
}

#[test]
fn progress_can_be_read_by_programs() {
    let place = Place::with("local-max");
    for how in ["none", "plain", "json", "auto"] {
        let ran = place.run(&["verify", "--json", "--progress", how, "local-max"]);
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{ran}");
    }
}

#[test]
fn what_versions_added_is_all_that_they_take() {
    let place = Place::with("local-history");
    let versions = place.run(&["versions", "--json", "local-history"]).json();
    let added = versions["items"].as_array().unwrap().iter().map(|v| v["added_bytes"].as_u64().unwrap());
    let usage = place.run(&["du", "--json", "local-history"]).json()["items"][0].clone();
    let needed = usage["live_bytes"].as_u64().unwrap() + usage["dangling_bytes"].as_u64().unwrap();
    assert_eq!(added.sum::<u64>(), needed);
}

#[test]
fn fields_are_filtered_and_sorted_by_their_names_in_json_too() {
    let place = Place::with("local-history");
    let run = |filter: &str, sort: &str| {
        place.run(&["ls", "--json=digest", "--filter", filter, "--sort", sort, "local-history"]).json()["items"].clone()
    };
    assert_eq!(run("max_bytes>200KiB tags=latest", "created_at"), run("size>200KiB tag=latest", "created"));
    assert_eq!(run("state=dangling", "exclusive_bytes"), run("dangling=true", "exclusive"));
    assert_eq!(run("state=dangling", "size").as_array().unwrap().len(), 4);
}
