//! Copies caches between places, whatever sort either is: each is written as BuildKit would have written it there.
//!
//! Blobs first, each checked on its way; then the config and the manifest; then the names, which are led there as every other change
//! is made ([`crate::ops::apply`]), so that they can be led back; then all is looked at once more, for somebody may have pruned
//! meanwhile. Whatever breaks off in between leaves blobs that no name leads to: the next try finds them there.

mod lead;
mod pack;
mod plan;
mod select;
mod send;
mod throttle;
mod traffic;

pub use plan::{Blob, Named, Plan, Version, plan};
pub use select::{Pick, Selection, picks};
pub use send::{Copied, Fate, Outcome, Tally, run};
pub use traffic::{Moving, Traffic, Transfer};

use crate::error::{Error, Result};
use crate::model::cache::{Compression, Form};
use crate::model::text;
use std::num::NonZeroUsize;

/// How versions are to be written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// The flavour of the manifest, at places that have one; as it is, where nothing is said and it can be.
    pub form: Option<Form>,
    /// Only what the build's own results need.
    pub min: bool,
    /// How layers are to be packed; as they are, where nothing is said.
    pub packing: Option<Packing>,
    /// Whether names that lead to other versions are led here.
    pub overwrite: bool,
    /// How it is sent.
    pub pace: Pace,
}

/// How layers are to be packed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packing {
    /// One of gzip, zstd and none.
    pub compression: Compression,
    /// 0 to 9 for gzip, 1 to 22 for zstd; BuildKit's own where nothing is said.
    pub level: Option<i32>,
    /// Layers that are packed like that already, and eStargz, too.
    pub force: bool,
}

impl Packing {
    /// [`crate::error::Kind::Invalid`] for a level that the compression does not have, or a compression that can't be made.
    pub fn check(&self) -> Result<()> {
        let levels = match self.compression {
            Compression::Gzip => Some(0..=9),
            Compression::Zstd => Some(1..=22),
            Compression::Uncompressed => None,
            Compression::Estargz => {
                return Err(Error::invalid("layers can't be packed as estargz here").with_hint(
                    "its table of contents is made while a layer is built: export with compression=estargz; such layers are copied as they are",
                ));
            }
            Compression::Unknown => return Err(Error::invalid("no such compression")),
        };
        let name = self.compression.name();
        match (self.level, levels) {
            (Some(level), Some(levels)) if !levels.contains(&level) => {
                let (least, most) = (levels.start(), levels.end());
                Err(Error::invalid(format!("{name} has no level {level}")).with_hint(format!("from {least} to {most}")))
            }
            (Some(_), None) => Err(Error::invalid(format!("{name} has no level"))),
            _ => Ok(()),
        }
    }

    /// Whether a layer that is packed `like` that is packed anew.
    fn changes(&self, like: Compression) -> bool {
        match like {
            Compression::Estargz => self.force,
            // What it is can't be told from its media type; its bytes tell.
            like => like != self.compression || self.force,
        }
    }
}

/// How it is sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    /// Blobs at a time; where nothing is said, as many as suit the two places.
    pub parallel: Option<NonZeroUsize>,
    /// Bytes a second at most.
    pub rate: Option<u64>,
    /// Bytes at most: what does not fit is not begun.
    pub most: Option<u64>,
}

/// How a version is written at a place of type `kind`, which is `bare` if it keeps configs alone. [`crate::error::Kind::Invalid`] for a form that it does not have.
fn form_for(bare: bool, kind: &str, wish: Option<Form>, is: Option<Form>) -> Result<Form> {
    match (wish, bare) {
        (Some(form), true) => Err(Error::invalid(format!("type={} holds configs alone", text::safe(kind)))
            .with_hint(format!("leave the form {} away", form.name()))),
        (None, true) => Ok(Form::Config),
        (Some(form @ (Form::ImageManifest | Form::Index | Form::DockerList)), false) => Ok(form),
        (Some(form), false) => Err(Error::invalid(format!("a cache can't be written as {}", form.name()))
            .with_hint("image-manifest, index or docker-list")),
        // As it is, else as BuildKit does by itself.
        (None, false) => Ok(match is {
            Some(form @ (Form::Index | Form::DockerList)) => form,
            _ => Form::ImageManifest,
        }),
    }
}

#[cfg(test)]
mod tests;
