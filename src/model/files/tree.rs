//! Entries of one layer, or of a chain of layers with the lowest first, as a tree with the sizes of directories summed.
//! It grows entry by entry, so that it can be shown while a layer is still being read. Whiteouts delete what lower
//! layers have, as in the OCI image specification (`layer.md`), and what the newest layer did to those below is marked.
//!
//! Only memory: nothing here reads a layer, and links lead nowhere.

mod view;

use super::names::{NameId, Names};
use super::{Entry, EntryKind, Limit, parts, whiteout_target};
use std::collections::HashMap;
pub use view::{Mark, Node, Order, Tally, View};

/// Files and directories of a tree at most: names of a million entries can imply far more directories.
const MAX_NODES: u64 = 4 << 20;
/// Nodes looked at for deletions at most. Layers that reach this delete and write the same names over and over.
const MAX_CHURN: u64 = 64 << 20;

const NONE: u32 = u32::MAX;

/// One file or directory of a tree. Good as long as the tree, also while it grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(u32);

/// The root directory.
pub const ROOT: NodeId = NodeId(0);

#[derive(Clone, Debug)]
struct Data {
    name: NameId,
    parent: u32,
    first_child: u32,
    next_sibling: u32,
    living_children: u32,
    /// The layer that what is shown here comes from.
    layer: u32,
    /// The newest layer that has this or something beneath it.
    touched: u32,
    /// The layer in which `mark` was set; in later ones it counts no more.
    marked: u32,
    uid: u32,
    gid: u32,
    number: u32,
    link: Option<NameId>,
    mode: u16,
    kind: EntryKind,
    mark: Mark,
    living: bool,
    implied: bool,
    repeated: bool,
    size: u64,
    /// Bytes of all living files here and beneath.
    total: u64,
    /// Bytes of those among them that the newest layer brings.
    total_here: u64,
    mtime: i64,
}

/// The files of one or more layers.
#[derive(Clone, Debug)]
pub struct FileTree {
    nodes: Vec<Data>,
    names: Names,
    children: HashMap<(u32, NameId), u32>,
    xattrs: HashMap<u32, Box<[NameId]>>,
    /// Things and bytes that a whiteout deleted.
    deletions: HashMap<u32, (u64, u64)>,
    layer: u32,
    tally: Tally,
    churn: u64,
    max_nodes: u64,
    max_churn: u64,
}

impl Default for FileTree {
    fn default() -> Self {
        Self::new()
    }
}

impl FileTree {
    /// An empty root, ready for the entries of the lowest layer.
    pub fn new() -> Self {
        let mut tree = Self {
            nodes: Vec::new(),
            names: Names::default(),
            children: HashMap::new(),
            xattrs: HashMap::new(),
            deletions: HashMap::new(),
            layer: 0,
            tally: Tally::default(),
            churn: 0,
            max_nodes: MAX_NODES,
            max_churn: MAX_CHURN,
        };
        // The first name always fits.
        if let Some(name) = tree.names.keep(b"") {
            tree.nodes.push(Data { living: true, mark: Mark::Same, ..implied(name, NONE, 0) });
        }
        tree
    }

    /// What comes now is of the next layer above; marks and [`Tally`] begin anew.
    pub fn begin_layer(&mut self) {
        self.layer += 1;
        self.tally = Tally::default();
        self.deletions.clear();
        for node in &mut self.nodes {
            node.total_here = 0;
            node.repeated = false;
        }
    }

    /// Number of the newest layer, from 0.
    pub fn layer(&self) -> u32 {
        self.layer
    }

    /// Counts over the newest layer.
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// Adds an entry of the newest layer. Of two entries with one name the later one wins, as when unpacking. An error
    /// means that the tree is full: it stays as it is.
    pub fn insert(&mut self, entry: &Entry) -> Result<(), Limit> {
        let mut at = 0;
        let mut rest = parts(&entry.path).peekable();
        self.nodes[0].touched = self.layer;
        while let Some(part) = rest.next() {
            at = self.child(at, part)?;
            self.nodes[at as usize].touched = self.layer;
            if rest.peek().is_some() {
                self.imply(at)?;
            }
        }
        match entry.kind {
            EntryKind::Whiteout | EntryKind::Opaque => self.whiteout(at, entry)?,
            _ => self.put(at, entry)?,
        }
        self.tally.entries += 1;
        Ok(())
    }

    /// What stands at `path`, deleted or not; see [`Node::is_in`].
    pub fn find(&self, path: &[u8]) -> Option<NodeId> {
        let step = |at, part| self.children.get(&(at, self.names.find(part)?)).copied();
        parts(path).try_fold(0, step).map(NodeId)
    }

    /// The path from the root, without a slash in front.
    pub fn path(&self, node: NodeId) -> Vec<u8> {
        let mut names = Vec::new();
        let mut at = node.0;
        while at != 0 {
            names.push(self.names.get(self.data(at).name));
            at = self.data(at).parent;
        }
        names.reverse();
        names.join(&b'/')
    }

    /// The children that are part of `view`, sorted.
    pub fn children(&self, node: NodeId, view: View, order: Order) -> Vec<NodeId> {
        let mut found: Vec<NodeId> =
            self.siblings(self.data(node.0).first_child).map(NodeId).filter(|&id| self.node(id).is_in(view)).collect();
        let name = |id: &NodeId| self.names.get(self.data(id.0).name);
        match order {
            Order::Name => found.sort_unstable_by(|a, b| name(a).cmp(name(b))),
            Order::Size => found.sort_unstable_by(|a, b| {
                let size = |id: &NodeId| self.node(*id).total(view);
                size(b).cmp(&size(a)).then_with(|| name(a).cmp(name(b)))
            }),
        }
        found
    }

    /// Everything known of a node.
    pub fn node(&self, id: NodeId) -> Node<'_> {
        Node { tree: self, data: self.data(id.0), id }
    }

    fn data(&self, at: u32) -> &Data {
        &self.nodes[at as usize]
    }

    fn siblings(&self, first: u32) -> impl Iterator<Item = u32> + '_ {
        let some = |at: u32| (at != NONE).then_some(at);
        std::iter::successors(some(first), move |&at| some(self.data(at).next_sibling))
    }

    /// The child with this name, made if need be; a new one does not live yet.
    fn child(&mut self, parent: u32, name: &[u8]) -> Result<u32, Limit> {
        let full = Limit::Nodes(self.max_nodes);
        let name = self.names.keep(name).ok_or(full)?;
        if let Some(&at) = self.children.get(&(parent, name)) {
            return Ok(at);
        }
        let at = u32::try_from(self.nodes.len()).ok().filter(|&at| u64::from(at) < self.max_nodes).ok_or(full)?;
        let next_sibling = std::mem::replace(&mut self.nodes[parent as usize].first_child, at);
        self.nodes.push(Data { next_sibling, ..implied(name, parent, self.layer) });
        self.children.insert((parent, name), at);
        Ok(at)
    }

    /// Lets a directory be at `at` because a name leads through it.
    fn imply(&mut self, at: u32) -> Result<(), Limit> {
        let old = self.data(at);
        // A link stays what it is, with what is said to be behind it.
        if old.living && matches!(old.kind, EntryKind::Directory | EntryKind::Symlink) {
            return Ok(());
        }
        let directory = Data { mark: Mark::Same, ..implied(old.name, old.parent, self.layer) };
        self.replace(at, directory)
    }

    fn put(&mut self, at: u32, entry: &Entry) -> Result<(), Limit> {
        if at == 0 && entry.kind != EntryKind::Directory {
            // A name like `.` can only be the root directory.
            return Ok(());
        }
        let full = Limit::Nodes(self.max_nodes);
        let old = self.data(at);
        let (name, parent) = (old.name, old.parent);
        let link = entry.link.as_deref().map(|link| self.names.keep(link).ok_or(full)).transpose()?;
        let xattrs = entry.xattrs.iter().map(|x| self.names.keep(x).ok_or(full)).collect::<Result<Box<[_]>, _>>()?;
        let new = Data {
            uid: entry.uid,
            gid: entry.gid,
            number: entry.number,
            link,
            mode: (entry.mode & 0o7777) as u16,
            kind: entry.kind,
            implied: false,
            size: entry.size,
            mtime: entry.mtime,
            ..implied(name, parent, self.layer)
        };
        self.replace(at, new)?;
        if !xattrs.is_empty() {
            self.xattrs.insert(at, xattrs);
        }
        Ok(())
    }

    /// Puts `new` where `at` is, keeps its place in the tree, and finds out how it is marked.
    fn replace(&mut self, at: u32, new: Data) -> Result<(), Limit> {
        let old = self.data(at).clone();
        let now = self.layer;
        let is_lower = old.living && old.layer < now;
        let is_directory = |data: &Data| data.kind == EntryKind::Directory;
        let same_owner = (old.mode, old.uid, old.gid) == (new.mode, new.uid, new.gid);
        let unchanged = old.living && (is_lower || old.mark == Mark::Same);
        let mark = if !self.is_below(at) {
            Mark::Added
        } else if unchanged && is_directory(&old) && is_directory(&new) && same_owner {
            Mark::Same
        } else {
            Mark::Modified
        };
        if !is_directory(&new) && old.living_children > 0 {
            self.kill_beneath(at, now + 1)?;
        }
        if is_lower {
            self.tally.hidden_bytes += old.size;
            if old.kind == new.kind && same_owner && (old.size, old.mtime) == (new.size, new.mtime) {
                self.tally.repeated_bytes += new.size;
            }
        }
        let here = old.living && old.layer == now;
        self.set_living(at, false);
        let node = &mut self.nodes[at as usize];
        let keep = (node.first_child, node.next_sibling, node.living_children, node.total, node.total_here);
        *node = Data { repeated: here && !old.implied, mark: old.mark, marked: old.marked, living: false, ..new };
        (node.first_child, node.next_sibling, node.living_children, node.total, node.total_here) = keep;
        node.touched = now;
        self.xattrs.remove(&at);
        self.set_living(at, true);
        self.set_mark(at, mark);
        Ok(())
    }

    fn whiteout(&mut self, at: u32, entry: &Entry) -> Result<(), Limit> {
        let node = self.data(at);
        let again = node.layer == self.layer && node.mark == Mark::Whiteout && node.marked == self.layer;
        let (name, parent) = (node.name, node.parent);
        if node.living {
            // A lower layer (or this one) has a real file of that name: whiteouts never do, so it is taken away.
            self.kill(at, self.layer + 1)?;
        }
        let node = &mut self.nodes[at as usize];
        node.kind = entry.kind;
        (node.mode, node.uid, node.gid) = ((entry.mode & 0o7777) as u16, entry.uid, entry.gid);
        (node.mtime, node.number, node.layer) = (entry.mtime, entry.number, self.layer);
        (node.size, node.implied, node.repeated) = (0, false, again);
        self.set_mark(at, Mark::Whiteout);
        if again {
            // It takes away what is below this layer, and that is gone already.
            return Ok(());
        }
        let before = (self.tally.deleted, self.tally.hidden_bytes);
        if entry.kind == EntryKind::Opaque {
            self.kill_beneath(parent, self.layer)?;
        } else if let Some(target) = whiteout_target(self.names.get(name)).and_then(|t| self.names.find(t))
            && let Some(&target) = self.children.get(&(parent, target))
        {
            self.kill_beneath(target, self.layer)?;
            self.kill(target, self.layer)?;
        }
        let deleted = (self.tally.deleted - before.0, self.tally.hidden_bytes - before.1);
        self.deletions.insert(at, deleted);
        Ok(())
    }

    /// Takes away all that lives beneath `at` and is of a layer before `limit`.
    fn kill_beneath(&mut self, at: u32, limit: u32) -> Result<(), Limit> {
        // Children first, so that a directory goes only after what it holds.
        let mut stack = vec![(at, false)];
        while let Some((next, done)) = stack.pop() {
            if done {
                self.kill(next, limit)?;
                continue;
            }
            // What does not live has nothing living beneath it.
            if self.data(next).living_children == 0 {
                if next != at {
                    self.kill(next, limit)?;
                }
                continue;
            }
            if next != at {
                stack.push((next, true));
            }
            let mut looked = 0;
            let living = |child: &u32| {
                looked += 1;
                self.data(*child).living
            };
            stack.extend(self.siblings(self.data(next).first_child).filter(living).map(|child| (child, false)));
            self.spend(looked)?;
        }
        Ok(())
    }

    /// Takes away `at` itself if it lives and is of a layer before `limit`. A directory of which something newer lives
    /// on stays as one that is implied.
    fn kill(&mut self, at: u32, limit: u32) -> Result<(), Limit> {
        self.spend(1)?;
        let node = self.data(at);
        if !node.living || node.layer >= limit || at == 0 {
            return Ok(());
        }
        let (size, is_lower, is_below) = (node.size, node.layer < self.layer, self.is_below(at));
        if node.living_children > 0 {
            let directory = Data { mark: Mark::Same, ..implied(node.name, node.parent, self.layer) };
            return self.replace(at, directory);
        }
        if is_lower {
            self.tally.hidden_bytes += size;
        }
        self.set_living(at, false);
        if is_below {
            self.set_mark(at, Mark::Deleted);
        } else {
            // What only this layer had leaves nothing to show.
            self.set_mark(at, Mark::Same);
            self.nodes[at as usize].marked = NONE;
        }
        Ok(())
    }

    /// Whether the layers below the newest have something here.
    fn is_below(&self, at: u32) -> bool {
        let node = self.data(at);
        if node.marked == self.layer {
            return matches!(node.mark, Mark::Same | Mark::Modified | Mark::Deleted);
        }
        node.living && node.layer < self.layer
    }

    fn spend(&mut self, steps: u64) -> Result<(), Limit> {
        self.churn += steps;
        if self.churn > self.max_churn { Err(Limit::Churn(self.max_churn)) } else { Ok(()) }
    }

    /// Counts a node in or out of the directories above it.
    fn set_living(&mut self, at: u32, living: bool) {
        let node = &mut self.nodes[at as usize];
        if node.living == living {
            return;
        }
        node.living = living;
        let (size, here, parent) = (node.size, node.layer == self.layer, node.parent);
        let mut next = if size > 0 { at } else { NONE };
        while next != NONE {
            let node = &mut self.nodes[next as usize];
            let change =
                |sum: &mut u64| *sum = if living { sum.saturating_add(size) } else { sum.saturating_sub(size) };
            change(&mut node.total);
            if here {
                change(&mut node.total_here);
            }
            next = node.parent;
        }
        if let Some(parent) = self.nodes.get_mut(parent as usize) {
            let children = parent.living_children;
            parent.living_children = if living { children + 1 } else { children.saturating_sub(1) };
        }
    }

    fn set_mark(&mut self, at: u32, mark: Mark) {
        let node = &mut self.nodes[at as usize];
        let old = if node.marked == self.layer { node.mark } else { Mark::Same };
        (node.mark, node.marked) = (mark, self.layer);
        if let Some(count) = self.tally.of(old) {
            *count -= 1;
        }
        if let Some(count) = self.tally.of(mark) {
            *count += 1;
        }
    }
}

/// A directory that nothing describes, and that does not live yet.
fn implied(name: NameId, parent: u32, layer: u32) -> Data {
    Data {
        name,
        parent,
        first_child: NONE,
        next_sibling: NONE,
        living_children: 0,
        layer,
        touched: layer,
        marked: NONE,
        uid: 0,
        gid: 0,
        number: NONE,
        link: None,
        mode: 0o755,
        kind: EntryKind::Directory,
        mark: Mark::Same,
        living: false,
        implied: true,
        repeated: false,
        size: 0,
        total: 0,
        total_here: 0,
        mtime: 0,
    }
}

#[cfg(test)]
mod tests;
