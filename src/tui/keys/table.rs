//! The binding table. One line an action; everything else that knows keys reads it.

use super::{Action, View, Views};
use Action as A;
use View as V;

/// One action: its name, its keys, where it exists and how it is explained.
#[derive(Debug)]
pub struct Binding {
    /// What it does.
    pub action: Action,
    /// Its name in the config, the palette and help.
    pub name: &'static str,
    /// Its keys unless the user changed them.
    pub keys: &'static [&'static str],
    /// Where it exists.
    pub views: Views,
    /// The word in the footer; empty if it is not shown there.
    pub word: &'static str,
    /// One line for help and palette.
    pub help: &'static str,
}

impl Binding {
    /// The line for help and palette in `view`: what the action means there.
    pub fn help_in(&self, view: View) -> &'static str {
        let special = SPECIAL.iter().find(|(action, there, _)| *action == self.action && *there == view);
        special.map_or(self.help, |(.., help)| help)
    }
}

/// What actions mean in one view, where the table's own line is general.
pub const SPECIAL: &[(Action, View, &str)] = &[
    (A::Open, V::Locations, "go to its versions, or to what a builder holds"),
    (A::Open, V::Indexes, "open this version: its layers, graph, records, documents"),
    (A::Open, V::Versions, "open that version"),
    (A::Open, V::Daemon, "why this record is kept, or all about this build"),
    (A::Info, V::Daemon, "why this record is kept, or all about this build"),
    (A::Kinds, V::Daemon, "records that are reclaimable, in use or shared, or builds that failed, only"),
    (A::YankPath, V::Daemon, "copy the id"),
    (A::Toggle, V::Indexes, "tagged versions only, or all"),
    (A::Toggle, V::Layers, "the chain of this layer below, or all chains"),
    (A::Toggle, V::Graph, "the chain of this one alone, or the whole graph"),
    (A::Toggle, V::Files, "what this layer holds, or merged with those below it"),
    (A::Toggle, V::Blobs, "bars against the largest, or against the total"),
    (A::Toggle, V::Diff, "layers or records"),
    (A::Kinds, V::Indexes, "tagged, untagged or damaged versions only"),
    (A::Kinds, V::Graph, "the graph of layers, or of records"),
    (A::Kinds, V::Files, "added, changed or deleted files only"),
    (A::Kinds, V::Blobs, "one state only: live, dangling, orphan, missing, damaged"),
    (A::Kinds, V::Diff, "what was added, removed or changed, or all"),
    (A::Kinds, V::Findings, "errors, warnings or notes only"),
    (A::Kinds, V::Gha, "blobs, indexes or everybody else's entries only"),
    (A::Kinds, V::Logs, "what was done, notes or failures only"),
    (A::Find, V::Raw, "find in the text"),
    (A::Find, V::Logs, "find in the text"),
    (A::Find, V::Graph, "find by step, number or digest"),
    (A::Undo, V::Trash, "bring back what this run hid, and the names it took away"),
    (A::Undo, V::Plan, "take the last change of the policy or of a row back"),
    (A::Edit, V::Plan, "give the rule another value; of a repair, choose where to fetch what is missing"),
    (A::Undo, V::Jobs, "take back what this job changed"),
    (A::Interrupt, V::Jobs, "stop this job once its current step is done; quit if nothing runs"),
    (A::Export, V::Plan, "write the plan to a file that `cachedeck apply` takes"),
    (A::Open, V::Plan, "which blobs and names this row is about, or another value for this rule"),
    (A::Info, V::Plan, "why this row stays or goes, or what this rule means"),
    (A::Open, V::Jobs, "all about this job"),
    (A::Open, V::Trash, "all about this run"),
    (A::Kinds, V::Plan, "only what goes, or only what stays"),
    (A::Kinds, V::Trash, "only runs that hide something, or all that are remembered"),
    (A::Back, V::Locations, "quit"),
    (A::Back, V::Indexes, "quit"),
];

const ALL: Views = Views::ALL;
/// Everything that has rows and columns.
const TABLES: Views = ALL.but(&[V::Raw, V::Logs]);
/// Views with tabs.
const TABS: Views = Views::of(&[V::Layers, V::Graph, V::Records, V::Raw, V::Versions, V::Daemon]);
/// Where rows can be marked.
const MARKS: Views = Views::of(&[V::Indexes, V::Layers, V::Records, V::Versions, V::Files, V::Blobs]);
/// Where rows have a parent and children.
const TREES: Views = Views::of(&[V::Graph, V::Raw, V::Files]);
/// Where the row under the cursor has a digest.
const DIGESTS: Views = ALL.but(&[V::Locations, V::Logs, V::Jobs, V::Trash]);
/// Where the row under the cursor is a whole index.
const WHOLE: Views = Views::of(&[V::Indexes, V::Versions]);
/// Everything of one index.
const OF_INDEX: Views = Views::of(&[V::Indexes, V::Layers, V::Graph, V::Records, V::Raw, V::Versions]);
/// Everything of one location.
const OF_LOCATION: Views = ALL.but(&[V::Logs, V::Diff, V::Jobs]);
/// Where what is chosen by hand can be taken back.
const STAGES: Views = Views::of(&[V::Indexes, V::Versions, V::Plan]);
/// Where something can be taken back at all.
const UNDOES: Views = Views::of(&[V::Indexes, V::Versions, V::Plan, V::Trash, V::Jobs]);

const fn b(
    action: Action,
    name: &'static str,
    keys: &'static [&'static str],
    views: Views,
    words: (&'static str, &'static str),
) -> Binding {
    Binding { action, name, keys, views, word: words.0, help: words.1 }
}

/// Every action there is. The order is that of the footer and of help: what is special to a screen first.
pub const BINDINGS: &[Binding] = &[
    b(A::Open, "open", &["enter"], ALL.but(&[V::Raw, V::Logs]), ("open", "open what the cursor is on")),
    b(
        A::Flip,
        "flip",
        &["space"],
        Views::of(&[V::Plan]),
        ("flip", "let the row stay or go; switch the rule on or off"),
    ),
    b(A::Edit, "edit", &["e"], Views::of(&[V::Plan]), ("edit", "give the rule another value")),
    b(
        A::Apply,
        "apply",
        &["A"],
        Views::of(&[V::Plan]),
        ("apply..", "apply the plan, once its location's name is typed"),
    ),
    b(A::Empty, "empty-trash", &["E"], Views::of(&[V::Trash]), ("empty..", "free what this run hid, for good")),
    b(A::NextTab, "next-tab", &["]"], TABS, ("tabs", "next tab")),
    b(A::PrevTab, "previous-tab", &["["], TABS, ("", "previous tab")),
    b(A::Mark, "mark", &["space"], MARKS, ("mark", "mark the row and step down")),
    b(A::Range, "range", &["v"], MARKS, ("", "begin or end a range of marks")),
    b(A::MarkAll, "mark-all", &["*"], MARKS, ("", "mark all rows shown, or none")),
    b(A::Invert, "invert", &[], MARKS, ("", "mark what is not marked, and the other way round")),
    b(
        A::Stage,
        "stage",
        &["d"],
        WHOLE,
        ("stage", "choose the version for removal, or not after all; nothing is removed yet"),
    ),
    b(
        A::Retry,
        "retry",
        &["A"],
        Views::of(&[V::Jobs]),
        ("again", "try this job again: what was done is not done twice"),
    ),
    b(A::Undo, "undo", &["u"], UNDOES, ("undo", "take the last choice back")),
    b(A::Redo, "redo", &["U"], STAGES, ("", "make the choice again that was taken back")),
    b(A::Pin, "pin", &["p"], WHOLE, ("pin", "keep the version under a name of its own, or no longer")),
    b(
        A::Plan,
        "plan",
        &["P", "g p"],
        OF_LOCATION.but(&[V::Plan]),
        ("prune", "plan what pruning would take away here; nothing is removed yet"),
    ),
    b(A::Repair, "repair", &["F"], Views::of(&[V::Findings]), ("repair", "plan how to mend what is broken here")),
    b(A::Find, "find", &["/"], ALL, ("filter", "filter a list, find in a text")),
    b(
        A::Copy,
        "copy",
        &["c"],
        OF_INDEX,
        ("copy", "copy it, or what is marked, to another place; shows what that sends first"),
    ),
    b(A::Build, "build", &["b"], OF_INDEX, ("build", "build with this cache; shows the command first")),
    b(
        A::Toggle,
        "toggle",
        &["t"],
        Views::of(&[V::Layers, V::Graph, V::Files, V::Diff, V::Indexes, V::Blobs]),
        ("layout", "toggle the layout: flat or tree, chain or whole graph, this layer or merged, files"),
    ),
    b(
        A::Kinds,
        "kinds",
        &["T"],
        Views::of(&[
            V::Indexes,
            V::Graph,
            V::Files,
            V::Blobs,
            V::Diff,
            V::Findings,
            V::Logs,
            V::Gha,
            V::Daemon,
            V::Plan,
            V::Trash,
        ]),
        ("kinds", "show one kind only: states, layers or records, added or deleted files, log levels"),
    ),
    b(A::SetBase, "set-base", &["m"], WHOLE, ("base", "make this the base of comparisons")),
    b(A::Diff, "diff", &["D"], OF_INDEX, ("diff", "compare with the base, or with the version before")),
    b(
        A::Export,
        "export",
        &["x"],
        Views::of(&[
            V::Layers,
            V::Graph,
            V::Records,
            V::Raw,
            V::Files,
            V::Blobs,
            V::Diff,
            V::Findings,
            V::Found,
            V::Logs,
            V::Plan,
            V::Jobs,
            V::Trash,
        ]),
        ("export", "extract a file or layer into a folder, or write what is shown to a file"),
    ),
    b(
        A::Pager,
        "pager",
        &["o"],
        Views::of(&[
            V::Layers,
            V::Records,
            V::Raw,
            V::Files,
            V::Blobs,
            V::Diff,
            V::Findings,
            V::Found,
            V::Logs,
            V::Gha,
            V::Daemon,
            V::Plan,
            V::Jobs,
            V::Trash,
        ]),
        ("pager", "show it in $PAGER"),
    ),
    b(
        A::Verify,
        "verify",
        &["V"],
        OF_LOCATION.but(&[V::Findings, V::Daemon, V::Plan, V::Trash]),
        ("verify", "verify: that blobs exist, their sizes, or their full digests"),
    ),
    b(A::Info, "info", &["i"], TABLES, ("info", "everything known about the row: who refers to it, why it is here")),
    b(A::Sort, "sort", &["s"], TABLES.but(&[V::Graph]), ("sort", "choose the column to sort by")),
    b(A::Reverse, "reverse", &["S"], TABLES.but(&[V::Graph]), ("", "reverse the order")),
    b(A::YankDigest, "yank-digest", &["y d"], DIGESTS, ("yank", "copy the digest")),
    b(A::YankRef, "yank-ref", &["y r"], OF_LOCATION, ("", "copy the location or tag")),
    b(A::YankFrom, "yank-cache-from", &["y f"], OF_INDEX, ("", "copy the --cache-from line")),
    b(A::YankTo, "yank-cache-to", &["y t"], OF_INDEX, ("", "copy the --cache-to line")),
    b(A::YankPath, "yank-path", &["y p"], ALL.but(&[V::Logs]), ("", "copy the path")),
    b(A::YankJson, "yank-json", &["y j"], ALL, ("", "copy the row as JSON")),
    b(A::YankCommand, "yank-command", &["y c"], ALL, ("", "copy the command for what is on screen")),
    b(
        A::AddLocation,
        "add-location",
        &["a"],
        Views::of(&[V::Locations, V::Indexes]),
        ("add", "add a location for this session"),
    ),
    b(A::Freeze, "freeze", &["f"], ALL, ("", "freeze what is shown, or follow again")),
    b(A::FindNext, "find-next", &["n"], ALL, ("", "next match")),
    b(A::FindPrev, "find-previous", &["N"], ALL, ("", "previous match")),
    b(A::Left, "left", &["h", "left"], ALL, ("", "fold, or go to the parent; scroll text left")),
    b(A::Right, "right", &["l", "right"], ALL, ("", "unfold, or enter; scroll text right")),
    b(A::FoldAll, "fold-all", &["-"], TREES, ("fold", "fold everything")),
    b(A::UnfoldAll, "unfold-all", &["="], TREES, ("", "unfold everything")),
    b(A::Back, "back", &["q"], ALL, ("back", "go back; on the first screen, quit")),
    b(A::Jump, "jump", &[";"], ALL, ("jump", "jump to any tag or digest in any location")),
    b(A::Palette, "palette", &[":"], ALL, ("command", "every action by name")),
    b(A::Help, "help", &["?", "f1"], ALL, ("help", "the keys that work here")),
    b(A::Command, "command", &["@"], ALL, ("", "show what is on screen as a command")),
    b(A::Down, "down", &["j", "down"], ALL, ("", "down")),
    b(A::Up, "up", &["k", "up"], ALL, ("", "up")),
    b(A::Top, "top", &["g g", "home"], ALL, ("", "to the top")),
    b(A::Bottom, "bottom", &["G", "end"], ALL, ("", "to the bottom")),
    b(A::HalfDown, "half-down", &["ctrl+d"], ALL, ("", "half a page down")),
    b(A::HalfUp, "half-up", &["ctrl+u"], ALL, ("", "half a page up")),
    b(A::PageDown, "page-down", &["pgdn", "ctrl+f"], ALL, ("", "a page down")),
    b(A::PageUp, "page-up", &["pgup", "ctrl+b"], ALL, ("", "a page up")),
    b(A::PreviewDown, "preview-down", &["J"], ALL.but(&[V::Raw, V::Logs]), ("", "scroll the preview down")),
    b(A::PreviewUp, "preview-up", &["K"], ALL.but(&[V::Raw, V::Logs]), ("", "scroll the preview up")),
    b(A::Zoom, "zoom", &["z", "+"], ALL, ("", "give the pane the whole screen, or back")),
    b(A::Unzoom, "unzoom", &["_"], ALL, ("", "give the other panes their place back")),
    b(A::NextPane, "next-pane", &["tab"], ALL, ("", "next pane")),
    b(A::PrevPane, "previous-pane", &["shift+tab"], ALL, ("", "previous pane")),
    b(A::Pane(1), "pane-1", &["1"], ALL, ("", "first pane")),
    b(A::Pane(2), "pane-2", &["2"], ALL, ("", "second pane")),
    b(A::Pane(3), "pane-3", &["3"], ALL, ("", "third pane")),
    b(A::HistoryBack, "history-back", &["H"], ALL, ("", "back to the screen before")),
    b(A::HistoryForward, "history-forward", &["L"], ALL, ("", "forward again")),
    b(A::GoLocations, "go-locations", &["g l"], ALL, ("", "go to the locations")),
    b(A::GoIndexes, "go-indexes", &["g i"], ALL, ("", "go to the indexes")),
    b(A::GoBlobs, "go-blobs", &["g b"], ALL, ("", "go to the blobs of this location")),
    b(A::GoFindings, "go-findings", &["g v"], ALL, ("", "go to what verifying found")),
    b(A::GoGha, "go-gha", &["g a"], ALL, ("", "go to all caches of this GitHub repository, and its quota")),
    b(A::GoDaemon, "go-daemon", &["g d"], ALL, ("", "go to what a builder holds, why, and its builds")),
    b(A::GoJobs, "go-jobs", &["w", "g w"], ALL.but(&[V::Jobs]), ("", "go to what runs, waits and was done")),
    b(
        A::GoTrash,
        "go-trash",
        &["g t"],
        OF_LOCATION.but(&[V::Trash]),
        ("", "go to what changes of this location hid, and undo them"),
    ),
    b(A::GoPins, "go-pins", &["g P"], OF_LOCATION, ("", "list the pins of this location")),
    b(A::FindFile, "find-file", &["g f"], OF_LOCATION, ("", "find a file in all layers")),
    b(A::GoLogs, "go-logs", &["g L"], ALL, ("", "go to the log")),
    b(A::Refresh, "refresh", &["r"], OF_LOCATION, ("", "load this location again")),
    b(A::RefreshAll, "refresh-all", &["R", "f5"], ALL, ("", "load everything again")),
    b(A::Escape, "escape", &["esc"], ALL, ("", "stop loading, clear the filter, clear the marks; never quits")),
    b(A::Theme, "theme", &[], ALL, ("", "next colour theme")),
    b(A::Tour, "tour", &[], ALL, ("", "the five lines shown on the first start")),
    b(A::Redraw, "redraw", &["ctrl+l"], ALL, ("", "draw everything anew")),
    b(A::Suspend, "suspend", &["ctrl+z"], ALL, ("", "suspend; `fg` in the shell comes back")),
    b(A::Interrupt, "interrupt", &["ctrl+c"], ALL, ("", "stop what is running; quit if nothing is")),
    b(A::Quit, "quit", &["Q"], ALL, ("", "quit now; asks while a cache is being changed")),
];
