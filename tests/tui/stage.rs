//! A stage for journeys: the real app with real caches, keys in, screens out. No terminal; jobs run to their end
//! before the next key is pressed, and time stands still unless a journey moves it.

use cachedeck::model::location::Location;
use cachedeck::ops::names::StepNames;
use cachedeck::ops::prune::Wish;
use cachedeck::state::State;
use cachedeck::store::{Store, catalog};
use cachedeck::tui::app::{App, Effect, Message, Report, Settings, Setup};
use cachedeck::tui::keys::{Chord, Keymap};
use cachedeck::tui::runtime::{Open, Runtime, World};
use cachedeck::tui::theme::Theme;
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use unicode_width::UnicodeWidthStr as _;

/// The time on stage.
pub const NOW: &str = "2026-11-20T12:00:00Z";

/// How the stage is set.
pub struct Scene {
    pub size: (u16, u16),
    pub theme: &'static str,
    pub ascii: bool,
    pub names: StepNames,
    pub keymap: Keymap,
    pub tour: bool,
    /// What the first location is called on stage, so that no frame shows where it was unpacked.
    pub called: Option<&'static str>,
    /// Whose jobs go on while the stage no longer waits for them.
    pub slow: Option<Location>,
    /// Why nothing may be changed anywhere.
    pub read_only: Option<&'static str>,
    /// What the config says about pruning.
    pub pruning: Option<Wish>,
    /// What is opened instead of the places themselves.
    pub store: Option<Arc<dyn Store>>,
    /// What is opened instead of places of these identities, before all.
    pub stores: Vec<Arc<dyn Store>>,
    /// Where runs are written down of places that keep no notes.
    pub data: Option<PathBuf>,
    /// Locations of the config.
    pub aliases: BTreeMap<String, Location>,
}

impl Default for Scene {
    fn default() -> Self {
        Scene {
            size: (120, 35),
            theme: "default",
            ascii: false,
            names: StepNames::default(),
            keymap: Keymap::standard(),
            tour: false,
            called: None,
            slow: None,
            read_only: None,
            pruning: None,
            store: None,
            stores: Vec::new(),
            data: None,
            aliases: BTreeMap::new(),
        }
    }
}

/// A world in which nothing is remembered and time stands still.
fn world(store: Option<Arc<dyn Store>>, stores: Vec<Arc<dyn Store>>, data: Option<PathBuf>) -> World {
    let plans = AtomicU32::new(0);
    let opens = |otherwise: fn(&Location) -> cachedeck::error::Result<Arc<dyn Store>>| -> Arc<Open> {
        let (store, stores) = (store.clone(), stores.clone());
        Arc::new(move |location| {
            let own = stores.iter().find(|own| own.location().identity() == location.identity());
            own.or(store.as_ref()).cloned().map_or_else(|| otherwise(location), Ok)
        })
    };
    World {
        open: opens(catalog::open),
        imagine: opens(catalog::imagine),
        make: opens(catalog::make),
        state: State::at(None, data.as_deref()),
        clock: Arc::new(|| NOW.parse().unwrap()),
        salt: Arc::new(move || plans.fetch_add(1, Ordering::Relaxed)),
    }
}

/// The app on stage.
pub struct Stage {
    pub app: App,
    size: (u16, u16),
    /// What was copied, newest last.
    pub copied: Vec<String>,
    /// What the pager was given, newest last.
    pub paged: Vec<String>,
    /// Whether the app wanted to quit.
    pub quit: bool,
    tokio: tokio::runtime::Runtime,
    runtime: Runtime,
    reports: tokio::sync::mpsc::Receiver<Message>,
    running: usize,
    /// What is called otherwise on stage: names there, and where they really are.
    cast: Vec<(Location, Location)>,
    slow: Option<Location>,
    /// Jobs that run without being waited for.
    aside: HashSet<u64>,
    /// Jobs that were asked for but not started, while the stage holds them back.
    pub held: Option<Vec<Effect>>,
}

impl Stage {
    /// The app with `locations`, all loaded.
    pub fn open(locations: Vec<Location>, scene: Scene) -> Stage {
        let mut stage = Stage::set(locations, scene);
        let held = stage.held.take().unwrap_or_default();
        stage.perform(held);
        stage
    }

    /// The app with `locations`, of which nothing is loaded yet.
    pub fn loading(locations: Vec<Location>, scene: Scene) -> Stage {
        Stage::set(locations, scene)
    }

    /// The app with one builder, known as `ci`, its only node as `ci0`; all loaded.
    pub fn open_builder(real: Location, scene: Scene) -> Stage {
        let shown = Location::new("daemon").with("builder", "ci");
        let mut stage = Stage::set_as(vec![shown.clone()], scene, vec![(shown, real)]);
        let held = stage.held.take().unwrap_or_default();
        stage.perform(held);
        stage
    }

    /// The app with the first of each pair as its locations, which really are at the second; all loaded but the slow one.
    pub fn open_as(cast: Vec<(Location, Location)>, scene: Scene) -> Stage {
        let shown = cast.iter().map(|(shown, _)| shown.clone()).collect();
        let mut stage = Stage::set_as(shown, scene, cast);
        let held = stage.held.take().unwrap_or_default();
        stage.perform(held);
        stage
    }

    fn set(mut locations: Vec<Location>, scene: Scene) -> Stage {
        let cast = scene.called.zip(locations.first_mut()).map(|(name, first)| {
            let shown = Location::local_dir(name);
            (shown.clone(), std::mem::replace(first, shown))
        });
        Stage::set_as(locations, scene, cast.into_iter().collect())
    }

    fn set_as(locations: Vec<Location>, scene: Scene, cast: Vec<(Location, Location)>) -> Stage {
        let (app, effects) = App::new(Setup {
            locations,
            settings: Arc::new(move |_| Settings { read_only: scene.read_only, pruning: scene.pruning.clone() }),
            aliases: scene.aliases,
            names: scene.names,
            keymap: scene.keymap,
            theme: Theme::named(scene.theme).unwrap(),
            ascii: scene.ascii,
            sizes: Default::default(),
            tour: scene.tour,
            now: NOW.parse().unwrap(),
            is_dir: |path| std::path::Path::new(path).is_dir(),
        });
        let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (runtime, reports) = Runtime::new(world(scene.store, scene.stores, scene.data));
        let mut stage = Stage {
            app,
            size: scene.size,
            copied: Vec::new(),
            paged: Vec::new(),
            quit: false,
            tokio,
            runtime,
            reports,
            running: 0,
            cast,
            slow: scene.slow,
            aside: HashSet::new(),
            held: Some(Vec::new()),
        };
        stage.tell(Message::Resize(scene.size.0, scene.size.1));
        stage.perform(effects);
        stage
    }

    /// Tells the app something and runs what it asks for to the end.
    pub fn tell(&mut self, message: Message) {
        let effects = self.app.update(message);
        self.perform(effects);
    }

    fn perform(&mut self, effects: Vec<Effect>) {
        let mut queue = effects;
        loop {
            for effect in std::mem::take(&mut queue) {
                match effect {
                    Effect::Start(..) if self.held.is_some() => self.held.as_mut().unwrap().push(effect),
                    Effect::Start(job, mut order) => {
                        match self.slow.as_ref() == Some(&order.location) {
                            true => drop(self.aside.insert(job.id)),
                            false => self.running += 1,
                        }
                        if let Some((_, real)) = self.cast.iter().find(|(shown, _)| *shown == order.location) {
                            order.location = real.clone();
                        }
                        let _inside = self.tokio.enter();
                        self.runtime.start(job, *order);
                    }
                    Effect::Copy(text) => self.copied.push(text),
                    Effect::Page(text) => self.paged.push(text),
                    Effect::Quit => self.quit = true,
                    Effect::AskNames | Effect::Suspend | Effect::Redraw | Effect::TourSeen => {}
                }
            }
            if self.running == 0 {
                return;
            }
            let mut message = self.tokio.block_on(self.reports.recv()).unwrap();
            if let Message::Report(id, report) = &mut message {
                if report.ends_job() && !self.aside.remove(id) {
                    self.running -= 1;
                }
                if let Report::Loaded(inventory) = report
                    && let Some((shown, _)) = self.cast.iter().find(|(_, real)| inventory.location == *real)
                {
                    inventory.location = shown.clone();
                    // Plain HTTP and the time of day are those of the real place.
                    inventory.details.notes.clear();
                    if matches!(shown.kind(), "s3" | "azblob") {
                        let fixed = NOW.parse::<jiff::Timestamp>().unwrap() - jiff::SignedDuration::from_hours(3);
                        inventory.indexes.iter_mut().for_each(|index| index.modified = index.modified.map(|_| fixed));
                    }
                    if let Some(builder) = inventory.details.builder.as_mut().map(std::sync::Arc::make_mut) {
                        builder.nodes[0].name = "ci0".to_owned();
                        builder.nodes[0].address = "docker-container://buildx_buildkit_ci0".to_owned();
                    }
                }
            }
            queue = self.app.update(message);
        }
    }

    /// Waits for the slow jobs too.
    pub fn wait_for_all(&mut self) -> &mut Stage {
        self.running += self.aside.drain().count();
        self.perform(Vec::new());
        self
    }

    /// Presses keys, written as in the config with blanks between them; `'word` types letters.
    pub fn press(&mut self, keys: &str) -> &mut Stage {
        for word in keys.split_whitespace() {
            match word.strip_prefix('\'') {
                Some(letters) => letters.chars().for_each(|letter| self.key(KeyEvent::from(KeyCode::Char(letter)))),
                None => {
                    let chord: Chord = word.parse().unwrap();
                    (0..).map_while(|at| chord.get(at)).for_each(|press| self.key(press.event()));
                }
            }
        }
        self
    }

    fn key(&mut self, key: KeyEvent) {
        // Lists follow data and filters when they are drawn, as they do in a terminal.
        self.buffer();
        self.tell(Message::Key(key));
    }

    /// Clicks at a place.
    pub fn click(&mut self, x: u16, y: u16) -> &mut Stage {
        self.mouse(MouseEventKind::Down(MouseButton::Left), x, y)
    }

    /// Does something with the mouse.
    pub fn mouse(&mut self, kind: MouseEventKind, column: u16, row: u16) -> &mut Stage {
        self.buffer();
        self.tell(Message::Mouse(MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE }));
        self
    }

    /// Lets time pass.
    pub fn wait(&mut self, since_start: Duration) -> &mut Stage {
        self.tell(Message::Tick(NOW.parse().unwrap(), since_start));
        self
    }

    /// Another size of the terminal.
    pub fn resize(&mut self, width: u16, height: u16) -> &mut Stage {
        self.size = (width, height);
        self.tell(Message::Resize(width, height));
        self
    }

    /// The frame as it would be drawn now.
    pub fn buffer(&mut self) -> Buffer {
        let area = Rect::new(0, 0, self.size.0, self.size.1);
        let mut buffer = Buffer::empty(area);
        self.app.draw_into(area, &mut buffer);
        buffer
    }

    /// The frame as text.
    pub fn text(&mut self) -> String {
        text_of(&self.buffer())
    }

    /// Whether the frame shows `text` in one line.
    pub fn shows(&mut self, text: &str) -> bool {
        self.text().contains(text)
    }

    /// Line `y` of the frame.
    pub fn line(&mut self, y: usize) -> String {
        self.text().lines().nth(y).unwrap_or_default().to_owned()
    }

    /// Fails with the whole screen if `text` is not on it.
    #[track_caller]
    pub fn see(&mut self, text: &str) -> &mut Stage {
        let screen = self.text();
        assert!(screen.contains(text), "no {text:?} on\n{screen}");
        self
    }

    /// Fails with the whole screen if `text` is on it.
    #[track_caller]
    pub fn miss(&mut self, text: &str) -> &mut Stage {
        let screen = self.text();
        assert!(!screen.contains(text), "{text:?} is on\n{screen}");
        self
    }
}

/// A buffer as lines of text.
pub fn text_of(buffer: &Buffer) -> String {
    let mut text = String::new();
    for y in 0..buffer.area.height {
        let mut line = String::new();
        let mut x = 0;
        while x < buffer.area.width {
            let symbol = buffer[(x, y)].symbol();
            line.push_str(symbol);
            x += symbol.width().max(1) as u16;
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}
