//! What all of S3's listings have in common: pages, each with a mark where the next begins, and keys in order. A server that
//! repeats itself is found out, so that no listing goes on for ever.

use super::settings::Settings;
use crate::error::{Error, Result};
use crate::model::text;
use aws_sdk_s3::types::EncodingType;
use jiff::Timestamp;
use percent_encoding::percent_decode_str;
use std::borrow::Cow;
use std::collections::HashSet;

/// Pages in a row that bring nothing. Real ones come where much was deleted.
const EMPTY: usize = 1000;

/// Watches over one listing.
#[derive(Debug, Default)]
pub struct Guard {
    /// Whether keys have an order at all: not so in directory buckets.
    pub unordered: bool,
    last: String,
    marks: HashSet<String>,
    empty: usize,
}

impl Guard {
    /// A listing of that bucket, from its beginning.
    pub fn new(settings: &Settings) -> Self {
        Self { unordered: settings.is_directory(), ..Self::default() }
    }

    /// A listing that begins after `key`.
    pub fn after(key: &str) -> Self {
        Self { last: key.to_owned(), ..Self::default() }
    }

    /// The last key there was.
    pub fn last(&self) -> &str {
        &self.last
    }

    /// Takes note of a key. [`crate::error::Kind::Corrupt`] if it is not after those before; `again` says that the same may
    /// come more than once.
    pub fn key(&mut self, key: &str, again: bool) -> Result<()> {
        self.empty = 0;
        if self.unordered {
            return Ok(());
        }
        if key < self.last.as_str() || (key == self.last && !again && !key.is_empty()) {
            return Err(Error::corrupt(format!(
                "the listing goes backwards: {} comes after {}",
                text::safe(key),
                text::safe(&self.last)
            )));
        }
        self.last.clear();
        self.last.push_str(key);
        Ok(())
    }

    /// Takes note of where the next page is to begin. [`crate::error::Kind::Corrupt`] for one that was there before.
    pub fn next<M: AsRef<str>>(&mut self, truncated: Option<bool>, mark: Option<M>) -> Result<Option<M>> {
        if truncated != Some(true) {
            return Ok(None);
        }
        let mark = mark.ok_or_else(|| Error::corrupt("the listing breaks off: it has more pages, but not where"))?;
        self.empty += 1;
        if !self.marks.insert(mark.as_ref().to_owned()) {
            return Err(Error::corrupt("the listing goes round in circles: a page leads to one that was there before"));
        }
        if self.empty > EMPTY {
            return Err(Error::corrupt(format!("the listing brings nothing: {EMPTY} pages in a row are empty")));
        }
        Ok(Some(mark))
    }
}

/// A key as it is, where the answer has it encoded for what XML can't hold.
pub fn plain<'a>(key: &'a str, encoding: Option<&EncodingType>) -> Cow<'a, str> {
    if encoding != Some(&EncodingType::Url) || !key.contains(['%', '+']) {
        return Cow::Borrowed(key);
    }
    Cow::Owned(percent_decode_str(&key.replace('+', " ")).decode_utf8_lossy().into_owned())
}

/// A time of the SDK's as ours.
pub fn time(time: &aws_sdk_s3::primitives::DateTime) -> Option<Timestamp> {
    Timestamp::new(time.secs(), i32::try_from(time.subsec_nanos()).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(pages: &[(&[&str], Option<&str>)]) -> Result<usize> {
        let mut guard = Guard::default();
        let mut seen = 0;
        for (keys, mark) in pages {
            for key in *keys {
                guard.key(key, false)?;
                seen += 1;
            }
            if guard.next(Some(mark.is_some()), *mark)?.is_none() {
                break;
            }
        }
        Ok(seen)
    }

    #[test]
    fn a_listing_ends() {
        assert_eq!(run(&[(&["a", "b"], Some("1")), (&[], Some("2")), (&["c"], None), (&["z"], None)]).unwrap(), 3);
        run(&[(&["a", "b"], Some("1")), (&["a", "b"], Some("2"))]).unwrap_err();
        run(&[(&["b"], Some("1")), (&["a"], None)]).unwrap_err();
        run(&[(&["a"], Some("1")), (&["b"], Some("2")), (&["c"], Some("1"))]).unwrap_err();
        let marks: Vec<String> = (0..EMPTY + 2).map(|n| n.to_string()).collect();
        let empty: Vec<(&[&str], Option<&str>)> = marks.iter().map(|m| (&[][..], Some(m.as_str()))).collect();
        run(&empty).unwrap_err();
        Guard::default().next::<&str>(Some(true), None).unwrap_err();
    }

    #[test]
    fn keys_are_decoded_only_if_they_are_encoded() {
        assert_eq!(plain("a%1B+b%2B", Some(&EncodingType::Url)), "a\u{1b} b+");
        assert_eq!(plain("a%1B+b", None), "a%1B+b");
    }
}
