//! How the keys of blobs are cut into ranges that are listed side by side. Digests are spread evenly, so that a page tells how
//! many keys follow. Where that is much, each next digit of the digests becomes a range with a prefix of its own: it ends by
//! itself, and a server that looks through all keys of the prefix it is asked for has less to look at. Where it is little, ranges
//! end at a key, and pages reach beyond it. Cut is only what would otherwise leave requests unused.

use super::pages::Guard;
use crate::error::{Error, Result};
use crate::model::text;

/// Pages asked for at a time.
pub const IN_FLIGHT: usize = 32;
/// Keys that a range is meant to have at least: few enough below a page's thousand that chance seldom makes them more.
const SHARE: u128 = 900;
/// Keys that a page has at most.
const PAGE: u16 = 1000;
/// Keys that a page is asked for beyond those that are expected.
const SPARE: u128 = 16;
/// What keys of blobs go on with after their prefix.
const ALGORITHM: &str = "sha256:";
const DIGITS: &str = "0123456789abcdef";
/// Digits that [`position`] tells apart.
const TOLD_APART: usize = 16;

/// A part of the key space that is listed on its own.
#[derive(Debug)]
pub struct Range {
    /// What its keys begin with.
    pub prefix: String,
    /// Where to go on.
    pub from: From,
    /// Keys that the next page is to have at most, where fewer than a whole page of them are expected to be this range's.
    pub most: Option<u16>,
    pub guard: Guard,
    /// The last key that it has; `None` for whatever comes.
    until: Option<String>,
    /// Keys that begin like one of these are other ranges'.
    without: Vec<String>,
}

#[derive(Debug, PartialEq, Eq)]
pub enum From {
    Beginning,
    After(String),
    Mark(String),
}

/// What follows a page.
pub struct Next {
    /// Where it goes on.
    pub mark: String,
    /// `None` unless the page ends with a digest and is in order.
    pub spread: Option<Spread>,
}

/// Digests of a page.
#[derive(Clone, Copy, Debug)]
pub struct Spread {
    pub first: u64,
    pub last: u64,
    pub count: usize,
}

/// Whose a key is.
#[derive(Debug, PartialEq, Eq)]
pub enum Owner {
    This,
    /// Another range has it.
    Other,
    /// This range is over before it.
    After,
}

impl Range {
    /// All keys that begin with `prefix`.
    pub fn whole(prefix: &str, guard: Guard) -> Self {
        let prefix = prefix.to_owned();
        Self { prefix, from: From::Beginning, most: None, guard, until: None, without: Vec::new() }
    }

    /// Whose `key` is, which a page of this range has.
    ///
    /// [`crate::error::Kind::Corrupt`] if it was not asked for, so that another range has it as well.
    pub fn owner(&self, key: &str) -> Result<Owner> {
        if !key.starts_with(&self.prefix) {
            let message = format!("the listing brings {}, which was not asked for", text::safe(key));
            return Err(Error::corrupt(message));
        }
        Ok(match () {
            () if self.until.as_deref().is_some_and(|until| key > until) => Owner::After,
            () if self.without.iter().any(|other| key.starts_with(other.as_str())) => Owner::Other,
            () => Owner::This,
        })
    }

    /// What is left of it after a page: nothing, or itself, or several. `blobs` is the prefix of all; `waiting` ranges there are
    /// beside this one.
    pub fn rest(self, next: Option<Next>, blobs: &str, waiting: usize) -> Vec<Self> {
        let Some(next) = next else { return Vec::new() };
        match next.spread {
            Some(spread) if waiting < IN_FLIGHT && spread.first < spread.last && self.without.is_empty() => {
                self.cut(spread, next.mark, blobs)
            }
            _ => vec![self.at(next.mark)],
        }
    }

    fn at(self, mark: String) -> Self {
        Self { from: From::Mark(mark), most: None, ..self }
    }

    fn cut(self, spread: Spread, mark: String, blobs: &str) -> Vec<Self> {
        // How many keys that much of the space is expected to have.
        let expected = |space: u64| u128::from(space) * spread.count as u128 / u128::from(spread.last - spread.first);
        let stem = if self.prefix == blobs { format!("{blobs}{ALGORITHM}") } else { self.prefix.clone() };
        let depth = stem.len() - blobs.len() - ALGORITHM.len();
        let below = u64::MAX.checked_shr(4 * depth as u32).unwrap_or_default();
        if self.until.is_none() && depth < TOLD_APART && expected(below >> 4) >= SHARE {
            let digit = (spread.last >> (60 - 4 * depth)) as usize % DIGITS.len();
            return self.by_digit(&stem, digit);
        }
        let end = self.until.as_deref().and_then(|key| position(key, blobs)).unwrap_or(spread.last | below);
        let expected = expected(end.saturating_sub(spread.last));
        let parts = u64::try_from(expected / SHARE).unwrap_or(u64::MAX);
        if parts > 1 {
            return self.by_key(parts.min(IN_FLIGHT as u64), spread.last, end, blobs);
        }
        // What a page has beyond the range's end is in vain.
        let most = u16::try_from(expected * 5 / 4 + SPARE).ok().filter(|most| self.until.is_some() && *most < PAGE);
        vec![Self { most, ..self.at(mark) }]
    }

    /// The rest of the keys that begin with `stem` and the digit at which it is, those of each digit after that, and whatever is
    /// between and after digits, which should be nothing.
    fn by_digit(self, stem: &str, digit: usize) -> Vec<Self> {
        let after = self.guard.last().to_owned();
        let part = |prefix: String, after: String| Self {
            prefix,
            guard: Guard::after(&after),
            from: From::After(after),
            most: None,
            until: None,
            without: Vec::new(),
        };
        let mut parts = Vec::new();
        for next in DIGITS.chars().skip(digit) {
            let prefix = format!("{stem}{next}");
            match parts.is_empty() {
                true => parts.push(part(prefix, after.clone())),
                false => parts.push(Self::whole(&prefix, Guard::default())),
            }
        }
        // Nothing that begins with a digit and goes on in ASCII is after it and a tilde.
        if digit < 10 {
            let gap = part(stem.to_owned(), format!("{stem}9~"));
            let without = vec![format!("{stem}9"), format!("{stem}a")];
            parts.push(Self { most: Some(1), until: Some(format!("{stem}a")), without, ..gap });
        }
        let tail = part(self.prefix, format!("{stem}f~"));
        parts.push(Self { most: Some(1), without: vec![format!("{stem}f")], ..tail });
        parts
    }

    /// Parts of about the same length.
    fn by_key(self, parts: u64, last: u64, end: u64, blobs: &str) -> Vec<Self> {
        // A key that digests come after, and no digest is.
        let cut = |n: u64| {
            let at = u128::from(last) + u128::from(end - last) * u128::from(n) / u128::from(parts);
            format!("{blobs}{ALGORITHM}{at:016x}")
        };
        let mut ranges = Vec::new();
        let mut after = self.guard.last().to_owned();
        for n in 1..=parts {
            let until = if n == parts { self.until.clone() } else { Some(cut(n)) };
            let next = until.clone().unwrap_or_default();
            let guard = Guard::after(&after);
            let range = Self::whole(&self.prefix, guard);
            ranges.push(Self { until, from: From::After(after), ..range });
            after = next;
        }
        ranges
    }
}

/// Where a digest stands among all: its first 64 bits.
pub fn position(key: &str, blobs: &str) -> Option<u64> {
    let hex = key.strip_prefix(blobs)?.strip_prefix(ALGORITHM)?;
    u64::from_str_radix(hex.get(..TOLD_APART)?, 16).ok()
}
