//! Every operation with its n-th system call failing, for every n: nothing is lost, what is told names the place and the next
//! step, and doing it again does it.

use super::*;
use crate::store::local::faults;

const BLOBS: [&[u8]; 3] = [b"one", b"two", b"three"];

struct Case {
    name: &'static str,
    /// What is there before.
    before: fn(&Layout),
    /// The operation.
    change: fn(&Layout, &Arc<Folder>) -> Result<()>,
    /// Whether it was done.
    is_done: fn(&Layout) -> bool,
}

/// What is brought back and freed is told by its digest alone.
fn targets() -> [Target; 3] {
    BLOBS.map(|bytes| Target { digest: Digest::of(bytes), bytes: bytes.len() as u64, modified: None })
}

fn hide_all(layout: &Layout, folder: &Folder) -> Result<()> {
    let there = BLOBS.map(Digest::of).into_iter().filter(|digest| layout.blob_path(digest).exists());
    let there: Vec<Target> = there.map(|digest| layout.target(digest)).collect();
    folder.hide(&run(), &there, SignedDuration::ZERO, &Progress::new()).into_iter().collect()
}

fn all_there(layout: &Layout) -> bool {
    BLOBS.iter().all(|bytes| std::fs::read(layout.blob_path(&Digest::of(bytes))).is_ok_and(|is| is == *bytes))
}

fn index(layout: &Layout) -> String {
    std::fs::read_to_string(layout.path("index.json")).unwrap()
}

const CASES: &[Case] = &[
    Case {
        name: "hide",
        before: |_| {},
        change: |layout, folder| hide_all(layout, folder),
        is_done: |layout| layout.folder().hidden(&run()).unwrap().len() == BLOBS.len(),
    },
    Case {
        name: "restore",
        before: |layout| hide_all(layout, &layout.folder()).unwrap(),
        change: |_, folder| folder.restore(&run(), &targets(), &Progress::new()).into_iter().collect(),
        is_done: all_there,
    },
    Case {
        name: "publish",
        before: |_| {},
        change: |layout, folder| {
            if index(layout).contains("new") {
                return Ok(());
            }
            folder.publish("new", b"{\"manifests\":[7]}", &BLOBS.map(Digest::of), &Expected::Absent).map(drop)
        },
        is_done: |layout| {
            index(layout).contains("\"new\"") && layout.blob_path(&Digest::of(b"{\"manifests\":[7]}")).exists()
        },
    },
    Case {
        name: "remove",
        before: |layout| {
            layout.folder().publish("new", DOCUMENT, &[], &Expected::Absent).unwrap();
        },
        change: |_, folder| {
            let version = Some(Digest::of(DOCUMENT).to_string());
            let new = Reference { name: "new".to_owned(), digest: None, size: None, modified: None, version };
            folder.unname(&[new])?.0.remove(0)
        },
        is_done: |layout| !index(layout).contains("\"new\""),
    },
    Case {
        name: "put",
        before: |layout| std::fs::remove_dir_all(layout.path("blobs")).unwrap(),
        change: |_, folder| BLOBS.iter().try_for_each(|bytes| folder.store(&Digest::of(bytes), bytes)),
        is_done: all_there,
    },
    Case {
        name: "take",
        before: |layout| {
            let blobs = layout.path("source/blobs");
            std::fs::create_dir(layout.path("source")).unwrap();
            std::fs::rename(layout.path("blobs"), blobs).unwrap();
        },
        change: |layout, folder| {
            let from = Folder::open(layout.path("source"))?;
            BLOBS.iter().try_for_each(|bytes| match take::take(folder, &Digest::of(bytes), &from)? {
                true => Ok(()),
                false => folder.store(&Digest::of(bytes), bytes),
            })
        },
        is_done: all_there,
    },
    Case {
        name: "note",
        before: |layout| layout.folder().note("runs/1.json", b"before").unwrap(),
        change: |_, folder| folder.note("runs/1.json", b"after").and_then(|()| folder.note("pins/a/b.json", b"pin")),
        is_done: |layout| {
            let folder = layout.folder();
            folder.read_note("runs/1.json").unwrap() == "after"
                && folder.read_note("pins/a/b.json").is_ok_and(|note| note == "pin")
        },
    },
    Case {
        name: "drop_note",
        before: |layout| layout.folder().note("runs/1.json", b"before").unwrap(),
        change: |_, folder| folder.drop_note("runs/1.json"),
        is_done: |layout| layout.folder().note_keys("").unwrap().is_empty(),
    },
    Case {
        name: "discard",
        before: |layout| {
            std::fs::create_dir_all(layout.path("ingest/old")).unwrap();
            layout.write("ingest/old/data", b"half");
            ["ingest/old/data", "ingest/old"].iter().for_each(|path| layout.age(path, 25));
        },
        change: |_, folder| folder.discard(&["old".to_owned()], &Progress::new()).remove(0),
        is_done: |layout| !layout.path("ingest/old").exists(),
    },
    Case {
        name: "hold",
        before: |_| {},
        change: |_, folder| folder.hold(&run()).map(drop),
        is_done: |layout| layout.path(".cachedeck/lock").exists(),
    },
];

/// Freed blobs are gone for good, so this has no way back: what was not freed is still hidden.
const PURGE: Case = Case {
    name: "purge",
    before: |layout| hide_all(layout, &layout.folder()).unwrap(),
    change: |_, folder| folder.purge(&run(), &targets(), &Progress::new()).into_iter().collect(),
    is_done: |layout| layout.folder().hidden(&run()).unwrap().is_empty(),
};

#[test]
fn whatever_call_fails_nothing_is_lost_and_the_next_attempt_does_it() {
    let errors = [Errno::NOSPC, Errno::DQUOT, Errno::IO, Errno::ACCESS, Errno::ROFS, Errno::INTR];
    let (mut count, mut tolerated) = (0, 0);
    for case in CASES.iter().chain([&PURGE]) {
        for errno in errors {
            for n in 0.. {
                let layout = Layout::new(if case.name == "put" { &[] } else { &BLOBS });
                (case.before)(&layout);
                let folder = layout.folder();
                faults::fail(n, errno);
                let result = (case.change)(&layout, &folder);
                let Some(call) = faults::stop() else { break };
                count += 1;
                let what = format!("{} with call {n}, {call}, failing with {errno}", case.name);
                intact(&layout, case, &what);
                match result {
                    Ok(()) => {
                        tolerated += 1;
                        assert!((case.is_done)(&layout), "{what}: it says that it is done");
                    }
                    Err(error) => {
                        assert_ne!(errno, Errno::INTR, "{what}: {error}");
                        let path = layout.root.path().to_str().unwrap();
                        assert!(error.to_string().contains(path), "{what}: {error}");
                        assert!(error.hint().is_some(), "{what}: {error}");
                    }
                }
                (case.change)(&layout, &layout.folder()).unwrap_or_else(|error| panic!("{what}, then again: {error}"));
                assert!((case.is_done)(&layout), "{what}: not done by the second attempt");
                intact(&layout, case, &what);
            }
        }
    }
    println!("{count} calls failed in {} operations; {tolerated} did not matter", CASES.len() + 1);
    assert!(count >= 1000, "only {count} cases");
}

/// Each blob is whole where it was or where it is hidden, and what is in the index was there before or is what we wrote.
fn intact(layout: &Layout, case: &Case, what: &str) {
    let trash = layout.path(".cachedeck/20261121-134500-000001/trash");
    if !matches!(case.name, "purge" | "put" | "take") {
        for bytes in BLOBS {
            let digest = Digest::of(bytes);
            let is = std::fs::read(layout.blob_path(&digest)).or_else(|_| std::fs::read(trash.join(digest.hex())));
            assert_eq!(is.ok().as_deref(), Some(bytes), "{what}: a blob is lost");
        }
    }
    for entry in std::fs::read_dir(layout.path("blobs/sha256")).into_iter().flatten() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        assert_eq!(Digest::of(&std::fs::read(&path).unwrap()).hex(), name, "{what}: half a blob is there");
    }
    let names = layout.folder().references().unwrap().unwrap().items;
    assert!(names.iter().any(|r| r.name == "latest"), "{what}: the other name is lost");
    let notes = layout.folder().note_keys("").unwrap();
    let whole = |key: &String| {
        let note = layout.folder().read_note(key).unwrap();
        ["before", "after", "pin"].iter().any(|whole| note == *whole)
    };
    assert!(notes.iter().all(whole), "{what}: half a note is there");
}
