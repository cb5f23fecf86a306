//! The graph of a version, drawn: layer chains as a tree whose straight runs stay straight, or the records from the
//! build's results down through their inputs. The chain of the node under the cursor stands out.

use super::facts::Facts;
use super::trees::{Chains, MOST, Seats};
use super::{TABS, Tab, details, records};
use crate::error::Result;
use crate::model::graph::LayerForest;
use crate::model::text;
use crate::tui::keys::Action;
use crate::tui::list::walk;
use crate::tui::listing::plain;
use crate::tui::screen::{Answer, Canvas, Context, Look, Mouse, Request, Search, bytes, count, thousands};
use crate::tui::screens::with_preview;
use crate::tui::shared::{Shared, Target};
use crate::tui::widgets::cell::{Cell, Cut};
use crate::tui::widgets::frame::Pane;
use crate::tui::widgets::table::{Column, Hit, Row, Table, TableState, Width, position};
use crate::tui::widgets::textbox::Scroll;
use crate::tui::widgets::tree::{Branch, Folds, flatten};
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use std::collections::HashSet;

const LAYER_COLUMNS: [Column; 4] = [
    Column::new("layer chains", Width::Grows(16)),
    Column::new("size", Width::Cells(10)).right(),
    Column::new("", Width::Cells(12)).rank(2),
    Column::new("with all above", Width::Cells(14)).right().rank(1),
];

const RECORD_COLUMNS: [Column; 3] = [
    Column::new("records, from results down to their inputs", Width::Grows(16)),
    Column::new("result", Width::Cells(10)).right(),
    Column::new("", Width::Cells(12)).rank(1),
];

/// What the nodes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Layers,
    Records,
}

/// The tab.
pub(super) struct Graph {
    kind: Kind,
    /// Only the chain this node belongs to.
    only: Option<usize>,
    state: TableState,
    folds: [Folds; 2],
    chains: Chains,
    seats: Seats,
    rows: Vec<Branch>,
    /// Layers or records that the node under the cursor belongs with.
    family: (Option<usize>, HashSet<usize>),
    /// Node to put the cursor on.
    aim: Option<usize>,
    word: String,
    scroll: Scroll,
    focus_preview: bool,
    seen: Option<(Target, usize, usize)>,
}

impl Graph {
    pub(super) fn new() -> Graph {
        Graph {
            kind: Kind::Layers,
            only: None,
            state: TableState::default(),
            folds: [Folds::default(), Folds::default()],
            chains: Chains::default(),
            seats: Seats::default(),
            rows: Vec::new(),
            family: (None, HashSet::new()),
            aim: None,
            word: String::new(),
            scroll: Scroll::default(),
            focus_preview: false,
            seen: None,
        }
    }

    pub(super) fn aim_layer(&mut self, layer: Option<usize>) {
        self.show(Kind::Layers, layer);
    }

    pub(super) fn aim_record(&mut self, record: Option<usize>) {
        self.show(Kind::Records, record);
    }

    fn show(&mut self, kind: Kind, aim: Option<usize>) {
        if kind != self.kind {
            self.only = None;
        }
        (self.kind, self.aim, self.seen) = (kind, aim, None);
    }

    /// The layer or record in `row`.
    fn thing(&self, row: &Branch) -> usize {
        match self.kind {
            Kind::Layers => row.node,
            Kind::Records => self.seats.seats[row.node].record,
        }
    }

    fn current(&self) -> Option<usize> {
        self.rows.get(self.state.selected()).map(|row| self.thing(row))
    }

    fn relatives(&self, thing: usize, facts: &Facts) -> HashSet<usize> {
        let family = match self.kind {
            Kind::Layers => facts.forest.family(&facts.cache, thing),
            Kind::Records => facts.graph.family(&facts.cache, thing),
        };
        family.into_iter().collect()
    }

    fn rebuild(&mut self, facts: &Facts) {
        let only = self.only.map(|thing| self.relatives(thing, facts));
        match self.kind {
            Kind::Layers => self.chains = Chains::of(facts, only.as_ref()),
            Kind::Records => self.seats = Seats::of(facts, only.as_ref()),
        }
        self.flatten();
    }

    fn flatten(&mut self) {
        self.rows = match self.kind {
            Kind::Layers => flatten(&self.chains, &self.folds[0], true),
            Kind::Records => flatten(&self.seats, &self.folds[1], true),
        };
        self.state.step(0, self.rows.len());
        if let Some(aim) = self.aim.take()
            && let Some(at) = self.rows.iter().position(|row| self.thing(row) == aim)
        {
            self.state.select(at);
        }
    }

    fn folds(&mut self) -> &mut Folds {
        &mut self.folds[usize::from(self.kind == Kind::Records)]
    }

    fn fold(&mut self, folded: bool) {
        let Some(row) = self.rows.get(self.state.selected()).copied() else { return };
        match row.folded {
            Some(now) if now != folded => {
                self.folds().set(row.node, folded);
                self.flatten();
            }
            _ if folded => self.state.select(row.parent.unwrap_or(self.state.selected())),
            _ => self.state.step(1, self.rows.len()),
        }
    }

    fn words(&self, thing: usize, facts: &Facts) -> String {
        match self.kind {
            Kind::Layers => {
                let step = facts.step(thing).unwrap_or_default();
                format!("#{thing} {step} {}", facts.cache.layers[thing].blob)
            }
            Kind::Records => {
                let step = facts.record_step(thing).unwrap_or_default();
                format!("#{thing} {step} {}", facts.cache.records[thing].digest)
            }
        }
    }

    fn find(&mut self, from: usize, forward: bool, facts: &Facts) {
        let word = self.word.to_lowercase();
        let len = self.rows.len();
        if word.is_empty() || len == 0 {
            return;
        }
        let fits = |at: &usize| self.words(self.thing(&self.rows[*at]), facts).to_lowercase().contains(&word);
        let next = match forward {
            true => (from..len).chain(0..from).find(fits),
            false => (0..from).rev().chain((from..len).rev()).find(fits),
        };
        if let Some(next) = next {
            self.state.select(next);
        }
    }

    fn name(&self, thing: usize, style: Style, facts: &Facts, look: Look<'_>) -> Vec<Span<'static>> {
        let word = self.word.to_lowercase();
        let step = match self.kind {
            Kind::Layers => facts.step(thing),
            Kind::Records => facts.record_step(thing),
        };
        let name = step.unwrap_or_else(|| match self.kind {
            Kind::Layers => facts.cache.layers[thing].blob.short(),
            Kind::Records => facts.cache.records[thing].digest.short(),
        });
        let number = Span::styled(format!("#{thing} "), look.theme.dim);
        let spans = crate::tui::widgets::textbox::highlight(&name, &word, look.theme.found).spans;
        let named = spans.into_iter().map(|s| Span::styled(s.content, style.patch(s.style)));
        std::iter::once(number).chain(named).collect()
    }

    fn row(&self, branch: &Branch, facts: &Facts, look: Look<'_>) -> Row<'static> {
        let (theme, glyphs) = (look.theme, look.glyphs);
        let thing = self.thing(branch);
        let near = self.family.1.contains(&thing);
        let style = if near { theme.text } else { theme.dim };
        let line = if near { theme.focus } else { theme.dim };
        let mut parts = vec![Span::styled(branch.guides(glyphs), theme.dim)];
        let link = match self.kind {
            Kind::Layers => None,
            Kind::Records => self.seats.seats[branch.node].input,
        };
        parts.push(Span::styled(format!("{} ", branch.knob(glyphs)), line));
        if let Some((input, alternative)) = link {
            let alternative = if alternative > 0 { " or" } else { "" };
            parts.push(look.dim(format!("{input}{alternative} {} ", glyphs.link)));
        }
        let from = parts.len();
        parts.extend(self.name(thing, style, facts, look));
        let gives = parts.len().min(from + 2) - 1;
        match self.kind {
            Kind::Layers => {
                if branch.folded == Some(true) {
                    parts.push(look.dim(format!("  {} above", thousands(above(&facts.forest, thing)))));
                }
                let size = facts.cache.layers[thing].size;
                let all = facts.forest.subtree_bytes(thing);
                let above = if facts.forest.children(thing).is_empty() { Cell::empty() } else { look.size(Some(all)) };
                Row::from(vec![
                    Cell::of(parts, gives, Cut::End),
                    look.size(size),
                    Cell::bar(size.unwrap_or(0), facts.largest),
                    above,
                ])
            }
            Kind::Records => {
                let seat = &self.seats.seats[branch.node];
                if seat.again {
                    parts.push(look.dim("  drawn above"));
                }
                let selector = seat.input.and_then(|(input, n)| {
                    let parent = &self.seats.seats[self.rows.get(branch.parent?)?.node];
                    facts.cache.records[parent.record].inputs.get(input)?.get(n)?.selector.as_deref()
                });
                if let Some(selector) = selector {
                    // Most are digests: their beginning tells them apart.
                    let short = text::head(selector.strip_prefix("sha256:").unwrap_or(selector), 8);
                    parts.push(look.dim(format!("  only {}", text::safe(short))));
                }
                let size = facts.top_of[thing].and_then(|layer| facts.cache.layers[layer].size);
                let result = if facts.top_of[thing].is_some() { look.size(size) } else { Cell::empty() };
                let bar = size.map_or(Cell::empty(), |size| Cell::bar(size, facts.largest));
                Row::from(vec![Cell::of(parts, gives, Cut::End), result, bar])
            }
        }
    }

    fn details(&self, facts: &Facts, width: usize, look: Look<'_>) -> Vec<Line<'static>> {
        let Some(thing) = self.current() else { return Vec::new() };
        match self.kind {
            Kind::Layers => details::details(thing, facts, width, look),
            Kind::Records => records::details(thing, facts, width, look),
        }
    }

    fn turn_only(&mut self, facts: &Facts) {
        let current = self.current();
        self.only = if self.only.is_some() { None } else { current };
        self.aim = current;
        self.rebuild(facts);
    }
}

/// How many layers stand on `layer`, at once or further up.
fn above(forest: &LayerForest, layer: usize) -> u64 {
    let mut todo = forest.children(layer).to_vec();
    let mut count = 0;
    while let Some(next) = todo.pop() {
        count += 1;
        todo.extend(forest.children(next));
    }
    count
}

impl Tab for Graph {
    fn refresh(&mut self, facts: &Facts, _shared: &Shared) {
        let key = (facts.target, facts.cache.layers.len(), facts.cache.records.len());
        if self.seen != Some(key) {
            let count = if self.kind == Kind::Layers { key.1 } else { key.2 };
            self.only = self.only.filter(|thing| *thing < count);
            self.rebuild(facts);
            self.seen = Some(key);
            self.family = (None, HashSet::new());
        }
        let current = self.current();
        if current != self.family.0 || self.family.1.is_empty() {
            self.family = (current, current.map_or_else(HashSet::new, |thing| self.relatives(thing, facts)));
        }
    }

    fn act(&mut self, action: Action, facts: &Facts, cx: &mut Context<'_>) -> bool {
        match action {
            _ if self.focus_preview && self.scroll.walk(action) => {}
            _ if walk(&mut self.state, action, self.rows.len()) => {}
            Action::Left => self.fold(true),
            Action::Right => self.fold(false),
            Action::FoldAll | Action::UnfoldAll => {
                self.aim = self.current();
                self.folds().set_all(action == Action::FoldAll);
                self.flatten();
            }
            Action::Toggle => self.turn_only(facts),
            Action::Kinds => {
                // From a layer to a record that makes it, and back.
                let current = self.current();
                match self.kind {
                    Kind::Layers => {
                        let record = current.and_then(|layer| facts.records_of[layer].first()).map(|&r| r as usize);
                        self.show(Kind::Records, record);
                    }
                    Kind::Records => self.show(Kind::Layers, current.and_then(|record| facts.top_of[record])),
                }
            }
            Action::Open if self.kind == Kind::Layers => {
                if let Some(layer) = self.current() {
                    cx.ask(Request::Push(Box::new(facts.files(layer))));
                }
            }
            Action::Open | Action::Info => {
                let title = if self.kind == Kind::Layers { "layer" } else { "record" };
                cx.ask(Request::Show(title.to_owned(), self.details(facts, 96, cx.look)));
            }
            Action::NextPane | Action::PrevPane => self.focus_preview = !self.focus_preview,
            Action::Pane(n) => self.focus_preview = n == 2,
            Action::PreviewDown => self.scroll.step(1, usize::MAX),
            Action::PreviewUp => self.scroll.step(-1, usize::MAX),
            Action::FindNext => self.find(self.state.selected() + 1, true, facts),
            Action::FindPrev => self.find(self.state.selected(), false, facts),
            Action::Escape if !self.word.is_empty() => self.word.clear(),
            Action::Escape if self.only.is_some() => self.turn_only(facts),
            _ => return false,
        }
        true
    }

    fn answer(&mut self, answer: Answer, facts: &Facts, _cx: &mut Context<'_>) -> Result<()> {
        if let Answer::Search(word) = answer {
            self.word = word;
            self.find(self.state.selected(), true, facts);
        }
        Ok(())
    }

    fn mouse(&mut self, mouse: Mouse, _facts: &Facts, _cx: &mut Context<'_>) {
        let len = self.rows.len();
        match (mouse, self.state.hit(mouse.at(), len)) {
            (Mouse::Wheel(_, by), _) => self.state.scroll(by, len),
            (Mouse::Double(_), Some(Hit::Row(_))) => {
                if let Some(folded) = self.rows.get(self.state.selected()).and_then(|row| row.folded) {
                    self.fold(!folded);
                }
            }
            (_, Some(Hit::Row(row))) => {
                self.state.select(row);
                self.focus_preview = false;
            }
            _ => {}
        }
    }

    fn draw(&mut self, area: Rect, facts: &Facts, canvas: &mut Canvas<'_>) {
        let look = canvas.look;
        let (graph, preview) = if canvas.zoomed { (area, None) } else { with_preview(area, canvas.size, 38) };
        let mut note = Vec::new();
        if self.only.is_some() {
            note.push(Span::styled("one chain", look.theme.found));
        }
        if !self.word.is_empty() {
            note.push(Span::styled("/ ", look.theme.key));
            note.push(Span::styled(text::safe(&self.word).into_owned(), look.theme.found));
        }
        let pane = Pane {
            tabs: Some((&TABS, 1)),
            note,
            position: position(self.state.selected(), self.rows.len()),
            focused: !self.focus_preview,
            ..Pane::default()
        };
        let inner = canvas.pane(&pane, graph);
        if let Some(lines) = facts.nothing(look.shared) {
            canvas.nothing(&lines, inner);
        } else if self.rows.is_empty() {
            canvas.nothing(&["nothing of that kind in here".to_owned(), "T shows the other kind".to_owned()], inner);
        } else {
            let mut state = std::mem::take(&mut self.state);
            let row = |n: usize| self.rows.get(n).map_or_else(Row::default, |branch| self.row(branch, facts, look));
            let columns: &[Column] = if self.kind == Kind::Layers { &LAYER_COLUMNS } else { &RECORD_COLUMNS };
            let (len, focused) = (self.rows.len(), !self.focus_preview);
            let table = Table { columns, len, row: &row, sort: None, focused, marks: false, stacked: false };
            canvas.table(table, inner, &mut state);
            self.state = state;
        }
        if let Some(area) = preview {
            let kind = if self.kind == Kind::Layers { "layer" } else { "record" };
            let title = self.current().map_or(kind.to_owned(), |thing| format!("{kind} #{thing}"));
            let focused = self.focus_preview;
            let pane = Pane { number: Some(2), title: vec![title.into()], focused, ..Pane::default() };
            let inner = canvas.pane(&pane, area);
            let wide = usize::from(inner.width);
            let lines = match self.current().filter(|_| self.kind == Kind::Layers && inner.height < 6 && wide >= 56) {
                Some(layer) => details::brief(layer, facts, wide, look),
                None => self.details(facts, wide, look),
            };
            canvas.lines(&lines, inner, &mut self.scroll);
        }
    }

    fn status(&self, facts: &Facts, shared: &Shared) -> String {
        let near = self.family.1.len();
        match self.kind {
            Kind::Layers => {
                let chain = self.current().map_or_else(Vec::new, |layer| facts.cache.chain(layer));
                let sum = chain.iter().filter_map(|&l| facts.cache.layers[l].size).fold(0u64, u64::saturating_add);
                let leaves = count(facts.forest.leaves().len(), "chain");
                format!(
                    "{leaves}; {} up to here = {}; {near} of this family",
                    count(chain.len(), "layer"),
                    bytes(sum, shared)
                )
            }
            Kind::Records => {
                let cut = if self.seats.seats.len() >= MOST { "; too large to draw whole" } else { "" };
                let sinks = facts.graph.sinks().len();
                format!(
                    "{}, {}; {near} of this family{cut}",
                    count(facts.cache.records.len(), "record"),
                    count(sinks, "result")
                )
            }
        }
    }

    fn search(&self) -> Search<'_> {
        Search { fields: &[], text: self.word.clone(), hides: false }
    }

    fn yank(&self, action: Action, facts: &Facts, shared: &Shared) -> Option<String> {
        let thing = self.current()?;
        match (action, self.kind) {
            (Action::YankDigest, Kind::Layers) => Some(facts.cache.layers[thing].blob.to_string()),
            (Action::YankDigest, Kind::Records) => Some(facts.cache.records[thing].digest.to_string()),
            (Action::YankPath, Kind::Layers) => {
                let place = shared.places.get(facts.target.place)?;
                crate::tui::screens::blob_path(place, &facts.cache.layers[thing].blob)
            }
            _ => None,
        }
    }

    fn text(&self, facts: &Facts, look: Look<'_>) -> String {
        let columns: &[Column] = if self.kind == Kind::Layers { &LAYER_COLUMNS } else { &RECORD_COLUMNS };
        plain(columns, self.rows.len(), &|n| self.rows.get(n).map_or_else(Row::default, |b| self.row(b, facts, look)))
    }

    fn word(&self, action: Action) -> Option<&'static str> {
        match action {
            Action::Toggle => Some(if self.only.is_some() { "whole" } else { "chain" }),
            Action::Kinds => Some(if self.kind == Kind::Layers { "records" } else { "layers" }),
            _ => None,
        }
    }
}
