//! A copy as it is wanted: what, from where, to where and how. Plain data; `app/copying.rs` asks for it, `runtime/copying.rs` does it.

use crate::error::Result;
use crate::model::cache::Compression;
use crate::model::digest::Digest;
use crate::model::location::Location;
use crate::ops::copy::{Selection, Wish};
use crate::tui::shared::PlaceId;

/// A copy that is wanted.
#[derive(Clone, Debug, PartialEq)]
pub struct Copying {
    /// The place it comes from.
    pub from: PlaceId,
    /// Where that is.
    pub source: Location,
    /// What is copied, in words. Safe text.
    pub what: String,
    /// The versions.
    pub versions: Vec<Digest>,
    /// Where it goes; a name in it is what the copy is called.
    pub to: Location,
    /// How it is written.
    pub wish: Wish,
}

impl Copying {
    /// The versions, as `ops` chooses them.
    pub fn selection(&self) -> Result<Selection> {
        let digests = self.versions.iter().map(|digest| digest.to_string().parse()).collect::<Result<_>>()?;
        Ok(Selection::These { tags: Vec::new(), digests })
    }

    /// The same on the command line, without secrets.
    pub fn command(&self) -> Vec<String> {
        let mut words = vec!["cachedeck".to_owned(), "copy".to_owned(), self.source.to_string()];
        words.extend(self.versions.iter().flat_map(|digest| ["--digest".to_owned(), digest.short()]));
        words.push(self.to.to_string());
        let mut say = |flag: &str, value: String| words.extend([flag.to_owned(), value]);
        if let Some(form) = self.wish.form {
            say("--form", form.name().to_owned());
        }
        if self.wish.min {
            say("--mode", "min".to_owned());
        }
        if let Some(packing) = &self.wish.packing {
            say("--compression", packing.compression.name().to_owned());
            if let Some(level) = packing.level {
                say("--compression-level", level.to_string());
            }
        }
        if self.wish.overwrite {
            words.push("--overwrite".to_owned());
        }
        words
    }
}

/// The levels that a compression has, for people; empty where it has none.
pub fn levels(compression: Compression) -> &'static str {
    match compression {
        Compression::Gzip => "0 to 9",
        Compression::Zstd => "1 to 22",
        _ => "",
    }
}
