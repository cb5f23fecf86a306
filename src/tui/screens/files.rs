//! The files of one layer as a tree, or of the chain it stands on as a build sees it, with the beginning of the file
//! under the cursor. A filter or a kind lists all that fits, wherever it is.

mod draw;
mod rows;

use super::place_title;
use crate::error::Result;
use crate::model::digest::Digest;
use crate::model::files::tree::{FileTree, Mark, NodeId, ROOT, View as Seen};
use crate::model::files::{EntryKind, mode_string};
use crate::model::filter;
use crate::model::text;
use crate::tui::contents::{Chain, Contents, File};
use crate::tui::keys::{Action, View};
use crate::tui::list::Source;
use crate::tui::listing::{Listing, Shape};
use crate::tui::screen::{
    Answer, Canvas, Context, Look, Mouse, Question, Request, Screen, Search, Work, bytes, thousands,
};
use crate::tui::shared::{Fetched, PlaceId, Shared, Target, error_line};
use ratatui::layout::Rect;
use rows::{FileRow, Line, all, visible};
use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

mod by {
    pub const NAME: u8 = 0;
    pub const SIZE: u8 = 1;
}

const ORDERS: [(&str, u8); 2] = [("name", by::NAME), ("size", by::SIZE)];

const SHAPE: Shape = Shape {
    columns: &draw::COLUMNS,
    orders: &ORDERS,
    falls: |by| by == by::SIZE,
    kinds: &["all", "added", "modified", "deleted", "whiteouts"],
    fields: <FileRow<'_> as filter::Row>::fields,
    marks: true,
};

/// Rows of the terminal that hold no files.
const AROUND: u16 = 6;

/// Layers of at most this many bytes are read for the file under the cursor without being asked to.
const EAGER: u64 = 64 << 20;

/// The files of a layer.
pub struct Files {
    place: PlaceId,
    /// The layer and all below it, lowest first; the last one is the layer.
    chain: Arc<[Digest]>,
    /// What the layer is called where one came from.
    name: String,
    /// Bytes of the layer's blob.
    size: Option<u64>,
    merged: bool,
    listing: Listing<NodeId>,
    open: HashSet<NodeId>,
    /// Directories that were opened by themselves at first.
    begun: bool,
    lines: Vec<Line>,
    /// A name to put the cursor on as soon as it is there.
    aim: Option<Vec<u8>>,
}

impl Files {
    /// The files of the last of `chain` (lowest first), called `name`, whose blob has `size` bytes. Safe text.
    pub fn new(place: PlaceId, chain: Vec<Digest>, name: String, size: Option<u64>) -> Files {
        Files {
            place,
            chain: chain.into(),
            name,
            size,
            merged: false,
            listing: Listing::new(&SHAPE, by::NAME),
            open: HashSet::from([ROOT]),
            begun: false,
            lines: Vec::new(),
            aim: None,
        }
    }

    /// With the cursor on `path` as soon as it was read.
    pub fn at(mut self, path: Vec<u8>) -> Files {
        self.aim = Some(path);
        self
    }

    fn key(&self) -> Chain {
        let from = if self.merged { 0 } else { self.chain.len() - 1 };
        Chain { place: self.place, layers: self.chain[from..].into() }
    }

    fn layer(&self) -> Digest {
        self.chain[self.chain.len() - 1]
    }

    fn seen_as(&self) -> Seen {
        if self.merged { Seen::Merged } else { Seen::Layer }
    }

    fn contents<'a>(&self, shared: &'a Shared) -> Option<&'a Contents> {
        match shared.library.get(&self.key()) {
            Some(Fetched::Ready(contents)) => Some(contents),
            _ => None,
        }
    }

    /// Whether rows are all that fit, not a tree.
    fn is_flat(&self) -> bool {
        self.listing.kinds != 0 || !self.listing.list.filter_text().is_empty()
    }

    fn current(&self) -> Option<NodeId> {
        self.lines.get(self.listing.list.current()?).map(|line| line.id)
    }

    /// The file under the cursor, if it is one with content.
    fn file(&self, shared: &Shared) -> Option<File> {
        let tree = &self.contents(shared)?.tree;
        let node = tree.node(self.current()?);
        let layer = if self.merged { *self.chain.get(node.layer() as usize)? } else { self.layer() };
        let number = node.number()?;
        let has_content = matches!(node.kind(), EntryKind::File | EntryKind::Hardlink) && node.mark() != Mark::Deleted;
        has_content.then(|| File { place: self.place, layer, path: tree.path(node.id()), number })
    }

    fn peek(&self, cx: &mut Context<'_>) {
        let Some(file) = self.file(cx.shared) else { return };
        if cx.shared.library.peek.as_ref().is_none_or(|(known, _)| *known != file) {
            cx.ask(Request::Work(self.place, Work::Peek(file)));
        }
    }

    /// Peeks by itself where that costs little.
    fn follow(&mut self, cx: &mut Context<'_>) {
        (self.listing.scroll.down, self.listing.scroll.right) = (0, 0);
        if self.size.is_some_and(|size| size <= EAGER) {
            self.peek(cx);
        }
    }

    fn fold(&mut self, open: bool, tree: &FileTree) -> bool {
        let Some(id) = self.current() else { return false };
        let node = tree.node(id);
        let folds = node.has_children(self.seen_as()) && !self.is_flat();
        if folds && self.open.contains(&id) != open {
            self.begun = true;
            if open {
                self.open.insert(id)
            } else {
                self.open.remove(&id)
            };
            self.listing.outdate();
            return true;
        }
        if !open && let Some(parent) = node.parent().filter(|parent| *parent != ROOT) {
            self.listing.list.aim(parent);
            self.listing.outdate();
            return true;
        }
        false
    }

    /// Opens the directories that lead to the cursor, for when the tree comes back.
    fn reveal(&mut self, tree: &FileTree) {
        let mut at = self.current().and_then(|id| tree.node(id).parent());
        while let Some(id) = at {
            self.open.insert(id);
            at = tree.node(id).parent();
        }
    }

    fn open(&mut self, cx: &mut Context<'_>) {
        let Some(contents) = self.contents(cx.shared) else { return };
        let Some(id) = self.current() else { return };
        if contents.tree.node(id).kind() == EntryKind::Directory {
            if self.is_flat() {
                self.open.insert(id);
                self.leave_flat(&contents.tree);
            } else {
                let open = !self.open.contains(&id);
                self.fold(open, &contents.tree);
            }
        } else if self.file(cx.shared).is_some() {
            self.peek(cx);
            self.listing.on_preview = true;
        } else {
            cx.ask(Request::Show("file".to_owned(), draw::details(&contents.tree, id, self.seen_as(), cx.look)));
        }
    }

    fn leave_flat(&mut self, tree: &FileTree) {
        self.reveal(tree);
        self.listing.kinds = 0;
        // An empty filter is always one.
        let _ = self.listing.list.filter("", &[]);
        self.listing.outdate();
    }

    fn toggle(&mut self, cx: &mut Context<'_>) {
        if self.chain.len() < 2 {
            cx.say(crate::tui::shared::Tone::Note, "this layer stands on no other: there is nothing to merge");
            return;
        }
        self.merged = !self.merged;
        self.listing.outdate();
        self.begun = false;
        self.open = HashSet::from([ROOT]);
        if let Some(request) = self.begin(cx.shared) {
            cx.ask(request);
        }
    }

    fn extract(&self, cx: &mut Context<'_>, folder: String) {
        let Some(contents) = self.contents(cx.shared) else { return };
        let path = self.current().map(|id| contents.tree.path(id)).unwrap_or_default();
        let node = self.current().map(|id| contents.tree.node(id));
        let at = node.map_or(self.chain.len() - 1, |node| if self.merged { node.layer() as usize } else { usize::MAX });
        let layer = self.chain.get(at).copied().unwrap_or(self.layer());
        cx.ask(Request::Work(self.place, Work::Extract { layer, path, folder: PathBuf::from(folder) }));
    }
}

impl Screen for Files {
    fn view(&self) -> View {
        View::Files
    }

    fn crumbs(&self, shared: &Shared) -> Vec<String> {
        vec![place_title(shared, self.place), self.name.clone(), "files".to_owned()]
    }

    fn begin(&self, shared: &Shared) -> Option<Request> {
        let chain = self.key();
        let known = shared.library.get(&chain);
        let reading = matches!(known, Some(Fetched::Waiting | Fetched::Ready(_)));
        (!reading).then(|| Request::Work(self.place, Work::Files(chain)))
    }

    fn refresh(&mut self, shared: &Shared) {
        let Some(contents) = self.contents(shared) else {
            self.lines.clear();
            return;
        };
        if !self.listing.is_stale(contents.revision) {
            return;
        }
        // While a large layer is read, not every batch is worth arranging everything anew.
        let grown = self.listing.seen().is_none_or(|before| contents.revision > before + before / 16);
        if !grown && contents.ending.is_none() {
            return;
        }
        let tree = &contents.tree;
        let (view, sort) = (self.seen_as(), self.listing.list.sort);
        if let Some(id) = self.aim.as_ref().and_then(|path| tree.find(path)).filter(|id| tree.node(*id).is_in(view)) {
            self.aim = None;
            self.listing.list.aim(id);
            let up = std::iter::successors(tree.node(id).parent(), |id| tree.node(*id).parent());
            self.open.extend(up);
            self.begun = true;
        }
        if !self.begun {
            let room = usize::from(shared.height.saturating_sub(AROUND));
            self.open = rows::open_first(tree, view, room);
            // More may come that no longer fits.
            self.begun = contents.ending.is_some() || self.open.len() > room;
        }
        let flat = self.is_flat();
        self.lines = if flat { all(tree, view) } else { visible(tree, view, sort, &self.open) };
        let (lines, kinds) = (&self.lines, self.listing.kinds);
        let wanted = [Mark::Same, Mark::Added, Mark::Modified, Mark::Deleted, Mark::Whiteout];
        let row = |n: usize| FileRow::new(tree, lines[n].id, view);
        let order = |_: u8, a: usize, b: usize| {
            let ordered = match flat && sort.0 == by::SIZE {
                true => tree.node(lines[a].id).total(view).cmp(&tree.node(lines[b].id).total(view)),
                false => a.cmp(&b),
            };
            // Trees are sorted within their directories already.
            if !flat && sort.1 { ordered.reverse() } else { ordered }
        };
        let source = Source {
            len: lines.len(),
            key: &|n| lines[n].id,
            row: &row,
            kind: &|n| kinds == 0 || tree.node(lines[n].id).mark() == wanted[usize::from(kinds)],
            order: &order,
            now: shared.now,
        };
        self.listing.arrange(contents.revision, &source);
    }

    fn act(&mut self, action: Action, cx: &mut Context<'_>) -> bool {
        let shared = cx.shared;
        let tree = self.contents(shared).map(|contents| &contents.tree);
        match (action, tree) {
            (Action::Left, _) if self.listing.on_preview && self.listing.scroll.right > 0 => {
                self.listing.scroll.right = self.listing.scroll.right.saturating_sub(8);
            }
            (Action::Left, _) if self.listing.on_preview => self.listing.on_preview = false,
            (Action::Right, _) if self.listing.on_preview => self.listing.scroll.right += 8,
            (Action::Open, _) => self.open(cx),
            (Action::Left, Some(tree)) => return self.fold(false, tree),
            (Action::Right, Some(tree)) => {
                if !self.fold(true, tree) {
                    self.peek(cx);
                }
            }
            (Action::FoldAll, _) => {
                self.open = HashSet::from([ROOT]);
                self.listing.outdate();
            }
            (Action::UnfoldAll, Some(tree)) => {
                let view = self.seen_as();
                self.open = all(tree, view).into_iter().map(|line| line.id).chain([ROOT]).collect();
                self.listing.outdate();
            }
            (Action::Toggle, _) => self.toggle(cx),
            (Action::Refresh, _) => cx.ask(Request::Work(self.place, Work::Files(self.key()))),
            (Action::Info, Some(tree)) => {
                if let Some(id) = self.current() {
                    cx.ask(Request::Show("file".to_owned(), draw::details(tree, id, self.seen_as(), cx.look)));
                }
            }
            (Action::Pager, Some(_)) => match self.file(shared) {
                Some(file) => cx.ask(Request::Work(self.place, Work::Page(file))),
                None => return false,
            },
            (Action::Export, Some(_)) => cx.ask(Request::Type(Question::Folder, ".".to_owned())),
            (Action::Escape, _) if self.listing.on_preview => self.listing.on_preview = false,
            (Action::Escape, Some(tree)) if self.is_flat() => self.leave_flat(tree),
            _ => {
                let before = self.listing.list.current();
                let acted = self.listing.act(action, cx);
                if self.listing.list.current() != before {
                    self.follow(cx);
                }
                return acted;
            }
        }
        true
    }

    fn answer(&mut self, answer: Answer, cx: &mut Context<'_>) -> Result<()> {
        if let Answer::Folder(folder) = answer {
            self.extract(cx, folder);
            return Ok(());
        }
        self.listing.answer(&answer)
    }

    fn text(&self, look: Look<'_>) -> Option<String> {
        self.rows_as_text(look)
    }

    fn mouse(&mut self, mouse: Mouse, cx: &mut Context<'_>) {
        let before = self.listing.list.current();
        if self.listing.mouse(mouse) {
            self.open(cx);
        } else if self.listing.list.current() != before {
            self.follow(cx);
        }
    }

    fn draw(&mut self, area: Rect, canvas: &mut Canvas<'_>) {
        self.draw_all(area, canvas);
    }

    fn status(&self, shared: &Shared) -> String {
        let Some(contents) = self.contents(shared) else {
            return match shared.library.get(&self.key()) {
                Some(Fetched::Failed(error)) => error_line(error),
                _ => String::new(),
            };
        };
        let t = contents.tree.tally();
        let mut parts = vec![match contents.ending {
            Some(_) => format!("{} {}", thousands(t.entries), if t.entries == 1 { "entry" } else { "entries" }),
            None => format!("{} entries so far", thousands(t.entries)),
        }];
        for (letter, n) in [("A", t.added), ("M", t.modified), ("D", t.deleted), ("W", t.whiteouts)] {
            if n > 0 {
                parts.push(format!("{letter} {}", thousands(n)));
            }
        }
        if t.repeated_bytes > 0 {
            parts.push(format!("{} repeat lower layers", bytes(t.repeated_bytes, shared)));
        }
        if t.hidden_bytes > 0 {
            parts.push(format!("{} hidden below", bytes(t.hidden_bytes, shared)));
        }
        if !self.listing.list.marks().is_empty() {
            let sum = self.listing.list.marks().iter().map(|id| contents.tree.node(*id).total(self.seen_as()));
            parts.push(format!(
                "marked {} = {}",
                self.listing.list.marks().len(),
                bytes(sum.fold(0, u64::saturating_add), shared)
            ));
        }
        if let Some(ending) = contents.ending.as_ref().filter(|ending| !ending.is_complete()) {
            parts.push(text::safe(&ending.to_string()).into_owned());
        }
        parts.join("  ")
    }

    fn search(&self) -> Search<'_> {
        self.listing.search()
    }

    fn yank(&self, action: Action, shared: &Shared) -> Option<String> {
        let tree = &self.contents(shared)?.tree;
        let node = tree.node(self.current()?);
        let path = String::from_utf8_lossy(&tree.path(node.id())).into_owned();
        match action {
            Action::YankDigest => Some(self.layer().to_string()),
            Action::YankPath => Some(path),
            Action::YankJson => Some(super::pretty(&serde_json::json!({
                "path": path,
                "kind": node.kind().name(),
                "mode": format!("{:04o}", node.mode()),
                "uid": node.uid(),
                "gid": node.gid(),
                "bytes": node.size(),
                "total_bytes": node.total(self.seen_as()),
                "mark": node.mark(),
                "link": node.link().map(String::from_utf8_lossy),
            }))),
            _ => super::yank_blob(action, shared, Target { place: self.place, digest: self.layer() }),
        }
    }

    fn command(&self, shared: &Shared) -> Vec<String> {
        let mut words = vec!["cachedeck".to_owned(), "files".to_owned()];
        let place = shared.places.get(self.place);
        words.extend(place.map(|place| place.location.to_string()));
        words.push(self.layer().to_string());
        words
    }

    fn place(&self) -> Option<PlaceId> {
        Some(self.place)
    }

    fn word(&self, action: Action) -> Option<&'static str> {
        match action {
            Action::Toggle => Some(if self.merged { "layer" } else { "merged" }),
            Action::Export => Some("extract"),
            Action::Open => Some(if self.listing.on_preview { "peek" } else { "open" }),
            _ => None,
        }
    }
}
