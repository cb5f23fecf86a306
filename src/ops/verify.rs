//! Checks that what caches need is there and is what it should be. Damage is a finding, never an error.

use crate::error::{Error, Kind, Result};
use crate::model::digest::Digest;
use crate::model::finding::{Finding, Problem};
use crate::model::inventory::{Blob, Inventory, Role, State};
use crate::progress::Progress;
use crate::store::Store;
use futures::StreamExt as _;
use std::sync::Arc;

/// How closely to look. Each level includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Every blob that a version needs is there.
    Exists,
    /// And has the length that manifests say.
    Size,
    /// And every blob, needed or not, hashes to its name. Reads everything.
    Digest,
}

impl Level {
    /// `exists`, `size` or `digest`.
    pub fn name(self) -> &'static str {
        match self {
            Level::Exists => "exists",
            Level::Size => "size",
            Level::Digest => "digest",
        }
    }
}

/// Which blobs are hashed, where not all of them are: some, chosen anew by each seed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// How many, or how many hundredths of them.
    pub size: SampleSize,
    /// What decides which. Any number.
    pub seed: u64,
}

/// How many blobs are a sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum SampleSize {
    /// So many.
    Count(u64),
    /// So many hundredths, at least one blob.
    Percent(f64),
}

impl std::str::FromStr for SampleSize {
    type Err = Error;

    fn from_str(given: &str) -> Result<Self> {
        let wrong = || Error::invalid("a sample is a share such as 5%, or a number of blobs");
        match given.trim().strip_suffix('%') {
            Some(share) => match share.trim_end().parse::<f64>() {
                Ok(percent) if percent > 0.0 && percent <= 100.0 => Ok(SampleSize::Percent(percent)),
                _ => Err(wrong()),
            },
            None => given.trim().parse().ok().filter(|n| *n > 0).map(SampleSize::Count).ok_or_else(wrong),
        }
    }
}

impl Sample {
    /// Leaves in `blobs` what belongs to the sample.
    fn take(self, blobs: &mut Vec<(u64, Digest)>) {
        let wanted = match self.size {
            SampleSize::Count(count) => usize::try_from(count).unwrap_or(usize::MAX),
            SampleSize::Percent(percent) => (blobs.len() as f64 * percent / 100.0).ceil() as usize,
        };
        // Which come first is as good as chance, and the same again for the same seed.
        blobs.sort_by_cached_key(|(_, digest)| Digest::of(&[&self.seed.to_le_bytes()[..], digest.as_bytes()].concat()));
        blobs.truncate(wanted);
    }
}

/// What verifying found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Worst first, then by problem and digest; each once.
    pub findings: Vec<Finding>,
    /// Blobs looked at.
    pub blobs: u64,
    /// Blobs that were read and hashed.
    pub hashed: u64,
    /// Bytes read and hashed.
    pub hashed_bytes: u64,
}

/// Blobs asked for at a time.
const ASKED_AT_ONCE: usize = 32;

/// Blobs that one task hashes in a row: small enough to share work evenly, large enough that small blobs cost little.
const BATCH: usize = 64;

/// Verifies all of `inventory`, which was loaded from `store`. `progress` counts bytes at level [`Level::Digest`]; that level
/// is [`Kind::Unsupported`] where blobs can't be read.
pub async fn verify(
    store: &Arc<dyn Store>,
    inventory: &Inventory,
    level: Level,
    progress: &Progress,
) -> Result<Report> {
    verify_some(store, inventory, level, None, progress).await
}

/// As [`verify`], but at level [`Level::Digest`] only `sample` is hashed, if there is one.
pub async fn verify_some(
    store: &Arc<dyn Store>,
    inventory: &Inventory,
    level: Level,
    sample: Option<Sample>,
    progress: &Progress,
) -> Result<Report> {
    if level == Level::Digest && !store.capabilities().read_blobs {
        let what = format!("blobs of {} can't be read to be checked", store.location().title());
        return Err(Error::new(Kind::Unsupported, what).with_hint("check their sizes alone: level size"));
    }
    let mut findings: Vec<Finding> = inventory.warnings.clone();
    for index in &inventory.indexes {
        // Sizes are looked at below, blob by blob, and at that level only.
        findings.extend(index.findings.iter().filter(|f| f.problem != Problem::WrongSize).cloned());
    }
    for leftover in &inventory.leftovers {
        let message = format!("upload {} of {} bytes has not finished", leftover.name, leftover.bytes);
        findings.push(Finding::new(Problem::Leftover, None, message));
    }
    for blob in &inventory.blobs {
        if blob.state == State::Missing {
            findings.push(missing(inventory, blob));
        } else if level >= Level::Size && blob.wrong_size() {
            let (is, should) = (blob.size.unwrap_or(0), blob.declared.unwrap_or(0));
            let message = format!("blob {} has {is} bytes, but manifests say {should}", blob.digest);
            findings.push(Finding::new(Problem::WrongSize, Some(blob.digest), message));
        }
    }
    if !store.capabilities().list_blobs && store.capabilities().read_blobs {
        findings.extend(ask(store, inventory, level, progress).await?);
    }
    let (mut hashed, mut hashed_bytes) = (0, 0);
    if level == Level::Digest {
        // Large blobs first, so that no core is left alone with one at the end.
        let mut present: Vec<(u64, Digest)> =
            inventory.blobs.iter().filter_map(|b| b.size.map(|s| (s, b.digest))).collect();
        if let Some(sample) = sample {
            sample.take(&mut present);
        }
        hashed = present.len() as u64;
        present.sort_unstable_by(|a, b| b.cmp(a));
        progress.expect(present.len() as u64, present.iter().map(|(size, _)| size).sum());
        for (digest, measured) in measure(store, &present, progress).await? {
            match measured {
                Ok(is) if is.digest == digest => hashed_bytes += is.size,
                Ok(is) => {
                    hashed_bytes += is.size;
                    let message =
                        format!("blob {digest} has other content: its {} bytes hash to {}", is.size, is.digest);
                    findings.push(Finding::new(Problem::WrongDigest, Some(digest), message));
                }
                // It was there when the location was listed: something took it away since.
                Err(error) if error.kind() == Kind::NotFound => {
                    findings.push(Finding::new(
                        Problem::Changed,
                        Some(digest),
                        format!("blob {digest} went away meanwhile"),
                    ));
                }
                Err(error) if error.kind() == Kind::Cancelled => return Err(error),
                Err(error) => findings.push(Finding::new(Problem::Unreadable, Some(digest), error.to_string())),
            }
        }
    }
    findings.sort_by(|a, b| {
        let order = b.severity.cmp(&a.severity);
        order.then_with(|| (a.problem, a.digest, &a.message).cmp(&(b.problem, b.digest, &b.message)))
    });
    findings.dedup();
    Ok(Report { findings, blobs: inventory.blobs.len() as u64, hashed, hashed_bytes })
}

/// Asks for each blob by itself, where none could be listed: so far they are only said to be there.
async fn ask(store: &Arc<dyn Store>, inventory: &Inventory, level: Level, progress: &Progress) -> Result<Vec<Finding>> {
    let claimed = inventory.blobs.iter().filter(|blob| blob.state != State::Missing && blob.role != Role::Manifest);
    // Owned, as for `measure`.
    let claimed: Vec<Blob> = claimed.cloned().collect();
    let mut asked = futures::stream::iter(claimed)
        .map(|blob| async move {
            let there = store.stat(&blob.digest).await;
            (blob, there)
        })
        .buffer_unordered(ASKED_AT_ONCE);
    let mut findings = Vec::new();
    while let Some((blob, there)) = asked.next().await {
        progress.check()?;
        let digest = Some(blob.digest);
        match there {
            Ok(entry) if level >= Level::Size && blob.size.is_some_and(|says| says != entry.size) => {
                let message = format!(
                    "blob {} has {} bytes, but manifests say {}",
                    blob.digest,
                    entry.size,
                    blob.size.unwrap_or(0)
                );
                findings.push(Finding::new(Problem::WrongSize, digest, message));
            }
            Ok(_) => {}
            Err(error) if error.kind() == Kind::NotFound => findings.push(missing(inventory, &blob)),
            Err(error) if error.kind() == Kind::Cancelled => return Err(error),
            Err(error) => findings.push(Finding::new(Problem::Unreadable, digest, error.to_string())),
        }
    }
    Ok(findings)
}

type Measurements = Vec<(Digest, Result<crate::store::Measured>)>;

async fn measure(store: &Arc<dyn Store>, blobs: &[(u64, Digest)], progress: &Progress) -> Result<Measurements> {
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    // Owned batches: a closure over borrowed ones is not general enough for a task of its own.
    let batches: Vec<Vec<Digest>> =
        blobs.chunks(BATCH).map(|b| b.iter().map(|(_, digest)| *digest).collect()).collect();
    let batches = batches.into_iter().map(|digests| async move {
        let measured = store.measure(&digests, progress).await;
        digests.into_iter().zip(measured).collect::<Vec<_>>()
    });
    let mut all = Vec::with_capacity(blobs.len());
    // One batch a core waits, so that none stands still until the next is handed out.
    let mut running = futures::stream::iter(batches).buffer_unordered(2 * cores);
    while let Some(batch) = running.next().await {
        progress.check()?;
        all.extend(batch);
    }
    Ok(all)
}

fn missing(inventory: &Inventory, blob: &Blob) -> Finding {
    let names: Vec<String> = inventory
        .referrers(&blob.digest)
        .map(|i| i.name().map_or_else(|| i.digest.short(), str::to_owned))
        .take(4)
        .collect();
    let more = (blob.referrers as usize).saturating_sub(names.len());
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let message = format!("{} blob {} is missing; needed by {}{more}", blob.role.name(), blob.digest, names.join(", "));
    Finding::new(Problem::BlobMissing, Some(blob.digest), message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::finding::Severity;
    use crate::ops::load::load;
    use crate::store::memory::Memory;

    struct Place {
        store: Arc<dyn Store>,
        inventory: Inventory,
    }

    fn wait<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap().block_on(work)
    }

    /// A cache of two layers, of which each claims to be `longer` than it is, after `damage`.
    fn place(longer: usize, damage: impl Fn(&Memory)) -> Place {
        let store = Memory::new("type=local,src=memory".parse().unwrap());
        let layers = [store.insert("one"), store.insert("two")];
        let entries = layers.map(|d| format!(r#"{{"blob":"{d}","parent":-1}}"#)).join(",");
        let config = format!(r#"{{"layers":[{entries}],"records":[]}}"#);
        let pointer = format!(
            r#"{{"mediaType":"application/vnd.buildkit.cacheconfig.v0","digest":"{}","size":{}}}"#,
            store.insert(config.clone()),
            config.len()
        );
        let listed = layers.map(|d| format!(r#"{{"digest":"{d}","size":{}}}"#, 3 + longer)).join(",");
        let manifest = format!(r#"{{"schemaVersion":2,"config":{pointer},"layers":[{listed}]}}"#);
        store.name("latest", store.insert(manifest));
        damage(&store);
        let store: Arc<dyn Store> = Arc::new(store);
        let inventory = wait(load(&store, &Progress::new())).unwrap();
        Place { store, inventory }
    }

    impl Place {
        fn verify(&self, level: Level) -> Report {
            wait(verify(&self.store, &self.inventory, level, &Progress::new())).unwrap()
        }

        fn problems(&self, level: Level) -> Vec<Problem> {
            self.verify(level).findings.iter().map(|f| f.problem).collect()
        }
    }

    const LEVELS: [Level; 3] = [Level::Exists, Level::Size, Level::Digest];

    #[test]
    fn a_sample_is_as_large_as_asked_and_another_for_another_seed() {
        let blobs: Vec<(u64, Digest)> = (0..200_u32).map(|n| (1, Digest::of(&n.to_le_bytes()))).collect();
        let take = |size: &str, seed| {
            let mut some = blobs.clone();
            Sample { size: size.parse().unwrap(), seed }.take(&mut some);
            some
        };
        assert_eq!((take("5%", 1).len(), take("7", 1).len(), take("0.1%", 1).len()), (10, 7, 1));
        assert_eq!((take("500", 1).len(), take("100%", 1).len()), (200, 200));
        assert_eq!(take("5%", 1), take("5%", 1));
        assert_ne!(take("5%", 1), take("5%", 2));
        for wrong in ["", "0", "-1", "0%", "101%", "x%"] {
            assert!(wrong.parse::<SampleSize>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_sound_has_no_findings() {
        let place = place(0, |_| ());
        for level in LEVELS {
            let report = place.verify(level);
            assert_eq!((report.findings.as_slice(), report.blobs), ([].as_slice(), 4));
            let read = if level == Level::Digest { place.inventory.usage.bytes } else { 0 };
            assert_eq!(report.hashed_bytes, read);
        }
    }

    #[test]
    fn each_level_sees_what_those_before_it_do_not() {
        let lost = place(0, |s| s.lose(&Digest::of(b"one")));
        assert_eq!(LEVELS.map(|l| lost.problems(l)), [(); 3].map(|()| vec![Problem::BlobMissing]));
        let message = &lost.verify(Level::Exists).findings[0].message;
        assert!(message.contains("layer blob sha256:") && message.ends_with("needed by latest"), "{message}");

        let short = place(1, |_| ());
        assert_eq!(LEVELS.map(|l| short.problems(l).len()), [0, 2, 2]);
        assert_eq!(short.problems(Level::Size), [Problem::WrongSize, Problem::WrongSize]);

        let other = place(0, |s| s.insert_as(Digest::of(b"one"), "eno"));
        assert_eq!(LEVELS.map(|l| other.problems(l)), [vec![], vec![], vec![Problem::WrongDigest]]);
    }

    #[test]
    fn blobs_that_nothing_needs_are_hashed_too() {
        let claimed = Digest::of(b"claimed");
        let place = place(0, |s| s.insert_as(claimed, "nobody's"));
        let report = place.verify(Level::Digest);
        assert_eq!((report.findings[0].problem, report.findings[0].digest), (Problem::WrongDigest, Some(claimed)));
    }

    #[test]
    fn the_worst_comes_first_and_each_once() {
        let place = place(1, |s| {
            s.lose(&Digest::of(b"one"));
            s.name("nothing", Digest::of(b"nothing"));
            s.insert_as(Digest::of(b"claimed"), r#"{"schemaVersion":2}"#);
        });
        let report = place.verify(Level::Digest);
        assert!(report.findings.is_sorted_by_key(|f| std::cmp::Reverse(f.severity)));
        let mut once = report.findings.clone();
        once.dedup();
        assert_eq!(once.len(), report.findings.len());
        assert_eq!(report.findings[0].severity, Severity::Error);
    }

    #[test]
    fn what_goes_away_meanwhile_has_changed() {
        let store = Arc::new(Memory::new("type=local,src=memory".parse().unwrap()));
        let orphan = store.insert("nobody's");
        let seen: Arc<dyn Store> = store.clone();
        let inventory = wait(load(&seen, &Progress::new())).unwrap();
        store.lose(&orphan);
        let place = Place { store: seen, inventory };
        assert_eq!(place.problems(Level::Digest), [Problem::Changed]);
        assert_eq!(place.problems(Level::Size), []);
    }

    #[test]
    fn progress_ends_at_all_of_it_and_stopping_stops() {
        let place = place(0, |_| ());
        let progress = Progress::new();
        wait(verify(&place.store, &place.inventory, Level::Digest, &progress)).unwrap();
        let counts = progress.counts();
        assert_eq!((counts.items, counts.bytes), (counts.items_total, counts.bytes_total));
        progress.cancel();
        let stopped = wait(verify(&place.store, &place.inventory, Level::Digest, &progress));
        assert_eq!(stopped.unwrap_err().kind(), Kind::Cancelled);
    }
}
