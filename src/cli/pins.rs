//! `pins`: the versions that are kept on purpose, and whether they are.

use super::Command;
use super::change::Place;
use super::failure::Outcome;
use super::list::ListArgs;
use super::output::{Cell, Column, Item, Section, Tone};
use super::session::Session;
use crate::model::digest::Digest;
use crate::model::filter::{Field, FieldKind, Row, Value};
use crate::model::pin::Pin;
use crate::ops::pin::{self, Found};
use clap::Parser;
use jiff::Timestamp;
use serde::{Serialize, Serializer};
use std::borrow::Cow;

/// List pins: since when, how long, and whether they hold
#[derive(Parser)]
#[command(after_help = "\
State: held; damaged, if blobs of it are missing; expired, and the next pruning takes its name away; gone, if the name leads to
another version by now, or to none.

Fields to filter and sort by:
  name digest state age until reason

Examples:
  cachedeck pins .buildx-cache
  cachedeck pins @ci --filter 'state!=held'")]
pub(super) struct Pins {
    /// Where to look
    #[arg(value_name = "LOCATION")]
    locations: Vec<String>,

    #[command(flatten)]
    list: ListArgs,
}

impl Command for Pins {
    const NAME: &'static str = "pins";

    fn run(self, session: &mut Session) -> Outcome {
        let mut selection = self.list.selection::<PinItem>(&mut session.out)?;
        let locations = session.locations(&self.locations)?;
        let many = session.load_all(&locations)?;
        let now = session.out.look.now;
        let mut sections = Vec::new();
        for loaded in &many.loaded {
            let pins = Place::loaded(loaded).pins(session)?;
            let items = pin::found(&loaded.inventory, &pins).iter().map(|found| PinItem::new(found, now)).collect();
            let location = &loaded.inventory.location;
            sections.push(Section { location: Some(location), items, warnings: Vec::new(), complete: true });
        }
        sections.iter_mut().for_each(|section| section.select(&mut selection, now));
        session.out.list("pin-list", &sections, many.several)?;
        Ok(many.exit)
    }
}

/// A pin in a list.
struct PinItem {
    pin: Pin,
    state: &'static str,
}

impl PinItem {
    fn new(found: &Found<'_>, now: Timestamp) -> Self {
        let state = match found.index {
            None => "gone",
            Some(_) if found.pin.has_expired(now) => "expired",
            Some(index) if !index.is_sound() => "damaged",
            Some(_) => "held",
        };
        Self { pin: found.pin.clone(), state }
    }
}

impl Serialize for PinItem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Fields<'a> {
            name: &'a str,
            digest: Digest,
            state: &'a str,
            made_at: Timestamp,
            until_at: Option<Timestamp>,
            reason: Option<&'a str>,
        }
        let Pin { name, digest, made, until, reason } = &self.pin;
        let reason = reason.as_deref();
        Fields { name, digest: *digest, state: self.state, made_at: *made, until_at: *until, reason }
            .serialize(serializer)
    }
}

impl Item for PinItem {
    const TYPE: &'static str = "pin";

    fn fields() -> &'static [Field] {
        &FIELDS
    }

    fn row(&self) -> impl Row {
        self
    }

    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::words("NAME", |i: &Self| Cell::text(i.pin.name.clone())).cut_middle(),
            Column::words("DIGEST", |i: &Self| Cell::digest(i.pin.digest)),
            Column::words("STATE", |i: &Self| {
                Cell::text(i.state).tone(match i.state {
                    "held" => Tone::Good,
                    "damaged" => Tone::Bad,
                    _ => Tone::Warn,
                })
            }),
            Column::words("REASON", |i: &Self| Cell::known(i.pin.reason.clone())).cut_end().if_known(),
            Column::numbers("UNTIL", |i: &Self| Cell::time(i.pin.until)).field("until_at"),
            Column::numbers("AGE", |i: &Self| Cell::time(Some(i.pin.made))).field("made_at"),
        ]
    }
}

const FIELDS: [Field; 6] = [
    Field::new("name", FieldKind::Text),
    Field::new("digest", FieldKind::Text),
    Field::new("state", FieldKind::Text),
    Field::new("age", FieldKind::Time).or(&["made_at"]),
    Field::new("until", FieldKind::Time).or(&["until_at"]),
    Field::new("reason", FieldKind::Text),
];

impl Row for PinItem {
    fn fields() -> &'static [Field] {
        &FIELDS
    }

    fn field(&self, name: &str) -> Option<Value<'_>> {
        Some(match name {
            "name" => Value::Text(self.pin.name.as_str().into()),
            "digest" => Value::Text(self.pin.digest.to_string().into()),
            "state" => Value::Text(self.state.into()),
            "age" => Value::Time(self.pin.made),
            "until" => Value::Time(self.pin.until?),
            "reason" => Value::Text(self.pin.reason.as_deref()?.into()),
            _ => return None,
        })
    }

    fn text(&self) -> Cow<'_, str> {
        let reason = self.pin.reason.as_deref().unwrap_or_default();
        format!("{} {} {} {reason}", self.pin.name, self.pin.digest, self.state).into()
    }
}
