//! The record of what was changed at a place, and of its pins. It is kept at the place itself where that can keep notes, so
//! that whoever comes next can finish or undo it; else in the user's data folder.
//!
//! A run's plan is written once, before anything is changed; how far it is stands beside it. What is hidden is not written down:
//! the place itself tells, also after a crash.

use crate::error::{Error, Kind, Result};
use crate::model::pin::Pin;
use crate::model::plan::{Plan, RunId};
use crate::model::run::Run;
use crate::state::{Place, State};
use crate::store::Store;
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// Runs that are closed are told of for so many runs.
const KEPT_RUNS: usize = 100;

const PLAN: &str = "plan.json";
const STATE: &str = "state.json";

/// Notes about one place.
#[derive(Clone)]
pub struct Journal {
    store: Arc<dyn Store>,
    state: State,
    place: Place,
}

impl Journal {
    /// The journal of the place behind `store`; `state` is what the user's own folders remember.
    pub fn new(store: &Arc<dyn Store>, state: &State) -> Self {
        Self { store: store.clone(), state: state.clone(), place: Place::new(&store.identity()) }
    }

    fn at_place(&self) -> bool {
        self.store.capabilities().notes
    }

    async fn write(&self, key: &str, value: &impl Serialize) -> Result<()> {
        let bytes = Bytes::from(serde_json::to_vec(value).map_err(|e| {
            Error::new(Kind::Internal, format!("a note can't be written as JSON: {key}")).with_source(e)
        })?);
        if self.at_place() {
            // A copy, so that `log` can tell of all places: both wait for their disk at once.
            let copy = async {
                if key.ends_with(STATE) {
                    self.state.note(self.place, key, bytes.clone()).await;
                }
            };
            return futures::join!(self.store.note(key, bytes.clone()), copy).0;
        }
        if self.state.note(self.place, key, bytes).await {
            return Ok(());
        }
        let what = format!("what is done to {} can't be written down", self.store.location().title());
        Err(Error::new(Kind::Unavailable, what)
            .with_hint(format!("the data folder must be writable; {} names another", crate::state::DATA_VARIABLE)))
    }

    /// Whether runs can be written down, tried out where the place itself keeps no notes: what takes long asks first.
    /// [`Kind::Unavailable`] if not.
    pub async fn check(&self) -> Result<()> {
        const TRIAL: &str = "trial";
        if self.at_place() {
            return Ok(());
        }
        self.write(TRIAL, &()).await?;
        self.drop_key(TRIAL).await
    }

    async fn read<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        let bytes = if self.at_place() {
            match self.store.read_note(key).await {
                Ok(bytes) => Some(bytes),
                Err(error) if error.kind() == Kind::NotFound => None,
                Err(error) => return Err(error),
            }
        } else {
            self.state.read_note(self.place, key).await
        };
        let parse = |bytes: Bytes| {
            serde_json::from_slice(&bytes).map_err(|e| {
                let what = format!("a note of {} can't be read: {key}", self.store.location().title());
                Error::corrupt(what)
                    .with_source(e)
                    .with_hint("a newer cachedeck may have written it; nothing was changed")
            })
        };
        bytes.map(parse).transpose()
    }

    async fn keys(&self, prefix: &str) -> Result<Vec<String>> {
        match self.at_place() {
            true => self.store.notes(prefix).await,
            false => Ok(self.state.notes(self.place, prefix).await),
        }
    }

    async fn drop_key(&self, key: &str) -> Result<()> {
        if self.at_place() {
            self.store.drop_note(key).await?;
        }
        self.state.drop_note(self.place, key).await;
        Ok(())
    }

    /// Writes down what is about to be done. [`Kind::Stale`] if the plan was applied before.
    pub async fn begin(&self, plan: &Plan, run: &Run) -> Result<()> {
        if self.read::<Run>(&key(&plan.id, STATE)).await?.is_some() {
            let what = format!("plan {} was applied before", plan.id);
            return Err(Error::new(Kind::Stale, what).with_hint("make a new plan"));
        }
        self.write(&key(&plan.id, PLAN), plan).await?;
        self.update(run).await
    }

    /// Writes down how far a run is.
    pub async fn update(&self, run: &Run) -> Result<()> {
        self.write(&key(&run.id, STATE), run).await
    }

    /// Writes down that nothing of a run is hidden any more. What it hid, of its `plan` the most by far, need not be known any
    /// more then, and the oldest runs are forgotten.
    pub async fn close(&self, run: &Run, plan: Option<&Plan>) -> Result<()> {
        self.update(run).await?;
        if let Some(plan) = plan.filter(|plan| plan.targets().next().is_some()) {
            self.write(&key(&run.id, PLAN), &plan.without_targets()).await?;
        }
        let mut closed = self.runs().await?;
        closed.retain(|run| !run.is_open());
        for old in closed.into_iter().skip(KEPT_RUNS) {
            self.drop_key(&key(&old.id, PLAN)).await?;
            self.drop_key(&key(&old.id, STATE)).await?;
        }
        Ok(())
    }

    /// What a run was to do.
    pub async fn plan(&self, id: &RunId) -> Result<Option<Plan>> {
        self.read(&key(id, PLAN)).await
    }

    /// How far a run is.
    pub async fn run(&self, id: &RunId) -> Result<Option<Run>> {
        self.read(&key(id, STATE)).await
    }

    /// All runs at the place, the last first.
    pub async fn runs(&self) -> Result<Vec<Run>> {
        let mut runs = Vec::new();
        for key in self.keys("runs/").await?.iter().rev().filter(|key| key.ends_with(STATE)) {
            runs.extend(self.read::<Run>(key).await?);
        }
        Ok(runs)
    }

    /// All pins at the place, by name.
    pub async fn pins(&self) -> Result<Vec<Pin>> {
        let mut pins = Vec::new();
        for key in self.keys("pins/").await? {
            pins.extend(self.read::<Pin>(&key).await?);
        }
        pins.sort_by(|a: &Pin, b| a.name.cmp(&b.name));
        Ok(pins)
    }

    /// Keeps a pin's note.
    pub async fn keep_pin(&self, pin: &Pin) -> Result<()> {
        self.write(&Pin::key(&pin.name), pin).await
    }

    /// Throws a pin's note away.
    pub async fn drop_pin(&self, name: &str) -> Result<()> {
        self.drop_key(&Pin::key(name)).await
    }
}

/// Runs of all places that this user changed, the last first, as last written down here.
pub async fn everywhere(state: &State) -> Vec<Run> {
    let notes = state.notes_everywhere("runs/", STATE).await;
    notes.iter().filter_map(|body| serde_json::from_slice(body).ok()).collect()
}

fn key(id: &RunId, what: &str) -> String {
    format!("runs/{id}/{what}")
}
