//! Jobs that plan changes, and those that make them. What is decided and done is in `ops`; here it is put together with the
//! place, its journal and the clock, and told in sentences.

use super::World;
use crate::error::{Error, Kind, Result};
use crate::model::digest::Digest;
use crate::model::inventory::{CacheIndex, Inventory};
use crate::model::pin::Pin;
use crate::model::plan::{Plan, Purpose, RunId};
use crate::model::text;
use crate::model::units::{Bytes, SizeStyle, age, count};
use crate::ops::apply::{self, Applied, Site};
use crate::ops::journal::Journal;
use crate::ops::prune::{self, Sight, Wish};
use crate::ops::settle::{self, Settled};
use crate::ops::{load, pin, repair};
use crate::progress::Progress;
use crate::store::Store;
use crate::tui::app::Ending;
use crate::tui::screen::Changing;
use crate::tui::shared::{Ledger, Standing, error_line};
use jiff::Timestamp;
use std::sync::Arc;

/// How often a place may change while a plan of it is made.
const TRIES: usize = 3;

/// A place, and what is needed to plan and change it.
pub(super) struct Bench<'a> {
    pub(super) store: Arc<dyn Store>,
    pub(super) world: &'a World,
    pub(super) progress: &'a Progress,
    /// Where a repair fetches what is missing.
    pub(super) from: Option<Arc<dyn Store>>,
}

impl Bench<'_> {
    pub(super) fn journal(&self) -> Journal {
        Journal::new(&self.store, &self.world.state)
    }

    pub(super) fn now(&self) -> Timestamp {
        (self.world.clock)()
    }

    pub(super) fn id(&self) -> RunId {
        RunId::new(self.now(), (self.world.salt)())
    }
}

/// What may be changed at a place, and what was. What can't be told is said in it: it keeps nobody from looking.
pub(super) async fn ledger(store: &Arc<dyn Store>, world: &World) -> Ledger {
    let journal = Journal::new(store, &world.state);
    let (pins, runs) = (journal.pins().await, journal.runs().await);
    let problem = pins.as_ref().err().or(runs.as_ref().err()).map(error_line);
    let (pins, runs) = (pins.unwrap_or_default(), runs.unwrap_or_default());
    Ledger { claims: store.capabilities(), pins, runs, problem }
}

/// Plans `wish`, from what is known of the place if its names lead where they did then, else from what it is now: that comes
/// back too, with what tells whether it changes.
pub(super) async fn plan(
    bench: &Bench<'_>,
    wish: &Wish,
    mut known: Option<(Arc<Inventory>, Digest)>,
    corrupt: Vec<Digest>,
) -> Result<(Plan, Option<Inventory>, Digest)> {
    let store = &bench.store;
    let repair = repair::Wish { which: Vec::new(), corrupt };
    for _ in 0..TRIES {
        let before = prune::fingerprint(&store.identity(), &store.references().await?);
        let reused = known.take().filter(|(_, seen)| *seen == before).map(|(inventory, _)| inventory);
        let fresh = match &reused {
            Some(_) => None,
            None => Some(load::load(store, bench.progress).await?),
        };
        let Some(inventory) = reused.as_deref().or(fresh.as_ref()) else { continue };
        let pins = bench.journal().pins().await?;
        let sight = Sight { inventory, pins: &pins, now: bench.now(), id: bench.id() };
        let plan = match wish.purpose {
            Purpose::Repair => repair::plan(store, &sight, &repair, bench.from.as_ref()).await?,
            _ => prune::plan(store, &sight, wish).await?,
        };
        // If names changed meanwhile, what was loaded is not what the plan would be checked against.
        if plan.fingerprint == before {
            return Ok((plan, fresh, before));
        }
    }
    Err(busy())
}

fn busy() -> Error {
    Error::new(Kind::Busy, "builds go on changing the location").with_hint("try again once they are done")
}

/// What came of a change: whether all of it was done, what there is to say, and the run that can be undone.
type Came = (bool, Vec<String>, Option<RunId>);

/// Makes a change in one place.
pub(super) async fn change(bench: &Bench<'_>, changing: Changing) -> Result<Ending> {
    let (whole, lines, run) = came(bench, changing).await?;
    let state = if whole { Standing::Done(lines) } else { Standing::Partly(lines) };
    Ok(Ending { state, runs: run.into_iter().collect() })
}

async fn came(bench: &Bench<'_>, changing: Changing) -> Result<Came> {
    let journal = bench.journal();
    let clock = || bench.now();
    let site = Site { store: &bench.store, journal: &journal, clock: &clock, progress: bench.progress };
    bench.progress.check()?;
    match changing {
        Changing::Apply(plan, _) => {
            bench.progress.expect(plan.steps.len() as u64, 0);
            let applied = apply::apply(&site, &plan, bench.from.as_ref()).await?;
            Ok(told(&applied, &plan, bench.now()))
        }
        Changing::Undo(id) => {
            let undone = settle::undo(&site, &id).await?;
            let mut lines =
                vec![format!("{} came back, {} led back", count(undone.restored, "blob"), count(undone.names, "name"))];
            let whole = undone.failures.is_empty();
            lines.extend(undone.failures);
            Ok((whole, lines, None))
        }
        Changing::Empty(only) => {
            let settled = settle::empty(&site, only.as_ref()).await?;
            let whole = settled.problems.is_empty() && settled.incomplete.is_empty();
            Ok((whole, freed(&settled), None))
        }
        Changing::Pin(digest, pin) => pinned(&site, bench, &digest, pin).await,
        Changing::Unpin(name) => {
            let seen = load::load(&bench.store, bench.progress).await?;
            let pins = journal.pins().await?;
            let sight = Sight { inventory: &seen, pins: &pins, now: bench.now(), id: bench.id() };
            let names = std::slice::from_ref(&name);
            let plan = match pin::unname(&bench.store, &sight, names, Purpose::Unpin, true).await {
                // Somebody took the name away: only our note of it is left.
                Err(error) if error.kind() == Kind::NotFound => {
                    journal.drop_pin(&name).await?;
                    return Ok((true, vec!["its name was gone already; the pin is forgotten".to_owned()], None));
                }
                plan => plan?,
            };
            let applied = apply::apply(&site, &plan, None).await?;
            let (whole, lines, run) = told(&applied, &plan, bench.now());
            if whole {
                journal.drop_pin(&name).await?;
            }
            Ok((whole, lines, run))
        }
        // See `copying` and `building`.
        Changing::Copy(_) | Changing::Build(_) => Err(Error::new(Kind::Internal, "this is no change of one place")),
    }
}

/// Pins a version: proves that all of it is there, names it, and proves it again.
async fn pinned(site: &Site<'_>, bench: &Bench<'_>, digest: &Digest, pin: Pin) -> Result<Came> {
    let seen = load::load(&bench.store, bench.progress).await?;
    let pins = site.journal.pins().await?;
    let index: &CacheIndex = seen.version(digest).ok_or_else(|| {
        Error::not_found(format!("version {} is not there any more", digest.short())).with_hint("load it again")
    })?;
    let sight = Sight { inventory: &seen, pins: &pins, now: bench.now(), id: bench.id() };
    let plan = pin::plan(&bench.store, &sight, index, &pin).await?;
    let kept = pin::keep(site, &plan, &pin).await?;
    let shown = text::safe(&pin.name).into_owned();
    if let Some(why) = kept.broken {
        return Ok((false, vec![format!("{shown} was not pinned: {why}; it was taken back")], None));
    }
    let mut lines = vec![format!("{shown} keeps it, and all of it is there")];
    let line = bench.store.location().cache_from(index.known_digest(), Some(&pin.name)).ok();
    lines.extend(line.map(|line| format!("--cache-from {}", text::shell_quote(&line))));
    let earlier = kept.applied.iter().filter(|applied| !applied.earlier.runs.is_empty());
    lines.extend(earlier.map(|applied| format!("of earlier runs: {}", freed(&applied.earlier).join("; "))));
    Ok((true, lines, kept.applied.map(|applied| applied.run.id)))
}

/// What came of a plan, in sentences: whether all of it was done, and the run if it can be undone.
fn told(applied: &Applied, plan: &Plan, now: Timestamp) -> Came {
    let run = &applied.run;
    let size = |bytes| Bytes(bytes).show(SizeStyle::default());
    let mut lines = Vec::new();
    if let Some(why) = &applied.stopped {
        let hides = plan.targets().count() as u64;
        lines.push(format!(
            "it stopped: {why}; {} of {} changed, {} of {hides} hidden",
            run.names,
            count(plan.steps.iter().filter(|step| crate::model::run::is_about_names(step)).count(), "name"),
            run.hidden + run.freed + run.restored,
        ));
    } else if run.names > 0 {
        lines.push(format!("{} changed", count(run.names, "name")));
    }
    if run.hidden > 0 {
        let due = run.due().map(|due| format!(", to be freed {}", age(now, due)));
        lines.push(format!(
            "{} hidden, {}{}; undo brings them back until then",
            count(run.hidden, "blob"),
            size(run.hidden_bytes),
            due.unwrap_or_default()
        ));
    }
    if run.freed > 0 {
        lines.push(format!("{} freed, {}", count(run.freed, "blob"), size(run.freed_bytes)));
    }
    if run.restored > 0 {
        lines.push(format!("{} stay, as something needs them by now", count(run.restored, "blob")));
    }
    if !applied.earlier.runs.is_empty() {
        lines.push(format!("of earlier runs: {}", freed(&applied.earlier).join("; ")));
    }
    lines.extend(applied.incomplete.iter().cloned());
    lines.extend(applied.problems.iter().chain(&applied.earlier.problems).chain(&run.failures).cloned());
    if lines.is_empty() {
        lines.push("nothing was left to do".to_owned());
    }
    let undoable = run.hidden > 0 || run.names > 0;
    (applied.is_whole(), lines, undoable.then(|| run.id.clone()))
}

/// What became of what was hidden, in sentences.
fn freed(settled: &Settled) -> Vec<String> {
    let size = |bytes| Bytes(bytes).show(SizeStyle::default());
    let mut lines = Vec::new();
    if settled.freed > 0 {
        lines.push(format!("{} freed, {}", count(settled.freed, "blob"), size(settled.freed_bytes)));
    }
    if settled.restored > 0 {
        lines.push(format!("{} came back, as a version needs them", count(settled.restored, "blob")));
    }
    if settled.waiting > 0 {
        lines.push(format!("{} hidden still, {}", count(settled.waiting, "blob"), size(settled.waiting_bytes)));
    }
    if lines.is_empty() {
        lines.push("nothing was hidden any more".to_owned());
    }
    lines.extend(settled.incomplete.iter().chain(&settled.problems).cloned());
    lines
}
