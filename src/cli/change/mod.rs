//! What all commands that change a place have in common, so that all of them are equally safe: whether anything may be changed
//! there, what is shown before, who agrees to it, how it is done and stopped, and what is told afterwards.
//!
//! Only decides and talks; [`crate::ops`] does it.

mod agree;
mod ended;
mod find;
mod show;

pub(super) use agree::{agree, can_ask};
pub(super) use ended::{RunJson, exit, problems, told_of_earlier};
pub(super) use find::place_of;
pub(super) use show::{Unfiltered, show, typed};

use super::failure::{Exit, Outcome, Stop};
use super::globals;
use super::places;
use super::session::{Loaded, Session};
use crate::config;
use crate::error::{Error, Kind, Result};
use crate::model::location::Location;
use crate::model::pin::Pin;
use crate::model::plan::{Plan, RunId};
use crate::ops::apply::{self, Site};
use crate::ops::journal::Journal;
use crate::ops::prune::{Sight, Wish};
use crate::ops::settle;
use crate::progress::Progress;
use crate::state::State;
use crate::store::{Store, catalog};
use crate::tui::app::{Settings, SettingsOf};
use clap::Args;
use std::hash::{BuildHasher as _, RandomState};
use std::path::Path;
use std::sync::Arc;

/// Whether a plan is done, or only shown.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Doing it")]
pub(super) struct ApplyArgs {
    /// Do it, instead of only showing it
    #[arg(long)]
    apply: bool,

    /// Ask nothing; needed with --apply where there is no terminal
    #[arg(long, short = 'y', alias = "force", short_alias = 'f')]
    yes: bool,

    /// Only show it, whatever else is said
    #[arg(long, short = 'n')]
    dry_run: bool,

    /// End with exit code 9 if there is nothing to do
    #[arg(long)]
    error_on_noop: bool,
}

impl ApplyArgs {
    /// As if `--apply` had been said, for commands that do it anyway.
    pub(super) fn always(yes: bool, dry_run: bool) -> Self {
        Self { apply: true, yes, dry_run, error_on_noop: false }
    }

    /// Whether nobody need be asked.
    pub(super) fn yes(&self) -> bool {
        self.yes
    }

    /// Whether the user wants to know that there was nothing to do.
    pub(super) fn error_on_noop(&self) -> bool {
        self.error_on_noop
    }

    /// Whether anything is to be changed.
    pub(super) fn applies(&self) -> bool {
        self.apply && !self.dry_run
    }
}

/// A place that is about to be changed, with its journal.
pub(super) struct Place {
    /// Where.
    pub(super) location: Location,
    /// The place.
    pub(super) store: Arc<dyn Store>,
    /// What was done there.
    pub(super) journal: Journal,
}

impl Place {
    /// Opens a location without reading all of it.
    pub(super) fn open(session: &mut Session, location: &Location) -> Outcome<Self> {
        Self::open_by(catalog::open, session, location)
    }

    /// Opens a location for something to be written there; it is made if need be.
    pub(super) fn make(session: &mut Session, location: &Location) -> Outcome<Self> {
        Self::open_by(catalog::make, session, location)
    }

    /// Opens a location to see what writing there would come to; nothing is made.
    pub(super) fn imagine(session: &mut Session, location: &Location) -> Outcome<Self> {
        Self::open_by(catalog::imagine, session, location)
    }

    fn open_by(
        open: fn(&Location) -> Result<Arc<dyn Store>>,
        session: &mut Session,
        location: &Location,
    ) -> Outcome<Self> {
        let place = location.clone();
        let open = async {
            let opened = tokio::task::spawn_blocking(move || open(&place)).await;
            opened.map_err(|e| Error::new(Kind::Internal, "opening broke off").with_source(e))?
        };
        let store = session.jobs.run("opening", &Progress::new(), open).map_err(|error| Stop::at(location, error))?;
        Ok(Self::of(location, store))
    }

    /// One that is open already.
    pub(super) fn loaded(loaded: &Loaded) -> Self {
        Self::of(&loaded.inventory.location, loaded.store.clone())
    }

    /// The place behind an open store.
    pub(super) fn of(location: &Location, store: Arc<dyn Store>) -> Self {
        let journal = Journal::new(&store, &State::usual());
        Self { location: location.clone(), store, journal }
    }

    /// Its pins.
    pub(super) fn pins(&self, session: &mut Session) -> Outcome<Vec<Pin>> {
        self.run(session, "reading pins", async { self.journal.pins().await })
    }

    /// Waits for something that only reads.
    pub(super) fn run<T>(
        &self,
        session: &mut Session,
        phase: &str,
        work: impl Future<Output = Result<T>>,
    ) -> Outcome<T> {
        session.jobs.run(phase, &Progress::new(), work).map_err(|error| Stop::at(&self.location, error))
    }

    /// Waits for something that changes the place. Ctrl-C asks it to come to an end.
    pub(super) fn change<T>(
        &self,
        session: &mut Session,
        phase: &str,
        work: impl AsyncFnOnce(&Site<'_>) -> Result<T>,
    ) -> Outcome<T> {
        may_change(session, &self.location, Some(&self.store))?;
        let progress = Progress::new();
        let site = Site { store: &self.store, journal: &self.journal, clock: &globals::clock, progress: &progress };
        let done = session.jobs.run_to_its_end(phase, &progress, work(&site));
        done.map_err(|error| Stop::at(&self.location, error))
    }
}

/// What a plan is made from.
pub(super) fn sight<'a>(session: &Session, loaded: &'a Loaded, pins: &'a [Pin]) -> Sight<'a> {
    Sight { inventory: &loaded.inventory, pins, now: session.out.look.now, id: new_id() }
}

/// An id for a plan that is made now.
pub(super) fn new_id() -> RunId {
    // Any number will do that another process, or this one a moment later, is unlikely to come by.
    let salt = RandomState::new().hash_one(std::process::id());
    RunId::new(globals::clock(), salt as u32)
}

/// An error if nothing may be changed at `location`: the user said so, here or in the config, however it was spelt there.
pub(super) fn may_change(session: &Session, location: &Location, store: Option<&Arc<dyn Store>>) -> Outcome<()> {
    let denied = |what: String, hint: &str| Err(Stop::at(location, Error::new(Kind::Denied, what).with_hint(hint)));
    if session.globals.read_only() {
        let hint = "leave --read-only away, and CACHEDECK_READ_ONLY unset, to change something";
        return denied("nothing is changed: read-only".to_owned(), hint);
    }
    if let Some(place) = guard(&session.config.places, location, store) {
        let name = place.name.as_deref().unwrap_or_default();
        let hint = "take `read_only` out of the configuration to change something there";
        return denied(format!("nothing is changed: @{name} is read-only"), hint);
    }
    Ok(())
}

/// The place of the config that says that nothing may be changed at `location`, however it is spelt there.
fn guard<'a>(
    places: &'a [config::Place],
    location: &Location,
    store: Option<&Arc<dyn Store>>,
) -> Option<&'a config::Place> {
    let real = |location: &Location| {
        let folder = location.value("src").or(location.value("dest")).filter(|_| location.kind() == "local")?;
        Path::new(folder).canonicalize().ok()
    };
    let same = |other: &Location| {
        other.identity() == location.identity()
            || real(location).is_some_and(|here| real(other) == Some(here))
            || store.is_some_and(|store| {
                other.kind() == location.kind() && catalog::open(other).is_ok_and(|o| o.identity() == store.identity())
            })
    };
    places.iter().filter(|place| place.read_only).find(|place| same(&place.location))
}

/// What the terminal UI is to know of the user's settings for a location: whether it may be changed, and how it is pruned.
pub(super) fn settings(session: &Session) -> Arc<SettingsOf> {
    let (places, all) = (session.config.places.clone(), session.globals.read_only());
    let config = session.config.clone();
    Arc::new(move |location| {
        // Opening it is only worth the while where the answer may depend on it.
        let may_be = places.iter().any(|place| place.read_only && place.location.kind() == location.kind());
        let store = may_be.then(|| catalog::open(location).ok()).flatten();
        let read_only = match guard(&places, location, store.as_ref()) {
            _ if all => Some("--read-only or CACHEDECK_READ_ONLY says so"),
            Some(_) => Some("the config says so"),
            None => None,
        };
        let own = config.known(location).find_map(|place| place.pruning.clone());
        let pruning = own.map(|own| Wish {
            grace: own.grace,
            settle: own.settle,
            max_delete: own.max_delete,
            max_delete_size: own.max_delete_size,
            ..Wish::prune(own.policy)
        });
        Settings { read_only, pruning }
    })
}

/// What is said before anything is read: whether it may be done at all, and whether somebody can agree to it.
pub(super) fn prepare(session: &Session, locations: &[Location], how: &ApplyArgs) -> Outcome<()> {
    if !how.applies() {
        return Ok(());
    }
    locations.iter().try_for_each(|location| may_change(session, location, None))?;
    can_ask(session, how.yes)?;
    Ok(())
}

/// Shows a plan and, where that is asked for, does it. `again` is the command that does it, for people.
pub(super) fn carry_out(
    session: &mut Session,
    place: &Place,
    plan: &Plan,
    how: &ApplyArgs,
    again: &str,
    from: Option<&Arc<dyn Store>>,
) -> Outcome {
    let json = session.out.is_json();
    if !(json && how.applies()) {
        show(session, plan)?;
    }
    if !how.applies() {
        return Ok(match plan.is_empty() {
            true if how.error_on_noop => Exit::Noop,
            true => Exit::Done,
            false => {
                if plan.refused.is_empty() {
                    show::tell_how(session, plan, again);
                }
                Exit::Done
            }
        });
    }
    if !plan.refused.is_empty() {
        if json {
            show(session, plan)?;
        }
        session.words.note("nothing was changed");
        return Ok(Exit::Limit);
    }
    if plan.is_empty() {
        let settled = place.change(session, "finishing earlier runs", async |site| settle::finish(site).await)?;
        told_of_earlier(session, place, &settled);
        if json {
            show(session, plan)?;
        }
        let idle = settled.freed == 0 && settled.restored == 0;
        return Ok(if how.error_on_noop && idle { Exit::Noop } else { problems(&settled) });
    }
    agree(session, &place.location, how.yes, "to do this")?;
    apply_agreed(session, place, plan, from)
}

/// Does what somebody agreed to already.
pub(super) fn apply_agreed(
    session: &mut Session,
    place: &Place,
    plan: &Plan,
    from: Option<&Arc<dyn Store>>,
) -> Outcome {
    let applied = place.change(session, "applying", async |site| apply::apply(site, plan, from).await)?;
    ended::tell(session, place, plan, &applied)
}

/// How a location is typed, quoted for a shell.
pub(super) fn quoted(location: &Location) -> String {
    crate::model::text::shell_quote(&places::typed(location)).into_owned()
}
