//! What a copy comes to: looks at both places, changes neither.

use super::{Pick, Traffic, Wish, form_for};
use crate::error::{Error, Kind, Result};
use crate::format::cacheconfig::BUILDKIT_LIMIT;
use crate::format::{compose, document};
use crate::model::cache::{Cache, Form};
use crate::model::digest::Digest;
use crate::model::graph::Summary;
use crate::model::inventory::CacheIndex;
use crate::model::reduce;
use crate::model::text;
use crate::model::units::{Bytes, count};
use crate::ops::load;
use crate::progress::Progress;
use crate::store::{Reference, Store};
use futures::{StreamExt as _, TryStreamExt as _};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Blobs that the destination is asked for at a time.
const ASKED_AT_ONCE: usize = 16;

/// A copy that can be made.
#[derive(Debug)]
pub struct Plan {
    /// Versions, in the order they are published.
    pub versions: Vec<Version>,
    /// All layers of all of them, each once, sorted.
    pub blobs: Vec<Blob>,
    /// What deserves to be known beforehand, a sentence each.
    pub warnings: Vec<String>,
    /// What is on its way once it is carried out.
    pub traffic: Traffic,
}

/// A version, as it will be at the destination.
#[derive(Debug)]
pub struct Version {
    /// Its digest where it comes from.
    pub source: Digest,
    /// What people know it by there. Untrusted text.
    pub title: String,
    /// Its names at the destination.
    pub names: Vec<Named>,
    /// How it is written there.
    pub form: Form,
    /// Its digest there; `None` where that is known only once layers are packed.
    pub digest: Option<Digest>,
    /// Bytes of its layers, as they are at the source.
    pub bytes: u64,
    /// Bytes of layers that the min form leaves out.
    pub saves: u64,
    /// Layers and records.
    pub(super) cache: Cache,
    pub(super) more: compose::Annotations,
    /// Its config and manifest, where they are known beforehand.
    pub(super) documents: Option<Documents>,
    /// What was written at the source, where it may stay as it is.
    pub(super) written: Option<Documents>,
}

/// The documents of a version.
#[derive(Clone, Debug)]
pub(super) struct Documents {
    pub(super) config: String,
    /// None where names lead to configs.
    pub(super) manifest: Option<String>,
}

impl Documents {
    /// What names lead to.
    pub(super) fn top(&self) -> &str {
        self.manifest.as_ref().unwrap_or(&self.config)
    }
}

/// A name at the destination.
#[derive(Clone, Debug)]
pub struct Named {
    /// The name. Untrusted text.
    pub name: String,
    /// What it is now, if it is there.
    pub was: Option<Reference>,
    /// The digest of what it leads to now, if it is there.
    pub leads_to: Option<Digest>,
}

/// A layer.
#[derive(Clone, Debug)]
pub struct Blob {
    /// Which.
    pub digest: Digest,
    /// Bytes at the source.
    pub size: u64,
    /// Whether it is packed anew on its way.
    pub packs: bool,
    /// Whether the destination has it.
    pub there: bool,
    pub(super) diff_id: Option<Digest>,
}

impl Plan {
    /// Bytes to send, before any packing.
    pub fn to_send(&self) -> u64 {
        self.blobs.iter().filter(|blob| !blob.there).map(|blob| blob.size).sum()
    }

    /// Whether the destination is as it should be already.
    pub fn is_done(&self) -> bool {
        self.blobs.iter().all(|blob| blob.there) && self.versions.iter().all(Version::is_done)
    }
}

impl Version {
    /// Whether all its names lead to it already.
    pub fn is_done(&self) -> bool {
        self.digest.is_some() && self.names.iter().all(|named| named.leads_to == self.digest)
    }
}

/// Plans to copy `picks` of `from` to `to`.
///
/// [`Kind::Unsupported`] where nothing can be written or read, [`Kind::Corrupt`] for a version that misses blobs, [`Kind::Stale`] for
/// a name that leads elsewhere, unless the wish is to lead it here, [`Kind::Invalid`] for what BuildKit could not import.
pub async fn plan(
    from: &Arc<dyn Store>,
    picks: &[Pick<'_>],
    to: &Arc<dyn Store>,
    wish: &Wish,
    progress: &Progress,
) -> Result<Plan> {
    if let Some(packing) = &wish.packing {
        packing.check()?;
    }
    let claims = to.capabilities();
    if to.location().kind() == "inline" {
        let what = "an inline cache is part of an image, and comes to be with it";
        return Err(Error::unsupported("inline", what).with_hint("copy to type=registry and the same ref's repository"));
    }
    if !claims.write {
        return Err(Error::unsupported(to.location().kind(), "caches can't be written there")
            .with_hint("folders, registries, s3, azblob and, in a workflow run, gha can take a copy"));
    }
    if !from.capabilities().read_blobs {
        let why = from.lacks(crate::model::inventory::Need::Contents).unwrap_or_default();
        return Err(Error::unsupported(from.location().kind(), format!("its blobs can't be read: {why}")));
    }
    let references = to.references().await?;
    let mut plan = Plan { versions: Vec::new(), blobs: Vec::new(), warnings: Vec::new(), traffic: Traffic::default() };
    let mut blobs = BTreeMap::new();
    for pick in picks {
        progress.check()?;
        let mut version = version(from, pick.index, claims.bare_configs, to.location().kind(), wish).await?;
        // BuildKit takes no notice of results whose layers have no size.
        for layer in &mut version.cache.layers {
            if layer.size.is_none() {
                layer.size = Some(from.stat(&layer.blob).await?.size);
            }
        }
        let packs = |layer: &crate::model::cache::Layer| {
            wish.packing.as_ref().is_some_and(|packing| packing.changes(layer.compression))
        };
        let any_packed = version.cache.layers.iter().any(packs);
        if !any_packed {
            let documents = version.compose()?;
            fits(&version, &documents, claims.bare_configs)?;
            version.digest = Some(Digest::of(documents.top().as_bytes()));
            version.documents = Some(documents);
        }
        for layer in &version.cache.layers {
            let size = layer.size.unwrap_or(0);
            let blob = Blob { digest: layer.blob, size, packs: packs(layer), there: false, diff_id: layer.diff_id };
            blobs.entry(layer.blob).or_insert(blob);
        }
        for name in pick.names.iter().map(|name| to.name_in_full(name)) {
            to.may_be_called(&name)?;
            let was = references.items.iter().find(|reference| reference.name == name).cloned();
            let leads_to = match &was {
                Some(Reference { digest: Some(digest), .. }) => Some(*digest),
                Some(was) => Some(Digest::of(&to.document(was, document::LIMIT).await?)),
                None => None,
            };
            let differs = leads_to.is_some() && version.digest.is_some() && leads_to != version.digest;
            if differs && !wish.overwrite {
                return Err(taken(&name, to));
            }
            version.names.push(Named { name, was, leads_to });
        }
        plan.versions.push(version);
    }
    plan.blobs = there(to, blobs.into_values().collect()).await?;
    if let Some(packing) = wish.packing.as_ref().filter(|packing| !packing.force) {
        let kept = plan.versions.iter().flat_map(|version| &version.cache.layers);
        let kept = kept.filter(|layer| layer.compression == crate::model::cache::Compression::Estargz).count();
        if kept > 0 {
            plan.warnings.push(format!(
                "{} in estargz stay as they are; --force-compression packs them as {}, without their table of contents",
                count(kept, "layer"),
                packing.compression.name()
            ));
        }
    }
    Ok(plan)
}

/// The error for a name that leads elsewhere.
pub(super) fn taken(name: &str, to: &Arc<dyn Store>) -> Error {
    let what = format!("{} leads to another version in {}", text::safe(name), to.location().title());
    Error::new(Kind::Stale, what).with_hint("say --overwrite to lead it to the copy, or choose another name")
}

async fn version(from: &Arc<dyn Store>, index: &CacheIndex, bare: bool, kind: &str, wish: &Wish) -> Result<Version> {
    let title = index.name().map_or_else(|| index.short(), str::to_owned);
    let shown = text::safe(&title).into_owned();
    let Some(cache) = &index.cache else {
        return Err(match index.findings.first() {
            Some(finding) => Error::corrupt(format!("{shown} can't be read: {}", finding.message)),
            None => Error::new(Kind::Unsupported, format!("{shown} is an image with no cache in it"))
                .with_hint("an image carries a cache if it was built with --cache-to type=inline"),
        });
    };
    if !index.missing.is_empty() {
        let what = format!("{shown} misses {}, so its copy would be broken, too", count(index.missing.len(), "blob"));
        return Err(Error::corrupt(what).with_hint("`cachedeck repair` mends it; another version may be whole"));
    }
    if cache.layers.is_empty() {
        return Err(Error::corrupt(format!("{shown} has no layers, so there is nothing to copy")));
    }
    let form = form_for(bare, kind, wish.form, index.form)?;
    let small = wish.min.then(|| reduce::min_form(cache)).filter(|small| small != &**cache);
    let before = Summary::of(cache);
    let changed = small.is_some();
    let cache = small.unwrap_or_else(|| cache.as_ref().clone());
    let bytes = Summary::of(&cache).max_bytes;
    let had_manifest = matches!(index.form, Some(Form::ImageManifest | Form::Index | Form::DockerList));
    let manifest = match index.form {
        Some(Form::Inline) => None,
        _ => Some(text_of(load::manifest(from, index, document::LIMIT).await?.to_vec(), &shown)?),
    };
    let more = manifest.as_ref().filter(|_| had_manifest).map(|m| compose::annotations_of(m.as_bytes()));
    // What BuildKit wrote stays as it wrote it, wherever it can.
    let written = match (changed, index.form, index.config) {
        (true, ..) => None,
        (false, Some(Form::Config), _) if bare => manifest.map(|config| Documents { config, manifest: None }),
        (false, Some(is), Some(config)) if had_manifest && !bare => {
            let config = text_of(from.read(&config, document::LIMIT).await?.to_vec(), &shown)?;
            Some(Documents { config, manifest: manifest.filter(|_| is == form) })
        }
        _ => None,
    };
    Ok(Version {
        source: index.digest,
        title,
        names: Vec::new(),
        form,
        digest: None,
        bytes,
        saves: before.max_bytes - bytes,
        cache,
        more: more.unwrap_or_default(),
        documents: None,
        written,
    })
}

fn text_of(bytes: Vec<u8>, shown: &str) -> Result<String> {
    String::from_utf8(bytes).map_err(|e| Error::corrupt(format!("{shown} is not UTF-8")).with_source(e))
}

impl Version {
    /// Its documents, of its layers as they are now.
    pub(super) fn compose(&self) -> Result<Documents> {
        let bare = self.form == Form::Config;
        let config = match &self.written {
            Some(written) => written.config.clone(),
            None => compose::config(&self.cache, bare)?,
        };
        let manifest = match self.written.as_ref().and_then(|written| written.manifest.clone()) {
            _ if bare => None,
            Some(written) => Some(written),
            None => Some(compose::envelope(self.form, &self.cache, &config, &self.more)?),
        };
        Ok(Documents { config, manifest })
    }
}

/// [`Kind::Invalid`] if BuildKit would refuse to import it from there.
pub(super) fn fits(version: &Version, documents: &Documents, bare: bool) -> Result<()> {
    let longest = documents.config.len().max(documents.manifest.as_ref().map_or(0, String::len)) as u64;
    if bare || longest <= BUILDKIT_LIMIT {
        return Ok(());
    }
    let (is, most) = (Bytes(longest), Bytes(BUILDKIT_LIMIT));
    let shown = text::safe(&version.title);
    let what = format!("the config of {shown} would be {is} long, and BuildKit imports at most {most} from there");
    Err(Error::invalid(what).with_hint("copy with --mode min, or to s3 or azblob, where there is no such limit"))
}

/// Which of `blobs` the destination has. One of another length is damage.
async fn there(to: &Arc<dyn Store>, blobs: Vec<Blob>) -> Result<Vec<Blob>> {
    let ask = |mut blob: Blob| async move {
        // What is packed anew has another digest, which nobody knows yet.
        if blob.packs {
            return Ok(blob);
        }
        match to.stat(&blob.digest).await {
            Ok(entry) if entry.size == blob.size => blob.there = true,
            Ok(entry) => return Err(other_length(&blob, entry.size, to)),
            Err(error) if error.kind() == Kind::NotFound => {}
            Err(error) => return Err(error.context(format!("whether blob {} is there", blob.digest))),
        }
        Ok(blob)
    };
    futures::stream::iter(blobs).map(ask).buffered(ASKED_AT_ONCE).try_collect().await
}

pub(super) fn other_length(blob: &Blob, is: u64, to: &Arc<dyn Store>) -> Error {
    let what = format!("{} has blob {}, but with {is} bytes, not {}", to.location().title(), blob.digest, blob.size);
    Error::corrupt(what).with_hint("`cachedeck verify` tells more; `cachedeck repair` takes the broken one away")
}
