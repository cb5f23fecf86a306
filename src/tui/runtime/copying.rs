//! Copies between places: what one would come to, and the copy itself. `ops` does it; here both ends are opened, and what came of it is
//! told in sentences.

use super::changes::Bench;
use crate::error::Result;
use crate::model::inventory::Inventory;
use crate::model::text;
use crate::model::units::{Bytes, SizeStyle, count};
use crate::ops::apply::Site;
use crate::ops::copy::{self, Copied, Fate, Plan, Tally};
use crate::progress::Progress;
use crate::store::Store;
use crate::tui::app::Ending;
use crate::tui::copying::Copying;
use crate::tui::shared::Standing;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use std::sync::Arc;

/// Where a copy comes from: the place, and all that is in it.
pub(super) struct Source {
    pub(super) store: Arc<dyn Store>,
    pub(super) inventory: Arc<Inventory>,
}

/// What a copy comes to. Neither end is changed.
///
/// Boxed, as is the copy itself: the compiler can't tell of the whole job otherwise that it may go from thread to thread.
pub(super) fn plan<'a>(
    source: &'a Source,
    to: &'a Arc<dyn Store>,
    copying: &'a Copying,
    progress: &'a Progress,
) -> BoxFuture<'a, Result<Plan>> {
    async move {
        let picks = copy::picks(&source.inventory, &copying.selection()?, &copying.to)?;
        copy::plan(&source.store, &picks, to, &copying.wish, progress).await
    }
    .boxed()
}

/// Copies what was planned. What is there already is not sent again, so a copy that broke off goes on where it was.
pub(super) fn copy<'a>(
    bench: &'a Bench<'_>,
    source: &'a Source,
    copying: &'a Copying,
    plan: Plan,
) -> BoxFuture<'a, Result<Ending>> {
    async move {
        let journal = bench.journal();
        let clock = || bench.now();
        let site = Site { store: &bench.store, journal: &journal, clock: &clock, progress: bench.progress };
        let copied = copy::run(&site, &source.store, plan, &copying.wish, || bench.id()).await?;
        told(&copied, copying)
    }
    .boxed()
}

/// What came of a copy.
fn told(copied: &Copied, copying: &Copying) -> Result<Ending> {
    let size = |tally: Tally| Bytes(tally.bytes).show(SizeStyle::default());
    let amounts = [("sent", copied.sent), ("copied in place", copied.taken), ("there before", copied.there)];
    let there = amounts.into_iter().filter(|(_, tally)| tally.count > 0);
    let sums: Vec<_> =
        there.map(|(how, tally)| format!("{} {how}, {}", count(tally.count, "blob"), size(tally))).collect();
    let failed = copied.versions.iter().filter(|version| matches!(version.fate, Fate::Failed(..))).count();
    let mut lines = Vec::new();
    for version in &copied.versions {
        let title = text::safe(&version.title);
        let names: Vec<_> = version.names.iter().map(|name| text::safe(name)).collect();
        let digest = version.digest.map(|digest| format!(", {}", digest.short())).unwrap_or_default();
        lines.push(match &version.fate {
            Fate::Copied => format!("{title} is there as {}{digest}", names.join(", ")),
            Fate::Unchanged => format!("{title} was there before as {}{digest}", names.join(", ")),
            Fate::Failed(_, why) => format!("{title} was not copied: {}", text::safe(why)),
        });
    }
    if failed > 0 {
        // Problems of blobs that a version has told already are not told twice.
        let told = |problem: &&String| {
            !copied.versions.iter().any(|v| matches!(&v.fate, Fate::Failed(_, why) if why == *problem))
        };
        lines.extend(copied.problems.iter().filter(told).map(|problem| text::safe(problem).into_owned()));
    }
    if let [only] = copied.versions.as_slice()
        && failed == 0
        && let Some(line) = only.names.first().and_then(|name| copying.to.cache_from(None, Some(name)).ok())
    {
        lines.push(format!("--cache-from {}", text::shell_quote(&line)));
    }
    // What failed is said first, else what was done.
    let at = if failed > 0 { lines.len() } else { 0 };
    lines.extend((!sums.is_empty()).then(|| sums.join("; ")));
    lines[at..].rotate_right(usize::from(!sums.is_empty()));
    let state = match failed {
        0 => Standing::Done(lines),
        n if n == copied.versions.len() => Standing::Failed(lines),
        _ => Standing::Partly(lines),
    };
    let runs = copied.applied.iter().filter(|applied| applied.run.names > 0).map(|applied| applied.run.id.clone());
    Ok(Ending { state, runs: runs.collect() })
}
