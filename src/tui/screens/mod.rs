//! The screens, one file each. A new one is a file here, its name and its keys in `keys.rs`, and the line in `app.rs` that opens it.

pub mod blobs;
pub mod daemon;
pub mod diff;
pub mod files;
pub mod findings;
pub mod found;
pub mod gha;
pub mod home;
pub mod index;
pub mod jobs;
pub mod logs;
pub mod plan;
pub mod trash;

use crate::model::digest::Digest;
use crate::model::inventory::{CacheIndex, Inventory, State};
use crate::model::plan::Purpose;
use crate::model::text;
use crate::tui::keys::Action;
use crate::tui::screen::Look;
use crate::tui::shared::{Place, PlaceId, Shared, Target};
use crate::tui::widgets::cell::{Cell, Cut};
use crate::tui::widgets::textbox;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use serde_json::json;

/// What a version is called: its first tag, else that it has none and its digest. Safe.
pub fn version_name(index: &CacheIndex) -> String {
    match index.name() {
        Some(name) => text::safe(name).into_owned(),
        None if index.unread => "untagged".to_owned(),
        None => format!("untagged {}", &index.digest.short()[..6]),
    }
}

/// Signs of a version: its state, or that it is pinned, and whether it was chosen for removal.
pub fn kept(index: &CacheIndex, place: PlaceId, look: Look<'_>) -> Vec<Span<'static>> {
    let known = look.shared.places.get(place).and_then(|place| place.ledger.as_ref());
    let mut signs = match known.and_then(|ledger| ledger.pin_of(index)) {
        Some(_) => vec![Span::styled(look.glyphs.pinned, look.theme.pinned)],
        None => vec![look.state(version_state(index))],
    };
    let draft = look.shared.drafts.get(place, Purpose::Prune);
    if draft.is_some_and(|draft| draft.has_staged(index)) {
        signs.push(Span::styled("-", look.theme.missing));
    }
    signs
}

/// The state a version is in: live if a tag leads to it, missing if blobs of it are gone.
pub fn version_state(index: &CacheIndex) -> State {
    if index.is_dangling() { State::Dangling } else { State::Live }
}

/// Whether something is wrong with a version.
pub fn is_damaged(index: &CacheIndex) -> bool {
    !index.missing.is_empty() || !index.findings.is_empty()
}

/// The version in the same place that is next older than `target`.
pub fn previous(shared: &Shared, target: Target) -> Option<Target> {
    let place = shared.places.get(target.place)?;
    let time = place.index(&target.digest)?.time()?;
    let older = place.indexes().iter().filter(|i| i.cache.is_some() && i.time().is_some_and(|t| t < time));
    let index = older.max_by_key(|i| i.time())?;
    Some(Target { place: target.place, digest: index.digest })
}

/// Title of a location, safe.
pub fn place_title(shared: &Shared, place: PlaceId) -> String {
    shared.places.get(place).map(|p| p.location.title()).unwrap_or_default()
}

/// Splits `area` into a list and a preview beside it (wide) or below it (narrow), as far as there is room.
pub fn with_preview(area: Rect, size: (u16, u16), beside: u16) -> (Rect, Option<Rect>) {
    match size {
        (width, height) if width >= 100 && height >= 16 => {
            let beside = if width < 120 { beside.min(width * 3 / 10) } else { beside };
            let list = Rect { width: area.width - beside, ..area };
            (list, Some(Rect { x: list.right(), width: beside, ..area }))
        }
        (width, height) if width >= 60 && height >= 24 => {
            let below = if height >= 46 {
                height / 3
            } else if height >= 30 {
                8
            } else {
                6
            };
            let list = Rect { height: area.height - below, ..area };
            (list, Some(Rect { y: list.bottom(), height: below, ..area }))
        }
        _ => (area, None),
    }
}

/// What to say where a place has nothing to show: how it is being loaded, why it failed, what to do.
pub fn nothing_yet(shared: &Shared, place: Option<&Place>, id: PlaceId) -> Vec<String> {
    let Some(place) = place else {
        return vec!["no caches here yet: cachedeck demo shows one".into(), "a adds a location".into()];
    };
    if shared.jobs.get(crate::tui::shared::JobKind::Load, id).is_some() {
        return vec!["loading".into()];
    }
    if let Some(error) = &place.error {
        let mut lines = vec![text::safe(&error.to_string()).into_owned()];
        lines.extend(error.hint().map(|hint| text::safe(hint).into_owned()));
        lines.push("r tries again".into());
        return lines;
    }
    if place.stopped {
        return vec!["loading was stopped".into(), "r loads it again".into()];
    }
    vec!["no caches in here yet".into(), "a build with --cache-to makes one: yt copies the line".into()]
}

/// Copies that every version has in common.
pub fn yank_version(action: Action, shared: &Shared, target: Target) -> Option<String> {
    let place = shared.places.get(target.place)?;
    let index = place.index(&target.digest)?;
    let name = index.name();
    match action {
        Action::YankDigest => index.known_digest().map(|digest| digest.to_string()),
        Action::YankRef => Some(name.map_or_else(|| index.digest.to_string(), str::to_owned)),
        Action::YankFrom => {
            let line = place.location.cache_from(index.known_digest(), name).ok()?;
            Some(format!("--cache-from {}", text::shell_quote(&line)))
        }
        Action::YankTo => {
            let line = place.location.cache_to(name).ok()?;
            Some(format!("--cache-to {}", text::shell_quote(&line)))
        }
        Action::YankPath => blob_path(place, &index.digest),
        Action::YankJson => Some(pretty(&index_json(index))),
        _ => None,
    }
}

/// Where a blob lies on this machine, for local places.
pub fn blob_path(place: &Place, digest: &Digest) -> Option<String> {
    let local = place.location.local().ok()?;
    Some(format!("{}/blobs/sha256/{}", local.dir.trim_end_matches('/'), digest.hex()))
}

/// Copies that every blob has in common.
pub fn yank_blob(action: Action, shared: &Shared, target: Target) -> Option<String> {
    let place = shared.places.get(target.place)?;
    match action {
        Action::YankDigest => Some(target.digest.to_string()),
        Action::YankRef => Some(place.location.to_string()),
        Action::YankPath => blob_path(place, &target.digest),
        _ => None,
    }
}

/// A version in the fields that `cachedeck ls --json` has.
fn index_json(index: &CacheIndex) -> serde_json::Value {
    let summary = index.summary.as_ref();
    json!({
        "digest": index.known_digest(),
        "tags": index.tags,
        "form": index.form.map(|form| form.name()),
        "mode": summary.map(|s| s.mode.name()),
        "layers": summary.map(|s| s.layers),
        "unique_blobs": summary.map(|s| s.unique_blobs),
        "records": summary.map(|s| s.records),
        "sinks": summary.map(|s| s.sinks),
        "records_with_result": summary.map(|s| s.records_with_result),
        "min_bytes": summary.map(|s| s.min_bytes),
        "max_bytes": summary.map(|s| s.max_bytes),
        "exclusive_bytes": index.exclusive_bytes,
        "manifest_bytes": index.manifest_bytes,
        "created_at": index.created.map(|time| time.to_string()),
        "missing": index.missing,
    })
}

/// JSON as people read it.
pub fn pretty(value: &serde_json::Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

/// Bytes of `index`'s blobs that `other` reaches too.
pub fn shared_bytes(index: &CacheIndex, other: &CacheIndex) -> u64 {
    let has = |digest: &Digest| other.reach.binary_search_by(|r| r.digest.cmp(digest)).is_ok();
    index.reach.iter().filter(|r| has(&r.digest)).fold(0, |sum, r| sum.saturating_add(r.size))
}

/// Names of versions of the place that reach `digest`, at most `most`, and how many more there are.
pub fn used_by(inventory: &Inventory, digest: &Digest, most: usize) -> String {
    // How many there are is known: no need to look further once they are found.
    let all = inventory.blob(digest).map_or(0, |blob| blob.referrers as usize);
    let mut names: Vec<String> = inventory.referrers(digest).take(most.min(all)).map(version_name).collect();
    if all > most {
        names.push(format!("{} more", all - most));
    }
    if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
}

/// Cell of a version's name: its first tag and how many more there are, or that it has none.
pub fn name_cell<'a>(index: &'a CacheIndex, look: Look<'_>) -> Cell<'a> {
    match index.tags.as_slice() {
        [] => Cell::text(look.dim("untagged")),
        [tag] => Cell::name(text::safe(tag)),
        [tag, more @ ..] => {
            Cell::of(vec![Span::raw(text::safe(tag)), look.dim(format!(" +{}", more.len()))], 0, Cut::Middle)
        }
    }
}

/// A digest in its own words, wrapped to `width`.
pub fn digest_lines(label: &str, digest: &Digest, width: usize, look: Look<'_>) -> Vec<Line<'static>> {
    let room = width.saturating_sub(9).max(12);
    let lines = textbox::wrap(&digest.to_string(), room);
    lines.into_iter().enumerate().map(|(at, l)| look.fact(if at == 0 { label } else { "" }, vec![l.into()])).collect()
}

/// Words under a label, wrapped to `width`.
pub fn wrapped(label: &str, words: &str, width: usize, look: Look<'_>) -> Vec<Line<'static>> {
    let lines = textbox::wrap(words, width.saturating_sub(9).max(8));
    lines.into_iter().enumerate().map(|(at, l)| look.fact(if at == 0 { label } else { "" }, vec![l.into()])).collect()
}
