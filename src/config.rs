//! The user's settings: one TOML file, in the place the system keeps such files or where `$CACHEDECK_CONFIG` says.
//!
//! Reads; [`edit`] changes it. What keys and themes mean is the terminal UI's business, what a location needs is its store's.

pub mod edit;
mod pruning;

pub use pruning::{Pruning, duration};

use crate::error::{Error, Kind, Result};
use crate::model::location::{self, Given, Location};
use crate::model::text;
use crate::model::units::SizeStyle;
use directories::{BaseDirs, ProjectDirs};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, Visitor};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::ops::Range;
use std::path::{Path, PathBuf};
use toml::Spanned;

/// Names the file to read instead of the usual one; empty for none at all.
pub const VARIABLE: &str = "CACHEDECK_CONFIG";

/// An annotated file that says what holds without one.
pub const EXAMPLE: &str = include_str!("../assets/config.toml");

/// Nobody writes more than this by hand.
const MAX_BYTES: u64 = 1 << 20;

/// The settings, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// Name of the colour theme.
    pub theme: String,
    /// Draw with ASCII signs only.
    pub ascii: bool,
    /// Take mouse events.
    pub mouse: bool,
    /// How sizes are shown.
    pub size_style: SizeStyle,
    /// Ask the builders at hand for names of steps.
    pub builders: bool,
    /// Screen to action to keys, as written: the key table of the terminal UI knows what they mean.
    pub keys: BTreeMap<String, BTreeMap<String, Vec<String>>>,
    /// The named places, in the order of the file; each has a name.
    pub places: Vec<Place>,
    /// The file all this was read from, if there was one.
    pub file: Option<PathBuf>,
}

/// A location to work on.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    /// Its name in the config, without the `@`, if it was called by that.
    pub name: Option<String>,
    /// The location.
    pub location: Location,
    /// Whether nothing may be changed there.
    pub read_only: bool,
    /// How it is pruned where the command line does not say it.
    pub pruning: Option<Pruning>,
}

/// The file, before its locations are read.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Raw {
    theme: String,
    ascii: bool,
    mouse: bool,
    size_style: SizeStyle,
    builders: bool,
    keys: BTreeMap<String, BTreeMap<String, Vec<String>>>,
    locations: BTreeMap<String, Spanned<Entry>>,
}

impl Default for Raw {
    fn default() -> Self {
        Self {
            theme: "default".to_owned(),
            ascii: false,
            mouse: true,
            size_style: SizeStyle::default(),
            builders: true,
            keys: BTreeMap::new(),
            locations: BTreeMap::new(),
        }
    }
}

/// One of `[locations]`: the location alone or a table.
struct Entry {
    location: String,
    read_only: bool,
    policy: Option<pruning::Raw>,
}

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Table {
            location: String,
            #[serde(default)]
            read_only: bool,
            policy: Option<pruning::Raw>,
        }
        struct EntryVisitor;
        impl<'de> Visitor<'de> for EntryVisitor {
            type Value = Entry;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a location, or a table with one")
            }
            fn visit_str<E>(self, location: &str) -> std::result::Result<Entry, E> {
                Ok(Entry { location: location.to_owned(), read_only: false, policy: None })
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> std::result::Result<Entry, A::Error> {
                let Table { location, read_only, policy } = Table::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Entry { location, read_only, policy })
            }
        }
        deserializer.deserialize_any(EntryVisitor)
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::from_raw(Raw::default(), Vec::new())
    }
}

impl Config {
    /// Reads the user's file; what is not said in it, or the whole of it, is as in [`EXAMPLE`].
    ///
    /// [`Kind::Invalid`] with file and line for anything unknown in it; [`Kind::NotFound`] only where [`VARIABLE`] names
    /// a file that is not there; [`Kind::Denied`] if it cannot be read, or if it holds secrets that others can read.
    pub fn load() -> Result<Self> {
        Self::load_from(std::env::var_os(VARIABLE), usual_path)
    }

    /// Reads the file that the user named. Errors as for [`Config::load`]; a file that is not there is
    /// [`Kind::NotFound`].
    pub fn load_file(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|error| Error::io(format!("cannot open {}", path.display()), error))?;
        Self::read(file, path)
    }

    fn load_from(variable: Option<OsString>, usual: impl FnOnce() -> Option<PathBuf>) -> Result<Self> {
        let (path, must_exist) = match variable {
            Some(path) if path.is_empty() => return Ok(Self::default()),
            Some(path) => (PathBuf::from(path), true),
            None => match usual() {
                Some(path) => (path, false),
                None => return Ok(Self::default()),
            },
        };
        match File::open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound && !must_exist => Ok(Self::default()),
            Err(error) => {
                let error = Error::io(format!("cannot open {}", path.display()), error);
                Err(if must_exist { error.with_hint(format!("{VARIABLE} names this file")) } else { error })
            }
            Ok(file) => Self::read(file, &path),
        }
    }

    fn read(file: File, path: &Path) -> Result<Self> {
        let failed = |error| Error::io(format!("cannot read {}", path.display()), error);
        let metadata = file.metadata().map_err(failed)?;
        let mut source = String::new();
        file.take(MAX_BYTES + 1).read_to_string(&mut source).map_err(failed)?;
        if source.len() as u64 > MAX_BYTES {
            return Err(Error::invalid(format!("{} is too large for a config", path.display())));
        }
        let config = Self::parse(&source, path)?;
        if is_open_to_others(&metadata) && config.places.iter().any(|place| place.location.has_secrets()) {
            return Err(Error::new(Kind::Denied, format!("{} holds secrets that others can read", path.display()))
                .with_hint(format!("chmod 600 {}", text::shell_quote(&path.display().to_string()))));
        }
        Ok(config)
    }

    /// Reads `source` as the file `path`, which is only named in errors.
    pub fn parse(source: &str, path: &Path) -> Result<Self> {
        let raw: Raw = toml::from_str(source).map_err(|error| toml_error(&error, source, path))?;
        let mut entries: Vec<_> = raw.locations.iter().collect();
        entries.sort_by_key(|(_, entry)| entry.span().start);
        let places = entries.into_iter().map(|(name, entry)| {
            place(name, entry.get_ref())
                .map_err(|error| error.context(format_args!("{}: locations.{name}", at(entry.span(), source, path))))
        });
        let places = places.collect::<Result<_>>()?;
        let mut config = Self::from_raw(raw, places);
        config.file = Some(path.to_owned());
        Ok(config)
    }

    fn from_raw(raw: Raw, places: Vec<Place>) -> Self {
        let Raw { theme, ascii, mouse, size_style, builders, keys, locations: _ } = raw;
        Self { theme, ascii, mouse, size_style, builders, keys, places, file: None }
    }

    /// What is odd but no error, place by place. Safe to print.
    pub fn warnings(&self) -> Vec<String> {
        let named = self.places.iter().filter_map(|place| Some((place.name.as_ref()?, place.location.warnings())));
        named.flat_map(|(name, all)| all.into_iter().map(move |text| format!("locations.{name}: {text}"))).collect()
    }

    /// What `given`, typed by the user, stands for: see [`Given::parse`], names looked up here. Never empty.
    ///
    /// A location that is read-only under a name is so however it is spelt. [`Kind::Invalid`] if it cannot be read,
    /// [`Kind::NotFound`] if there is no such name.
    pub fn places(&self, given: &str) -> Result<Vec<Place>> {
        let given = Given::parse(&at_home(given), |path| Path::new(path).is_dir())?;
        given.into_iter().map(|given| self.place(given)).collect()
    }

    fn place(&self, given: Given) -> Result<Place> {
        match given {
            Given::Alias(name) => {
                let found = self.places.iter().find(|place| place.name.as_deref() == Some(name.as_str()));
                found.cloned().ok_or_else(|| self.no_such_name(&name))
            }
            Given::Location(location) => {
                let known = self.known(&location);
                let read_only = known.clone().any(|place| place.read_only);
                let pruning = known.into_iter().find_map(|place| place.pruning.clone());
                Ok(Place { name: None, location, read_only, pruning })
            }
        }
    }

    /// The named places that `location` is another spelling of: links and host names are not looked up.
    pub fn known(&self, location: &Location) -> impl Iterator<Item = &Place> + Clone {
        let identity = location.identity();
        self.places.iter().filter(move |place| place.location.identity() == identity)
    }

    fn no_such_name(&self, name: &str) -> Error {
        let names = || self.places.iter().filter_map(|place| place.name.as_deref());
        let hint = match (text::nearest(name, names()), names().next(), &self.file) {
            (Some(near), ..) => format!("did you mean @{near}?"),
            (None, Some(_), _) => format!("names are @{}", names().collect::<Vec<_>>().join(", @")),
            (None, None, Some(file)) => format!("add it to [locations] in {}", file.display()),
            (None, None, None) => match usual_path() {
                Some(path) => format!("add it to [locations] in {}", path.display()),
                None => "there is no config".to_owned(),
            },
        };
        Error::not_found(format!("no location is called @{name}")).with_hint(hint)
    }
}

/// Where the file is when [`VARIABLE`] does not say; `None` if the user has no home.
pub fn usual_path() -> Option<PathBuf> {
    Some(ProjectDirs::from("", "", "cachedeck")?.config_dir().join("config.toml"))
}

/// One of `[locations]`. Nothing is looked up on the disk, so that the file means the same everywhere: a folder needs
/// its `./`.
fn place(name: &str, entry: &Entry) -> Result<Place> {
    if !location::is_name(name) {
        return Err(Error::invalid("not a name").with_hint("a name is letters, digits, '.', '_' and '-'"));
    }
    let given = Given::parse(&at_home(&entry.location), |_| false)?;
    match <[Given; 1]>::try_from(given) {
        Ok([Given::Location(location)]) => {
            let pruning = entry.policy.as_ref().map(pruning::Raw::read).transpose()?;
            Ok(Place { name: Some(name.to_owned()), location, read_only: entry.read_only, pruning })
        }
        Ok([Given::Alias(_)]) => Err(Error::invalid("a name cannot stand for another name")),
        Err(_) => Err(Error::invalid("a name stands for one location, not for several")),
    }
}

/// A leading `~/` as the user's home, where there is one.
fn at_home(given: &str) -> String {
    let rest = given.strip_prefix("~/").or((given == "~").then_some(""));
    let home = rest.and_then(|rest| Some(BaseDirs::new()?.home_dir().join(rest).to_str()?.to_owned()));
    home.unwrap_or_else(|| given.to_owned())
}

fn is_open_to_others(metadata: &std::fs::Metadata) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        metadata.permissions().mode() & 0o077 != 0
    }
    #[cfg(not(unix))]
    {
        let _ = metadata;
        false
    }
}

/// `file:line` of a place in `source`.
fn at(span: Range<usize>, source: &str, path: &Path) -> String {
    let before = source.as_bytes().get(..span.start).unwrap_or_default();
    format!("{}:{}", path.display(), before.iter().filter(|byte| **byte == b'\n').count() + 1)
}

/// The parser's own text draws the line, which may hold a secret: only its message is taken, without strings.
fn toml_error(error: &toml::de::Error, source: &str, path: &Path) -> Error {
    let place = at(error.span().unwrap_or_default(), source, path);
    let message = error.message();
    // serde says: unknown field `a`, expected one of `b`, `c`; or: unknown variant ...
    let mut quoted = message.split('`').skip(1).step_by(2);
    let (unknown, known): (_, Vec<_>) = (quoted.next().unwrap_or_default(), quoted.collect());
    let what = match message.split('`').next() {
        Some("unknown field ") => "unknown key",
        Some("unknown variant ") => "unknown value",
        _ => return Error::invalid(format!("{place}: {}", without_strings(message))),
    };
    Error::invalid(format!("{place}: {what} {}", text::safe(unknown))).with_hint(
        match text::nearest(unknown, known.iter().copied()) {
            Some(near) => format!("did you mean {near}?"),
            None => format!("known here: {}", known.join(", ")),
        },
    )
}

fn without_strings(message: &str) -> String {
    match (message.find('"'), message.rfind('"')) {
        (Some(start), Some(end)) if start < end => format!("{}\"..\"{}", &message[..start], &message[end + 1..]),
        _ => message.lines().collect::<Vec<_>>().join(", "),
    }
}

#[cfg(test)]
mod tests;
