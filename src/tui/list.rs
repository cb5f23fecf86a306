//! The rows of a table as the user arranged them: filtered, sorted, marked. The cursor and the marks hold on to what
//! they are on, not to a row number, so they survive filters, other orders and reloads.

use crate::error::Result;
use crate::model::filter::{self, Field, Filter};
use crate::tui::keys::Action;
use crate::tui::screen::Mouse;
use crate::tui::widgets::table::{Hit, TableState, position};
use jiff::Timestamp;
use std::cmp::Ordering;
use std::collections::HashSet;
use std::hash::Hash;

/// Rows of things known by a `K`.
#[derive(Clone, Debug)]
pub struct List<K> {
    /// Cursor and scroll offset.
    pub state: TableState,
    /// Source rows that are shown, in order.
    shown: Vec<u32>,
    /// What each source row is known by.
    keys: Vec<K>,
    cursor: Option<K>,
    marks: HashSet<K>,
    /// Where a range of marks began.
    anchor: Option<usize>,
    /// What rows are sorted by, and whether downwards.
    pub sort: (u8, bool),
    /// Whether a column is looked at downwards first: numbers are, names are not.
    falls: fn(u8) -> bool,
    filter: Filter,
}

/// How the rows of one table compare and what they are known by.
pub struct Source<'a, K, R> {
    /// Rows there are.
    pub len: usize,
    /// What row `n` is known by.
    pub key: &'a dyn Fn(usize) -> K,
    /// Row `n` for the filter.
    pub row: &'a dyn Fn(usize) -> R,
    /// Whether row `n` is of a kind that is shown at all.
    pub kind: &'a dyn Fn(usize) -> bool,
    /// The order of two rows by column `by`, upwards.
    pub order: &'a dyn Fn(u8, usize, usize) -> Ordering,
    /// The time, for ages in filters.
    pub now: Timestamp,
}

impl<K: Copy + Eq + Hash> List<K> {
    /// No rows yet, to be sorted by `by`; `falls` says of each column whether its largest comes first.
    pub fn new(by: u8, falls: fn(u8) -> bool) -> Self {
        List {
            state: TableState::default(),
            shown: Vec::new(),
            keys: Vec::new(),
            cursor: None,
            marks: HashSet::new(),
            anchor: None,
            sort: (by, falls(by)),
            falls,
            filter: Filter::default(),
        }
    }

    /// Filters and sorts anew. The cursor stays on its thing if that is still shown.
    pub fn arrange<R: filter::Row>(&mut self, source: &Source<'_, K, R>) {
        let filter = &mut self.filter;
        let mut passes = |n: &u32| {
            let n = *n as usize;
            (source.kind)(n) && (filter.is_empty() || filter.matches(&(source.row)(n), source.now))
        };
        self.shown = (0..source.len as u32).filter(|n| passes(n)).collect();
        let (by, down) = self.sort;
        self.shown.sort_by(|&a, &b| {
            let order = (source.order)(by, a as usize, b as usize);
            (if down { order.reverse() } else { order }).then(a.cmp(&b))
        });
        self.keys = (0..source.len).map(|n| (source.key)(n)).collect();
        self.anchor = None;
        if let Some(cursor) = self.cursor {
            let at = self.shown.iter().position(|&n| self.keys[n as usize] == cursor);
            self.state.select(at.unwrap_or(self.state.selected()));
        }
        self.state.step(0, self.shown.len());
    }

    /// Source row of shown row `at`.
    pub fn source(&self, at: usize) -> Option<usize> {
        self.shown.get(at).map(|&n| n as usize)
    }

    /// Source row under the cursor.
    pub fn current(&self) -> Option<usize> {
        self.source(self.state.selected())
    }

    /// Rows shown.
    pub fn len(&self) -> usize {
        self.shown.len()
    }

    /// Whether no row is shown.
    pub fn is_empty(&self) -> bool {
        self.shown.is_empty()
    }

    /// `3/1000`, with how many were filtered away.
    pub fn position(&self) -> String {
        let position = position(self.state.selected(), self.len());
        match (self.len(), self.keys.len()) {
            (shown, all) if shown == all => position,
            (0, all) => format!("0 of {all}"),
            (_, all) => format!("{position} of {all}"),
        }
    }

    /// Puts the cursor on the thing known by `key` now or as soon as it is there.
    pub fn aim(&mut self, key: K) {
        self.cursor = Some(key);
    }

    /// Filters by `text`; the rows follow with the next [`List::arrange`]. `Invalid` if it is no filter for `fields`.
    pub fn filter(&mut self, text: &str, fields: &[Field]) -> Result<()> {
        self.filter = Filter::parse(text, fields)?;
        Ok(())
    }

    /// The filter as typed.
    pub fn filter_text(&self) -> &str {
        self.filter.source()
    }

    /// Whether the thing known by `key` is marked.
    pub fn is_marked(&self, key: &K) -> bool {
        self.marks.contains(key)
    }

    /// What is marked.
    pub fn marks(&self) -> &HashSet<K> {
        &self.marks
    }

    /// What shown row `at` is known by.
    fn key(&self, at: usize) -> Option<K> {
        self.source(at).and_then(|n| self.keys.get(n)).copied()
    }

    /// Moves, marks or sorts as `action` says; `false` if it is none of a list's.
    pub fn act(&mut self, action: Action) -> bool {
        if walk(&mut self.state, action, self.shown.len()) {
            self.hold();
            return true;
        }
        match action {
            Action::Mark => {
                self.turn_mark();
                self.state.step(1, self.len());
                self.hold();
            }
            Action::Range => match self.anchor.take() {
                None => self.anchor = Some(self.state.selected()),
                Some(anchor) => self.mark_between(anchor),
            },
            Action::MarkAll => {
                let all: Vec<K> = (0..self.len()).filter_map(|at| self.key(at)).collect();
                if all.iter().all(|k| self.marks.contains(k)) {
                    all.iter().for_each(|k| {
                        self.marks.remove(k);
                    });
                } else {
                    self.marks.extend(all);
                }
            }
            Action::Invert => {
                for k in (0..self.len()).filter_map(|at| self.key(at)).collect::<Vec<K>>() {
                    if !self.marks.remove(&k) {
                        self.marks.insert(k);
                    }
                }
            }
            Action::Reverse => self.sort.1 = !self.sort.1,
            _ => return false,
        }
        true
    }

    /// Remembers what the cursor is on.
    fn hold(&mut self) {
        self.cursor = self.key(self.state.selected());
    }

    fn turn_mark(&mut self) {
        if let Some(k) = self.key(self.state.selected())
            && !self.marks.remove(&k)
        {
            self.marks.insert(k);
        }
    }

    fn mark_between(&mut self, anchor: usize) {
        let here = self.state.selected();
        let keys: Vec<K> = (anchor.min(here)..=anchor.max(here)).filter_map(|at| self.key(at)).collect();
        self.marks.extend(keys);
    }

    /// Whether shown row `at` is marked, or about to be.
    pub fn shows_mark(&self, at: usize) -> bool {
        self.in_range(at) || self.key(at).is_some_and(|k| self.marks.contains(&k))
    }

    /// Whether shown row `at` is in the range being drawn up.
    fn in_range(&self, at: usize) -> bool {
        let here = self.state.selected();
        self.anchor.is_some_and(|anchor| (anchor.min(here)..=anchor.max(here)).contains(&at))
    }

    /// Sorts by column `by`, or the other way round if it is sorted by that already.
    pub fn sort_by(&mut self, by: u8) {
        self.sort = if self.sort.0 == by { (by, !self.sort.1) } else { (by, (self.falls)(by)) };
    }

    /// Gives up the innermost thing there is to give up: range, filter, marks. `false` if there is none.
    pub fn escape(&mut self) -> bool {
        if self.anchor.take().is_some() {
            return true;
        }
        if !self.filter.is_empty() {
            self.filter = Filter::default();
            return true;
        }
        let marked = !self.marks.is_empty();
        self.marks.clear();
        marked
    }

    /// Follows the mouse. A click on the heading it is sorted by turns the order round.
    pub fn mouse(&mut self, mouse: Mouse) -> Clicked {
        if let Mouse::Wheel(_, by) = mouse {
            self.state.scroll(by, self.len());
            self.hold();
            return Clicked::Moved;
        }
        match self.state.hit(mouse.at(), self.len()) {
            Some(Hit::Heading(by)) if matches!(mouse, Mouse::Click(_) | Mouse::Double(_)) => {
                self.sort_by(by);
                Clicked::Sorted
            }
            Some(Hit::Row(row)) => {
                let from = self.state.selected();
                self.state.select(row);
                self.hold();
                if matches!(mouse, Mouse::Drag(_)) {
                    self.mark_between(from);
                }
                if matches!(mouse, Mouse::Double(_)) { Clicked::Opened } else { Clicked::Moved }
            }
            _ => Clicked::Nothing,
        }
    }
}

/// Moves the cursor of `len` rows as `action` says; `false` if it moves nothing.
pub fn walk(state: &mut TableState, action: Action, len: usize) -> bool {
    let by = action.distance(state.visible());
    state.step(by.unwrap_or(0), len);
    by.is_some()
}

/// What the mouse did to a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clicked {
    /// Cursor or scroll offset moved.
    Moved,
    /// The order is another one: arrange anew.
    Sorted,
    /// The row under the cursor is to be opened.
    Opened,
    /// Nothing was hit.
    Nothing,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::filter::{FieldKind, Value};
    use std::borrow::Cow;

    struct Named(String);

    impl filter::Row for Named {
        fn fields() -> &'static [Field] {
            const FIELDS: &[Field] = &[Field::new("name", FieldKind::Text)];
            FIELDS
        }
        fn field(&self, _: &str) -> Option<Value<'_>> {
            Some(Value::Text(Cow::Borrowed(&self.0)))
        }
        fn text(&self) -> Cow<'_, str> {
            Cow::Borrowed(&self.0)
        }
    }

    fn arrange(list: &mut List<usize>, names: &[&str]) {
        let source = Source {
            len: names.len(),
            key: &|n| names[n].len(),
            row: &|n| Named(names[n].to_owned()),
            kind: &|_| true,
            order: &|_, a, b| names[a].cmp(names[b]),
            now: Timestamp::UNIX_EPOCH,
        };
        list.arrange(&source);
    }

    const NAMES: [&str; 4] = ["dddd", "a", "ccc", "bb"];

    #[test]
    fn the_cursor_stays_on_its_thing() {
        let mut list = List::new(0, |_| false);
        arrange(&mut list, &NAMES);
        list.act(Action::Down);
        assert_eq!(list.current(), Some(3));
        list.act(Action::Reverse);
        arrange(&mut list, &NAMES);
        assert_eq!((list.current(), list.state.selected()), (Some(3), 2));
        list.filter("!bb", Named::fields_for_test()).unwrap();
        arrange(&mut list, &NAMES);
        assert_eq!(list.position(), "3/3 of 4");
        assert!(list.escape());
        arrange(&mut list, &NAMES);
        assert_eq!(list.current(), Some(3));
    }

    impl Named {
        fn fields_for_test() -> &'static [Field] {
            <Named as filter::Row>::fields()
        }
    }

    #[test]
    fn marks_survive_filters_and_come_in_ranges() {
        let mut list = List::new(0, |_| false);
        arrange(&mut list, &NAMES);
        list.act(Action::Range);
        list.act(Action::Down);
        assert!(list.in_range(0) && list.in_range(1) && !list.in_range(2));
        list.act(Action::Range);
        assert_eq!(list.marks().len(), 2);
        list.filter("name=ccc", Named::fields_for_test()).unwrap();
        arrange(&mut list, &NAMES);
        list.act(Action::MarkAll);
        assert_eq!(list.marks().len(), 3);
        list.act(Action::MarkAll);
        assert_eq!(list.marks().len(), 2);
        assert!(list.escape(), "the filter goes first");
        assert!(list.escape(), "then the marks");
        assert!(!list.escape());
    }
}
