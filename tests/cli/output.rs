//! How output behaves in pipes, without colours, and with hostile text in it.

use crate::program::{Place, Ran, write_index};
use serde_json::{Value, json};
use std::io::{BufRead as _, Read as _};
use std::process::Stdio;

/// A tag that would set the title, colour the line, turn the text around, hide a part and break the line.
const EVIL: &str = "evil\u{1b}]0;owned\u{7}\u{9b}31m\u{202e}\u{200b}\u{e0041}\r\n\tend";

fn evil_cache() -> Place {
    let place = Place::with("local-history");
    let folder = place.path("local-history");
    let mut index: Value = serde_json::from_str(&std::fs::read_to_string(folder.join("index.json")).unwrap()).unwrap();
    for manifest in index["manifests"].as_array_mut().unwrap() {
        manifest["annotations"] = json!({"org.opencontainers.image.ref.name": EVIL});
    }
    write_index(&folder, &index.to_string());
    place
}

fn assert_harmless(ran: &Ran, arguments: &[&str]) {
    for (line, text) in ran.out.lines().chain(ran.err.lines()).map(|line| (line, line.replace('\t', ""))) {
        let bad = |c: char| {
            c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{e0000}'..='\u{e0fff}')
        };
        assert!(!text.chars().any(bad), "{arguments:?}: {line:?}");
    }
}

#[test]
fn no_hostile_byte_comes_through() {
    let place = evil_cache();
    let location = "local-history";
    let named = format!("type=local,src=local-history,tag={EVIL}");
    for arguments in [
        &["ls", location][..],
        &["ls", "--format", "wide", location],
        &["ls", "--format", "tsv", location],
        &["ls", "--format", "{{.tags}} {{json .tags}}", location],
        &["ls", "--json", location],
        &["ls", "--format", "jsonl", location],
        &["ls", "--filter", EVIL, location],
        &["versions", location],
        &["inspect", &named],
        &["inspect", "--json", &named],
        &["graph", &named],
        &["graph", "--format", "dot", &named],
        &["graph", "--format", "mermaid", &named],
        &["graph", "--format", "svg", &named],
        &["flags", "--to", &named],
        &["diff", &named],
        &["find", "app", location],
        &["inspect", location, "--tag", "gone\u{1b}[31m"],
        &["inspect", location, "--tag", "gone\u{1b}[31m", "--json"],
        &["ls", "./gone\u{1b}[31m"],
        &["ls", "--sort", "\u{1b}[31m", location],
        &["--\u{1b}[31m"],
        &["verify", "--level", "\u{1b}[31m"],
        &["find", "\u{1b}[31m", location],
        &["cat", location, "#6", "\u{1b}[31m"],
        &["files", location, "\u{1b}[31m"],
        &["ls", "-vvv", location],
    ] {
        let ran = place.run(arguments);
        assert!(!ran.out.is_empty() || !ran.err.is_empty(), "{arguments:?}");
        assert_harmless(&ran, arguments);
    }
}

#[test]
fn json_keeps_hostile_text_exactly() {
    let place = evil_cache();
    let listing = place.run(&["ls", "--json", "local-history"]).json();
    let tags: Vec<&Value> = listing["items"].as_array().unwrap().iter().map(|i| &i["tags"]).collect();
    assert!(tags.contains(&&json!([EVIL])), "{tags:?}");
}

#[test]
fn pipes_get_no_colours_and_whole_lines() {
    let place = Place::with("local-history");
    let ran = place.run(&["versions", "--format", "wide", "local-history"]);
    assert!(!ran.out.contains('\u{1b}') && !ran.err.contains('\u{1b}'), "{ran}");
    assert!(ran.out.lines().skip(1).all(|line| line.contains("digest=sha256:")), "{ran}");
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let place = Place::with("local-history");
    for arguments in [
        &["blobs", "--format", "jsonl", "local-history"][..],
        &["cat", "local-history", "#6", "deps/a.bin"],
        &["graph", "local-history", "--format", "svg"],
        &["raw", "local-history"],
        &["completion", "bash"],
    ] {
        let mut child = place.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // Closed before anything can be written: everything that is written later fails.
        drop(child.stdout.take());
        let mut err = String::new();
        child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        let code = child.wait().unwrap().code();
        assert_eq!((code, err.as_str()), (Some(0), ""), "{arguments:?}");
    }
}

#[test]
fn output_that_cannot_be_written_is_a_failure() {
    let place = Place::with("local-history");
    let full = std::fs::File::create("/dev/full").unwrap();
    let output = place.command(&["ls", "local-history"]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("writing the output"));
}

/// Ctrl-C while something long is running.
#[test]
fn an_interrupted_run_says_so_and_ends_with_130() {
    let place = Place::with("local-min");
    // Takes minutes to hash and no space: all of it is a hole.
    let blob = place.path("local-min/blobs/sha256").join("d".repeat(64));
    std::fs::File::create(blob).unwrap().set_len(1 << 40).unwrap();
    let mut child = place
        .command(&["verify", "--level", "digest", "--progress", "json", "local-min"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut err = std::io::BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    err.read_line(&mut line).unwrap();
    let progress: Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&progress["type"], &progress["phase"]), (&json!("progress"), &json!("verifying")));
    assert_eq!(progress["bytes_total"].as_u64().unwrap() >> 40, 1);
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let mut rest = String::new();
    err.read_to_string(&mut rest).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{rest}");
    assert_eq!(rest.lines().last(), Some("stopped"), "{rest}");
}

#[test]
fn thresholds_end_with_their_own_code() {
    let place = Place::with("local-history");
    let over = place.run(&["du", "--fail-over", "500KiB", "local-history"]);
    assert_eq!(over.code, 7, "{over}");
    assert!(over.err.contains("local:local-history takes 790.0 KiB, more than 500.0 KiB"), "{over}");
    let words = place.run(&["du", "--json", "--fail-over", "500KiB", "local-history"]).err;
    assert_eq!(serde_json::from_str::<Value>(&words).unwrap()["type"], "limit", "programs read JSON there too");
    assert_eq!(place.run(&["du", "--fail-over", "1MiB", "local-history"]).code, 0);
    assert_eq!(place.run(&["du", "--fail-over", "many", "local-history"]).code, 2);
}

#[test]
fn a_log_is_written_where_it_was_asked_for() {
    let place = Place::with("local-min");
    let ran = place.run(&["ls", "--log-file", "log", "local-min"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{ran}");
    let log = std::fs::read_to_string(place.path("log")).unwrap();
    assert!(log.contains("type=local,src=local-min"), "{log}");
    assert!(place.run(&["ls", "-v", "local-min"]).err.contains("type=local,src=local-min"));
}
