//! What goes into an [`App`](super::App) and what comes out of it.

use crate::error::{Error, Result};
use crate::model::digest::Digest;
use crate::model::files::Entry;
use crate::model::inventory::{CacheIndex, Inventory};
use crate::model::location::Location;
use crate::model::plan::{Plan, RunId};
use crate::model::units::SizeStyle;
use crate::ops::copy;
use crate::ops::files::Listing;
use crate::ops::files::extract::Extracted;
use crate::ops::files::merge::Merged;
use crate::ops::find::{self, Found};
use crate::ops::names::StepNames;
use crate::ops::prune::Wish;
use crate::ops::verify::{self, Level};
use crate::tui::building::{Building, Checked, Transcript};
use crate::tui::contents::{Chain, File, Page};
use crate::tui::copying::Copying;
use crate::tui::json::Tree;
use crate::tui::keys::Keymap;
use crate::tui::screen::Work;
use crate::tui::shared::{Job, Ledger, Standing, Target, Tone};
use crate::tui::terminal::Signal;
use crate::tui::theme::Theme;
use crossterm::event::{KeyEvent, MouseEvent};
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// What the user has set for one location.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Why nothing may be changed there, in a few words.
    pub read_only: Option<&'static str>,
    /// What pruning is to do there.
    pub pruning: Option<Wish>,
}

/// Tells what the user has set for a location.
pub type SettingsOf = dyn Fn(&Location) -> Settings + Send + Sync;

/// What an [`App`](super::App) begins with.
pub struct Setup {
    /// The locations to open.
    pub locations: Vec<Location>,
    /// What the user has set for a location, given or added.
    pub settings: Arc<SettingsOf>,
    /// Locations that `@name` stands for.
    pub aliases: BTreeMap<String, Location>,
    /// Names of layers learnt from a builder.
    pub names: StepNames,
    /// The keys.
    pub keymap: Keymap,
    /// The styles.
    pub theme: Theme,
    /// Whether to draw in 7-bit signs only.
    pub ascii: bool,
    /// How sizes are shown.
    pub sizes: SizeStyle,
    /// Whether to show the tour first.
    pub tour: bool,
    /// The time.
    pub now: Timestamp,
    /// Whether a text names a folder, for locations that are typed.
    pub is_dir: fn(&str) -> bool,
}

/// What happens to an [`App`](super::App).
#[derive(Debug)]
pub enum Message {
    /// A key.
    Key(KeyEvent),
    /// The mouse.
    Mouse(MouseEvent),
    /// Text that was pasted.
    Paste(String),
    /// Another size of the terminal.
    Resize(u16, u16),
    /// Time passed: the time of day, and since the start.
    Tick(Timestamp, Duration),
    /// News of the job with that id.
    Report(u64, Report),
    /// Names of layers, of builders that were asked.
    Named(StepNames),
    /// A signal.
    Signal(Signal),
    /// What became of an effect that is no job.
    Said(Tone, String),
    /// Text to show in a box: title and text.
    Show(String, String),
}

/// News of a job.
#[derive(Debug)]
pub enum Report {
    /// Versions found so far.
    Found(Vec<CacheIndex>),
    /// What may be changed at the location, and what was.
    Ledger(Box<Ledger>),
    /// The location as it is looked at for a plan, and what tells whether it has changed since.
    Seen(Box<Inventory>, Digest),
    /// A plan was made of this wish.
    Planned(Box<Wish>, Box<Plan>),
    /// None could be made.
    NotPlanned(Box<Wish>, Error),
    /// What a copy would come to, or why it can't be made.
    Estimated(Box<Copying>, Result<Box<copy::Plan>>),
    /// A build was checked against its builder.
    Checked(Box<Building>, Result<Checked>),
    /// A build has begun; this tells what it says.
    Says(Transcript),
    /// A copy has begun; this tells what is on its way.
    Sends(copy::Traffic),
    /// A change ended.
    Changed(Ending),
    /// The location was loaded.
    Loaded(Box<Inventory>),
    /// It was verified.
    Verified(Level, verify::Report),
    /// Documents as stored.
    Raw(Target, Box<Tree>),
    /// They can't be read.
    NoRaw(Target, Error),
    /// Entries of a layer, as they are read.
    Listed(Chain, Vec<Entry>),
    /// A layer was listed.
    ListEnd(Chain, Listing),
    /// A chain of layers was merged.
    Merged(Chain, Box<Merged>),
    /// The files of a chain can't be had.
    NoFiles(Chain, Error),
    /// The beginning of a file, or why it can't be had.
    Peeked(File, Result<Page>),
    /// A file for the pager. Safe.
    Paged(String),
    /// A layer has the file that is looked for.
    FoundFile(Found),
    /// All layers were searched.
    FindEnd(find::Report),
    /// Something was extracted.
    Extracted(Extracted),
    /// Something was written: where, and how many bytes.
    Saved(PathBuf, u64),
    /// It failed or was stopped.
    Failed(Error),
}

/// How a change ended.
#[derive(Debug)]
pub struct Ending {
    /// How it stands now. May hold untrusted text.
    pub state: Standing,
    /// The runs that can be undone, oldest first.
    pub runs: Vec<RunId>,
}

impl Report {
    /// Whether the job is over with this; others are news on the way.
    pub fn ends_job(&self) -> bool {
        !matches!(
            self,
            Report::Found(_)
                | Report::Listed(..)
                | Report::FoundFile(_)
                | Report::Ledger(_)
                | Report::Seen(..)
                | Report::Sends(_)
                | Report::Says(_)
        )
    }
}

/// What an [`App`](super::App) wants done by whoever runs it.
#[derive(Debug)]
pub enum Effect {
    /// Run this job and report under its id.
    Start(Job, Box<Order>),
    /// Ask the builders at hand for names of layers.
    AskNames,
    /// Put this on the clipboard.
    Copy(String),
    /// Show this in the user's pager.
    Page(String),
    /// Suspend the process.
    Suspend,
    /// Draw everything anew.
    Redraw,
    /// Remember that the tour was seen.
    TourSeen,
    /// Quit.
    Quit,
}

/// What a job needs.
#[derive(Clone, Debug)]
pub struct Order {
    /// Where.
    pub location: Location,
    /// What to do.
    pub work: Work,
    /// Another place that is needed: where a repair fetches from.
    pub from: Option<Location>,
    /// What was loaded from there.
    pub inventory: Option<Arc<Inventory>>,
    /// What tells whether the place has changed since, where that is known.
    pub seen: Option<Digest>,
    /// Blobs that are not what they should be, as verifying found.
    pub corrupt: Vec<Digest>,
}
