//! Puts what was seen together: which versions there are, what each reaches, whose blobs are whose. Pure.

use super::Seen;
use super::decode::{CacheConfig, Decoded};
use crate::format::cacheconfig;
use crate::format::envelope::{Descriptor, Envelope};
use crate::format::image::ImageConfig;
use crate::model::cache::{Cache, Form, Layer, Outcome};
use crate::model::digest::Digest;
use crate::model::finding::{Finding, Problem};
use crate::model::graph::Summary;
use crate::model::inventory::{Blob, CacheIndex, Inventory, Reached, Role, State, Usage};
use crate::model::location::Location;
use crate::store::References;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

/// Versions that names lead to, as far as is known before blobs are listed.
pub fn preview_named(references: &References, decoded: &Decoded) -> Vec<CacheIndex> {
    roots(references).into_iter().map(|(digest, tags)| Reader::new(decoded, digest).preview(tags, true)).collect()
}

/// Caches in a batch of documents that no name leads to.
pub fn preview_dangling(references: &References, batch: &Decoded) -> Vec<CacheIndex> {
    let named: HashSet<Digest> = references.items.iter().filter_map(|r| r.digest).collect();
    let caches =
        batch.manifests.iter().filter(|(d, m)| matches!(m.envelope, Envelope::Cache { .. }) && !named.contains(d));
    caches.map(|(digest, _)| Reader::new(batch, *digest).preview(Vec::new(), false)).collect()
}

/// Digests that references lead to, with their names.
fn roots(references: &References) -> BTreeMap<Digest, Vec<String>> {
    let mut roots: BTreeMap<Digest, Vec<String>> = BTreeMap::new();
    for reference in &references.items {
        if let Some(digest) = reference.digest {
            let names = roots.entry(digest).or_default();
            names.extend(Some(&reference.name).filter(|n| !n.is_empty()).cloned());
        }
    }
    for names in roots.values_mut() {
        names.sort();
        names.dedup();
    }
    roots
}

/// Everything of a location.
pub fn inventory(location: Location, references: References, seen: Seen) -> Inventory {
    let Seen { mut decoded, blobs, listing } = seen;
    let roots = roots(&references);
    let below: HashSet<Digest> =
        decoded.manifests.values().flat_map(|m| m.envelope.descriptors()).map(|d| d.digest).collect();
    let dangling = decoded.manifests.keys().filter(|d| !roots.contains_key(d) && !below.contains(d));
    let mut versions: Vec<Version> =
        dangling.map(|d| Version { digest: *d, tags: Vec::new(), listed: false, config: None }).collect();
    versions.extend(roots.into_iter().map(|(digest, tags)| Version { digest, tags, listed: true, config: None }));
    hand_out_configs(&mut decoded, &mut versions);
    let mut indexes = read_all(&decoded, versions);

    let mut table = Table::new(&blobs, listing.is_some());
    indexes.iter().for_each(|i| table.count(i));
    indexes.iter_mut().for_each(|i| table.fill(i));
    indexes.sort_by(|a, b| {
        let order = |i: &CacheIndex| (i.is_dangling(), i.tags.first().cloned());
        order(a).cmp(&order(b)).then(b.time().cmp(&a.time())).then(a.digest.cmp(&b.digest))
    });

    let mut warnings: Vec<Finding> = location
        .warnings()
        .into_iter()
        .map(|message| Finding::new(Problem::UnknownOption, None, message))
        .chain(references.findings)
        .collect();
    let mut complete = warnings.iter().all(|w| w.problem == Problem::UnknownOption)
        && indexes
            .iter()
            .all(|i| !i.findings.iter().any(|f| matches!(f.problem, Problem::Malformed | Problem::Unreadable)));
    // A document that is damaged and that no version reaches may have been a version itself.
    let reached = |digest: &Digest| table.is_reached(digest);
    let mut lost: Vec<_> = decoded.failed.iter().filter(|(d, _)| decoded.fault(d).is_some() && !reached(d)).collect();
    lost.sort_by_key(|(digest, _)| **digest);
    complete &= lost.is_empty();
    warnings.extend(lost.into_iter().map(|(digest, error)| {
        Finding::new(
            Problem::Malformed,
            Some(*digest),
            format!("blob {digest} may be a version that can't be read: {error}"),
        )
    }));
    let mut leftovers = Vec::new();
    if let Some(listing) = listing {
        complete &= listing.complete;
        warnings.extend(listing.findings);
        leftovers = listing.leftovers;
    }
    let blobs = table.finish();
    let usage = usage(&blobs, indexes.len());
    Inventory { location, indexes, blobs, leftovers, usage, warnings, complete }
}

/// A version to read.
struct Version {
    digest: Digest,
    tags: Vec<String>,
    listed: bool,
    /// Its cache config, where no other version has the same.
    config: Option<CacheConfig>,
}

/// Gives each version its config to keep: copies would double the memory that a large cache takes.
fn hand_out_configs(decoded: &mut Decoded, versions: &mut [Version]) {
    fn config_of(decoded: &Decoded, version: &Version) -> Option<Digest> {
        match &decoded.manifests.get(&version.digest)?.envelope {
            Envelope::Cache { config, .. } => Some(config.digest),
            _ => None,
        }
    }
    let mut users: HashMap<Digest, usize> = HashMap::new();
    for version in versions.iter() {
        if let Some(config) = config_of(decoded, version) {
            *users.entry(config).or_default() += 1;
        }
    }
    for version in versions {
        if let Some(config) = config_of(decoded, version).filter(|c| users.get(c) == Some(&1)) {
            version.config = decoded.configs.remove(&config);
        }
    }
}

/// Reads versions on all cores.
fn read_all(decoded: &Decoded, mut wanted: Vec<Version>) -> Vec<CacheIndex> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let read = |version: Version| Reader::new(decoded, version.digest).read(version);
    let share = wanted.len().div_ceil(cores).max(1);
    let mut shares = Vec::new();
    while wanted.len() > share {
        shares.push(wanted.split_off(wanted.len() - share));
    }
    std::thread::scope(|scope| {
        let others: Vec<_> =
            shares.into_iter().map(|share| scope.spawn(|| share.into_iter().map(read).collect::<Vec<_>>())).collect();
        let mut indexes: Vec<CacheIndex> = wanted.into_iter().map(read).collect();
        for other in others {
            match other.join() {
                Ok(more) => indexes.extend(more),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        indexes
    })
}

/// Reads one version out of decoded documents.
struct Reader<'a> {
    decoded: &'a Decoded,
    index: CacheIndex,
    reach: BTreeMap<Digest, Reached>,
}

impl<'a> Reader<'a> {
    fn new(decoded: &'a Decoded, digest: Digest) -> Self {
        let index = CacheIndex {
            digest,
            tags: Vec::new(),
            listed: false,
            form: None,
            manifest_bytes: 0,
            config: None,
            cache: None,
            summary: None,
            reach: Vec::new(),
            missing: Vec::new(),
            exclusive_bytes: 0,
            shared_bytes: 0,
            created: None,
            modified: None,
            findings: Vec::new(),
        };
        Self { decoded, index, reach: BTreeMap::new() }
    }

    /// Name, form and reach only.
    fn preview(mut self, tags: Vec<String>, listed: bool) -> CacheIndex {
        self.index.tags = tags;
        self.index.listed = listed;
        if let Some(manifest) = self.decoded.manifests.get(&self.index.digest) {
            self.index.manifest_bytes = manifest.bytes;
            self.reach(self.index.digest, manifest.bytes, Role::Manifest);
            if let Envelope::Cache { form, config, layers } = &manifest.envelope {
                self.index.form = Some(*form);
                self.index.created = layers.iter().filter_map(Descriptor::created).max();
                self.reach_all(config, layers);
            }
        }
        self.finish()
    }

    fn read(mut self, version: Version) -> CacheIndex {
        self.index.tags = version.tags;
        self.index.listed = version.listed;
        let digest = self.index.digest;
        let bytes = self.decoded.manifests.get(&digest).map_or(0, |m| m.bytes);
        self.index.manifest_bytes = bytes;
        self.reach(digest, bytes, Role::Manifest);
        match self.decoded.manifests.get(&digest).map(|m| &m.envelope) {
            Some(Envelope::Cache { form, config, layers }) => {
                self.index.form = Some(*form);
                self.cache(config, layers, version.config);
            }
            Some(Envelope::Image { config, layers }) => {
                self.index.form = Some(Form::Image);
                if let Some(cache) = self.image(config, layers) {
                    self.index.form = Some(Form::Inline);
                    self.index.cache = Some(Arc::new(cache));
                }
            }
            Some(Envelope::Images { .. }) => {
                self.index.form = Some(Form::Image);
                if let Some(cache) = self.images(digest) {
                    self.index.form = Some(Form::Inline);
                    self.index.cache = Some(Arc::new(cache));
                }
            }
            None if self.decoded.configs.contains_key(&digest) || self.decoded.images.contains_key(&digest) => {
                self.fault(Problem::Malformed, digest, "a config stands where a manifest should".to_owned());
            }
            None => self.unread(digest, "manifest"),
        }
        if let Some(cache) = &self.index.cache {
            self.index.summary = Some(Summary::of(cache));
            self.index.created = cache.created();
            let unlisted = cache.layers.iter().filter(|l| l.size.is_none()).count();
            if unlisted > 0 {
                let message =
                    format!("{unlisted} layers of the config are not in the manifest: builds ignore what needs them");
                self.fault(Problem::UnlistedLayer, digest, message);
            }
        }
        self.finish()
    }

    fn finish(mut self) -> CacheIndex {
        self.index.reach = self.reach.into_values().collect();
        self.index
    }

    fn reach(&mut self, digest: Digest, size: u64, role: Role) {
        self.reach.entry(digest).or_insert(Reached { digest, size, role });
    }

    fn reach_all(&mut self, config: &Descriptor, layers: &[Descriptor]) {
        self.reach(config.digest, config.size, Role::Config);
        layers.iter().for_each(|l| self.reach(l.digest, l.size, Role::Layer));
    }

    fn fault(&mut self, problem: Problem, digest: Digest, message: String) {
        self.index.findings.push(Finding::new(problem, Some(digest), message));
    }

    /// Says why a document is not there, unless it is simply missing, which shows by itself.
    fn unread(&mut self, digest: Digest, what: &str) {
        use crate::error::Kind;
        match self.decoded.fault(&digest) {
            Some(error) => {
                let problem = match error.kind() {
                    Kind::Corrupt | Kind::Invalid => Problem::Malformed,
                    _ => Problem::Unreadable,
                };
                self.fault(problem, digest, format!("the {what} can't be read: {error}"));
            }
            None if self.decoded.others.contains(&digest) => {
                self.fault(Problem::Malformed, digest, format!("the {what} is JSON of another sort"));
            }
            None => {}
        }
    }

    /// A cache envelope: the config's table, filled in from the descriptors.
    fn cache(&mut self, config: &Descriptor, layers: &[Descriptor], own: Option<CacheConfig>) {
        self.index.config = Some(config.digest);
        self.reach_all(config, layers);
        let Some(found) = own.or_else(|| self.decoded.configs.get(&config.digest).cloned()) else {
            if self.decoded.images.contains_key(&config.digest) {
                self.fault(
                    Problem::Malformed,
                    config.digest,
                    "an image config stands where a cache config should".into(),
                );
            }
            return self.unread(config.digest, "cache config");
        };
        if found.bytes > cacheconfig::BUILDKIT_LIMIT {
            let message = format!(
                "the cache config has {} bytes; builds refuse to import more than 1 MiB from here",
                found.bytes
            );
            self.fault(Problem::TooLarge, config.digest, message);
        }
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

    /// An image: its inline cache, if it has one.
    fn image(&mut self, config: &Descriptor, layers: &[Descriptor]) -> Option<Cache> {
        self.index.config.get_or_insert(config.digest);
        self.reach_all(config, layers);
        let Some(image) = self.decoded.images.get(&config.digest) else {
            self.unread(config.digest, "image config");
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
        let mut stack = vec![top];
        let mut visited = HashSet::from([top]);
        while let Some(digest) = stack.pop() {
            match decoded.manifests.get(&digest).map(|m| &m.envelope) {
                Some(Envelope::Images { manifests }) => {
                    for entry in manifests {
                        let known = decoded.manifests.contains_key(&entry.digest);
                        let role = if known || entry.says_envelope() { Role::Manifest } else { Role::Unknown };
                        self.reach(entry.digest, entry.size, role);
                    }
                    stack.extend(manifests.iter().rev().map(|m| m.digest).filter(|d| visited.insert(*d)));
                }
                Some(Envelope::Image { config, layers }) => {
                    if let Some(cache) = self.image(config, layers) {
                        let platform = decoded.images.get(&config.digest).and_then(ImageConfig::platform);
                        append(all.get_or_insert_default(), cache, platform.as_deref());
                    }
                }
                Some(Envelope::Cache { config, layers, .. }) => self.reach_all(config, layers),
                None => self.unread(digest, "manifest"),
            }
        }
        all
    }
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

/// Blobs and who needs them.
struct Table {
    blobs: Vec<Blob>,
    at: HashMap<Digest, usize>,
    listed: bool,
}

impl Table {
    fn new(entries: &[crate::store::BlobEntry], listed: bool) -> Self {
        let blobs: Vec<Blob> = entries
            .iter()
            .map(|entry| Blob {
                digest: entry.digest,
                size: Some(entry.size),
                declared: None,
                modified: entry.modified,
                role: Role::Unknown,
                state: State::Orphan,
                referrers: 0,
            })
            .collect();
        let at = blobs.iter().enumerate().map(|(at, b)| (b.digest, at)).collect();
        Self { blobs, at, listed }
    }

    fn is_reached(&self, digest: &Digest) -> bool {
        self.at.get(digest).is_some_and(|&at| self.blobs[at].referrers > 0)
    }

    /// Notes that `index` needs what it reaches.
    fn count(&mut self, index: &CacheIndex) {
        let state = if index.is_dangling() { State::Dangling } else { State::Live };
        for reached in &index.reach {
            let next = self.blobs.len();
            let at = *self.at.entry(reached.digest).or_insert(next);
            if at == next {
                self.blobs.push(Blob {
                    digest: reached.digest,
                    // Where nothing can be listed, what is needed is taken to be there.
                    size: (!self.listed).then_some(reached.size),
                    declared: None,
                    modified: None,
                    role: reached.role,
                    state: if self.listed { State::Missing } else { state },
                    referrers: 0,
                });
            }
            let blob = &mut self.blobs[at];
            blob.referrers += 1;
            blob.role = blob.role.min(reached.role);
            // The index itself tells nothing of its own length: only who points to a blob does.
            if reached.digest != index.digest {
                blob.declared = blob.declared.or(Some(reached.size));
            }
            if blob.state != State::Missing {
                blob.state = blob.state.min(state);
            }
        }
    }

    /// Fills in what follows from what others need.
    fn fill(&self, index: &mut CacheIndex) {
        index.modified = self.at.get(&index.digest).and_then(|&at| self.blobs[at].modified);
        for reached in &index.reach {
            let blob = &self.blobs[self.at[&reached.digest]];
            match (blob.size, blob.referrers) {
                (None, _) => index.missing.push(blob.digest),
                (Some(size), 1) => index.exclusive_bytes += size,
                (Some(size), _) => index.shared_bytes += size,
            }
            if blob.wrong_size() {
                let (is, should) = (blob.size.unwrap_or(0), blob.declared.unwrap_or(0));
                let message = format!("blob {} has {is} bytes, but the manifest says {should}", blob.digest);
                index.findings.push(Finding::new(Problem::WrongSize, Some(blob.digest), message));
            }
        }
    }

    fn finish(mut self) -> Vec<Blob> {
        self.blobs.sort_unstable_by_key(|b| b.digest);
        self.blobs
    }
}

fn usage(blobs: &[Blob], indexes: usize) -> Usage {
    let mut usage = Usage { indexes: indexes as u64, ..Usage::default() };
    for blob in blobs {
        let Some(size) = blob.size else {
            usage.missing_blobs += 1;
            continue;
        };
        usage.blobs += 1;
        usage.bytes += size;
        let (blobs, bytes) = match blob.state {
            State::Live => (&mut usage.live_blobs, &mut usage.live_bytes),
            State::Dangling => (&mut usage.dangling_blobs, &mut usage.dangling_bytes),
            State::Orphan | State::Missing => (&mut usage.orphan_blobs, &mut usage.orphan_bytes),
        };
        *blobs += 1;
        *bytes += size;
    }
    usage
}
