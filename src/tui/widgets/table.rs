//! The one table. Columns leave by rank when the place gets narrow, numbers stand right, only the rows on screen are
//! ever built, and it knows what lies under the mouse.

use crate::model::text;
use crate::tui::glyphs::Glyphs;
use crate::tui::theme::Theme;
use crate::tui::widgets::cell::{Cell, Ink};
use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::Span;

/// How wide a column is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// Always this wide.
    Cells(u16),
    /// This wide, or less where there is little room: the second figure.
    Shrinks(u16, u16),
    /// At least this wide; shares what is left with others like it.
    Grows(u16),
    /// As wide as the first figure before others shrink, never less than the second; shares what is left.
    Name(u16, u16),
}

/// One column.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Its heading.
    pub title: &'static str,
    /// Its width.
    pub width: Width,
    /// Whether its text stands right.
    pub right: bool,
    /// When it leaves if there is no room for all: higher first, 0 never.
    pub rank: u8,
    /// Which order a click on the heading asks for, if any.
    pub sort: Option<u8>,
}

impl Column {
    /// A column of text that is always there.
    pub const fn new(title: &'static str, width: Width) -> Column {
        Column { title, width, right: false, rank: 0, sort: None }
    }

    /// With its text at the right.
    pub const fn right(mut self) -> Column {
        self.right = true;
        self
    }

    /// That leaves at `rank`.
    pub const fn rank(mut self, rank: u8) -> Column {
        self.rank = rank;
        self
    }

    fn grows(&self) -> bool {
        matches!(self.width, Width::Grows(_) | Width::Name(..))
    }

    /// That can be sorted by.
    pub const fn sort(mut self, sort: u8) -> Column {
        self.sort = Some(sort);
        self
    }
}

/// One row as it is drawn: a cell for each column, in order.
#[derive(Clone, Debug, Default)]
pub struct Row<'a> {
    /// The cells.
    pub cells: Vec<Cell<'a>>,
    /// The style under all of them.
    pub style: Style,
    /// Whether it is marked.
    pub marked: bool,
}

impl<'a> From<Vec<Cell<'a>>> for Row<'a> {
    fn from(cells: Vec<Cell<'a>>) -> Self {
        Row { cells, style: Style::new(), marked: false }
    }
}

/// What stays between frames: the cursor, the scroll offset, and what was drawn where.
#[derive(Clone, Debug, Default)]
pub struct TableState {
    selected: usize,
    offset: usize,
    /// Where rows were drawn last.
    area: Rect,
    /// Lines a row took.
    lines: u16,
    /// Where headings were drawn last: left, right, what to sort by.
    headings: Vec<(u16, u16, u8)>,
}

/// What lies under the mouse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hit {
    /// A row, by its number.
    Row(usize),
    /// A heading that can be sorted by.
    Heading(u8),
}

impl TableState {
    /// The number of the row under the cursor; check it against the number of rows.
    pub fn selected(&self) -> usize {
        self.selected
    }

    /// The first row shown.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// Puts the cursor on row `to`.
    pub fn select(&mut self, to: usize) {
        self.selected = to;
    }

    /// Moves the cursor by `by` rows, at most to an end of `len` rows.
    pub fn step(&mut self, by: isize, len: usize) {
        self.selected = self.selected.saturating_add_signed(by).min(len.saturating_sub(1));
    }

    /// Scrolls by `by` rows and takes the cursor along only if it would leave the screen.
    pub fn scroll(&mut self, by: isize, len: usize) {
        let last = len.saturating_sub(self.visible());
        self.offset = self.offset.saturating_add_signed(by).min(last);
        let end = (self.offset + self.visible()).min(len).saturating_sub(1);
        self.selected = self.selected.clamp(self.offset.min(end), end);
    }

    /// Rows that fit on the screen, at least 1.
    pub fn visible(&self) -> usize {
        usize::from(self.area.height / self.lines.max(1)).max(1)
    }

    /// What lies at `at`, among `len` rows.
    pub fn hit(&self, at: Position, len: usize) -> Option<Hit> {
        if self.area.contains(at) {
            let row = self.offset + usize::from((at.y - self.area.y) / self.lines.max(1));
            return (row < len).then_some(Hit::Row(row));
        }
        let over = at.y + 1 == self.area.y;
        let heading = self.headings.iter().find(|(left, right, _)| over && (*left..*right).contains(&at.x));
        heading.map(|(_, _, sort)| Hit::Heading(*sort))
    }

    /// Keeps the cursor inside `len` rows and on the screen, with a little room around it where there is some.
    fn settle(&mut self, len: usize) {
        self.selected = self.selected.min(len.saturating_sub(1));
        let visible = self.visible();
        let margin = if visible > 8 { 2 } else { 0 };
        let last = len.saturating_sub(visible);
        self.offset = self.offset.min(self.selected.saturating_sub(margin));
        self.offset = self.offset.max((self.selected + margin + 1).saturating_sub(visible)).min(last);
    }
}

/// A table, ready to be drawn. `row` is called for the rows on screen alone.
pub struct Table<'a> {
    /// The columns.
    pub columns: &'a [Column],
    /// How many rows there are.
    pub len: usize,
    /// Builds row `n`.
    pub row: &'a dyn Fn(usize) -> Row<'a>,
    /// What the rows are sorted by, and whether downwards.
    pub sort: Option<(u8, bool)>,
    /// Whether the pane has the focus.
    pub focused: bool,
    /// Whether rows can be marked: keeps a column free for that.
    pub marks: bool,
    /// Whether a row takes two lines, for terminals too narrow for one.
    pub stacked: bool,
}

/// Between columns.
const GAP: u16 = 1;
/// Columns of this rank and above leave before others shrink.
const SPARE: u8 = 6;

impl Table<'_> {
    /// Draws heading and rows into `area`. The column before `area` belongs to the cursor's sign.
    pub fn draw(&self, area: Rect, buffer: &mut Buffer, state: &mut TableState, theme: &Theme, glyphs: &Glyphs) {
        let gutter = if self.marks { 2 } else { 0 };
        let inner = Rect { x: area.x + gutter, width: area.width.saturating_sub(gutter), ..area };
        let stacked = self.stacked && self.columns.len() > 2 && area.height > 4;
        let widths = if stacked { stack(self.columns, inner.width) } else { fit(self.columns, inner.width) };
        let head = u16::from(area.height > 3 && !stacked && self.columns.iter().any(|c| !c.title.is_empty()));
        state.area = Rect { y: area.y + head, height: area.height - head.min(area.height), ..area };
        state.lines = if stacked { 2 } else { 1 };
        state.headings.clear();
        state.settle(self.len);
        if head == 1 {
            self.headings(inner, &widths, buffer, state, (theme, glyphs));
        }
        for (line, number) in (state.offset..self.len).take(state.visible()).enumerate() {
            let y = state.area.y + line as u16 * state.lines;
            let row = (self.row)(number);
            let mut ink = Ink { buffer: &mut *buffer, theme, glyphs, under: row.style };
            for place in &widths {
                let Some(cell) = row.cells.get(place.column) else { continue };
                let at = (inner.x + place.x, y + place.line);
                cell.draw(at, place.width, self.columns[place.column].right, &mut ink);
            }
            if row.marked && self.marks {
                buffer.set_string(area.x, y, glyphs.mark, theme.marked);
            }
            if number == state.selected {
                let row_area = Rect { y, height: state.lines, ..area };
                self.select(row_area.intersection(state.area), buffer, theme, glyphs);
            }
        }
    }

    fn headings(
        &self,
        area: Rect,
        widths: &[Place],
        buffer: &mut Buffer,
        state: &mut TableState,
        look: (&Theme, &Glyphs),
    ) {
        let (theme, glyphs) = look;
        for place in widths {
            let column = &self.columns[place.column];
            let (x, end) = (area.x + place.x, area.x + place.x + place.width);
            let mut parts = vec![Span::styled(column.title, theme.dim)];
            let here = column.sort.zip(self.sort).filter(|(mine, (by, _))| mine == by);
            if let Some((_, (_, down))) = here {
                parts = vec![Span::styled(column.title, theme.strong)];
                parts.push(Span::styled(glyphs.sort[usize::from(down)], theme.focus));
            }
            let mut ink = Ink { buffer: &mut *buffer, theme, glyphs, under: Style::new() };
            Cell::of(parts, 0, super::cell::Cut::End).draw((x, area.y), place.width, column.right, &mut ink);
            state.headings.extend(column.sort.map(|by| (x, end, by)));
        }
    }

    fn select(&self, area: Rect, buffer: &mut Buffer, theme: &Theme, glyphs: &Glyphs) {
        let style = if self.focused { theme.selection } else { theme.selection_idle };
        if self.focused && !theme.selection_keeps_colours() {
            for position in area.positions() {
                if let Some(cell) = buffer.cell_mut(position) {
                    cell.modifier.remove(Modifier::DIM);
                    cell.fg = style.fg.unwrap_or_default();
                    cell.bg = style.bg.unwrap_or_default();
                }
            }
        }
        let keep = Style { fg: style.fg.filter(|_| !theme.selection_keeps_colours()), ..style };
        buffer.set_style(area, keep);
        let sign = if self.focused { theme.focus } else { theme.dim };
        for y in area.y..area.bottom() {
            if let Some(cell) = area.x.checked_sub(1).and_then(|x| buffer.cell_mut((x, y))) {
                cell.set_symbol(glyphs.cursor).set_style(sign);
            }
        }
    }
}

/// Where a column goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    column: usize,
    x: u16,
    width: u16,
    line: u16,
}

fn least(column: &Column, tight: bool) -> u16 {
    match column.width {
        Width::Cells(cells) | Width::Grows(cells) => cells,
        Width::Shrinks(full, small) | Width::Name(full, small) => {
            if tight {
                small
            } else {
                full
            }
        }
    }
}

/// Chooses the columns that have room in `room` cells and gives them their widths: first columns that can shrink do,
/// then columns leave by rank.
fn fit(columns: &[Column], room: u16) -> Vec<Place> {
    let mut kept: Vec<usize> = (0..columns.len()).filter(|&c| least(&columns[c], false) > 0).collect();
    let need = |kept: &[usize], tight| -> u16 {
        let cells: u16 = kept.iter().map(|&c| least(&columns[c], tight)).sum();
        cells + GAP * (kept.len().max(1) as u16 - 1)
    };
    let mut tight = false;
    while need(&kept, tight) > room {
        let last = (0..kept.len()).max_by_key(|&i| columns[kept[i]].rank).filter(|&i| columns[kept[i]].rank > 0);
        match last {
            Some(at) if tight || columns[kept[at]].rank >= SPARE => drop(kept.remove(at)),
            _ if !tight => tight = true,
            _ => break,
        }
    }
    tight &= need(&kept, false) > room;
    let growing = kept.iter().filter(|&&c| columns[c].grows()).count() as u16;
    let mut spare = room.saturating_sub(need(&kept, tight));
    let mut left = growing;
    let mut x = 0;
    let mut places = Vec::with_capacity(kept.len());
    for column in kept {
        let mut width = least(&columns[column], tight);
        if columns[column].grows() {
            let share = spare / left.max(1);
            (width, spare, left) = (width + share, spare - share, left - 1);
        }
        let width = width.min(room.saturating_sub(x));
        places.push(Place { column, x, width, line: 0 });
        x += width + GAP;
    }
    places.retain(|place| place.width > 0);
    places
}

/// Columns this narrow stay beside the name where rows take two lines.
const NARROW: u16 = 4;

/// Two lines a row: on the first what grows, with the narrow columns before it; on the second the rest, as far as it
/// fits.
fn stack(columns: &[Column], room: u16) -> Vec<Place> {
    let grows = columns.iter().position(Column::grows).unwrap_or(0);
    let beside = |at: usize| at < grows && least(&columns[at], true) <= NARROW;
    let mut places = Vec::new();
    let mut x = 0;
    for column in (0..grows).filter(|&at| beside(at)).chain([grows]) {
        let width = if column == grows { room } else { least(&columns[column], true) }.min(room.saturating_sub(x));
        places.push(Place { column, x, width, line: 0 });
        x += width + u16::from(width > 0);
    }
    let indent = places.last().map_or(0, |name| name.x);
    let rest: Vec<usize> = (0..columns.len()).filter(|&at| at != grows && !beside(at)).collect();
    let below: Vec<Column> = rest.iter().map(|&at| columns[at]).collect();
    let below = fit(&below, room.saturating_sub(indent)).into_iter();
    places.extend(below.map(|p| Place { column: rest[p.column], x: p.x + indent, line: 1, ..p }));
    places.retain(|place| place.width > 0);
    places
}

/// `3/1000`, for the border.
pub fn position(selected: usize, len: usize) -> String {
    if len == 0 { String::new() } else { format!("{}/{len}", selected.min(len - 1) + 1) }
}

/// The number of cells a heading or cell text takes.
pub fn cells(text_: &str) -> u16 {
    text::width(text_) as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::glyphs::UNICODE;

    const COLUMNS: [Column; 4] = [
        Column::new("name", Width::Grows(8)).sort(0),
        Column::new("digest", Width::Shrinks(12, 8)),
        Column::new("form", Width::Cells(4)).rank(2),
        Column::new("size", Width::Cells(9)).right().sort(1),
    ];

    fn names(room: u16) -> Vec<(&'static str, u16)> {
        fit(&COLUMNS, room).iter().map(|p| (COLUMNS[p.column].title, p.width)).collect()
    }

    fn row(n: usize) -> Row<'static> {
        let cells = [format!("tag-{n}"), "0123456789ab".into(), "img".into(), format!("{n} B")];
        Row::from(cells.map(Cell::text).to_vec())
    }

    fn drawn(area: Rect, len: usize, state: &mut TableState) -> Buffer {
        let mut buffer = Buffer::empty(Rect { x: 0, y: 0, width: area.right(), height: area.bottom() });
        let table = Table {
            columns: &COLUMNS,
            len,
            row: &row,
            sort: Some((1, true)),
            focused: true,
            marks: false,
            stacked: area.width < 40,
        };
        table.draw(area, &mut buffer, state, &Theme::terminal(), &UNICODE);
        buffer
    }

    fn line(buffer: &Buffer, y: u16) -> String {
        (0..buffer.area.width).map(|x| buffer[(x, y)].symbol()).collect::<String>().trim_end().to_owned()
    }

    #[test]
    fn narrow_places_shrink_columns_first_and_then_drop_them() {
        assert_eq!(names(60), [("name", 32), ("digest", 12), ("form", 4), ("size", 9)]);
        assert_eq!(names(34), [("name", 10), ("digest", 8), ("form", 4), ("size", 9)]);
        assert_eq!(names(31), [("name", 8), ("digest", 12), ("size", 9)]);
        assert_eq!(names(28), [("name", 9), ("digest", 8), ("size", 9)]);
        assert!(fit(&COLUMNS, 5).iter().all(|p| p.x + p.width <= 5));
    }

    #[test]
    fn rows_scroll_with_the_cursor_and_only_those_shown_are_built() {
        let mut state = TableState::default();
        let area = Rect::new(1, 0, 60, 11);
        drawn(area, 100_000, &mut state);
        state.select(70_000);
        let buffer = drawn(area, 100_000, &mut state);
        assert!(line(&buffer, 8).starts_with("▌tag-70000"), "{}", line(&buffer, 8));
        assert!(line(&buffer, 0).contains("size▾"));
        state.step(-100_000, 100_000);
        assert_eq!(state.selected(), 0);
        state.step(isize::MAX, 100_000);
        assert_eq!(state.selected(), 99_999);
    }

    #[test]
    fn a_list_that_shrinks_takes_the_cursor_along() {
        let mut state = TableState::default();
        state.select(50);
        let buffer = drawn(Rect::new(1, 0, 60, 11), 3, &mut state);
        assert_eq!(state.selected(), 2);
        assert!(line(&buffer, 3).starts_with("▌tag-2"));
        drawn(Rect::new(1, 0, 60, 11), 0, &mut state);
        assert_eq!(state.selected(), 0);
    }

    #[test]
    fn the_mouse_finds_rows_and_headings() {
        let mut state = TableState::default();
        drawn(Rect::new(1, 2, 60, 11), 5, &mut state);
        assert_eq!(state.hit(Position::new(10, 4), 5), Some(Hit::Row(1)));
        assert_eq!(state.hit(Position::new(10, 9), 5), None);
        assert_eq!(state.hit(Position::new(1, 2), 5), Some(Hit::Heading(0)));
        assert_eq!(state.hit(Position::new(58, 2), 5), Some(Hit::Heading(1)));
        assert_eq!(state.hit(Position::new(58, 1), 5), None);
    }

    #[test]
    fn very_narrow_tables_take_two_lines_a_row() {
        let mut state = TableState::default();
        let buffer = drawn(Rect::new(1, 0, 37, 10), 3, &mut state);
        assert_eq!(line(&buffer, 0), "▌tag-0");
        assert!(line(&buffer, 1).starts_with("▌0123456789ab"), "{}", line(&buffer, 1));
        assert!(line(&buffer, 1).ends_with("0 B"));
        assert_eq!(state.hit(Position::new(5, 3), 3), Some(Hit::Row(1)));
    }
}
