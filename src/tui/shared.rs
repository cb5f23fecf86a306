//! What all screens read: locations with what was loaded from them, running jobs, the log, the base of comparisons.
//! Only the app and the reports of jobs change it; screens ask for changes through requests.

mod changes;
mod drafts;

pub use changes::{Change, Changes, Standing};
pub use drafts::{Draft, Drafts, Ledger, called};

use crate::error::{Error, Kind};
use crate::model::digest::Digest;
use crate::model::finding::Finding;
use crate::model::inventory::{CacheIndex, Inventory};
use crate::model::location::Location;
use crate::model::units::SizeStyle;
use crate::ops::find::Found;
use crate::ops::names::StepNames;
use crate::ops::verify::Level;
use crate::progress::Progress;
use crate::store::Capabilities;
use crate::tui::contents::Library;
use crate::tui::json::Tree;
use jiff::Timestamp;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// Number of a location in [`Shared::places`].
pub type PlaceId = usize;

/// One version in one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// Where.
    pub place: PlaceId,
    /// Which.
    pub digest: Digest,
}

/// One location and what is known of it.
#[derive(Clone, Debug)]
pub struct Place {
    /// Where it is.
    pub location: Location,
    /// What must be typed before it is changed: its name in the config, else what its title says without the type. Safe text.
    pub name: String,
    /// Everything in it, once it was loaded. Kept while it is loaded again.
    pub inventory: Option<Arc<Inventory>>,
    /// Versions found so far by the first load.
    pub preview: Vec<CacheIndex>,
    /// Why the last load failed.
    pub error: Option<Arc<Error>>,
    /// Whether the user stopped the last load.
    pub stopped: bool,
    /// How long the last load took.
    pub took: Option<Duration>,
    /// What the last verification found.
    pub verified: Option<Verified>,
    /// What may be changed here, and what was.
    pub ledger: Option<Arc<Ledger>>,
    /// Why nothing may be changed here, whatever the place can do; in a few words.
    pub read_only: Option<&'static str>,
    /// What names led to when `inventory` was read, where that is known: whether plans may be made of it.
    pub seen: Option<Digest>,
    /// Grows with every change above.
    pub revision: u64,
}

/// The result of a verification.
#[derive(Clone, Debug)]
pub struct Verified {
    /// How closely it looked.
    pub level: Level,
    /// When it ended.
    pub at: Timestamp,
    /// What it found, worst first.
    pub findings: Arc<[Finding]>,
    /// Blobs looked at.
    pub blobs: u64,
    /// Bytes hashed.
    pub hashed: u64,
}

impl Place {
    /// A place that nothing is known of.
    pub fn new(location: Location) -> Place {
        let title = location.title();
        let name = title.split_once(':').map_or(title.as_str(), |(_, name)| name).to_owned();
        Place {
            location,
            name,
            inventory: None,
            preview: Vec::new(),
            error: None,
            stopped: false,
            took: None,
            verified: None,
            ledger: None,
            read_only: None,
            seen: None,
            revision: 0,
        }
    }

    /// Why versions and blobs can't be removed here, if so.
    pub fn keeps_all(&self) -> Option<String> {
        self.lacks(|claims| claims.remove || claims.hide, "removing versions")
    }

    /// Why versions can't be given names here, if so.
    pub fn takes_no_names(&self) -> Option<String> {
        self.lacks(|claims| claims.write && claims.remove, "giving versions another name")
    }

    /// Why this can't take a copy, if that is known.
    pub fn takes_no_copies(&self) -> Option<String> {
        let claims = self.ledger.as_ref().map(|ledger| ledger.claims.write);
        self.is_fixed().or_else(|| no_copies_to(self.location.kind(), claims))
    }

    /// Why nothing may be changed here, if so.
    pub fn is_fixed(&self) -> Option<String> {
        let why = self.read_only?;
        Some(format!("{} is read-only: {why}", self.location.title()))
    }

    fn lacks(&self, has: impl Fn(&Capabilities) -> bool, what: &str) -> Option<String> {
        let Some(ledger) = &self.ledger else { return Some("it is not known yet what can be changed here".to_owned()) };
        (!has(&ledger.claims)).then(|| match self.location.kind() {
            "gha" => "not supported by gha: its entries go by `cachedeck gha prune`".to_owned(),
            "daemon" => "not supported by daemon: its records go by `cachedeck daemon prune`".to_owned(),
            kind => Error::unsupported(&crate::model::text::safe(kind), what).to_string(),
        })
    }

    /// Whether anything here can be changed at all.
    pub fn is_writable(&self) -> bool {
        self.read_only.is_none() && (self.keeps_all().is_none() || self.takes_no_names().is_none())
    }

    /// The versions known: of the last whole load, else as far as the first one has come.
    pub fn indexes(&self) -> &[CacheIndex] {
        self.inventory.as_ref().map_or(&self.preview, |inventory| &inventory.indexes)
    }

    /// The version with this digest.
    pub fn index(&self, digest: &Digest) -> Option<&CacheIndex> {
        self.indexes().iter().find(|index| index.digest == *digest)
    }
}

/// Why a place of type `kind` takes no copies, if so; `writes` is whether things can be written there, where that is known.
pub fn no_copies_to(kind: &str, writes: Option<bool>) -> Option<String> {
    let why = match (kind, writes) {
        ("inline", _) => "an inline cache is part of its image: a build writes it",
        ("daemon", _) => "a builder's own cache takes no copies: a build with --cache-from brings them",
        ("gha", Some(false)) => "caches are written there in a workflow run only",
        (_, Some(false)) => "caches can't be written there",
        _ => return None,
    };
    Some(why.to_owned())
}

/// What a job does. One of each kind runs at a time in a place; the newest wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JobKind {
    /// Loads a location.
    Load,
    /// Verifies it.
    Verify,
    /// Lists the files of a layer.
    Files,
    /// Reads one file of a layer.
    Peek,
    /// Looks for a file in all layers.
    Find,
    /// Reads a manifest and config as written.
    Raw,
    /// Writes something to a file or folder the user named.
    Save,
    /// Plans a change.
    Plan,
    /// Sees what a copy would come to.
    Estimate,
    /// Checks a build.
    Check,
    /// Changes the place.
    Change,
}

impl JobKind {
    /// What it is doing, in a word or two.
    pub fn doing(self) -> &'static str {
        match self {
            JobKind::Load => "loading",
            JobKind::Verify => "verifying",
            JobKind::Files => "reading layer",
            JobKind::Peek => "reading file",
            JobKind::Find => "finding",
            JobKind::Raw => "reading",
            JobKind::Save => "writing",
            JobKind::Plan => "planning",
            JobKind::Estimate => "comparing",
            JobKind::Check => "asking the builder",
            JobKind::Change => "changing",
        }
    }
}

/// A running job.
#[derive(Clone, Debug)]
pub struct Job {
    /// Reports with another id are late and dropped.
    pub id: u64,
    /// What it does.
    pub kind: JobKind,
    /// Where.
    pub place: PlaceId,
    /// How far it is, and how to stop it.
    pub progress: Progress,
    /// When it began, on [`Shared::clock`].
    pub since: Duration,
}

/// The jobs that run.
#[derive(Clone, Debug, Default)]
pub struct Jobs {
    running: Vec<Job>,
    last: u64,
}

impl Jobs {
    /// Takes the slot of `kind` in `place`, stopping what had it.
    pub fn start(&mut self, kind: JobKind, place: PlaceId, since: Duration) -> Job {
        self.stop(kind, place);
        let job = Job { id: self.number(), kind, place, progress: Progress::new(), since };
        self.running.push(job.clone());
        job
    }

    /// A number for a job that has no slot.
    pub fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// Stops the job in that slot, if there is one.
    pub fn stop(&mut self, kind: JobKind, place: PlaceId) -> bool {
        let before = self.running.len();
        self.running.retain(|job| {
            let goes = job.kind == kind && job.place == place;
            if goes {
                job.progress.cancel();
            }
            !goes
        });
        before != self.running.len()
    }

    /// Asks the newest job to stop; it reports when it has.
    pub fn interrupt(&mut self) -> Option<&Job> {
        let job = self.running.iter().rev().find(|job| !job.progress.is_cancelled())?;
        job.progress.cancel();
        Some(job)
    }

    /// The job with this id, if it still has its slot.
    pub fn by_id(&self, id: u64) -> Option<&Job> {
        self.running.iter().find(|job| job.id == id)
    }

    /// The job in that slot.
    pub fn get(&self, kind: JobKind, place: PlaceId) -> Option<&Job> {
        self.running.iter().find(|job| job.kind == kind && job.place == place)
    }

    /// Takes the job off the list.
    pub fn finish(&mut self, id: u64) -> Option<Job> {
        let at = self.running.iter().position(|job| job.id == id)?;
        Some(self.running.remove(at))
    }

    /// All of them, oldest first.
    pub fn running(&self) -> &[Job] {
        &self.running
    }
}

/// How grave a line of the log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tone {
    /// What was done.
    Done,
    /// Something to know.
    Note,
    /// A failure.
    Failed,
}

/// One line of the log. Already safe.
#[derive(Clone, Debug)]
pub struct Entry {
    /// When.
    pub at: Timestamp,
    /// How grave.
    pub tone: Tone,
    /// What.
    pub text: String,
}

/// Lines the log keeps.
const LOG_LINES: usize = 5000;

/// A search for a file in all layers.
#[derive(Clone, Debug, Default)]
pub struct FileSearch {
    /// What is looked for, as typed.
    pub pattern: String,
    /// Layers that have it, so far.
    pub found: Vec<Found>,
    /// Layers that could not be looked at.
    pub findings: Vec<Finding>,
    /// Why the search broke off.
    pub error: Option<Arc<Error>>,
    /// Grows with every change.
    pub revision: u64,
}

/// Something that is fetched when a screen first needs it.
#[derive(Clone, Debug)]
pub enum Fetched<T> {
    /// On its way.
    Waiting,
    /// Here.
    Ready(T),
    /// It can't be had.
    Failed(Arc<Error>),
}

/// What all screens read.
#[derive(Clone, Debug)]
pub struct Shared {
    /// The locations, in the order given.
    pub places: Vec<Place>,
    /// Names of layers learnt from a builder.
    pub names: Arc<StepNames>,
    /// The time, for ages.
    pub now: Timestamp,
    /// Time since the start, for spinners and rates.
    pub clock: Duration,
    /// How sizes are shown.
    pub sizes: SizeStyle,
    /// Rows of the terminal.
    pub height: u16,
    /// Running jobs that read.
    pub jobs: Jobs,
    /// Jobs that change something, also those that are over.
    pub changes: Changes,
    /// What is about to be changed.
    pub drafts: Drafts,
    /// Newest last.
    pub log: VecDeque<Entry>,
    /// What comparisons start from, if the user set it.
    pub base: Option<Target>,
    /// Documents as stored.
    pub raws: HashMap<Target, Fetched<Arc<Tree>>>,
    /// What was read out of layers.
    pub library: Library,
    /// The last search for a file in each place.
    pub searches: HashMap<PlaceId, FileSearch>,
    /// Grows with every change of data.
    pub revision: u64,
}

impl Shared {
    /// Nothing but locations.
    pub fn new(locations: Vec<Location>, now: Timestamp) -> Shared {
        Shared {
            places: locations.into_iter().map(Place::new).collect(),
            names: Arc::default(),
            now,
            clock: Duration::ZERO,
            sizes: SizeStyle::default(),
            height: 24,
            jobs: Jobs::default(),
            changes: Changes::default(),
            drafts: Drafts::default(),
            log: VecDeque::new(),
            base: None,
            raws: HashMap::new(),
            library: Library::default(),
            searches: HashMap::new(),
            revision: 0,
        }
    }

    /// The version `target` names.
    pub fn index(&self, target: Target) -> Option<&CacheIndex> {
        self.places.get(target.place)?.index(&target.digest)
    }

    /// Notes that `place` changed.
    pub fn touch(&mut self, place: PlaceId) {
        self.revision += 1;
        if let Some(place) = self.places.get_mut(place) {
            place.revision = self.revision;
        }
    }

    /// Adds a line to the log. `text` must be safe.
    pub fn note(&mut self, tone: Tone, text: impl Into<String>) {
        if self.log.len() == LOG_LINES {
            self.log.pop_front();
        }
        self.log.push_back(Entry { at: self.now, tone, text: text.into() });
        self.revision += 1;
    }
}

/// What an error says, in one safe line: what failed, on what, what to do.
pub fn error_line(error: &Error) -> String {
    let what = crate::model::text::safe(&error.to_string()).into_owned();
    match error.hint() {
        Some(hint) if error.kind() != Kind::Cancelled => format!("{what}; {}", crate::model::text::safe(hint)),
        _ => what,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_job_of_a_kind_wins_and_the_old_one_is_stopped() {
        let mut jobs = Jobs::default();
        let old = jobs.start(JobKind::Load, 0, Duration::ZERO);
        let other = jobs.start(JobKind::Load, 1, Duration::ZERO);
        let new = jobs.start(JobKind::Load, 0, Duration::ZERO);
        assert!(old.progress.is_cancelled() && !other.progress.is_cancelled());
        assert!(jobs.by_id(old.id).is_none(), "its answer would be late");
        assert_eq!(jobs.finish(new.id).map(|job| job.id), Some(new.id));
        assert!(jobs.finish(old.id).is_none());
        assert_eq!(jobs.interrupt().map(|job| job.id), Some(other.id));
        assert!(jobs.interrupt().is_none(), "it was asked already");
    }
}
