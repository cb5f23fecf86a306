//! Writes caches as BuildKit's exporters write them: the config, with annotations on its layers where no manifest holds them (s3,
//! azblob, gha), and the manifest around it (local, registry). Read off `cache/remotecache` of BuildKit; what it wrote itself
//! comes out the same to the byte.

use crate::error::{Error, Result};
use crate::format::cacheconfig::MEDIA_TYPE;
use crate::format::envelope::DOCKER_LIST;
use crate::model::cache::{Cache, Compression, Form, Layer, Link, Outcome, Record};
use crate::model::digest::Digest;
use jiff::Timestamp;
use oci_spec::image::MediaType;
use serde::Serialize;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

const UNCOMPRESSED: &str = "containerd.io/uncompressed";
const CREATED: &str = "buildkit/createdat";

const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
/// Layers that are not to be pushed to registries; containerd knows them still.
const DOCKER_FOREIGN: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar";
const OCI_FOREIGN: &str = "application/vnd.oci.image.layer.nondistributable.v1.tar";

/// How Go writes a time that is none.
const ZERO_TIME: &str = "0001-01-01T00:00:00Z";

#[derive(Serialize)]
struct RawConfig<'a> {
    layers: Vec<RawLayer<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    records: Vec<RawRecord<'a>>,
}

#[derive(Serialize)]
struct RawLayer<'a> {
    blob: Digest,
    // As BuildKit has it: 0 is left out, no parent is -1.
    #[serde(skip_serializing_if = "is_zero")]
    parent: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<RawAnnotations<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RawAnnotations<'a> {
    media_type: Cow<'a, str>,
    #[serde(rename = "diffID")]
    diff_id: Digest,
    size: u64,
    created_at: String,
}

#[derive(Serialize)]
struct RawRecord<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    layers: Vec<RawResult>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    chains: Vec<RawChain<'a>>,
    digest: Digest,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    inputs: Vec<Vec<RawLink<'a>>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RawResult {
    layer: usize,
    created_at: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RawChain<'a> {
    layers: &'a [usize],
    created_at: String,
}

#[derive(Serialize)]
struct RawLink<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    selector: Option<&'a str>,
    link: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    schema_version: u8,
    media_type: String,
    config: Descriptor,
    layers: Vec<Descriptor>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct List {
    schema_version: u8,
    media_type: String,
    manifests: Vec<Descriptor>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: String,
    digest: Digest,
    size: u64,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
}

/// Annotations of layers that a manifest holds beyond those that a [`Layer`] knows, such as estargz's, by blob.
pub type Annotations = HashMap<Digest, BTreeMap<String, String>>;

/// A cache config; `annotated` for places where no manifest tells of the layers.
///
/// [`crate::error::Kind::Unsupported`] if annotations need what is not known of a layer.
pub fn config(cache: &Cache, annotated: bool) -> Result<String> {
    let layers = cache.layers.iter().map(|layer| raw_layer(layer, annotated)).collect::<Result<_>>()?;
    text(&RawConfig { layers, records: cache.records.iter().map(record).collect() })
}

fn raw_layer(layer: &Layer, annotated: bool) -> Result<RawLayer<'_>> {
    Ok(RawLayer {
        blob: layer.blob,
        parent: layer.parent.map_or(-1, |parent| parent as i64),
        annotations: annotated.then(|| annotations(layer)).transpose()?,
    })
}

fn record(record: &Record) -> RawRecord<'_> {
    let (mut layers, mut chains) = (Vec::new(), Vec::new());
    for outcome in &record.results {
        match outcome {
            Outcome::Layer { layer, created } => layers.push(RawResult { layer: *layer, created_at: go(*created) }),
            Outcome::Chain { layers, created } => chains.push(RawChain { layers, created_at: go(*created) }),
        }
    }
    let inputs = record.inputs.iter().map(|alternatives| alternatives.iter().map(raw_link).collect()).collect();
    RawRecord { layers, chains, digest: record.digest, inputs }
}

fn raw_link(link: &Link) -> RawLink<'_> {
    RawLink { selector: link.selector.as_deref(), link: link.record }
}

fn annotations(layer: &Layer) -> Result<RawAnnotations<'_>> {
    let lacks = |what: &str| {
        let what = format!("nothing says the {what} of layer {}, which is kept with it there", layer.blob);
        Error::new(crate::error::Kind::Unsupported, what).with_hint("copy to a folder or registry, or export it anew")
    };
    Ok(RawAnnotations {
        media_type: oci(&layer.media_type),
        diff_id: layer.diff_id.ok_or_else(|| lacks("diffID"))?,
        size: layer.size.ok_or_else(|| lacks("size"))?,
        created_at: go(layer.created),
    })
}

/// The manifest of a cache: one descriptor an entry of the layer table, in its order, and the config.
///
/// [`crate::error::Kind::Invalid`] for a form that is no cache's own, [`crate::error::Kind::Unsupported`] for a layer of unknown
/// size.
pub fn envelope(form: Form, cache: &Cache, config: &str, more: &Annotations) -> Result<String> {
    let docker = form == Form::DockerList;
    let layers = cache.layers.iter().map(|layer| descriptor(layer, docker, more)).collect::<Result<Vec<_>>>()?;
    let digest = Digest::of(config.as_bytes());
    let config = Descriptor {
        media_type: MEDIA_TYPE.to_owned(),
        digest,
        size: config.len() as u64,
        annotations: BTreeMap::new(),
    };
    match form {
        Form::ImageManifest => {
            let media_type = MediaType::ImageManifest.to_string();
            text(&Manifest { schema_version: 2, media_type, config, layers })
        }
        Form::Index | Form::DockerList => {
            let media_type = if docker { DOCKER_LIST.to_owned() } else { MediaType::ImageIndex.to_string() };
            let mut manifests = layers;
            manifests.push(config);
            text(&List { schema_version: 2, media_type, manifests })
        }
        Form::Inline | Form::Image | Form::Config => {
            Err(Error::invalid(format!("a cache has no manifest of form {}", form.name())))
        }
    }
}

fn descriptor(layer: &Layer, docker: bool, more: &Annotations) -> Result<Descriptor> {
    let mut annotations = more.get(&layer.blob).cloned().unwrap_or_default();
    if let Some(diff_id) = layer.diff_id {
        annotations.insert(UNCOMPRESSED.to_owned(), diff_id.to_string());
    }
    if let Some(created) = layer.created {
        annotations.insert(CREATED.to_owned(), created.to_string());
    }
    let unknown = || {
        let what = format!("nothing says the size of layer {}", layer.blob);
        Error::new(crate::error::Kind::Unsupported, what).with_hint("export the cache again")
    };
    Ok(Descriptor {
        media_type: if docker { self::docker(&layer.media_type) } else { oci(&layer.media_type) }.into_owned(),
        digest: layer.blob,
        size: layer.size.ok_or_else(unknown)?,
        annotations,
    })
}

/// All annotations of the layers of a manifest, by blob. Empty for what is none.
pub fn annotations_of(manifest: &[u8]) -> Annotations {
    let mut all = Annotations::new();
    let Ok(Value::Object(manifest)) = serde_json::from_slice(manifest) else { return all };
    let lists = ["layers", "manifests"].iter().filter_map(|key| manifest.get(*key)?.as_array());
    for descriptor in lists.flatten() {
        let digest = descriptor.get("digest").and_then(Value::as_str).and_then(|text| text.parse().ok());
        let Some((digest, notes)) = digest.zip(descriptor.get("annotations").and_then(Value::as_object)) else {
            continue;
        };
        all.entry(digest).or_insert_with(|| strings(notes));
    }
    all
}

fn strings(notes: &Map<String, Value>) -> BTreeMap<String, String> {
    notes.iter().filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

/// The media type of a layer that is packed like this.
pub fn media_type(compression: Compression) -> String {
    match compression {
        Compression::Gzip | Compression::Estargz => format!("{OCI_LAYER}+gzip"),
        Compression::Zstd => format!("{OCI_LAYER}+zstd"),
        Compression::Uncompressed | Compression::Unknown => OCI_LAYER.to_owned(),
    }
}

/// Docker's name for a layer's media type.
fn docker(media_type: &str) -> Cow<'_, str> {
    swap(media_type, &[(OCI_LAYER, DOCKER_LAYER), (OCI_FOREIGN, DOCKER_FOREIGN)], '+', '.')
}

/// OCI's name for a layer's media type.
fn oci(media_type: &str) -> Cow<'_, str> {
    swap(media_type, &[(DOCKER_LAYER, OCI_LAYER), (DOCKER_FOREIGN, OCI_FOREIGN)], '.', '+')
}

fn swap<'a>(media_type: &'a str, names: &[(&str, &str)], from: char, to: char) -> Cow<'a, str> {
    for (is, becomes) in names {
        if let Some(packed) = media_type.strip_prefix(is) {
            return match packed.strip_prefix(from) {
                Some(packed) => Cow::Owned(format!("{becomes}{to}{packed}")),
                None => Cow::Owned(format!("{becomes}{packed}")),
            };
        }
    }
    Cow::Borrowed(media_type)
}

fn go(time: Option<Timestamp>) -> String {
    time.map_or_else(|| ZERO_TIME.to_owned(), |time| time.to_string())
}

fn is_zero(number: &i64) -> bool {
    *number == 0
}

fn text(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|e| Error::corrupt("the document can't be written as JSON").with_source(e))
}

#[cfg(test)]
mod tests;
