//! Help, manual, completion, version: what people read first.

use crate::program::Place;

const COMMANDS: [&str; 38] = [
    "ls",
    "inspect",
    "versions",
    "layers",
    "graph",
    "records",
    "raw",
    "du",
    "blobs",
    "verify",
    "diff",
    "files",
    "cat",
    "extract",
    "find",
    "flags",
    "copy",
    "sync",
    "build",
    "warm",
    "pin",
    "unpin",
    "pins",
    "prune",
    "delete",
    "untag",
    "repair",
    "apply",
    "trash",
    "undo",
    "log",
    "gha",
    "daemon",
    "locations",
    "demo",
    "completion",
    "man",
    "version",
];

#[test]
fn the_first_page() {
    let place = Place::empty();
    insta::assert_snapshot!("help", place.run(&["--help"]));
    assert!(place.run(&["--help"]).out.lines().all(|line| line.chars().count() <= 100));
}

#[test]
fn every_command_has_examples_and_fits() {
    let place = Place::empty();
    for command in COMMANDS {
        let help = place.run(&[command, "--help"]);
        assert_eq!(help.code, 0, "{help}");
        let words = ["completion", "demo", "version"].contains(&command) || help.out.contains("Examples:");
        assert!(words, "{command} has no examples");
        for line in help.out.lines() {
            assert!(line.chars().count() <= 120, "{command}: {line}");
        }
        for other in [&["help", command][..], &[command, "-h"]] {
            assert_eq!(place.run(other).out, help.out, "{command}");
        }
    }
}

#[test]
fn no_command_goes_undocumented() {
    let place = Place::empty();
    let help = place.run(&["-h"]).out;
    let listed: Vec<&str> = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect();
    assert_eq!(listed, COMMANDS);
}

#[test]
fn help_of_lists() {
    let place = Place::empty();
    insta::assert_snapshot!("help_ls", place.run(&["ls", "--help"]));
    insta::assert_snapshot!("help_cat", place.run(&["cat", "-h"]));
}

#[test]
fn topics() {
    let place = Place::empty();
    for topic in ["exit-codes", "environment", "places", "filters", "json", "configuration"] {
        insta::assert_snapshot!(format!("help_{topic}"), place.run(&["help", topic]));
        assert_eq!(place.run(&[topic]).code, 0);
    }
}

#[test]
fn version_in_both_ways() {
    let place = Place::empty();
    let version = format!("cachedeck {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(place.run(&["--version"]).out, version);
    assert_eq!(place.run(&["version"]).out, version);
    assert_eq!(place.run(&["version", "--json"]).json()["version"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn a_manual_page_for_every_command() {
    let place = Place::empty();
    let written = place.run(&["man", "--out", "man"]);
    assert_eq!(written.code, 0, "{written}");
    for command in COMMANDS {
        let page = std::fs::read_to_string(place.path(&format!("man/cachedeck-{command}.1"))).unwrap();
        assert!(page.contains(".SH NAME"), "{command}");
    }
    let main = std::fs::read_to_string(place.path("man/cachedeck.1")).unwrap();
    assert!(main.contains("EXIT STATUS") && main.contains("CACHEDECK_CONFIG"), "{main}");
    assert_eq!(place.run(&["man"]).out, main);
}

#[test]
fn completions_know_the_commands() {
    let place = Place::empty();
    for shell in ["bash", "zsh", "fish", "nushell", "powershell", "elvish"] {
        let script = place.run(&["completion", shell]);
        assert_eq!(script.code, 0, "{script}");
        assert!(COMMANDS.iter().all(|command| script.out.contains(command)), "{shell}");
    }
}

#[test]
fn nothing_of_the_config_is_needed_for_help() {
    let place = Place::empty();
    std::fs::write(place.path("broken.toml"), "nonsense = [").unwrap();
    for arguments in [&["version"][..], &["man"], &["completion", "bash"], &["help", "json"], &["exit-codes"]] {
        let ran = place.command(arguments).env("CACHEDECK_CONFIG", "broken.toml").output().unwrap();
        assert!(ran.status.success(), "{arguments:?}");
    }
    let ran = place.command(&["ls"]).env("CACHEDECK_CONFIG", "broken.toml").output().unwrap();
    assert_eq!(ran.status.code(), Some(2));
}
