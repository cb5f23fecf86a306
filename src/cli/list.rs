//! Filters, order and limit: what every command that lists something takes.

use super::output::{Item, Output, Section};
use crate::error::{Error, Result};
use crate::model::filter::{Field, FieldKind, Filter, Row as _, Value};
use crate::model::text;
use clap::{Args, ValueEnum};
use jiff::Timestamp;
use std::cmp::Ordering;

/// Options of a list.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct ListArgs {
    /// Only what fits: 'size>1GiB age>30d tag~=^rel'
    #[arg(long, short = 'f', value_name = "FILTER", allow_hyphen_values = true, help_heading = "List options")]
    filter: Vec<String>,

    /// Order by these fields: size,age
    #[arg(long, short = 's', value_name = "FIELDS", value_delimiter = ',', help_heading = "List options")]
    sort: Vec<String>,

    /// asc or desc; by itself words go up, numbers and times down
    #[arg(
        long,
        value_enum,
        value_name = "ORDER",
        requires = "sort",
        hide_possible_values = true,
        help_heading = "List options"
    )]
    order: Option<Order>,

    /// At most so many
    #[arg(long, short = 'L', value_name = "N", help_heading = "List options")]
    limit: Option<usize>,

    /// Cut nothing, digests neither
    #[arg(long, help_heading = "List options")]
    no_trunc: bool,
}

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Order {
    /// Smallest first.
    Asc,
    /// Largest first.
    Desc,
}

/// What of a list is wanted, and in which order.
#[derive(Debug)]
pub(super) struct Selection {
    filter: Filter,
    /// Fields, and whether the largest come first.
    sort: Vec<(&'static str, bool)>,
    limit: usize,
}

impl ListArgs {
    /// Reads the options for a list of `T`; before anything is loaded, so that a mistake is told at once.
    pub(super) fn selection<T: Item>(&self, out: &mut Output) -> Result<Selection> {
        out.look.whole = self.no_trunc;
        let fields = T::fields();
        let filter = Filter::parse(&self.filter.join(" "), fields)?;
        let mut sort = Vec::new();
        for name in &self.sort {
            let field = Field::called(name, fields).ok_or_else(|| {
                let names = || fields.iter().map(|f| f.name);
                let meant = text::nearest(name, names()).map(|m| format!("did you mean {m}? ")).unwrap_or_default();
                Error::invalid(format!("no field {} to sort by", text::safe(name)))
                    .with_hint(format!("{meant}fields here: {}", names().collect::<Vec<_>>().join(", ")))
            })?;
            let largest_first = match self.order {
                // The youngest is what was made last.
                Some(order) if field.name == "age" => order == Order::Asc,
                Some(order) => order == Order::Desc,
                None => matches!(field.kind, FieldKind::Size | FieldKind::Count | FieldKind::Time | FieldKind::Flag),
            };
            sort.push((field.name, largest_first));
        }
        Ok(Selection { filter, sort, limit: self.limit.unwrap_or(usize::MAX) })
    }
}

impl<T: Item> Section<'_, T> {
    /// Leaves what is wanted.
    pub(super) fn select(&mut self, selection: &mut Selection, now: Timestamp) {
        self.complete &= !selection.apply(&mut self.items, now);
    }
}

impl Selection {
    /// Leaves in `items` what is wanted, in order. Says whether the limit cut something off.
    fn apply<T: Item>(&mut self, items: &mut Vec<T>, now: Timestamp) -> bool {
        if !self.filter.is_empty() {
            items.retain(|item| self.filter.matches(&item.row(), now));
        }
        if !self.sort.is_empty() {
            items.sort_by(|a, b| {
                let (a, b) = (a.row(), b.row());
                self.sort
                    .iter()
                    .map(|(field, largest_first)| compare(a.field(field), b.field(field), *largest_first))
                    .find(|order| order.is_ne())
                    .unwrap_or(Ordering::Equal)
            });
        }
        let cut = items.len() > self.limit;
        items.truncate(self.limit);
        cut
    }
}

/// The order of two values of one field; what is unknown comes last either way.
fn compare(a: Option<Value<'_>>, b: Option<Value<'_>>, largest_first: bool) -> Ordering {
    let (Some(a), Some(b)) = (&a, &b) else { return b.is_some().cmp(&a.is_some()) };
    let order = match (a, b) {
        (Value::Text(a), Value::Text(b)) => a.cmp(b),
        // Rows without any text come last.
        (Value::Texts(a), Value::Texts(b)) if a.is_empty() || b.is_empty() => return a.is_empty().cmp(&b.is_empty()),
        (Value::Texts(a), Value::Texts(b)) => a.cmp(b),
        (Value::Size(a), Value::Size(b)) | (Value::Count(a), Value::Count(b)) => a.cmp(b),
        (Value::Time(a), Value::Time(b)) => a.cmp(b),
        (Value::Flag(a), Value::Flag(b)) => a.cmp(b),
        _ => Ordering::Equal,
    };
    if largest_first { order.reverse() } else { order }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::borrow::Cow;

    #[test]
    fn the_unknown_is_last_whichever_way() {
        let size = |n| Some(Value::Size(n));
        for (largest_first, first) in [(true, Ordering::Greater), (false, Ordering::Less)] {
            assert_eq!(compare(size(1), size(2), largest_first), first);
            assert_eq!(compare(size(1), None, largest_first), Ordering::Less);
            assert_eq!(compare(None, size(1), largest_first), Ordering::Greater);
            let tag = |t: &'static [&'static str]| Some(Value::Texts(t.iter().map(|t| Cow::Borrowed(*t)).collect()));
            assert_eq!(compare(tag(&["a"]), tag(&[]), largest_first), Ordering::Less);
        }
    }
}
