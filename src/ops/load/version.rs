//! Reads one version out of decoded documents: its cache, what it reaches, and what is wrong with it. Pure.

use super::decode::{CacheConfig, Decoded, Sums, once_each};
use crate::error::Kind;
use crate::format::cacheconfig;
use crate::format::envelope::{Descriptor, Envelope};
use crate::format::image::ImageConfig;
use crate::model::cache::{Cache, Form, Layer, Outcome};
use crate::model::digest::Digest;
use crate::model::finding::{Finding, Problem};
use crate::model::graph::Summary;
use crate::model::inventory::{CacheIndex, Reached, Role};
use jiff::Timestamp;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A version to read.
pub struct Version {
    /// Its manifest.
    pub digest: Digest,
    /// Names that lead to it, sorted.
    pub tags: Vec<String>,
    /// Names that led to it before, sorted.
    pub formerly: Vec<String>,
    /// Whether the location's own list leads to it.
    pub listed: bool,
    /// It is a cache config itself, and no blob.
    pub bare: bool,
    /// Why it could not be read, if not even its digest is known.
    pub unread: Option<String>,
    /// When its name was last written, where the place says it.
    pub modified: Option<Timestamp>,
    /// Lengths that the location's list gives for it.
    pub sizes: Vec<u64>,
    /// Its cache config, where no other version has the same.
    pub config: Option<CacheConfig>,
    /// What its bare config comes to, where no more than that is kept.
    pub sums: Option<Sums>,
}

impl Version {
    /// One that no name leads to.
    pub fn dangling(digest: Digest) -> Self {
        Self {
            digest,
            tags: Vec::new(),
            formerly: Vec::new(),
            listed: false,
            bare: false,
            unread: None,
            modified: None,
            sizes: Vec::new(),
            config: None,
            sums: None,
        }
    }
}

/// How many blobs were reached through indexes that name indexes, in a location in all. What such a document reaches may be
/// far more than it is long, and many may reach the same.
#[derive(Debug, Default)]
pub struct Nested(AtomicUsize);

/// No more than this are followed: a multi-platform image has some hundreds.
const MAX_NESTED: usize = 2_000_000;

impl Nested {
    fn allows(&self, more: usize) -> bool {
        self.0.fetch_add(more, Ordering::Relaxed).saturating_add(more) <= MAX_NESTED
    }
}

/// Reads one version.
pub struct Reader<'a> {
    decoded: &'a Decoded,
    nested: &'a Nested,
    version: Version,
    index: CacheIndex,
}

impl<'a> Reader<'a> {
    /// A reader of `version`.
    pub fn new(decoded: &'a Decoded, nested: &'a Nested, mut version: Version) -> Self {
        let index = CacheIndex {
            digest: version.digest,
            unread: version.unread.is_some(),
            tags: std::mem::take(&mut version.tags),
            formerly: std::mem::take(&mut version.formerly),
            listed: version.listed,
            form: None,
            manifest_bytes: decoded.manifests.get(&version.digest).map_or(0, |m| m.bytes),
            config: None,
            cache: None,
            summary: None,
            reach: Vec::new(),
            missing: Vec::new(),
            exclusive_bytes: 0,
            shared_bytes: 0,
            created: None,
            modified: version.modified,
            findings: Vec::new(),
        };
        Self { decoded, nested, version, index }
    }

    /// Name, form and reach only.
    pub fn preview(mut self) -> CacheIndex {
        if self.version.bare {
            if let Some(found) = self.decoded.configs.get(&self.index.digest) {
                self.index.form = Some(Form::Config);
                self.index.manifest_bytes = found.bytes;
                self.index.created = found.config.cache.created();
            }
            return self.finish();
        }
        self.reach_itself();
        if let Some(Envelope::Cache { form, config, layers }) = self.envelope() {
            self.index.form = Some(*form);
            self.index.created = newest(layers);
            self.reach_all(config, layers);
        }
        self.finish()
    }

    /// All of it.
    pub fn read(mut self) -> CacheIndex {
        let digest = self.index.digest;
        if let Some(why) = self.version.unread.take() {
            self.index.manifest_bytes = self.version.sizes.iter().copied().max().unwrap_or(0);
            self.index.findings.push(Finding::new(
                Problem::Unreadable,
                None,
                format!("its content can't be read: {why}"),
            ));
            return self.finish();
        }
        if self.version.bare {
            self.bare();
            return self.finish();
        }
        self.reach_itself();
        match self.envelope() {
            Some(Envelope::Cache { form, config, layers }) => {
                self.index.form = Some(*form);
                self.cache(config, layers);
            }
            Some(Envelope::Image { config, layers }) => {
                let cache = self.image(config, layers);
                self.image_with(cache);
            }
            Some(Envelope::Images { .. }) => {
                let cache = self.images(digest);
                self.image_with(cache);
            }
            None if self.decoded.role(&digest) == Some(Role::Config) => {
                self.fault(Problem::Malformed, digest, "a config stands where a manifest should".to_owned());
            }
            None => self.unread(digest, "manifest"),
        }
        if let Some(cache) = &self.index.cache {
            self.index.summary = Some(Summary::of(cache));
            self.index.created = cache.created().or(self.index.created);
            let unlisted = cache.layers.iter().filter(|l| l.size.is_none()).count();
            if unlisted > 0 {
                let message =
                    format!("{unlisted} layers of the config are not in the manifest: builds ignore what needs them");
                self.fault(Problem::UnlistedLayer, digest, message);
            }
        }
        self.finish()
    }

    /// A cache config under a name of its own, which says all about its layers itself.
    fn bare(&mut self) {
        let digest = self.index.digest;
        let shared = || self.decoded.configs.get(&digest).cloned();
        let config = self.version.config.take().or_else(shared);
        let Some(sums) = config.as_ref().map(Sums::of).or_else(|| self.version.sums.take()) else {
            return match self.decoded.role(&digest) {
                Some(_) => {
                    self.fault(Problem::Malformed, digest, "it is something else than a cache config".to_owned())
                }
                None => self.unread(digest, "cache config"),
            };
        };
        self.index.form = Some(Form::Config);
        self.index.manifest_bytes = sums.bytes;
        self.index.summary = Some(sums.summary);
        self.index.created = sums.created;
        self.index.reach = sums.reach;
        if sums.unusable > 0 {
            let message = format!("{} layers have no annotations: builds can't import this", sums.unusable);
            self.fault(Problem::Malformed, digest, message);
        }
        self.index.cache = config.map(|found| Arc::new(found.config.cache));
    }

    fn envelope(&self) -> Option<&'a Envelope> {
        self.decoded.manifests.get(&self.index.digest).map(|m| &m.envelope)
    }

    fn image_with(&mut self, cache: Option<Cache>) {
        self.index.form = Some(if cache.is_some() { Form::Inline } else { Form::Image });
        self.index.cache = cache.map(Arc::new);
    }

    fn finish(mut self) -> CacheIndex {
        once_each(&mut self.index.reach);
        self.index
    }

    /// With the length that the location's list gives, if that is another than it has.
    fn reach_itself(&mut self) {
        let bytes = self.index.manifest_bytes;
        let size = self.version.sizes.iter().copied().find(|size| *size != bytes).unwrap_or(bytes);
        self.reach(self.index.digest, size, Role::Manifest);
    }

    fn reach(&mut self, digest: Digest, size: u64, role: Role) {
        self.index.reach.push(Reached { digest, size, role });
    }

    fn reach_all(&mut self, config: &Descriptor, layers: &[Descriptor]) {
        self.index.reach.reserve(layers.len() + 1);
        self.reach(config.digest, config.size, Role::Config);
        layers.iter().for_each(|l| self.reach(l.digest, l.size, Role::Layer));
    }

    fn fault(&mut self, problem: Problem, digest: Digest, message: String) {
        self.index.findings.push(Finding::new(problem, Some(digest), message));
    }

    /// Says why a document is not there, unless it is simply missing, which shows by itself.
    fn unread(&mut self, digest: Digest, what: &str) {
        if let Some(error) = self.decoded.fault(&digest) {
            let problem = match error.kind() {
                Kind::Corrupt | Kind::Invalid => Problem::Malformed,
                _ => Problem::Unreadable,
            };
            self.fault(problem, digest, format!("the {what} can't be read: {error}"));
        } else if let Some(role) = self.decoded.role(&digest) {
            self.fault(Problem::Malformed, digest, format!("another {} stands where the {what} should", role.name()));
        } else if self.decoded.others.contains(&digest) {
            self.fault(Problem::Malformed, digest, format!("the {what} is something else"));
        }
    }

    /// A cache envelope: the config's table, filled in from the descriptors.
    fn cache(&mut self, config: &Descriptor, layers: &[Descriptor]) {
        self.index.config = Some(config.digest);
        self.index.created = newest(layers);
        self.reach_all(config, layers);
        self.check_length("manifest", self.index.digest, self.index.manifest_bytes);
        let shared = || self.decoded.configs.get(&config.digest).cloned();
        let Some(found) = self.version.config.take().or_else(shared) else {
            return self.unread(config.digest, "cache config");
        };
        self.check_length("cache config", config.digest, found.bytes);
        let mut cache = found.config.cache;
        let by_digest: HashMap<Digest, &Descriptor> = layers.iter().map(|l| (l.digest, l)).collect();
        let mut media_types = cacheconfig::Interner::default();
        for layer in &mut cache.layers {
            if let Some(descriptor) = by_digest.get(&layer.blob) {
                describe(layer, descriptor, &mut media_types);
            }
        }
        self.index.cache = Some(Arc::new(cache));
    }

    fn check_length(&mut self, what: &str, digest: Digest, bytes: u64) {
        if bytes > cacheconfig::BUILDKIT_LIMIT {
            let message = format!("the {what} has {bytes} bytes; builds refuse to import more than 1 MiB from here");
            self.fault(Problem::TooLarge, digest, message);
        }
    }

    /// An image: its inline cache, if it has one.
    fn image(&mut self, config: &Descriptor, layers: &[Descriptor]) -> Option<Cache> {
        self.index.config.get_or_insert(config.digest);
        self.reach_all(config, layers);
        let Some(image) = self.decoded.images.get(&config.digest) else {
            // The config of what merely travels as an image (a signature, a chart) may be anything.
            let anything = self.decoded.others.contains(&config.digest) && !config.may_be_image_config();
            if !anything {
                self.unread(config.digest, "image config");
            }
            return None;
        };
        image.cache(layers).unwrap_or_else(|error| {
            self.fault(Problem::Malformed, config.digest, format!("the inline cache can't be read: {error}"));
            None
        })
    }

    /// An index of images, or of indexes: the inline caches of all platforms as one. Iterative: an index may name
    /// another, and bytes from anywhere decide how deep.
    fn images(&mut self, top: Digest) -> Option<Cache> {
        let decoded = self.decoded;
        let mut all: Option<Cache> = None;
        let mut stack = vec![(top, true)];
        let mut visited = HashSet::from([top]);
        while let Some((digest, is_envelope)) = stack.pop() {
            let envelope = decoded.manifests.get(&digest).map(|m| &m.envelope);
            if envelope.is_some_and(|e| !self.nested.allows(e.descriptors().count())) {
                let message = format!("its indexes lead to too much: {MAX_NESTED} blobs are followed in all");
                self.fault(Problem::Malformed, top, message);
                break;
            }
            match envelope {
                Some(Envelope::Images { manifests }) => {
                    for entry in manifests {
                        let known = decoded.manifests.contains_key(&entry.digest);
                        let role = if known || entry.may_be_envelope() { Role::Manifest } else { Role::Unknown };
                        self.reach(entry.digest, entry.size, role);
                    }
                    let below = manifests.iter().rev().map(|m| (m.digest, m.may_be_envelope()));
                    stack.extend(below.filter(|(digest, _)| visited.insert(*digest)));
                }
                Some(Envelope::Image { config, layers }) => {
                    if let Some(cache) = self.image(config, layers) {
                        let platform = decoded.images.get(&config.digest).and_then(ImageConfig::platform);
                        append(all.get_or_insert_default(), cache, platform.as_deref());
                    }
                }
                Some(Envelope::Cache { config, layers, .. }) => self.reach_all(config, layers),
                None if is_envelope => self.unread(digest, "manifest"),
                // An index may name what it likes; what is of no known sort leads no further.
                None => {}
            }
        }
        all
    }
}

/// When the newest of them was made.
fn newest(layers: &[Descriptor]) -> Option<jiff::Timestamp> {
    layers.iter().filter_map(Descriptor::created).max()
}

/// What a manifest tells of a layer.
fn describe(layer: &mut Layer, descriptor: &Descriptor, media_types: &mut cacheconfig::Interner) {
    layer.size = Some(descriptor.size);
    layer.compression = descriptor.compression();
    layer.media_type = media_types.get(&descriptor.media_type);
    layer.diff_id = descriptor.diff_id();
    layer.created = descriptor.created();
}

/// Adds one platform's cache to those before it.
fn append(all: &mut Cache, mut more: Cache, platform: Option<&str>) {
    let (layers, records) = (all.layers.len(), all.records.len());
    let platform: Option<Arc<str>> = platform.map(Arc::from);
    for layer in &mut more.layers {
        layer.parent = layer.parent.map(|p| p + layers);
        layer.platform = platform.clone();
    }
    for record in &mut more.records {
        record.inputs.iter_mut().flatten().for_each(|link| link.record += records);
        for result in &mut record.results {
            match result {
                Outcome::Layer { layer, .. } => *layer += layers,
                Outcome::Chain { layers: chain, .. } => chain.iter_mut().for_each(|l| *l += layers),
            }
        }
    }
    all.layers.append(&mut more.layers);
    all.records.append(&mut more.records);
}
