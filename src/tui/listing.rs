//! A list as a screen holds it: rows with their columns and orders, the kinds that can be shown alone, the filter, and
//! the preview beside it. What is the same on every list is here, once.

use crate::error::Result;
use crate::model::filter::{self, Field};
use crate::model::text;
use crate::tui::keys::Action;
use crate::tui::list::{Clicked, List, Source};
use crate::tui::screen::{Answer, Canvas, Context, Look, Mouse, Request, Search};
use crate::tui::widgets::cell::Cell;
use crate::tui::widgets::frame::Pane;
use crate::tui::widgets::picker::Choice;
use crate::tui::widgets::table::{Column, Row, Table, Width};
use crate::tui::widgets::textbox::Scroll;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use std::hash::Hash;

/// What never changes about a list.
pub struct Shape {
    /// Its columns.
    pub columns: &'static [Column],
    /// Names of the orders.
    pub orders: &'static [(&'static str, u8)],
    /// Whether the largest of an order comes first.
    pub falls: fn(u8) -> bool,
    /// Kinds that can be shown alone; the first is what is shown usually. May be empty.
    pub kinds: &'static [&'static str],
    /// Fields of the filter.
    pub fields: fn() -> &'static [Field],
    /// Whether rows can be marked.
    pub marks: bool,
}

/// A list and its preview.
pub struct Listing<K: 'static> {
    /// The rows.
    pub list: List<K>,
    /// Which of the shape's kinds is shown.
    pub kinds: u8,
    /// Whether the preview has the focus.
    pub on_preview: bool,
    /// Where the preview is scrolled to.
    pub scroll: Scroll,
    /// Columns that are not shown now, by number.
    pub hidden: &'static [usize],
    shape: &'static Shape,
    /// The revision of the data the rows were arranged for.
    seen: Option<u64>,
}

impl<K: Copy + Eq + Hash> Listing<K> {
    /// No rows yet, to be sorted by `by`.
    pub fn new(shape: &'static Shape, by: u8) -> Self {
        let list = List::new(by, shape.falls);
        Listing { list, kinds: 0, on_preview: false, scroll: Scroll::default(), hidden: &[], shape, seen: None }
    }

    /// Whether the rows must be arranged anew for data at `revision`.
    pub fn is_stale(&self, revision: u64) -> bool {
        self.seen != Some(revision)
    }

    /// The revision the rows were arranged for.
    pub fn seen(&self) -> Option<u64> {
        self.seen
    }

    /// Lets the rows be arranged anew.
    pub fn outdate(&mut self) {
        self.seen = None;
    }

    /// Arranges the rows of data at `revision`.
    pub fn arrange<R: filter::Row>(&mut self, revision: u64, source: &Source<'_, K, R>) {
        self.list.arrange(source);
        self.seen = Some(revision);
    }

    /// Does what every list does; `false` if that means nothing to one.
    pub fn act(&mut self, action: Action, cx: &mut Context<'_>) -> bool {
        match action {
            Action::NextPane | Action::PrevPane => self.on_preview = !self.on_preview,
            Action::Pane(n) => self.on_preview = n == 2,
            Action::PreviewDown => self.scroll.step(1, usize::MAX),
            Action::PreviewUp => self.scroll.step(-1, usize::MAX),
            Action::Sort => cx.ask(self.sort_menu()),
            Action::Kinds if !self.shape.kinds.is_empty() => cx.ask(kinds_menu(self.shape.kinds, self.kinds)),
            Action::Escape if self.kinds != 0 => {
                self.kinds = 0;
                self.seen = None;
            }
            Action::Escape => {
                self.seen = None;
                return self.list.escape();
            }
            _ if self.on_preview && self.scroll.walk(action) => {}
            _ => {
                let before = self.list.current();
                let acted = self.list.act(action);
                if action == Action::Reverse {
                    self.seen = None;
                }
                if self.list.current() != before {
                    self.scroll.down = 0;
                }
                return acted;
            }
        }
        true
    }

    /// Takes order, kind and filter.
    pub fn answer(&mut self, answer: &Answer) -> Result<()> {
        match answer {
            Answer::Sort(by) => self.list.sort_by(*by),
            Answer::Kinds(kinds) => self.kinds = *kinds,
            Answer::Search(text) => self.list.filter(text, (self.shape.fields)())?,
            _ => {}
        }
        self.seen = None;
        Ok(())
    }

    /// Follows the mouse; `true` if the row under the cursor is to be opened.
    pub fn mouse(&mut self, mouse: Mouse) -> bool {
        match self.list.mouse(mouse) {
            Clicked::Opened => return true,
            Clicked::Sorted => self.seen = None,
            Clicked::Moved => (self.on_preview, self.scroll.down) = (false, 0),
            Clicked::Nothing => {}
        }
        false
    }

    /// What `/` searches.
    pub fn search(&self) -> Search<'static> {
        Search { fields: (self.shape.fields)(), text: self.list.filter_text().to_owned(), hides: true }
    }

    /// Draws the list in its pane, or `empty` if it has no rows. `row` builds source row `n`.
    pub fn draw<'a>(
        &mut self,
        area: Rect,
        mut pane: Pane<'_>,
        (row, empty): (&'a dyn Fn(usize) -> Row<'a>, &dyn Fn() -> Vec<String>),
        canvas: &mut Canvas<'_>,
    ) {
        let look = canvas.look;
        if self.kinds != 0 {
            let kind = self.shape.kinds.get(usize::from(self.kinds)).copied().unwrap_or_default();
            pane.title.push(Span::raw(format!(" {} {kind}", look.glyphs.dot)));
        }
        pane.note.extend(self.filter_note(look));
        pane.position = self.list.position();
        let inner = canvas.pane(&pane, area);
        if self.list.is_empty() {
            return canvas.nothing(&empty(), inner);
        }
        let mut state = std::mem::take(&mut self.list.state);
        let list = &self.list;
        let shown = |at: usize| match list.source(at) {
            Some(n) => Row { marked: list.shows_mark(at), ..row(n) },
            None => Row::default(),
        };
        let mut columns = self.shape.columns.to_vec();
        self.hidden.iter().for_each(|&at| columns[at].width = Width::Cells(0));
        let table = Table {
            columns: &columns,
            len: list.len(),
            row: &shown,
            sort: Some(list.sort),
            focused: pane.focused,
            marks: self.shape.marks,
            stacked: false,
        };
        canvas.table(table, inner, &mut state);
        self.list.state = state;
    }

    /// Draws the preview in its pane, the second one.
    pub fn draw_preview(&mut self, area: Rect, title: String, lines: &[Line<'static>], canvas: &mut Canvas<'_>) {
        self.draw_preview_as(2, area, (title, lines), canvas);
    }

    /// Draws the preview in the pane with that number.
    pub fn draw_preview_as(
        &mut self,
        number: u8,
        area: Rect,
        (title, lines): (String, &[Line<'static>]),
        canvas: &mut Canvas<'_>,
    ) {
        let (title, focused) = (vec![Span::raw(title)], self.on_preview);
        let pane = Pane { number: Some(number), title, focused, ..Pane::default() };
        let inner = canvas.pane(&pane, area);
        canvas.lines(lines, inner, &mut self.scroll);
    }

    /// The active filter, for a pane's border.
    fn filter_note(&self, look: Look<'_>) -> Vec<Span<'static>> {
        if self.list.filter_text().is_empty() {
            return Vec::new();
        }
        let text = text::safe(self.list.filter_text()).into_owned();
        vec![Span::styled("/ ", look.theme.key), Span::styled(text, look.theme.found)]
    }

    /// All rows as plain text in columns, for the pager and for files.
    pub fn text<'a>(&self, row: &dyn Fn(usize) -> Row<'a>) -> String {
        let shown = |at: usize| self.list.source(at).map_or_else(Row::default, row);
        plain(self.shape.columns, self.list.len(), &shown)
    }

    fn sort_menu(&self) -> Request {
        let (now, down) = self.list.sort;
        let mut used = Vec::new();
        let choices = self.shape.orders.iter().map(|(name, by)| {
            // The first letter that no other column has; letters that move in a menu are left out.
            let key = name.chars().find(|c| c.is_ascii_alphabetic() && !"jkqc".contains(*c) && !used.contains(c));
            used.extend(key);
            let detail = match (now == *by, down) {
                (false, _) => "",
                (true, true) => "downwards",
                (true, false) => "upwards",
            };
            let key = key.map(String::from).unwrap_or_default();
            Choice { name: (*name).to_owned(), detail: detail.to_owned(), key, also: "", value: Answer::Sort(*by) }
        });
        let at = self.shape.orders.iter().position(|(_, by)| *by == now).unwrap_or(0);
        Request::Menu("sort by".to_owned(), choices.collect(), at)
    }
}

/// A menu of kinds to show; the first is what is shown usually.
pub fn kinds_menu(kinds: &[&str], now: u8) -> Request {
    let choice = |(at, name): (usize, &&str)| Choice {
        name: (*name).to_owned(),
        detail: String::new(),
        key: at.to_string(),
        also: "",
        value: Answer::Kinds(at as u8),
    };
    Request::Menu("show".to_owned(), kinds.iter().enumerate().map(choice).collect(), usize::from(now))
}

/// What a list says when its filter lets nothing through.
pub fn nothing_fits() -> Vec<String> {
    vec!["nothing fits".to_owned(), "esc shows all again".to_owned()]
}

/// The rows of a table as plain text in columns.
pub fn plain<'a>(columns: &[Column], len: usize, row: &dyn Fn(usize) -> Row<'a>) -> String {
    let text_of = |cell: &Cell<'_>| match cell {
        Cell::Text { parts, .. } => parts.iter().map(|p| p.content.as_ref()).collect::<String>().trim().to_owned(),
        Cell::Bar { .. } => String::new(),
    };
    let mut lines = vec![columns.iter().map(|c| c.title.to_owned()).collect::<Vec<_>>()];
    lines.extend((0..len).map(|n| row(n).cells.iter().map(text_of).collect()));
    let widths: Vec<usize> = (0..columns.len())
        .map(|c| lines.iter().filter_map(|l| l.get(c)).map(|t| text::width(t)).max().unwrap_or(0))
        .collect();
    let mut all = String::new();
    for line in &lines {
        let mut shown = String::new();
        for ((cell, width), column) in line.iter().zip(&widths).zip(columns).filter(|((_, width), _)| **width > 0) {
            let cell = if column.right { text::pad_left(cell, *width) } else { text::pad_right(cell, *width) };
            shown.push_str(&cell);
            shown.push_str("  ");
        }
        all.push_str(shown.trim_end());
        all.push('\n');
    }
    all
}
