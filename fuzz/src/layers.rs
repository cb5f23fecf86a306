//! Layers: a tar in any packing, listed, read, and put into the tree that is shown.

use cachedeck::format::layer::{LayerReader, Limits, Stop};
use cachedeck::model::cache::Compression;
use cachedeck::model::files::tree::{FileTree, Mark, Order, ROOT, View};
use cachedeck::model::files::{Entry, EntryKind, Limit, normal};
use cachedeck::progress::Progress;
use std::io::{Read as _, Write as _};

/// Small enough that fuzzing reaches every one of them.
const LIMITS: Limits = Limits {
    output: 1 << 20,
    ratio: 100,
    ratio_floor: 64 << 10,
    entries: 200,
    name: 300,
    names: 8 << 10,
    record: 2 << 10,
    window_log: 20,
};

/// Files of the packing itself, which a reader of gzip leaves out.
const PACKING: [&[u8]; 3] = [b"stargz.index.json", b".prefetch.landmark", b".no.prefetch.landmark"];

/// A layer. It is read twice, the second time differently: packed where it was not, or with its content skipped.
pub fn tar(data: &[u8]) {
    let first = read(data, true);
    grow(&first.entries);
    let (second, hides) = match (first.compression, data.len() % 3) {
        (Compression::Uncompressed, 1) => (read(&gzip(data), true), true),
        (Compression::Uncompressed, 2) => (read(&zstd::encode_all(data, 1).unwrap(), true), false),
        _ => (read(data, false), false),
    };
    let by_ratio = |read: &Whole| matches!(read.stop, Some(Stop::Limit(Limit::Ratio(_))));
    if by_ratio(&first) || by_ratio(&second) {
        return;
    }
    let is_shown = |entry: &&Entry| !hides || !PACKING.contains(&&*normal(&entry.path));
    assert!(first.entries.iter().filter(is_shown).eq(&second.entries), "two ways to read it give two listings");
    assert_eq!(first.stop, second.stop);
}

struct Whole {
    entries: Vec<Entry>,
    stop: Option<Stop>,
    compression: Compression,
}

fn read(data: &[u8], with_content: bool) -> Whole {
    let mut reader = LayerReader::new(data, LIMITS, &Progress::new());
    let compression = reader.compression();
    let mut entries: Vec<Entry> = Vec::new();
    let (mut names, mut in_content) = (0, false);
    let stop = loop {
        let entry = match reader.next_entry() {
            Ok(Some(entry)) => entry,
            Ok(None) => break None,
            Err(stop) => break Some(stop),
        };
        let long = entry.path.len().max(entry.link.as_ref().map_or(0, Vec::len));
        names += long as u64;
        assert!(long as u64 <= LIMITS.name && names <= LIMITS.names && entry.mode <= 0o7777);
        assert!(entries.last().is_none_or(|last| last.number < entry.number));
        let (size, exact) = (entry.size, entry.kind == EntryKind::File && !reader.is_sparse());
        entries.push(entry);
        if with_content {
            let mut content = Vec::new();
            if let Err(error) = reader.read_to_end(&mut content) {
                in_content = true;
                break Some(Stop::from_io(error));
            }
            assert!(!exact || content.len() as u64 == size, "{} bytes of {size}", content.len());
        }
    };
    assert!(entries.len() as u64 <= LIMITS.entries);
    // A last piece may reach beyond the bound before it is noticed, but not by much.
    assert!(reader.unpacked() <= LIMITS.output + (1 << 20));
    if !in_content {
        assert!(matches!(reader.next_entry(), Ok(None)), "it goes on after its end");
    }
    Whole { entries, stop, compression }
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
    packer.write_all(data).unwrap();
    packer.finish().unwrap()
}

/// All entries as one layer, and the same again as the layer above.
fn grow(entries: &[Entry]) {
    let mut tree = FileTree::new();
    for layer in 0..2 {
        if layer > 0 {
            tree.begin_layer();
        }
        for entry in entries {
            tree.insert(entry).expect("a tree that is far from full");
            let found = tree.find(&entry.path).expect("what was inserted");
            assert_eq!(tree.path(found), normal(&entry.path));
        }
        assert_eq!(tree.tally().entries, entries.len() as u64);
        // Sums stop at the largest number, and are no sums then.
        if entries.iter().all(|entry| entry.size < 1 << 40) {
            check_sums(&tree);
        }
    }
}

/// A directory is as large as what is in it.
fn check_sums(tree: &FileTree) {
    let mut stack = vec![ROOT];
    while let Some(at) = stack.pop() {
        let node = tree.node(at);
        let (mut merged, mut here) = (node.size(), if node.layer() == tree.layer() { node.size() } else { 0 });
        for child in tree.children(at, View::Merged, Order::Size) {
            let child = tree.node(child);
            // What was deleted shows its size, but counts no more.
            if child.mark() != Mark::Deleted {
                merged += child.total(View::Merged);
                here += child.total(View::Layer);
                stack.push(child.id());
            }
        }
        let path = tree.path(at);
        assert_eq!((merged, here), (node.total(View::Merged), node.total(View::Layer)), "{}", path.escape_ascii());
        tree.children(at, View::Layer, Order::Name);
    }
}

/// Makes the checksums of all headers right: hardly a change to a tar gets past the first of them otherwise.
pub fn repair(tar: &mut [u8]) {
    let mut at = 0;
    while let Some(header) = tar.get_mut(at..at + 512) {
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|&b| u32::from(b)).sum();
        if sum == 8 * u32::from(b' ') {
            header[148..156].fill(0);
            return;
        }
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let digits = header[124..136].iter().filter(|b| b.is_ascii_digit());
        let size = digits.fold(0_usize, |size, b| size.wrapping_mul(8).wrapping_add(usize::from(b - b'0')));
        let has_content = !matches!(header[156], b'1'..=b'6');
        at = at.saturating_add(512).saturating_add(if has_content {
            size.min(1 << 20).next_multiple_of(512)
        } else {
            0
        });
    }
}
