//! What a build does, as its builder tells it piece by piece: steps that start, end, were cached, say something, fail.
//!
//! The shapes are those of BuildKit's `client/graph.go`; all texts are untrusted, and so is how many there are.

use crate::model::digest::Digest;
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

/// Vertices that are kept; what is beyond is counted as one that can't be told.
const MOST_VERTICES: usize = 20_000;

/// Lines of a step's log that are kept: its last ones.
const LAST_LINES: usize = 20;

/// The longest line of a log that is kept, in bytes.
const LONGEST_LINE: usize = 2_000;

/// Runs of one vertex that are told apart.
const MOST_RUNS: usize = 1_000;

/// The longest name or error that is kept, in bytes.
const LONGEST_TEXT: usize = 8_000;

/// One message of a builder.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Status {
    /// Vertices, as they are now.
    pub vertices: Vec<Vertex>,
    /// What they said.
    pub logs: Vec<Log>,
    /// What goes on within them.
    pub parts: Vec<Part>,
}

/// A node of the build's graph, or something else that the builder does for it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Vertex {
    /// What it is known by.
    pub digest: String,
    /// What it is made from.
    pub inputs: Vec<String>,
    /// What it does: `[build 2/3] RUN make`.
    pub name: String,
    /// When it began this time.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub completed: Option<Timestamp>,
    /// Whether its result was there already.
    pub cached: bool,
    /// Why it failed.
    pub error: Option<String>,
}

/// What a vertex wrote.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Log {
    /// Which.
    pub vertex: String,
    /// The bytes: parts of lines, or several.
    pub data: Vec<u8>,
}

/// Something that goes on within a vertex: a blob that is fetched, a layer that is written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Part {
    /// Which.
    pub vertex: String,
    /// `sha256:…` for a blob that is fetched, `extracting sha256:…`, `writing layer sha256:…`. Untrusted.
    pub id: String,
}

/// What a vertex is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A step of the build.
    Step,
    /// An import: what it imports stands in its name.
    Import,
    /// An export of a cache.
    Export,
    /// What builders do besides: loading files, resolving, putting out.
    Other,
}

/// How an export calls the manifest that it writes (`cache/remotecache/export.go`).
const MANIFESTS: [&str; 2] = ["writing cache image manifest ", "writing cache manifest "];

/// How an import's vertex begins (`solver/llbsolver/bridge.go`).
const IMPORT: &str = "importing cache manifest from ";

/// How an export's vertex begins, and the type of location.
const EXPORTS: [(&str, &str); 5] = [
    ("exporting cache to client directory", "local"),
    ("exporting cache to registry", "registry"),
    ("exporting cache to Amazon S3", "s3"),
    ("exporting cache to Azure Blob Storage", "azblob"),
    ("exporting to GitHub Actions Cache", "gha"),
];

impl Kind {
    fn of(name: &str) -> Self {
        let begins = |words: &[&str]| words.iter().any(|word| name.starts_with(word));
        // The names of exporters in `cache/remotecache`.
        if begins(&[IMPORT]) {
            Kind::Import
        } else if begins(&["exporting cache to ", "exporting to GitHub Actions Cache", "exporting content cache"]) {
            Kind::Export
        } else if begins(&[
            "[internal]",
            "[auth]",
            "exporting ",
            "sending ",
            "preparing ",
            "resolving ",
            "resolve image config ",
            "merging ",
            "pushing ",
            "writing ",
            "Verifying build result",
            "WARN: ",
            "loading policies ",
        ]) {
            Kind::Other
        } else {
            Kind::Step
        }
    }
}

/// How far a vertex is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Its turn has not come.
    Waiting,
    /// It runs.
    Running,
    /// It was done.
    Done,
    /// Its result was there.
    Cached,
    /// It failed.
    Failed,
    /// It was stopped, mostly as another one failed.
    Canceled,
}

/// All that was told of a vertex.
#[derive(Clone, Debug)]
pub struct Watched {
    /// What it does. Untrusted.
    pub name: String,
    /// What for.
    pub kind: Kind,
    /// Why it failed. Untrusted.
    pub error: Option<String>,
    /// The manifest that it wrote, of an export.
    pub manifest: Option<Digest>,
    inputs: Vec<String>,
    cached: bool,
    /// Begins and ends of its runs.
    runs: BTreeMap<Timestamp, Option<Timestamp>>,
    lines: VecDeque<String>,
    /// A line that has no end yet.
    line: Vec<u8>,
}

impl Watched {
    /// How far it is.
    pub fn state(&self) -> State {
        let running = self.runs.values().next_back().is_some_and(Option::is_none);
        match &self.error {
            // As buildx and BuildKit's own display tell it.
            Some(error) if error.ends_with("context canceled") => State::Canceled,
            Some(_) => State::Failed,
            None if self.cached => State::Cached,
            None if running => State::Running,
            None if self.runs.is_empty() => State::Waiting,
            None => State::Done,
        }
    }

    /// When it first began.
    pub fn started(&self) -> Option<Timestamp> {
        self.runs.keys().next().copied()
    }

    /// When it last ended, if it does not run.
    pub fn completed(&self) -> Option<Timestamp> {
        self.runs.values().copied().max().flatten()
    }

    /// How long it ran: all runs together, what overlaps once. `None` if none has ended.
    pub fn took(&self) -> Option<Duration> {
        let mut sum: Option<SignedDuration> = None;
        let mut reached = Timestamp::MIN;
        for (begin, end) in self.runs.iter().filter_map(|(begin, end)| Some((*begin, (*end)?))) {
            let from = begin.max(reached);
            let took = end.duration_since(from).max(SignedDuration::ZERO);
            sum = Some(sum.unwrap_or_default().saturating_add(took));
            reached = reached.max(end);
        }
        sum.and_then(|sum| sum.try_into().ok())
    }

    /// What an import imports, as the builder calls it: a reference, or the type and a number.
    pub fn import(&self) -> Option<&str> {
        self.name.strip_prefix(IMPORT)
    }

    /// The last lines that it said. Untrusted.
    pub fn log(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.lines.iter().cloned().collect();
        if !self.line.is_empty() {
            lines.push(String::from_utf8_lossy(&self.line).into_owned());
        }
        lines
    }

    /// The type of location that an export goes to, by the name that its exporter has in `cache/remotecache`.
    pub fn exports_to(&self) -> Option<&'static str> {
        EXPORTS.iter().find(|(words, _)| self.name.starts_with(words)).map(|(_, kind)| *kind)
    }

    fn hear(&mut self, data: &[u8]) {
        for piece in data.split_inclusive(|byte| *byte == b'\n') {
            let (text, ends) = piece.strip_suffix(b"\n").map_or((piece, false), |text| (text, true));
            let room = LONGEST_LINE.saturating_sub(self.line.len()).min(text.len());
            self.line.extend(text.get(..room).unwrap_or_default());
            if ends {
                let line = String::from_utf8_lossy(&self.line).trim_end_matches('\r').to_owned();
                self.line.clear();
                self.lines.push_back(line);
                if self.lines.len() > LAST_LINES {
                    self.lines.pop_front();
                }
            }
        }
    }
}

/// A build that is watched.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    /// In the order that they were told of.
    vertices: Vec<Watched>,
    known: HashMap<String, usize>,
    /// Whether more was told than is kept.
    pub cut: bool,
}

impl Watch {
    /// Takes in a message.
    pub fn take(&mut self, status: Status) {
        for vertex in status.vertices {
            self.vertex(vertex);
        }
        for log in status.logs {
            if let Some(watched) = self.known.get(&log.vertex).and_then(|at| self.vertices.get_mut(*at)) {
                watched.hear(&log.data);
            }
        }
        for part in status.parts {
            let Some(manifest) = MANIFESTS.iter().find_map(|words| part.id.strip_prefix(words)) else { continue };
            if let Some(watched) = self.known.get(&part.vertex).and_then(|at| self.vertices.get_mut(*at)) {
                watched.manifest = manifest.parse().ok();
            }
        }
    }

    fn vertex(&mut self, vertex: Vertex) {
        let at = match self.known.get(&vertex.digest) {
            Some(at) => *at,
            None if self.vertices.len() >= MOST_VERTICES => {
                self.cut = true;
                return;
            }
            None => {
                let name = cut(vertex.name.clone());
                self.vertices.push(Watched {
                    kind: Kind::of(&name),
                    name,
                    error: None,
                    manifest: None,
                    inputs: Vec::new(),
                    cached: false,
                    runs: BTreeMap::new(),
                    lines: VecDeque::new(),
                    line: Vec::new(),
                });
                self.known.insert(vertex.digest, self.vertices.len() - 1);
                self.vertices.len() - 1
            }
        };
        let Some(watched) = self.vertices.get_mut(at) else { return };
        if !vertex.inputs.is_empty() {
            watched.inputs = vertex.inputs;
        }
        watched.cached |= vertex.cached;
        if let Some(error) = vertex.error.filter(|error| !error.is_empty()) {
            watched.error = Some(cut(error));
        }
        if let Some(started) = vertex.started
            && (watched.runs.len() < MOST_RUNS || watched.runs.contains_key(&started))
        {
            let run = watched.runs.entry(started).or_default();
            *run = vertex.completed.or(*run);
        }
    }

    /// All of them, in the order that they were told of.
    pub fn all(&self) -> &[Watched] {
        &self.vertices
    }

    /// Steps that are done, in whatever way, and all that are known so far.
    pub fn progress(&self) -> (usize, usize) {
        let steps = self.vertices.iter().filter(|watched| watched.kind == Kind::Step);
        steps.fold((0, 0), |(done, all), step| {
            let is_done = !matches!(step.state(), State::Waiting | State::Running);
            (done + usize::from(is_done), all + 1)
        })
    }

    /// The places of all of them in [`Watch::all`], each after those that it is made from.
    pub fn order(&self) -> Vec<usize> {
        let mut order = Vec::new();
        let mut seen = vec![false; self.vertices.len()];
        for first in 0..self.vertices.len() {
            // Inputs first: a vertex is put down when it is met the second time, after all below it.
            let mut open = vec![(first, false)];
            while let Some((at, below_done)) = open.pop() {
                if below_done {
                    order.push(at);
                    continue;
                }
                let Some(is_seen) = seen.get_mut(at).filter(|seen| !**seen) else { continue };
                *is_seen = true;
                open.push((at, true));
                let inputs = self.vertices.get(at).map(|watched| watched.inputs.as_slice()).unwrap_or_default();
                open.extend(inputs.iter().rev().filter_map(|input| Some((*self.known.get(input)?, false))));
            }
        }
        order
    }

    /// The steps of the build, each after those it is made from.
    pub fn steps(&self) -> Vec<&Watched> {
        let steps = self.order().into_iter().filter_map(|at| self.vertices.get(at));
        steps.filter(|watched| watched.kind == Kind::Step).collect()
    }

    /// From when to when it went.
    pub fn span(&self) -> Option<(Timestamp, Timestamp)> {
        let started = self.vertices.iter().filter_map(Watched::started).min()?;
        let completed = self.vertices.iter().filter_map(Watched::completed).max()?;
        Some((started, completed))
    }
}

fn cut(mut text: String) -> String {
    if text.len() > LONGEST_TEXT {
        let end = (0..=LONGEST_TEXT).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
        text.truncate(end);
    }
    text
}

#[cfg(test)]
mod tests;
