//! What was read out of layers: file trees that grow while they are read, and the beginnings of files as lines.

use crate::model::digest::Digest;
use crate::model::files::tree::FileTree;
use crate::model::files::{Ending, Entry, Limit};
use crate::model::text;
use crate::ops::files::Listing;
use crate::ops::files::content::{Look, Peek};
use crate::ops::files::merge::Merged;
use crate::tui::shared::{Fetched, PlaceId};
use std::sync::Arc;

/// Layers of one place, lowest first: what a tree is made of. One layer is that layer alone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Chain {
    /// Where.
    pub place: PlaceId,
    /// The blobs.
    pub layers: Arc<[Digest]>,
}

/// The files of a chain.
#[derive(Clone, Debug, Default)]
pub struct Contents {
    /// What was read so far.
    pub tree: FileTree,
    /// How reading ended; `None` while it goes on.
    pub ending: Option<Ending>,
    /// How the layer is packed, once that is known.
    pub packed: Option<&'static str>,
    /// Grows with the tree.
    pub revision: u64,
}

impl Contents {
    /// Adds entries; if the tree is full, the reason becomes the ending.
    pub fn add(&mut self, entries: &[Entry]) {
        let full: Option<Limit> = entries.iter().find_map(|entry| self.tree.insert(entry).err());
        if let Some(limit) = full {
            self.ending = Some(Ending::Truncated(limit));
        }
        self.revision += 1;
    }

    /// Notes how the listing ended.
    pub fn end(&mut self, listing: &Listing) {
        self.packed = Some(listing.compression.name());
        self.ending.get_or_insert_with(|| listing.ending.clone());
        self.revision += 1;
    }

    /// What a whole chain came to.
    pub fn merged(merged: Merged) -> Contents {
        let ending = merged.endings.into_iter().find(|ending| !ending.is_complete()).unwrap_or_default();
        Contents { tree: merged.tree, ending: Some(ending), packed: None, revision: 1 }
    }
}

/// Trees that are kept; a large one takes some hundred megabytes.
const KEPT: usize = 4;

/// The trees that were read, and the last file that was looked at.
#[derive(Clone, Debug, Default)]
pub struct Library {
    /// Oldest first.
    trees: Vec<(Chain, Fetched<Box<Contents>>)>,
    /// The file that is looked at, or is to be.
    pub peek: Option<(File, Fetched<Arc<Page>>)>,
}

impl Library {
    /// What is known of `chain`.
    pub fn get(&self, chain: &Chain) -> Option<&Fetched<Box<Contents>>> {
        self.trees.iter().find(|(key, _)| key == chain).map(|(_, contents)| contents)
    }

    /// Puts `contents` there, and lets the oldest go if there are too many.
    pub fn put(&mut self, chain: Chain, contents: Fetched<Box<Contents>>) {
        self.trees.retain(|(key, _)| *key != chain);
        self.trees.push((chain, contents));
        if self.trees.len() > KEPT {
            self.trees.remove(0);
        }
    }

    /// The tree of `chain`, to be added to; an empty one if there is none yet.
    pub fn grow(&mut self, chain: &Chain) -> Option<&mut Contents> {
        if !matches!(self.get(chain), Some(Fetched::Ready(_))) {
            self.put(chain.clone(), Fetched::Ready(Box::default()));
        }
        self.trees.iter_mut().find(|(key, _)| key == chain).and_then(|(_, contents)| match contents {
            Fetched::Ready(contents) => Some(contents.as_mut()),
            _ => None,
        })
    }
}

/// One file of a layer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct File {
    /// Where.
    pub place: PlaceId,
    /// The layer it is in.
    pub layer: Digest,
    /// Its name, as written.
    pub path: Vec<u8>,
    /// Its place among the layer's entries.
    pub number: u32,
}

/// The beginning of a file as lines to read. All of it is safe.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// What it looks like.
    pub look: &'static str,
    /// Bytes of the whole file.
    pub size: u64,
    /// Its digest, where all of it was read.
    pub digest: Option<Digest>,
    /// The lines, numbered or as hex.
    pub lines: Vec<Line>,
    /// Whether something follows.
    pub cut: bool,
}

/// A line of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// Its number or offset.
    pub margin: String,
    /// What it says.
    pub text: String,
}

/// Longest line that is shown, in bytes.
const LINE: usize = 2000;
/// Bytes in a line of hex.
const HEX: usize = 16;

impl Page {
    /// From the beginning of a file.
    pub fn of(peek: &Peek) -> Page {
        let lines = match peek.look {
            Look::Empty => Vec::new(),
            Look::Binary => hex(&peek.bytes),
            Look::Json | Look::Text => readable(&peek.bytes),
        };
        let look = peek.look.name();
        Page { look, size: peek.entry.size, digest: peek.digest, lines, cut: !peek.is_whole() }
    }
}

/// `bytes` as numbered lines without anything that could act on a terminal.
fn readable(bytes: &[u8]) -> Vec<Line> {
    let lines = bytes.strip_suffix(b"\n").unwrap_or(bytes).split(|&b| b == b'\n');
    lines.enumerate().map(|(at, line)| Line { margin: (at + 1).to_string(), text: plain(line) }).collect()
}

/// One line, its tabs spread to stops of four.
pub fn plain(line: &[u8]) -> String {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let shown: Vec<_> = line.split(|&b| b == b'\t').map(|part| text::safe_bytes(part).into_owned()).collect();
    let mut out = String::new();
    for (at, part) in shown.iter().enumerate() {
        if at > 0 {
            let stop = 4 - text::width(&out) % 4;
            out.push_str(&" ".repeat(stop));
        }
        out.push_str(part);
    }
    text::safe_within(&out, LINE).into_owned()
}

fn hex(bytes: &[u8]) -> Vec<Line> {
    let line = |(at, part): (usize, &[u8])| {
        let digits: Vec<String> = part.iter().map(|byte| format!("{byte:02x}")).collect();
        let signs: String =
            part.iter().map(|&byte| if (0x20..0x7f).contains(&byte) { char::from(byte) } else { '.' }).collect();
        let text = format!("{:<47}  {signs}", digits.join(" "));
        Line { margin: format!("{:06x}", at * HEX), text }
    };
    bytes.chunks(HEX).enumerate().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_safe_and_tabs_keep_columns() {
        let lines = readable(b"a\tb\r\n\x1b[31mred\n\xff\n");
        let text: Vec<&str> = lines.iter().map(|l| l.text.as_str()).collect();
        assert_eq!(text, ["a   b", r"\x1b[31mred", r"\xff"]);
        assert_eq!(lines[2].margin, "3");
    }

    #[test]
    fn binary_is_shown_as_hex() {
        let lines = hex(b"\x00\x01ELF0123456789abcdef");
        assert_eq!(lines.len(), 2);
        assert!(lines[0].text.ends_with("  ..ELF0123456789a"), "{}", lines[0].text);
        assert_eq!(lines[1].margin, "000010");
    }

    #[test]
    fn only_the_newest_trees_are_kept() {
        let mut library = Library::default();
        let chain = |n: usize| Chain { place: n, layers: Arc::from([Digest::of(b"x")]) };
        (0..9).for_each(|n| assert!(library.grow(&chain(n)).is_some()));
        assert!(library.get(&chain(8)).is_some() && library.get(&chain(0)).is_none());
    }
}
