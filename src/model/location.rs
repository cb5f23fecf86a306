//! Where a cache lives, in the words of `--cache-from` and `--cache-to`.
//!
//! [`Location`] reads and writes the very CSV that buildx does; [`Given`] adds what cachedeck takes beyond it: bare
//! paths and `@name`. Nothing here looks at the disk, the network or the environment. `Display` and `Debug` hide
//! secrets; only [`Location::reveal`] shows them.

mod csv;
mod keys;

use crate::error::{Error, Kind, Result};
use crate::model::actions::scope_of;
use crate::model::digest::Digest;
use crate::model::text;
use keys::Role;
pub use keys::mask_url;
use serde::{Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

/// One place where caches live: a type and its keys.
///
/// Keys keep the order they were given in; of a repeated key the last value counts, as in buildx. Unknown types and
/// keys are kept.
#[derive(Clone)]
pub struct Location {
    kind: String,
    /// Lower-case keys, each once, without `type`.
    keys: Vec<(String, String)>,
    /// Keys that were given more than once, for [`Location::warnings`].
    repeated: Vec<String>,
}

/// What a `type=local` location names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Local {
    /// The folder, as given.
    pub dir: String,
    /// The tag, if one is given; BuildKit takes `latest` otherwise.
    pub tag: Option<String>,
    /// The digest of one version, if given; it goes before the tag.
    pub digest: Option<Digest>,
}

/// A location as a person gives it: spelt out, or by its name in the config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Given {
    /// `@name`; the config knows what it stands for.
    Alias(String),
    /// The location itself.
    Location(Location),
}

impl Given {
    /// Reads what a person gave. A bare path is a local cache: text that starts with `/`, `.` or `~/`, or that
    /// `is_dir` says is a folder; `,tag=…` or `,digest=…` may follow it. `@name` is an alias. Everything else is as in
    /// [`Location::parse_all`].
    ///
    /// Returns [`Kind::Invalid`] errors that never repeat a secret.
    pub fn parse(text: &str, is_dir: impl Fn(&str) -> bool) -> Result<Vec<Self>> {
        if let Some(name) = text.strip_prefix('@') {
            if !is_name(name) {
                return Err(Error::invalid(format!("bad location name: {}", text::safe(text)))
                    .with_hint("a name is letters, digits, '.', '_' and '-', as in @ci"));
            }
            return Ok(vec![Given::Alias(name.to_owned())]);
        }
        let is_path = |text: &str| {
            let looks = text.starts_with(['/', '.']) || text.starts_with("~/") || text == "~";
            looks || !text.is_empty() && !text.contains('=') && is_dir(text)
        };
        if let Some(at) = [",tag=", ",digest="].iter().filter_map(|key| text.find(key)).min()
            && is_path(&text[..at])
            && !is_dir(text)
        {
            let mut location = Location::local_dir(&text[..at]);
            let version = Location::parse(&format!("type=local{}", &text[at..]))?;
            version.keys.into_iter().for_each(|(key, value)| location.set(&key, value));
            return Ok(vec![Given::Location(location)]);
        }
        if is_path(text) {
            return Ok(vec![Given::Location(Location::local_dir(text))]);
        }
        Ok(Location::parse_all(text)?.into_iter().map(Given::Location).collect())
    }
}

/// Whether `name` can stand after `@`.
pub fn is_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
}

impl Location {
    /// A location of type `kind` without keys.
    pub fn new(kind: impl Into<String>) -> Self {
        Self { kind: kind.into(), keys: Vec::new(), repeated: Vec::new() }
    }

    /// The local cache in folder `dir`.
    pub fn local_dir(dir: impl Into<String>) -> Self {
        Self::new("local").with("src", dir)
    }

    /// Reads one `--cache-from` or `--cache-to` value as buildx does: a single field without `=` is a registry
    /// reference; otherwise `key=value` fields, the first `=` splits, keys become lower case, `type` is required.
    pub fn parse(text: &str) -> Result<Self> {
        let fields = csv::fields(text)?;
        if let [field] = fields.as_slice()
            && !field.contains('=')
        {
            return Ok(Self::new("registry").with("ref", field.as_str()));
        }
        let mut location = Self::new("");
        for (number, field) in fields.iter().enumerate() {
            // The field may be the rest of a secret that holds a comma, so it is not shown.
            let (key, value) = field.split_once('=').ok_or_else(|| {
                Error::invalid(format!("bad location: field {} has no '='", number + 1))
                    .with_hint("quote a value with a comma in it, key and all: \"key=a,b\"")
            })?;
            let key = lower(key);
            let seen = if key == "type" { !location.kind.is_empty() } else { location.get(&key).is_some() };
            if seen && !location.repeated.contains(&key) {
                location.repeated.push(key.clone());
            }
            location.set(&key, value);
        }
        if location.kind.is_empty() {
            let types: Vec<_> = keys::types().collect();
            return Err(Error::invalid("bad location: type is missing")
                .with_hint(format!("begin with type=.., one of {}", types.join(", "))));
        }
        Ok(location)
    }

    /// Reads one command-line value as buildx does, which is [`Location::parse`], except that text without any `=` may
    /// list several registry references between commas. Never empty.
    pub fn parse_all(text: &str) -> Result<Vec<Self>> {
        if text.contains('=') {
            return Ok(vec![Self::parse(text)?]);
        }
        csv::fields(text)?.iter().map(|field| Self::parse(field)).collect()
    }

    /// The type: `local`, `registry`, …; may be one nobody knows.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The value of `key` (lower case), also if it is a secret: for the backend only.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.keys.iter().find(|(k, _)| k == key).map(|(_, value)| value.as_str())
    }

    /// The value of `key`, if there is one and it is not empty: how BuildKit reads most keys.
    pub fn value(&self, key: &str) -> Option<&str> {
        self.get(key).filter(|value| !value.is_empty())
    }

    /// Sets `key`, in its place if it is there already. `type` sets the type.
    pub fn set(&mut self, key: &str, value: impl Into<String>) {
        let (key, value) = (lower(key), value.into());
        if key == "type" {
            self.kind = value;
        } else if let Some((_, old)) = self.keys.iter_mut().find(|(k, _)| *k == key) {
            *old = value;
        } else {
            self.keys.push((key, value));
        }
    }

    /// This location with `key` set.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<String>) -> Self {
        self.set(key, value);
        self
    }

    /// This location without `key`.
    #[must_use]
    pub fn without(mut self, key: &str) -> Self {
        self.keys.retain(|(k, _)| k != key);
        self
    }

    /// The keys in order, secrets as `***`: what may be shown, logged and put into JSON.
    pub fn shown(&self) -> impl Iterator<Item = (&str, Cow<'_, str>)> {
        self.keys.iter().map(|(key, value)| {
            let hidden = keys::is_secret(&self.kind, key) && !value.is_empty();
            (key.as_str(), if hidden { Cow::Borrowed(keys::MASK) } else { mask_url(value) })
        })
    }

    /// Whether it carries credentials, in keys or in URLs.
    pub fn has_secrets(&self) -> bool {
        self.keys.iter().any(|(key, value)| {
            !value.is_empty() && (keys::is_secret(&self.kind, key) || matches!(mask_url(value), Cow::Owned(_)))
        })
    }

    /// The CSV with its secrets: reads back as the same location. Never for a screen, a log or an argument list.
    pub fn reveal(&self) -> String {
        csv_line(&self.kind, self.keys.iter().map(|(key, value)| (key.as_str(), value.as_str().into())))
    }

    /// What is odd but no error: keys the type does not know, keys given twice. Safe to print.
    pub fn warnings(&self) -> Vec<String> {
        let repeated = self.repeated.iter().map(|key| format!("{} is given twice, the last counts", text::safe(key)));
        let unknown = self.keys.iter().filter_map(|(key, _)| {
            let known = keys::of(&self.kind)?;
            if keys::role(&self.kind, key).is_some() {
                return None;
            }
            let meant = text::nearest(key, known.map(|(name, _)| name));
            let meant = meant.map(|meant| format!(", did you mean {meant}?")).unwrap_or_default();
            Some(format!("type={} does not know the key {}{meant}", self.kind, text::safe(key)))
        });
        repeated.chain(unknown).collect()
    }

    /// What a `type=local` location names.
    ///
    /// [`Kind::Invalid`] if it is not local, if neither `src` nor `dest` is there or they differ, or if the digest is
    /// none.
    pub fn local(&self) -> Result<Local> {
        if self.kind != "local" {
            return Err(Error::invalid(format!("not a local cache: {self}")));
        }
        let dir = match (self.value("src"), self.value("dest")) {
            (Some(src), Some(dest)) if src != dest => {
                return Err(Error::invalid("src and dest name different folders").with_hint("give one of them"));
            }
            (Some(dir), _) | (None, Some(dir)) => dir.to_owned(),
            (None, None) => {
                return Err(Error::invalid("type=local has no folder").with_hint("add src=FOLDER"));
            }
        };
        let digest =
            self.value("digest").map(str::parse::<Digest>).transpose().map_err(|e| e.context("bad location"))?;
        Ok(Local { dir, tag: self.value("tag").map(str::to_owned), digest })
    }

    /// The exact value for `--cache-from` that imports one version of this location, secrets left out.
    ///
    /// `index` is its tag, name or scope. Where a digest can be asked for (local, registry, inline) it goes first.
    /// [`Kind::Unsupported`] where BuildKit cannot import from there or cannot choose that version;
    /// [`Kind::Invalid`] if the location lacks what it needs.
    pub fn cache_from(&self, digest: Option<Digest>, index: Option<&str>) -> Result<String> {
        let mut from = self.for_buildx(Role::Export)?;
        match self.kind.as_str() {
            "local" => {
                let local = self.local()?;
                let given = digest.is_some() || index.is_some();
                let (digest, tag) = if given { (digest, index) } else { (local.digest, local.tag.as_deref()) };
                from = from.without("src").without("dest").without("tag").without("digest");
                from.keys.insert(0, ("src".to_owned(), local.dir));
                match (digest, tag) {
                    (Some(digest), _) => from.set("digest", digest.to_string()),
                    (None, Some(tag)) => from.set("tag", tag),
                    (None, None) => {}
                }
            }
            "registry" | "inline" => {
                // An inline cache is imported like any other image.
                from.kind = "registry".to_owned();
                let name = self.reference()?;
                match (digest, index) {
                    (Some(digest), _) => from.set("ref", format!("{}@{digest}", repository(name))),
                    (None, Some(tag)) => from.set("ref", format!("{}:{tag}", repository(name))),
                    (None, None) => {}
                }
            }
            _ => match (self.index_key(), index) {
                (Some("scope"), Some(name)) => from.set("scope", scope_of(name)),
                (Some(key), Some(index)) => from.set(key, index),
                (None, Some(_)) => return Err(self.unsupported("BuildKit cannot choose a version there")),
                (_, None) if digest.is_some() => {
                    return Err(self.unsupported("BuildKit cannot import by digest there"));
                }
                (_, None) => {}
            },
        }
        Ok(from.reveal())
    }

    /// The exact value for `--cache-to` that exports to this location under `index` (tag, name or scope), or under the
    /// one the location names; secrets left out. Errors as for [`Location::cache_from`].
    pub fn cache_to(&self, index: Option<&str>) -> Result<String> {
        let mut to = self.for_buildx(Role::Import)?;
        match self.kind.as_str() {
            "local" => {
                let local = self.local()?;
                to = to.without("dest");
                to.keys.insert(0, ("dest".to_owned(), local.dir));
                if let Some(tag) = index {
                    to.set("tag", tag);
                }
            }
            "registry" => {
                let name = self.reference()?;
                if let Some(tag) = index {
                    to.set("ref", format!("{}:{tag}", repository(name)));
                }
            }
            // An inline cache goes into the image that is built.
            "inline" => to = Self::new("inline"),
            _ => match (self.index_key(), index) {
                (Some("scope"), Some(name)) => to.set("scope", scope_of(name)),
                (Some(key), Some(index)) => to.set(key, index),
                (None, Some(_)) => return Err(self.unsupported("BuildKit cannot name a version there")),
                (_, None) => {}
            },
        }
        Ok(to.reveal())
    }

    /// A short name for headers: `local:./.buildcache`. Safe to print, not to be read back.
    pub fn title(&self) -> String {
        let parts: &[&str] = match self.kind.as_str() {
            "local" => &["src", "dest"],
            "registry" | "inline" => &["ref"],
            "s3" => &["bucket", "prefix"],
            // The URL names the account, unless only its name is given.
            "azblob" if self.value("account_url").is_some() => &["account_url", "container", "prefix"],
            "azblob" => &["account_name", "container", "prefix"],
            "gha" => &["repo", "repository", "scope"],
            "daemon" => &["builder", "addr"],
            _ => &[],
        };
        let values: Vec<_> = match self.kind.as_str() {
            // A query of the URL only signs.
            "s3" | "azblob" => {
                let values = parts.iter().filter_map(|key| self.value(key));
                values.map(|value| value.split_once('?').map_or(value, |(url, _)| url)).collect()
            }
            _ => parts.iter().find_map(|key| self.value(key)).into_iter().collect(),
        };
        let place: Vec<_> = values.into_iter().map(mask_url).collect();
        let place = place.join("/");
        let title = if place.is_empty() { self.kind.clone() } else { format!("{}:{place}", self.kind) };
        text::safe(&title).into_owned()
    }

    /// The same for every spelling of one place, whatever tag, digest or credentials it is reached with: for telling
    /// whether two locations are one. A matter of spelling only; links and host names are not looked up.
    pub fn identity(&self) -> String {
        let mut place: Vec<_> = match self.kind.as_str() {
            "local" => {
                let dir = self.value("src").or(self.value("dest")).unwrap_or_default();
                return csv_line("local", [("src", plain_path(dir).into())].into_iter());
            }
            "registry" | "inline" => {
                let name = self.get("ref").map(repository).unwrap_or_default();
                return csv_line(&self.kind, [("ref", name.into())].into_iter());
            }
            kind => self
                .keys
                .iter()
                .filter(|(key, _)| {
                    matches!(keys::role(kind, key), Some(Role::Place | Role::Own))
                        && !keys::is_secret(kind, key)
                        && Some(key.as_str()) != self.index_key()
                })
                .map(|(key, value)| (key.as_str(), keys::strip_url(value)))
                .collect(),
        };
        place.sort();
        csv_line(&self.kind, place.into_iter())
    }

    /// The version that this location asks for by digest, if it does. [`Kind::Invalid`] if that is none.
    pub fn asked_digest(&self) -> Result<Option<Digest>> {
        let in_ref = self.value("ref").and_then(|name| Some(name.split_once('@')?.1));
        self.value("digest").or(in_ref).map(str::parse).transpose()
    }

    /// The tag, name or scope that this location asks for, if it does: of several names the first, as an import does.
    pub fn asked_name(&self) -> Option<&str> {
        self.asked_names().into_iter().next()
    }

    /// All tags, names or scopes that this location asks for: an export writes under each.
    pub fn asked_names(&self) -> Vec<&str> {
        match self.kind.as_str() {
            "registry" | "inline" => {
                let Some(name) = self.value("ref") else { return Vec::new() };
                let name = name.split_once('@').map_or(name, |(name, _)| name);
                name[repository(name).len()..].strip_prefix(':').into_iter().collect()
            }
            _ => {
                let names = self.value(self.index_key().unwrap_or("tag")).unwrap_or_default();
                names.split(';').filter(|name| !name.is_empty()).collect()
            }
        }
    }

    /// This location, asking for the version under `name`: a tag, name or scope.
    #[must_use]
    pub fn asking_for(self, name: &str) -> Self {
        match self.kind.as_str() {
            "registry" | "inline" => {
                let place = repository(self.value("ref").unwrap_or_default()).to_owned();
                self.without("digest").with("ref", format!("{place}:{name}"))
            }
            _ => {
                let key = self.index_key().unwrap_or("tag");
                // The ref that saved it is for GitHub to choose.
                let name = if key == "scope" { scope_of(name) } else { name };
                self.without("digest").with(key, name)
            }
        }
    }

    /// This location, asking for the version with `digest`.
    #[must_use]
    pub fn asking_for_digest(self, digest: &Digest) -> Self {
        match self.kind.as_str() {
            "registry" | "inline" => {
                let place = repository(self.value("ref").unwrap_or_default()).to_owned();
                self.without("digest").with("ref", format!("{place}@{digest}"))
            }
            _ => self.without("tag").with("digest", digest.to_string()),
        }
    }

    /// This location, asking for no version.
    #[must_use]
    pub fn asking_for_none(self) -> Self {
        match self.kind.as_str() {
            "registry" | "inline" => {
                let place = repository(self.value("ref").unwrap_or_default()).to_owned();
                self.without("digest").with("ref", place)
            }
            _ => {
                let key = self.index_key().unwrap_or("tag");
                self.without("digest").without(key)
            }
        }
    }

    /// What BuildKit imports from here if nothing is asked for.
    pub fn usual_name(&self) -> &'static str {
        match self.kind.as_str() {
            "s3" | "azblob" | "gha" => "buildkit",
            _ => "latest",
        }
    }

    /// The key that names one cache among those of a place.
    fn index_key(&self) -> Option<&'static str> {
        match self.kind.as_str() {
            "s3" | "azblob" => Some("name"),
            "gha" => Some("scope"),
            _ => None,
        }
    }

    fn reference(&self) -> Result<&str> {
        self.value("ref").ok_or_else(|| {
            Error::invalid(format!("type={} has no ref", text::safe(&self.kind)))
                .with_hint("add ref=HOST/REPOSITORY:TAG")
        })
    }

    fn unsupported(&self, why: &str) -> Error {
        Error::new(Kind::Unsupported, format!("{}: {why}", self.title()))
    }

    /// This location without its secrets and without the keys that buildx does not know or that are for the `other`
    /// direction.
    fn for_buildx(&self, other: Role) -> Result<Self> {
        if self.kind == "daemon" {
            return Err(self
                .unsupported("a builder's own cache is no import or export")
                .with_hint("a build on that builder uses it anyway"));
        }
        let mut kept = Self::new(self.kind.clone());
        for (key, value) in &self.keys {
            let role = keys::role(&self.kind, key);
            if role != Some(Role::Own) && role != Some(other) && !keys::is_secret(&self.kind, key) {
                kept.keys.push((key.clone(), keys::strip_url(value).into_owned()));
            }
        }
        Ok(kept)
    }
}

/// The order of keys matters here, as it does to a reader.
impl PartialEq for Location {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind && self.keys == other.keys
    }
}

impl Eq for Location {}

/// The CSV with secrets as `***`. May hold untrusted text: print it through [`crate::model::text`].
impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&csv_line(&self.kind, self.shown()))
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Location({self})")
    }
}

impl FromStr for Location {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

/// An object of `type` and the keys as they may be shown.
impl Serialize for Location {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_map(std::iter::once(("type", Cow::Borrowed(self.kind.as_str()))).chain(self.shown()))
    }
}

fn csv_line<'a>(kind: &str, keys: impl Iterator<Item = (&'a str, Cow<'a, str>)>) -> String {
    let mut line = csv::quote(&format!("type={kind}")).into_owned();
    for (key, value) in keys {
        line.push(',');
        line.push_str(&csv::quote(&format!("{key}={value}")));
    }
    line
}

/// Lower case as Go has it: one character for one.
fn lower(key: &str) -> String {
    key.chars().map(|c| c.to_lowercase().next().unwrap_or(c)).collect()
}

/// The repository of an image reference: without its tag and digest.
fn repository(reference: &str) -> &str {
    let name = reference.split_once('@').map_or(reference, |(name, _)| name);
    match name.rsplit_once(':') {
        // A colon before a slash is a port.
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => name,
    }
}

/// `path` without what changes nothing: `./` and doubled or trailing slashes. `..` stays, for it may cross a link.
fn plain_path(path: &str) -> String {
    let parts: Vec<_> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    match (path.starts_with('/'), parts.is_empty()) {
        (true, _) => format!("/{}", parts.join("/")),
        (false, true) => ".".to_owned(),
        (false, false) => parts.join("/"),
    }
}

#[cfg(test)]
mod tests;
