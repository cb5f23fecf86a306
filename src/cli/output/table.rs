//! Rows in aligned columns for people, and the same rows as TSV for programs. Cells hold values; how they look is
//! decided here, and every text from outside is made safe here.

use super::Look;
use super::paint::Tone;
use crate::model::digest::{self, Digest};
use crate::model::text;
use crate::model::units::{self, Bytes};
use jiff::Timestamp;
use std::borrow::Cow;

/// What stands in a cell.
#[derive(Clone, Debug)]
pub(in crate::cli) enum Value {
    /// Unknown.
    None,
    /// Text, which may come from outside.
    Text(String),
    /// Text that must stay whole when it is copied; it is never cut.
    Whole(String),
    /// A sentence; digests in it are shown as such.
    Words(String),
    /// A digest; twelve digits of it, or all.
    Digest(Digest),
    /// Bytes.
    Size(u64),
    /// More or fewer bytes than before.
    Delta(i64),
    /// A number of things.
    Count(u64),
    /// A time, shown as an age.
    Time(Timestamp),
}

/// A cell: its value and what colour tells of it.
#[derive(Clone, Debug)]
pub(in crate::cli) struct Cell {
    value: Value,
    tone: Tone,
}

impl Cell {
    pub(in crate::cli) fn new(value: Value) -> Self {
        Self { value, tone: Tone::Plain }
    }

    pub(in crate::cli) fn text(text: impl Into<String>) -> Self {
        Self::new(Value::Text(text.into()))
    }

    pub(in crate::cli) fn digest(digest: impl Into<Option<Digest>>) -> Self {
        Self::new(digest.into().map_or(Value::None, Value::Digest))
    }

    pub(in crate::cli) fn size(bytes: impl Into<Option<u64>>) -> Self {
        Self::new(bytes.into().map_or(Value::None, Value::Size))
    }

    pub(in crate::cli) fn count(count: impl Into<Option<u64>>) -> Self {
        Self::new(count.into().map_or(Value::None, Value::Count))
    }

    pub(in crate::cli) fn time(time: Option<Timestamp>) -> Self {
        Self::new(time.map_or(Value::None, Value::Time))
    }

    /// For an optional text.
    pub(in crate::cli) fn known(text: Option<impl Into<String>>) -> Self {
        Self::new(text.map_or(Value::None, |t| Value::Text(t.into())))
    }

    pub(in crate::cli) fn tone(mut self, tone: Tone) -> Self {
        self.tone = tone;
        self
    }

    fn is_known(&self) -> bool {
        !matches!(self.value, Value::None)
    }

    /// As people read it; safe.
    fn show(&self, look: &Look) -> String {
        match &self.value {
            Value::None => "-".to_owned(),
            Value::Text(text) if text.is_empty() => "-".to_owned(),
            Value::Words(words) if !look.whole => text::safe(&digest::shorten(words)).into_owned(),
            Value::Text(text) | Value::Whole(text) | Value::Words(text) => text::safe(text).into_owned(),
            Value::Digest(digest) if look.whole => digest.to_string(),
            Value::Digest(digest) => digest.short(),
            Value::Size(bytes) => Bytes(*bytes).show(look.sizes),
            Value::Delta(0) => "0".to_owned(),
            Value::Delta(delta) => {
                let sign = if *delta < 0 { '-' } else { '+' };
                format!("{sign}{}", Bytes(delta.unsigned_abs()).show(look.sizes))
            }
            Value::Count(count) => count.to_string(),
            Value::Time(time) => units::age(look.now, *time),
        }
    }

    /// As programs read it; safe, but never cut.
    fn raw(&self) -> Cow<'_, str> {
        match &self.value {
            Value::None => "".into(),
            Value::Text(text) | Value::Whole(text) | Value::Words(text) => text::tsv_cell(text),
            Value::Digest(digest) => digest.to_string().into(),
            Value::Size(number) | Value::Count(number) => number.to_string().into(),
            Value::Delta(delta) => delta.to_string().into(),
            Value::Time(time) => units::rfc3339(*time).into(),
        }
    }
}

/// Where a text that does not fit is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    Never,
    End,
    Middle,
}

/// A column of rows of `T`.
pub(in crate::cli) struct Column<T> {
    cell: fn(&T) -> Cell,
    head: Head,
    wide: bool,
    if_known: bool,
}

impl<T> Column<T> {
    /// A column of words.
    pub(in crate::cli) fn words(title: &'static str, cell: fn(&T) -> Cell) -> Self {
        let head = Head { title, field: None, right: false, cut: Cut::Never, drop: 0 };
        Self { cell, head, wide: false, if_known: false }
    }

    /// A column of numbers.
    pub(in crate::cli) fn numbers(title: &'static str, cell: fn(&T) -> Cell) -> Self {
        let mut column = Self::words(title, cell);
        column.head.right = true;
        column
    }

    /// Only in `--format wide` and `tsv`.
    pub(in crate::cli) fn wide(mut self) -> Self {
        self.wide = true;
        self
    }

    /// Left out of tables in which no row has it.
    pub(in crate::cli) fn if_known(mut self) -> Self {
        self.if_known = true;
        self
    }

    /// The field of the JSON that it shows, where that is called otherwise: the column's title in TSV.
    pub(in crate::cli) fn field(mut self, field: &'static str) -> Self {
        self.head.field = Some(field);
        self
    }

    /// Left out where the terminal is too narrow for all: the column with 1 first, then that with 2.
    pub(in crate::cli) fn drop(mut self, turn: u8) -> Self {
        self.head.drop = turn;
        self
    }

    /// Texts may lose their ends where the terminal is narrow.
    pub(in crate::cli) fn cut_end(mut self) -> Self {
        self.head.cut = Cut::End;
        self
    }

    /// Texts may lose their middles, for names that differ at their ends.
    pub(in crate::cli) fn cut_middle(mut self) -> Self {
        self.head.cut = Cut::Middle;
        self
    }
}

/// The narrowest that a column is cut to.
const LEAST: usize = 8;

/// What sentences need to be of use, and what names do: before they get less, other columns go.
const COMFORT: usize = 28;
const COMFORT_OF_NAMES: usize = 16;

/// Between columns.
const GAP: &str = "  ";

/// A table without its rows' type.
pub(in crate::cli) struct Table {
    heads: Vec<Head>,
    rows: Vec<Vec<Cell>>,
}

/// A column without its rows' type.
#[derive(Clone, Copy)]
struct Head {
    title: &'static str,
    field: Option<&'static str>,
    right: bool,
    cut: Cut,
    drop: u8,
}

impl Table {
    /// A table with `columns`; with all of them if `wide`.
    pub(in crate::cli) fn new<T>(columns: &[Column<T>], rows: &[&T], wide: bool) -> Self {
        let is_known = |column: &Column<T>| rows.iter().any(|row| (column.cell)(row).is_known());
        let is_shown = |column: &&Column<T>| wide || !column.wide && (!column.if_known || is_known(column));
        let columns: Vec<&Column<T>> = columns.iter().filter(is_shown).collect();
        Self {
            heads: columns.iter().map(|column| column.head).collect(),
            rows: rows.iter().map(|row| columns.iter().map(|c| (c.cell)(row)).collect()).collect(),
        }
    }

    /// Puts a column before the others, with a text for each row.
    pub(in crate::cli) fn prefixed(mut self, title: &'static str, texts: impl Iterator<Item = String>) -> Self {
        self.heads.insert(0, Head { title, field: None, right: false, cut: Cut::Middle, drop: 0 });
        self.rows.iter_mut().zip(texts).for_each(|(row, text)| row.insert(0, Cell::text(text)));
        self
    }

    /// Lines of aligned columns, within `width` cells if one is given. Without rows there are no lines.
    pub(in crate::cli) fn lines(&self, look: &Look, width: Option<usize>) -> Vec<String> {
        if self.rows.is_empty() {
            return Vec::new();
        }
        let shown: Vec<Vec<String>> =
            self.rows.iter().map(|row| row.iter().map(|cell| cell.show(look)).collect()).collect();
        let mut columns: Vec<Fitted> =
            self.heads.iter().enumerate().map(|(at, head)| Fitted::of(at, head, &shown)).collect();
        if let Some(width) = width {
            fit(&mut columns, width);
        }
        let head = |column: &Fitted| (column.head.title, Tone::Dim);
        let mut lines = vec![line(&columns, head, look)];
        for (row, texts) in self.rows.iter().zip(&shown) {
            let cell = |column: &Fitted| (texts[column.at].as_str(), row[column.at].tone);
            lines.push(line(&columns, cell, look));
        }
        lines
    }

    /// The whole table as TSV with a line of titles.
    pub(in crate::cli) fn tsv(&self) -> Vec<String> {
        let of_title = |title: &str| title.to_ascii_lowercase().replace(['-', ':'], "_");
        let titles = self.heads.iter().map(|h| h.field.map_or_else(|| of_title(h.title), str::to_owned));
        let mut lines = vec![titles.collect::<Vec<_>>().join("\t")];
        for row in &self.rows {
            lines.push(row.iter().map(Cell::raw).collect::<Vec<_>>().join("\t"));
        }
        lines
    }
}

/// A column on its way to the screen.
#[derive(Clone, Copy)]
struct Fitted {
    /// Its place among all columns.
    at: usize,
    head: Head,
    width: usize,
}

impl Fitted {
    fn of(at: usize, head: &Head, rows: &[Vec<String>]) -> Self {
        let widest = rows.iter().map(|row| text::width(&row[at])).max().unwrap_or(0);
        Self { at, head: *head, width: widest.max(head.title.len()) }
    }

    /// The narrowest it should become while there are columns to drop.
    fn comfort(&self) -> usize {
        match self.head.cut {
            Cut::Never => self.width,
            Cut::End => self.width.min(COMFORT),
            Cut::Middle => self.width.min(COMFORT_OF_NAMES),
        }
    }

    /// The narrowest it may become.
    fn least(&self) -> usize {
        if self.head.cut == Cut::Never { self.width } else { self.width.min(LEAST.max(self.head.title.len())) }
    }
}

fn line<'a>(columns: &'a [Fitted], cell: impl Fn(&'a Fitted) -> (&'a str, Tone), look: &Look) -> String {
    let mut line = String::new();
    for (nth, column) in columns.iter().enumerate() {
        let (text, tone) = cell(column);
        let text = match column.head.cut {
            Cut::Never => Cow::Borrowed(text),
            Cut::End => text::fit_end(text, column.width, look.ellipsis()),
            Cut::Middle => text::fit_middle(text, column.width, look.ellipsis()),
        };
        let blanks = " ".repeat(column.width.saturating_sub(text::width(&text)));
        let painted = tone.paint(&text, look.colour);
        line.push_str(if nth == 0 { "" } else { GAP });
        if column.head.right {
            line.extend([blanks, painted]);
        } else {
            line.extend([painted, blanks]);
        }
    }
    line.truncate(line.trim_end_matches(' ').len());
    line
}

/// Makes columns narrower until all fit into `width`: those that may be cut give cells, the widest first; where that
/// is not enough, columns that may be dropped go in their turn.
fn fit(columns: &mut Vec<Fitted>, width: usize) {
    let gaps = |columns: &[Fitted]| GAP.len() * columns.len().saturating_sub(1);
    while columns.iter().map(Fitted::comfort).sum::<usize>() + gaps(columns) > width {
        let next = columns.iter().filter(|c| c.head.drop > 0).min_by_key(|c| c.head.drop).map(|c| c.at);
        let Some(next) = next else { break };
        columns.retain(|column| column.at != next);
    }
    let taken = columns.iter().map(|c| c.width).sum::<usize>() + gaps(columns);
    for _ in 0..taken.saturating_sub(width) {
        let widest = columns.iter_mut().filter(|c| c.width > c.least()).max_by_key(|c| c.width);
        let Some(widest) = widest else { return };
        widest.width -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::units::SizeStyle;

    fn look() -> Look {
        Look { colour: false, ascii: true, whole: false, sizes: SizeStyle::Iec, now: Timestamp::UNIX_EPOCH }
    }

    fn table() -> Table {
        let columns: [Column<(&str, u64)>; 2] = [
            Column::words("TAG", |(tag, _): &(&str, u64)| Cell::text(*tag)).cut_middle(),
            Column::numbers("SIZE", |(_, size): &(&str, u64)| Cell::size(*size)),
        ];
        Table::new(&columns, &[&("release-2026-08-01", 2048), &("日本\u{1b}[31m", 5)], false)
    }

    #[test]
    fn columns_line_up_and_text_is_safe() {
        let lines = table().lines(&look(), None);
        assert_eq!(
            lines,
            ["TAG                    SIZE", "release-2026-08-01  2.0 KiB", "日本\\x1b[31m            5 B",]
        );
    }

    #[test]
    fn narrow_terminals_cut_names_but_not_numbers() {
        let lines = table().lines(&look(), Some(20));
        assert_eq!(lines[1], "rele..08-01  2.0 KiB");
        assert!(lines.iter().all(|l| text::width(l) <= 20), "{lines:#?}");
    }

    #[test]
    fn columns_go_in_their_turn_before_the_terminal_is_overrun() {
        let columns: [Column<u64>; 3] = [
            Column::numbers("COUNT", |n: &u64| Cell::count(*n)).drop(2),
            Column::numbers("SIZE", |n: &u64| Cell::size(*n)),
            Column::words("LONG TITLE", |_: &u64| Cell::text("x")).drop(1),
        ];
        let table = Table::new(&columns, &[&7], false);
        let at = |width| table.lines(&look(), Some(width))[0].clone();
        assert_eq!(at(22), "COUNT  SIZE");
        assert_eq!(at(23), "COUNT  SIZE  LONG TITLE");
        assert_eq!(at(10), "SIZE");
        assert_eq!(at(1), "SIZE");
    }

    #[test]
    fn tsv_has_plain_values() {
        assert_eq!(table().tsv(), ["tag\tsize", "release-2026-08-01\t2048", "日本\\x1b[31m\t5"]);
    }

    #[test]
    fn no_rows_no_table() {
        let columns: [Column<u64>; 1] = [Column::numbers("N", |n: &u64| Cell::count(*n))];
        assert!(Table::new(&columns, &[], false).lines(&look(), None).is_empty());
    }
}
