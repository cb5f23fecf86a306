//! Builds with chosen caches: finds the program, asks about the builder, runs the build, and tells afterwards what it used and
//! what it left.

mod child;

pub use child::{Command, Ended, Said};

use crate::error::{Error, Kind, Result};
use crate::format::{buildx, rawjson};
use crate::model::build::report::{Ending, Export, Report, Written};
use crate::model::build::watch::Watch;
use crate::model::build::{Assembled, Client, Facts, Version};
use crate::model::inventory::Inventory;
use crate::model::location::Location;
use crate::model::text;
use crate::progress::Progress;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::Duration;

/// How long a program may take to tell about itself or a builder.
const PATIENCE: Duration = Duration::from_secs(30);

/// Who builds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A builder of buildx; without a name the current one.
    Buildx(Option<String>),
    /// A buildkitd, by its address.
    Buildctl(String),
}

/// A program that was found, and what is known of it and its builder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The words that the program is called with, without any command.
    pub words: Vec<String>,
    /// What is known.
    pub facts: Facts,
}

impl Target {
    /// The builder's own records, as a place.
    pub fn location(&self) -> Location {
        let builder = Location::new("daemon");
        match self {
            Target::Buildx(Some(name)) => builder.with("builder", name.as_str()),
            Target::Buildx(None) => builder,
            Target::Buildctl(address) => builder.with("addr", address.as_str()),
        }
    }

    /// The program that it takes.
    pub fn client(&self) -> Client {
        match self {
            Target::Buildx(_) => Client::Buildx,
            Target::Buildctl(_) => Client::Buildctl,
        }
    }

    /// The words that the program is called with where it is not known which one is there.
    pub fn usual_words(&self) -> Vec<String> {
        match self {
            Target::Buildx(_) => vec!["docker".to_owned(), "buildx".to_owned()],
            Target::Buildctl(address) => vec!["buildctl".to_owned(), "--addr".to_owned(), address.clone()],
        }
    }

    /// Finds the program and asks it about the builder. Starts no builder.
    ///
    /// [`Kind::NotFound`] if there is no such program or builder, [`Kind::Unavailable`] if buildkitd does not answer.
    pub async fn find(&self) -> Result<Found> {
        match self {
            Target::Buildx(builder) => find_buildx(builder.as_deref()).await,
            Target::Buildctl(address) => find_buildctl(self.usual_words(), address).await,
        }
    }
}

async fn find_buildx(builder: Option<&str>) -> Result<Found> {
    // buildx is a plugin of docker, or stands by itself.
    let ways: [&[&str]; 3] = [&["docker", "buildx"], &["buildx"], &["docker-buildx"]];
    for way in ways.iter().filter(|way| is_there(way[0])) {
        let words: Vec<String> = way.iter().map(|word| (*word).to_owned()).collect();
        let told = child::ask(&words, &["version"], PATIENCE).await?;
        // Docker without the plugin says how it is called instead.
        let Some(version) = buildx::version(&told.out, "buildx").filter(|_| told.success) else { continue };
        let client = Version::parse(version);
        let question: Vec<&str> = std::iter::once("inspect").chain(builder).collect();
        let told = child::ask(&words, &question, PATIENCE).await?;
        if !told.success {
            let name = builder.map_or_else(|| "the current builder".to_owned(), |name| format!("builder {name}"));
            let why = told.last_words();
            let missing = why.contains("no builder");
            let kind = if missing { Kind::NotFound } else { Kind::Unavailable };
            let error = Error::new(kind, format!("{}: {why}", text::safe(&name)));
            return Err(error.with_hint("`docker buildx ls` shows builders; --builder names one"));
        }
        let facts = Facts { client, ..buildx::inspected(&told.out) };
        return Ok(Found { words, facts });
    }
    Err(Error::not_found("there is no buildx on the PATH, neither as a plugin of docker nor by itself")
        .with_hint("install it, or build through buildctl with --addr ADDRESS"))
}

async fn find_buildctl(words: Vec<String>, address: &str) -> Result<Found> {
    if !is_there("buildctl") {
        let hint = "install it, or leave --addr out to build through buildx";
        return Err(Error::not_found("there is no buildctl on the PATH").with_hint(hint));
    }
    let told = child::ask(&words[..1], &["--version"], PATIENCE).await?;
    let client = buildx::version(&told.out, "buildkit").and_then(Version::parse);
    let told = child::ask(&words, &["debug", "info"], PATIENCE).await?;
    let buildkit = buildx::version(&told.out, "buildkit").map(str::to_owned);
    if !told.success {
        // Before BuildKit 0.11 there was nothing to ask; whoever does not answer at all says so otherwise.
        let why = told.last_words();
        if !why.contains("unknown") && !why.contains("Unimplemented") && !why.contains("No help topic") {
            let error = Error::new(Kind::Unavailable, format!("{}: {why}", text::safe(address)));
            return Err(error.with_hint("is buildkitd running, and is this its address?"));
        }
    }
    Ok(Found { words, facts: Facts { client, buildkit, ..Facts::default() } })
}

/// Lines of the program that are kept for when it fails.
const LAST_LINES: usize = 40;

/// What is told while it builds.
#[derive(Clone, Copy, Debug)]
pub enum News<'a> {
    /// Something changed.
    Changed(&'a Watch),
    /// The program said something that is no message. Untrusted.
    Line(&'a str),
}

/// Runs the command of `found` with `assembled`, and reports on it. `was_empty` says whether the builder held nothing before,
/// where that is known. Once `progress` is cancelled the build is stopped, and waited for.
///
/// An error only if the program could not be run; a build that fails is a report.
pub async fn run(
    found: Found,
    assembled: &Assembled,
    was_empty: Option<bool>,
    progress: &Progress,
    tell: &mut dyn FnMut(News<'_>),
) -> Result<Report> {
    let words = found.words.into_iter().chain(assembled.words.iter().cloned()).collect();
    let command = Command { words, environment: assembled.environment().to_vec() };
    let mut watch = Watch::default();
    let mut said: VecDeque<String> = VecDeque::new();
    let ended = command.run(progress, |line| {
        let line = match line {
            Said::Out(line) => line,
            Said::Err(line) => match rawjson::decode(&line) {
                Ok(Some(status)) => {
                    watch.take(status);
                    return tell(News::Changed(&watch));
                }
                Ok(None) => line,
                Err(error) => {
                    tracing::warn!("{error}");
                    line
                }
            },
        };
        tell(News::Line(&line));
        said.push_back(line);
        if said.len() > LAST_LINES {
            said.pop_front();
        }
    });
    let ended = ended.await?;
    let ending = match (ended.success, ended.stopped) {
        (true, _) => Ending::Done,
        (false, true) => Ending::Stopped,
        (false, false) => Ending::Failed,
    };
    let said: Vec<String> = said.into();
    Ok(Report::new(&watch, assembled, found.facts, ending, was_empty, &said))
}

/// Notes what stands in the place of an export now: the version that was written, where the builder told which.
pub fn look(export: &mut Export, inventory: &Inventory) {
    let found = match export.manifest {
        Some(digest) => inventory
            .indexes
            .iter()
            .find(|index| index.known_digest() == Some(digest))
            .ok_or_else(|| Error::not_found(format!("{digest}, which the builder wrote, is not there"))),
        None => inventory.selected(),
    };
    match found {
        Ok(index) => export.index = Some(Written::of(index)),
        Err(error) => export.unknown = Some(error.to_string()),
    }
}

/// Whether a program of that name is on the PATH.
fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|folder: PathBuf| folder.join(program)).any(|file| file.is_file())
}

#[cfg(test)]
mod tests;
