//! Mends versions that miss blobs: fetches what another place still has, and takes just what needs the rest out of the cache. The
//! mended version is written beside the old one, and its names are led there. Decides only; [`crate::ops::apply`] does it.
//!
//! Nothing is called lost on one look: what the listing lacks is asked for again by itself, and only a plain "not there" counts.

use crate::error::{Error, Kind, Result};
use crate::format::{document, mend};
use crate::model::cache::Form;
use crate::model::digest::Digest;
use crate::model::inventory::CacheIndex;
use crate::model::plan::{Fate, Plan, Purpose, Row, Step, Subject, Target};
use crate::model::units::count;
use crate::ops::prune::{Sight, is_called, leads_to, names, step_without};
use crate::ops::{load, pin};
use crate::store::{Reference, Store};
use futures::StreamExt as _;
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

/// Blobs asked for at a time.
const ASKED_AT_ONCE: usize = 16;

/// What is wanted.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// Names or digests of versions; all that are broken where nothing is said.
    pub which: Vec<String>,
    /// Blobs that are there and not what they should be, as [`crate::ops::verify`] found: they count as lost, and go.
    pub corrupt: Vec<Digest>,
}

/// Plans. `from` is where blobs that are missing may still be.
///
/// [`Kind::Unsupported`] where nothing can be written; whatever keeps it from being told whether a blob is there ends it.
pub async fn plan(
    store: &Arc<dyn Store>,
    sight: &Sight<'_>,
    wish: &Wish,
    from: Option<&Arc<dyn Store>>,
) -> Result<Plan> {
    let claims = store.capabilities();
    if !claims.write || !claims.remove {
        let kind = store.location().kind();
        return Err(Error::unsupported(kind, "a version can't be written anew there")
            .with_hint("take the broken one away, or export the cache again"));
    }
    let references = names(store, sight.inventory).await?;
    let mut plan = pin::empty(store, sight, &references, Purpose::Repair).await?;
    let corrupt: BTreeSet<Digest> = wish.corrupt.iter().copied().collect();
    let mut broken: Vec<&CacheIndex> = Vec::new();
    for index in &sight.inventory.indexes {
        let asked = wish.which.is_empty() || wish.which.iter().any(|which| is_called(index, which));
        let hurt = !index.missing.is_empty() || index.reach.iter().any(|reached| corrupt.contains(&reached.digest));
        if asked && hurt {
            broken.push(index);
        }
    }
    for which in &wish.which {
        if !sight.inventory.indexes.iter().any(|index| is_called(index, which)) {
            let what = format!("no version {} in {}", crate::model::text::safe(which), store.location().title());
            return Err(Error::not_found(what).with_hint("`cachedeck ls` lists those there are"));
        }
    }
    let missing: BTreeSet<Digest> = broken.iter().flat_map(|index| &index.missing).copied().collect();
    let mut lost = still_missing(store, &missing).await?;
    lost.extend(corrupt.iter().copied());
    let fetched = match from {
        Some(from) => fetch(&mut plan, from, &mut lost, &corrupt).await?,
        None => 0,
    };
    let mut written = BTreeSet::new();
    let mut replaced: Vec<&CacheIndex> = Vec::new();
    for index in broken {
        let own: Vec<&Reference> = references.items.iter().filter(|r| leads_to(r, index)).collect();
        let hurt = index.reach.iter().any(|r| lost.contains(&r.digest));
        let mut row = row(index);
        if !hurt {
            row.reason = match fetched {
                0 => "what it missed is there by now".to_owned(),
                _ => "what it misses is fetched".to_owned(),
            };
            plan.rows.push(row);
            continue;
        }
        match mended(store, index, &lost).await? {
            Mended::Version { documents, digest, needs, dropped } => {
                row.reason = dropped;
                if own.is_empty() {
                    row.fate = Fate::Keep;
                    row.reason = "no name leads to it: nothing is mended that nobody uses".to_owned();
                    plan.rows.push(row);
                    continue;
                }
                replaced.push(index);
                for (document, text) in documents {
                    if written.insert(document) {
                        plan.steps.push(Step::Write { digest: document, text });
                    }
                }
                for reference in own {
                    plan.steps.push(Step::Lead {
                        name: reference.name.clone(),
                        digest,
                        was: reference.version.clone(),
                        before: reference.digest.or(Some(index.digest)),
                        needs: needs.clone(),
                    });
                }
            }
            Mended::Nothing(why) => {
                row.fate = Fate::Remove;
                row.reason = why;
                plan.steps.extend(own.into_iter().filter_map(step_without));
            }
            Mended::Never(why) => {
                row.fate = Fate::Keep;
                plan.warnings.push(format!("{}: {why}", index.short()));
                row.reason = why;
            }
        }
        plan.rows.push(row);
    }
    if claims.hide {
        let others = sight.inventory.indexes.iter().filter(|i| !replaced.iter().any(|r| r.digest == i.digest));
        let needed: HashSet<Digest> = others.flat_map(|index| &index.reach).map(|reached| reached.digest).collect();
        let old = replaced.iter().flat_map(|index| [Some(index.digest), index.config]).flatten();
        // What nobody can find any more needs none of the corrupt blobs, which then need not come back.
        let old: BTreeSet<Digest> = old.filter(|digest| !needed.contains(digest)).collect();
        hide(sight, &mut plan, old.union(&corrupt));
        // It is broken: there is no use in waiting until it is old.
        plan.promise.grace = jiff::SignedDuration::ZERO;
    }
    // Written first, then led, then taken away, then hidden: see `Step`.
    plan.steps.sort_by_key(|step| match step {
        Step::Fetch { .. } | Step::Write { .. } => 0,
        Step::Lead { .. } => 1,
        Step::Unname { .. } => 2,
        Step::Hide(_) => 3,
        Step::Discard { .. } => 4,
    });
    Ok(plan)
}

/// Those that are really not there, asked for one by one.
async fn still_missing(store: &Arc<dyn Store>, missing: &BTreeSet<Digest>) -> Result<HashSet<Digest>> {
    let asked = missing.iter().copied().map(|digest| async move { (digest, store.stat(&digest).await) });
    let asked: Vec<_> = futures::stream::iter(asked).buffer_unordered(ASKED_AT_ONCE).collect().await;
    let mut lost = HashSet::new();
    for (digest, there) in asked {
        match there {
            Ok(_) => {}
            Err(error) if error.kind() == Kind::NotFound => {
                lost.insert(digest);
            }
            Err(error) => {
                return Err(
                    error.context(format!("whether blob {digest} is there can't be told, so nothing is mended"))
                );
            }
        }
    }
    Ok(lost)
}

/// Plans to fetch what another place has; takes it off `lost`. How many.
async fn fetch(
    plan: &mut Plan,
    from: &Arc<dyn Store>,
    lost: &mut HashSet<Digest>,
    corrupt: &BTreeSet<Digest>,
) -> Result<usize> {
    let mut sorted: Vec<Digest> = lost.iter().copied().collect();
    sorted.sort();
    let mut fetched = 0;
    for digest in sorted {
        // A corrupt blob's place is taken: it must go before a good one can come, which is two plans.
        if corrupt.contains(&digest) {
            continue;
        }
        match from.stat(&digest).await {
            Ok(entry) => {
                plan.steps.push(Step::Fetch { digest, bytes: entry.size });
                lost.remove(&digest);
                fetched += 1;
            }
            Err(error) if error.kind() == Kind::NotFound => {}
            Err(error) => return Err(error.context(format!("{} was asked for blob {digest}", from.location().title()))),
        }
    }
    Ok(fetched)
}

enum Mended {
    /// There is a version without what was lost.
    Version { documents: Vec<(Digest, String)>, digest: Digest, needs: Vec<Digest>, dropped: String },
    /// Nothing of use is left.
    Nothing(String),
    /// It is not for us to mend.
    Never(String),
}

async fn mended(store: &Arc<dyn Store>, index: &CacheIndex, lost: &HashSet<Digest>) -> Result<Mended> {
    if index.unread {
        return Ok(Mended::Never("it can't be read".to_owned()));
    }
    if lost.contains(&index.digest) {
        return Ok(Mended::Nothing("its manifest is gone".to_owned()));
    }
    if index.config.is_some_and(|config| lost.contains(&config)) {
        return Ok(Mended::Nothing("its config is gone".to_owned()));
    }
    let bare = index.form == Some(Form::Config);
    match index.form {
        Some(Form::ImageManifest | Form::Index | Form::DockerList | Form::Config) => {}
        _ => {
            return Ok(Mended::Never("it is an image, which is nothing without its layers: build it again".to_owned()));
        }
    }
    let envelope = load::manifest(store, index, document::LIMIT).await?;
    let config = match index.config {
        Some(config) if !bare => store.read(&config, document::LIMIT).await?,
        None if !bare => return Ok(Mended::Never("it names no cache config".to_owned())),
        _ => envelope.clone(),
    };
    let mended = mend::config(&config, lost)?;
    if mended.results == 0 {
        return Ok(Mended::Nothing("every result in it needs blobs that are lost".to_owned()));
    }
    let dropped = format!(
        "{} lost: {} and {} go with them, {} stay",
        count(index.reach.iter().filter(|r| lost.contains(&r.digest)).count(), "blob"),
        count(mended.dropped.layers, "layer"),
        count(mended.dropped.results, "result"),
        count(mended.results, "result"),
    );
    let own = Digest::of(mended.text.as_bytes());
    let mut needs = mended.layers.clone();
    if bare {
        return Ok(Mended::Version { documents: vec![(own, mended.text)], digest: own, needs, dropped });
    }
    let text = mend::manifest(&envelope, &mended.text, &mended.layers)?;
    let digest = Digest::of(text.as_bytes());
    needs.push(own);
    Ok(Mended::Version { documents: vec![(own, mended.text), (digest, text)], digest, needs, dropped })
}

fn row(index: &CacheIndex) -> Row {
    Row {
        fate: Fate::Write,
        subject: Subject::Version,
        names: index.tags.clone(),
        digest: index.known_digest(),
        reason: String::new(),
        count: index.reach.len() as u64,
        bytes: index.exclusive_bytes.saturating_add(index.shared_bytes),
        frees: 0,
        time: index.created.max(index.modified),
        group: None,
    }
}

/// Old manifests and corrupt blobs go out of the way, so that the next export writes them anew.
fn hide<'a>(sight: &Sight<'_>, plan: &mut Plan, goes: impl Iterator<Item = &'a Digest>) {
    for digest in goes {
        let Some(blob) = sight.inventory.blob(digest) else { continue };
        let Some(bytes) = blob.size else { continue };
        plan.frees += bytes;
        plan.steps.push(Step::Hide(Target { digest: *digest, bytes, modified: blob.modified }));
    }
}
