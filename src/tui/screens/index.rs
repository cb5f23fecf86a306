//! One version of a cache, in five tabs: its layers, its graph, its records, the documents as written, and the other
//! versions around it.

mod chain;
mod details;
mod facts;
mod graph;
mod layers;
mod raw;
mod records;
mod trees;
mod versions;

use super::{place_title, version_name, yank_version};
use crate::error::Result;
use crate::tui::keys::{Action, View};
use crate::tui::screen::{Answer, Canvas, Context, Look, Mouse, Screen, Search, version_word};
use crate::tui::shared::{PlaceId, Shared, Target};
use facts::Facts;
use ratatui::layout::Rect;

/// The tabs' names, as drawn.
const TABS: [&str; 5] = ["layers", "graph", "records", "raw", "versions"];

/// One tab. `facts` is what is known of the version; tabs keep only cursors, folds and orders.
trait Tab {
    fn refresh(&mut self, facts: &Facts, shared: &Shared);
    fn act(&mut self, action: Action, facts: &Facts, cx: &mut Context<'_>) -> bool;
    fn answer(&mut self, answer: Answer, facts: &Facts, cx: &mut Context<'_>) -> Result<()>;
    fn mouse(&mut self, mouse: Mouse, facts: &Facts, cx: &mut Context<'_>);
    fn draw(&mut self, area: Rect, facts: &Facts, canvas: &mut Canvas<'_>);
    fn status(&self, facts: &Facts, shared: &Shared) -> String;
    fn search(&self) -> Search<'_>;
    /// What is special to the row under the cursor; the version's own is asked afterwards.
    fn yank(&self, action: Action, facts: &Facts, shared: &Shared) -> Option<String>;
    /// All rows as text.
    fn text(&self, facts: &Facts, look: Look<'_>) -> String;
    /// The version under the cursor, where rows are versions.
    fn target(&self, _facts: &Facts, _shared: &Shared) -> Option<Target> {
        None
    }
    /// The versions that are marked, where rows are versions.
    fn marked(&self, _facts: &Facts) -> Vec<Target> {
        Vec::new()
    }
    fn word(&self, _action: Action) -> Option<&'static str> {
        None
    }
}

/// One version.
pub struct Index {
    target: Target,
    facts: Facts,
    seen: Option<u64>,
    open: usize,
    layers: layers::Layers,
    graph: graph::Graph,
    records: records::Records,
    raw: raw::RawTab,
    versions: versions::Versions,
}

impl Index {
    /// The version, with its layers in front.
    pub fn new(target: Target, shared: &Shared) -> Index {
        Index {
            target,
            facts: Facts::of(target, shared),
            seen: None,
            open: 0,
            layers: layers::Layers::new(),
            graph: graph::Graph::new(),
            records: records::Records::new(),
            raw: raw::RawTab::new(),
            versions: versions::Versions::new(),
        }
    }

    /// With the cursor on one layer.
    pub fn at_layer(target: Target, layer: usize, shared: &Shared) -> Index {
        let mut index = Index::new(target, shared);
        index.layers.aim(layer);
        index
    }

    /// With the documents in front: for what holds no cache.
    pub fn raw(target: Target, cx: &mut Context<'_>) -> Index {
        let mut index = Index::new(target, cx.shared);
        index.show_tab(3, cx);
        index
    }

    fn tab(&mut self) -> (&mut dyn Tab, &Facts) {
        let tab: &mut dyn Tab = match self.open {
            0 => &mut self.layers,
            1 => &mut self.graph,
            2 => &mut self.records,
            3 => &mut self.raw,
            _ => &mut self.versions,
        };
        (tab, &self.facts)
    }

    fn tab_ref(&self) -> &dyn Tab {
        match self.open {
            0 => &self.layers,
            1 => &self.graph,
            2 => &self.records,
            3 => &self.raw,
            _ => &self.versions,
        }
    }

    fn show_tab(&mut self, tab: usize, cx: &mut Context<'_>) {
        // The graph begins where the other tabs' cursor is.
        if tab == 1 {
            match self.open {
                0 => self.graph.aim_layer(self.layers.current()),
                2 => self.graph.aim_record(self.records.current()),
                _ => {}
            }
        }
        self.open = tab % TABS.len();
        if self.open == 3 {
            self.raw.load(&self.facts, cx);
        }
    }
}

impl Screen for Index {
    fn view(&self) -> View {
        [View::Layers, View::Graph, View::Records, View::Raw, View::Versions][self.open]
    }

    fn crumbs(&self, shared: &Shared) -> Vec<String> {
        let name = shared.index(self.target).map_or_else(|| self.target.digest.short(), version_name);
        vec![place_title(shared, self.target.place), name, TABS[self.open].to_owned()]
    }

    fn refresh(&mut self, shared: &Shared) {
        let revision = shared.places.get(self.target.place).map(|place| place.revision);
        if self.seen != revision {
            self.facts = Facts::of(self.target, shared);
            self.seen = revision;
        }
        let (tab, facts) = self.tab();
        tab.refresh(facts, shared);
    }

    fn act(&mut self, action: Action, cx: &mut Context<'_>) -> bool {
        match action {
            Action::NextTab => self.show_tab(self.open + 1, cx),
            Action::PrevTab => self.show_tab(self.open + TABS.len() - 1, cx),
            _ => {
                let (tab, facts) = self.tab();
                return tab.act(action, facts, cx);
            }
        }
        true
    }

    fn answer(&mut self, answer: Answer, cx: &mut Context<'_>) -> Result<()> {
        let (tab, facts) = self.tab();
        tab.answer(answer, facts, cx)
    }

    fn text(&self, look: Look<'_>) -> Option<String> {
        Some(self.tab_ref().text(&self.facts, look))
    }

    fn file_name(&self, _shared: &Shared) -> Option<String> {
        let end = if self.open == 3 { "json" } else { "txt" };
        Some(format!("{}-{}.{end}", TABS[self.open], self.target.digest.short()))
    }

    fn mouse(&mut self, mouse: Mouse, cx: &mut Context<'_>) {
        let (tab, facts) = self.tab();
        tab.mouse(mouse, facts, cx);
    }

    fn draw(&mut self, area: Rect, canvas: &mut Canvas<'_>) {
        let (tab, facts) = self.tab();
        tab.draw(area, facts, canvas);
    }

    fn status(&self, shared: &Shared) -> String {
        self.tab_ref().status(&self.facts, shared)
    }

    fn search(&self) -> Search<'_> {
        self.tab_ref().search()
    }

    fn yank(&self, action: Action, shared: &Shared) -> Option<String> {
        let special = self.tab_ref().yank(action, &self.facts, shared);
        special.or_else(|| yank_version(action, shared, self.target(shared)?))
    }

    fn command(&self, shared: &Shared) -> Vec<String> {
        let command = if self.open == 4 { "versions" } else { TABS[self.open] };
        let mut words = vec!["cachedeck".to_owned(), command.to_owned()];
        words.extend(shared.places.get(self.target.place).map(|p| version_word(&p.location, &self.target.digest)));
        let search = self.search();
        if search.hides && !search.text.is_empty() {
            words.extend(["--filter".to_owned(), search.text]);
        }
        words
    }

    fn place(&self) -> Option<PlaceId> {
        Some(self.target.place)
    }

    fn target(&self, shared: &Shared) -> Option<Target> {
        self.tab_ref().target(&self.facts, shared).or(Some(self.target))
    }

    fn chosen(&self, shared: &Shared) -> Vec<Target> {
        let marked = self.tab_ref().marked(&self.facts);
        if marked.is_empty() { self.target(shared).into_iter().collect() } else { marked }
    }

    fn word(&self, action: Action) -> Option<&'static str> {
        self.tab_ref().word(action)
    }
}
