//! How a tree is looked at: its nodes, their marks, and the counts over its newest layer.

use super::{FileTree, NodeId};
use crate::model::files::{EntryKind, WHITEOUT_PREFIX};
use serde::Serialize;

/// What the newest layer did, compared with those below.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mark {
    /// Nothing: a lower layer has it. Also a directory that is written again as it was.
    Same,
    /// No lower layer has it.
    Added,
    /// It takes the place of what a lower layer has.
    Modified,
    /// Lower layers have it, and a whiteout or something of another kind took it away.
    Deleted,
    /// It is the whiteout itself.
    Whiteout,
}

impl Mark {
    /// The letter in front of a row; a space for [`Mark::Same`].
    pub fn letter(self) -> char {
        match self {
            Mark::Same => ' ',
            Mark::Added => 'A',
            Mark::Modified => 'M',
            Mark::Deleted => 'D',
            Mark::Whiteout => 'W',
        }
    }
}

/// What of a tree is looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum View {
    /// What the newest layer has, whiteouts among it, and the directories that lead there.
    #[default]
    Layer,
    /// The files as a build sees them after the newest layer, and those that this layer deleted.
    Merged,
}

/// How children are sorted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Order {
    /// By bytes of the name.
    #[default]
    Name,
    /// Largest first, then by name.
    Size,
}

/// Counts over the newest layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Entries inserted.
    pub entries: u64,
    /// Things marked [`Mark::Added`], implied directories among them.
    pub added: u64,
    /// Things marked [`Mark::Modified`].
    pub modified: u64,
    /// Things marked [`Mark::Deleted`].
    pub deleted: u64,
    /// Whiteouts.
    pub whiteouts: u64,
    /// Bytes of lower layers' files that this layer replaces or deletes: kept below, but not to be seen.
    pub hidden_bytes: u64,
    /// Bytes of files that look the same as in a lower layer: same size, time, mode and owner.
    pub repeated_bytes: u64,
}

impl Tally {
    pub(super) fn of(&mut self, mark: Mark) -> Option<&mut u64> {
        match mark {
            Mark::Same => None,
            Mark::Added => Some(&mut self.added),
            Mark::Modified => Some(&mut self.modified),
            Mark::Deleted => Some(&mut self.deleted),
            Mark::Whiteout => Some(&mut self.whiteouts),
        }
    }
}

/// Everything known of one file or directory.
#[derive(Clone, Copy)]
pub struct Node<'a> {
    pub(super) tree: &'a FileTree,
    pub(super) data: &'a super::Data,
    pub(super) id: NodeId,
}

impl<'a> Node<'a> {
    /// Which one.
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// Its name in its directory; empty for the root. Untrusted bytes.
    pub fn name(&self) -> &'a [u8] {
        self.tree.names.get(self.data.name)
    }

    /// The directory it is in; `None` for the root.
    pub fn parent(&self) -> Option<NodeId> {
        (self.data.parent != super::NONE).then_some(NodeId(self.data.parent))
    }

    /// What it is.
    pub fn kind(&self) -> EntryKind {
        self.data.kind
    }

    /// Permissions with set-id and sticky bits.
    pub fn mode(&self) -> u32 {
        u32::from(self.data.mode)
    }

    /// Owner.
    pub fn uid(&self) -> u32 {
        self.data.uid
    }

    /// Group.
    pub fn gid(&self) -> u32 {
        self.data.gid
    }

    /// Bytes of its own content.
    pub fn size(&self) -> u64 {
        self.data.size
    }

    /// Bytes of its content and of all beneath it. Hardlinks count nothing: their file counts where it stands. What was
    /// deleted shows the bytes it had.
    pub fn total(&self, view: View) -> u64 {
        match view {
            _ if !self.data.living => self.data.size,
            View::Layer => self.data.total_here,
            View::Merged => self.data.total,
        }
    }

    /// Seconds since 1970; 0 for what no entry describes.
    pub fn mtime(&self) -> i64 {
        self.data.mtime
    }

    /// Where a link leads, as written. Untrusted bytes.
    pub fn link(&self) -> Option<&'a [u8]> {
        self.data.link.map(|link| self.tree.names.get(link))
    }

    /// Names of its extended attributes. Untrusted bytes.
    pub fn xattrs(&self) -> impl Iterator<Item = &'a [u8]> {
        self.tree.xattrs.get(&self.id.0).into_iter().flatten().map(|name| self.tree.names.get(*name))
    }

    /// What the newest layer did to it.
    pub fn mark(&self) -> Mark {
        if self.data.marked == self.tree.layer { self.data.mark } else { Mark::Same }
    }

    /// The layer it comes from, counted from 0 at the lowest.
    pub fn layer(&self) -> u32 {
        self.data.layer
    }

    /// Place of its entry in that layer (`Entry::number`); `None` if no entry describes it.
    pub fn number(&self) -> Option<u32> {
        (!self.data.implied).then_some(self.data.number)
    }

    /// Whether it is a directory that only the names of others tell of.
    pub fn is_implied(&self) -> bool {
        self.data.implied
    }

    /// Whether the newest layer has more than one entry with this name; the last one is shown.
    pub fn is_repeated(&self) -> bool {
        self.data.repeated
    }

    /// The name that a whiteout deletes; [`WHITEOUT_PREFIX`] cut off. `None` for an opaque mark, which deletes all of
    /// its directory, and for all that is no whiteout.
    pub fn deletes(&self) -> Option<&'a [u8]> {
        (self.data.kind == EntryKind::Whiteout).then(|| self.name().get(WHITEOUT_PREFIX.len()..)).flatten()
    }

    /// How many things of lower layers a whiteout took away, and their bytes. 0 if lower layers were not read.
    pub fn deleted(&self) -> (u64, u64) {
        self.tree.deletions.get(&self.id.0).copied().unwrap_or_default()
    }

    /// Whether it has children to show.
    pub fn has_children(&self, view: View) -> bool {
        let mut children = self.tree.siblings(self.data.first_child);
        children.any(|at| self.tree.node(NodeId(at)).is_in(view))
    }

    /// Whether it is part of `view`.
    pub fn is_in(&self, view: View) -> bool {
        let mark = self.mark();
        match view {
            View::Layer => self.data.touched == self.tree.layer && (self.data.living || mark == Mark::Whiteout),
            View::Merged => self.data.living || mark == Mark::Deleted,
        }
    }
}
