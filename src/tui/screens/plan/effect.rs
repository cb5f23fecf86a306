//! What a plan comes to, in lines: how much stays, when space is freed, what can be undone, and why it is not applied.

use super::policy::duration;
use crate::model::plan::{Fate, Plan, Purpose, Subject, Undo};
use crate::model::text;
use crate::tui::screen::{Look, count, shell};
use crate::tui::widgets::bar::bar;
use ratatui::text::{Line, Span};

/// How many versions go and stay, and how many blobs go.
pub(super) struct Tally {
    pub(super) go: usize,
    pub(super) stay: usize,
    pub(super) blobs: usize,
    names: usize,
    leftovers: usize,
}

pub(super) fn tally(plan: &Plan) -> Tally {
    use crate::model::plan::Step;
    let versions = |fate: Fate| {
        let all = plan.rows.iter().filter(|row| row.subject == Subject::Version);
        all.filter(|row| row.fate == fate).count()
    };
    let steps = |is: fn(&Step) -> bool| plan.steps.iter().filter(|step| is(step)).count();
    Tally {
        go: versions(Fate::Remove),
        stay: versions(Fate::Keep),
        blobs: plan.targets().count(),
        names: steps(crate::model::run::is_about_names),
        leftovers: steps(|step| matches!(step, Step::Discard { .. })),
    }
}

/// What the plan takes away, in a few words.
pub(super) fn goes(plan: &Plan) -> String {
    let tally = tally(plan);
    let mut parts = Vec::new();
    let mut add = |n: usize, word: &str| {
        if n > 0 {
            parts.push(count(n, word));
        }
    };
    add(tally.go, "version");
    add(tally.blobs, "blob");
    if plan.purpose != Purpose::Prune {
        add(tally.names, "name");
    }
    add(tally.leftovers, "unfinished upload");
    if parts.is_empty() { "nothing".to_owned() } else { parts.join(", ") }
}

/// When space is freed, and until when all can come back.
pub(super) fn settling(plan: &Plan) -> String {
    let promise = &plan.promise;
    let settle = duration(promise.settle);
    let hides = plan.targets().next().is_some();
    let when = match (hides, promise.settle.is_zero()) {
        (false, _) => String::new(),
        (true, true) => "freed at once; ".to_owned(),
        (true, false) => format!("hidden at once, freed {settle} later; "),
    };
    let undo = match &promise.undo {
        Undo::UntilFreed if hides && promise.settle.is_zero() => "there is no undo".to_owned(),
        Undo::UntilFreed => "undo brings it back until then".to_owned(),
        Undo::UntilCollected(why) | Undo::Never(why) => text::safe(why).into_owned(),
    };
    format!("{when}{undo}")
}

/// The lines of the pane, each at most as long as it likes.
pub(super) fn lines(plan: &Plan, command: &[String], width: usize, look: Look<'_>) -> Vec<Line<'static>> {
    let (theme, glyphs) = (look.theme, look.glyphs);
    let mut lines = Vec::new();
    let cells = (width.saturating_sub(60)).clamp(10, 60) as u16;
    let size = |bytes: u64| text::pad_left(&look.bytes(bytes), 10).to_string();
    let mut before = vec![Span::raw(size(plan.before)), Span::raw("  ")];
    before.extend(bar(plan.before, plan.before, cells, theme, glyphs));
    lines.push(look.fact("before", before));
    let mut after = vec![Span::raw(size(plan.after())), Span::raw("  ")];
    after.extend(bar(plan.after(), plan.before, cells, theme, glyphs));
    let most = if plan.promise.exact { "" } else { "at most " };
    after.push(Span::raw("  frees "));
    after.push(Span::styled(format!("{most}{}", look.bytes(plan.frees)), theme.strong));
    lines.push(look.fact("after", after));
    lines.push(look.fact("goes", vec![Span::raw(goes(plan))]));
    for why in &plan.refused {
        let words = format!("{} {}", glyphs.missing, text::safe(why));
        lines.push(look.fact("refused", vec![Span::styled(words, theme.missing)]));
    }
    if !plan.is_empty() {
        lines.push(look.fact("when", vec![Span::raw(settling(plan))]));
        if !plan.promise.grace.is_zero() {
            let grace = duration(plan.promise.grace);
            lines.push(look.fact("grace", vec![Span::raw(format!("what is younger than {grace} stays"))]));
        }
    }
    for warning in &plan.warnings {
        let words = format!("{} {}", glyphs.finding, text::safe(warning));
        lines.push(look.fact("note", vec![Span::styled(words, theme.finding)]));
    }
    for caveat in &plan.promise.caveats {
        lines.push(look.fact("note", vec![Span::raw(text::safe(caveat).into_owned())]));
    }
    lines.push(look.fact("command", vec![Span::styled(shell(command), theme.dim)]));
    lines
}
