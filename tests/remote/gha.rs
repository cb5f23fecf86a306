//! `type=gha` against the stand-in for GitHub: over REST, in a workflow run, and with both.

use crate::fixtures::Fixture;
use crate::support::github::{Github, REPOSITORY, TOKEN, VERSION, run_token};
use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use cachedeck::error::Kind;
use cachedeck::model::location::Location;
use serde_json::{Value, json};
use std::process::{Command, Output};

const MAIN: &str = "refs/heads/main";

/// What a separate reading of the fixture's index found; another build of the same Dockerfile is `local-max`.
const TRUTH: [(&str, u64); 7] = [
    ("layers", 10),
    ("unique_blobs", 9),
    ("records", 14),
    ("sinks", 1),
    ("records_with_result", 9),
    ("min_bytes", 53549),
    ("max_bytes", 234_966),
];

fn fixture() -> Github {
    let github = Github::start();
    github.fill(&Fixture::unpack("gha-cache").path());
    github
}

fn run(env: &[(&str, &str)], arguments: &[&str]) -> Output {
    let mut program = Command::new(env!("CARGO_BIN_EXE_cachedeck"));
    let home = tempfile::tempdir().unwrap();
    program.env_clear().env("HOME", home.path()).envs(env.iter().copied()).args(arguments).output().unwrap()
}

#[track_caller]
fn json(arguments: &[&str], location: &Location) -> Value {
    let output = run(&[], &[arguments, &[&location.reveal()]].concat());
    assert!(output.status.success(), "{arguments:?}: {}", said(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What went to stderr, where no secret may be.
#[track_caller]
fn said(output: &Output) -> String {
    let said = String::from_utf8(output.stderr.clone()).unwrap();
    let all = format!("{said}{}", String::from_utf8_lossy(&output.stdout));
    assert!(!all.contains(TOKEN) && !all.contains("eyJ") && !all.contains("sig="), "{all}");
    said
}

#[track_caller]
fn fails(code: i32, env: &[(&str, &str)], arguments: &[&str]) -> String {
    let output = run(env, arguments);
    let said = said(&output);
    assert_eq!(output.status.code(), Some(code), "{said}");
    said
}

#[test]
fn in_a_run_a_cache_is_whole() {
    for version in [1, 2] {
        let github = fixture();
        for location in [github.run(version).with("scope", "web"), github.both(version)] {
            let listing = json(&["ls", "--json"], &location);
            assert_eq!((&listing["complete"], &listing["warnings"]), (&json!(true), &json!([])));
            let [item] = listing["items"].as_array().unwrap().as_slice() else { panic!("{listing}") };
            assert_eq!((&item["tags"], &item["mode"]), (&json!(["web@refs/heads/main"]), &json!("max")));
            for (field, value) in TRUTH {
                assert_eq!(item[field], value, "{field}");
            }
            let usage = json(&["du", "--json"], &location);
            for (field, value) in [("blobs", 9), ("bytes", 234_966), ("live_blobs", 9), ("orphan_blobs", 0)] {
                assert_eq!(usage["items"][0][field], value, "{field}");
            }
            let verified = json(&["verify", "--level", "digest", "--json"], &location);
            assert_eq!(verified["items"], json!([]), "{verified}");
            let graph = json(&["graph", "--records", "--format", "json"], &location);
            assert_eq!(graph["nodes"].as_array().unwrap().len(), 14);
        }
        let seen = github.seen();
        assert!(seen.iter().any(|s| s.origin == "storage"));
        for request in seen.iter().filter(|s| s.origin == "storage") {
            assert!(!request.credentials, "a token left its host: {request:?}");
        }
        assert!(github.contents().entries.len() == 10, "reading changes nothing");
    }
}

#[test]
fn over_rest_sizes_are_known_and_contents_are_not() {
    let github = fixture();
    let location = github.rest();
    let listing = json(&["ls", "--json"], &location);
    assert_eq!(listing["complete"], false);
    let item = &listing["items"][0];
    assert_eq!((&item["tags"], &item["digest"]), (&json!(["web@refs/heads/main"]), &Value::Null));
    assert_eq!((&item["manifest_bytes"], &item["layers"]), (&json!(5517), &Value::Null));
    let why = item["findings"][0]["message"].as_str().unwrap();
    assert!(why.contains("contents need a workflow run's token"), "{why}");
    let blobs = json(&["blobs", "--json"], &location);
    let blobs = blobs["items"].as_array().unwrap();
    assert_eq!(blobs.len(), 9);
    assert!(blobs.iter().all(|blob| blob["state"] == "unknown"), "what nothing readable needs is no orphan");
    let location = location.reveal();
    let refused = fails(10, &[], &["layers", &location]);
    assert!(refused.contains("contents need a workflow run's token"), "{refused}");
    fails(10, &[], &["verify", "--level", "digest", &location]);
    assert!(github.seen().iter().all(|s| s.origin == "api" && s.method == "GET"));
}

#[test]
fn a_scope_selects_and_hides_nothing() {
    let github = fixture();
    let config = github.contents().entries.iter().find(|e| e.key.starts_with("index-")).unwrap().content.clone();
    github.save(MAIN, "index-web-1-f921bd05#2", config.clone());
    github.save("refs/heads/dev", "index-web-1-5a70b200#1", config.clone());
    github.save(MAIN, "index-api-1-f921bd05-sig#7", config);
    github.contents().save(MAIN, "node-cache-Linux-x64-npm", "0123", "other people's bytes");
    let location = github.rest().with("scope", "web");
    let listing = json(&["ls", "--json"], &location);
    let rows: Vec<(&Value, &Value)> =
        listing["items"].as_array().unwrap().iter().map(|item| (&item["tags"], &item["formerly"])).collect();
    assert_eq!(
        rows,
        [
            (&json!(["api@refs/heads/main:signed"]), &json!([])),
            (&json!(["web@refs/heads/dev"]), &json!([])),
            (&json!(["web@refs/heads/main"]), &json!([])),
            (&json!([]), &json!(["web@refs/heads/main"])),
        ]
    );
    let flags = |location: Location| {
        let output = run(&[], &["flags", &location.reveal()]);
        assert!(output.status.success(), "{}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(flags(location).contains("scope=web"));
    let exact = flags(github.rest().with("scope", "web@refs/heads/main"));
    assert!(exact.contains("scope=web") && !exact.contains("refs/"), "{exact}");
    let unknown = fails(5, &[], &["flags", &github.rest().with("scope", "nobody").reveal()]);
    assert!(unknown.contains("web@refs/heads/main"), "{unknown}");
}

#[test]
fn older_saves_are_versions() {
    let github = fixture();
    let other = r#"{"layers":[],"records":[]}"#;
    for n in 2..=11 {
        github.save(MAIN, &format!("index-web-1-f921bd05#{n}"), format!("{other}{}", " ".repeat(n)));
    }
    for (location, all) in
        [(github.both(2), 11), (github.run(2).with("scope", "web"), 9), (github.run(1).with("scope", "web"), 9)]
    {
        let listing = json(&["ls", "--json"], &location);
        let items = listing["items"].as_array().unwrap();
        assert_eq!(items.len(), all);
        assert_eq!(items[0]["tags"], json!(["web@refs/heads/main"]));
        assert_eq!(items[0]["manifest_bytes"], other.len() + 11, "#11 comes after #9");
        assert!(items[1..].iter().all(|item| item["dangling"] == true && item["formerly"] == items[0]["tags"]));
    }
}

#[test]
fn all_pages_are_read_even_while_they_move() {
    let github = Github::start();
    for n in 0..250 {
        github.contents().save(MAIN, &format!("npm-{n}"), "1", "x");
    }
    let entries = |github: &Github| {
        let listing = json(&["gha", "entries", "--json"], &github.rest());
        (listing["items"].as_array().unwrap().len(), listing["complete"].clone())
    };
    assert_eq!(entries(&github), (250, json!(true)));
    // One goes while the pages are read: those behind it move up, and one would be skipped.
    let mut times = 0;
    github.intercept(move |seen, contents| {
        times += usize::from(seen.query.contains("page=2"));
        if seen.query.contains("page=2") && times == 1 {
            contents.entries.remove(0);
        }
        None
    });
    assert_eq!(entries(&github), (249, json!(true)));
    // One goes each time: what was seen is shown, and that it is not all is said.
    github.intercept(|seen, contents| {
        if seen.query.contains("page=2") {
            contents.entries.remove(0);
        }
        None
    });
    assert_eq!(entries(&github).1, json!(false));
}

#[test]
fn a_list_without_end_is_refused() {
    let github = Github::start();
    github.intercept(|seen, _| {
        let page = json!({ "total_count": u64::MAX, "actions_caches": [{ "id": 1, "key": "x" }] });
        seen.path.ends_with("/caches").then(|| page.to_string().into_response())
    });
    let said = fails(6, &[], &["ls", &github.rest().reveal()]);
    assert!(said.contains("18446744073709551615"), "{said}");
}

#[test]
fn tokens_that_do_not_do_are_told_from_repositories_that_are_not_there() {
    let github = fixture();
    let ls = |location: Location| location.reveal();
    let wrong = fails(4, &[], &["ls", &ls(github.rest().with("ghtoken", "ghp_wrong"))]);
    assert!(wrong.contains("GH_TOKEN"), "{wrong}");
    let none = fails(5, &[], &["ls", &ls(github.rest().with("repo", "acme/nothing"))]);
    assert!(none.contains("acme/nothing"), "{none}");
    fails(2, &[], &["ls", "type=gha"]);
    fails(2, &[], &["ls", "type=gha,repo=nonsense"]);
    fails(2, &[], &["ls", &ls(github.run(2).with("token", "nonsense"))]);
    let plain = fails(4, &[], &["ls", "type=gha,repo=a/b,api_url=http://github.example,ghtoken=x"]);
    assert!(plain.contains("plain HTTP"), "{plain}");
    // The environment's token is not for whatever host a location names.
    let env = [("GH_TOKEN", TOKEN), ("GITHUB_TOKEN", TOKEN)];
    fails(5, &env, &["ls", &ls(github.rest().without("ghtoken"))]);
    // It is for the one that the environment names.
    let env = [("GITHUB_API_URL", github.url.as_str()), ("GITHUB_TOKEN", TOKEN), ("GITHUB_REPOSITORY", REPOSITORY)];
    let output = run(&env, &["ls", "--json", "type=gha"]);
    assert!(output.status.success(), "{}", said(&output));
}

#[test]
fn ghs_own_login_is_asked_for_by_host() {
    let github = fixture();
    let folder = tempfile::tempdir().unwrap();
    let gh = folder.path().join("gh");
    let script =
        format!("#!/bin/sh\n[ \"$*\" = 'auth token --hostname 127.0.0.1' ] && [ -z \"$GH_TOKEN\" ] && echo {TOKEN}\n");
    std::fs::write(&gh, script).unwrap();
    std::fs::set_permissions(&gh, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let path = format!("{}:/usr/bin:/bin", folder.path().display());
    let location = github.rest().without("ghtoken").reveal();
    let output = run(&[("PATH", &path), ("GH_TOKEN", "for another host")], &["ls", "--json", &location]);
    assert!(output.status.success(), "{}", said(&output));
}

#[test]
fn a_run_is_found_in_the_environment() {
    let github = fixture();
    let token = run_token(&[("refs/heads/topic", 3), (MAIN, 1)]);
    let v2 = [
        ("ACTIONS_RUNTIME_TOKEN", token.as_str()),
        ("ACTIONS_RESULTS_URL", &github.url),
        ("ACTIONS_CACHE_SERVICE_V2", "True"),
    ];
    let v1 = [("ACTIONS_RUNTIME_TOKEN", token.as_str()), ("ACTIONS_CACHE_URL", &github.url)];
    for env in [&v2[..], &v1] {
        let output = run(env, &["ls", "--json", "type=gha,scope=web"]);
        assert!(output.status.success(), "{}", said(&output));
        let listing: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(listing["items"][0]["tags"], json!(["web@refs/heads/main"]));
    }
    let paths: Vec<String> = github.seen().into_iter().map(|s| s.path).collect();
    assert!(paths.iter().any(|p| p.starts_with("/twirp/")) && paths.iter().any(|p| p.starts_with("/_apis/")));
    let expired = "e30.eyJhYyI6IltdIiwiZXhwIjoxfQ.x";
    let said = fails(4, &[("ACTIONS_RUNTIME_TOKEN", expired), ("ACTIONS_CACHE_URL", &github.url)], &["ls", "type=gha"]);
    assert!(said.contains("expired"), "{said}");
}

#[test]
fn what_a_run_may_not_read_is_unread_and_not_missing() {
    let github = fixture();
    let config = github.contents().entries.iter().find(|e| e.key.starts_with("index-")).unwrap().content.clone();
    github.save("refs/heads/dev", "index-web-1-5a70b200#1", config);
    let listing = json(&["ls", "--json"], &github.both(2));
    let items = listing["items"].as_array().unwrap();
    assert_eq!(items[0]["digest"], Value::Null);
    assert!(items[0]["findings"][0]["message"].as_str().unwrap().contains("can't read caches of refs/heads/dev"));
    assert_eq!((&items[1]["layers"], &listing["complete"]), (&json!(10), &json!(false)));
}

#[test]
fn an_evicted_blob_is_missing() {
    for version in [1, 2] {
        let github = fixture();
        github.contents().entries.retain(|e| !e.key.contains("64c803a17d54137c"));
        for location in [github.both(version), github.run(version).with("scope", "web")] {
            let listing = json(&["ls", "--json"], &location);
            let item = &listing["items"][0];
            let output = run(&[], &["verify", "--level", "digest", "--json", &location.reveal()]);
            let verified: Value = serde_json::from_slice(&output.stdout).unwrap();
            assert!(verified.to_string().contains("sha256:64c803a17d54137c"), "{verified}");
            assert!(location.value("repo").is_none() || item["state"] == "damaged", "{item}");
        }
    }
}

#[test]
fn limits_are_respected() {
    let github = fixture();
    github.contents().remaining = 0;
    let said = fails(1, &[], &["ls", &github.rest().reveal()]);
    assert!(said.contains("5000 requests an hour"), "{said}");
    assert_eq!(github.seen().len(), 1, "no use in asking again");
    // The other limit, which says when.
    github.contents().remaining = 5000;
    let mut first = true;
    github.intercept(move |_, _| {
        let limited = (StatusCode::FORBIDDEN, [("retry-after", "0")], "secondary rate limit");
        std::mem::take(&mut first).then(|| limited.into_response())
    });
    json(&["ls", "--json"], &github.rest());
    github.intercept(|_, _| Some((StatusCode::FORBIDDEN, [("retry-after", "3600")]).into_response()));
    let said = fails(1, &[], &["ls", &github.rest().reveal()]);
    assert!(said.contains("3600 s"), "{said}");
}

#[test]
fn signed_urls_lead_where_they_may() {
    // What is behind them is another host's; from this one, nothing on the way may be a private place of a public service.
    let github = fixture();
    github.intercept(|seen, _| {
        let body =
            json!({ "ok": true, "signed_download_url": "file:///etc/passwd", "matched_key": "index-web-1-f921bd05#1" });
        seen.path.ends_with("DownloadURL").then(|| body.to_string().into_response())
    });
    let location = github.run(2).with("scope", "web");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let store = cachedeck::store::catalog::open(&location).unwrap();
    let error = runtime.block_on(store.references()).unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt, "{error}");
}

#[test]
fn usage_is_told_by_ref_scope_and_kind() {
    let github = fixture();
    github.contents().save("refs/pull/7/merge", "node-cache-Linux-x64-npm", "0123", vec![0; 100_000]);
    let all = json(&["gha", "usage", "--json"], &github.rest());
    let item = &all["items"][0];
    for (field, value) in
        [("entries", 11), ("bytes", 340_483u64), ("quota_bytes", 10 << 30), ("blobs", 9), ("blob_bytes", 234_966)]
    {
        assert_eq!(item[field], value, "{field}: {all}");
    }
    let by = |what| json(&["gha", "usage", "--by", what, "--json"], &github.rest())["items"].clone();
    assert_eq!(by("ref").as_array().unwrap().len(), 2);
    assert_eq!(by("scope")[0]["scope"], "web");
    assert_eq!(by("kind").as_array().unwrap().len(), 3);
    // A quota that GitHub does not tell is unknown.
    github.contents().quota_gb = None;
    let all = json(&["gha", "usage", "--json"], &github.rest());
    assert_eq!(all["items"][0]["quota_bytes"], Value::Null);
    assert_eq!(github.contents().entries.iter().filter(|e| e.version == VERSION).count(), 10);
}
