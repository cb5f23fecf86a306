//! Envelopes: OCI image manifest, OCI image index and Docker manifest list, told apart by what is in them.

use crate::error::{Error, Result};
use crate::format::cacheconfig;
use crate::format::document::parse;
use crate::format::lenient::{Given, GoTime, Lenient, null_as_default};
use crate::model::cache::{Compression, Form};
use crate::model::digest::Digest;
use jiff::Timestamp;
use oci_spec::image::MediaType;
use serde::Deserialize;

/// The longest envelope that is read.
pub const LIMIT: u64 = 4 << 20;

pub(super) const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// A pointer to a blob, with what is said of it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// As written; may be empty or wrong.
    #[serde(default)]
    pub media_type: Box<str>,
    /// Which blob.
    pub digest: Digest,
    /// Its bytes.
    pub size: u64,
    /// The annotations that matter here.
    #[serde(default, deserialize_with = "null_as_default")]
    pub annotations: Annotations,
    /// For which platform, in an index of images.
    #[serde(default)]
    pub platform: Option<Box<Platform>>,
}

/// Annotations of a descriptor; others are left aside.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Annotations {
    /// Digest of the unpacked layer.
    #[serde(rename = "containerd.io/uncompressed")]
    pub diff_id: Lenient<Digest>,
    /// When the layer was made.
    #[serde(rename = "buildkit/createdat")]
    pub created: Lenient<GoTime>,
    /// Set on estargz layers.
    #[serde(rename = "containerd.io/snapshot/stargz/toc.digest")]
    pub toc: Lenient<Given>,
}

/// A platform, as far as it tells images apart.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Platform {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    variant: String,
}

impl std::fmt::Display for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        if self.variant.is_empty() { Ok(()) } else { write!(f, "/{}", self.variant) }
    }
}

impl Descriptor {
    /// Digest of the unpacked layer, if a valid one is given.
    pub fn diff_id(&self) -> Option<Digest> {
        self.annotations.diff_id.0
    }

    /// When the layer was made.
    pub fn created(&self) -> Option<Timestamp> {
        self.annotations.created.time()
    }

    /// How the layer is packed.
    pub fn compression(&self) -> Compression {
        match cacheconfig::compression(&self.media_type) {
            Compression::Gzip if self.annotations.toc.0.is_some() => Compression::Estargz,
            other => other,
        }
    }

    /// Whether it says that it points to another envelope, or nothing at all.
    pub fn may_be_envelope(&self) -> bool {
        let oci: [&str; 2] = [MediaType::ImageManifest.as_ref(), MediaType::ImageIndex.as_ref()];
        oci.contains(&&*self.media_type) || ["", DOCKER_LIST, DOCKER_MANIFEST].contains(&&*self.media_type)
    }

    /// Whether it says that it points to an image's config, or nothing at all.
    pub fn may_be_image_config(&self) -> bool {
        let oci: &str = MediaType::ImageConfig.as_ref();
        ["", oci, DOCKER_CONFIG].contains(&&*self.media_type)
    }

    fn is_config(&self) -> bool {
        &*self.media_type == cacheconfig::MEDIA_TYPE
    }
}

/// What an envelope holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Envelope {
    /// A build cache: its config, and the layers in it.
    Cache {
        /// How it is written.
        form: Form,
        /// The cache config.
        config: Descriptor,
        /// The layers.
        layers: Vec<Descriptor>,
    },
    /// An image manifest: the config may hold an inline cache.
    Image {
        /// The image config.
        config: Descriptor,
        /// The layers, lowest first.
        layers: Vec<Descriptor>,
    },
    /// An index of images (or of indexes), such as a multi-platform image.
    Images {
        /// Its entries.
        manifests: Vec<Descriptor>,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    schema_version: u8,
    #[serde(default)]
    media_type: String,
    #[serde(default)]
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Option<Vec<Descriptor>>,
    #[serde(default)]
    manifests: Option<Vec<Descriptor>>,
}

impl Envelope {
    /// Reads an envelope. [`crate::error::Kind::Corrupt`] says what is wrong with it.
    pub fn read(bytes: &[u8]) -> Result<Self> {
        if bytes.len() as u64 > LIMIT {
            return Err(Error::corrupt(format!("the manifest is longer than {} MiB", LIMIT >> 20)));
        }
        let raw: Raw = parse(bytes, "manifest")?;
        if raw.schema_version != 2 {
            return Err(Error::corrupt(format!("the manifest has schema version {}, not 2", raw.schema_version)));
        }
        match (raw.config, raw.layers, raw.manifests) {
            // Two readers of such a document may see two different things in it.
            (Some(_), _, Some(_)) | (_, Some(_), Some(_)) => {
                Err(Error::corrupt("the manifest is both a manifest and an index"))
            }
            (Some(config), layers, None) => {
                let layers = layers.unwrap_or_default();
                Ok(match config.is_config() {
                    true => Envelope::Cache { form: Form::ImageManifest, config, layers },
                    false => Envelope::Image { config, layers },
                })
            }
            // Where several entries are configs, BuildKit takes the last.
            (None, None, Some(mut manifests)) => match manifests.iter().rposition(Descriptor::is_config) {
                Some(at) => {
                    let config = manifests.remove(at);
                    let form = list_form(&raw.media_type, &manifests);
                    Ok(Envelope::Cache { form, config, layers: manifests })
                }
                None => Ok(Envelope::Images { manifests }),
            },
            (None, _, None) => Err(Error::corrupt("the manifest has neither a config nor manifests")),
        }
    }

    /// Every blob it points to.
    pub fn descriptors(&self) -> impl Iterator<Item = &Descriptor> {
        let (first, rest) = match self {
            Envelope::Cache { config, layers, .. } | Envelope::Image { config, layers } => (Some(config), layers),
            Envelope::Images { manifests } => (None, manifests),
        };
        first.into_iter().chain(rest)
    }
}

/// The media type that a registry is told of an envelope: its own, where it gives one, else what its content makes it.
/// [`crate::error::Kind::Corrupt`] for what is no envelope.
pub fn media_type(bytes: &[u8]) -> Result<String> {
    let envelope = Envelope::read(bytes)?;
    let said = parse::<Raw>(bytes, "manifest")?.media_type;
    if !said.is_empty() {
        return Ok(said);
    }
    let docker = |list: &[Descriptor]| list_form("", list) == Form::DockerList;
    Ok(match &envelope {
        Envelope::Cache { form: Form::ImageManifest, .. } => MediaType::ImageManifest.to_string(),
        Envelope::Image { config, .. } if &*config.media_type == DOCKER_CONFIG => DOCKER_MANIFEST.to_owned(),
        Envelope::Image { .. } => MediaType::ImageManifest.to_string(),
        Envelope::Cache { form: Form::DockerList, .. } => DOCKER_LIST.to_owned(),
        Envelope::Images { manifests } if docker(manifests) => DOCKER_LIST.to_owned(),
        Envelope::Cache { .. } | Envelope::Images { .. } => MediaType::ImageIndex.to_string(),
    })
}

/// An index that does not say what it is is told by its layers.
fn list_form(media_type: &str, layers: &[Descriptor]) -> Form {
    let docker = match media_type {
        "" => layers.iter().any(|l| l.media_type.starts_with("application/vnd.docker.")),
        said => said == DOCKER_LIST,
    };
    if docker { Form::DockerList } else { Form::Index }
}

/// An entry of an OCI layout's `index.json`: what it leads to, and its tag.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct IndexEntry {
    /// Which blob.
    pub digest: Digest,
    /// Its bytes.
    pub size: u64,
    #[serde(default, deserialize_with = "null_as_default")]
    annotations: Tags,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Tags {
    #[serde(rename = "io.containerd.image.name")]
    image_name: Option<Box<str>>,
    #[serde(rename = "org.opencontainers.image.ref.name")]
    ref_name: Option<Box<str>>,
}

impl IndexEntry {
    /// The tag: as containerd writes it, else as OCI does; an empty one is none. Untrusted text.
    pub fn tag(&self) -> Option<&str> {
        let names = [&self.annotations.image_name, &self.annotations.ref_name];
        names.into_iter().flatten().map(|n| &**n).find(|n| !n.is_empty())
    }
}

/// What `index.json` holds.
#[derive(Debug, Default)]
pub struct IndexJson {
    /// The entries that can be read, as they stand.
    pub entries: Vec<IndexEntry>,
    /// Why others can't be; the first few of them.
    pub faults: Vec<Error>,
    /// How many can't be.
    pub bad: usize,
}

/// How many faulty entries are told one by one.
const MAX_FAULTS: usize = 100;

/// Reads `index.json`. Each entry is good or bad by itself: one that can't be read does not hide the others.
pub fn read_index_json(bytes: &[u8]) -> Result<IndexJson> {
    #[derive(Deserialize)]
    struct Index {
        // Go writes an empty list as null; a document without the key is no index at all.
        #[serde(deserialize_with = "null_as_default")]
        manifests: IndexJson,
    }
    parse::<Index>(bytes, "index.json").map(|index| index.manifests)
}

/// Entry by entry, so that a list of very many bad ones takes no memory.
impl<'de> Deserialize<'de> for IndexJson {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = IndexJson;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a list of manifests")
            }
            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut list: A) -> std::result::Result<IndexJson, A::Error> {
                let mut index = IndexJson::default();
                while let Some(entry) = list.next_element::<&'de serde_json::value::RawValue>()? {
                    match parse(entry.get().as_bytes(), "entry") {
                        Ok(entry) => index.entries.push(entry),
                        Err(fault) => {
                            index.bad += 1;
                            if index.faults.len() < MAX_FAULTS {
                                index.faults.push(fault);
                            }
                        }
                    }
                }
                Ok(index)
            }
        }
        deserializer.deserialize_seq(Visitor)
    }
}

#[cfg(test)]
mod tests;
