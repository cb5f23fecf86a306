//! The terminal UI: takes the terminal, feeds keys, signals, time and news of jobs to the [`App`], and draws it when
//! something changed, at most 30 times a second.

pub mod app;
pub mod building;
pub mod clipboard;
pub mod contents;
pub mod copying;
pub mod glyphs;
pub mod json;
pub mod keys;
pub mod list;
pub mod listing;
pub mod pace;
pub mod runtime;
pub mod screen;
pub mod screens;
pub mod shared;
pub mod svg;
pub mod terminal;
pub mod theme;
pub mod widgets;

use crate::error::{Error, Result};
use crate::model::location::Location;
use crate::model::units::SizeStyle;
use crate::ops::names::StepNames;
use app::{App, Effect, Message, Settings, SettingsOf, Setup};
use crossterm::event::{Event, EventStream};
use futures::StreamExt as _;
use jiff::Timestamp;
use keys::Keymap;
use runtime::{Runtime, World};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use terminal::{Signals, Terminal};
use theme::Theme;

/// What the terminal UI is started with.
pub struct Options {
    /// The locations to open, in order.
    pub locations: Vec<Location>,
    /// What the user has set for a location, given or added.
    pub settings: Arc<SettingsOf>,
    /// Locations that `@name` stands for.
    pub aliases: BTreeMap<String, Location>,
    /// Names of layers learnt from a builder.
    pub names: StepNames,
    /// The builders to ask for more, which are then remembered; `None` to do neither.
    pub builders: Option<Vec<Location>>,
    /// Name of the theme; `mono` is right where no colour is wanted.
    pub theme: String,
    /// 7-bit signs only.
    pub ascii: bool,
    /// Whether the mouse is taken.
    pub mouse: bool,
    /// How sizes are shown.
    pub sizes: SizeStyle,
    /// The user's keys.
    pub keys: keys::Overrides,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            locations: Vec::new(),
            settings: Arc::new(|_| Settings::default()),
            aliases: BTreeMap::new(),
            names: StepNames::default(),
            builders: None,
            theme: "default".to_owned(),
            ascii: false,
            mouse: true,
            sizes: SizeStyle::default(),
            keys: keys::Overrides::new(),
        }
    }
}

/// Shortest time between two frames.
const FRAME: Duration = Duration::from_millis(33);

/// Runs until the user quits. Errors: what [`Theme::named`] and [`Keymap::with`] say, and
/// [`crate::error::Kind::Internal`] if the terminal can't be used.
pub async fn run(options: Options) -> Result<()> {
    let (theme, keymap) = (Theme::named(&options.theme)?, Keymap::with(&options.keys)?);
    let terminal = Terminal::enter(options.mouse, !theme.is_mono())?;
    let marker = tour_marker();
    let (mut app, effects) = App::new(Setup {
        locations: options.locations,
        settings: options.settings,
        aliases: options.aliases,
        names: options.names,
        keymap,
        theme,
        ascii: options.ascii,
        sizes: options.sizes,
        tour: marker.as_ref().is_some_and(|marker| !marker.exists()),
        now: Timestamp::now(),
        is_dir: |path| std::path::Path::new(path).is_dir(),
    });
    let (width, height) = terminal.size();
    app.update(Message::Resize(width, height));
    let (runtime, mut reports) = Runtime::new(World::usual());
    let builders = options.builders;
    let mut driver = Driver { terminal, runtime, builders, marker, events: EventStream::new() };
    let mut signals = Signals::listen()?;
    let start = Instant::now();
    let mut drawn = start.checked_sub(FRAME).unwrap_or(start);
    if driver.perform(effects, &mut app)? {
        return Ok(());
    }
    let mut dirty = true;
    loop {
        if dirty && drawn.elapsed() >= FRAME {
            driver.terminal.draw(|frame| app.draw(frame))?;
            (drawn, dirty) = (Instant::now(), false);
        }
        let wait = if dirty { FRAME.saturating_sub(drawn.elapsed()) } else { app.next_tick() };
        let message = tokio::select! {
            event = driver.events.next() => match event {
                Some(Ok(event)) => message_of(event),
                Some(Err(why)) => return Err(Error::io("cannot read from the terminal", why)),
                None => return Ok(()),
            },
            Some(report) = reports.recv() => Some(report),
            signal = signals.next() => Some(Message::Signal(signal)),
            () = tokio::time::sleep(wait) => None,
        };
        dirty |= message.is_some() || wait > FRAME;
        let mut effects = app.update(Message::Tick(Timestamp::now(), start.elapsed()));
        effects.extend(message.into_iter().flat_map(|message| app.update(message)));
        // What else is there already belongs into the same frame.
        while let Ok(report) = reports.try_recv() {
            effects.extend(app.update(report));
        }
        if driver.perform(effects, &mut app)? {
            return Ok(());
        }
    }
}

fn message_of(event: Event) -> Option<Message> {
    match event {
        Event::Key(key) => Some(Message::Key(key)),
        Event::Mouse(mouse) => Some(Message::Mouse(mouse)),
        Event::Paste(text) => Some(Message::Paste(text)),
        Event::Resize(width, height) => Some(Message::Resize(width, height)),
        Event::FocusGained | Event::FocusLost => None,
    }
}

/// What effects need.
struct Driver {
    terminal: Terminal,
    runtime: Runtime,
    builders: Option<Vec<Location>>,
    marker: Option<PathBuf>,
    events: EventStream,
}

impl Driver {
    /// Does what the app wants; `true` if that is to quit.
    fn perform(&mut self, effects: Vec<Effect>, app: &mut App) -> Result<bool> {
        for effect in effects {
            let said = match effect {
                Effect::Start(job, order) => {
                    self.runtime.start(job, *order);
                    None
                }
                Effect::AskNames => {
                    if let Some(builders) = &self.builders {
                        self.runtime.ask_names(builders.clone());
                    }
                    None
                }
                Effect::Copy(text) => Some(runtime::copy(&text, &mut self.terminal)),
                Effect::Page(text) => {
                    let said = self.alone(|terminal| runtime::page(&text, terminal))?;
                    Some(said)
                }
                Effect::Suspend => {
                    self.alone(Terminal::suspend)?;
                    None
                }
                Effect::Redraw => {
                    self.terminal.redraw()?;
                    None
                }
                Effect::TourSeen => {
                    self.mark_tour();
                    None
                }
                Effect::Quit => return Ok(true),
            };
            if let Some(said) = said {
                app.update(said);
            }
        }
        Ok(false)
    }

    /// Does something with the terminal while nothing of ours reads from it.
    fn alone<T>(&mut self, f: impl FnOnce(&mut Terminal) -> Result<T>) -> Result<T> {
        // The stream's thread would take keys away from whoever has the terminal now.
        self.events = EventStream::new();
        let result = f(&mut self.terminal);
        self.events = EventStream::new();
        result
    }

    /// Not being able to remember that the tour was shown is no reason to bother anybody.
    fn mark_tour(&self) {
        if let Some(marker) = &self.marker {
            let folder = marker.parent().map(std::fs::create_dir_all);
            if folder.is_some_and(|made| made.is_ok()) {
                let _ = std::fs::write(marker, b"");
            }
        }
    }
}

/// The file that tells that the tour was shown.
fn tour_marker() -> Option<PathBuf> {
    let folders = directories::ProjectDirs::from("", "", "cachedeck")?;
    Some(folders.state_dir().unwrap_or(folders.data_local_dir()).join("tour-shown"))
}
