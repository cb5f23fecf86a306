//! What was hidden is looked at again: what somebody needs comes back, and the rest is freed once it has settled. Whatever state
//! a run that broke off has left, this leads it to its end; doing it twice is doing it once.

use crate::error::{Error, Kind, Result};
use crate::model::digest::Digest;
use crate::model::inventory::Inventory;
use crate::model::plan::{Plan, Purpose, RunId, Step, Target};
use crate::model::run::{Phase, Run};
use crate::ops::apply::Site;
use crate::ops::load;
use crate::store::{Expected, Store};
use bytes::Bytes;
use futures::StreamExt as _;
use jiff::Timestamp;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

/// How often what came back may lead to more: manifests name manifests.
const ROUNDS: usize = 32;

/// Blobs asked for at a time.
const ASKED_AT_ONCE: usize = 16;

/// Whether what is hidden may be freed before it is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urge {
    /// Nothing; what is needed comes back, and that is all.
    Never,
    /// Only what has settled.
    WhenDue,
    /// All that nobody needs, now: the user empties the trash.
    Now,
}

/// What became of what was hidden.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// Runs that were looked at.
    pub runs: Vec<RunId>,
    /// Blobs that came back, as a version needs them.
    pub restored: u64,
    /// Blobs that are freed.
    pub freed: u64,
    /// Their bytes.
    pub freed_bytes: u64,
    /// Blobs that are hidden still.
    pub waiting: u64,
    /// Their bytes.
    pub waiting_bytes: u64,
    /// When the first of them may be freed.
    pub due: Option<Timestamp>,
    /// Versions that need hidden blobs which could not be brought back, a sentence each. May hold untrusted text.
    pub incomplete: Vec<String>,
    /// Why nothing was freed though it was due, or what else went wrong. May hold untrusted text.
    pub problems: Vec<String>,
}

impl Settled {
    fn add(&mut self, other: Self) {
        self.runs.extend(other.runs);
        self.restored += other.restored;
        self.freed += other.freed;
        self.freed_bytes += other.freed_bytes;
        self.waiting += other.waiting;
        self.waiting_bytes += other.waiting_bytes;
        self.due = [self.due, other.due].into_iter().flatten().min();
        self.incomplete.extend(other.incomplete);
        self.problems.extend(other.problems);
    }
}

/// Leads all open runs of the place on, or just `only`. The caller holds it.
pub async fn open_runs(site: &Site<'_>, urge: Urge, only: Option<&RunId>) -> Result<Settled> {
    let mut settled = Settled::default();
    let wanted = |run: &Run| run.is_open() && only.is_none_or(|only| *only == run.id);
    for mut open in site.journal.runs().await?.into_iter().filter(wanted) {
        let plan = site.journal.plan(&open.id).await?;
        settled.add(lead_on(site, &mut open, urge, plan.as_ref(), None).await?);
    }
    Ok(settled)
}

/// Leads one run on. The caller holds the place. `known` is what it hid, from who has just hidden that; without it the place is
/// asked.
pub async fn lead_on(
    site: &Site<'_>,
    run: &mut Run,
    urge: Urge,
    plan: Option<&Plan>,
    known: Option<Vec<Target>>,
) -> Result<Settled> {
    let mut settled = Settled { runs: vec![run.id.clone()], ..Settled::default() };
    let now = (site.clock)();
    if run.phase == Phase::Applying {
        // It broke off: nobody knows when it hid what, so it settles from now.
        run.phase = Phase::Hidden(now);
    }
    let mut hidden = match known {
        Some(hidden) => hidden,
        None => hidden_by(site.store, &run.id, plan).await?,
    };
    if !hidden.is_empty() {
        let (seen, problems) = bring_back(site, run, &mut hidden, &mut settled).await?;
        settled.problems.extend(problems);
        let due = match urge {
            Urge::Never => false,
            Urge::WhenDue => run.due().is_some_and(|due| due <= now),
            Urge::Now => true,
        };
        if due && !seen.complete {
            settled.problems.push(
                "not all of the location could be read, so nothing is freed: what is hidden may be in use".to_owned(),
            );
        } else if due && settled.incomplete.is_empty() {
            free(site, run, &mut hidden, &mut settled).await;
        }
    }
    settled.waiting = hidden.len() as u64;
    let linked = site.store.linked(&hidden);
    settled.waiting_bytes = hidden.iter().filter(|target| !linked.contains(&target.digest)).map(|t| t.bytes).sum();
    (run.hidden, run.hidden_bytes) = (settled.waiting, settled.waiting_bytes);
    run.restored += settled.restored;
    run.freed += settled.freed;
    run.freed_bytes += settled.freed_bytes;
    if hidden.is_empty() {
        run.phase = Phase::Done(now);
        site.journal.close(run, plan).await?;
    } else {
        settled.due = run.due();
        site.journal.update(run).await?;
    }
    Ok(settled)
}

/// What a run hid, as the place has it.
async fn hidden_by(store: &Arc<dyn Store>, id: &RunId, plan: Option<&Plan>) -> Result<Vec<Target>> {
    if !store.capabilities().hide {
        return Ok(Vec::new());
    }
    let targets: Vec<Target> = plan.iter().flat_map(|plan| plan.targets()).copied().collect();
    store.hidden(id, &targets).await
}

/// Brings back what versions need that are there now, until none needs more. What is still hidden stays in `hidden`.
async fn bring_back(
    site: &Site<'_>,
    run: &Run,
    hidden: &mut Vec<Target>,
    settled: &mut Settled,
) -> Result<(Inventory, Vec<String>)> {
    let mut problems = Vec::new();
    for _ in 0..ROUNDS {
        let seen = load::load(site.store, &crate::progress::Progress::new()).await?;
        let needed = missing(&seen);
        let wanted: Vec<Target> = hidden.iter().filter(|t| needed.contains(&t.digest)).copied().collect();
        if wanted.is_empty() {
            return Ok((seen, problems));
        }
        let mut failed = HashSet::new();
        let restored = site.store.restore(&run.id, &wanted, site.progress).await;
        for (target, restored) in wanted.iter().zip(restored) {
            match restored {
                Ok(()) => settled.restored += 1,
                Err(error) => {
                    problems.push(format!("blob {} could not be brought back: {error}", target.digest));
                    failed.insert(target.digest);
                }
            }
        }
        hidden.retain(|t| failed.contains(&t.digest) || !needed.contains(&t.digest));
        if !failed.is_empty() {
            let lacks = |index: &&crate::model::inventory::CacheIndex| index.missing.iter().any(|d| failed.contains(d));
            settled.incomplete.extend(seen.indexes.iter().filter(lacks).map(|index| {
                let name = index.name().map_or_else(|| index.short(), str::to_owned);
                format!("{name} needs blobs that run {} hid; `cachedeck undo {}` brings them back", run.id, run.id)
            }));
            return Ok((seen, problems));
        }
    }
    Err(Error::new(Kind::Busy, "builds go on changing the location").with_hint("try again once they are done"))
}

/// Blobs that versions which are there need, and that are not there.
fn missing(seen: &Inventory) -> HashSet<Digest> {
    seen.indexes.iter().flat_map(|index| &index.missing).copied().collect()
}

async fn free(site: &Site<'_>, run: &Run, hidden: &mut Vec<Target>, settled: &mut Settled) {
    let mut left = Vec::new();
    let linked = site.store.linked(hidden);
    let freed = site.store.purge(&run.id, hidden, site.progress).await;
    for (target, freed) in hidden.iter().zip(freed) {
        match freed {
            Ok(()) => {
                settled.freed += 1;
                settled.freed_bytes += if linked.contains(&target.digest) { 0 } else { target.bytes };
            }
            Err(error) => {
                settled.problems.push(format!("blob {} could not be freed: {error}", target.digest));
                left.push(*target);
            }
        }
    }
    *hidden = left;
}

/// Leads all open runs on, where nothing else is to be done: what is needed comes back, what has settled is freed.
pub async fn finish(site: &Site<'_>) -> Result<Settled> {
    let by = RunId::new((site.clock)(), 0);
    site.held(&by, open_runs(site, Urge::WhenDue, None)).await
}

/// Frees what runs hid and nobody needs, now. `only` names one run.
pub async fn empty(site: &Site<'_>, only: Option<&RunId>) -> Result<Settled> {
    let by = only.cloned().unwrap_or_else(|| RunId::new((site.clock)(), 0));
    site.held(&by, open_runs(site, Urge::Now, only)).await
}

/// What undoing did.
#[derive(Clone, Debug)]
pub struct Undone {
    /// The run that is undone.
    pub run: Run,
    /// Blobs that are there again.
    pub restored: u64,
    /// Names that lead again where they led.
    pub names: u64,
    /// What could not be taken back, a sentence each. May hold untrusted text.
    pub failures: Vec<String>,
}

/// Takes a run back: its blobs first, then its names. Names that lead elsewhere by now are left alone, and told.
///
/// [`Kind::NotFound`] without such a run, [`Kind::Unsupported`] if what it did cannot be taken back (any more).
pub async fn undo(site: &Site<'_>, id: &RunId) -> Result<Undone> {
    site.held(id, take_back(site, id)).await
}

async fn take_back(site: &Site<'_>, id: &RunId) -> Result<Undone> {
    let absent = || {
        Error::not_found(format!("no run {id} at {}", site.store.location().title()))
            .with_hint("`cachedeck log` lists those there are")
    };
    let mut run = site.journal.run(id).await?.ok_or_else(absent)?;
    let plan = site.journal.plan(id).await?.ok_or_else(absent)?;
    if let Phase::Undone(_) = run.phase {
        return Err(Error::new(Kind::Stale, format!("run {id} was undone before")));
    }
    let targets: Vec<Target> = plan.targets().copied().collect();
    let hidden = hidden_by(site.store, id, Some(&plan)).await?;
    let names = plan.steps.iter().any(crate::model::run::is_about_names);
    if run.freed > 0 && hidden.is_empty() {
        let what = format!("run {id} cannot be undone: what it removed is freed");
        return Err(Error::new(Kind::Unsupported, what));
    }
    // One that is open may have been taken back and killed before that was written down.
    if hidden.is_empty() && !names && !run.is_open() {
        return Err(Error::new(Kind::Unsupported, format!("run {id} left nothing that can be taken back")));
    }
    let mut undone = Undone { run: run.clone(), restored: 0, names: 0, failures: Vec::new() };
    let restored = site.store.restore(id, &hidden, site.progress).await;
    for (target, restored) in hidden.iter().zip(restored) {
        match restored {
            Ok(()) => undone.restored += 1,
            Err(error) => undone.failures.push(format!("blob {} did not come back: {error}", target.digest)),
        }
    }
    if undone.failures.is_empty() && names {
        // How far freeing came may not be written down, but names never lead to what is not whole.
        let gone = gone(site.store, &targets, &hidden).await?;
        if gone > 0 {
            let what = crate::model::units::count(gone, "blob");
            undone.failures.push(format!("{what} that it removed are freed, so names are left as they are"));
        }
    }
    if undone.failures.is_empty() {
        take_back_names(site, &plan, &run.documents, &mut undone).await?;
    }
    if undone.failures.is_empty() {
        (run.hidden, run.hidden_bytes) = (0, 0);
        run.phase = Phase::Undone((site.clock)());
        site.journal.close(&run, Some(&plan)).await?;
    }
    undone.run = run;
    Ok(undone)
}

/// How many of a plan's blobs are neither hidden nor there.
async fn gone(store: &Arc<dyn Store>, targets: &[Target], hidden: &[Target]) -> Result<u64> {
    let hidden: HashSet<Digest> = hidden.iter().map(|target| target.digest).collect();
    let mut asked: Vec<Digest> = targets.iter().map(|target| target.digest).collect();
    asked.retain(|digest| !hidden.contains(digest));
    let asked = futures::stream::iter(asked).map(|digest| async move { store.stat(&digest).await });
    let mut answers = asked.buffer_unordered(ASKED_AT_ONCE);
    let mut gone = 0;
    while let Some(answer) = answers.next().await {
        match answer {
            Ok(_) => {}
            Err(error) if error.kind() == Kind::NotFound => gone += 1,
            Err(error) => return Err(error),
        }
    }
    Ok(gone)
}

async fn take_back_names(
    site: &Site<'_>,
    plan: &Plan,
    documents: &BTreeMap<String, String>,
    undone: &mut Undone,
) -> Result<()> {
    for step in plan.steps.iter().rev() {
        let now = site.store.references().await?;
        let is = |name: &str| now.items.iter().find(|reference| reference.name == name);
        let (name, done) = match step {
            Step::Unname { name, digest, .. } => {
                if is(name).is_some() {
                    let name = crate::model::text::safe(name);
                    undone.failures.push(format!("{name} leads elsewhere by now, and is left alone"));
                    continue;
                }
                (name, publish(site.store, name, *digest, documents, Expected::Absent).await)
            }
            Step::Lead { name, digest, was, before, .. } => {
                // Where the place tells no digests, the document does.
                let Some(reference) = is(name) else { continue };
                let leads = match reference.digest {
                    Some(is) => is,
                    None => Digest::of(&site.store.document(reference, crate::format::document::LIMIT).await?),
                };
                if leads != *digest {
                    let name = crate::model::text::safe(name);
                    undone.failures.push(format!("{name} leads elsewhere by now, and is left alone"));
                    continue;
                }
                let version = reference.version.clone().unwrap_or_default();
                let done = match was {
                    None => site.store.remove(std::slice::from_ref(reference)).await.pop().unwrap_or(Ok(())),
                    Some(_) => publish(site.store, name, *before, documents, Expected::Version(version)).await,
                };
                (name, done)
            }
            _ => continue,
        };
        if done.is_ok() && plan.purpose == Purpose::Pin {
            site.journal.drop_pin(name).await?;
        }
        match done {
            Ok(()) => undone.names += 1,
            Err(error) => {
                undone.failures.push(format!("{} was not led back: {error}", crate::model::text::safe(name)));
            }
        }
    }
    Ok(())
}

/// Leads a name back to what it led to.
async fn publish(
    store: &Arc<dyn Store>,
    name: &str,
    digest: Option<Digest>,
    documents: &BTreeMap<String, String>,
    expected: Expected,
) -> Result<()> {
    let kept = documents.get(name).map(|text| Bytes::from(text.clone().into_bytes()));
    let document = match (kept, digest) {
        (Some(bytes), _) => bytes,
        (None, Some(digest)) => store.read(&digest, crate::format::document::LIMIT).await?,
        (None, None) => return Err(Error::not_found("what it led to was not kept")),
    };
    store.publish(name, &document, &[], expected).await.map(drop)
}
