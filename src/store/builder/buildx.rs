//! The builders that buildx knows: one JSON file each in its own folder, and which of them is current. Reads only, and only
//! files; buildx itself is not asked.

use crate::error::{Error, Result};
use crate::model::digest::Digest;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::env;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

/// Nobody's builder takes more than this: files of its config may be in it.
const MAX_BYTES: u64 = 4 << 20;

/// The builder that is there without any being made, and the context it stands for.
const DEFAULT: &str = "default";

/// A builder as buildx writes it down.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Instance {
    /// Its name.
    pub name: String,
    /// `docker-container`, `kubernetes`, `remote`, … Empty for Docker itself.
    #[serde(default)]
    pub driver: String,
    /// Where it runs.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub nodes: Vec<Node>,
}

/// One machine of a builder.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Node {
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// A context of Docker or the address of its API; for `remote` the address of buildkitd.
    #[serde(default)]
    pub endpoint: String,
    /// Platforms the user said it has.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub platforms: Vec<Platform>,
    /// Options of the driver: for `remote` the files of TLS.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub driver_opts: BTreeMap<String, String>,
}

/// A platform of the OCI.
#[derive(Clone, Debug, Deserialize)]
pub struct Platform {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    variant: String,
}

impl Platform {
    /// `linux/arm/v7`.
    pub fn name(&self) -> String {
        let parts = [&self.os, &self.architecture, &self.variant];
        parts.into_iter().filter(|part| !part.is_empty()).map(String::as_str).collect::<Vec<_>>().join("/")
    }
}

/// Go writes what is empty as `null`.
fn null_is_empty<'de, D, T>(from: D) -> std::result::Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// Where buildx and Docker keep what they know.
#[derive(Clone, Debug)]
pub struct Folders {
    /// Docker's own.
    docker: PathBuf,
    /// That of buildx.
    buildx: PathBuf,
}

impl Folders {
    /// As the environment says. `None` for somebody without a home.
    pub fn usual() -> Option<Self> {
        let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let docker = set("DOCKER_CONFIG").or_else(|| Some(directories::BaseDirs::new()?.home_dir().join(".docker")))?;
        let buildx = set("BUILDX_CONFIG").unwrap_or_else(|| docker.join("buildx"));
        Some(Self { docker, buildx })
    }

    /// The names of all builders that were made, sorted.
    pub fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.buildx.join("instances")).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.retain(|name| is_name(name));
        names.sort();
        names
    }

    /// The builder called `name`, or Docker's own builder in the context of that name.
    ///
    /// [`crate::error::Kind::NotFound`] says which there are; [`crate::error::Kind::Corrupt`] for a file that makes no sense.
    pub fn find(&self, name: &str) -> Result<Instance> {
        if is_name(name) {
            let path = self.buildx.join("instances").join(name.to_ascii_lowercase());
            if let Some(bytes) = read(&path)? {
                return serde_json::from_slice(&bytes).map_err(|error| {
                    Error::corrupt(format!("{} is no builder of buildx", path.display())).with_source(error)
                });
            }
            if name == DEFAULT || self.is_context(name) {
                let node = Node {
                    name: name.to_owned(),
                    endpoint: name.to_owned(),
                    platforms: Vec::new(),
                    driver_opts: BTreeMap::new(),
                };
                return Ok(Instance { name: name.to_owned(), driver: "docker".to_owned(), nodes: vec![node] });
            }
        }
        let known = self.names();
        let hint = match known.is_empty() {
            true => format!("buildx has none in {}; `docker buildx create` makes one", self.buildx.display()),
            false => format!("builders that buildx has: {}", known.join(", ")),
        };
        Err(Error::not_found(format!("no builder {name:?}")).with_hint(hint))
    }

    /// The name of the builder that `docker buildx build` would take now.
    pub fn current(&self) -> Result<String> {
        if let Ok(name) = env::var("BUILDX_BUILDER")
            && !name.is_empty()
        {
            return Ok(name);
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase", default)]
        #[derive(Default)]
        struct Current {
            key: String,
            name: String,
            global: bool,
        }
        let context = self.context();
        let endpoint = match context.as_str() {
            DEFAULT => env::var("DOCKER_HOST").ok().filter(|host| !host.is_empty()),
            other => Some(other.to_owned()),
        };
        let endpoint = endpoint.unwrap_or_else(|| "unix:///var/run/docker.sock".to_owned());
        let there = |name: &str| is_name(name) && self.buildx.join("instances").join(name).is_file();
        let current: Current = read(&self.buildx.join("current"))?
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default();
        if (current.global || current.key == endpoint) && there(&current.name) {
            return Ok(current.name);
        }
        // The builder last chosen for this endpoint with `buildx use --default`.
        let hash = Digest::of(endpoint.as_bytes()).hex();
        let chosen = read(&self.buildx.join("defaults").join(&hash[..20]))?;
        let chosen = chosen.and_then(|bytes| String::from_utf8(bytes).ok()).filter(|name| there(name));
        Ok(chosen.unwrap_or(context))
    }

    /// The context that Docker works in.
    fn context(&self) -> String {
        #[derive(Deserialize)]
        struct Config {
            #[serde(rename = "currentContext")]
            context: Option<String>,
        }
        let set = |name| env::var(name).ok().filter(|value| !value.is_empty());
        if let Some(context) = set("DOCKER_CONTEXT") {
            return context;
        }
        let in_config = || {
            let bytes = read(&self.docker.join("config.json")).ok()??;
            serde_json::from_slice::<Config>(&bytes).ok()?.context.filter(|context| !context.is_empty())
        };
        if set("DOCKER_HOST").is_some() {
            DEFAULT.to_owned()
        } else {
            in_config().unwrap_or_else(|| DEFAULT.to_owned())
        }
    }

    fn is_context(&self, name: &str) -> bool {
        self.docker.join("contexts/meta").join(Digest::of(name.as_bytes()).hex()).join("meta.json").is_file()
    }
}

/// As buildx checks them; so they can't lead out of its folder.
fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
}

/// A whole file; `None` if it is not there.
fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    let failed = |error| Error::io(format!("reading {}", path.display()), error);
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(Error::corrupt(format!("{} is too long for what it should be", path.display())));
    }
    Ok(Some(bytes))
}
