//! Keys: the one table of bindings (`keys/table.rs`), and the keymap built from it. Input, footer, help and palette all
//! read the same map, so what is shown is what works.

mod press;
mod table;

pub use press::{Chord, Press};
pub use table::{BINDINGS, Binding};

use crate::error::{Error, Result};
use crate::model::inventory::Need;
use std::collections::BTreeMap;

/// What the user sees and where the keys go: a screen, or the tab or pane of it that has the focus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum View {
    /// The list of locations.
    Locations,
    /// The indexes of one location.
    Indexes,
    /// The layers of one index.
    Layers,
    /// The graph of one index.
    Graph,
    /// The records of one index.
    Records,
    /// The manifest and config as written.
    Raw,
    /// Other versions under the same name.
    Versions,
    /// The files of one layer.
    Files,
    /// The blobs of a location.
    Blobs,
    /// Two indexes compared.
    Diff,
    /// What verifying found.
    Findings,
    /// The layers that hold a file.
    Found,
    /// The log.
    Logs,
    /// The entries of a GitHub repository's cache.
    Gha,
    /// A builder's own cache.
    Daemon,
    /// What is going to be changed at a location, and by which rules.
    Plan,
    /// What runs, waits and was done.
    Jobs,
    /// What changes hid, and can bring back.
    Trash,
}

impl View {
    /// All of them, in the order of the screens.
    pub const ALL: [View; 18] = [
        View::Locations,
        View::Indexes,
        View::Layers,
        View::Graph,
        View::Records,
        View::Raw,
        View::Versions,
        View::Files,
        View::Blobs,
        View::Diff,
        View::Findings,
        View::Found,
        View::Logs,
        View::Gha,
        View::Daemon,
        View::Plan,
        View::Jobs,
        View::Trash,
    ];

    /// The name in `[keys.<screen>]` of the config.
    pub fn name(self) -> &'static str {
        match self {
            View::Locations => "locations",
            View::Indexes => "indexes",
            View::Layers => "layers",
            View::Graph => "graph",
            View::Records => "records",
            View::Raw => "raw",
            View::Versions => "versions",
            View::Files => "files",
            View::Blobs => "blobs",
            View::Diff => "diff",
            View::Findings => "findings",
            View::Found => "found",
            View::Logs => "logs",
            View::Gha => "gha",
            View::Daemon => "daemon",
            View::Plan => "plan",
            View::Jobs => "jobs",
            View::Trash => "trash",
        }
    }
}

/// A set of views.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Views(u32);

impl Views {
    /// Every view.
    pub const ALL: Views = Views(u32::MAX);

    /// Exactly these.
    pub const fn of(views: &[View]) -> Views {
        let mut bits = 0;
        let mut i = 0;
        while i < views.len() {
            bits |= 1 << views[i] as u32;
            i += 1;
        }
        Views(bits)
    }

    /// All but these.
    pub const fn but(self, views: &[View]) -> Views {
        Views(self.0 & !Views::of(views).0)
    }

    /// Whether `view` is among them.
    pub const fn has(self, view: View) -> bool {
        self.0 & (1 << view as u32) != 0
    }
}

/// What a key can do. One name means one thing on every screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each one is explained by its `help` in the table")]
pub enum Action {
    Up,
    Down,
    Top,
    Bottom,
    HalfUp,
    HalfDown,
    PageUp,
    PageDown,
    Left,
    Right,
    Open,
    Back,
    Escape,
    Quit,
    Interrupt,
    Suspend,
    Redraw,
    NextPane,
    PrevPane,
    Pane(u8),
    NextTab,
    PrevTab,
    HistoryBack,
    HistoryForward,
    GoLocations,
    GoIndexes,
    GoBlobs,
    GoFindings,
    GoGha,
    GoDaemon,
    GoJobs,
    GoTrash,
    GoPins,
    GoLogs,
    Find,
    FindFile,
    FindNext,
    FindPrev,
    Palette,
    Jump,
    Help,
    Command,
    Mark,
    Range,
    MarkAll,
    Invert,
    Sort,
    Reverse,
    Toggle,
    Kinds,
    Zoom,
    Unzoom,
    PreviewDown,
    PreviewUp,
    Pager,
    Export,
    Info,
    Stage,
    Undo,
    Redo,
    Plan,
    Repair,
    Copy,
    Build,
    Retry,
    Flip,
    Edit,
    Apply,
    Pin,
    Empty,
    Verify,
    SetBase,
    Diff,
    YankDigest,
    YankRef,
    YankFrom,
    YankTo,
    YankPath,
    YankJson,
    YankCommand,
    Refresh,
    RefreshAll,
    Freeze,
    AddLocation,
    FoldAll,
    UnfoldAll,
    Theme,
    Tour,
}

impl Action {
    /// What it needs of the place it is about, in `view`.
    pub fn need(self, view: View) -> Option<Need> {
        match (self, view) {
            (Action::FindFile | Action::Copy, _) | (Action::Open, View::Layers) => Some(Need::Contents),
            (Action::Diff | Action::SetBase, _) | (Action::Open, View::Indexes) => Some(Need::Caches),
            _ => None,
        }
    }

    /// How many rows a moving action goes down, where `page` rows fit on the screen; `None` if it moves nothing.
    pub fn distance(self, page: usize) -> Option<isize> {
        let page = page as isize;
        match self {
            Action::Up => Some(-1),
            Action::Down => Some(1),
            Action::HalfUp => Some(-(page / 2).max(1)),
            Action::HalfDown => Some((page / 2).max(1)),
            Action::PageUp => Some(-page),
            Action::PageDown => Some(page),
            Action::Top => Some(isize::MIN + 1),
            Action::Bottom => Some(isize::MAX),
            _ => None,
        }
    }
}

/// What the keys pressed so far mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// They are complete.
    Action(Action),
    /// They begin a chord.
    Pending,
    /// They mean nothing here.
    Nothing,
}

/// `[keys.<screen>]` of the config: screen to action to keys. `everywhere` stands for all screens.
pub type Overrides = BTreeMap<String, BTreeMap<String, Vec<String>>>;

/// Which keys do what in which view.
#[derive(Clone, Debug)]
pub struct Keymap {
    views: BTreeMap<View, Vec<(Chord, Action)>>,
}

impl Keymap {
    /// The keys of the table alone.
    pub fn standard() -> Keymap {
        let views = View::ALL.iter().map(|&view| (view, standard_keys(view))).collect();
        Keymap { views }
    }

    /// The table's keys, changed as the user wants. A list replaces all keys of that action there; an empty list leaves
    /// it without any. `Invalid` with every problem found: unknown names, keys that cannot be read, and keys that would
    /// mean two things in one view.
    pub fn with(overrides: &Overrides) -> Result<Keymap> {
        let mut map = Keymap::standard();
        let mut problems = Vec::new();
        // `everywhere` first, so that a screen's own line has the last word.
        let (general, special): (Vec<_>, Vec<_>) = overrides.iter().partition(|(screen, _)| *screen == EVERYWHERE);
        for (screen, actions) in general.into_iter().chain(special) {
            let Some(views) = views_named(screen) else {
                problems.push(unknown("screen", screen, View::ALL.iter().map(|v| v.name()).chain([EVERYWHERE])));
                continue;
            };
            for (name, keys) in actions {
                match read(name, keys) {
                    Ok((binding, chords)) => {
                        for view in views.iter().filter(|view| binding.views.has(**view)) {
                            map.replace(*view, binding.action, &chords);
                        }
                        if !views.iter().any(|view| binding.views.has(*view)) {
                            problems.push(format!("[keys.{screen}] {name}: this action does not exist there"));
                        }
                    }
                    Err(problem) => problems.push(format!("[keys.{screen}] {problem}")),
                }
            }
        }
        problems.extend(map.conflicts());
        if problems.is_empty() {
            return Ok(map);
        }
        problems.dedup();
        Err(Error::invalid(format!("the keymap does not work: {}", problems.join("; ")))
            .with_hint("`?` in the terminal UI lists all actions with their names"))
    }

    fn replace(&mut self, view: View, action: Action, chords: &[Chord]) {
        let keys = self.views.entry(view).or_default();
        keys.retain(|(_, a)| *a != action);
        keys.extend(chords.iter().map(|chord| (chord.clone(), action)));
    }

    fn conflicts(&self) -> Vec<String> {
        let mut found: Vec<String> = Vec::new();
        for (view, keys) in &self.views {
            for (i, (chord, action)) in keys.iter().enumerate() {
                let clash = keys[i + 1..]
                    .iter()
                    .find(|(other, a)| a != action && (other.starts_with(chord) || chord.starts_with(other)));
                if let Some((other, rival)) = clash {
                    let (a, b) = (name_of(*action), name_of(*rival));
                    let how = if chord == other { "both use" } else { "one begins the other:" };
                    let keys = if chord == other { chord.to_string() } else { format!("{chord} and {other}") };
                    found.push(format!("{} screen: {a} and {b}, {how} {keys}", view.name()));
                }
            }
        }
        found
    }

    /// What `pressed` means in `view`.
    pub fn lookup(&self, view: View, pressed: &[Press]) -> Lookup {
        let keys = self.keys(view);
        if let Some((_, action)) = keys.iter().find(|(chord, _)| **chord == *pressed) {
            return Lookup::Action(*action);
        }
        match keys.iter().any(|(chord, _)| chord.starts_with(pressed)) {
            true => Lookup::Pending,
            false => Lookup::Nothing,
        }
    }

    /// What may follow the keys pressed so far, with the action each leads to.
    pub fn continuations(&self, view: View, pressed: &[Press]) -> Vec<(Press, Action)> {
        let mut found = Vec::new();
        for (chord, action) in self.keys(view) {
            if let Some(press) = chord.starts_with(pressed).then(|| chord.get(pressed.len())).flatten() {
                found.push((press, *action));
            }
        }
        found
    }

    /// The keys of `action` in `view`, the first one first.
    pub fn keys_of(&self, view: View, action: Action) -> Vec<&Chord> {
        self.keys(view).iter().filter(|(_, a)| *a == action).map(|(chord, _)| chord).collect()
    }

    /// The bindings that exist in `view`, in the table's order, whether they have a key or not.
    pub fn bindings(&self, view: View) -> impl Iterator<Item = &'static Binding> {
        BINDINGS.iter().filter(move |binding| binding.views.has(view))
    }

    fn keys(&self, view: View) -> &[(Chord, Action)] {
        self.views.get(&view).map_or(&[], Vec::as_slice)
    }
}

/// The name that stands for all screens in the config.
const EVERYWHERE: &str = "everywhere";

fn standard_keys(view: View) -> Vec<(Chord, Action)> {
    let here = BINDINGS.iter().filter(|binding| binding.views.has(view));
    here.flat_map(|b| b.keys.iter().filter_map(|key| Some((key.parse().ok()?, b.action)))).collect()
}

fn views_named(screen: &str) -> Option<Vec<View>> {
    if screen == EVERYWHERE {
        return Some(View::ALL.to_vec());
    }
    View::ALL.iter().find(|view| view.name() == screen).map(|view| vec![*view])
}

fn read(name: &str, keys: &[String]) -> std::result::Result<(&'static Binding, Vec<Chord>), String> {
    let binding = BINDINGS.iter().find(|binding| binding.name == name);
    let binding = binding.ok_or_else(|| unknown("action", name, BINDINGS.iter().map(|b| b.name)))?;
    let chords = keys.iter().map(|key| key.parse().map_err(|why| format!("{name}: {why}")));
    Ok((binding, chords.collect::<std::result::Result<_, _>>()?))
}

fn name_of(action: Action) -> &'static str {
    BINDINGS.iter().find(|binding| binding.action == action).map_or("?", |binding| binding.name)
}

fn unknown<'a>(what: &str, name: &str, known: impl Iterator<Item = &'a str>) -> String {
    let near = known.max_by(|a, b| strsim::jaro_winkler(a, name).total_cmp(&strsim::jaro_winkler(b, name)));
    match near.filter(|near| strsim::jaro_winkler(near, name) > 0.75) {
        Some(near) => format!("no {what} called {name:?}, did you mean {near:?}"),
        None => format!("no {what} called {name:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overrides(screen: &str, action: &str, keys: &[&str]) -> Overrides {
        let keys = keys.iter().map(|k| (*k).to_owned()).collect();
        BTreeMap::from([(screen.to_owned(), BTreeMap::from([(action.to_owned(), keys)]))])
    }

    fn press(text: &str) -> Chord {
        text.parse().unwrap()
    }

    #[test]
    fn the_table_itself_is_sound() {
        assert_eq!(Keymap::standard().conflicts(), Vec::<String>::new());
        for binding in BINDINGS {
            for key in binding.keys {
                let chord: Chord = key.parse().unwrap_or_else(|why| panic!("{key}: {why}"));
                assert_eq!(chord.to_string().parse::<Chord>().unwrap(), chord, "{key}");
            }
            let names = BINDINGS.iter().filter(|other| other.name == binding.name).count();
            assert_eq!(names, 1, "{}", binding.name);
        }
    }

    #[test]
    fn special_lines_are_about_actions_that_are_there() {
        for (action, view, help) in table::SPECIAL {
            let binding = BINDINGS.iter().find(|b| b.action == *action).unwrap();
            assert!(binding.views.has(*view), "{} on {}", binding.name, view.name());
            assert_eq!(binding.help_in(*view), *help, "said twice");
        }
    }

    #[test]
    fn terminals_swallow_none_of_our_keys() {
        for eaten in ["ctrl+h", "ctrl+i", "ctrl+j", "ctrl+m", "ctrl+s", "ctrl+q"] {
            assert!(BINDINGS.iter().all(|b| !b.keys.contains(&eaten)), "{eaten}");
        }
    }

    #[test]
    fn chords_wait_for_their_second_key() {
        let map = Keymap::standard();
        assert_eq!(map.lookup(View::Layers, &press("g")), Lookup::Pending);
        assert_eq!(map.lookup(View::Layers, &press("g g")), Lookup::Action(Action::Top));
        assert_eq!(map.lookup(View::Layers, &press("g x")), Lookup::Nothing);
        let next = map.continuations(View::Indexes, &press("y"));
        assert!(next.iter().any(|(p, a)| p.to_string() == "f" && *a == Action::YankFrom));
    }

    #[test]
    fn a_user_changes_keys_on_one_screen_only() {
        let map = Keymap::with(&overrides("layers", "mark", &["x x", "ctrl+e"])).map(|_| ());
        assert!(map.is_err(), "x alone extracts on that screen");
        let map = Keymap::with(&overrides("layers", "mark", &["ctrl+e"])).unwrap();
        assert_eq!(map.lookup(View::Layers, &press("ctrl+e")), Lookup::Action(Action::Mark));
        assert_eq!(map.lookup(View::Layers, &press("space")), Lookup::Nothing);
        assert_eq!(map.lookup(View::Blobs, &press("space")), Lookup::Action(Action::Mark));
    }

    #[test]
    fn conflicts_and_slips_are_named() {
        let text = |o: &Overrides| Keymap::with(o).unwrap_err().to_string();
        let clash = text(&overrides("blobs", "mark", &["j"]));
        assert!(clash.contains("blobs screen: ") && clash.contains("down") && clash.contains("mark"), "{clash}");
        assert!(text(&overrides("layerz", "mark", &["m"])).contains("did you mean \"layers\""));
        assert!(text(&overrides("layers", "marc", &["m"])).contains("did you mean \"mark\""));
        assert!(text(&overrides("layers", "mark", &["ctrl+"])).contains("mark: "));
        assert!(text(&overrides("logs", "diff", &["D"])).contains("does not exist there"));
    }
}
