//! Documents of a location, decoded, by digest. A document whose content is not what its digest says is a failure like
//! one that can't be read: it is not shown as the version it claims to be.

use crate::error::{Error, Kind};
use crate::format::cacheconfig::Config;
use crate::format::document::{self, Document};
use crate::format::envelope::{Descriptor, Envelope};
use crate::format::image::ImageConfig;
use crate::model::cache::{Compression, Layer};
use crate::model::digest::Digest;
use crate::model::graph::Summary;
use crate::model::inventory::{Reached, Role};
use bytes::Bytes;
use jiff::Timestamp;
use std::collections::{HashMap, HashSet};

/// An envelope and the bytes it takes.
#[derive(Debug)]
pub struct Manifest {
    pub envelope: Envelope,
    pub bytes: u64,
}

/// A cache config and the bytes it takes.
#[derive(Clone, Debug)]
pub struct CacheConfig {
    pub config: Config,
    pub bytes: u64,
}

/// What a bare config comes to: all that is told of a version but its layers and records.
#[derive(Clone, Debug)]
pub struct Sums {
    /// Bytes of the config.
    pub bytes: u64,
    pub summary: Summary,
    /// When its newest layer was made.
    pub created: Option<Timestamp>,
    /// Its layers, sorted by digest, each once: the first mention counts.
    pub reach: Vec<Reached>,
    /// Layers of which it does not say what builds need to import them.
    pub unusable: usize,
}

impl Sums {
    /// Adds up a config that says all about its layers itself.
    pub fn of(found: &CacheConfig) -> Self {
        let cache = &found.config.cache;
        let layer = |l: &Layer| Reached { digest: l.blob, size: l.size.unwrap_or(0), role: Role::Layer };
        let mut reach: Vec<Reached> = cache.layers.iter().map(layer).collect();
        once_each(&mut reach);
        Self {
            bytes: found.bytes,
            summary: Summary::of(cache),
            created: cache.created(),
            reach,
            unusable: cache.layers.iter().filter(|l| l.size.is_none() || l.diff_id.is_none()).count(),
        }
    }
}

/// Sorts what is reached. Of several mentions of one blob the first counts, as sorting keeps their order.
pub fn once_each(reach: &mut Vec<Reached>) {
    reach.sort_by_key(|r| r.digest);
    reach.dedup_by_key(|r| r.digest);
    reach.shrink_to_fit();
}

/// What has been decoded so far.
#[derive(Debug, Default)]
pub struct Decoded {
    pub manifests: HashMap<Digest, Manifest>,
    pub configs: HashMap<Digest, CacheConfig>,
    /// Bare configs of which no more than this is kept.
    pub sums: HashMap<Digest, Sums>,
    pub images: HashMap<Digest, ImageConfig>,
    /// Documents that could not be read or decoded, and why. Absent ones are among them, as `NotFound`.
    pub failed: HashMap<Digest, Error>,
    /// Documents that are none of these.
    pub others: HashSet<Digest>,
}

impl Decoded {
    /// Decodes a batch.
    pub fn read(documents: &[(Digest, Bytes)]) -> Self {
        let mut decoded = Self::default();
        for (digest, bytes) in documents {
            match Digest::of(bytes) {
                is if is == *digest => decoded.add(*digest, bytes),
                is => {
                    let error = Error::corrupt(format!("blob {digest} has other content: it hashes to {is}"));
                    decoded.fail(*digest, error);
                }
            }
        }
        decoded
    }

    /// Decodes a document that has this digest.
    pub fn add(&mut self, digest: Digest, bytes: &Bytes) {
        let length = bytes.len() as u64;
        match document::read(bytes) {
            Document::Envelope(envelope) => {
                self.manifests.insert(digest, Manifest { envelope, bytes: length });
            }
            Document::Config(config) => {
                self.configs.insert(digest, CacheConfig { config, bytes: length });
            }
            Document::Image(image) => {
                self.images.insert(digest, image);
            }
            Document::Other => {
                self.others.insert(digest);
            }
            Document::Malformed(error) => self.fail(digest, error),
        }
    }

    /// Keeps of all configs no more than what they come to.
    pub fn add_up(&mut self) {
        let configs = std::mem::take(&mut self.configs);
        self.sums.extend(configs.into_iter().map(|(digest, found)| (digest, Sums::of(&found))));
    }

    /// Blobs that are layers, by what manifests say of them.
    pub fn layers(&self) -> impl Iterator<Item = Digest> {
        let layers = self.manifests.values().flat_map(|m| match &m.envelope {
            Envelope::Cache { layers, .. } | Envelope::Image { layers, .. } => layers.as_slice(),
            Envelope::Images { .. } => &[],
        });
        layers.filter(|l| l.compression() != Compression::Unknown).map(|l| l.digest)
    }

    /// Takes in what another batch brought.
    pub fn merge(&mut self, other: Self) {
        self.manifests.extend(other.manifests);
        self.configs.extend(other.configs);
        self.sums.extend(other.sums);
        self.images.extend(other.images);
        self.others.extend(other.others);
        self.failed.extend(other.failed);
    }

    /// Takes a config's cache out, for its one user: copies would double the memory that a large cache takes. That there
    /// is such a config stays known.
    pub fn take_config(&mut self, digest: &Digest) -> Option<CacheConfig> {
        let kept = self.configs.get_mut(digest)?;
        let config = Config { cache: std::mem::take(&mut kept.config.cache) };
        Some(CacheConfig { config, bytes: kept.bytes })
    }

    /// Takes out what a config comes to, for the one version that it is. That there is such a config stays known.
    pub fn take_sums(&mut self, digest: &Digest) -> Option<Sums> {
        let kept = self.sums.get_mut(digest)?;
        let reach = std::mem::take(&mut kept.reach);
        Some(Sums { reach, ..kept.clone() })
    }

    /// What a document is used as, by its content.
    pub fn role(&self, digest: &Digest) -> Option<Role> {
        if self.manifests.contains_key(digest) {
            return Some(Role::Manifest);
        }
        let is_config =
            self.configs.contains_key(digest) || self.sums.contains_key(digest) || self.images.contains_key(digest);
        is_config.then_some(Role::Config)
    }

    /// Documents that were asked for and are not there, and that nothing else brought.
    pub fn absent(&self) -> impl Iterator<Item = Digest> {
        let absent = self.failed.iter().filter(|(_, e)| e.kind() == Kind::NotFound).map(|(digest, _)| *digest);
        absent.filter(|digest| !self.has(digest))
    }

    /// Remembers why a document is not here.
    pub fn fail(&mut self, digest: Digest, error: Error) {
        self.failed.insert(digest, error);
    }

    /// Whether this document was read.
    fn has(&self, digest: &Digest) -> bool {
        self.role(digest).is_some() || self.others.contains(digest)
    }

    /// Whether something is known of this document, good or bad.
    fn knows(&self, digest: &Digest) -> bool {
        self.has(digest) || self.failed.contains_key(digest)
    }

    /// Documents that envelopes point to and of which nothing is known yet.
    pub fn wanted(&self) -> Vec<Digest> {
        let mut wanted: Vec<Digest> = self
            .manifests
            .values()
            .flat_map(|m| documents(&m.envelope))
            .map(|d| d.digest)
            .filter(|d| !self.knows(d))
            .collect();
        wanted.sort_unstable();
        wanted.dedup();
        wanted
    }

    /// Why a document can't be used; `None` for one that merely is not there.
    pub fn fault(&self, digest: &Digest) -> Option<&Error> {
        self.failed.get(digest).filter(|e| e.kind() != Kind::NotFound)
    }
}

/// What an envelope points to and what may be a document, as opposed to a layer.
fn documents(envelope: &Envelope) -> impl Iterator<Item = &Descriptor> {
    let (config, manifests) = match envelope {
        Envelope::Cache { config, .. } | Envelope::Image { config, .. } => (Some(config), [].as_slice()),
        Envelope::Images { manifests } => (None, manifests.as_slice()),
    };
    config.into_iter().chain(manifests.iter().filter(|m| m.may_be_envelope()))
}
