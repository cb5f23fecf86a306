//! The whole UI without terminal and runtime: messages in, effects out, and a frame drawn from what is known. Update
//! never waits and draw changes nothing but scroll offsets, so tests drive it with keys and read a buffer.

mod boxes;
mod build_box;
mod building;
mod changing;
mod choices;
mod confirm;
mod copy_box;
mod copying;
mod frame;
mod messages;
mod seen;
mod work;

pub use messages::{Effect, Ending, Message, Order, Report, Settings, SettingsOf, Setup};

use crate::error::{Error, Result};
use crate::model::location::Location;
use crate::model::plan::Purpose;
use crate::model::text;
use crate::ops::find;
use crate::tui::glyphs::Glyphs;
use crate::tui::keys::{Action, Keymap, Lookup, Press, View};
use crate::tui::screen::{Answer, Context, Look, Mouse, Question, Request, Screen, Work};
use crate::tui::screens;
use crate::tui::shared::{PlaceId, Shared, Target, Tone};
use crate::tui::terminal::Signal;
use crate::tui::theme::{self, Theme};
use crate::tui::widgets::textbox::wrap;
use boxes::{Modal, Prompt};
use copy_box::CopyBox;
use crossterm::event::{KeyEvent, KeyEventKind, MouseButton, MouseEvent, MouseEventKind};
use ratatui::layout::Position;
use ratatui::text::Line;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

/// How long something said stays in the status line.
const SAID_FOR: Duration = Duration::from_secs(6);
/// Two clicks within this time on one place are a double click.
const DOUBLE: Duration = Duration::from_millis(400);
/// Nothing is said to be waited for before this.
const PATIENCE: Duration = Duration::from_millis(150);
/// How often a frame is drawn while something runs.
const BEAT: Duration = Duration::from_millis(100);

/// The UI.
pub struct App {
    /// The data.
    pub shared: Shared,
    keymap: Keymap,
    theme: Theme,
    glyphs: &'static Glyphs,
    aliases: BTreeMap<String, Location>,
    settings: Arc<SettingsOf>,
    is_dir: fn(&str) -> bool,
    /// Screens, the one that is seen last. Never empty.
    stack: Vec<Box<dyn Screen>>,
    /// Screens gone back from.
    forward: Vec<Box<dyn Screen>>,
    modal: Option<Modal>,
    /// Keys of a chord so far.
    pending: Vec<Press>,
    said: Option<(Tone, String, Duration)>,
    zoomed: bool,
    /// News that wait while the user froze what is shown.
    frozen: Option<Vec<Message>>,
    size: (u16, u16),
    last_click: Option<(Position, Duration)>,
    history: HashMap<Question, Vec<String>>,
    effects: Vec<Effect>,
    /// Whether it quits once all changes have stopped.
    quits: bool,
    /// Why nothing may be changed anywhere, in a few words.
    fixed: Option<&'static str>,
    /// A copy that is being asked for, while its destination is chosen.
    copying: Option<Box<CopyBox>>,
}

impl App {
    /// The UI as it begins. The effects start the loading.
    pub fn new(setup: Setup) -> (App, Vec<Effect>) {
        let mut shared = Shared::new(setup.locations, setup.now);
        shared.names = Arc::new(setup.names);
        shared.sizes = setup.sizes;
        let mut app = App {
            shared,
            keymap: setup.keymap,
            theme: setup.theme,
            glyphs: Glyphs::pick(setup.ascii),
            aliases: setup.aliases,
            settings: setup.settings,
            is_dir: setup.is_dir,
            stack: vec![Box::new(screens::home::Home::new())],
            forward: Vec::new(),
            modal: None,
            pending: Vec::new(),
            said: None,
            zoomed: false,
            frozen: None,
            size: (80, 24),
            last_click: None,
            history: HashMap::new(),
            effects: Vec::new(),
            quits: false,
            fixed: None,
            copying: None,
        };
        // What holds for a place that is none holds for all.
        app.fixed = (app.settings)(&Location::new("")).read_only;
        for place in 0..app.shared.places.len() {
            app.settle_in(place);
        }
        for place in 0..app.shared.places.len() {
            app.start(place, Work::Load);
        }
        app.effects.push(Effect::AskNames);
        if setup.tour {
            app.modal = Some(app.tour());
            app.effects.push(Effect::TourSeen);
        }
        let effects = std::mem::take(&mut app.effects);
        (app, effects)
    }

    /// Lets what the user has set for a place hold there.
    fn settle_in(&mut self, id: PlaceId) {
        let Some(place) = self.shared.places.get_mut(id) else { return };
        let settings = (self.settings)(&place.location);
        place.read_only = settings.read_only;
        let own = self.aliases.iter().find(|(_, known)| known.identity() == place.location.identity());
        place.name = own.map_or_else(|| place.name.clone(), |(name, _)| text::safe(name).into_owned());
        if let Some(wish) = settings.pruning {
            self.shared.drafts.set_usual(id, wish);
        }
    }

    /// Takes in what happened and says what is to be done.
    pub fn update(&mut self, message: Message) -> Vec<Effect> {
        match message {
            Message::Key(key) => self.key(key),
            Message::Mouse(mouse) => self.mouse(mouse),
            Message::Paste(text) => self.paste(&text),
            Message::Resize(width, height) => self.size = (width, height),
            Message::Tick(now, clock) => {
                (self.shared.now, self.shared.clock) = (now, clock);
                self.shared.changes.look(clock);
                self.look_at_copy();
                self.look_at_build();
            }
            news @ (Message::Report(..) | Message::Named(_)) => match &mut self.frozen {
                Some(held) => held.push(news),
                None => self.news(news),
            },
            Message::Signal(Signal::Quit) => self.stop_and_quit(),
            Message::Signal(Signal::Suspend) => self.effects.push(Effect::Suspend),
            Message::Signal(Signal::Continue) => self.effects.push(Effect::Redraw),
            Message::Said(_, text) if text.is_empty() => {}
            Message::Said(tone, text) => self.say(tone, text),
            Message::Show(title, text) => {
                let lines = wrap(&text, 96).into_iter().map(|line| Line::from(text::safe(&line).into_owned()));
                self.modal = Some(Modal::text(title, lines.collect()));
            }
        }
        if self.said.as_ref().is_some_and(|(.., since)| self.shared.clock > *since + SAID_FOR) {
            self.said = None;
        }
        std::mem::take(&mut self.effects)
    }

    /// How soon a [`Message::Tick`] would change what is seen.
    pub fn next_tick(&self) -> Duration {
        let busy = !self.shared.jobs.running().is_empty() || self.shared.changes.open().next().is_some();
        if busy || self.copy_is_typed() || self.build_is_typed() {
            BEAT
        } else if self.said.is_some() {
            Duration::from_secs(1)
        } else {
            Duration::from_secs(30)
        }
    }

    fn top(&self) -> &dyn Screen {
        self.stack[self.stack.len() - 1].as_ref()
    }

    fn say(&mut self, tone: Tone, text: impl Into<String>) {
        let text = text.into();
        self.shared.note(tone, text.clone());
        self.said = Some((tone, text, self.shared.clock));
    }

    fn key(&mut self, key: KeyEvent) {
        if key.kind == KeyEventKind::Release {
            return;
        }
        let press = Press::of(key);
        if self.modal.is_some() && !self.too_small() {
            return self.modal_key(key);
        }
        self.pending.push(press);
        let view = self.top().view();
        let lookup = self.keymap.lookup(view, &self.pending);
        if lookup == Lookup::Pending {
            return;
        }
        self.pending.clear();
        if let Lookup::Action(action) = lookup {
            let quits = matches!(action, Action::Quit | Action::Back | Action::Interrupt);
            match self.too_small() {
                true if quits => self.stop_and_quit(),
                true => {}
                false => self.act(action),
            }
        }
    }

    fn too_small(&self) -> bool {
        self.size.0 < 40 || self.size.1 < 10
    }

    fn paste(&mut self, pasted: &str) {
        match &mut self.modal {
            Some(Modal::Pick(picker)) => picker.paste(pasted),
            Some(Modal::Type(prompt)) => {
                prompt.input.paste(pasted);
                self.typed();
            }
            Some(Modal::Confirm(confirm)) => confirm.paste(pasted),
            Some(Modal::Fill(filling)) => filling.paste(pasted),
            Some(Modal::Build(build)) => {
                let pressed = build.paste(pasted);
                self.build_pressed(pressed);
            }
            Some(Modal::Copy(copy)) => {
                let pressed = copy.paste(pasted);
                self.copy_pressed(pressed);
            }
            _ => {}
        }
    }

    fn mouse(&mut self, event: MouseEvent) {
        let at = Position::new(event.column, event.row);
        let mouse = match event.kind {
            MouseEventKind::Down(MouseButton::Left) => {
                let again = self.last_click.is_some_and(|(p, t)| p == at && self.shared.clock < t + DOUBLE);
                self.last_click = (!again).then_some((at, self.shared.clock));
                if again { Mouse::Double(at) } else { Mouse::Click(at) }
            }
            MouseEventKind::Drag(MouseButton::Left) => Mouse::Drag(at),
            MouseEventKind::ScrollDown => Mouse::Wheel(at, 3),
            MouseEventKind::ScrollUp => Mouse::Wheel(at, -3),
            _ => return,
        };
        if self.modal.is_some() {
            self.modal_mouse(mouse);
        } else if !self.too_small() {
            self.with_screen(|screen, cx| screen.mouse(mouse, cx));
        }
    }

    /// Lets the screen do something and then does what it asks for.
    fn with_screen<T>(&mut self, f: impl FnOnce(&mut dyn Screen, &mut Context<'_>) -> T) -> T {
        let last = self.stack.len() - 1;
        let look = Look { theme: &self.theme, glyphs: self.glyphs, shared: &self.shared };
        let mut cx = Context { shared: &self.shared, look, requests: Vec::new() };
        let result = f(self.stack[last].as_mut(), &mut cx);
        let requests = cx.requests;
        for request in requests {
            self.request(request);
        }
        result
    }

    fn request(&mut self, request: Request) {
        match request {
            Request::Push(screen) => self.push(screen),
            Request::Back => self.back(),
            Request::Say(tone, text) => self.say(tone, text),
            Request::Menu(title, choices, at) => self.menu(title, choices, at),
            Request::Type(question, text) => self.ask(question, text),
            Request::Show(title, lines) => self.modal = Some(Modal::text(title, lines)),
            Request::Work(place, work) => self.start(place, work),
            Request::Page(text) => self.effects.push(Effect::Page(text)),
            Request::Base(target) => self.set_base(target),
            Request::Want(place, wish) => self.want(place, *wish),
            Request::Unwant(place, purpose) => self.unwant(place, purpose),
            Request::Rewant(place, purpose) => self.rewant(place, purpose),
            Request::Plan(place, purpose) => self.plan(place, purpose),
            Request::Confirm(asks) => self.confirm(*asks),
            Request::AskPin(target, name) => self.ask_pin(target, name),
            Request::Retry(id) => self.retry(id),
            Request::Stop(id) => {
                self.shared.changes.stop(id);
                self.shared.revision += 1;
            }
        }
    }

    fn push(&mut self, screen: Box<dyn Screen>) {
        if let Some(request) = screen.begin(&self.shared) {
            self.request(request);
        }
        self.stack.push(screen);
        self.forward.clear();
        self.zoomed = false;
    }

    fn back(&mut self) {
        if self.stack.len() > 1 {
            self.forward.extend(self.stack.pop());
            self.zoomed = false;
        }
    }

    /// Why the place does not give what `action` needs, if it does not.
    fn refused(&self, action: Action) -> Option<String> {
        if let Some(why) = self.unchangeable(action).or_else(|| self.top().refuses(action, &self.shared)) {
            return Some(why);
        }
        let need = action.need(self.top().view())?;
        let inventory = self.shared.places.get(self.top().place()?)?.inventory.as_ref()?;
        // Where there are no versions to open, a builder opens.
        if action == Action::Open && inventory.details.builder.is_some() {
            return None;
        }
        inventory.require(need).err().map(|error| error.to_string())
    }

    fn act(&mut self, action: Action) {
        if let Some(why) = self.refused(action) {
            return self.say(Tone::Note, text::safe(&why).into_owned());
        }
        match action {
            Action::Quit if self.quits => self.stop_and_quit(),
            Action::Quit => self.quit(),
            Action::Back if self.stack.len() == 1 => self.quit(),
            Action::Back | Action::HistoryBack => self.back(),
            Action::HistoryForward => self.stack.extend(self.forward.pop()),
            Action::Interrupt => self.interrupt(),
            Action::Suspend => self.effects.push(Effect::Suspend),
            Action::Redraw => self.effects.push(Effect::Redraw),
            Action::Escape => self.escape(),
            Action::Palette => self.modal = Some(self.palette()),
            Action::Help => self.modal = Some(self.help()),
            Action::Jump => self.modal = Some(self.jump()),
            Action::Tour => self.modal = Some(self.tour()),
            Action::Command => self.modal = Some(self.command()),
            Action::Find => self.search(),
            Action::Zoom => self.zoomed = !self.zoomed,
            Action::Unzoom => self.zoomed = false,
            Action::Freeze => self.freeze(),
            Action::Theme => self.next_theme(),
            Action::Verify => self.modal = Some(self.levels()),
            Action::AddLocation => self.ask(Question::Location, String::new()),
            Action::Pager if !self.with_screen(|screen, cx| screen.act(action, cx)) => {
                let look = Look { theme: &self.theme, glyphs: self.glyphs, shared: &self.shared };
                let text = self.top().text(look);
                self.effects.extend(text.map(Effect::Page));
            }
            Action::Export if !self.with_screen(|screen, cx| screen.act(action, cx)) => {
                if let Some(name) = self.top().file_name(&self.shared) {
                    self.ask(Question::File, name);
                }
            }
            Action::Pager | Action::Export => {}
            Action::FindFile => self.ask(Question::Pattern, String::new()),
            Action::SetBase => {
                if let Some(target) = self.top().target(&self.shared) {
                    self.set_base(target);
                }
            }
            Action::Diff => self.diff(),
            Action::Refresh if self.with_screen(|screen, cx| screen.act(action, cx)) => {}
            Action::Refresh => {
                if let Some(place) = self.top().place() {
                    self.start(place, Work::Load);
                    self.effects.push(Effect::AskNames);
                }
            }
            Action::RefreshAll => {
                (0..self.shared.places.len()).for_each(|place| self.start(place, Work::Load));
                self.effects.push(Effect::AskNames);
            }
            Action::GoLocations | Action::GoIndexes => {
                self.forward.extend(self.stack.drain(1..).rev());
                self.with_screen(|screen, cx| screen.act(action, cx));
            }
            Action::GoBlobs | Action::GoFindings => {
                if let Some(place) = self.top().place() {
                    self.push(match action {
                        Action::GoBlobs => Box::new(screens::blobs::Blobs::new(place)),
                        _ => Box::new(screens::findings::Findings::new(place)),
                    });
                }
            }
            Action::GoGha => self.go_gha(),
            Action::GoDaemon => self.go_daemon(),
            Action::Stage => self.stage(),
            Action::Pin => self.pin(),
            Action::Copy => self.copy(),
            Action::Build => self.build(),
            Action::Plan => self.go_plan(Purpose::Prune),
            Action::Repair => self.go_plan(Purpose::Repair),
            Action::Undo | Action::Redo if self.with_screen(|screen, cx| screen.act(action, cx)) => {}
            Action::Undo | Action::Redo => {
                if let Some(place) = self.top().place() {
                    match action {
                        Action::Undo => self.unwant(place, Purpose::Prune),
                        _ => self.rewant(place, Purpose::Prune),
                    }
                }
            }
            Action::GoPins => self.pins(),
            Action::GoJobs => self.push(Box::new(screens::jobs::JobList::new())),
            Action::GoTrash => {
                if let Some(place) = self.top().place() {
                    self.push(Box::new(screens::trash::Trash::new(place)));
                }
            }
            Action::GoLogs => self.push(Box::new(screens::logs::Logs::new())),
            Action::YankDigest | Action::YankRef | Action::YankFrom | Action::YankTo => self.yank(action),
            Action::YankPath | Action::YankJson | Action::YankCommand => self.yank(action),
            _ => {
                self.with_screen(|screen, cx| screen.act(action, cx));
            }
        }
    }

    fn go_gha(&mut self) {
        let Some(place) = self.top().place() else { return };
        match self.shared.places.get(place).map(|place| place.location.kind()) {
            Some("gha") => self.push(Box::new(screens::gha::Gha::new(place))),
            kind => {
                let kind = text::safe(kind.unwrap_or_default()).into_owned();
                self.say(Tone::Note, Error::unsupported(&kind, "entries of a GitHub repository").to_string());
            }
        }
    }

    /// To the builder that one is at, else to the first there is.
    fn go_daemon(&mut self) {
        let places = &self.shared.places;
        let is_builder = |place: &usize| places.get(*place).is_some_and(|place| place.location.kind() == "daemon");
        let first = || (0..places.len()).find(is_builder);
        match self.top().place().filter(is_builder).or_else(first) {
            Some(place) => self.push(Box::new(screens::daemon::Daemon::new(place))),
            None => self.say(Tone::Note, "no builder is among the locations: a adds one, type=daemon,builder=NAME"),
        }
    }

    fn interrupt(&mut self) {
        if self.with_screen(|screen, cx| screen.act(Action::Interrupt, cx)) {
            return;
        }
        if self.shared.jobs.running().iter().all(|job| job.progress.is_cancelled()) {
            let open = self.shared.changes.open().rev().find(|change| !change.progress.is_cancelled());
            match open.map(|change| (change.id, change.kind)) {
                Some((id, kind)) => {
                    self.shared.changes.stop(id);
                    return self.say(Tone::Note, format!("{kind} stops after its current step"));
                }
                None => return self.quit(),
            }
        }
        match self.shared.jobs.interrupt().map(|job| job.kind.doing()) {
            Some(doing) => self.say(Tone::Note, format!("{doing} is stopping")),
            None => self.quit(),
        }
    }

    /// Popups are closed before this; then search, filter and marks are the screen's; then what runs here.
    fn escape(&mut self) {
        if self.with_screen(|screen, cx| screen.act(Action::Escape, cx)) {
            return;
        }
        let place = self.top().place();
        let here = self.shared.jobs.running().iter().rev().find(|job| place.is_none_or(|p| p == job.place));
        if let Some(job) = here {
            job.progress.cancel();
        }
    }

    fn freeze(&mut self) {
        match self.frozen.take() {
            None => self.frozen = Some(Vec::new()),
            Some(held) => held.into_iter().for_each(|news| self.news(news)),
        }
    }

    fn next_theme(&mut self) {
        let at = theme::NAMES.iter().position(|name| *name == self.theme.name).unwrap_or(0);
        let name = theme::NAMES[(at + 1) % theme::NAMES.len()];
        self.set_theme(name);
    }

    fn set_theme(&mut self, name: &str) {
        if let Ok(theme) = Theme::named(name) {
            self.theme = theme;
            self.say(Tone::Note, format!("theme {name}; keep it with theme = \"{name}\" in the config"));
        }
    }

    fn set_base(&mut self, target: Target) {
        self.shared.base = Some(target);
        let name = self.shared.index(target).map(screens::version_name).unwrap_or_default();
        self.say(Tone::Note, format!("base is {name}; D on another version compares"));
    }

    fn diff(&mut self) {
        let Some(target) = self.top().target(&self.shared) else { return };
        let base = self.shared.base.filter(|base| *base != target);
        match base.or_else(|| screens::previous(&self.shared, target)) {
            Some(base) => self.push(Box::new(screens::diff::Comparison::new(base, target))),
            None => self.say(Tone::Note, "no older version here to compare with; m on another one makes it the base"),
        }
    }

    fn yank(&mut self, action: Action) {
        let copied = match action {
            Action::YankCommand => Some(crate::tui::screen::shell(&self.top().command(&self.shared))),
            _ => self.top().yank(action, &self.shared),
        };
        match copied {
            Some(text) => self.effects.push(Effect::Copy(text)),
            None => self.say(Tone::Note, "nothing of that kind here to copy"),
        }
    }

    /// Takes what was chosen or typed: some of it is the app's own, the rest the screen's.
    fn answer(&mut self, answer: Answer) -> Result<()> {
        match answer {
            Answer::Act(action) => self.act(action),
            Answer::Theme(name) => self.set_theme(name),
            Answer::Verify(level) => {
                if let Some(place) = self.top().place() {
                    self.start(place, Work::Verify(level));
                }
            }
            Answer::Location(text) => self.add_location(&text)?,
            Answer::CopyTo(location) => self.copy_chosen(*location),
            Answer::CopyElsewhere => self.ask(Question::Destination, String::new()),
            Answer::Destination(text) => self.copy_typed(&text)?,
            Answer::RepairFrom(from) => self.repair_from(from.map(|from| *from)),
            Answer::RepairElsewhere => self.ask(Question::Source, String::new()),
            Answer::Source(text) => self.repair_typed(&text)?,
            Answer::Pattern(text) => self.find_file(text)?,
            Answer::File(path) => {
                let look = Look { theme: &self.theme, glyphs: self.glyphs, shared: &self.shared };
                let work = self.top().save(path.into(), look);
                let place = self.top().place().unwrap_or_default();
                if let Some(work) = work {
                    self.start(place, work);
                }
            }
            Answer::Jump(jump) => self.go(jump),
            Answer::Change(place, changing) => self.change(place, *changing),
            Answer::Pin(target, typed) => self.pin_typed(target, typed)?,
            Answer::StopAndQuit => self.stop_and_quit(),
            other => return self.with_screen(|screen, cx| screen.answer(other, cx)),
        }
        Ok(())
    }

    /// In all layers of the place, or of the version that is shown.
    fn find_file(&mut self, pattern: String) -> Result<()> {
        find::Pattern::new(&pattern)?;
        let top = self.top();
        let inside = matches!(top.view(), View::Layers | View::Graph | View::Records | View::Raw);
        let scope = top.target(&self.shared).filter(|_| inside).map(|target| target.digest);
        if let Some(place) = top.place() {
            self.push(Box::new(screens::found::Finds::new(place, pattern, scope)));
        }
        Ok(())
    }

    fn ask(&mut self, question: Question, text: String) {
        let history = self.history.get(&question).cloned().unwrap_or_default();
        self.modal = Some(Modal::Type(Box::new(Prompt::new(question, text, history))));
    }

    fn search(&mut self) {
        let search = self.top().search();
        let fields = search.fields;
        let (text, hides) = (search.text.clone(), search.hides);
        let names = fields.iter().map(|field| field.name.to_owned()).collect();
        self.ask(Question::Search, text);
        if let Some(Modal::Type(prompt)) = &mut self.modal {
            prompt.words = names;
            prompt.filters = hides;
        }
    }
}
