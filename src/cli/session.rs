//! What a command works with: where its data goes, its jobs, the locations it was given and what is in them.

use super::failure::{Exit, Outcome, Stop};
use super::globals::Globals;
use super::job::Jobs;
use super::list::Selection;
use super::output::{Format, Item, Output, Section, Tone, Words};
use super::places;
use crate::config::Config;
use crate::error::{Error, Kind, Result};
use crate::model::inventory::Inventory;
use crate::model::location::Location;
use crate::ops::load::{load, load_sums};
use crate::ops::names::{self, StepNames};
use crate::progress::Progress;
use crate::state::State;
use crate::store::{Store, catalog};
use futures::future::join_all;
use jiff::Timestamp;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use tokio::task::{JoinError, JoinHandle, spawn_blocking};

/// What a command needs of a session.
#[derive(Clone, Copy, Debug)]
pub(super) struct Needs {
    /// The usual values of `--format`; others have their own, or none.
    pub(super) format: bool,
    /// The config: all that deals with locations.
    pub(super) config: bool,
}

/// One run of the program.
pub(super) struct Session {
    /// The options of every command.
    pub(super) globals: Globals,
    /// The user's settings.
    pub(super) config: Config,
    /// Where data goes.
    pub(super) out: Output,
    /// What is said beside it.
    pub(super) words: Words,
    /// Runs what takes time.
    pub(super) jobs: Jobs,
    /// Step names that come with the program.
    names: StepNames,
    /// Builders that are being asked for more.
    asking: Option<Asking>,
}

/// Builders that are being asked, while locations are read.
struct Asking {
    answers: JoinHandle<StepNames>,
    /// Tells that all else is there.
    waiting: oneshot::Sender<()>,
}

/// How long all else may wait for builders that are asked for step names, from when they were.
const PATIENCE: Duration = Duration::from_secs(1);

/// A location that was read.
pub(super) struct Loaded {
    /// Reads what the inventory does not hold.
    pub(super) store: Arc<dyn Store>,
    /// What is there.
    pub(super) inventory: Inventory,
}

/// Locations that were read, and how it went.
pub(super) struct Many {
    /// Those that could be read, in the order given.
    pub(super) loaded: Vec<Loaded>,
    /// Whether more than one was asked for.
    pub(super) several: bool,
    /// [`Exit::Partly`] if some could not be read; that was told.
    pub(super) exit: Exit,
}

impl Session {
    /// Reads the options, and the config where the command `needs` it.
    pub(super) fn new(globals: Globals, needs: Needs) -> Result<Self> {
        let words = globals.words();
        let config = if needs.config { globals.config()? } else { Config::default() };
        let format = if needs.format { globals.format()? } else { Format::Table };
        let mut out = Output::new(format, globals.look(&config)?, words);
        out.fields = globals.fields();
        let jobs = Jobs::new(globals.progress, words, out.look.ascii);
        config.warnings().iter().for_each(|warning| words.say("warning", Tone::Warn, warning));
        Ok(Self { globals, config, out, words, jobs, names: StepNames::default(), asking: None })
    }

    /// The locations that `given` means; without any, those of the config and those found where people keep them, and
    /// then it says so.
    pub(super) fn locations(&self, given: &[String]) -> Result<Vec<Location>> {
        if !given.is_empty() {
            return places::parse(&self.config, given);
        }
        let known = places::known(&self.config);
        if self.out.is_json() {
            return Ok(known);
        }
        if known.is_empty() {
            self.words.note("no caches found: .buildx-cache is neither in this folder nor among the temporary files");
            self.words.say("hint", Tone::Dim, places::HOW_TO_BEGIN);
        } else {
            let titles: Vec<String> = known.iter().map(Location::title).collect();
            self.words.note(&format!("looking at {}", titles.join(", ")));
        }
        Ok(known)
    }

    /// The one location that `given` means; without one, the only one there is.
    pub(super) fn location(&self, given: Option<&str>) -> Result<Location> {
        let mut found = match given {
            Some(given) => places::parse(&self.config, &[given.to_owned()])?,
            None => places::known(&self.config),
        };
        match (found.pop(), found.is_empty()) {
            (Some(only), true) => Ok(only),
            (Some(_), false) => Err(Error::invalid("which location? there are several")
                .with_hint("name one; `cachedeck ls` shows what is where")),
            (None, _) => Err(Error::invalid("no location given, and none found here").with_hint(places::HOW_TO_BEGIN)),
        }
    }

    /// Opens a location and reads all of it.
    pub(super) fn load(&mut self, location: &Location) -> Outcome<Loaded> {
        let progress = Progress::new();
        let work = read(location.clone(), progress.clone(), Depth::Caches);
        self.jobs.run("reading", &progress, work).map_err(|error| Stop::at(location, error))
    }

    /// Opens several locations, all at once. A failure of one is told and leaves the others; if all fail, the first
    /// failure is it.
    pub(super) fn load_all(&mut self, locations: &[Location]) -> Outcome<Many> {
        self.load_many(locations, Depth::Caches)
    }

    /// As [`Session::load_all`], for whoever needs neither layers nor records: versions have sums, and no `cache`.
    pub(super) fn load_sums(&mut self, locations: &[Location]) -> Outcome<Many> {
        self.load_many(locations, Depth::Sums)
    }

    fn load_many(&mut self, locations: &[Location], depth: Depth) -> Outcome<Many> {
        let progress = Progress::new();
        let work = async {
            let tasks = locations.iter().map(|place| tokio::spawn(read(place.clone(), progress.clone(), depth)));
            Ok(join_all(tasks).await)
        };
        let mut many = Many { loaded: Vec::new(), several: locations.len() > 1, exit: Exit::Done };
        let mut failures = Vec::new();
        for (location, task) in locations.iter().zip(self.jobs.run("reading", &progress, work)?) {
            match task.unwrap_or_else(|error| Err(broke_off(error))) {
                Ok(loaded) => many.loaded.push(loaded),
                Err(error) => failures.push((location, error)),
            }
        }
        if many.loaded.is_empty() && !failures.is_empty() {
            // The first one's kind decides how the program ends; it is told last, by whoever ends it.
            let (location, error) = failures.swap_remove(0);
            failures.iter().for_each(|(location, error)| self.words.error(error, Some(location)));
            return Err(Stop::at(location, error));
        }
        for (location, error) in failures {
            self.words.error(&error, Some(location));
            many.exit = Exit::Partly;
        }
        Ok(many)
    }

    /// Prints what is selected of `sections`.
    pub(super) fn show<T: Item>(
        &mut self,
        schema: &str,
        mut sections: Vec<Section<'_, T>>,
        mut selection: Selection,
        many: &Many,
    ) -> Outcome<()> {
        sections.iter_mut().for_each(|section| section.select(&mut selection, self.out.look.now));
        self.out.list(schema, &sections, many.several)
    }

    /// Takes these step names and those that `--names` brings, and asks no builder.
    pub(super) fn use_names(&mut self, names: StepNames) {
        self.names.extend(names);
        self.config.builders = false;
    }

    /// The step names that need no asking: those that come with the program or with `--names`.
    pub(super) fn given_names(&self) -> Result<StepNames> {
        let mut all = self.names.clone();
        for path in &self.globals.names {
            let what = || format!("reading {}", path.display());
            let bytes = std::fs::read(path).map_err(|e| Error::io(what(), e))?;
            all.extend(StepNames::read(&bytes).map_err(|e| e.context(what()))?);
        }
        Ok(all)
    }

    /// Reads what `--names` brings, and begins to ask the builders at hand and those among `given`.
    pub(super) fn ask_names(&mut self, given: &[Location]) -> Result<()> {
        self.names = self.given_names()?;
        if let Some(builders) = self.builders(given) {
            let (waiting, waited_for) = oneshot::channel();
            // Builders may take their time for as long as there is something else to wait for.
            let enough = async {
                tokio::time::sleep(PATIENCE).await;
                let _ = waited_for.await;
            };
            let answers = self.jobs.spawn(ask(builders, enough, self.out.look.now))?;
            self.asking = Some(Asking { answers, waiting });
        }
        Ok(())
    }

    /// The builders that may be asked for step names: those at hand, of the config, and among `given`. `None` if the user
    /// wants none asked.
    pub(super) fn builders(&self, given: &[Location]) -> Option<Vec<Location>> {
        if self.globals.no_builders || !self.config.builders {
            return None;
        }
        let known = self.config.places.iter().map(|place| &place.location).chain(given);
        let mut all: Vec<Location> = known.filter(|location| location.kind() == "daemon").cloned().collect();
        all.extend(catalog::builders());
        let mut seen = HashSet::new();
        all.retain(|location| seen.insert(location.identity()));
        Some(all)
    }

    /// All step names there are. Waits a moment for builders that are still being asked.
    pub(super) fn step_names(&mut self) -> Result<StepNames> {
        let mut all = self.names.clone();
        if let Some(Asking { answers, waiting }) = self.asking.take() {
            let _ = waiting.send(());
            let answers = async { Ok(answers.await) };
            match self.jobs.run("asking builders", &Progress::new(), answers)? {
                Ok(names) => all.extend(names),
                Err(broken) => tracing::warn!("asking builders broke off: {broken}"),
            }
        }
        Ok(all)
    }
}

/// Asks `builders` for names until `enough` is over. Those that can't even be opened are left out.
async fn ask(builders: Vec<Location>, enough: impl Future<Output = ()>, now: Timestamp) -> StepNames {
    let open = |location: &Location| catalog::open(location).inspect_err(|why| tracing::info!(%location, "{why}")).ok();
    let stores = spawn_blocking(move || builders.iter().filter_map(open).collect::<Vec<_>>()).await;
    names::ask(&stores.unwrap_or_default(), &State::usual(), enough, now).await
}

/// How much of a location is read into memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Depth {
    Caches,
    Sums,
}

/// Opens `location` and reads all of it.
async fn read(location: Location, progress: Progress, depth: Depth) -> Result<Loaded> {
    let started = Instant::now();
    let place = location.clone();
    // Opening may wait for a disk; the other locations should not wait with it.
    let store = spawn_blocking(move || catalog::open(&place)).await.map_err(broke_off)??;
    let inventory = match depth {
        Depth::Caches => load(&store, &progress).await?,
        Depth::Sums => load_sums(&store, &progress).await?,
    };
    let (indexes, blobs) = (inventory.indexes.len(), inventory.blobs.len());
    tracing::info!(%location, indexes, blobs, took = ?started.elapsed(), "read");
    Ok(Loaded { store, inventory })
}

fn broke_off(error: JoinError) -> Error {
    Error::new(Kind::Internal, "reading broke off").with_source(error)
}

impl Many {
    /// A section for each location that could be read. If some could not, no section is all there is.
    pub(super) fn sections<'a, T>(&'a self, items: impl Fn(&'a Loaded) -> Vec<T>) -> Vec<Section<'a, T>> {
        let section = |loaded: &'a Loaded| Section {
            location: Some(&loaded.inventory.location),
            items: items(loaded),
            warnings: loaded.inventory.warnings.iter().collect(),
            complete: loaded.inventory.complete && self.exit == Exit::Done,
        };
        self.loaded.iter().map(section).collect()
    }
}
