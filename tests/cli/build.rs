//! `build` and `warm`, with programs on the PATH that stand in for buildx and buildctl: they write down how they were called, and
//! say what the real ones said.

use crate::builder::{Builder, Told};
use crate::program::{Place, Ran};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

const IMPORTED: &str = include_str!("../fixtures/builds/imported.rawjson");
const EXPORTED: &str = include_str!("../fixtures/builds/exported.rawjson");
/// The manifest that it wrote.
const WRITTEN: &str = "sha256:08aa3bace37d85d79a320889786ed587b402430056c0f9051e5f47a514be70de";
const FAILED: &str = include_str!("../fixtures/builds/failed.rawjson");
const NOT_IMPORTED: &str = include_str!("../fixtures/builds/not-imported.rawjson");

const INSPECTED: &str = "Name:          ci\nDriver:        docker-container\n\nNodes:\nName:             ci0\n\
    Endpoint:         unix:///var/run/docker.sock\nStatus:           running\nBuildKit version: v0.31.1\n";

/// The program. What it says and how it ends stands in files beside it.
const PROGRAM: &str = r#"#!/bin/sh
here=${0%/*}
if [ "${0##*/}" = docker ]; then
  [ "$1" = buildx ] && [ ! -f "$here/no-plugin" ] || { echo "docker: unknown command: docker $1" >&2; exit 1; }
  shift
fi
if [ "${0##*/}" = buildctl ]; then
  [ "$1" = --version ] && { echo "buildctl github.com/moby/buildkit v0.31.0 0123abc"; exit; }
  [ "$1" = --addr ] && { address=$2; shift 2; }
  [ "$1" = debug ] && { echo "BuildKit: github.com/moby/buildkit v0.31.0 0123abc"; exit; }
fi
case "$1" in
  version) echo "github.com/docker/buildx $(/bin/cat "$here/version") 0123abc"; exit ;;
  inspect) /bin/cat "$here/inspect"; exit ;;
esac
for word in "${0##*/}" $address "$@"; do printf '%s\n' "$word"; done > "$here/words"
export -p > "$here/environment"
/bin/cat "$here/says" >&2
if [ -f "$here/waits" ]; then
  trap 'echo stopped > "$here/stopped"; echo "ERROR: context canceled" >&2; exit 1' INT
  while :; do /bin/sleep 0.05; done
fi
exit "$(/bin/cat "$here/code")"
"#;

/// Puts stand-ins into the folder `bin`, which is on the PATH of [`Place::command`].
pub fn stand_in(place: &Place, says: &str, code: i32) {
    std::fs::create_dir_all(place.path("bin")).unwrap();
    for program in ["docker", "buildx", "buildctl"] {
        let path = place.path("bin").join(program);
        std::fs::write(&path, PROGRAM).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    for (name, text) in [("says", says), ("code", &code.to_string()), ("version", "v0.35.0"), ("inspect", INSPECTED)] {
        tell(place, name, text);
    }
}

fn tell(place: &Place, name: &str, text: &str) {
    std::fs::write(place.path("bin").join(name), text).unwrap();
}

/// How the stand-in was called.
fn called(place: &Place) -> Vec<String> {
    let words = std::fs::read_to_string(place.path("bin/words")).unwrap();
    words.lines().map(str::to_owned).collect()
}

fn ran(says: &str, code: i32, arguments: &[&str]) -> (Place, Ran) {
    let place = Place::with("local-max");
    stand_in(&place, says, code);
    let ran = place.run(arguments);
    (place, ran)
}

const FROM: &str = "type=local,src=local-max";

#[test]
fn a_build_tells_what_was_cached() {
    let shown = ["build", "--cache-from", FROM, "--builder", "ci", "--progress", "none", "--", "-t", "app", "."];
    let (place, ran) = ran(IMPORTED, 0, &shown);
    assert_eq!(ran.code, 0, "{ran}");
    assert_eq!(
        called(&place),
        ["docker", "build", "--builder", "ci", "--progress=rawjson", "--cache-from", FROM, "-t", "app", "."]
    );
    insta::assert_snapshot!("imported", ran);
    // Meanwhile each step has a line.
    let ran = place.run(&["build", "--cache-from", FROM, "--", "."]);
    for line in ["  cached [base 1/2] COPY busybox /bin/busybox\n", "importing cache manifest from local:"] {
        assert!(ran.err.contains(line), "{ran}");
    }
}

#[test]
fn a_build_in_json_holds_all_of_it() {
    let (_, ran) = ran(IMPORTED, 0, &["build", "--cache-from", FROM, "--json", "--", "."]);
    let object = ran.json();
    assert_eq!(object["schema"], "cachedeck.build/1");
    assert_eq!((&object["ending"], &object["driver"]), (&json!("done"), &json!("docker-container")));
    // The builder can't be asked whether it held them before.
    assert_eq!(
        object["steps"],
        json!({"all": 8, "cached": 8, "imported": 0, "builder": 0, "unknown": 8, "done": 0, "failed": 0})
    );
    assert_eq!(object["imports"][0]["state"], "read");
    let last = object["items"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(
        (&last["step"], &last["from"], &last["source"]),
        (&json!("[stage-3 2/2] RUN echo final > /final"), &json!("unknown"), &json!(null))
    );
    assert!(last["took_ms"].as_u64().unwrap() > 100, "{last}");
    for line in ran.err.lines() {
        serde_json::from_str::<Value>(line).unwrap_or_else(|_| panic!("{line}"));
    }
    let facts: Vec<&String> = object.as_object().unwrap().keys().collect();
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/json.md")).unwrap();
    for fact in facts {
        assert!(page.contains(&format!("`{fact}`")), "{fact} is not on the page");
    }
}

#[test]
fn steps_of_a_builder_that_imported_nothing_are_its_own() {
    let (_, ran) =
        ran(NOT_IMPORTED, 0, &["build", "--cache-from", FROM, "--cache-from", "localhost:1/x:y", "--json", "--", "."]);
    let object = ran.json();
    assert_eq!((&object["steps"]["cached"], &object["steps"]["builder"]), (&json!(8), &json!(8)));
    let states: Vec<&Value> = object["imports"].as_array().unwrap().iter().map(|import| &import["state"]).collect();
    assert_eq!(states, ["left-out", "failed"]);
    assert!(object["imports"][1]["error"].as_str().unwrap().contains("connection refused"), "{object}");
}

#[test]
fn an_export_is_looked_at() {
    let arguments =
        ["build", "--cache-to", "./local-max", "--mode", "max", "--compression", "zstd", "--json", "--", "."];
    let place = Place::with("local-max");
    let listed = &place.run(&["ls", "--json", "local-max"]).json()["items"][0];
    // As if the build had written what is there.
    let says = EXPORTED.replace(WRITTEN, listed["digest"].as_str().unwrap());
    stand_in(&place, &says, 0);
    let object = place.run(&arguments).json();
    assert!(called(&place).contains(&"type=local,dest=./local-max,mode=max,compression=zstd".to_owned()));
    let export = &object["exports"][0];
    for field in ["digest", "layers", "exclusive_bytes", "tags"] {
        assert_eq!(export[field], listed[field], "{field}");
    }
    assert_eq!(export["bytes"], listed["max_bytes"]);
    assert!(export["took_ms"].as_u64().is_some());
    assert_eq!(object["steps"]["done"], 8);

    // What stands there now is not what was written: that is told, and not taken for it.
    stand_in(&place, EXPORTED, 0);
    let export = &place.run(&arguments).json()["exports"][0];
    assert_eq!(export["digest"], Value::Null);
    assert!(export["unknown"].as_str().unwrap().contains("which the builder wrote, is not there"), "{export}");
    // An export that may fail leaves the build as it is.
    let failed = r#"{"vertexes":[{"digest":"sha256:e","name":"exporting cache to client directory","started":"2026-11-21T17:02:00Z","completed":"2026-11-21T17:02:01Z","error":"disk full"}]}"#;
    stand_in(&place, failed, 0);
    let export =
        &place.run(&["build", "--cache-to", "./local-max", "--ignore-error", "--json", "--", "."]).json()["exports"][0];
    assert_eq!(export["unknown"], "the export failed: disk full");
}

#[test]
fn what_a_builder_without_records_has_cached_was_imported() {
    let place = Place::with("local-max");
    stand_in(&place, IMPORTED, 0);
    let fresh = Builder::start(Told { usage: Vec::new(), ..Told::recorded() });
    let used = Builder::start(Told::recorded());
    for (builder, from, source) in [(&fresh, "imported", json!("local:local-max")), (&used, "unknown", json!(null))] {
        let address = builder.address();
        let object = place.run(&["build", "--addr", &address, "--cache-from", FROM, "--json", "--", "x"]).json();
        for step in object["items"].as_array().unwrap() {
            assert_eq!((&step["from"], &step["source"]), (&json!(from), &source), "{step}");
        }
    }
}

#[test]
fn a_build_that_fails_says_why() {
    let (_, ran) = ran(FAILED, 1, &["build", "--progress", "none", "--", "."]);
    assert_eq!(ran.code, 1, "{ran}");
    insta::assert_snapshot!("failed", ran);

    let (_, ran) = self::ran(FAILED, 1, &["build", "--json", "--", "."]);
    assert_eq!(ran.code, 1);
    let object: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((&object["ending"], &object["complete"]), (&json!("failed"), &json!(false)));
    assert!(object["failure"]["step"].as_str().unwrap().starts_with("[3/3] RUN"));
    assert!(object["failure"]["log"].as_array().unwrap().contains(&json!("last words")));
    let error: Value = serde_json::from_str(ran.err.lines().last().unwrap()).unwrap();
    assert_eq!((&error["code"], &error["exit"]), (&json!("failed"), &json!(1)));
}

#[test]
fn a_program_that_fails_before_it_builds_is_heard() {
    let (_, ran) = ran("ERROR: unknown flag: --tga\n", 1, &["build", "--", "--tga", "x", "."]);
    assert_eq!(ran.code, 1, "{ran}");
    assert!(ran.err.ends_with("error: unknown flag: --tga\n"), "{ran}");
}

#[test]
fn a_summary_of_a_job_is_markdown() {
    let place = Place::with("local-max");
    stand_in(&place, IMPORTED, 0);
    std::fs::write(place.path("summary"), "# before\n").unwrap();
    let arguments = ["build", "--cache", FROM, "--", "."];
    let ran = Ran::of(place.command(&arguments).env("GITHUB_STEP_SUMMARY", place.path("summary")).output().unwrap());
    assert_eq!(ran.code, 0, "{ran}");
    insta::assert_snapshot!("summary", std::fs::read_to_string(place.path("summary")).unwrap());

    let ran = place.run(&["build", "--summary", "own.md", "--", "."]);
    assert_eq!(ran.code, 0, "{ran}");
    assert!(std::fs::read_to_string(place.path("own.md")).unwrap().contains("8 of 8 steps"));
}

#[test]
fn ctrl_c_ends_the_build_in_order() {
    let place = Place::with("local-max");
    stand_in(&place, IMPORTED, 1);
    tell(&place, "waits", "");
    let mut command = place.command(&["build", "--cache-from", FROM, "--json", "--", "."]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut err = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    // It goes on once it says what was cached.
    while !line.contains("cached") {
        line.clear();
        assert!(err.read_line(&mut line).unwrap() > 0, "it ended before");
    }
    kill_process(Pid::from_raw(child.id().try_into().unwrap()).unwrap(), Signal::INT).unwrap();
    let mut out = String::new();
    child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    std::io::copy(&mut err, &mut std::io::sink()).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(place.path("bin/stopped").exists(), "it was not asked to end");
    assert_eq!(serde_json::from_str::<Value>(&out).unwrap()["ending"], "stopped");
}

#[test]
fn secrets_go_through_the_environment() {
    let place = Place::empty();
    stand_in(&place, IMPORTED, 0);
    let s3 = "type=s3,bucket=b,region=r,endpoint_url=http://127.0.0.1:1,access_key_id=canary-id,secret_access_key=canary-key";
    let gha = "type=gha,url_v2=http://127.0.0.1:1/,token=canary-token";
    let arguments =
        ["build", "--cache-from", s3, "--cache-from", gha, "--json", "--summary", "s.md", "-vvv", "--", "."];
    let ran = place.run(&arguments);
    assert_eq!(ran.code, 0, "{ran}");
    let words = called(&place).join(" ");
    assert!(words.contains("type=s3,bucket=b") && words.contains("type=gha,url_v2="), "{words}");
    let summary = std::fs::read_to_string(place.path("s.md")).unwrap();
    for (what, text) in [("arguments", &words), ("stdout", &ran.out), ("stderr", &ran.err), ("summary", &summary)] {
        assert!(!text.contains("canary"), "{what}: {text}");
    }
    let environment = std::fs::read_to_string(place.path("bin/environment")).unwrap();
    for variable in
        ["AWS_ACCESS_KEY_ID='canary-id'", "AWS_SECRET_ACCESS_KEY='canary-key'", "ACTIONS_RUNTIME_TOKEN='canary-token'"]
    {
        let bare = variable.replace('\'', "");
        let quoted = variable.replace('\'', "\"");
        assert!([variable, &bare, &quoted].iter().any(|v| environment.contains(*v)), "{variable}: {environment}");
    }
    // Only an argument could hold it: refused, and the way out is told.
    let azure = "type=azblob,account_url=https://a.example,secret_access_key=canary";
    let ran = place.run(&["build", "--cache-from", azure, "--", "."]);
    assert_eq!(ran.code, 2, "{ran}");
    assert!(ran.err.contains("hint: ") && !ran.err.contains("canary"), "{ran}");
}

#[test]
fn what_the_builder_says_does_not_act_on_the_terminal() {
    let hostile = r#"{"vertexes":[{"digest":"sha256:1","name":"RUN \u001b]0;owned\u0007 x","started":"2026-11-21T17:00:00Z","completed":"2026-11-21T17:00:01Z"}],"logs":[{"vertex":"sha256:1","data":"G1szMW0="}]}
{"vertexes":[{"digest":"sha256:2","name":"RUN y","started":"2026-11-21T17:00:00Z","completed":"2026-11-21T17:00:01Z","error":"\u001b[2Jgone"}]}
"#;
    let (_, ran) = ran(&format!("{hostile}\u{1b}[31mplain\n"), 1, &["build", "--summary", "s.md", "--", "."]);
    assert_eq!(ran.code, 1);
    assert!(!ran.err.contains('\u{1b}') && !ran.out.contains('\u{1b}') && !ran.out.contains('\u{7}'), "{ran}");
    assert!(ran.err.contains(r"\x1b[31mplain") && ran.out.contains(r"\x1b]0;owned"), "{ran}");
}

#[test]
fn a_dry_run_prints_the_command_and_starts_nothing() {
    let place = Place::with("local-max");
    stand_in(&place, IMPORTED, 0);
    let options = ["--cache", "./local-max", "--mode=max", "--builder", "ci", "--print", "--", "-t", "it's", "."];
    let ran = place.run(&[&["build"][..], &options].concat());
    assert_eq!(
        (ran.code, ran.out.as_str()),
        (
            0,
            "docker buildx build --builder ci --progress=rawjson --cache-from type=local,src=./local-max --cache-to \
             type=local,dest=./local-max,mode=max -t 'it'\\''s' .\n"
        ),
        "{ran}"
    );
    assert!(!place.path("bin/words").exists());
    // Without the plugin of docker, buildx by itself.
    tell(&place, "no-plugin", "");
    let ran = place.run(&[&["build"][..], &options].concat());
    assert!(ran.out.starts_with("buildx build --builder ci"), "{ran}");
    let nowhere = Place::with("local-max");
    let ran = nowhere.run(&[&["build"][..], &options].concat());
    assert_eq!(ran.code, 0, "{ran}");
    assert!(ran.err.contains("not checked against the builder: there is no buildx on the PATH"), "{ran}");
    let ran = nowhere.run(&["build", "--", "."]);
    assert_eq!(ran.code, 5, "{ran}");
}

#[test]
fn the_builder_is_asked_what_it_can_do() {
    let place = Place::empty();
    stand_in(&place, IMPORTED, 0);
    tell(&place, "inspect", "Name:   default\nDriver: docker\n\nNodes:\nName:     default\nStatus:   running\n");
    let ran = place.run(&["build", "--cache-to", "./c", "--", "."]);
    assert_eq!(ran.code, 2, "{ran}");
    assert!(ran.err.contains("--cache-to local:./c: the builder in Docker itself exports inline caches only"), "{ran}");
    assert!(ran.err.contains("hint: turn on the containerd image store"), "{ran}");
    tell(&place, "inspect", INSPECTED);
    tell(&place, "version", "v0.34.1");
    let ran = place.run(&["build", "--cache-to", "./c", "--reset", "--", "."]);
    assert_eq!(ran.code, 2, "{ran}");
    assert!(ran.err.contains("reset needs buildx 0.35.0, and this is 0.34.1"), "{ran}");
    assert!(!place.path("bin/words").exists());
    for (arguments, words) in [
        (&["build"][..], "nothing to build"),
        (&["build", "--cache-to", "new", "--", "."], "for a folder that is to be made write ./new"),
        (&["build", "--cache-to", "./c", "--read-only", "--", "."], "nothing is changed: read-only"),
        (&["build", "--cache-from", "@ci", "--", "."], "--cache-from: "),
    ] {
        let ran = place.run(arguments);
        assert!([2, 4].contains(&ran.code) && ran.err.contains(words), "{arguments:?}: {ran}");
    }
}

#[test]
fn buildctl_builds_with_an_address() {
    let place = Place::with("local-max");
    stand_in(&place, IMPORTED, 0);
    let address = "unix:///run/nobody.sock";
    let arguments =
        ["build", "--addr", address, "--cache", "./local-max", "--json", "--", "--frontend", "dockerfile.v0"];
    let object = place.run(&arguments).json();
    assert_eq!(object["buildkit"], "v0.31.0");
    assert_eq!(
        called(&place),
        [
            "buildctl",
            address,
            "build",
            "--progress=rawjson",
            "--import-cache",
            "type=local,src=./local-max",
            "--export-cache",
            "type=local,dest=./local-max",
            "--frontend",
            "dockerfile.v0"
        ]
    );
}

#[test]
fn a_builder_is_filled_from_a_chosen_version() {
    let place = Place::with("local-history");
    stand_in(&place, IMPORTED, 0);
    let ran = place.run(&["warm", "local-history", "--digest", "d9d014", "--", "."]);
    assert_eq!(ran.code, 0, "{ran}");
    let digest = "sha256:d9d014ba1951c5756a6e2bd7ea1c61aa9fce7b0ca00a5e56ca2446a6dabbabaf";
    let from = format!("type=local,src=local-history,digest={digest}");
    let words = ["docker", "build", "--progress=rawjson", "--cache-from", &from, "--output", "type=cacheonly", "."];
    assert_eq!(called(&place), words);
    let ran = place.run(&["warm", "local-history", "--digest", "ffff", "--", "."]);
    assert_eq!(ran.code, 5, "{ran}");
    let ran = place.run(&["warm", "local-history", "--", "--push", "."]);
    assert_eq!(ran.code, 2, "{ran}");
}
