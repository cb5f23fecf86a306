//! The planner: by which rules, what stays and what goes and why, and what that comes to. It only plans; a plan is applied by
//! a job, once the location's name was typed.

mod effect;
mod policy;
mod rows;

use super::place_title;
use crate::error::Result;
use crate::model::location::Location;
use crate::model::plan::{Fate, Plan, Purpose, Row, Subject};
use crate::model::text;
use crate::ops::prune::Wish;
use crate::tui::keys::{Action, View};
use crate::tui::list::{Source, walk};
use crate::tui::listing::{Listing, Shape, nothing_fits};
use crate::tui::screen::{
    Answer, Canvas, Changing, Confirmation, Context, Look, Mouse, Question, Request, Rule, Screen, Search, Work,
};
use crate::tui::shared::{Draft, JobKind, PlaceId, Shared, Target, Tone, called, error_line};
use crate::tui::widgets::cell::Cell;
use crate::tui::widgets::frame::Pane;
use crate::tui::widgets::picker::Choice;
use crate::tui::widgets::table::{self, Column, Hit, Table, TableState, Width};
use crate::tui::widgets::textbox;
use policy::RULES;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use rows::PlanRow;
use std::path::PathBuf;
use std::sync::Arc;

mod by {
    pub const PLAN: u8 = 0;
    pub const FREES: u8 = 1;
    pub const NAME: u8 = 2;
    pub const AGE: u8 = 3;
}

const ORDERS: [(&str, u8); 4] = [("plan", by::PLAN), ("frees", by::FREES), ("name", by::NAME), ("age", by::AGE)];

const COLUMNS: [Column; 5] = [
    Column::new("action", Width::Cells(8)),
    Column::new("version", Width::Shrinks(18, 14)).sort(by::NAME),
    Column::new("digest", Width::Cells(8)).rank(2),
    Column::new("why", Width::Grows(18)),
    Column::new("frees", Width::Cells(10)).right().rank(1).sort(by::FREES),
];

const RULE_COLUMNS: [Column; 2] = [Column::new("", Width::Grows(20)), Column::new("", Width::Cells(10)).right()];

const SHAPE: Shape = Shape {
    columns: &COLUMNS,
    orders: &ORDERS,
    falls: |by| by == by::FREES,
    kinds: &["all", "goes", "stays"],
    fields: <PlanRow<'_> as crate::model::filter::Row>::fields,
    marks: false,
};

/// The planner of one place.
pub struct Planner {
    place: PlaceId,
    purpose: Purpose,
    /// Whether the rules have the focus, and not the rows or the effect.
    on_rules: bool,
    rules: TableState,
    listing: Listing<usize>,
    plan: Option<Arc<Plan>>,
}

impl Planner {
    /// The planner of `place`.
    pub fn new(place: PlaceId, purpose: Purpose) -> Planner {
        let listing = Listing::new(&SHAPE, by::PLAN);
        Planner { place, purpose, on_rules: false, rules: TableState::default(), listing, plan: None }
    }

    fn draft<'a>(&self, shared: &'a Shared) -> Option<&'a Draft> {
        shared.drafts.get(self.place, self.purpose)
    }

    fn has_rules(&self) -> bool {
        self.purpose == Purpose::Prune
    }

    fn current(&self) -> Option<&Row> {
        self.plan.as_ref()?.rows.get(self.listing.list.current()?)
    }

    fn rule(&self) -> Rule {
        RULES[self.rules.selected().min(RULES.len() - 1)]
    }

    /// The pane that has the focus: rules, rows, effect.
    fn focus(&self) -> u8 {
        match (self.on_rules, self.listing.on_preview) {
            (true, _) => 1,
            (_, true) => 3,
            _ => 2,
        }
    }

    fn focus_on(&mut self, pane: u8) {
        self.on_rules = pane == 1 && self.has_rules();
        self.listing.on_preview = pane == 3;
    }

    fn wish(&self, cx: &Context<'_>) -> Option<Wish> {
        self.draft(cx.shared).map(|draft| draft.wish.clone())
    }

    /// Switches the rule, or asks for its value where it has no switch.
    fn switch(&self, cx: &mut Context<'_>) {
        let rule = self.rule();
        let Some(mut wish) = self.wish(cx) else { return };
        if rule == Rule::KeepPins {
            cx.say(Tone::Note, "pins always stay; p on a version takes its pin away");
        } else if rule.switch(&mut wish) {
            cx.ask(Request::Want(self.place, Box::new(wish)));
        } else {
            cx.ask(Request::Type(Question::Rule(rule), rule.typed(&wish)));
        }
    }

    fn edit(&mut self, cx: &mut Context<'_>) {
        if !self.has_rules() {
            return self.choose_source(cx);
        }
        if !self.on_rules {
            return self.focus_on(1);
        }
        let Some(wish) = self.wish(cx) else { return };
        match self.rule() {
            rule if rule.is_typed() => cx.ask(Request::Type(Question::Rule(rule), rule.typed(&wish))),
            _ => self.switch(cx),
        }
    }

    /// Lets the user choose where a repair may fetch what is missing.
    fn choose_source(&self, cx: &mut Context<'_>) {
        let choice = |name: String, detail: &str, key: String, value| {
            let detail = detail.to_owned();
            Choice { name, detail, key, also: "", value }
        };
        let mut choices =
            vec![choice("nowhere".to_owned(), "what needs it is taken out", "n".to_owned(), Answer::RepairFrom(None))];
        let others = cx.shared.places.iter().enumerate().filter(|(id, place)| {
            let read = place.ledger.as_ref().is_none_or(|ledger| ledger.claims.read_blobs);
            *id != self.place && read
        });
        for (at, (_, place)) in others.enumerate() {
            let key = if at < 9 { (at + 1).to_string() } else { String::new() };
            let from = Answer::RepairFrom(Some(Box::new(place.location.clone())));
            choices.push(choice(place.location.title(), "", key, from));
        }
        let elsewhere = "somewhere else..".to_owned();
        choices.push(choice(elsewhere, "a folder, type=.., or @name", "t".to_owned(), Answer::RepairElsewhere));
        let from = self.draft(cx.shared).and_then(|draft| draft.from.as_ref()).map(Location::title);
        let at = choices.iter().position(|choice| Some(&choice.name) == from.as_ref()).unwrap_or(0);
        cx.ask(Request::Menu("fetch what is missing from".to_owned(), choices, at));
    }

    /// Lets the row stay or go, whatever the rules say.
    fn flip(&self, cx: &mut Context<'_>) {
        let (Some(row), Some(mut wish)) = (self.current(), self.wish(cx)) else { return };
        if !self.has_rules() {
            return cx.say(Tone::Note, "a repair is done whole or not at all");
        }
        match row.subject {
            Subject::Orphans | Subject::Leftovers if row.names.iter().any(|name| name == "young blobs") => {
                return cx.say(Tone::Note, "a build may be about to use them; the grace is a rule: e edits it");
            }
            Subject::Orphans | Subject::Leftovers => wish.sweep = !wish.sweep,
            Subject::Shared => return cx.say(Tone::Note, "they go with the versions above that need them"),
            _ => {
                let place = cx.shared.places.get(self.place);
                let index = row.digest.and_then(|digest| place?.index(&digest));
                let Some(index) = index else {
                    return cx.say(Tone::Note, "it can't be read, so nobody knows what it needs: it stays");
                };
                let ledger = place.and_then(|place| place.ledger.as_ref());
                if ledger.is_some_and(|ledger| ledger.pin_of(index).is_some()) {
                    return cx.say(Tone::Note, "pins always stay; p on the version takes its pin away");
                }
                let name = called(index);
                let (keep, remove) = (&mut wish.policy.keep, &mut wish.policy.remove);
                keep.retain(|other| *other != name);
                remove.retain(|other| *other != name);
                if row.fate == Fate::Remove { keep.push(name) } else { remove.push(name) }
            }
        }
        cx.ask(Request::Want(self.place, Box::new(wish)));
    }

    /// Asks for the location's name, if the plan can be applied as it is.
    fn apply(&self, cx: &mut Context<'_>) {
        let Some(draft) = self.draft(cx.shared) else { return };
        let planning = cx.shared.jobs.get(JobKind::Plan, self.place).is_some() || !draft.current;
        let Some(plan) = draft.plan.as_ref().filter(|_| !planning) else {
            return cx.say(Tone::Note, "there is no plan yet of what is wanted now");
        };
        if let Some(why) = plan.refused.first() {
            return cx.say(Tone::Failed, format!("not applied: {}", text::safe(why)));
        }
        if plan.is_empty() {
            return cx.say(Tone::Note, "there is nothing to do");
        }
        let most = if plan.promise.exact { "" } else { "at most " };
        let frees = format!("; frees {most}{}", cx.look.bytes(plan.frees));
        let goes = match plan.purpose {
            Purpose::Repair => format!("changes {}", effect::goes(plan)),
            _ => format!("takes {} away{frees}", effect::goes(plan)),
        };
        let mut lines = vec![Line::from(goes)];
        let names: Vec<String> = plan.removed().filter(|row| row.subject == Subject::Version).map(plain_name).collect();
        if !names.is_empty() {
            lines.push(Line::from(cx.look.dim(names.join(", "))));
        }
        lines.push(Line::from(effect::settling(plan)));
        let notes = plan.warnings.iter().chain(&plan.promise.caveats);
        lines.extend(notes.map(|note| Line::from(format!("{} {}", cx.look.glyphs.finding, text::safe(note)))));
        let title = place_title(cx.shared, self.place);
        let from = draft.from.clone().filter(|_| plan.purpose == Purpose::Repair).map(Box::new);
        let answer = Answer::Change(self.place, Box::new(Changing::Apply(plan.clone(), from)));
        cx.ask(Request::Confirm(Box::new(Confirmation {
            title: format!("apply this {} to {title}", plan.purpose.name()),
            lines,
            name: cx.shared.places.get(self.place).map(|place| place.name.clone()),
            verb: "apply",
            answer,
        })));
    }

    /// Everything about the row: why, how old, and which blobs and names it is about.
    fn show(&self, blobs: bool, cx: &mut Context<'_>) {
        if self.on_rules {
            let rule = self.rule();
            let line = Line::from(rule.hint());
            return cx.ask(Request::Show(rule.label().to_owned(), vec![line]));
        }
        let (Some(plan), Some(row)) = (&self.plan, self.current()) else { return };
        let mut lines = rows::details(row, cx.look);
        if blobs {
            let inventory = cx.shared.places.get(self.place).and_then(|place| place.inventory.as_deref());
            lines.push(Line::default());
            lines.extend(rows::steps(plan, row, inventory, cx.look));
        }
        cx.ask(Request::Show(plain_name(row), lines));
    }

    fn words(&self, shared: &Shared) -> Vec<String> {
        let mut words = vec!["cachedeck".to_owned(), self.purpose.name().to_owned()];
        words.extend(shared.places.get(self.place).map(|place| place.location.to_string()));
        if self.has_rules() {
            words.extend(self.draft(shared).map(|draft| policy::options(&draft.wish)).unwrap_or_default());
        } else if let Some(from) = self.draft(shared).and_then(|draft| draft.from.as_ref()) {
            words.extend(["--from".to_owned(), from.to_string()]);
        }
        words.push("--apply".to_owned());
        words
    }

    fn draw_rules(&mut self, area: Rect, canvas: &mut Canvas<'_>) {
        let look = canvas.look;
        let Some(draft) = self.draft(look.shared) else { return };
        let pins = look.shared.places.get(self.place).and_then(|place| place.ledger.as_ref());
        let pins = pins.map_or(0, |ledger| ledger.pins.len());
        let plan = self.plan.as_deref();
        let focused = self.focus() == 1;
        let pane = Pane {
            number: Some(1),
            title: vec![Span::raw("policy")],
            note: vec![look.dim("space switches, e edits")],
            focused,
            ..Pane::default()
        };
        let inner = canvas.pane(&pane, area);
        let row = |at: usize| {
            let rule = RULES[at];
            let on = rule.is_on(&draft.wish);
            let sign = match on {
                Some(true) => "[x] ",
                Some(false) => "[ ] ",
                None => "    ",
            };
            let style = if on == Some(false) { look.theme.dim } else { look.theme.text };
            let parts = vec![Span::styled(sign, look.theme.key), Span::styled(rule.label(), style)];
            let value = Span::styled(text::safe(&rule.shown(&draft.wish, plan, pins)).into_owned(), style);
            table::Row::from(vec![Cell::of(parts, 1, crate::tui::widgets::cell::Cut::End), Cell::text(value)])
        };
        let columns = &RULE_COLUMNS;
        let table = Table { columns, len: RULES.len(), row: &row, sort: None, focused, marks: false, stacked: false };
        let mut state = std::mem::take(&mut self.rules);
        canvas.table(table, inner, &mut state);
        self.rules = state;
    }

    fn draw_rows(&mut self, area: Rect, canvas: &mut Canvas<'_>) {
        let look = canvas.look;
        let plan = self.plan.clone();
        let draft = self.draft(look.shared);
        let planning = look.shared.jobs.get(JobKind::Plan, self.place).is_some();
        let mut title = vec![Span::raw("plan")];
        if let Some(plan) = &plan {
            let stay = effect::tally(plan).stay;
            let stay = crate::tui::screen::count(stay, "version");
            let says = match plan.purpose {
                Purpose::Repair => format!(" {} changes {}", look.glyphs.dot, effect::goes(plan)),
                _ if plan.is_empty() => format!(" {} nothing to remove", look.glyphs.dot),
                _ => format!(" {} {} go; {stay} stay", look.glyphs.dot, effect::goes(plan)),
            };
            title.push(Span::styled(says, look.theme.dim));
        }
        let error = draft.and_then(|draft| draft.error.clone());
        let empty = || match (&error, &plan) {
            (Some(error), _) => vec![error_line(error), "nothing was changed; r plans again".to_owned()],
            (None, _) if planning => vec!["planning".to_owned()],
            (None, Some(plan)) if plan.rows.is_empty() => match plan.purpose {
                Purpose::Repair => vec![format!("{} nothing is broken as far as was looked", look.glyphs.verified)],
                _ => vec!["no versions and no blobs here".to_owned()],
            },
            (None, Some(_)) => nothing_fits(),
            (None, None) => vec!["planning was stopped".to_owned(), "r plans again".to_owned()],
        };
        let mut note = Vec::new();
        if plan.is_some() && draft.is_some_and(|draft| !draft.current) {
            note.push(Span::styled(if planning { "planning" } else { "old: r plans again" }, look.theme.finding));
        }
        let pane = Pane { number: Some(2), title, note, focused: self.focus() == 2, ..Pane::default() };
        let place = look.shared.places.get(self.place);
        let row = |n: usize| match plan.as_ref().and_then(|plan| plan.rows.get(n)) {
            Some(row) => rows::cells(row, place, look),
            None => table::Row::default(),
        };
        self.listing.draw(area, pane, (&row, &empty), canvas);
    }

    fn draw_effect(&mut self, area: Rect, canvas: &mut Canvas<'_>) {
        let look = canvas.look;
        let width = usize::from(area.width.saturating_sub(4));
        let mut lines = match &self.plan {
            Some(plan) => effect::lines(plan, &self.words(look.shared), width, look),
            None => Vec::new(),
        };
        if !self.has_rules() && !lines.is_empty() {
            let from = self.draft(look.shared).and_then(|draft| draft.from.as_ref());
            let says = match from {
                Some(from) => vec![Span::raw(from.title()), look.dim("  as far as it has what is missing; e chooses")],
                None => vec![look.dim("nowhere; e chooses a place that may still have what is missing")],
            };
            lines.insert(2, look.fact("fetches", says));
        }
        let lines = textbox::reflow(&lines, width.max(8));
        self.listing.draw_preview_as(3, area, ("effect".to_owned(), &lines), canvas);
    }
}

/// What a row is called. Safe.
fn plain_name(row: &Row) -> String {
    match (row.names.first(), &row.digest) {
        (Some(name), _) => text::safe(name).into_owned(),
        (None, Some(digest)) => format!("untagged {}", digest.short()),
        (None, None) => "untagged".to_owned(),
    }
}

impl Screen for Planner {
    fn view(&self) -> View {
        View::Plan
    }

    fn crumbs(&self, shared: &Shared) -> Vec<String> {
        vec![place_title(shared, self.place), format!("{} plan", self.purpose.name())]
    }

    fn begin(&self, _shared: &Shared) -> Option<Request> {
        Some(Request::Plan(self.place, self.purpose))
    }

    fn refresh(&mut self, shared: &Shared) {
        let Some(draft) = self.draft(shared) else { return };
        let revision = draft.revision;
        if !self.listing.is_stale(revision) {
            return;
        }
        self.plan = draft.plan.clone();
        let rows: &[Row] = self.plan.as_ref().map_or(&[], |plan| &plan.rows);
        let kinds = self.listing.kinds;
        let source = Source {
            len: rows.len(),
            key: &|n| n,
            row: &|n| PlanRow(&rows[n]),
            kind: &|n| match kinds {
                1 => rows[n].fate != Fate::Keep,
                2 => rows[n].fate == Fate::Keep,
                _ => true,
            },
            order: &|by, a, b| match by {
                by::FREES => rows[a].frees.cmp(&rows[b].frees),
                by::NAME => rows[a].names.cmp(&rows[b].names),
                by::AGE => rows[a].time.cmp(&rows[b].time),
                _ => a.cmp(&b),
            },
            now: shared.now,
        };
        self.listing.arrange(revision, &source);
    }

    fn act(&mut self, action: Action, cx: &mut Context<'_>) -> bool {
        match action {
            Action::NextPane => self.focus_on(self.focus() % 3 + 1),
            Action::PrevPane => self.focus_on((self.focus() + 1) % 3 + 1),
            Action::Pane(n) => self.focus_on(n),
            Action::Left if self.has_rules() && !self.on_rules => self.focus_on(1),
            Action::Right if self.on_rules => self.focus_on(2),
            Action::Flip if self.on_rules => self.switch(cx),
            Action::Flip => self.flip(cx),
            Action::Edit => self.edit(cx),
            Action::Open if self.on_rules => self.edit(cx),
            Action::Open | Action::Right => self.show(true, cx),
            Action::Info => self.show(false, cx),
            Action::Apply => self.apply(cx),
            Action::Undo => cx.ask(Request::Unwant(self.place, self.purpose)),
            Action::Redo => cx.ask(Request::Rewant(self.place, self.purpose)),
            // The plan is made again when the location is loaded.
            Action::Refresh => cx.ask(Request::Work(self.place, Work::Load)),
            _ if self.on_rules && walk(&mut self.rules, action, RULES.len()) => {}
            _ => return self.listing.act(action, cx),
        }
        true
    }

    fn answer(&mut self, answer: Answer, cx: &mut Context<'_>) -> Result<()> {
        if let Answer::Rule(rule, typed) = answer {
            let Some(mut wish) = self.wish(cx) else { return Ok(()) };
            rule.set(&mut wish, &typed)?;
            cx.ask(Request::Want(self.place, Box::new(wish)));
            return Ok(());
        }
        self.listing.answer(&answer)
    }

    fn text(&self, look: Look<'_>) -> Option<String> {
        let plan = self.plan.as_ref()?;
        let place = look.shared.places.get(self.place);
        Some(self.listing.text(&|n| plan.rows.get(n).map(|row| rows::cells(row, place, look)).unwrap_or_default()))
    }

    fn file_name(&self, _shared: &Shared) -> Option<String> {
        self.plan.as_ref().map(|_| "plan.json".to_owned())
    }

    fn save(&self, path: PathBuf, _look: Look<'_>) -> Option<Work> {
        let mut text = serde_json::to_string_pretty(self.plan.as_deref()?).ok()?;
        text.push('\n');
        Some(Work::Save { path, text })
    }

    fn mouse(&mut self, mouse: Mouse, cx: &mut Context<'_>) {
        match (self.rules.hit(mouse.at(), RULES.len()), mouse) {
            (Some(_), Mouse::Wheel(_, by)) => self.rules.scroll(by, RULES.len()),
            (Some(Hit::Row(row)), _) => {
                self.rules.select(row);
                self.focus_on(1);
                if matches!(mouse, Mouse::Double(_)) {
                    self.switch(cx);
                }
            }
            _ => {
                self.on_rules &= self.listing.list.state.hit(mouse.at(), usize::MAX).is_none();
                if self.listing.mouse(mouse) {
                    self.show(true, cx);
                }
            }
        }
    }

    fn draw(&mut self, area: Rect, canvas: &mut Canvas<'_>) {
        let (width, height) = canvas.size;
        if canvas.zoomed {
            return match self.focus() {
                1 => self.draw_rules(area, canvas),
                2 => self.draw_rows(area, canvas),
                _ => self.draw_effect(area, canvas),
            };
        }
        let below = match height {
            0..18 => 0,
            18..24 => 5,
            24..30 => 8,
            30..46 => 11,
            _ => 14,
        };
        let top = Rect { height: area.height - below, ..area };
        if width >= 100 && self.has_rules() {
            let left = Rect { width: if width < 120 { 36 } else { 40 }, ..top };
            let right = Rect { x: left.right(), width: area.width - left.width, ..top };
            self.draw_rules(left, canvas);
            self.draw_rows(right, canvas);
        } else if self.on_rules {
            self.draw_rules(top, canvas);
        } else if below == 0 && self.focus() == 3 {
            self.draw_effect(top, canvas);
        } else {
            self.draw_rows(top, canvas);
        }
        if below > 0 {
            self.draw_effect(Rect { y: top.bottom(), height: below, ..area }, canvas);
        }
    }

    fn status(&self, shared: &Shared) -> String {
        let Some(plan) = &self.plan else { return String::new() };
        let old = self.draft(shared).is_some_and(|draft| !draft.current);
        let made = plan.made.strftime("%H:%M:%S UTC");
        let seen = plan.fingerprint.short();
        let refuses = "applying refuses if the location has changed since";
        match old {
            true => "what is wanted has changed since this plan was made".to_owned(),
            false => format!("plan {} made {made} of {}; {refuses}", plan.id, &seen[..6]),
        }
    }

    fn search(&self) -> Search<'_> {
        self.listing.search()
    }

    fn yank(&self, action: Action, _shared: &Shared) -> Option<String> {
        let row = self.current()?;
        match action {
            Action::YankDigest => row.digest.map(|digest| digest.to_string()),
            Action::YankRef => row.names.first().cloned(),
            Action::YankJson => serde_json::to_string_pretty(row).ok(),
            _ => None,
        }
    }

    fn command(&self, shared: &Shared) -> Vec<String> {
        self.words(shared)
    }

    fn place(&self) -> Option<PlaceId> {
        Some(self.place)
    }

    fn target(&self, _shared: &Shared) -> Option<Target> {
        Some(Target { place: self.place, digest: self.current()?.digest? })
    }

    fn purpose(&self) -> Option<Purpose> {
        Some(self.purpose)
    }

    fn word(&self, action: Action) -> Option<&'static str> {
        match action {
            Action::Flip if self.on_rules => Some("switch"),
            Action::Edit if !self.has_rules() => Some("from.."),
            Action::Open => Some("blobs"),
            Action::Info => Some("why"),
            _ => None,
        }
    }
}
