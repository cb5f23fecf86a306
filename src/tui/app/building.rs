//! What leads to a build with a cache: which version, and the command, checked against the builder. The build itself is a job like the
//! others.

use super::build_box::{BuildBox, Source};
use super::copying::{PAUSE, why};
use super::seen::Seen;
use super::{App, Modal};
use crate::error::Result;
use crate::model::text;
use crate::tui::building::{Building, Checked};
use crate::tui::screen::{Changing, Work};
use crate::tui::screens::version_name;
use crate::tui::shared::{JobKind, Tone};
use crate::tui::widgets::form::Pressed;

impl App {
    /// Why there can be no build with the version that one is at, if so.
    pub(super) fn unbuildable(&self) -> Option<String> {
        let index = self.shared.index(self.top().target(&self.shared)?)?;
        let name = version_name(index);
        match &index.cache {
            Some(_) if index.missing.is_empty() => None,
            Some(_) => Some(format!("{name} misses blobs, so a build with it could fail: V, then F mends it")),
            None => Some(format!("{name} holds no cache that can be read")),
        }
    }

    /// Asks what is to be built with the version that one is at.
    pub(super) fn build(&mut self) {
        let Some(target) = self.top().target(&self.shared) else { return };
        let Some(place) = self.shared.places.get(target.place) else { return };
        let Some(index) = place.index(&target.digest) else { return };
        let location = place.location.clone();
        let name = index.name().map(str::to_owned);
        // The very version where it can be asked for, whatever its name leads to by then.
        let by_digest = matches!(location.kind(), "local" | "registry" | "inline");
        let from = match (&name, by_digest) {
            (_, true) => location.clone().asking_for_digest(&index.digest),
            (Some(name), false) => location.clone().asking_for(name),
            (None, false) => return self.say(Tone::Note, "a version without a name can't be imported from there"),
        };
        let to = location.clone().asking_for(name.as_deref().unwrap_or(location.usual_name()));
        let source = Source {
            place: target.place,
            what: format!("{} of {}", version_name(index), location.title()),
            from,
            to,
            fixed: place.is_fixed().map(|why| text::safe(&why).into_owned()),
        };
        self.modal = Some(Modal::Build(Box::new(BuildBox::new(source))));
        self.check_build();
    }

    /// Checks the build that is asked for.
    fn check_build(&mut self) {
        let Some(Modal::Build(building)) = &mut self.modal else { return };
        building.due = None;
        let place = building.source.place;
        match building.wanted() {
            Ok(wanted) => {
                building.seen = Seen::Waiting;
                self.start(place, Work::Check(Box::new(wanted)));
            }
            Err(error) => {
                building.seen = Seen::Refused(why(&error));
                self.shared.jobs.stop(JobKind::Check, place);
            }
        }
    }

    /// Whether something is being typed that is to be checked.
    pub(super) fn build_is_typed(&self) -> bool {
        matches!(&self.modal, Some(Modal::Build(building)) if building.due.is_some())
    }

    /// Checks what was typed, once nothing more is.
    pub(super) fn look_at_build(&mut self) {
        if let Some(Modal::Build(building)) = &self.modal
            && building.due.is_some_and(|due| due <= self.shared.clock)
        {
            self.check_build();
        }
    }

    pub(super) fn build_pressed(&mut self, pressed: Pressed) {
        let Some(Modal::Build(building)) = &mut self.modal else { return };
        match pressed {
            Pressed::Open | Pressed::Elsewhere => {}
            Pressed::Changed => self.check_build(),
            Pressed::Typing => {
                building.seen = Seen::Waiting;
                building.due = Some(self.shared.clock + PAUSE);
            }
            Pressed::Closed => {
                let place = building.source.place;
                self.shared.jobs.stop(JobKind::Check, place);
                self.modal = None;
            }
            Pressed::Go => match &building.seen {
                Seen::Ready((wanted, _)) => {
                    let wanted = wanted.clone();
                    self.modal = None;
                    self.change(wanted.place, Changing::Build(wanted));
                }
                Seen::Waiting if building.due.is_some() => self.check_build(),
                Seen::Waiting => self.say(Tone::Note, "the builder was not heard yet; enter once the command is there"),
                Seen::Refused(_) => self.say(Tone::Note, "this can't be built; nothing was started"),
            },
        }
    }

    /// Takes in what the builder said. What is not wanted any more is old news.
    pub(super) fn checked(&mut self, of: Box<Building>, came: Result<Checked>) {
        let Some(Modal::Build(building)) = &mut self.modal else { return };
        if building.due.is_some() || building.wanted().is_ok_and(|wanted| wanted != *of) {
            return;
        }
        building.seen = match came {
            Ok(checked) => Seen::Ready((of, checked)),
            Err(error) => Seen::Refused(why(&error)),
        };
    }
}
