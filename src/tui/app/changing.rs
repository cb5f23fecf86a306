//! What leads to a change and what comes of it: choosing versions, plans, the queue of changes. Nothing is changed but by a job
//! that was confirmed.

use super::{App, Effect, Ending, Order, Report};
use crate::error::{Error, Result};
use crate::model::finding::corrupt;
use crate::model::location::Location;
use crate::model::pin::Pin;
use crate::model::plan::{Plan, Purpose, RunId};
use crate::model::text;
use crate::model::units;
use crate::ops::pin;
use crate::ops::prune::Wish;
use crate::tui::keys::{Action, View};
use crate::tui::screen::{Answer, Changing, Confirmation, Jump, Work, age, count};
use crate::tui::screens::{self, version_name};
use crate::tui::shared::{Change, Job, JobKind, PlaceId, Standing, Target, Tone, called, error_line};
use crate::tui::widgets::picker::{Choice, Picker};
use ratatui::text::Line;
use std::sync::Arc;

impl App {
    /// Why an action that changes a place, or leads there, means nothing here.
    pub(super) fn unchangeable(&self, action: Action) -> Option<String> {
        match action {
            Action::Copy => return self.uncopyable(),
            Action::Build => return self.unbuildable(),
            _ => {}
        }
        let view = self.top().view();
        let place = self.shared.places.get(self.top().place()?)?;
        let changes = match (action, view) {
            (Action::Plan, _) => return place.keeps_all(),
            (Action::Repair, _) => return place.takes_no_names(),
            (Action::Stage | Action::Empty, _) | (Action::Undo, View::Trash) => place.keeps_all(),
            (Action::Pin, _) => place.takes_no_names(),
            (Action::Apply, _) => None,
            _ => return None,
        };
        changes.or_else(|| place.is_fixed())
    }

    /// Chooses versions for removal, or not after all.
    pub(super) fn stage(&mut self) {
        let chosen = self.top().chosen(&self.shared);
        let Some(place) = chosen.first().map(|target| target.place) else { return };
        let Some(known) = self.shared.places.get(place) else { return };
        let mut names = Vec::new();
        for index in chosen.iter().filter_map(|target| known.index(&target.digest)) {
            let pinned = known.ledger.as_ref().and_then(|ledger| ledger.pin_of(index));
            if pinned.is_some() {
                let name = version_name(index);
                return self.say(Tone::Note, format!("{name} is pinned, so it stays; p takes the pin away"));
            }
            if index.unread || index.known_digest().is_none() {
                return self.say(Tone::Note, "it can't be read, so nobody knows what it needs: it stays");
            }
            names.push(called(index));
        }
        let mut wish = self.shared.drafts.entry(place, Purpose::Prune).wish.clone();
        let removed = &mut wish.policy.remove;
        let away = names.iter().all(|name| removed.contains(name));
        removed.retain(|name| !names.contains(name));
        if !away {
            removed.extend(names.iter().cloned());
            wish.policy.keep.retain(|name| !names.contains(name));
        }
        let staged = wish.policy.remove.len();
        self.want(place, wish);
        let what = if away { "not removed after all" } else { "staged, nothing is removed yet" };
        self.say(Tone::Note, format!("{what}; {} staged, P shows what would go, u takes it back", staged));
    }

    /// Wants something else changed.
    pub(super) fn want(&mut self, place: PlaceId, wish: Wish) {
        self.shared.drafts.entry(place, wish.purpose).want(wish);
        self.wanted(place);
    }

    pub(super) fn unwant(&mut self, place: PlaceId, purpose: Purpose) {
        match self.shared.drafts.entry(place, purpose).undo() {
            true => self.wanted(place),
            false => self.say(Tone::Note, "nothing was chosen before this"),
        }
    }

    pub(super) fn rewant(&mut self, place: PlaceId, purpose: Purpose) {
        match self.shared.drafts.entry(place, purpose).redo() {
            true => self.wanted(place),
            false => self.say(Tone::Note, "nothing was taken back"),
        }
    }

    fn wanted(&mut self, place: PlaceId) {
        self.shared.touch(place);
        self.replan(place);
    }

    /// Makes the plan anew if it is not of what is wanted.
    pub(super) fn plan(&mut self, place: PlaceId, purpose: Purpose) {
        let draft = self.shared.drafts.entry(place, purpose);
        if !draft.current {
            draft.error = None;
            let wish = Box::new(draft.wish.clone());
            self.start(place, Work::Plan(wish));
        }
    }

    /// Makes the plan that is looked at anew.
    pub(super) fn replan(&mut self, place: PlaceId) {
        let looked = self.stack.iter().find(|screen| screen.view() == View::Plan && screen.place() == Some(place));
        if let Some(purpose) = looked.and_then(|screen| screen.purpose()) {
            self.plan(place, purpose);
        }
    }

    pub(super) fn planned(&mut self, place: PlaceId, wish: &Wish, plan: Result<Plan>) {
        let draft = self.shared.drafts.entry(place, wish.purpose);
        if draft.wish != *wish {
            return;
        }
        draft.current = true;
        draft.revision += 1;
        match plan {
            Ok(plan) => (draft.plan, draft.error) = (Some(Arc::new(plan)), None),
            Err(error) => (draft.plan, draft.error) = (None, Some(Arc::new(error))),
        }
    }

    /// Blobs of the place that verifying found to be other than they should be.
    pub(super) fn corrupt(&self, place: PlaceId) -> Vec<crate::model::digest::Digest> {
        let verified = self.shared.places.get(place).and_then(|place| place.verified.as_ref());
        verified.into_iter().flat_map(|verified| corrupt(&verified.findings)).collect()
    }

    pub(super) fn go_plan(&mut self, purpose: Purpose) {
        if let Some(place) = self.top().place() {
            // What is looked at is the place as it is now.
            self.shared.drafts.entry(place, purpose).outdate();
            self.push(Box::new(screens::plan::Planner::new(place, purpose)));
        }
    }

    /// Lets the user pin the version, or take its pin away.
    pub(super) fn pin(&mut self) {
        let Some(target) = self.top().target(&self.shared) else { return };
        let Some(place) = self.shared.places.get(target.place) else { return };
        let Some(index) = place.index(&target.digest) else { return };
        let Some(pin) = place.ledger.as_ref().and_then(|ledger| ledger.pin_of(index)) else {
            let name = pin::usual_name(index);
            return self.ask_pin(target, name);
        };
        let name = text::safe(&pin.name).into_owned();
        let mut lines = vec![Line::from(format!("{} is kept by the name {name}", version_name(index)))];
        if index.tags.len() > 1 {
            lines.push(Line::from("without it, later exports and pruning may take the version away"));
        } else {
            lines.push(Line::from("it is its only name: without it pruning would take the version away"));
        }
        let changing = Box::new(Changing::Unpin(pin.name.clone()));
        let answer = Answer::Change(target.place, changing);
        self.confirm(Confirmation { title: "take the pin away".to_owned(), lines, name: None, verb: "unpin", answer });
    }

    pub(super) fn ask_pin(&mut self, target: Target, name: String) {
        let title = self.shared.index(target).map(|index| format!("pin {}", version_name(index))).unwrap_or_default();
        let filling = super::confirm::Filling::new(target, title, name);
        self.modal = Some(super::boxes::Modal::Fill(Box::new(filling)));
    }

    /// Takes what was typed about a pin.
    pub(super) fn pin_typed(&mut self, target: Target, [name, until, reason]: [String; 3]) -> Result<()> {
        if name.is_empty() {
            return Err(Error::invalid("a pin needs a name"));
        }
        let now = self.shared.now;
        let until = match until.as_str() {
            "" => None,
            given => Some(units::parse_until(given, now)?),
        };
        let reason = Some(reason).filter(|reason| !reason.is_empty());
        let pin = Pin { name, digest: target.digest, made: now, until, reason };
        self.change(target.place, Changing::Pin(target.digest, pin));
        Ok(())
    }

    /// The pins of the place, to choose one and go to what it keeps.
    pub(super) fn pins(&mut self) {
        let Some(id) = self.top().place() else { return };
        let Some(place) = self.shared.places.get(id) else { return };
        let now = self.shared.now;
        let pins = place.ledger.iter().flat_map(|ledger| &ledger.pins);
        let choices: Vec<Choice<Answer>> = pins
            .map(|pin| {
                let made = format!("{}, pinned {} ago", pin.digest.short(), age(now, pin.made));
                let until = match pin.until {
                    Some(until) if pin.has_expired(now) => format!(", over since {}", age(now, until)),
                    Some(until) => format!(", until {}", age(now, until)),
                    None => String::new(),
                };
                let keeps = match place.index(&pin.digest) {
                    Some(index) if index.tags.contains(&pin.name) => String::new(),
                    _ => ", keeps nothing any more".to_owned(),
                };
                let reason = pin.reason.iter().map(|reason| format!(": {}", text::safe(reason)));
                Choice {
                    name: text::safe(&pin.name).into_owned(),
                    detail: format!("{made}{until}{keeps}{}", reason.collect::<String>()),
                    key: String::new(),
                    also: "",
                    value: Answer::Jump(Jump::Index(Target { place: id, digest: pin.digest })),
                }
            })
            .collect();
        match choices.is_empty() {
            true => self.say(Tone::Note, "no pins here; p on a version pins it"),
            false => {
                let title = format!("pins of {}", place.location.title());
                self.modal = Some(super::boxes::Modal::Pick(Box::new(Picker::searching(title, choices))));
            }
        }
    }

    /// Queues a change that was confirmed.
    pub(super) fn change(&mut self, place: PlaceId, changing: Changing) {
        let Some(known) = self.shared.places.get(place) else { return };
        // A build that exports nothing changes nothing.
        let reads = matches!(&changing, Changing::Build(building) if building.to.is_none());
        if let Some(why) = known.is_fixed().filter(|_| !reads) {
            return self.say(Tone::Note, why);
        }
        let plan = changing.plan();
        let same = |change: &&Change| plan.is_some() && change.plan == plan;
        if self.shared.changes.open().any(|change| same(&change)) {
            return self.say(Tone::Note, "that plan is being applied; gw shows how far it is");
        }
        let whole = matches!(changing, Changing::Copy(_) | Changing::Build(_));
        if whole && self.shared.changes.open().any(|change| change.changing == changing) {
            return self.say(Tone::Note, "that is being done; gw shows how far it is");
        }
        let change = Change::new(self.shared.jobs.number(), place, changing, self.shared.now);
        let (kind, direction) = (change.kind, change.direction());
        let line = format!("{kind} {direction} {} is queued; gw shows it", known.location.title());
        self.shared.changes.add(change);
        self.say(Tone::Note, line);
        self.begin_changes();
    }

    fn begin_changes(&mut self) {
        while let Some((id, place, progress, work)) = self.shared.changes.begin(self.shared.clock) {
            let Some(known) = self.shared.places.get(place) else { continue };
            // A copy is made of what is known of where it comes from.
            let changing = match &work {
                Work::Change(changing) => Some(&**changing),
                _ => None,
            };
            let (inventory, from) = match changing {
                Some(Changing::Copy(copying)) => {
                    (self.shared.places.get(copying.from).and_then(|place| place.inventory.clone()), None)
                }
                Some(Changing::Apply(_, from)) => (None, from.as_deref().cloned()),
                _ => (None, None),
            };
            let location = known.location.clone();
            let order = Order { location, from, work, inventory, seen: None, corrupt: Vec::new() };
            let job = Job { id, kind: JobKind::Change, place, progress, since: self.shared.clock };
            self.effects.push(Effect::Start(job, Box::new(order)));
        }
        self.shared.revision += 1;
    }

    /// Takes news of a change in; what is no such news comes back.
    pub(super) fn change_news(&mut self, id: u64, report: Report) -> Option<Report> {
        let Some(place) = self.shared.changes.get(id).map(|change| change.place) else { return Some(report) };
        match report {
            Report::Ledger(ledger) => {
                self.shared.places[place].ledger = Some(Arc::new(*ledger));
                self.shared.touch(place);
            }
            Report::Says(said) => self.shared.changes.hear(id, said),
            Report::Sends(traffic) => self.shared.changes.watch(id, traffic),
            Report::Changed(Ending { state, runs }) => {
                let safe = |lines: Vec<String>| lines.iter().map(|line| text::safe(line).into_owned()).collect();
                let state = match state {
                    Standing::Done(lines) => Standing::Done(safe(lines)),
                    Standing::Partly(lines) => Standing::Partly(safe(lines)),
                    Standing::Failed(lines) => Standing::Failed(safe(lines)),
                    Standing::Waits | Standing::Runs => Standing::Done(Vec::new()),
                };
                self.change_ended(id, state, runs);
            }
            Report::Failed(error) => self.change_ended(id, Standing::Failed(vec![error_line(&error)]), Vec::new()),
            _ => {}
        }
        None
    }

    fn change_ended(&mut self, id: u64, state: Standing, runs: Vec<RunId>) {
        let (tone, undo) = match &state {
            Standing::Done(_) => (Tone::Done, !runs.is_empty()),
            _ => (Tone::Failed, !runs.is_empty()),
        };
        let all = state.lines().join("; ");
        let first = state.lines().first().cloned();
        let Some(change) = self.shared.changes.end(id, state, runs) else { return };
        let (place, kind, plan) = (change.place, change.kind, change.plan.clone());
        if let (Some((purpose, _)), Tone::Done) = (plan, tone) {
            self.shared.drafts.entry(place, purpose).settle();
        }
        let undo = match (tone, undo) {
            (_, true) => "; u on the jobs (gw) takes it back",
            (Tone::Failed, _) => "; A on the jobs (gw) tries again",
            _ => "",
        };
        let title = self.shared.places[place].location.title();
        match (kind, tone) {
            // What came of each version is long; what to do now must be seen.
            ("copy", Tone::Failed) => {
                self.say(tone, format!("copy to {title} failed, A on the jobs (gw) goes on: {all}"))
            }
            ("build", _) => {
                let first = first.unwrap_or_default();
                self.say(tone, format!("build with {title}: {first}; gw tells more"));
            }
            ("copy", _) => self.say(tone, format!("copied to {title}{undo}: {all}")),
            _ => self.say(tone, format!("{kind} of {title}: {all}{undo}")),
        }
        self.shared.drafts.outdate(place);
        self.start(place, Work::Load);
        self.begin_changes();
        if self.quits && self.shared.changes.open().next().is_none() {
            self.effects.push(Effect::Quit);
        }
    }

    /// Tries a change again that did not do all it should. Plans are made once: what is left of one is planned anew, and looked at.
    pub(super) fn retry(&mut self, id: u64) {
        let Some(change) = self.shared.changes.get(id) else { return };
        let (place, changing) = (change.place, change.changing.clone());
        if let Changing::Apply(plan, _) = &changing {
            self.shared.drafts.entry(place, plan.purpose).outdate();
            self.push(Box::new(screens::plan::Planner::new(place, plan.purpose)));
            return self.say(Tone::Note, "what is left is planned anew; look at it, then A applies it");
        }
        let before = self.shared.changes.all().len();
        self.change(place, changing);
        if let Some(again) = self.shared.changes.all().get(before).map(|change| change.id) {
            self.shared.changes.tried_again(id, again);
        }
    }

    /// Lets a repair fetch what is missing from `from`, and plans it so.
    pub(super) fn repair_from(&mut self, from: Option<Location>) {
        let Some(place) = self.top().place() else { return };
        let draft = self.shared.drafts.entry(place, Purpose::Repair);
        draft.from = from;
        draft.outdate();
        self.plan(place, Purpose::Repair);
    }

    /// The same, with what was typed.
    pub(super) fn repair_typed(&mut self, typed: &str) -> Result<()> {
        let from = self.one_given(typed.trim())?;
        self.repair_from(Some(from));
        Ok(())
    }

    /// Quits, unless a cache is being changed: then it asks.
    pub(super) fn quit(&mut self) {
        let open = self.shared.changes.open().count();
        if open == 0 {
            return self.effects.push(Effect::Quit);
        }
        let lines = vec![
            Line::from(format!("{} not done yet:", count(open, "change"))),
            Line::from("stopping lets the current step end, says how far it got, and then quits"),
            Line::from("nothing is lost: what is hidden can be brought back, here or by any cachedeck"),
        ];
        let (title, verb) = ("a cache is being changed".to_owned(), "stop and quit");
        self.confirm(Confirmation { title, lines, name: None, verb, answer: Answer::StopAndQuit });
    }

    /// Stops all changes after their current step, and quits then. A second time it quits at once.
    pub(super) fn stop_and_quit(&mut self) {
        if self.quits {
            return self.effects.push(Effect::Quit);
        }
        self.quits = true;
        if self.frozen.is_some() {
            self.freeze();
        }
        let open: Vec<u64> = self.shared.changes.open().map(|change| change.id).collect();
        for id in open {
            self.shared.changes.stop(id);
        }
        if self.shared.changes.open().next().is_none() {
            self.effects.push(Effect::Quit);
        } else {
            self.say(Tone::Note, "stopping after the current step; Q again quits at once");
        }
    }
}
