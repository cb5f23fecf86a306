//! A build with chosen caches: what of it is asked for, what is known of who builds, and the command that follows from both.
//! All that can be found wrong before a build starts is found here; how BuildKit treats each option is told where it is checked
//! (BuildKit's `cache/remotecache` and `client/solve.go`, buildx's `build/opt.go`).
//!
//! Pure: the environment is asked through a function, and nothing is started.

mod arguments;
mod export;
mod import;
pub mod report;
mod secrets;
pub mod watch;

pub use export::{Choice, Options};

use crate::error::{Error, Result};
use crate::model::location::Location;
use crate::model::text;
use std::fmt;

/// The program that asks for the build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// `docker buildx build`.
    Buildx,
    /// `buildctl build`.
    Buildctl,
}

impl Client {
    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Client::Buildx => "buildx",
            Client::Buildctl => "buildctl",
        }
    }

    /// Its option for a cache to import.
    fn import(self) -> &'static str {
        match self {
            Client::Buildx => "--cache-from",
            Client::Buildctl => "--import-cache",
        }
    }

    /// Its option for a cache to export.
    fn export(self) -> &'static str {
        match self {
            Client::Buildx => "--cache-to",
            Client::Buildctl => "--export-cache",
        }
    }
}

/// What shall be built, and with which caches.
#[derive(Clone, Debug)]
pub struct Wish {
    /// Through which program.
    pub client: Client,
    /// The builder of buildx; `None` for its current one.
    pub builder: Option<String>,
    /// Caches to import.
    pub from: Vec<Location>,
    /// Where to export to.
    pub to: Vec<Location>,
    /// Options for all of `to`.
    pub options: Options,
    /// What the user gives to the program itself.
    pub arguments: Vec<String>,
    /// Whether the builder is only to be filled: nothing is put out.
    pub warm: bool,
}

/// A version of BuildKit or buildx.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u32, pub u32, pub u32);

impl Version {
    /// Reads `v0.35.0-rc1` and the like. `None` for what is no version, and for `v0.0.0`, as which builds of a developer go.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim().trim_start_matches('v');
        let core = text.split(['-', '+', ' ']).next().unwrap_or_default();
        let mut parts = core.split('.').map(str::parse);
        let mut next = || parts.next().unwrap_or(Ok(0)).ok();
        let version = Self(next()?, next()?, next()?);
        (version != Self(0, 0, 0)).then_some(version)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// The first version, of buildx and of BuildKit alike, that has `--progress=rawjson`.
const RAWJSON: Version = Version(0, 13, 0);

/// What is known of who builds. `None` is unknown, and then nothing is refused for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The builder's name.
    pub builder: Option<String>,
    /// buildx's driver: `docker`, `docker-container`, `kubernetes`, `remote`, …
    pub driver: Option<String>,
    /// Whether a builder of the driver `docker` keeps images in containerd's store.
    pub image_store: Option<bool>,
    /// The program's version.
    pub client: Option<Version>,
    /// BuildKit's version, as it is told.
    pub buildkit: Option<String>,
}

/// An environment: the value of a variable. One that is empty counts as not set.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A command that was put together.
#[derive(Clone, PartialEq, Eq)]
pub struct Assembled {
    /// What follows the program. Holds no secret of a location.
    pub words: Vec<String>,
    /// What is changed in the program's environment; `None` takes a variable away. These are secrets.
    environment: Vec<(&'static str, Option<String>)>,
    /// The caches that are imported, each with its one version.
    pub imports: Vec<Location>,
    /// Where is exported to, with all options.
    pub exports: Vec<Location>,
    /// What will not be as one may think.
    pub warnings: Vec<String>,
}

impl Assembled {
    /// The variables that are set or taken away, for whoever starts the program. The values are secrets.
    pub fn environment(&self) -> &[(&'static str, Option<String>)] {
        &self.environment
    }

    /// The names of the variables that are set.
    pub fn variables(&self) -> impl Iterator<Item = &'static str> {
        self.environment.iter().filter(|(_, value)| value.is_some()).map(|(name, _)| *name)
    }
}

/// Without the values of the environment.
impl fmt::Debug for Assembled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Assembled")
            .field("words", &self.words)
            .field("variables", &self.variables().collect::<Vec<_>>())
            .field("imports", &self.imports)
            .field("exports", &self.exports)
            .field("warnings", &self.warnings)
            .finish()
    }
}

/// Puts the command together, checked.
///
/// [`crate::error::Kind::Invalid`] for all that BuildKit would refuse, leave out without a word, or only fail at when the build
/// is done; the error names the option and what to do.
pub fn assemble(wish: &Wish, facts: &Facts, environment: Environment<'_>) -> Result<Assembled> {
    if let Some(version) = facts.client
        && version < RAWJSON
    {
        let name = wish.client.name();
        return Err(Error::invalid(format!("{name} is {version}, and tells what it does from {RAWJSON} on only"))
            .with_hint(format!("update {name}")));
    }
    let environment = |name: &str| environment(name).filter(|value| !value.is_empty());
    let mut warnings = Vec::new();
    arguments::check(wish)?;
    let mut imports = Vec::new();
    for location in &wish.from {
        imports.extend(import::all(location, &environment, &mut warnings)?);
    }
    let exports = export::all(wish, facts, &environment, &mut warnings)?;
    for location in imports.iter().chain(&exports) {
        for warning in location.warnings() {
            let warning = format!("{}: {warning}", flag(wish, location));
            if !warnings.contains(&warning) {
                warnings.push(warning);
            }
        }
    }
    import::check(&imports, facts)?;
    let secrets = secrets::take(wish.client, &imports, &exports, &environment, &mut warnings)?;

    let mut words = vec!["build".to_owned()];
    if let (Client::Buildx, Some(builder)) = (wish.client, &wish.builder) {
        words.extend(["--builder".to_owned(), builder.clone()]);
    }
    words.push("--progress=rawjson".to_owned());
    for location in &imports {
        words.extend([wish.client.import().to_owned(), value(wish.client, location.cache_from(None, None)?)]);
    }
    for location in &exports {
        words.extend([wish.client.export().to_owned(), value(wish.client, location.cache_to(None)?)]);
    }
    if wish.warm && wish.client == Client::Buildx {
        words.extend(["--output".to_owned(), "type=cacheonly".to_owned()]);
    }
    words.extend(wish.arguments.iter().cloned());
    Ok(Assembled { words, environment: secrets, imports, exports, warnings })
}

/// A location as the program takes it.
fn value(client: Client, csv: String) -> String {
    // buildctl takes what has no `type=` for a registry's reference, and else reads the same CSV.
    debug_assert!(client == Client::Buildx || csv.contains("type="), "a location always says its type");
    csv
}

/// How a location was given.
fn flag(wish: &Wish, location: &Location) -> &'static str {
    let is = |given: &&Location| given.identity() == location.identity() && given.kind() == location.kind();
    if wish.to.iter().any(|given| is(&given)) { "--cache-to" } else { "--cache-from" }
}

/// An error about an option.
fn wrong(flag: &str, location: &Location, what: impl fmt::Display, hint: impl Into<String>) -> Error {
    Error::invalid(format!("{flag} {}: {what}", text::safe(&location.title()))).with_hint(hint)
}

#[cfg(test)]
mod tests;
