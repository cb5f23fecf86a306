//! Every file of the fuzz corpus through the function it was found with: what once broke a reader stays fixed, and the
//! corpus stays of use, without cargo-fuzz and a minute a target.

#![allow(clippy::unwrap_used)]

#[path = "../fuzz/src/lib.rs"]
mod targets;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

type Target = fn(&[u8]);

const TARGETS: &[(&str, Target)] = &[
    ("build", targets::build),
    ("config", targets::config),
    ("envelope", targets::envelope),
    ("filter", targets::filter),
    ("index", targets::index),
    ("location", targets::location),
    ("settings", targets::settings),
    ("tar", targets::tar),
    ("usage", targets::usage),
];

/// The whole corpus is copied by everyone who clones the project.
const MAX_BYTES: u64 = 200_000;

#[test]
fn the_corpus_still_holds() {
    let mut bytes = 0;
    for (name, target) in TARGETS {
        let folder = Path::new("fuzz/corpus").join(name);
        let mut files: Vec<_> = fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path()).collect();
        files.sort();
        assert!(!files.is_empty(), "{}", folder.display());
        for file in files {
            let data = fs::read(&file).unwrap();
            bytes += data.len() as u64;
            // A panic tells what broke; this, on which file.
            std::panic::catch_unwind(|| target(&data)).unwrap_or_else(|_| panic!("{}", file.display()));
        }
    }
    assert!(bytes <= MAX_BYTES, "{bytes} bytes: merge it, or keep the smaller ones");
}

#[test]
fn every_target_has_a_corpus_and_a_line_here() {
    let names = |folder: &str| -> BTreeSet<String> {
        let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
        files.map(|file| file.file_stem().unwrap().to_str().unwrap().to_owned()).collect()
    };
    let here = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names("fuzz/fuzz_targets"), here);
    assert_eq!(names("fuzz/corpus"), here);
}

#[test]
fn repaired_headers_have_right_checksums() {
    let mut header = tar::Header::new_ustar();
    header.set_path("a").unwrap();
    header.set_size(600);
    let mut bytes = header.as_bytes().to_vec();
    bytes.resize(512 + 1024, 7);
    header.set_size(0);
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend_from_slice(&[0; 1024]);
    targets::repair(&mut bytes);
    let mut archive = tar::Archive::new(&*bytes);
    assert_eq!(archive.entries().unwrap().filter(Result::is_ok).count(), 2);
    assert!(bytes.ends_with(&[0; 1024]));
}
