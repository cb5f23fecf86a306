//! `blobs`: every blob of a location, who needs it, and those that should be there and are not.

use super::Command;
use super::du::tone;
use super::failure::Outcome;
use super::list::ListArgs;
use super::output::{Cell, Column, Item, Tone};
use super::session::Session;
use super::summary;
use super::usage;
use crate::model::digest::Digest;
use crate::model::filter::{Field, Row};
use crate::model::inventory::{Blob, Role, State};
use clap::Parser;
use clap::builder::TypedValueParser;
use jiff::Timestamp;
use serde::{Serialize, Serializer};

/// List blobs and who needs them
#[derive(Parser)]
#[command(after_help = "\
States:
  live      a tag reaches it
  dangling  only versions without a tag do
  orphan    nothing does
  missing   something does, but it is not there

Fields to filter and sort by:
  digest size kind state age modified referrers damaged

Examples:
  cachedeck blobs --state orphan,dangling --sort size .buildx-cache
  cachedeck blobs --state missing --json .buildx-cache")]
pub(super) struct Blobs {
    /// Where to look
    #[arg(value_name = "LOCATION")]
    locations: Vec<String>,

    /// Only blobs in these states
    #[arg(long, value_name = "STATES", value_delimiter = ',', value_parser = states(), hide_possible_values = true)]
    state: Vec<State>,

    #[command(flatten)]
    list: ListArgs,
}

fn states() -> impl TypedValueParser<Value = State> {
    usage::one_of(
        [State::Live, State::Dangling, State::Orphan, State::Unknown, State::Missing]
            .map(|state| (state.name(), state)),
    )
}

impl Command for Blobs {
    const NAME: &'static str = "blobs";

    fn run(self, session: &mut Session) -> Outcome {
        let selection = self.list.selection::<BlobItem<'_>>(&mut session.out)?;
        let locations = session.locations(&self.locations)?;
        let many = session.load_all(&locations)?;
        let wanted = |blob: &&Blob| self.state.is_empty() || self.state.contains(&blob.state);
        let sections = many.sections(|loaded| loaded.inventory.blobs.iter().filter(wanted).map(BlobItem).collect());
        session.show("blob-list", sections, selection, &many)?;
        if session.out.is_chatty() {
            summary::holdings(&many, session.out.look.sizes).iter().for_each(|line| session.words.note(line));
        }
        Ok(many.exit)
    }
}

struct BlobItem<'a>(&'a Blob);

impl Serialize for BlobItem<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Fields {
            digest: Digest,
            bytes: Option<u64>,
            declared_bytes: Option<u64>,
            kind: Role,
            state: State,
            referrers: u32,
            modified_at: Option<Timestamp>,
        }
        let blob = self.0;
        Fields {
            digest: blob.digest,
            bytes: blob.size,
            declared_bytes: blob.declared,
            kind: blob.role,
            state: blob.state,
            referrers: blob.referrers,
            modified_at: blob.modified,
        }
        .serialize(serializer)
    }
}

impl Item for BlobItem<'_> {
    const TYPE: &'static str = "blob";

    fn fields() -> &'static [Field] {
        Blob::fields()
    }

    fn row(&self) -> impl Row {
        self.0
    }

    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::words("DIGEST", |b: &Self| Cell::digest(b.0.digest)),
            Column::numbers("SIZE", |b: &Self| {
                Cell::size(b.0.size).tone(if b.0.wrong_size() { Tone::Bad } else { Tone::Plain })
            })
            .field("bytes"),
            Column::numbers("DECLARED", |b: &Self| Cell::size(b.0.declared)).wide().field("declared_bytes"),
            Column::words("KIND", |b: &Self| Cell::text(b.0.role.name())),
            Column::words("STATE", |b: &Self| Cell::text(b.0.state.name()).tone(tone(b.0.state))),
            Column::numbers("VERSIONS", |b: &Self| Cell::count(u64::from(b.0.referrers))).drop(1).field("referrers"),
            Column::numbers("AGE", |b: &Self| Cell::time(b.0.modified)).drop(2).field("modified_at"),
        ]
    }
}
