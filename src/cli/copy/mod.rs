//! `copy`: brings versions of one place to another, whatever sort either is.

pub(super) mod show;

use super::Command;
use super::change::{self, Place};
use super::failure::{Exit, Outcome, Stop};
use super::output::Tone;
use super::session::{Loaded, Session};
use super::usage;
use crate::error::{Error, Kind, Result};
use crate::model::cache::{Compression, Form};
use crate::model::digest::DigestPrefix;
use crate::model::location::Location;
use crate::model::units::Bytes;
use crate::ops::copy::{self, Copied, Fate, Pace, Packing, Pick, Selection, Wish};
use crate::progress::Progress;
use clap::builder::TypedValueParser;
use clap::{Args, Parser};
use std::num::NonZeroUsize;

/// Copy caches from one place to another, of whatever sort
///
/// Folders, registries, s3, azblob and GitHub Actions (in a workflow run): each gets what BuildKit itself would write there. Layers stay
/// the same to the byte unless they are packed anew; the digest of every blob is checked on the way. What is there is not sent again,
/// so a copy that broke off goes on where it was. Names come last, once all is there; `cachedeck undo` leads them back.
#[derive(Parser)]
#[command(after_help = "\
Examples:
  cachedeck copy .buildx-cache ghcr.io/acme/app:cache
  cachedeck copy ghcr.io/acme/app:cache type=local,dest=./offline
  cachedeck copy .buildx-cache type=s3,bucket=ci,region=eu-west-1 --all
  cachedeck copy .buildx-cache ./small --mode min --compression zstd -n      what it would come to
  cachedeck copy .buildx-cache --digest 21450e49 type=local,dest=./old,tag=june")]
pub(super) struct CopyCommand {
    /// From where; tag= and digest= in it choose a version
    #[arg(value_name = "SOURCE")]
    from: String,

    /// To where; tag=, name= or scope= in it is what the copy is called
    #[arg(value_name = "DESTINATION")]
    to: String,

    #[command(flatten)]
    which: Which,

    #[command(flatten)]
    how: CopyArgs,

    /// Lead names that lead to other versions there to the copies
    #[arg(long, help_heading = "Copying")]
    overwrite: bool,

    /// Only show what it would come to
    #[arg(long, short = 'n', help_heading = "Copying")]
    dry_run: bool,
}

/// Which versions.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Which versions")]
pub(super) struct Which {
    /// All that have names
    #[arg(long, short = 'a', conflicts_with_all = ["tags", "digests"])]
    all: bool,

    /// Those whose name matches; may be repeated
    #[arg(long = "tag", short = 't', value_name = "GLOB")]
    tags: Vec<String>,

    /// The one whose digest begins so, with a name or without; may be repeated
    #[arg(long = "digest", short = 'd', value_name = "DIGEST", value_parser = usage::value::<DigestPrefix>)]
    digests: Vec<DigestPrefix>,
}

/// How they are written and sent.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Copying")]
pub(super) struct CopyArgs {
    /// How the manifest is written, in folders and registries
    #[arg(long, value_name = "FORM", value_parser = forms())]
    form: Option<Form>,

    /// min leaves out what only intermediate steps need
    #[arg(long, value_name = "MODE", value_parser = usage::one_of([("min", true), ("max", false)]))]
    mode: Option<bool>,

    /// Pack layers anew that are packed otherwise: gzip, zstd or uncompressed
    #[arg(long, value_name = "TYPE", value_parser = compressions())]
    compression: Option<Compression>,

    /// 0 to 9 for gzip, 1 to 22 for zstd
    #[arg(long, value_name = "N", requires = "compression")]
    compression_level: Option<i32>,

    /// Pack layers anew that are packed like that already, too
    #[arg(long, requires = "compression")]
    force_compression: bool,

    /// Blobs on their way at a time
    #[arg(long, value_name = "N")]
    parallel: Option<NonZeroUsize>,

    /// Bytes a second at most: 10MiB
    #[arg(long, value_name = "SIZE", value_parser = usage::value::<Bytes>)]
    bwlimit: Option<Bytes>,

    /// Bytes at most; what does not fit is left for the next time
    #[arg(long, value_name = "SIZE", value_parser = usage::value::<Bytes>)]
    max_transfer: Option<Bytes>,
}

fn forms() -> impl TypedValueParser<Value = Form> {
    usage::one_of([Form::ImageManifest, Form::Index, Form::DockerList].map(|form| (form.name(), form)))
}

fn compressions() -> impl TypedValueParser<Value = Compression> {
    let all = [Compression::Gzip, Compression::Zstd, Compression::Uncompressed, Compression::Estargz];
    usage::one_of(all.map(|compression| (compression.name(), compression)))
}

impl Which {
    /// The versions that are meant, `usual` where nothing is said.
    pub(super) fn selection(&self, usual: Selection) -> Selection {
        match (self.all, self.tags.is_empty() && self.digests.is_empty()) {
            (true, _) => Selection::All,
            (false, true) => usual,
            (false, false) => Selection::These { tags: self.tags.clone(), digests: self.digests.clone() },
        }
    }
}

impl CopyArgs {
    /// As [`copy`] has it. Fails for what can't be.
    pub(super) fn wish(&self, overwrite: bool) -> Result<Wish> {
        let packing = self.compression.map(|compression| Packing {
            compression,
            level: self.compression_level,
            force: self.force_compression,
        });
        if let Some(packing) = &packing {
            packing.check()?;
        }
        let pace = Pace {
            parallel: self.parallel,
            rate: self.bwlimit.map(|rate| rate.0),
            most: self.max_transfer.map(|most| most.0),
        };
        Ok(Wish { form: self.form, min: self.mode == Some(true), packing, overwrite, pace })
    }
}

impl Command for CopyCommand {
    const NAME: &'static str = "copy";

    fn run(self, session: &mut Session) -> Outcome {
        let wish = self.how.wish(self.overwrite)?;
        let (from, to) = (session.location(Some(&self.from))?, session.location(Some(&self.to))?);
        if !self.dry_run {
            change::may_change(session, &to, None)?;
        }
        let loaded = session.load(&from)?;
        let picks = copy::picks(&loaded.inventory, &self.which.selection(Selection::One), &to);
        let picks = picks.map_err(|error| Stop::at(&from, error))?;
        let place = destination(session, &to, self.dry_run)?;
        let plan = plan(session, &loaded, &picks, &place, &wish)?;
        if self.dry_run {
            show::planned(session, &loaded, &place, &plan, &[])?;
            return Ok(Exit::Done);
        }
        let copied = carry_out(session, &loaded, &place, plan, &wish)?;
        show::copied(session, &loaded, &place, &copied, None)?;
        ended(&place, &copied)
    }
}

/// Opens where copies go. What is not there is made, or only imagined.
pub(super) fn destination(session: &mut Session, to: &Location, dry_run: bool) -> Outcome<Place> {
    if dry_run {
        return Place::imagine(session, to);
    }
    Place::make(session, to)
}

/// Looks at both ends, and says what deserves to be known before anything is sent.
pub(super) fn plan(
    session: &mut Session,
    from: &Loaded,
    picks: &[Pick<'_>],
    to: &Place,
    wish: &Wish,
) -> Outcome<copy::Plan> {
    let progress = Progress::new();
    let work = copy::plan(&from.store, picks, &to.store, wish, &progress);
    let plan = session.jobs.run("comparing", &progress, work).map_err(|error| Stop::at(&to.location, error))?;
    if !session.out.is_json() {
        plan.warnings.iter().for_each(|warning| session.words.say("warning", Tone::Warn, warning));
        show::saved(session, &plan);
    }
    Ok(plan)
}

/// Copies what was planned.
pub(super) fn carry_out(
    session: &mut Session,
    from: &Loaded,
    to: &Place,
    plan: copy::Plan,
    wish: &Wish,
) -> Outcome<Copied> {
    to.change(session, "copying", async |site| copy::run(site, &from.store, plan, wish, change::new_id).await)
}

/// How the command ends.
pub(super) fn ended(to: &Place, copied: &Copied) -> Outcome {
    let failures = copied.versions.iter().filter_map(|version| match &version.fate {
        Fate::Failed(kind, why) => Some((*kind, why)),
        _ => None,
    });
    let failures: Vec<_> = failures.collect();
    match failures.as_slice() {
        [] => Ok(Exit::Done),
        all if all.iter().any(|(kind, _)| *kind == Kind::Cancelled) => Err(Stop::at(&to.location, Error::cancelled())),
        _ if copied.limited => Ok(Exit::Limit),
        [(kind, why), ..] if failures.len() == copied.versions.len() => {
            Err(Stop::at(&to.location, Error::new(*kind, format!("nothing was copied: {why}"))))
        }
        _ => Ok(Exit::Partly),
    }
}
