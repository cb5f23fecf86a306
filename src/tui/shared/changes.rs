//! Jobs that change a place: one at a time in each, the others wait, and none is ever dropped. They stay on the list once they
//! are over, with what came of them.

use super::PlaceId;
use crate::model::plan::{Purpose, RunId};
use crate::ops::copy::Traffic;
use crate::progress::Progress;
use crate::tui::building::Transcript;
use crate::tui::pace::Pace;
use crate::tui::screen::{Changing, Work};
use jiff::Timestamp;
use std::time::Duration;

/// One change.
#[derive(Clone, Debug)]
pub struct Change {
    /// Its number; jobs that read have theirs from the same row.
    pub id: u64,
    /// Where.
    pub place: PlaceId,
    /// What it does, in a word.
    pub kind: &'static str,
    /// What it does, in a line. Safe text.
    pub what: String,
    /// How far it is, and how to stop it.
    pub progress: Progress,
    /// When it was asked for.
    pub asked: Timestamp,
    /// When it began, on [`super::Shared::clock`].
    pub since: Option<Duration>,
    /// How it stands.
    pub state: Standing,
    /// The plan it applies, and what that is for.
    pub plan: Option<(Purpose, RunId)>,
    /// The runs it became, as far as they can be undone, oldest first.
    pub runs: Vec<RunId>,
    /// What it is to do.
    pub changing: Changing,
    /// How fast it goes.
    pub pace: Pace,
    /// What is on its way, for copies.
    pub traffic: Traffic,
    /// What was said, for builds.
    pub said: Transcript,
    /// The job that tries it again, if one does.
    pub again: Option<u64>,
}

/// How a change stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Another one is at the place.
    Waits,
    /// It is being done.
    Runs,
    /// It is done; what came of it, a sentence each. Safe text.
    Done(Vec<String>),
    /// Some of it is done, and why not the rest. Safe text.
    Partly(Vec<String>),
    /// It failed; why. Safe text.
    Failed(Vec<String>),
}

impl Standing {
    /// The word for it.
    pub fn name(&self) -> &'static str {
        match self {
            Standing::Waits => "waits",
            Standing::Runs => "runs",
            Standing::Done(_) => "done",
            Standing::Partly(_) => "partly",
            Standing::Failed(_) => "failed",
        }
    }

    /// What there is to say about it.
    pub fn lines(&self) -> &[String] {
        match self {
            Standing::Waits | Standing::Runs => &[],
            Standing::Done(lines) | Standing::Partly(lines) | Standing::Failed(lines) => lines,
        }
    }
}

impl Change {
    /// Whether it is not over.
    pub fn is_open(&self) -> bool {
        matches!(self.state, Standing::Waits | Standing::Runs)
    }

    /// One that was asked for just now, and waits.
    pub fn new(id: u64, place: PlaceId, changing: Changing, asked: Timestamp) -> Change {
        Change {
            id,
            place,
            kind: changing.kind(),
            what: changing.what(),
            progress: Progress::new(),
            asked,
            since: None,
            state: Standing::Waits,
            plan: changing.plan(),
            runs: Vec::new(),
            changing,
            pace: Pace::default(),
            traffic: Traffic::default(),
            said: Transcript::default(),
            again: None,
        }
    }

    /// What is said where it fails, or ends.
    pub fn direction(&self) -> &'static str {
        if matches!(self.changing, Changing::Copy(_)) { "to" } else { "of" }
    }
}

/// All changes of this session, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    all: Vec<Change>,
}

impl Changes {
    /// Queues one.
    pub fn add(&mut self, change: Change) {
        self.all.push(change);
    }

    /// The next one that may begin: the oldest that waits at a place where none runs. It counts as running from `clock` on.
    pub fn begin(&mut self, clock: Duration) -> Option<(u64, PlaceId, Progress, Work)> {
        let runs = |all: &[Change], place| all.iter().any(|c| c.place == place && c.state == Standing::Runs);
        let waits = |c: &Change| c.state == Standing::Waits;
        let next = (0..self.all.len()).find(|&at| waits(&self.all[at]) && !runs(&self.all, self.all[at].place))?;
        let change = &mut self.all[next];
        let work = Work::Change(Box::new(change.changing.clone()));
        (change.state, change.since) = (Standing::Runs, Some(clock));
        Some((change.id, change.place, change.progress.clone(), work))
    }

    /// The one with this number.
    pub fn get(&self, id: u64) -> Option<&Change> {
        self.all.iter().find(|change| change.id == id)
    }

    /// Notes how one ended, and which runs can be undone.
    pub fn end(&mut self, id: u64, state: Standing, runs: Vec<RunId>) -> Option<&Change> {
        let change = self.all.iter_mut().find(|change| change.id == id)?;
        (change.state, change.runs) = (state, runs);
        Some(change)
    }

    /// Asks one to stop: what waits never begins, what runs stops after its current step. `false` if it is over, or was asked.
    pub fn stop(&mut self, id: u64) -> bool {
        let Some(change) = self.all.iter_mut().find(|change| change.id == id) else { return false };
        if !change.is_open() || change.progress.is_cancelled() {
            return false;
        }
        change.progress.cancel();
        if change.state == Standing::Waits {
            change.state = Standing::Failed(vec!["stopped before it began; nothing was changed".to_owned()]);
        }
        true
    }

    /// Notes what is on its way in one.
    pub fn watch(&mut self, id: u64, traffic: Traffic) {
        if let Some(change) = self.all.iter_mut().find(|change| change.id == id) {
            change.traffic = traffic;
        }
    }

    /// Notes what one says.
    pub fn hear(&mut self, id: u64, said: Transcript) {
        if let Some(change) = self.all.iter_mut().find(|change| change.id == id) {
            change.said = said;
        }
    }

    /// Notes that `id` is tried again by job `again`.
    pub fn tried_again(&mut self, id: u64, again: u64) {
        if let Some(change) = self.all.iter_mut().find(|change| change.id == id) {
            change.again = Some(again);
        }
    }

    /// Looks how far those are that run.
    pub fn look(&mut self, clock: Duration) {
        for change in self.all.iter_mut().filter(|change| change.state == Standing::Runs) {
            change.pace.note(clock, change.progress.counts());
        }
    }

    /// Those that are not over.
    pub fn open(&self) -> impl DoubleEndedIterator<Item = &Change> {
        self.all.iter().filter(|change| change.is_open())
    }

    /// All of them, oldest first.
    pub fn all(&self) -> &[Change] {
        &self.all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(id: u64, place: PlaceId) -> Change {
        Change::new(id, place, Changing::Empty(None), Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn changes_of_one_place_wait_for_each_other_and_none_is_dropped() {
        let mut changes = Changes::default();
        [change(1, 0), change(2, 0), change(3, 1)].into_iter().for_each(|c| changes.add(c));
        let mut begun = || changes.begin(Duration::ZERO).map(|(id, ..)| id);
        assert_eq!([begun(), begun(), begun()], [Some(1), Some(3), None]);
        changes.end(1, Standing::Done(Vec::new()), Vec::new());
        assert_eq!(changes.begin(Duration::ZERO).map(|(id, ..)| id), Some(2));
        assert_eq!(changes.all().len(), 3);
    }

    #[test]
    fn what_is_stopped_while_it_waits_never_begins() {
        let mut changes = Changes::default();
        [change(1, 0), change(2, 0)].into_iter().for_each(|c| changes.add(c));
        changes.begin(Duration::ZERO);
        assert!(changes.stop(2) && changes.stop(1) && !changes.stop(1));
        assert_eq!(changes.open().map(|c| c.id).collect::<Vec<_>>(), [1], "what runs ends by itself");
        changes.end(1, Standing::Done(Vec::new()), Vec::new());
        assert!(changes.begin(Duration::ZERO).is_none());
    }
}
