//! Does what a plan says. This and [`crate::ops::settle`] are the only code that changes a place.
//!
//! Blobs come before the names that lead to them, names go before their blobs. What goes is hidden first, for an exporter leaves
//! no trace of counting on a blob: only once nobody can find it any more does looking again tell who needs it. Who looked before
//! and still counts on it is done within the settling time; what is needed by then comes back, the rest is freed.

use crate::error::{Error, Kind, Result};
use crate::model::digest::Digest;
use crate::model::plan::{self, Plan, RunId, Step, Target};
use crate::model::run::{Phase, Run};
use crate::ops::journal::Journal;
use crate::ops::prune;
use crate::ops::settle::{self, Settled, Urge};
use crate::progress::Progress;
use crate::store::{Expected, Reference, Store};
use bytes::Bytes;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Blobs that are hidden before it is looked whether names have changed.
const BATCH: usize = 8192;

/// Why a run that the user stopped did not go on.
pub const STOPPED: &str = "you stopped it";

/// What changing a place needs.
pub struct Site<'a> {
    /// The place.
    pub store: &'a Arc<dyn Store>,
    /// Its journal.
    pub journal: &'a Journal,
    /// The clock.
    pub clock: &'a (dyn Fn() -> Timestamp + Send + Sync),
    /// Counts blobs, and stops between two steps.
    pub progress: &'a Progress,
}

impl Site<'_> {
    /// Does `work` while `by` holds the place.
    pub(super) async fn held<T>(&self, by: &RunId, work: impl Future<Output = Result<T>>) -> Result<T> {
        let hold = self.store.hold(by).await?;
        let done = work.await;
        let released = self.store.release(hold).await;
        // Why it was not done says more than why it could not be given up.
        let done = done?;
        released.map(|()| done)
    }
}

/// What came of a plan.
#[derive(Clone, Debug)]
pub struct Applied {
    /// The run, as it was written down.
    pub run: Run,
    /// What earlier runs had hidden, and what became of it.
    pub earlier: Settled,
    /// Versions under a name that miss blobs which this run hid, a sentence each: they could not be brought back.
    pub incomplete: Vec<String>,
    /// Why it did not go on to its end.
    pub stopped: Option<String>,
    /// Of what sort the first failure was.
    pub failed: Option<Kind>,
    /// What else did not go as it should once all was done, a sentence each. May hold untrusted text.
    pub problems: Vec<String>,
}

impl Applied {
    /// Whether all of it was done, and all that earlier runs had left.
    pub fn is_whole(&self) -> bool {
        let all_done = self.stopped.is_none() && self.incomplete.is_empty() && self.run.failures.is_empty();
        all_done && self.problems.is_empty() && self.earlier.problems.is_empty()
    }
}

/// Applies a plan. `from` is where blobs are fetched from, for plans that fetch.
///
/// [`Kind::Stale`] if the place is not as the plan saw it or the plan was applied before, [`Kind::Invalid`] if a guard refused it
/// or it is for another place, [`Kind::Busy`] while another cachedeck changes the place: nothing is changed then.
/// What fails later is told in [`Run::failures`].
pub async fn apply(site: &Site<'_>, plan: &Plan, from: Option<&Arc<dyn Store>>) -> Result<Applied> {
    check(site.store, plan)?;
    site.held(&plan.id, carry_out(site, plan, from)).await
}

fn check(store: &Arc<dyn Store>, plan: &Plan) -> Result<()> {
    if plan.schema != plan::SCHEMA {
        return Err(Error::invalid("this plan was made by another version of cachedeck").with_hint("make a new plan"));
    }
    if plan.identity != store.identity() {
        let what = format!("this plan is for {}, not for {}", plan.location, store.location().title());
        return Err(Error::invalid(what).with_hint("make a plan for this location"));
    }
    match plan.refused.as_slice() {
        [] => Ok(()),
        [first, ..] => Err(Error::invalid(format!("the plan is not applied: {first}"))),
    }
}

async fn carry_out(site: &Site<'_>, plan: &Plan, from: Option<&Arc<dyn Store>>) -> Result<Applied> {
    let earlier = settle::open_runs(site, Urge::WhenDue, None).await?;
    let store = site.store;
    let references = match plan.steps.iter().all(|step| matches!(step, Step::Discard { .. })) {
        // What is given up by its number is looked at again one by one.
        true => None,
        false => Some(store.references().await?),
    };
    if references.as_ref().is_some_and(|now| prune::fingerprint(&store.identity(), now) != plan.fingerprint) {
        let what = format!("{} has changed since the plan was made", store.location().title());
        return Err(Error::new(Kind::Stale, what).with_hint("look at a new plan"));
    }
    let mut run = Run::begin(plan, (site.clock)());
    run.documents = documents(store, plan, references.iter().flat_map(|r| &r.items)).await?;
    site.journal.begin(plan, &run).await?;
    let mut work = Work { site, plan, run, stopped: None, failed: None, hidden: Some(Vec::new()) };
    work.write(from).await;
    work.lead().await;
    work.unname(references.iter().flat_map(|r| &r.items)).await;
    let hid = work.hide(references.as_ref()).await;
    work.discard().await;
    let Work { mut run, stopped, failed, hidden, .. } = work;
    let (mut incomplete, mut problems) = (Vec::new(), Vec::new());
    if hid {
        run.phase = Phase::Hidden((site.clock)());
        site.journal.update(&run).await?;
        // Who stops it wants no more to be done, but what is needed still comes back.
        let urge = if site.progress.is_cancelled() { Urge::Never } else { Urge::WhenDue };
        let anew = crate::progress::Progress::new();
        let progress = if site.progress.is_cancelled() { &anew } else { site.progress };
        let settled = settle::lead_on(&Site { progress, ..*site }, &mut run, urge, Some(plan), hidden).await?;
        (incomplete, problems) = (settled.incomplete, settled.problems);
    } else {
        run.phase = Phase::Done((site.clock)());
        site.journal.close(&run, Some(plan)).await?;
    }
    Ok(Applied { run, earlier, incomplete, stopped, failed, problems })
}

/// What names lead to that are to go, where the place itself keeps no copy of it.
async fn documents<'a>(
    store: &Arc<dyn Store>,
    plan: &Plan,
    references: impl Iterator<Item = &'a Reference>,
) -> Result<BTreeMap<String, String>> {
    let claims = store.capabilities();
    let mut documents = BTreeMap::new();
    if claims.hide && !claims.bare_configs {
        return Ok(documents);
    }
    let changed = |name: &str| {
        plan.steps.iter().any(|step| match step {
            Step::Unname { name: other, .. } | Step::Lead { name: other, was: Some(_), .. } => other == name,
            _ => false,
        })
    };
    for reference in references.filter(|reference| changed(&reference.name)) {
        let bytes = match store.document(reference, crate::format::document::LIMIT).await {
            Ok(bytes) => bytes,
            // What is gone already, or was never whole, could not be led back to either.
            Err(error) if matches!(error.kind(), Kind::NotFound | Kind::Stale | Kind::Unsupported) => continue,
            Err(error) => return Err(error),
        };
        if let Ok(text) = String::from_utf8(bytes.to_vec()) {
            documents.insert(reference.name.clone(), text);
        }
    }
    Ok(documents)
}

struct Work<'a> {
    site: &'a Site<'a>,
    plan: &'a Plan,
    run: Run,
    stopped: Option<String>,
    failed: Option<Kind>,
    /// What it hid; `None` where only the place knows.
    hidden: Option<Vec<Target>>,
}

impl Work<'_> {
    /// Whether to go on: not once something failed that later steps count on, or the user stopped it.
    fn goes_on(&mut self) -> bool {
        if self.stopped.is_none() && self.site.progress.is_cancelled() {
            self.stopped = Some(STOPPED.to_owned());
        }
        self.stopped.is_none()
    }

    fn fail(&mut self, what: &str, error: &Error) {
        self.failed.get_or_insert(error.kind());
        self.run.failures.push(match error.hint() {
            Some(hint) => format!("{what}: {error}; {hint}"),
            None => format!("{what}: {error}"),
        });
    }

    async fn write(&mut self, from: Option<&Arc<dyn Store>>) {
        for step in &self.plan.steps {
            let (digest, written) = match step {
                Step::Write { digest, text } => {
                    let bytes = Bytes::from(text.clone().into_bytes());
                    // Where names lead to bare configs, leading the name writes it.
                    if self.site.store.capabilities().bare_configs {
                        continue;
                    }
                    (digest, self.site.store.put(digest, Box::new(std::io::Cursor::new(bytes))).await)
                }
                Step::Fetch { digest, .. } => (digest, self.fetch(from, digest).await),
                _ => continue,
            };
            if !self.goes_on() {
                return;
            }
            match written {
                Ok(()) => self.site.progress.add(1, 0),
                Err(error) => {
                    self.fail(&format!("blob {digest} was not written"), &error);
                    self.stopped = Some(format!("blob {digest} could not be written"));
                }
            }
        }
    }

    async fn fetch(&self, from: Option<&Arc<dyn Store>>, digest: &Digest) -> Result<()> {
        let from = from.ok_or_else(|| Error::invalid("the plan fetches blobs, but not said from where"))?;
        let body = from.open(digest).await?;
        self.site.store.put(digest, body).await
    }

    async fn lead(&mut self) {
        for step in &self.plan.steps {
            let Step::Lead { name, digest, was, needs, .. } = step else { continue };
            if !self.goes_on() {
                return;
            }
            let led = match self.document(digest).await {
                Ok(document) => {
                    let expected = was.clone().map_or(Expected::Absent, Expected::Version);
                    self.site.store.publish(name, &document, needs, expected).await
                }
                Err(error) => Err(error),
            };
            match led {
                Ok(_) => self.run.names += 1,
                Err(error) => {
                    let name = crate::model::text::safe(name).to_string();
                    self.fail(&format!("{name} was not changed"), &error);
                    self.stopped = Some(format!("{name} could not be changed"));
                }
            }
        }
    }

    /// The document that a name is to lead to: the plan's own, or one that is there.
    async fn document(&self, digest: &Digest) -> Result<Bytes> {
        let own = self.plan.steps.iter().find_map(|step| match step {
            Step::Write { digest: own, text } if own == digest => Some(Bytes::from(text.clone().into_bytes())),
            _ => None,
        });
        match own {
            Some(bytes) => Ok(bytes),
            None => self.site.store.read(digest, crate::format::document::LIMIT).await,
        }
    }

    async fn unname<'a>(&mut self, references: impl Iterator<Item = &'a Reference>) {
        if !self.goes_on() {
            return;
        }
        let wanted = |reference: &&Reference| {
            self.plan.steps.iter().any(|step| {
                matches!(step, Step::Unname { name, version, .. }
                    if *name == reference.name && Some(version) == reference.version.as_ref())
            })
        };
        let goes: Vec<Reference> = references.filter(wanted).cloned().collect();
        if goes.is_empty() {
            return;
        }
        let removed = self.site.store.remove(&goes).await;
        for (reference, removed) in goes.iter().zip(removed) {
            match removed {
                Ok(()) => self.run.names += 1,
                Err(error) => {
                    let name = crate::model::text::safe(&reference.name).to_string();
                    self.fail(&format!("{name} was not taken away"), &error);
                    // Its blobs stay needed: what is hidden and needed comes back when it is looked at again.
                    self.stopped = Some(format!("{name} could not be taken away"));
                }
            }
        }
        self.site.progress.add(goes.len() as u64, 0);
    }

    /// Whether anything may be hidden now.
    async fn hide(&mut self, before: Option<&crate::store::References>) -> bool {
        let targets: Vec<Target> = self.plan.targets().copied().collect();
        // Names that this run itself changed are no surprise.
        let mut expected = before.map(|references| references.items.clone()).unwrap_or_default();
        let own = self.plan.steps.iter().filter(|step| crate::model::run::is_about_names(step)).count() > 0;
        if own {
            match self.site.store.references().await {
                Ok(now) => expected = now.items,
                Err(error) => {
                    self.fail("names could not be read again", &error);
                    self.stopped = Some("names could not be read again".to_owned());
                }
            }
        }
        let mut any = false;
        // Where surely no build is writing, names have no reason to change: all of it waits for the disk once.
        let alone = self.plan.promise.grace.is_zero() && self.plan.promise.settle.is_zero();
        let batch = if alone { targets.len().max(1) } else { BATCH };
        for batch in targets.chunks(batch) {
            if !self.goes_on() {
                return any;
            }
            any = true;
            let grace = self.plan.promise.grace;
            let hidden = self.site.store.hide(&self.run.id, batch, grace, self.site.progress).await;
            // What failed may have left something behind.
            if hidden.iter().any(Result::is_err) {
                self.hidden = None;
            }
            let linked = self.site.store.linked(batch);
            for (target, hidden) in batch.iter().zip(hidden) {
                match hidden {
                    Ok(()) => {
                        self.run.hidden += 1;
                        self.run.hidden_bytes += if linked.contains(&target.digest) { 0 } else { target.bytes };
                        self.hidden.iter_mut().for_each(|all| all.push(*target));
                    }
                    // Somebody else took it away: that is what was wanted.
                    Err(error) if error.kind() == Kind::NotFound => {}
                    // Somebody wrote it again: it stays.
                    Err(error) if error.kind() == Kind::Stale => self.run.restored += 1,
                    // The user stopped it, which is told once.
                    Err(error) if error.kind() == Kind::Cancelled => {}
                    Err(error) => self.fail(&format!("blob {} was not hidden", target.digest), &error),
                }
            }
            match self.site.store.references().await {
                Ok(now) if now.items == expected => {}
                Ok(_) => self.stopped = Some("a build changed the location meanwhile".to_owned()),
                Err(error) => {
                    self.fail("names could not be read again", &error);
                    self.stopped = Some("names could not be read again".to_owned());
                }
            }
            self.goes_on();
        }
        any
    }

    async fn discard(&mut self) {
        if !self.goes_on() {
            return;
        }
        let all = self.plan.steps.iter().filter_map(|step| match step {
            Step::Discard { id, name, bytes } => Some((id.clone(), name, *bytes)),
            _ => None,
        });
        let (ids, rest): (Vec<String>, Vec<(&String, u64)>) = all.map(|(id, name, bytes)| (id, (name, bytes))).unzip();
        if ids.is_empty() {
            return;
        }
        let gone = self.site.store.discard(&ids, self.site.progress).await;
        self.goes_on();
        for ((name, bytes), gone) in rest.into_iter().zip(gone) {
            match gone {
                Ok(()) => {
                    self.run.freed += 1;
                    self.run.freed_bytes += bytes;
                }
                // Somebody goes on with it: it stays.
                Err(error) if error.kind() == Kind::Stale => self.run.restored += 1,
                Err(error) if error.kind() == Kind::Cancelled => {}
                Err(error) => self.fail(&format!("{} was not removed", crate::model::text::safe(name)), &error),
            }
        }
    }
}
