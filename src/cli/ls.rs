//! `ls`: every version of every location, tagged or dangling.

use super::Command;
use super::failure::Outcome;
use super::item::IndexItem;
use super::list::ListArgs;
use super::output::Tone;
use super::session::{Many, Session};
use super::summary;
use clap::Parser;

/// List all versions of caches, dangling ones too
///
/// A dangling version is one that no tag leads to any more, because a later export took its tag. Its blobs are still
/// there, and a build can use it by its digest.
#[derive(Parser)]
#[command(after_help = "\
Fields to filter and sort by:
  tag digest state form mode size min exclusive shared layers blobs records missing age created
  dangling type

Examples:
  cachedeck ls .buildx-cache
  cachedeck ls --filter 'dangling=true age>30d' --sort size
  cachedeck ls --json=digest,tags,max_bytes | jq '.items[]'")]
pub(super) struct Ls {
    /// Where to look
    #[arg(value_name = "LOCATION")]
    locations: Vec<String>,

    #[command(flatten)]
    list: ListArgs,
}

impl Ls {
    /// What the program does without a command and without a terminal.
    pub(super) fn of(locations: Vec<String>) -> Self {
        Self { locations, list: ListArgs::default() }
    }
}

impl Command for Ls {
    const NAME: &'static str = "ls";

    fn run(self, session: &mut Session) -> Outcome {
        let selection = self.list.selection::<IndexItem<'_>>(&mut session.out)?;
        let locations = session.locations(&self.locations)?;
        let many = session.load_sums(&locations)?;
        let sections = many.sections(|loaded| IndexItem::all(&loaded.inventory));
        session.show("index-list", sections, selection, &many)?;
        damage(session, &many);
        if session.out.is_chatty() {
            summary::holdings(&many, session.out.look.sizes).iter().for_each(|line| session.words.note(line));
        } else if !session.out.is_json() {
            // An empty list alone would look as if nothing was there.
            summary::builders(&many, session.out.look.sizes).iter().for_each(|line| session.words.note(line));
        }
        Ok(many.exit)
    }
}

/// Damaged versions that are told one by one.
const MOST: usize = 5;

/// Says what is wrong with versions that a build can't rely on.
fn damage(session: &Session, many: &Many) {
    if session.out.is_json() {
        return;
    }
    let all = many.loaded.iter().flat_map(|loaded| &loaded.inventory.indexes);
    let mut damaged = all.filter(|index| !index.is_sound());
    for index in damaged.by_ref().take(MOST) {
        let name = index.name().map_or_else(|| index.short(), str::to_owned);
        let worst = index.findings.iter().max_by_key(|finding| finding.severity);
        let what = match (index.missing.len(), worst) {
            (0, Some(finding)) => finding.message.clone(),
            (1, _) => "a blob is missing".to_owned(),
            (some, _) => format!("{some} blobs are missing"),
        };
        session.words.say("damaged", Tone::Bad, &format!("{name}: {what}; `cachedeck verify` tells more"));
    }
    match damaged.count() {
        0 => {}
        more => session.words.say("damaged", Tone::Bad, &format!("{more} more")),
    }
}
