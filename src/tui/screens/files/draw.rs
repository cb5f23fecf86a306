//! Draws the files: the tree on the left, the beginning of the file under the cursor on the right.

use super::rows::{behind, mark_name};
use super::{Files, by, mode_string};
use crate::model::files::tree::{FileTree, Mark, NodeId, View};
use crate::model::files::{Ending, EntryKind};
use crate::model::text;
use crate::tui::contents::Contents;
use crate::tui::listing::nothing_fits;
use crate::tui::screen::{Canvas, Look, thousands};
use crate::tui::screens::with_preview;
use crate::tui::shared::{Fetched, JobKind, error_line};
use crate::tui::widgets::cell::{Cell, Cut};
use crate::tui::widgets::frame::Pane;
use crate::tui::widgets::table::{Column, Row, Width};
use crate::tui::widgets::textbox::wrap;
use jiff::Timestamp;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

pub(super) const COLUMNS: [Column; 7] = [
    Column::new("", Width::Cells(1)),
    Column::new("mode", Width::Cells(10)).rank(3),
    Column::new("uid:gid", Width::Cells(9)).rank(5),
    Column::new("size", Width::Cells(10)).right().sort(by::SIZE),
    Column::new("", Width::Cells(8)).rank(4),
    Column::new("path", Width::Grows(28)).sort(by::NAME),
    Column::new("age", Width::Cells(5)).right().rank(6),
];

impl Files {
    pub(super) fn draw_all(&mut self, area: Rect, canvas: &mut Canvas<'_>) {
        let look = canvas.look;
        let (mut list, mut peek) = with_preview(area, canvas.size, 42);
        if canvas.zoomed {
            (list, peek) = if self.listing.on_preview { (Rect::default(), Some(area)) } else { (area, None) };
        } else if peek.is_none() && self.listing.on_preview {
            // No room for both: the one that has the focus.
            (list, peek) = (Rect::default(), Some(area));
        }
        if list.width > 0 {
            self.draw_tree(list, canvas);
        }
        if let Some(area) = peek {
            let (title, lines) =
                (self.peek_title(look), self.peek_lines(usize::from(area.width.saturating_sub(4)), look));
            self.listing.draw_preview(area, title, &lines, canvas);
        }
    }

    fn draw_tree(&mut self, area: Rect, canvas: &mut Canvas<'_>) {
        let look = canvas.look;
        let contents = self.contents(look.shared);
        let mut note = Vec::new();
        if let Some(ending) = contents.and_then(|c| c.ending.as_ref()).filter(|e| !e.is_complete()) {
            note.push(Span::styled(format!("{} {} ", look.glyphs.finding, short(ending)), look.theme.finding));
        }
        let (title, focused) = (self.title(contents, look), !self.listing.on_preview);
        let pane = Pane { number: Some(1), title, note, focused, ..Pane::default() };
        let (view, flat, lines) = (self.seen_as(), self.is_flat(), &self.lines);
        let nothing = self.nothing(contents, look);
        let whole = contents.map_or(0, |c| c.tree.node(crate::model::files::tree::ROOT).total(view));
        let shown = |n: usize| match contents {
            Some(contents) => row(&lines[n], &contents.tree, (view, flat, whole), look),
            None => Row::default(),
        };
        // Whole paths need the room.
        self.listing.hidden = if flat { &[1, 2, 4] } else { &[] };
        self.listing.draw(area, pane, (&shown, &|| nothing.clone()), canvas);
    }

    fn title(&self, contents: Option<&Contents>, look: Look<'_>) -> Vec<Span<'static>> {
        let dot = look.glyphs.dot;
        let mut title = format!("files {dot} ");
        match self.merged {
            true => title.push_str(&format!("{} layers merged", self.chain.len())),
            false => title.push_str(&format!("this layer {}", self.layer().short())),
        }
        if let Some(packed) = contents.and_then(|c| c.packed) {
            title.push_str(&format!(" {dot} {packed}"));
        }
        vec![Span::raw(title)]
    }

    fn nothing(&self, contents: Option<&Contents>, look: Look<'_>) -> Vec<String> {
        match (contents, look.shared.library.get(&self.key())) {
            (_, Some(Fetched::Failed(error))) => vec![error_line(error), "r reads it again".to_owned()],
            (Some(contents), _) if contents.ending.is_some() && self.is_flat() => nothing_fits(),
            (Some(contents), _) if contents.ending.as_ref().is_some_and(Ending::is_complete) => {
                vec!["this layer has no files".to_owned()]
            }
            (Some(Contents { ending: Some(ending), .. }), _) => vec![text::safe(&ending.to_string()).into_owned()],
            _ if look.shared.jobs.get(JobKind::Files, self.place).is_some() => vec!["reading the layer".to_owned()],
            _ => vec!["reading was stopped".to_owned(), "r reads it again".to_owned()],
        }
    }

    fn peek_title(&self, look: Look<'_>) -> String {
        let name = self.contents(look.shared).zip(self.current()).map(|(contents, id)| contents.tree.node(id).name());
        name.map_or("peek".to_owned(), |name| text::safe_bytes(name).into_owned())
    }

    fn peek_lines(&self, width: usize, look: Look<'_>) -> Vec<Line<'static>> {
        let Some((contents, id)) = self.contents(look.shared).zip(self.current()) else { return Vec::new() };
        let Some(file) = self.file(look.shared) else { return details(&contents.tree, id, self.seen_as(), look) };
        match look.shared.library.peek.as_ref().filter(|(known, _)| *known == file) {
            None => {
                let mut lines = details(&contents.tree, id, self.seen_as(), look);
                lines.push(Line::default());
                lines.push(Line::from(vec![Span::styled("enter", look.theme.key), look.dim(" reads its beginning")]));
                lines
            }
            Some((_, Fetched::Waiting)) => vec![Line::from(vec![look.spinner(), look.dim(" reading")])],
            Some((_, Fetched::Failed(error))) => {
                let style = look.theme.missing;
                wrap(&error_line(error), width.max(8)).into_iter().map(|l| Line::from(Span::styled(l, style))).collect()
            }
            Some((_, Fetched::Ready(page))) => {
                let mut facts = format!("{} {} {}", look.bytes(page.size), look.glyphs.dot, page.look);
                if let Some(digest) = &page.digest {
                    facts.push_str(&format!(" {} sha256 {}", look.glyphs.dot, digest.short()));
                }
                let mut lines = vec![Line::from(look.dim(facts)), Line::default()];
                let margin = page.lines.last().map_or(1, |line| line.margin.len());
                lines.extend(page.lines.iter().map(|line| {
                    Line::from(vec![look.dim(format!("{:>margin$}  ", line.margin)), Span::raw(line.text.clone())])
                }));
                if page.cut {
                    let shown = look.bytes(crate::ops::files::content::PEEK);
                    lines.push(Line::from(look.dim(format!("first {shown} shown; o opens all of it in $PAGER"))));
                }
                lines
            }
        }
    }

    /// The rows as text.
    pub(super) fn rows_as_text(&self, look: Look<'_>) -> Option<String> {
        let contents = self.contents(look.shared)?;
        let how = (self.seen_as(), self.is_flat(), 0);
        Some(self.listing.text(&|n| row(&self.lines[n], &contents.tree, how, look)))
    }
}

/// Cells of one row. `flat` rows are of no tree and show their whole path.
fn row(line: &super::Line, tree: &FileTree, (view, flat, whole): (View, bool, u64), look: Look<'_>) -> Row<'static> {
    let (theme, glyphs) = (look.theme, look.glyphs);
    let node = tree.node(line.id);
    let style = mark_style(node.mark(), look);
    let total = node.total(view);
    let (name, indent, knob) = match flat {
        true => (text::safe_bytes(&tree.path(line.id)).into_owned(), String::new(), ""),
        false => {
            let knob = match line.open {
                Some(true) => glyphs.unfolded,
                Some(false) => glyphs.folded,
                None => " ",
            };
            let deep = usize::from(line.depth);
            let indent = if deep > 20 { format!("{}{}", "  ".repeat(20), glyphs.ellipsis) } else { "  ".repeat(deep) };
            (text::safe_bytes(node.name()).into_owned(), indent, knob)
        }
    };
    let name_style = match node.kind() {
        _ if node.mark() == Mark::Deleted => theme.dim,
        EntryKind::Directory => theme.strong,
        EntryKind::File => theme.text,
        _ => theme.dim,
    };
    let mut path = vec![Span::raw(indent), Span::styled(format!("{knob} "), theme.dim)];
    if flat {
        path.clear();
    }
    // Where a link leads gives way before its name does.
    let gives = path.len() + usize::from(node.link().is_some());
    path.push(Span::styled(name, name_style));
    path.push(Span::styled(behind(tree, line.id), theme.dim));
    if node.is_repeated() {
        path.push(Span::styled(format!("  {} written twice", glyphs.finding), theme.finding));
    }
    let mode = if node.is_implied() { String::new() } else { mode_string(node.kind(), node.mode()) };
    let owner = if node.is_implied() { String::new() } else { format!("{}:{}", node.uid(), node.gid()) };
    let time = Timestamp::from_second(node.mtime()).ok().filter(|_| node.mtime() > 0);
    let sized = !matches!(node.kind(), EntryKind::Symlink | EntryKind::Whiteout | EntryKind::Opaque);
    Row::from(vec![
        Cell::text(Span::styled(node.mark().letter().to_string(), style)),
        Cell::text(look.dim(mode)),
        Cell::text(look.dim(owner)),
        if sized { look.size(Some(total)) } else { Cell::empty() },
        Cell::bar(total, whole),
        Cell::of(path, gives, if node.link().is_some() { Cut::End } else { Cut::Middle }),
        look.age(time),
    ])
}

/// Everything known of one file or directory.
pub(super) fn details(tree: &FileTree, id: NodeId, view: View, look: Look<'_>) -> Vec<Line<'static>> {
    let node = tree.node(id);
    let path = text::safe_bytes(&tree.path(id)).into_owned();
    let mut lines = vec![look.fact("path", vec![path.into()]), look.fact("kind", vec![node.kind().name().into()])];
    if node.mark() != Mark::Same {
        let style = mark_style(node.mark(), look);
        lines.push(look.fact("change", vec![Span::styled(mark_name(node.mark()), style)]));
    }
    if let Some(link) = node.link() {
        lines.push(look.fact("leads to", vec![text::safe_bytes(link).into_owned().into()]));
    }
    if node.is_implied() {
        lines.push(look.fact("", vec![look.dim("only names beneath it tell of it")]));
        return lines;
    }
    lines
        .push(look.fact("mode", vec![format!("{} {:04o}", mode_string(node.kind(), node.mode()), node.mode()).into()]));
    lines.push(look.fact("owner", vec![format!("{}:{}", node.uid(), node.gid()).into()]));
    let size = if node.kind() == EntryKind::Directory { node.total(view) } else { node.size() };
    let in_all = if node.kind() == EntryKind::Directory { " in all" } else { "" };
    lines.push(look.fact("size", vec![format!("{} ({} B){in_all}", look.bytes(size), thousands(size)).into()]));
    lines.push(look.fact("changed", look.time(Timestamp::from_second(node.mtime()).ok())));
    for name in node.xattrs() {
        lines.push(look.fact("xattr", vec![text::safe_bytes(name).into_owned().into()]));
    }
    let (things, size) = node.deleted();
    if things > 0 {
        lines.push(look.fact("deletes", vec![format!("{} with {}", thousands(things), look.bytes(size)).into()]));
    }
    lines
}

fn mark_style(mark: Mark, look: Look<'_>) -> Style {
    match mark {
        Mark::Same => look.theme.dim,
        Mark::Added => look.theme.live,
        Mark::Modified => look.theme.dangling,
        Mark::Deleted => look.theme.missing,
        Mark::Whiteout => look.theme.orphan,
    }
}

/// Why a listing is not whole, in a word.
fn short(ending: &Ending) -> &'static str {
    match ending {
        Ending::Complete => "whole",
        Ending::Truncated(_) => "cut at a bound",
        Ending::Damaged(_) => "damaged",
        Ending::Unreadable(_) => "unreadable",
    }
}
