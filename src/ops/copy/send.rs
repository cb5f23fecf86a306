//! Makes a copy that was planned.

use super::pack::{self, Packed};
use super::plan::{self, Blob, Plan, Version};
use super::throttle::Throttle;
use super::{Traffic, Wish, lead};
use crate::error::{Error, Kind, Result};
use crate::format::compose;
use crate::model::cache::Form;
use crate::model::digest::Digest;
use crate::model::plan::RunId;
use crate::ops::apply::{self, Applied, Site};
use crate::progress::Progress;
use crate::store::{Kin, Store};
use backon::{ExponentialBuilder, Retryable as _};
use futures::StreamExt as _;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::available_parallelism;
use std::time::Duration;

/// How often a blob is tried, and how often all is looked at again, since somebody may prune while it is copied.
const TRIES: usize = 3;
/// How long a blob is left alone before it is tried for the second time.
const PAUSE: Duration = Duration::from_millis(500);
/// Blobs that are sent at a time. More of them took more memory, and no less time.
const PARALLEL: usize = 4;
/// Blobs at a time between places of one sort, which mostly copy them without their bytes coming by here.
const WITHIN: usize = 16;
/// Blobs that are asked for at a time.
const ASKED_AT_ONCE: usize = 16;

/// What came of a copy.
#[derive(Debug, Default)]
pub struct Copied {
    /// Of each version of the plan, in its order.
    pub versions: Vec<Outcome>,
    /// Blobs that were sent, and their bytes as they arrived.
    pub sent: Tally,
    /// Blobs that the service copied within itself, or the kernel.
    pub taken: Tally,
    /// Blobs that were there.
    pub there: Tally,
    /// What changed names, for undo; several where it took more than one try.
    pub applied: Vec<Applied>,
    /// Blobs that could not be copied, and why, a sentence each. May hold untrusted text.
    pub problems: Vec<String>,
    /// Whether the limit of bytes kept blobs from being sent.
    pub limited: bool,
}

/// Blobs, and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many.
    pub count: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Tally {
    fn add(&mut self, bytes: u64) {
        self.count += 1;
        self.bytes += bytes;
    }
}

/// A version, and what became of it.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What people know it by where it comes from. Untrusted text.
    pub title: String,
    /// Its names at the destination. Untrusted text.
    pub names: Vec<String>,
    /// Its digest at the source.
    pub source: Digest,
    /// Its digest at the destination, once that is known.
    pub digest: Option<Digest>,
    /// How it is written there.
    pub form: Form,
    /// Bytes of its layers there.
    pub bytes: u64,
    /// Bytes of layers that the min form leaves out.
    pub saves: u64,
    /// What became of it.
    pub fate: Fate,
}

/// What became of a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Names lead to it now.
    Copied,
    /// They did before.
    Unchanged,
    /// It is not there, and why. May hold untrusted text.
    Failed(Kind, String),
}

/// What became of a blob.
enum Came {
    Sent(u64),
    Taken(u64),
    Was(u64),
    /// It does not fit into what may be sent.
    Held,
    /// It may not be read where it comes from. Others may well be.
    Unread(Error),
}

/// What happened to a blob in earlier tries.
#[derive(Default)]
struct SoFar {
    tried: AtomicBool,
    /// Whether it counts as sent already.
    counted: AtomicBool,
}

/// What a blob that can't be opened comes to.
fn unread(error: Error) -> Result<Came> {
    match error.kind() {
        Kind::Denied | Kind::Unauthenticated => Ok(Came::Unread(error)),
        _ => Err(error),
    }
}

/// Both ends of a copy.
struct Ends<'a> {
    from: &'a Arc<dyn Store>,
    to: &'a Arc<dyn Store>,
    kin: Option<Kin>,
    wish: &'a Wish,
    throttle: Arc<Throttle>,
    progress: &'a Progress,
    traffic: Traffic,
    /// Layers that were packed anew, by what they were.
    packed: Mutex<HashMap<Digest, (Digest, u64, Digest)>>,
    /// Blobs that the destination took, as they are there.
    arrived: Mutex<HashSet<Digest>>,
}

/// Copies. `site` is the destination; `ids` gives the ids of runs.
///
/// A version that can't be copied leaves the others. An error ends all of it: what was published before stays, and is in the journal.
pub async fn run(
    site: &Site<'_>,
    from: &Arc<dyn Store>,
    plan: Plan,
    wish: &Wish,
    mut ids: impl FnMut() -> RunId,
) -> Result<Copied> {
    if !plan.is_done() {
        site.journal.check().await?;
    }
    let progress = site.progress;
    progress.expect(plan.blobs.iter().filter(|blob| !blob.there).count() as u64, plan.to_send());
    let ends = Ends {
        from,
        to: site.store,
        kin: from.kin(),
        wish,
        throttle: Throttle::new(wish.pace.rate, wish.pace.most),
        progress,
        traffic: plan.traffic.clone(),
        packed: Mutex::default(),
        arrived: Mutex::default(),
    };
    let Plan { versions, mut blobs, .. } = plan;
    let mut copied = Copied::default();
    let failed = ends.send(&blobs, &mut copied).await?;
    let sources: HashMap<Digest, Blob> = blobs.drain(..).map(|blob| (blob.digest, blob)).collect();
    let (mut whole, mut waiting) = (Vec::new(), Vec::new());
    for mut version in versions {
        let at = copied.versions.len();
        copied.versions.push(Outcome {
            title: version.title.clone(),
            names: version.names.iter().map(|named| named.name.clone()).collect(),
            source: version.source,
            digest: version.digest,
            form: version.form,
            bytes: version.bytes,
            saves: version.saves,
            fate: Fate::Unchanged,
        });
        if let Some((kind, why)) = version.cache.layers.iter().find_map(|layer| failed.get(&layer.blob)) {
            copied.versions[at].fate = Fate::Failed(*kind, why.clone());
            continue;
        }
        match ends.settle(&mut version) {
            Ok(()) => {
                copied.versions[at].digest = version.digest;
                copied.versions[at].bytes = crate::model::graph::Summary::of(&version.cache).max_bytes;
                match version.is_done() {
                    true => whole.push((at, version)),
                    false => waiting.push((at, version)),
                }
            }
            Err(error) => copied.versions[at].fate = Fate::Failed(error.kind(), sentence(&error)),
        }
    }
    let mut tries = 0;
    while !waiting.is_empty() {
        tries += 1;
        let arrived = ends.arrived().clone();
        let steps = lead::names(site, &waiting, &arrived, ids()).await?;
        let applied = match apply::apply(site, &steps, None).await {
            Ok(applied) => applied,
            // Names of others changed between two looks.
            Err(error) if error.kind() == Kind::Stale && tries < TRIES => continue,
            Err(error) => return Err(error),
        };
        let mut led = applied.run.names as usize;
        let why = applied.run.failures.first().cloned().or(applied.stopped.clone());
        let why = why.unwrap_or_else(|| "it was not published".to_owned());
        let kind = applied.failed.unwrap_or(Kind::Unavailable);
        copied.applied.push(applied);
        let mut rest = Vec::new();
        for (at, mut version) in waiting {
            let todo = version.names.iter().filter(|named| named.leads_to != version.digest).count();
            if led >= todo {
                led -= todo;
                copied.versions[at].fate = Fate::Copied;
                whole.push((at, version));
                continue;
            }
            let digest = version.digest;
            for named in version.names.iter_mut().filter(|named| named.leads_to != digest).take(led) {
                named.leads_to = digest;
            }
            led = 0;
            rest.push((at, version));
        }
        waiting = rest;
        if waiting.is_empty() {
            break;
        }
        if progress.is_cancelled() || matches!(kind, Kind::Denied | Kind::Unauthenticated) {
            // It would be the same for all the others.
            let kind = if progress.is_cancelled() { Kind::Cancelled } else { kind };
            waiting.iter().for_each(|(at, _)| copied.versions[*at].fate = Fate::Failed(kind, why.clone()));
            break;
        }
        // Somebody may have pruned what was there: it is sent again.
        let again = ends.missing(waiting.iter().map(|(_, version)| version), &sources).await?;
        if again.is_empty() || tries >= TRIES {
            let (at, _) = waiting.remove(0);
            copied.versions[at].fate = Fate::Failed(kind, why);
            continue;
        }
        ends.send(&again, &mut copied).await?;
    }
    if progress.is_cancelled() {
        return Ok(copied);
    }
    // A copier is an exporter, too: who pruned while names did not lead there yet may have taken what it counted on.
    for _ in 0..TRIES {
        let again = ends.missing(whole.iter().map(|(_, version)| version), &sources).await?;
        if again.is_empty() {
            return Ok(copied);
        }
        ends.send(&again, &mut copied).await?;
    }
    for (at, version) in &whole {
        let gone = ends.missing(std::iter::once(version), &sources).await?;
        if let [first, rest @ ..] = gone.as_slice() {
            let more = if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
            let why = format!("blob {}{more} went away while it was copied, {TRIES} times", first.digest);
            copied.versions[*at].fate = Fate::Failed(Kind::Stale, why);
        }
    }
    Ok(copied)
}

impl Ends<'_> {
    /// Sends what is not there. Blobs that could not be sent, and why.
    async fn send(&self, blobs: &[Blob], copied: &mut Copied) -> Result<HashMap<Digest, (Kind, String)>> {
        let cores = available_parallelism().map_or(1, NonZeroUsize::get);
        // Packing keeps a core busy; sending waits for others; what a service or the kernel copies waits for disks alone.
        let usual = match self.from.location().kind() == self.to.location().kind() {
            _ if blobs.iter().any(|blob| blob.packs) => cores,
            true => WITHIN,
            false => PARALLEL,
        };
        let parallel = self.wish.pace.parallel.map_or(usual, NonZeroUsize::get);
        // Long ones first, so that none is left over at the end.
        let mut sorted: Vec<Blob> = blobs.to_vec();
        sorted.sort_by_key(|blob| std::cmp::Reverse(blob.size));
        let work = sorted.into_iter().map(|blob| async move { (blob.digest, self.bring(&blob).await) });
        let mut work = futures::stream::iter(work).buffer_unordered(parallel);
        let mut failed = HashMap::new();
        while let Some((digest, came)) = work.next().await {
            match came {
                Ok(Came::Sent(bytes)) => copied.sent.add(bytes),
                Ok(Came::Taken(bytes)) => copied.taken.add(bytes),
                Ok(Came::Was(bytes)) => copied.there.add(bytes),
                Ok(Came::Held) => {
                    copied.limited = true;
                    failed.insert(digest, (Kind::Busy, "no more may be sent this time".to_owned()));
                }
                Err(error) if error.kind() == Kind::Cancelled || self.progress.is_cancelled() => {
                    return Err(Error::cancelled());
                }
                // It would be the same for all the others.
                Err(error) if matches!(error.kind(), Kind::Denied | Kind::Unauthenticated) => return Err(error),
                Ok(Came::Unread(error)) | Err(error) => {
                    let why = format!("blob {digest}: {}", sentence(&error));
                    copied.problems.push(why.clone());
                    failed.insert(digest, (error.kind(), why));
                }
            }
        }
        Ok(failed)
    }

    /// Brings one blob to the destination, if it is not there.
    async fn bring(&self, blob: &Blob) -> Result<Came> {
        self.progress.check()?;
        let so_far = SoFar::default();
        let bring = || async {
            match blob.packs {
                true => self.pack(blob, &so_far).await,
                false => self.whole(blob, &so_far).await,
            }
        };
        bring
            .retry(ExponentialBuilder::default().with_jitter().with_min_delay(PAUSE).with_max_times(TRIES - 1))
            .when(|error| error.kind() == Kind::Unavailable && !self.progress.is_cancelled())
            .notify(|error, _| tracing::info!(%error, blob = %blob.digest, "trying again"))
            .await
    }

    async fn whole(&self, blob: &Blob, so_far: &SoFar) -> Result<Came> {
        let tried = so_far.tried.swap(true, Relaxed);
        // What was not there a moment ago is not asked for again; what was, is renewed as an exporter would.
        if (blob.there || tried) && self.has(blob).await? {
            return Ok(Came::Was(blob.size));
        }
        let transfer = self.traffic.begin(blob.digest, blob.size);
        if let Some(kin) = &self.kin
            && self.to.take(&blob.digest, blob.size, kin).await?
        {
            self.progress.add(1, blob.size);
            return Ok(Came::Taken(blob.size));
        }
        if !self.may_send(blob.size, so_far) {
            return Ok(Came::Held);
        }
        let body = match self.from.open(&blob.digest).await {
            Ok(body) => body,
            Err(error) => return unread(error),
        };
        let body = self.throttle.wrap(transfer.count(body), self.progress);
        self.to.put(&blob.digest, body).await?;
        self.arrived().insert(blob.digest);
        self.progress.add(1, 0);
        Ok(Came::Sent(blob.size))
    }

    async fn pack(&self, blob: &Blob, so_far: &SoFar) -> Result<Came> {
        let packing = self.wish.packing.as_ref().ok_or_else(|| Error::new(Kind::Internal, "no packing"))?;
        let transfer = self.traffic.begin(blob.digest, blob.size);
        let body = match self.from.open(&blob.digest).await {
            Ok(body) => transfer.count(body),
            Err(error) => return unread(error),
        };
        let Packed { digest, size, diff_id, file } =
            pack::pack(blob.digest, blob.diff_id, body, packing, self.progress).await?;
        let came = match self.has(&Blob { digest, size, ..blob.clone() }).await? {
            true => Came::Was(size),
            false if !self.may_send(size, so_far) => return Ok(Came::Held),
            false => {
                // What is read of it was counted when it was packed.
                let body = self.throttle.wrap(Box::new(tokio::fs::File::from_std(file)), &self.progress.uncounted());
                self.to.put(&digest, body).await?;
                self.arrived().insert(digest);
                Came::Sent(size)
            }
        };
        self.progress.add(1, 0);
        self.packed().insert(blob.digest, (digest, size, diff_id));
        Ok(came)
    }

    /// Whether the destination has the blob, which is then renewed. [`Kind::Corrupt`] if it has it with another length.
    async fn has(&self, blob: &Blob) -> Result<bool> {
        match self.to.renew(&blob.digest).await {
            Ok(entry) if entry.size == blob.size => Ok(true),
            Ok(entry) => Err(plan::other_length(blob, entry.size, self.to)),
            Err(error) if error.kind() == Kind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether so much may still be sent. A blob counts once, however often it is tried.
    fn may_send(&self, size: u64, so_far: &SoFar) -> bool {
        so_far.counted.swap(true, Relaxed) || self.throttle.afford(size)
    }

    fn packed(&self) -> MutexGuard<'_, HashMap<Digest, (Digest, u64, Digest)>> {
        self.packed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn arrived(&self) -> MutexGuard<'_, HashSet<Digest>> {
        self.arrived.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a version what it is at the destination, now that all its layers are.
    fn settle(&self, version: &mut Version) -> Result<()> {
        if version.documents.is_none() {
            let packed = self.packed();
            let compression = self.wish.packing.as_ref().map(|packing| packing.compression);
            for layer in &mut version.cache.layers {
                let Some((digest, size, diff_id)) = packed.get(&layer.blob) else { continue };
                version.more.remove(&layer.blob);
                layer.blob = *digest;
                layer.size = Some(*size);
                layer.diff_id = Some(*diff_id);
                layer.compression = compression.unwrap_or(layer.compression);
                layer.media_type = compose::media_type(layer.compression).into();
            }
            drop(packed);
            crate::model::reduce::sort_layers(&mut version.cache);
            version.written = None;
            let documents = version.compose()?;
            plan::fits(version, &documents, self.to.capabilities().bare_configs)?;
            version.digest = Some(Digest::of(documents.top().as_bytes()));
            version.documents = Some(documents);
        }
        let differs = |named: &&plan::Named| named.leads_to.is_some() && named.leads_to != version.digest;
        match version.names.iter().find(differs) {
            Some(named) if !self.wish.overwrite => Err(plan::taken(&named.name, self.to)),
            _ => Ok(()),
        }
    }

    /// Blobs of `versions` that are not at the destination, as they are at the source.
    async fn missing<'v>(
        &self,
        versions: impl Iterator<Item = &'v Version>,
        sources: &HashMap<Digest, Blob>,
    ) -> Result<Vec<Blob>> {
        let wanted: BTreeSet<Digest> = versions.flat_map(|v| &v.cache.layers).map(|layer| layer.blob).collect();
        let ask = |digest: Digest| async move { (digest, self.to.stat(&digest).await) };
        let asked: Vec<_> = futures::stream::iter(wanted).map(ask).buffer_unordered(ASKED_AT_ONCE).collect().await;
        let packed = self.packed();
        let source = |digest: &Digest| {
            let was = packed.iter().find(|(_, (packed, ..))| packed == digest).map_or(digest, |(was, _)| was);
            sources.get(was).map(|blob| Blob { there: false, ..blob.clone() })
        };
        let mut missing = Vec::new();
        for (digest, there) in asked {
            match there {
                Ok(_) => {}
                Err(error) if error.kind() == Kind::NotFound => {
                    self.arrived().remove(&digest);
                    missing.extend(source(&digest));
                }
                Err(error) => return Err(error.context(format!("whether blob {digest} is there"))),
            }
        }
        Ok(missing)
    }
}

fn sentence(error: &Error) -> String {
    match error.hint() {
        Some(hint) => format!("{error}; {hint}"),
        None => error.to_string(),
    }
}
