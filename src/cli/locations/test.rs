//! `locations test`: whether places can be reached, all at once.

use crate::cli::failure::{Exit, Outcome};
use crate::cli::list::ListArgs;
use crate::cli::output::{Cell, Column, Item, Place, Section, Tone};
use crate::cli::session::Session;
use crate::error::{Error, Kind, Result};
use crate::model::filter::{Field, FieldKind, Row, Value};
use crate::model::location::Location;
use crate::model::units;
use crate::progress::Progress;
use crate::store::{Store, catalog};
use clap::Parser;
use futures::future::join_all;
use serde::{Serialize, Serializer};
use serde_json::json;
use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// See whether locations can be reached, and what to do where not
///
/// Asks each for its names, all at once. Without LOCATION: all that have a name in the configuration, or were found here.
#[derive(Parser)]
#[command(after_help = "\
Fields to filter and sort by:
  location type ok names

Examples:
  cachedeck locations test
  cachedeck locations test @ci ghcr.io/acme/app --timeout 5s")]
pub(super) struct Test {
    /// Which ones
    #[arg(value_name = "LOCATION")]
    locations: Vec<String>,

    /// How long each may take
    #[arg(long, value_name = "TIME", default_value = "20s", value_parser = time)]
    timeout: Duration,

    #[command(flatten)]
    list: ListArgs,
}

fn time(given: &str) -> std::result::Result<Duration, String> {
    units::parse_duration(given).map_err(|error| error.to_string())
}

impl Test {
    pub(super) fn run(self, session: &mut Session) -> Outcome {
        let mut selection = self.list.selection::<Tested>(&mut session.out)?;
        let locations = session.locations(&self.locations)?;
        let (progress, timeout) = (Progress::new(), self.timeout);
        let work = async {
            let tasks = locations.iter().map(|location| tokio::spawn(reach(location.clone(), timeout)));
            Ok(join_all(tasks).await)
        };
        let tested = session.jobs.run("testing", &progress, work)?;
        let tested: Vec<Tested> = locations
            .iter()
            .zip(tested)
            .map(|(location, task)| {
                let broke_off = |error| Error::new(Kind::Internal, "testing broke off").with_source(error);
                let (took, names) = task.unwrap_or_else(|error| (Duration::ZERO, Err(broke_off(error))));
                Tested { location: location.clone(), took, names }
            })
            .collect();
        // The table says it in a word, this what to do.
        if !session.out.is_json() {
            for tested in &tested {
                if let Err(error) = &tested.names {
                    session.words.error(error, Some(&tested.location));
                }
            }
        }
        let failed = tested.iter().filter(|tested| tested.names.is_err()).count();
        let exit = if failed > 0 { Exit::Partly } else { Exit::Done };
        let mut section = Section { location: None, items: tested, warnings: Vec::new(), complete: true };
        section.select(&mut selection, session.out.look.now);
        session.out.list("location-test-list", &[section], false)?;
        Ok(exit)
    }
}

/// How many names (or, of a builder, records) a place has, and how long it took to tell.
async fn reach(location: Location, timeout: Duration) -> (Duration, Result<u64>) {
    let started = Instant::now();
    let ask = async {
        let opened = tokio::task::spawn_blocking(move || catalog::open(&location)).await;
        let store: Arc<dyn Store> =
            opened.map_err(|error| Error::new(Kind::Internal, "opening broke off").with_source(error))??;
        let can = store.capabilities();
        if can.usage && !can.read_blobs {
            return Ok(store.usage().await?.len() as u64);
        }
        Ok(store.references().await?.items.len() as u64)
    };
    let asked = tokio::time::timeout(timeout, ask).await.unwrap_or_else(|_| {
        let what = format!("no answer in {} s", timeout.as_secs_f32());
        Err(Error::new(Kind::Unavailable, what).with_hint("is it the right place? --timeout 1m waits longer"))
    });
    (started.elapsed(), asked)
}

/// A place that was asked.
struct Tested {
    location: Location,
    took: Duration,
    names: Result<u64>,
}

impl Serialize for Tested {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let error = self.names.as_ref().err().map(|error| {
            json!({"code": error.kind().code(), "exit": error.kind().exit_code(), "message": error.to_string(), "hint": error.hint()})
        });
        #[derive(Serialize)]
        struct Fields<'a> {
            location: Place<'a>,
            ok: bool,
            names: Option<u64>,
            took_ms: u64,
            error: Option<serde_json::Value>,
        }
        let took_ms = u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX);
        let names = self.names.as_ref().ok().copied();
        Fields { location: Place(&self.location), ok: self.names.is_ok(), names, took_ms, error }.serialize(serializer)
    }
}

impl Row for Tested {
    fn fields() -> &'static [Field] {
        const FIELDS: &[Field] = &[
            Field::new("location", FieldKind::Text),
            Field::new("type", FieldKind::Text),
            Field::new("ok", FieldKind::Flag),
            Field::new("names", FieldKind::Count),
        ];
        FIELDS
    }

    fn field(&self, name: &str) -> Option<Value<'_>> {
        Some(match name {
            "location" => Value::Text(Cow::Owned(self.location.to_string())),
            "type" => Value::Text(Cow::Borrowed(self.location.kind())),
            "ok" => Value::Flag(self.names.is_ok()),
            "names" => Value::Count(*self.names.as_ref().ok()?),
            _ => return None,
        })
    }

    fn text(&self) -> Cow<'_, str> {
        Cow::Owned(self.location.to_string())
    }
}

impl Item for Tested {
    const TYPE: &'static str = "location_test";

    fn fields() -> &'static [Field] {
        <Self as Row>::fields()
    }

    fn row(&self) -> impl Row {
        self
    }

    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::words("LOCATION", |item: &Self| Cell::text(item.location.title())).cut_middle(),
            Column::words("STATE", |item: &Self| match &item.names {
                Ok(_) => Cell::text("ok").tone(Tone::Good),
                Err(error) => Cell::text(error.kind().code().replace('_', " ")).tone(Tone::Bad),
            })
            .field("ok"),
            Column::numbers("NAMES", |item: &Self| Cell::count(item.names.as_ref().ok().copied())),
        ]
    }
}
