//! Named locations: adding, listing, testing, importing, and never a secret on the command line.

use crate::program::{Place, Ran};
use std::io::Write as _;
use std::process::Stdio;

fn run(place: &Place, arguments: &[&str]) -> Ran {
    Ran::of(place.command(arguments).env("CACHEDECK_CONFIG", place.path("config.toml")).output().unwrap())
}

fn config(place: &Place) -> String {
    std::fs::read_to_string(place.path("config.toml")).unwrap_or_default()
}

#[test]
fn names_are_added_used_tested_and_forgotten() {
    let place = Place::with("local-history");
    std::fs::write(place.path("config.toml"), "# mine\nmouse = false # no\n").unwrap();
    let added = run(&place, &["locations", "add", "here", "./local-history", "--read-only"]);
    assert_eq!(added.code, 0, "{added}");
    assert!(config(&place).starts_with("# mine\nmouse = false # no\n"), "{}", config(&place));
    assert_eq!(run(&place, &["ls", "@here", "--json"]).json()["items"].as_array().unwrap().len(), 6);
    let listed = run(&place, &["locations", "ls", "--json"]).json();
    assert_eq!((&listed["items"][0]["name"], &listed["items"][0]["read_only"]), (&"here".into(), &true.into()));
    assert!(listed["items"][0]["location"]["src"].as_str().unwrap().starts_with('/'), "means the same everywhere");

    assert_eq!(run(&place, &["locations", "add", "here", "./other"]).code, 2, "taken");
    assert_eq!(run(&place, &["locations", "add", "gone", "./gone"]).code, 0);
    let tested = run(&place, &["locations", "test", "--json"]);
    assert_eq!(tested.code, 3, "{tested}");
    let tested: serde_json::Value = serde_json::from_str(&tested.out).unwrap();
    assert_eq!((&tested["items"][0]["ok"], &tested["items"][1]["ok"]), (&true.into(), &false.into()));
    assert_eq!(tested["items"][1]["error"]["code"], "not_found");
    let said = run(&place, &["locations", "test"]);
    assert!(said.err.contains("error: no such folder") && said.err.contains("hint: "), "{said}");

    assert_eq!(run(&place, &["locations", "rm", "@here", "gone"]).code, 0);
    assert_eq!(run(&place, &["ls", "@here"]).code, 5);
    assert_eq!(run(&place, &["locations", "rm", "here"]).code, 5);
}

#[test]
fn one_that_fails_leaves_the_others() {
    let place = Place::with("local-history");
    std::fs::write(place.path("config.toml"), "").unwrap();
    let ran = run(&place, &["du", "./gone", "local-history", "./gone2", "--json"]);
    assert_eq!(ran.code, 3, "{ran}");
    let data: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(data["items"].as_array().unwrap().len(), 1);
    assert_eq!(data["complete"], false);
    assert_eq!(ran.err.lines().filter(|line| line.contains("\"not_found\"")).count(), 2, "{ran}");
}

#[test]
fn secrets_are_not_taken_from_the_command_line() {
    let place = Place::empty();
    for location in [
        "type=s3,bucket=b,region=r,secret_access_key=CANARY",
        "type=s3,bucket=b,region=r,access_key_id=CANARY,session_token=CANARY",
        "type=azblob,container=c,account_url=https://a.blob.core.windows.net/?sig=CANARY",
    ] {
        let refused = run(&place, &["locations", "add", "s", location]);
        assert_eq!(refused.code, 2, "{refused}");
        assert!(!refused.err.contains("CANARY") && refused.err.contains("--secret-from-stdin"), "{refused}");
        assert_eq!(config(&place), "");
    }
    let arguments = ["locations", "add", "s", "type=s3,bucket=b,region=r", "--secret-from-stdin"];
    let pipe = |key: &str| {
        let mut command = place.command(&[&arguments[..], &[key]].concat());
        command.env("CACHEDECK_CONFIG", place.path("config.toml")).stdin(Stdio::piped());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(b"CANARY\n").unwrap();
        Ran::of(child.wait_with_output().unwrap())
    };
    let odd = pipe("bucket");
    assert_eq!(odd.code, 2, "{odd}");
    let added = pipe("secret_access_key");
    assert_eq!(added.code, 0, "{added}");
    assert!(!added.err.contains("CANARY"), "{added}");
    assert!(config(&place).contains("secret_access_key=CANARY"));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(place.path("config.toml")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    let listed = run(&place, &["locations", "ls", "--json"]);
    assert!(listed.out.contains("***") && !listed.out.contains("CANARY"), "{listed}");
}

#[test]
fn build_files_are_imported_once() {
    let place = Place::empty();
    let bake = "variable \"R\" { default = \"ghcr.io/acme\" }\n\
        target \"app\" {\n  cache-from = [\"type=registry,ref=${R}/app:cache\"]\n  cache-to = [\"type=local,dest=.cache,mode=max\"]\n}\n";
    let workflow = "jobs:\n  b:\n    steps:\n      - uses: docker/build-push-action@v6\n        with:\n          \
        cache-from: type=gha,scope=${{ github.ref }}\n          cache-to: type=registry,ref=${{ env.R }}:x\n";
    std::fs::write(place.path("docker-bake.hcl"), bake).unwrap();
    std::fs::write(place.path("ci.yml"), workflow).unwrap();
    let arguments = ["locations", "import", "--bake", "docker-bake.hcl", "--workflow", "ci.yml", "--repo", "acme/app"];
    let shown = run(&place, &[&arguments[..], &["--dry-run"]].concat());
    assert_eq!(shown.code, 0, "{shown}");
    assert_eq!(config(&place), "", "only shown");
    let done = run(&place, &arguments);
    assert_eq!((done.code, &done.out), (0, &shown.out), "{done}");
    let names: Vec<_> = done.out.lines().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(names, ["@app", "@cache", "@gha"], "{done}");
    assert!(done.out.contains("type=gha,repo=acme/app") && done.err.contains("left out"), "{done}");
    let again = run(&place, &arguments);
    assert_eq!((again.code, again.out.as_str()), (0, ""), "{again}");
    std::fs::write(place.path("big.hcl"), " ".repeat(1 << 20)).unwrap();
    assert_eq!(run(&place, &["locations", "import", "--bake", "big.hcl"]).code, 2);
}
