//! One build cache, whatever it was written as: layers with their parents, records with inputs and results.
//!
//! Indices are checked by the reader (`format::cacheconfig`): every `parent`, `record` and `layer` below is in range
//! and there are no loops, so code that walks a [`Cache`] need not check again.

use crate::model::digest::Digest;
use jiff::Timestamp;
use serde::Serialize;
use std::sync::Arc;

/// How the cache index was written, found out by looking at its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Form {
    /// OCI image manifest whose config is a cache config: BuildKit's default since 0.21.
    ImageManifest,
    /// OCI image index that lists config and layers: `image-manifest=false`.
    Index,
    /// Docker manifest list that lists config and layers: `oci-mediatypes=false`.
    DockerList,
    /// An image (or an index of images) whose config carries the cache's records.
    Inline,
    /// An image with no cache in it.
    Image,
    /// A bare cache config under a name: s3, azblob, gha.
    Config,
}

impl Form {
    /// The name used in JSON and filters.
    pub fn name(self) -> &'static str {
        match self {
            Form::ImageManifest => "image-manifest",
            Form::Index => "index",
            Form::DockerList => "docker-list",
            Form::Inline => "inline",
            Form::Image => "image",
            Form::Config => "config",
        }
    }

    /// Three letters for a narrow column.
    pub fn abbreviation(self) -> &'static str {
        match self {
            Form::ImageManifest => "man",
            Form::Index => "idx",
            Form::DockerList => "lst",
            Form::Inline => "inl",
            Form::Image => "img",
            Form::Config => "cfg",
        }
    }
}

/// How much of the build a cache holds. BuildKit writes this nowhere: it is inferred (`docs/formats.md`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Only what the build's results need.
    Min,
    /// Intermediate steps too.
    Max,
}

impl Mode {
    /// `min` or `max`.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Min => "min",
            Mode::Max => "max",
        }
    }
}

/// How a layer's tar is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Compression {
    /// A plain tar.
    Uncompressed,
    /// gzip.
    Gzip,
    /// gzip with a table of contents, so that single files can be fetched.
    Estargz,
    /// Zstandard.
    Zstd,
    /// A media type we do not know.
    Unknown,
}

impl Compression {
    /// The name BuildKit's `compression` option uses.
    pub fn name(self) -> &'static str {
        match self {
            Compression::Uncompressed => "uncompressed",
            Compression::Gzip => "gzip",
            Compression::Estargz => "estargz",
            Compression::Zstd => "zstd",
            Compression::Unknown => "unknown",
        }
    }
}

/// One entry of the layer table. The same blob may stand in several entries, so an entry is known by its index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// The compressed blob.
    pub blob: Digest,
    /// Index of the entry below, if there is one.
    pub parent: Option<usize>,
    /// Bytes of the blob as the manifest (or annotation) says; `None` if nothing says it, and then BuildKit ignores
    /// results that need this layer.
    pub size: Option<u64>,
    /// How the blob is packed.
    pub compression: Compression,
    /// The media type as written.
    pub media_type: Arc<str>,
    /// Digest of the unpacked tar.
    pub diff_id: Option<Digest>,
    /// When the layer was made; a zero time reads as `None`.
    pub created: Option<Timestamp>,
    /// `os/arch[/variant]` where the cache is inline in a multi-platform image.
    pub platform: Option<Arc<str>>,
    /// The step from the image's history, for inline caches.
    pub history: Option<Arc<str>>,
}

/// One cache key: a step of the build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The key.
    pub digest: Digest,
    /// Inputs of the step, in order; each has one or more alternatives.
    pub inputs: Vec<Vec<Link>>,
    /// What the step made, in one or more forms; empty for steps whose result is not kept.
    pub results: Vec<Outcome>,
}

/// A link from a record's input to the record it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Index of the record.
    pub record: usize,
    /// Content selector, where only a part of the input matters.
    pub selector: Option<Box<str>>,
}

/// The result of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Entry `layer` with all of its parents.
    Layer {
        /// Index into the layer table.
        layer: usize,
        /// When it was made.
        created: Option<Timestamp>,
    },
    /// Exactly these entries, without parents; only the inline exporter writes these.
    Chain {
        /// Indices into the layer table, lowest first.
        layers: Vec<usize>,
        /// When it was made.
        created: Option<Timestamp>,
    },
}

impl Outcome {
    /// The topmost entry, if there is any.
    pub fn top(&self) -> Option<usize> {
        match self {
            Outcome::Layer { layer, .. } => Some(*layer),
            Outcome::Chain { layers, .. } => layers.last().copied(),
        }
    }
}

/// A decoded cache.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cache {
    /// The layer table.
    pub layers: Vec<Layer>,
    /// The cache keys.
    pub records: Vec<Record>,
}

impl Cache {
    /// The entries of `outcome`, lowest first.
    pub fn layers_of(&self, outcome: &Outcome) -> Vec<usize> {
        match outcome {
            Outcome::Layer { layer, .. } => self.chain(*layer),
            Outcome::Chain { layers, .. } => layers.clone(),
        }
    }

    /// Entry `layer` and all of its parents, lowest first.
    pub fn chain(&self, layer: usize) -> Vec<usize> {
        let mut chain: Vec<usize> = std::iter::successors(Some(layer), |&l| self.layers[l].parent).collect();
        chain.reverse();
        chain
    }

    /// When the newest layer was made.
    pub fn created(&self) -> Option<Timestamp> {
        self.layers.iter().filter_map(|l| l.created).max()
    }
}
