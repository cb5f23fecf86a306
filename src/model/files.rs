//! What layers hold: entries as a tar has them, how their names are read, and why a listing ended early. Names are
//! bytes as written, never made safe here: they reach a terminal through [`crate::model::text`] and a disk only through
//! `ops::files`.

mod names;
pub mod tree;

use crate::error::Error;
use crate::model::digest::Digest;
use crate::model::finding::{Finding, Problem};
use serde::Serialize;
use std::fmt;

/// Begins the name of an entry that deletes what lower layers have under the rest of the name.
pub const WHITEOUT_PREFIX: &[u8] = b".wh.";

/// The name of an entry that deletes everything that lower layers have in its directory.
pub const OPAQUE: &[u8] = b".wh..wh..opq";

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum EntryKind {
    /// A directory.
    Directory,
    /// A file with content.
    File,
    /// A symbolic link.
    Symlink,
    /// Another name of a file that stands earlier in the same layer.
    Hardlink,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A named pipe.
    Fifo,
    /// Deletes one name of lower layers (`.wh.name`).
    Whiteout,
    /// Deletes everything that lower layers have in its directory (`.wh..wh..opq`).
    Opaque,
    /// A type that neither Docker nor containerd unpacks.
    Other,
}

impl EntryKind {
    /// The JSON name.
    pub fn name(self) -> &'static str {
        match self {
            EntryKind::Directory => "directory",
            EntryKind::File => "file",
            EntryKind::Symlink => "symlink",
            EntryKind::Hardlink => "hardlink",
            EntryKind::CharDevice => "char-device",
            EntryKind::BlockDevice => "block-device",
            EntryKind::Fifo => "fifo",
            EntryKind::Whiteout => "whiteout",
            EntryKind::Opaque => "opaque",
            EntryKind::Other => "other",
        }
    }

    /// The first letter of `ls -l`; hardlinks are `h` as in `tar -tv`.
    pub fn letter(self) -> char {
        match self {
            EntryKind::Directory => 'd',
            EntryKind::File => '-',
            EntryKind::Symlink => 'l',
            EntryKind::Hardlink => 'h',
            EntryKind::CharDevice => 'c',
            EntryKind::BlockDevice => 'b',
            EntryKind::Fifo => 'p',
            EntryKind::Whiteout | EntryKind::Opaque => 'w',
            EntryKind::Other => '?',
        }
    }

    /// Whether it stands for a deletion and is never unpacked itself.
    pub fn is_whiteout(self) -> bool {
        matches!(self, EntryKind::Whiteout | EntryKind::Opaque)
    }
}

/// One entry of a layer, as written there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its place among the layer's entries, from 0. Names may repeat, places do not.
    pub number: u32,
    /// The name as written: any bytes, possibly absolute, with `..` or without meaning.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: EntryKind,
    /// Permissions with set-id and sticky bits: 12 bits.
    pub mode: u32,
    /// Owner; numbers beyond 32 bits read as the largest.
    pub uid: u32,
    /// Group; numbers beyond 32 bits read as the largest.
    pub gid: u32,
    /// Bytes of content; 0 for all that is no file.
    pub size: u64,
    /// Seconds since 1970.
    pub mtime: i64,
    /// Where a symbolic link or hardlink leads, as written.
    pub link: Option<Vec<u8>>,
    /// Major and minor number of a device.
    pub device: Option<(u32, u32)>,
    /// Names of its extended attributes.
    pub xattrs: Vec<Vec<u8>>,
}

/// `drwxr-xr-x`, as `ls -l` shows `mode`.
pub fn mode_string(kind: EntryKind, mode: u32) -> String {
    let mut text = String::with_capacity(10);
    text.push(kind.letter());
    for (shift, special, letter) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let bits = mode >> shift;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        text.push(match (mode & special != 0, bits & 1 != 0) {
            (true, true) => letter,
            (true, false) => letter.to_ascii_uppercase(),
            (false, true) => 'x',
            (false, false) => '-',
        });
    }
    text
}

/// The parts of a name: a leading `/` or `./`, doubled slashes and a trailing slash make no difference. A `..` stays a
/// part of its own: it is shown as it is and leads nowhere.
pub fn parts(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> + Clone {
    path.split(|&b| b == b'/').filter(|part| !part.is_empty() && *part != b".")
}

/// The name with its [`parts`] joined by single slashes, by which names are compared.
pub fn normal(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    for part in parts(path) {
        if !out.is_empty() {
            out.push(b'/');
        }
        out.extend_from_slice(part);
    }
    out
}

/// The last of the [`parts`]; `None` for the root.
pub fn base(path: &[u8]) -> Option<&[u8]> {
    parts(path).next_back()
}

/// What the last part of a name deletes, if it is a whiteout.
pub fn whiteout_target(name: &[u8]) -> Option<&[u8]> {
    let target = name.strip_prefix(WHITEOUT_PREFIX)?;
    // `.wh..wh.` begins the names of a file system's own records, among them the opaque mark.
    (!matches!(target, b"" | b"." | b"..") && !target.starts_with(WHITEOUT_PREFIX)).then_some(target)
}

/// A bound that a listing ran into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "bound", content = "limit")]
#[non_exhaustive]
pub enum Limit {
    /// Bytes unpacked.
    Output(u64),
    /// Bytes unpacked for each byte stored.
    Ratio(u64),
    /// Entries.
    Entries(u64),
    /// Bytes of one name, link target or header record.
    Name(u64),
    /// Bytes of all names together.
    Names(u64),
    /// Bytes that the unpacker must look back.
    Window(u64),
    /// Files and directories of a tree, those that only names imply among them.
    Nodes(u64),
    /// Steps taken to delete and replace what was there before.
    Churn(u64),
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Limit::Output(n) => write!(f, "it unpacks to more than {n} bytes"),
            Limit::Ratio(n) => write!(f, "it unpacks to more than {n} times its size"),
            Limit::Entries(n) => write!(f, "it has more than {n} entries"),
            Limit::Name(n) => write!(f, "it has a name or record of more than {n} bytes"),
            Limit::Names(n) => write!(f, "its names take more than {n} bytes"),
            Limit::Window(n) => write!(f, "unpacking it needs a window of more than {n} bytes"),
            Limit::Churn(n) => write!(f, "its entries replace each other in more than {n} steps"),
            Limit::Nodes(n) => write!(f, "its names make more than {n} files and directories"),
        }
    }
}

/// How the reading of a layer ended. Whatever came before the end stays good.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "end", content = "reason")]
pub enum Ending {
    /// All of it was read.
    #[default]
    Complete,
    /// A bound was reached.
    Truncated(Limit),
    /// From there on it is not what a layer should be. May hold untrusted text.
    Damaged(String),
    /// From there on the blob could not be read.
    Unreadable(String),
}

impl Ending {
    /// Whether all of it was read.
    pub fn is_complete(&self) -> bool {
        *self == Ending::Complete
    }

    /// The finding for a layer that was not read whole.
    pub fn finding(&self, layer: &Digest) -> Option<Finding> {
        let problem = match self {
            Ending::Complete => return None,
            Ending::Damaged(_) => Problem::Malformed,
            Ending::Truncated(_) | Ending::Unreadable(_) => Problem::Unreadable,
        };
        let mut finding = Finding::new(problem, Some(*layer), self.to_string());
        if matches!(self, Ending::Truncated(_)) {
            finding.remedy = None;
        }
        Some(finding)
    }

    /// The error for somebody who needs all of it.
    pub fn error(&self, layer: &Digest) -> Option<Error> {
        let what = format!("layer {layer}: {self}");
        match self {
            Ending::Complete => None,
            Ending::Truncated(_) => Some(Error::invalid(what)),
            Ending::Damaged(_) => Some(
                Error::corrupt(what).with_hint("verify --level digest tells whether the blob is as it was written"),
            ),
            Ending::Unreadable(_) => Some(Error::new(crate::error::Kind::Unavailable, what)),
        }
    }
}

/// One line; may hold untrusted text.
impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ending::Complete => f.write_str("read to its end"),
            Ending::Truncated(limit) => write!(f, "only its beginning was read: {limit}"),
            Ending::Damaged(what) => write!(f, "only its beginning could be read: {what}"),
            Ending::Unreadable(what) => write!(f, "reading broke off: {what}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_compare_without_what_makes_no_difference() {
        for path in ["etc/passwd", "./etc/passwd", "/etc/passwd", "//etc/./passwd", "etc/passwd/"] {
            assert_eq!(normal(path.as_bytes()), b"etc/passwd", "{path}");
        }
        assert_eq!(normal(b"./"), b"");
        assert_eq!(normal(b"a/../../b"), b"a/../../b", "two dots are not resolved");
        assert_eq!(base(b"a/b/"), Some(&b"b"[..]));
    }

    #[test]
    fn whiteouts_name_what_they_delete() {
        assert_eq!(whiteout_target(b".wh.tmp"), Some(&b"tmp"[..]));
        for name in [".wh.", ".wh..", ".wh...", ".wh..wh..opq", ".wh..wh.plnk", "wh.a", "a"] {
            assert_eq!(whiteout_target(name.as_bytes()), None, "{name}");
        }
        assert_eq!(whiteout_target(b".wh..hidden"), Some(&b".hidden"[..]));
    }

    #[test]
    fn modes_read_as_in_ls() {
        assert_eq!(mode_string(EntryKind::Directory, 0o1777), "drwxrwxrwt");
        assert_eq!(mode_string(EntryKind::File, 0o4755), "-rwsr-xr-x");
        assert_eq!(mode_string(EntryKind::File, 0o2644), "-rw-r-Sr--");
    }
}
