//! `sync`: keeps the names of one place equal to those of another.

use super::Command;
use super::change::{self, ApplyArgs, Place};
use super::copy::{self, CopyArgs, Which};
use super::failure::{Exit, Outcome, Stop};
use super::output::Tone;
use super::session::Session;
use crate::error::{Error, Kind};
use crate::model::inventory::Inventory;
use crate::model::plan::{Plan, Purpose, Step};
use crate::ops::apply;
use crate::ops::copy::{Pick, Selection, picks};
use crate::ops::load;
use crate::ops::pin;
use crate::ops::prune::{Sight, matcher};
use crate::progress::Progress;
use clap::Parser;
use std::collections::BTreeSet;

/// Keep the names of one place equal to those of another
///
/// Shows what would be copied and which names would go, and does it with --apply.
/// Names at the destination lead to copies of what they lead to at the source; those that the source does not have, or that are not
/// chosen, are taken away there, but for pins. What they led to is left for `cachedeck prune`, and `cachedeck undo` leads them back.
/// Where names can't be taken away, as in GitHub Actions, it copies and says so.
#[derive(Parser)]
#[command(after_help = "\
Examples:
  cachedeck sync .buildx-cache ghcr.io/acme/app
  cachedeck sync @ci ./offline --tag 'release-*' --apply
  cachedeck sync @ci @mirror --keep-tag 'local-*' --apply --yes --progress plain      in CI")]
pub(super) struct Sync {
    /// From where
    #[arg(value_name = "SOURCE")]
    from: String,

    /// To where
    #[arg(value_name = "DESTINATION")]
    to: String,

    #[command(flatten)]
    which: Which,

    /// Names at the destination that stay, whatever the source has; may be repeated
    #[arg(long = "keep-tag", value_name = "GLOB", help_heading = "Which versions")]
    keep_tags: Vec<String>,

    #[command(flatten)]
    copying: CopyArgs,

    #[command(flatten)]
    how: ApplyArgs,
}

impl Command for Sync {
    const NAME: &'static str = "sync";

    fn run(self, session: &mut Session) -> Outcome {
        // A name that leads elsewhere is to lead here: that is what it is for.
        let wish = self.copying.wish(true)?;
        let (from, to) = (session.location(Some(&self.from))?, session.location(Some(&self.to))?);
        change::prepare(session, std::slice::from_ref(&to), &self.how)?;
        let loaded = session.load(&from)?;
        let wanted = picks(&loaded.inventory, &self.which.selection(Selection::All), &to);
        let wanted = wanted.map_err(|error| Stop::at(&from, error))?;
        let place = copy::destination(session, &to, !self.how.applies())?;
        let plan = copy::plan(session, &loaded, &wanted, &place, &wish)?;
        let surplus = self.surplus(session, &loaded.inventory, &place, &wanted)?;
        let removal = self.removal(session, &place, &surplus)?;
        let idle = plan.is_done() && removal.is_none();
        if !self.how.applies() {
            copy::show::planned(session, &loaded, &place, &plan, &surplus)?;
            if !session.out.is_json() {
                if let Some(removal) = &removal {
                    change::show(session, removal)?;
                }
                if !idle {
                    session.words.note(&format!("nothing is changed yet; to do it: {}", change::typed()));
                }
            }
            return Ok(if idle && self.how.error_on_noop() { Exit::Noop } else { Exit::Done });
        }
        if let Some(removal) = removal.as_ref().filter(|_| !session.out.is_json()) {
            change::show(session, removal)?;
        }
        if !idle {
            change::agree(session, &to, self.how.yes(), "to do this")?;
        }
        let copied = copy::carry_out(session, &loaded, &place, plan, &wish)?;
        let ended = copy::ended(&place, &copied);
        let agreed = removal.filter(|_| matches!(ended, Ok(Exit::Done)));
        let Some(agreed) = agreed else {
            copy::show::copied(session, &loaded, &place, &copied, None)?;
            if !surplus.is_empty() {
                session.words.note("no names were taken away, as not all was copied");
            }
            return match ended {
                Ok(Exit::Done) if idle && self.how.error_on_noop() => Ok(Exit::Noop),
                ended => ended,
            };
        };
        // Copying led names, so the plan is made anew.
        let removal = unchanged(session, &place, &agreed).and_then(|names| {
            let removal = self.removal(session, &place, &names)?;
            let is_agreed = |name| unnamed(&agreed).any(|seen| seen == name);
            if removal.as_ref().is_some_and(|removal| !unnamed(removal).all(is_agreed)) {
                let what = "names at the destination were led elsewhere meanwhile, so none were taken away";
                return Err(Stop::at(&to, Error::new(Kind::Stale, what).with_hint("look again, then retry")));
            }
            Ok(removal.map(|removal| (names, removal)))
        });
        if session.out.is_json() {
            let applied = removal.and_then(|removal| {
                let Some((names, removal)) = removal else { return Ok(None) };
                let applied = place
                    .change(session, "taking names away", async |site| apply::apply(site, &removal, None).await)?;
                Ok(Some((names, applied)))
            });
            let removed = applied.as_ref().ok().and_then(Option::as_ref);
            let removed = removed.map(|(names, applied)| (names.as_slice(), applied));
            copy::show::copied(session, &loaded, &place, &copied, removed)?;
            return applied?.map_or(Ok(Exit::Done), |(_, applied)| change::exit(&place, &applied));
        }
        copy::show::copied(session, &loaded, &place, &copied, None)?;
        removal?.map_or(Ok(Exit::Done), |(_, removal)| change::apply_agreed(session, &place, &removal, None))
    }
}

/// Of the names that were to be taken away, and that the user agreed to, those that still lead where they led then.
fn unchanged(session: &mut Session, place: &Place, agreed: &Plan) -> Outcome<Vec<String>> {
    let there = place.run(session, "reading names", place.store.references())?;
    let mut same = Vec::new();
    for (name, version) in unnamed(agreed) {
        match there.items.iter().find(|reference| reference.name == name) {
            Some(reference) if reference.version.as_deref() == Some(version) => same.push(name.to_owned()),
            Some(_) => session.words.note(&format!("{name} leads elsewhere by now, and stays")),
            None => {}
        }
    }
    Ok(same)
}

/// The names that a plan takes away, each with where it leads.
fn unnamed(plan: &Plan) -> impl Iterator<Item = (&str, &str)> {
    plan.steps.iter().filter_map(|step| match step {
        Step::Unname { name, version, .. } => Some((name.as_str(), version.as_str())),
        _ => None,
    })
}

impl Sync {
    /// Names at the destination that are not wanted there; none where it is not known what the source has.
    fn surplus(
        &self,
        session: &mut Session,
        from: &Inventory,
        place: &Place,
        wanted: &[Pick<'_>],
    ) -> Outcome<Vec<String>> {
        let globs = self.keep_tags.iter().map(|glob| matcher(glob)).collect::<Result<Vec<_>, _>>()?;
        let pins: BTreeSet<String> = place.pins(session)?.into_iter().map(|pin| pin.name).collect();
        let names = wanted.iter().flat_map(|pick| &pick.names);
        let names: BTreeSet<String> = names.map(|name| place.store.name_in_full(name)).collect();
        let there = place.run(session, "reading names", place.store.references())?;
        let surplus: Vec<String> = there
            .items
            .into_iter()
            .map(|reference| reference.name)
            .filter(|name| {
                !name.is_empty()
                    && !names.contains(name)
                    && !pins.contains(name)
                    && !globs.iter().any(|(_, glob)| glob.is_match(name))
            })
            .collect();
        // In a workflow run without a token for the repository only the scope that is asked for is seen.
        let is_listed = from.details.actions.as_ref().is_none_or(|actions| actions.listed);
        let why = match from.complete && is_listed {
            false => "not all of the source can be seen",
            true if !place.store.capabilities().remove => "the destination can't do that",
            true => return Ok(surplus),
        };
        if !surplus.is_empty() {
            session.words.say("warning", Tone::Warn, &format!("no names are taken away at the destination: {why}"));
        }
        Ok(Vec::new())
    }

    /// The plan that takes names away; `None` where there are none to take.
    fn removal(&self, session: &mut Session, place: &Place, names: &[String]) -> Outcome<Option<Plan>> {
        if names.is_empty() {
            return Ok(None);
        }
        let progress = Progress::new();
        let now = session.out.look.now;
        let work = async {
            let inventory = load::load(&place.store, &progress).await?;
            let pins = place.journal.pins().await?;
            let sight = Sight { inventory: &inventory, pins: &pins, now, id: change::new_id() };
            pin::unname(&place.store, &sight, names, Purpose::Untag, true).await
        };
        let plan = session.jobs.run("planning", &progress, work).map_err(|error| Stop::at(&place.location, error))?;
        Ok(Some(plan).filter(|plan| !plan.is_empty()))
    }
}
