//! Rows of a file tree: the open part of it as it is drawn, or all of it for a filter.

use super::by;
use crate::model::files::EntryKind;
use crate::model::files::tree::{FileTree, Mark, NodeId, Order, ROOT, View};
use crate::model::filter::{self, Field, FieldKind, Value};
use crate::model::text;
use jiff::Timestamp;
use std::borrow::Cow;
use std::collections::HashSet;

/// One row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    /// What is in it.
    pub id: NodeId,
    /// How far it is indented.
    pub depth: u16,
    /// Whether its children are shown; `None` if it has none.
    pub open: Option<bool>,
}

/// The rows below open directories, sorted within each: by name or size, as `(by, down)` says.
pub(super) fn visible(tree: &FileTree, view: View, (by, down): (u8, bool), open: &HashSet<NodeId>) -> Vec<Line> {
    let order = if by == by::SIZE { Order::Size } else { Order::Name };
    // Each order of the tree is in its usual direction: names upwards, sizes downwards.
    let turned = down != (by == by::SIZE);
    let children = |id| {
        let mut children = tree.children(id, view, order);
        if turned {
            children.reverse();
        }
        children
    };
    let mut lines = Vec::new();
    let mut stack: Vec<(NodeId, u16)> = children(ROOT).into_iter().rev().map(|id| (id, 0)).collect();
    while let Some((id, depth)) = stack.pop() {
        let folds = tree.node(id).has_children(view);
        let is_open = open.contains(&id);
        lines.push(Line { id, depth, open: folds.then_some(is_open) });
        if folds && is_open {
            stack.extend(children(id).into_iter().rev().map(|child| (child, depth.saturating_add(1))));
        }
    }
    lines
}

/// Everything, parents before children, by name.
pub(super) fn all(tree: &FileTree, view: View) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut stack = tree.children(ROOT, view, Order::Name);
    stack.reverse();
    while let Some(id) = stack.pop() {
        lines.push(Line { id, depth: 0, open: None });
        stack.extend(tree.children(id, view, Order::Name).into_iter().rev());
    }
    lines
}

/// What is worth being open at first: directories as long as there is only one, then whole levels as long as all rows
/// fit into `room`.
pub(super) fn open_first(tree: &FileTree, view: View, room: usize) -> HashSet<NodeId> {
    let mut open = HashSet::from([ROOT]);
    let mut level = tree.children(ROOT, view, Order::Name);
    let mut rows = level.len();
    loop {
        let next: Vec<NodeId> = level.iter().flat_map(|id| tree.children(*id, view, Order::Name)).collect();
        if next.is_empty() || (level.len() > 1 && rows + next.len() > room) {
            return open;
        }
        rows += next.len();
        open.extend(level);
        level = next;
    }
}

/// A file or directory for the filter language.
pub(super) struct FileRow<'a> {
    tree: &'a FileTree,
    id: NodeId,
    view: View,
}

impl<'a> FileRow<'a> {
    pub(super) fn new(tree: &'a FileTree, id: NodeId, view: View) -> Self {
        FileRow { tree, id, view }
    }
}

/// What a mark is called in filters.
pub(super) fn mark_name(mark: Mark) -> &'static str {
    match mark {
        Mark::Same => "same",
        Mark::Added => "added",
        Mark::Modified => "modified",
        Mark::Deleted => "deleted",
        Mark::Whiteout => "whiteout",
    }
}

impl filter::Row for FileRow<'_> {
    fn fields() -> &'static [Field] {
        const FIELDS: &[Field] = &[
            Field::new("path", FieldKind::Text),
            Field::new("name", FieldKind::Text),
            Field::new("size", FieldKind::Size),
            Field::new("kind", FieldKind::Text),
            Field::new("mark", FieldKind::Text),
            Field::new("mode", FieldKind::Text),
            Field::new("uid", FieldKind::Count),
            Field::new("gid", FieldKind::Count),
            Field::new("age", FieldKind::Time),
            Field::new("link", FieldKind::Text),
        ];
        FIELDS
    }

    fn field(&self, name: &str) -> Option<Value<'_>> {
        let node = self.tree.node(self.id);
        let owned = |text: String| Some(Value::Text(Cow::Owned(text)));
        match name {
            "path" => owned(text::safe_bytes(&self.tree.path(self.id)).into_owned()),
            "name" => Some(Value::Text(text::safe_bytes(node.name()))),
            "size" => Some(Value::Size(node.total(self.view))),
            "kind" => Some(Value::Text(Cow::Borrowed(node.kind().name()))),
            "mark" => Some(Value::Text(Cow::Borrowed(mark_name(node.mark())))),
            "mode" => owned(format!("{:04o}", node.mode())),
            "uid" => Some(Value::Count(node.uid().into())),
            "gid" => Some(Value::Count(node.gid().into())),
            "age" => Timestamp::from_second(node.mtime()).ok().map(Value::Time),
            "link" => node.link().map(|link| Value::Text(text::safe_bytes(link))),
            _ => None,
        }
    }

    fn text(&self) -> Cow<'_, str> {
        Cow::Owned(text::safe_bytes(&self.tree.path(self.id)).into_owned())
    }
}

/// What stands behind a name: `/` for directories, where links lead, what whiteouts delete. Safe.
pub(super) fn behind(tree: &FileTree, id: NodeId) -> String {
    let node = tree.node(id);
    match node.kind() {
        EntryKind::Directory => "/".to_owned(),
        EntryKind::Symlink => format!(" -> {}", text::safe_bytes(node.link().unwrap_or_default())),
        EntryKind::Hardlink => format!(" = {}", text::safe_bytes(node.link().unwrap_or_default())),
        EntryKind::Opaque => "  deletes all that is below".to_owned(),
        EntryKind::Whiteout => format!("  deletes {}", text::safe_bytes(node.deletes().unwrap_or_default())),
        EntryKind::File => String::new(),
        other => format!("  {}", other.name()),
    }
}
