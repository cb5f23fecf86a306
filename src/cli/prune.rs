//! `prune`: brings caches to size, by a policy.

use super::Command;
use super::change::{self, ApplyArgs, Place};
use super::failure::{Exit, Outcome, Stop};
use super::session::{Loaded, Session};
use super::usage;
use crate::config::{self, Pruning};
use crate::error::{Error, Kind, Result};
use crate::model::digest::DigestPrefix;
use crate::model::plan::Plan;
use crate::model::policy::{GroupBy, Policy};
use crate::model::text;
use crate::model::units::Limit;
use crate::ops::prune::{self, Wish};
use clap::{Args, Parser};
use jiff::SignedDuration;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Bring caches to size: shows what would go and why
///
/// Does it with --apply.
/// Without a policy, what has a name stays; versions that have lost theirs go, and so do blobs that nothing uses and uploads that
/// did not finish. Rules are ORed: what any of them keeps stays, and so do pins. A place may have a policy of its own in the
/// configuration, for when none is given here. What goes is hidden first, and freed once it has settled: builds that still count on it
/// bring it back, and `cachedeck undo` does.
#[derive(Parser)]
#[command(after_help = "\
A build may be writing meanwhile: what is younger than --grace stays, and what was hidden is looked
at again before a later run frees it. If surely no build is writing, --exclusive does all of it at
once.

Examples:
  cachedeck prune .buildx-cache
  cachedeck prune .buildx-cache --apply
  cachedeck prune .buildx-cache --keep-last 3 --keep-within 14d --keep-tag 'rel*'
  cachedeck prune @ci --max-size 20GiB --plan-out plan.json && cachedeck apply plan.json
  cachedeck prune .buildx-cache --keep-last 2 --apply --yes --progress plain      in CI")]
pub(super) struct Prune {
    /// What to prune
    #[arg(value_name = "LOCATION")]
    locations: Vec<String>,

    #[command(flatten)]
    policy: PolicyArgs,

    #[command(flatten)]
    limits: Limits,

    /// Leave alone what no version uses, and unfinished uploads
    #[arg(long, help_heading = "What stays")]
    no_sweep: bool,

    #[command(flatten)]
    how: ApplyArgs,

    /// Write the plan there, for `cachedeck apply`
    #[arg(long, value_name = "FILE", help_heading = "Doing it")]
    plan_out: Option<PathBuf>,
}

/// What stays.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "What stays")]
struct PolicyArgs {
    /// The newest N versions of each group
    #[arg(long, value_name = "N")]
    keep_last: Option<u32>,

    /// Versions younger than this: 14d, 36h
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    keep_within: Option<SignedDuration>,

    /// The newest of each of the last N hours that have one
    #[arg(long, value_name = "N")]
    keep_hourly: Option<u32>,

    /// The same by day
    #[arg(long, value_name = "N")]
    keep_daily: Option<u32>,

    /// By week
    #[arg(long, value_name = "N")]
    keep_weekly: Option<u32>,

    /// By month
    #[arg(long, value_name = "N")]
    keep_monthly: Option<u32>,

    /// Names like this: main, 'rel*'
    #[arg(long, value_name = "GLOB")]
    keep_tag: Vec<String>,

    /// Versions whose digest begins so
    #[arg(long, value_name = "DIGEST", value_parser = usage::value::<DigestPrefix>)]
    keep_digest: Vec<DigestPrefix>,

    /// What was used more recently, where the place knows that
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    keep_unused_for: Option<SignedDuration>,

    /// Nothing but pins
    #[arg(long)]
    keep_none: bool,

    /// Of what no rule keeps only so much goes that the place fits into this: 20GiB, 80%; the oldest first
    #[arg(long, value_name = "SIZE|%", value_parser = usage::value::<Limit>)]
    max_size: Option<Limit>,

    /// What makes a group: name (or tag), scope, ref or none
    #[arg(long, value_name = "WHAT", value_parser = usage::value::<GroupBy>)]
    group_by: Option<GroupBy>,

    /// This name or digest goes, whatever the rules say
    #[arg(long, value_name = "VERSION")]
    remove: Vec<String>,

    /// This name or digest stays, whatever the rules say
    #[arg(long, value_name = "VERSION")]
    keep: Vec<String>,
}

/// How careful it is.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "How careful")]
pub(super) struct Limits {
    /// Leave alone what is younger than this
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    grace: Option<SignedDuration>,

    /// Free what was hidden no sooner than after this
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    settle: Option<SignedDuration>,

    /// No build is writing there: no grace, and blobs are freed at once
    #[arg(long, conflicts_with_all = ["grace", "settle"])]
    exclusive: bool,

    /// Refuse to take away more blobs than this
    #[arg(long, value_name = "N")]
    max_delete: Option<u64>,

    /// Refuse to take away more than this, of all there is: 5GiB, 50%
    #[arg(long, value_name = "SIZE|%", value_parser = usage::value::<Limit>)]
    max_delete_size: Option<Limit>,
}

/// Reads a duration, for clap.
pub(super) fn duration(given: &str) -> std::result::Result<SignedDuration, String> {
    config::duration(given).map_err(|error| match error.hint() {
        Some(hint) => format!("{error}; {hint}"),
        None => error.to_string(),
    })
}

impl PolicyArgs {
    /// Whether anything was said about what stays. What is chosen by hand is no policy.
    fn is_given(&self) -> bool {
        let policy = self.policy();
        policy.has_rules() || policy.max_size.is_some()
    }

    fn policy(&self) -> Policy {
        Policy {
            keep_last: self.keep_last,
            keep_within: self.keep_within,
            keep_hourly: self.keep_hourly,
            keep_daily: self.keep_daily,
            keep_weekly: self.keep_weekly,
            keep_monthly: self.keep_monthly,
            keep_tags: self.keep_tag.clone(),
            keep_digests: self.keep_digest.clone(),
            keep_unused_for: self.keep_unused_for,
            max_size: self.max_size,
            group_by: self.group_by,
            remove: self.remove.clone(),
            keep: self.keep.clone(),
            keep_none: self.keep_none,
        }
    }
}

impl Limits {
    /// Puts what was said into `wish`.
    pub(super) fn put(&self, wish: &mut Wish) {
        wish.grace = self.grace.or(wish.grace);
        wish.settle = self.settle.or(wish.settle);
        wish.exclusive = self.exclusive;
        wish.max_delete = self.max_delete.or(wish.max_delete);
        wish.max_delete_size = self.max_delete_size.or(wish.max_delete_size);
        if self.exclusive {
            (wish.grace, wish.settle) = (None, None);
        }
    }
}

impl Command for Prune {
    const NAME: &'static str = "prune";

    fn run(self, session: &mut Session) -> Outcome {
        if self.how.applies() && self.locations.is_empty() {
            return Err(Error::invalid("nothing was changed: which location is to be pruned?")
                .with_hint("name it; without --apply all known ones are looked at")
                .into());
        }
        let mut locations = session.locations(&self.locations)?;
        if self.locations.is_empty() {
            locations.retain(|location| !matches!(location.kind(), "gha" | "daemon"));
        }
        if self.plan_out.is_some() && locations.len() != 1 {
            return Err(Error::invalid("--plan-out is for one location").with_hint("name just one").into());
        }
        change::prepare(session, &locations, &self.how)?;
        let many = session.load_all(&locations)?;
        let mut exit = many.exit;
        for loaded in &many.loaded {
            match self.prune(session, loaded) {
                Ok(done) => exit = exit.and(done),
                Err(Stop::Failed { error, location }) if many.several && error.kind() != Kind::Cancelled => {
                    session.words.error(&error, location.as_deref());
                    exit = Exit::Partly;
                }
                Err(stop) => return Err(stop),
            }
        }
        Ok(exit)
    }
}

impl Prune {
    fn prune(&self, session: &mut Session, loaded: &Loaded) -> Outcome {
        let place = Place::loaded(loaded);
        let pins = place.pins(session)?;
        let wish = self.wish(session, loaded);
        let sight = change::sight(session, loaded, &pins);
        let plan = place.run(session, "planning", async { prune::plan(&loaded.store, &sight, &wish).await })?;
        let again = match &self.plan_out {
            Some(file) => {
                write_plan(file, &plan)?;
                format!("cachedeck apply {}", text::shell_quote(&file.to_string_lossy()))
            }
            None => change::typed(),
        };
        change::carry_out(session, &place, &plan, &self.how, &again, None)
    }

    /// What is wanted there: what was typed, else what the configuration says of the place.
    fn wish(&self, session: &Session, loaded: &Loaded) -> Wish {
        let own = || session.config.known(&loaded.inventory.location).find_map(|place| place.pruning.clone());
        let Pruning { policy, grace, settle, max_delete, max_delete_size } = match self.policy.is_given() {
            true => Pruning { policy: self.policy.policy(), ..Pruning::default() },
            false => own().unwrap_or_default(),
        };
        let by_hand = self.policy.policy();
        let policy = Policy {
            group_by: by_hand.group_by.or(policy.group_by),
            remove: by_hand.remove,
            keep: by_hand.keep,
            ..policy
        };
        let mut wish = Wish { grace, settle, max_delete, max_delete_size, ..Wish::prune(policy) };
        self.limits.put(&mut wish);
        wish.sweep = !self.no_sweep;
        wish
    }
}

/// Writes a plan to a file that only its owner can read, at once or not at all.
fn write_plan(path: &Path, plan: &Plan) -> Result<()> {
    let failed = |error| Error::io(format!("writing the plan to {}", path.display()), error);
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new().prefix(".cachedeck-").tempfile_in(folder).map_err(failed)?;
    serde_json::to_writer_pretty(std::io::BufWriter::new(&mut file), plan).map_err(|error| failed(error.into()))?;
    file.write_all(b"\n").and_then(|()| file.as_file().sync_all()).map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}
