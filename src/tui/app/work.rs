//! Starts jobs and takes their reports in: the only code that changes what is known of locations.

use super::{App, Effect, Message, Order, Report};
use crate::error::{Error, Kind, Result};
use crate::model::inventory::Inventory;
use crate::model::location::{Given, Location};
use crate::model::text;
use crate::ops::files::extract::Extracted;
use crate::ops::names::StepNames;
use crate::ops::verify::{self, Level};
use crate::tui::contents::Contents;
use crate::tui::screen::{Answer, Jump, Work, bytes, count, thousands};
use crate::tui::screens;
use crate::tui::shared::{Fetched, FileSearch, Job, JobKind, Place, PlaceId, Target, Tone, Verified, error_line};
use std::sync::Arc;
use std::time::Duration;

impl App {
    pub(super) fn start(&mut self, place: PlaceId, work: Work) {
        let kind = match &work {
            Work::Load => JobKind::Load,
            Work::Verify(_) => JobKind::Verify,
            Work::Raw { .. } => JobKind::Raw,
            Work::Files(_) => JobKind::Files,
            Work::Peek(_) | Work::Page(_) => JobKind::Peek,
            Work::Find { .. } => JobKind::Find,
            Work::Plan(_) => JobKind::Plan,
            Work::Estimate(_) => JobKind::Estimate,
            Work::Check(_) => JobKind::Check,
            // They queue: see `change`.
            Work::Change(_) => return,
            Work::Save { .. } | Work::SaveBlob { .. } | Work::Extract { .. } => JobKind::Save,
        };
        let corrupt = if kind == JobKind::Plan { self.corrupt(place) } else { Vec::new() };
        let Some(known) = self.shared.places.get_mut(place) else { return };
        match &work {
            Work::Load => (known.stopped, known.error) = (false, None),
            Work::Raw { digest, .. } => {
                self.shared.raws.insert(Target { place, digest: *digest }, Fetched::Waiting);
            }
            Work::Files(chain) => self.shared.library.put(chain.clone(), Fetched::Waiting),
            Work::Find { pattern, .. } => {
                let revision = self.shared.revision + 1;
                let search = FileSearch { pattern: pattern.clone(), revision, ..FileSearch::default() };
                self.shared.searches.insert(place, search);
            }
            Work::Peek(file) => self.shared.library.peek = Some((file.clone(), Fetched::Waiting)),
            _ => {}
        }
        let (inventory, seen) = (known.inventory.clone(), known.seen);
        let from = match &work {
            Work::Plan(wish) => self.shared.drafts.get(place, wish.purpose).and_then(|draft| draft.from.clone()),
            _ => None,
        };
        let order = Order { location: known.location.clone(), from, work, inventory, seen, corrupt };
        let job = self.shared.jobs.start(kind, place, self.shared.clock);
        self.shared.touch(place);
        self.effects.push(Effect::Start(job, Box::new(order)));
    }

    /// Takes in what comes from elsewhere.
    pub(super) fn news(&mut self, news: Message) {
        match news {
            Message::Report(id, report) => self.report(id, report),
            Message::Named(names) => self.named(names),
            _ => {}
        }
    }

    fn named(&mut self, names: StepNames) {
        let known = self.shared.names.len();
        Arc::make_mut(&mut self.shared.names).extend(names);
        if self.shared.names.len() > known {
            (0..self.shared.places.len()).for_each(|place| self.shared.touch(place));
        }
    }

    fn report(&mut self, id: u64, report: Report) {
        let Some(report) = self.change_news(id, report) else { return };
        // Another job took the slot meanwhile: this is old news.
        let Some(job) = self.shared.jobs.by_id(id).cloned() else { return };
        let place = job.place;
        // News on the way; the job goes on.
        match report {
            Report::Found(found) => {
                let known = &mut self.shared.places[place];
                if known.inventory.is_none() {
                    known.preview.extend(found);
                    self.shared.touch(place);
                }
            }
            Report::Listed(chain, entries) => {
                if let Some(contents) = self.shared.library.grow(&chain) {
                    contents.add(&entries);
                }
            }
            Report::FoundFile(found) => {
                if let Some(search) = self.shared.searches.get_mut(&place) {
                    search.found.push(found);
                    search.revision += 1;
                }
            }
            Report::Ledger(ledger) => {
                self.shared.places[place].ledger = Some(Arc::new(*ledger));
                self.shared.touch(place);
            }
            Report::Seen(inventory, seen) => {
                let known = &mut self.shared.places[place];
                (known.inventory, known.seen) = (Some(Arc::new(*inventory)), Some(seen));
                self.shared.touch(place);
            }
            last => self.finish(job, last),
        }
    }

    fn finish(&mut self, job: Job, report: Report) {
        let (id, place) = (job.id, job.place);
        self.shared.jobs.finish(id);
        let title = self.shared.places[place].location.title();
        match report {
            Report::Found(_) | Report::Listed(..) | Report::FoundFile(_) => {}
            Report::Ledger(_) | Report::Seen(..) | Report::Changed(..) | Report::Sends(_) | Report::Says(_) => {}
            Report::Checked(of, came) => self.checked(of, came),
            Report::Estimated(of, came) => self.estimated(of, came),
            Report::Planned(wish, plan) => self.planned(place, &wish, Ok(*plan)),
            Report::NotPlanned(wish, error) => {
                self.shared.note(Tone::Failed, format!("{title}: {}", error_line(&error)));
                self.planned(place, &wish, Err(error));
            }
            Report::Loaded(inventory) => self.loaded(place, *inventory, self.shared.clock.saturating_sub(job.since)),
            Report::Verified(level, report) => self.verified(place, level, report),
            Report::Raw(target, tree) => {
                self.shared.raws.insert(target, Fetched::Ready(Arc::new(*tree)));
            }
            Report::NoRaw(target, error) => {
                self.shared.note(Tone::Failed, format!("{title}: {}", error_line(&error)));
                self.shared.raws.insert(target, Fetched::Failed(Arc::new(error)));
            }
            Report::ListEnd(chain, listing) => {
                if let Some(contents) = self.shared.library.grow(&chain) {
                    contents.end(&listing);
                }
            }
            Report::Merged(chain, merged) => {
                self.shared.library.put(chain, Fetched::Ready(Box::new(Contents::merged(*merged))));
            }
            Report::NoFiles(chain, error) => {
                self.shared.note(Tone::Failed, format!("{title}: {}", error_line(&error)));
                self.shared.library.put(chain, Fetched::Failed(Arc::new(error)));
            }
            Report::Peeked(file, page) => {
                let page = page.map(Arc::new).map_or_else(|error| Fetched::Failed(Arc::new(error)), Fetched::Ready);
                self.shared.library.peek = Some((file, page));
                return;
            }
            Report::FindEnd(report) => {
                for finding in &report.findings {
                    self.shared.note(Tone::Failed, format!("{title}: {}", text::safe(&finding.message)));
                }
                if let Some(search) = self.shared.searches.get_mut(&place) {
                    search.findings = report.findings;
                    search.revision += 1;
                }
            }
            Report::Paged(text) => self.effects.push(Effect::Page(text)),
            Report::Extracted(extracted) => self.extracted(&extracted),
            Report::Saved(path, size) => {
                let path = path.to_string_lossy().into_owned();
                let text = format!("wrote {} to {}", bytes(size, &self.shared), text::safe(&path));
                self.say(Tone::Done, text);
            }
            Report::Failed(error) => self.failed(&job, title, error),
        }
        self.shared.touch(place);
    }

    fn extracted(&mut self, done: &Extracted) {
        let path = done.path.to_string_lossy().into_owned();
        let mut line = format!("extracted {} to {}", count(done.files, "file"), text::safe(&path));
        if done.skipped_count > 0 {
            line.push_str(&format!("; {} left out, gL tells which", thousands(done.skipped_count)));
        }
        for (name, why) in &done.skipped {
            self.shared.note(Tone::Note, format!("left out {}: {why}", text::safe_bytes(name)));
        }
        let whole = done.ending.is_complete();
        if !whole {
            line.push_str(&format!("; {}", text::safe(&done.ending.to_string())));
        }
        self.say(if whole { Tone::Done } else { Tone::Failed }, line);
    }

    fn loaded(&mut self, place: PlaceId, inventory: Inventory, took: Duration) {
        let usage = inventory.usage;
        let title = inventory.location.title();
        let line = format!("{title}: {}, {}", count(usage.indexes, "index"), count(usage.blobs, "blob"));
        self.shared.note(Tone::Done, format!("{line} in {:.1}s", took.as_secs_f32()));
        for warning in &inventory.warnings {
            self.shared.note(Tone::Note, format!("{title}: {}", text::safe(&warning.message)));
        }
        let known = &mut self.shared.places[place];
        known.inventory = Some(Arc::new(inventory));
        // Names may have changed while it was read.
        known.seen = None;
        known.preview = Vec::new();
        known.took = Some(took);
        known.error = None;
        self.shared.drafts.outdate(place);
        self.replan(place);
    }

    fn verified(&mut self, place: PlaceId, level: Level, report: verify::Report) {
        let count_of = report.findings.len();
        let title = self.shared.places[place].location.title();
        let found = if count_of == 0 { "no findings".to_owned() } else { count(count_of, "finding") };
        let tone = if count_of == 0 { Tone::Done } else { Tone::Note };
        self.say(tone, format!("{title}: {found} at level {}; gv shows them", level.name()));
        self.shared.places[place].verified = Some(Verified {
            level,
            at: self.shared.now,
            findings: report.findings.into(),
            blobs: report.blobs,
            hashed: report.hashed_bytes,
        });
    }

    fn failed(&mut self, job: &Job, title: String, error: Error) {
        let stopped = error.kind() == Kind::Cancelled;
        if job.kind == JobKind::Load {
            let known = &mut self.shared.places[job.place];
            known.stopped = stopped;
            if stopped {
                return self.say(Tone::Note, format!("{title}: loading stopped; r loads it again"));
            }
            let line = format!("{title}: {}", error_line(&error));
            // Where nothing was loaded before, the screens say it in full.
            match known.inventory {
                Some(_) => self.say(Tone::Failed, line),
                None => self.shared.note(Tone::Failed, line),
            }
            self.shared.places[job.place].error = Some(Arc::new(error));
            return;
        }
        if job.kind == JobKind::Find
            && let Some(search) = self.shared.searches.get_mut(&job.place)
        {
            search.revision += 1;
            search.error = Some(Arc::new(error));
            return;
        }
        match stopped {
            true => self.say(Tone::Note, format!("{} stopped", job.kind.doing())),
            false => self.say(Tone::Failed, error_line(&error)),
        }
    }

    /// The locations that were typed.
    pub(super) fn given(&self, typed: &str) -> Result<Vec<Location>> {
        let location = |given| {
            let location = match given {
                Given::Location(location) => location,
                Given::Alias(name) => self.aliases.get(&name).cloned().ok_or_else(|| {
                    Error::not_found(format!("no location called @{name} in the config"))
                        .with_hint(format!("known: {}", self.aliases.keys().cloned().collect::<Vec<_>>().join(", ")))
                })?,
            };
            if location.kind() == "local" {
                location.local()?;
            }
            Ok(location)
        };
        Given::parse(typed, self.is_dir)?.into_iter().map(location).collect()
    }

    pub(super) fn add_location(&mut self, typed: &str) -> Result<()> {
        let mut last = None;
        for location in self.given(typed.trim())? {
            let known = self.shared.places.iter().position(|p| p.location.identity() == location.identity());
            let place = known.unwrap_or_else(|| {
                self.shared.places.push(Place::new(location));
                self.settle_in(self.shared.places.len() - 1);
                self.start(self.shared.places.len() - 1, Work::Load);
                self.shared.places.len() - 1
            });
            last = Some(place);
        }
        if let Some(place) = last {
            self.go(Jump::Place(place));
        }
        Ok(())
    }

    pub(super) fn go(&mut self, jump: Jump) {
        match jump {
            Jump::Place(_) => {
                self.stack.truncate(1);
                // The first screen takes every jump to a place.
                let _ = self.with_screen(|screen, cx| screen.answer(Answer::Jump(jump), cx));
            }
            Jump::Index(target) => self.push(Box::new(screens::index::Index::new(target, &self.shared))),
            Jump::Layer(target, layer) => {
                self.push(Box::new(screens::index::Index::at_layer(target, layer, &self.shared)));
            }
            Jump::Blob(target) => {
                self.push(Box::new(screens::blobs::Blobs::at(target.place, target.digest)));
            }
        }
    }
}
