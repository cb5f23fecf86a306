//! What leads to a copy: which versions can be copied, where to, what it would come to. The copy itself is a change like the others.

use super::copy_box::{CopyBox, Source};
use super::seen::Seen;
use super::{App, Modal};
use crate::error::{Error, Kind, Result};
use crate::model::inventory::CacheIndex;
use crate::model::location::Location;
use crate::model::text;
use crate::ops::copy::Plan;
use crate::tui::copying::Copying;
use crate::tui::screen::{Answer, Changing, Work, count};
use crate::tui::screens::version_name;
use crate::tui::shared::{JobKind, Place, PlaceId, Tone, no_copies_to};
use crate::tui::widgets::form::Pressed;
use crate::tui::widgets::picker::{Choice, Picker};
use std::time::Duration;

/// How long nothing must have been typed before it is looked at.
pub(super) const PAUSE: Duration = Duration::from_millis(300);

impl App {
    /// Why what is chosen can't be copied, if so.
    pub(super) fn uncopyable(&self) -> Option<String> {
        if let Some(why) = self.fixed {
            return Some(format!("nothing may be copied anywhere: {why}"));
        }
        let chosen = self.top().chosen(&self.shared);
        chosen.iter().filter_map(|target| self.shared.index(*target)).find_map(uncopyable)
    }

    /// Asks where what is chosen is to be copied to.
    pub(super) fn copy(&mut self) {
        let chosen = self.top().chosen(&self.shared);
        let Some(place) = chosen.first().map(|target| target.place) else { return };
        let Some(known) = self.shared.places.get(place) else { return };
        let indexes: Vec<&CacheIndex> = chosen.iter().filter_map(|target| known.index(&target.digest)).collect();
        let what = match indexes.as_slice() {
            [] => return,
            [only] => version_name(only),
            all => count(all.len(), "version"),
        };
        let names: Vec<_> = indexes.iter().flat_map(|index| &index.tags).map(|tag| text::safe(tag)).collect();
        let source = Source {
            place,
            location: known.location.clone(),
            versions: indexes.iter().map(|index| index.digest).collect(),
            what,
            names: names.join(", "),
        };
        self.copying = Some(Box::new(CopyBox::new(source)));
        self.modal = Some(self.destinations());
    }

    /// Places to copy to: those that are open, those of the config, or one to be typed.
    fn destinations(&self) -> Modal {
        let from = self.copying.as_ref().map(|copying| copying.source.place);
        let mut choices: Vec<Choice<Answer>> = Vec::new();
        let mut offer = |name: String, detail: String, to: &Location| {
            let key = if choices.len() < 9 { (choices.len() + 1).to_string() } else { String::new() };
            choices.push(Choice { name, detail, key, also: "", value: Answer::CopyTo(Box::new(to.clone())) });
        };
        let (own, others): (Vec<_>, Vec<_>) =
            self.shared.places.iter().enumerate().partition(|(id, _)| Some(*id) == from);
        for (id, place) in others.into_iter().chain(own) {
            let detail = match place.takes_no_copies() {
                Some(why) => format!("no: {}", text::safe(&why)),
                None if Some(id) == from => "here, under another name".to_owned(),
                None => match &place.inventory {
                    Some(inventory) => count(inventory.indexes.len(), "version"),
                    None => "not loaded".to_owned(),
                },
            };
            offer(place.location.title(), detail, &place.location);
        }
        for (name, location) in &self.aliases {
            if self.place_at(location).is_some() {
                continue;
            }
            let detail = match self.unopened_takes_none(location) {
                Some(why) => format!("no: {}", text::safe(&why)),
                None => format!("@{} of the config", text::safe(name)),
            };
            offer(location.title(), detail, location);
        }
        let value = Answer::CopyElsewhere;
        let detail = "a folder, type=.., or @name".to_owned();
        choices.push(Choice { name: "somewhere else..".to_owned(), detail, key: "t".to_owned(), also: "", value });
        Modal::Pick(Box::new(Picker::menu("copy to", choices)))
    }

    /// The place that is open and is at `location`.
    pub(super) fn place_at(&self, location: &Location) -> Option<PlaceId> {
        self.shared.places.iter().position(|place| place.location.identity() == location.identity())
    }

    /// Why a place that is not open takes no copies, as far as that is plain without looking.
    fn unopened_takes_none(&self, location: &Location) -> Option<String> {
        let fixed = (self.settings)(location).read_only;
        let fixed = fixed.map(|why| format!("{} is read-only: {why}", location.title()));
        fixed.or_else(|| no_copies_to(location.kind(), None))
    }

    fn takes_no_copies(&self, location: &Location) -> Option<String> {
        match self.place_at(location).and_then(|place| self.shared.places.get(place)) {
            Some(place) => place.takes_no_copies(),
            None => self.unopened_takes_none(location),
        }
    }

    /// Takes a destination of the list. One that takes no copies says so, and the list stays.
    pub(super) fn copy_chosen(&mut self, to: Location) {
        match self.takes_no_copies(&to) {
            Some(why) => {
                self.modal = Some(self.destinations());
                self.say(Tone::Note, text::safe(&why).into_owned());
            }
            None => self.copy_to(to),
        }
    }

    /// Takes a destination that was typed.
    pub(super) fn copy_typed(&mut self, typed: &str) -> Result<()> {
        let to = self.one_given(typed.trim())?;
        if let Some(why) = self.takes_no_copies(&to) {
            return Err(Error::new(Kind::Unsupported, why));
        }
        self.copy_to(to);
        Ok(())
    }

    /// The one place that was typed.
    pub(super) fn one_given(&self, typed: &str) -> Result<Location> {
        let mut given = self.given(typed)?;
        let place = given.pop().filter(|_| given.is_empty());
        let place = place.ok_or_else(|| Error::invalid("that is more than one place").with_hint("give one of them"))?;
        // A mere word is an image of Docker Hub to buildx, but who types one here means a folder.
        if place.kind() == "registry" && !typed.contains(['=', '/', ':', '@']) {
            let shown = text::safe(typed);
            return Err(Error::not_found(format!("no such folder: {shown}"))
                .with_hint(format!("write ./{shown} for a new one, {shown}:latest if it is an image")));
        }
        Ok(place)
    }

    fn copy_to(&mut self, to: Location) {
        let Some(mut copying) = self.copying.take() else { return };
        copying.go_to(to);
        self.modal = Some(Modal::Copy(copying));
        self.estimate();
    }

    /// Puts the box back whose destination is not chosen anew after all.
    pub(super) fn copy_back(&mut self) {
        if let Some(copying) = self.copying.take().filter(|copying| copying.has_destination()) {
            self.modal = Some(Modal::Copy(copying));
        }
    }

    /// Looks what the copy that is asked for would come to.
    fn estimate(&mut self) {
        let Some(Modal::Copy(copying)) = &mut self.modal else { return };
        copying.due = None;
        let place = copying.source.place;
        match copying.wanted() {
            Ok(wanted) => {
                copying.seen = Seen::Waiting;
                self.start(place, Work::Estimate(Box::new(wanted)));
            }
            Err(error) => {
                copying.seen = Seen::Refused(why(&error));
                self.shared.jobs.stop(JobKind::Estimate, place);
            }
        }
    }

    /// Whether something is being typed that is to be looked at.
    pub(super) fn copy_is_typed(&self) -> bool {
        matches!(&self.modal, Some(Modal::Copy(copying)) if copying.due.is_some())
    }

    /// Looks at what was typed, once nothing more is.
    pub(super) fn look_at_copy(&mut self) {
        if let Some(Modal::Copy(copying)) = &self.modal
            && copying.due.is_some_and(|due| due <= self.shared.clock)
        {
            self.estimate();
        }
    }

    pub(super) fn copy_pressed(&mut self, pressed: Pressed) {
        let Some(Modal::Copy(copying)) = &mut self.modal else { return };
        match pressed {
            Pressed::Open => {}
            Pressed::Changed => self.estimate(),
            Pressed::Typing => {
                copying.seen = Seen::Waiting;
                copying.due = Some(self.shared.clock + PAUSE);
            }
            Pressed::Elsewhere => {
                if let Some(Modal::Copy(copying)) = self.modal.take() {
                    self.copying = Some(copying);
                    self.modal = Some(self.destinations());
                }
            }
            Pressed::Closed => {
                let place = copying.source.place;
                self.shared.jobs.stop(JobKind::Estimate, place);
                self.modal = None;
            }
            Pressed::Go => self.copy_agreed(),
        }
    }

    /// Starts the copy, if what it comes to is shown.
    fn copy_agreed(&mut self) {
        let Some(Modal::Copy(copying)) = &mut self.modal else { return };
        match &copying.seen {
            Seen::Ready((_, plan)) if plan.is_done() => {
                self.say(Tone::Note, "all of it is there already; nothing was sent");
            }
            Seen::Ready((wanted, _)) => {
                let wanted = wanted.clone();
                self.modal = None;
                let place = self.destination(&wanted.to);
                self.change(place, Changing::Copy(wanted));
            }
            Seen::Waiting if copying.due.is_some() => self.estimate(),
            Seen::Waiting => self.say(Tone::Note, "what it would come to is not known yet; enter once it is"),
            Seen::Refused(_) => self.say(Tone::Note, "this can't be copied; nothing was sent"),
        }
    }

    /// The place at `location`, which is among those that are open from now on: so it can be looked at, and the copy be undone. What it
    /// holds is loaded once the copy is done.
    fn destination(&mut self, location: &Location) -> PlaceId {
        self.place_at(location).unwrap_or_else(|| {
            self.shared.places.push(Place::new(location.clone().asking_for_none()));
            let place = self.shared.places.len() - 1;
            self.settle_in(place);
            place
        })
    }

    /// Takes in what a copy would come to. What is not wanted any more is old news.
    pub(super) fn estimated(&mut self, of: Box<Copying>, came: Result<Box<Plan>>) {
        let Some(Modal::Copy(copying)) = &mut self.modal else { return };
        if copying.due.is_some() || copying.wanted().is_ok_and(|wanted| wanted != *of) {
            return;
        }
        copying.seen = match came {
            Ok(plan) => Seen::Ready((of, plan)),
            Err(error) => Seen::Refused(why(&error)),
        };
    }
}

/// Why this version can't be copied, if so.
fn uncopyable(index: &CacheIndex) -> Option<String> {
    let name = version_name(index);
    if index.unread || index.known_digest().is_none() {
        return Some(format!("{name} can't be read, so it can't be copied"));
    }
    if index.cache.is_none() {
        return Some(match index.findings.first() {
            Some(finding) => format!("{name} can't be copied: {}", text::safe(&finding.message)),
            None => format!("{name} is an image without a cache: build it with --cache-to type=inline"),
        });
    }
    let missing = index.missing.len();
    (missing > 0)
        .then(|| format!("{name} misses {}, and so would its copy: V, then F mends it", count(missing, "blob")))
}

/// What an error says to somebody who looks at the box: what is wrong, and what helps there.
pub(super) fn why(error: &Error) -> Vec<String> {
    let mut lines = vec![text::safe(&error.to_string()).into_owned()];
    let hint = match error.kind() {
        Kind::Stale => Some("say yes to overwrite to lead it to the copy, or call the copy something else"),
        _ => error.hint(),
    };
    lines.extend(hint.map(|hint| text::safe(hint).into_owned()));
    lines
}
