//! What there is to choose in palette, help, jump and the menus that every screen has, and the tour.

use super::App;
use super::boxes::Modal;
use crate::model::digest::Digest;
use crate::model::text;
use crate::ops::verify::Level;
use crate::tui::keys::{Action, Binding};
use crate::tui::screen::{Answer, Jump, bytes, shell};
use crate::tui::shared::Target;
use crate::tui::theme;
use crate::tui::widgets::picker::{Choice, Picker};
use ratatui::text::{Line, Span};
use std::collections::HashSet;

/// Blobs offered by jump, beside versions; more would make typing slow.
const JUMP_BLOBS: usize = 200_000;

fn choice(name: impl Into<String>, detail: impl Into<String>, key: impl Into<String>, value: Answer) -> Choice<Answer> {
    Choice { name: name.into(), detail: detail.into(), key: key.into(), also: "", value }
}

impl App {
    fn keys_shown(&self, action: Action) -> String {
        let keys = self.keymap.keys_of(self.top().view(), action);
        keys.iter().map(|chord| chord.short()).collect::<Vec<_>>().join(" ")
    }

    fn here(&self) -> impl Iterator<Item = &'static Binding> {
        self.keymap.bindings(self.top().view())
    }

    pub(super) fn palette(&self) -> Modal {
        let view = self.top().view();
        let choices =
            self.here().map(|b| choice(b.name, b.help_in(view), self.keys_shown(b.action), Answer::Act(b.action)));
        let mut choices: Vec<_> = choices.collect();
        let themes = theme::NAMES.iter();
        choices.extend(themes.map(|name| choice(format!("theme {name}"), "colours", "", Answer::Theme(name))));
        Modal::Pick(Box::new(Picker::searching("command", choices)))
    }

    pub(super) fn help(&self) -> Modal {
        let view = self.top().view();
        let keyed = self.here().filter(|b| !self.keymap.keys_of(view, b.action).is_empty());
        let choices = keyed.map(|b| Choice {
            also: b.name,
            ..choice(self.keys_shown(b.action), b.help_in(view), "", Answer::Act(b.action))
        });
        let choices = choices.collect();
        let title = format!("keys on {} · type to search, enter runs", view.name());
        Modal::Pick(Box::new(Picker::searching(title.replace('·', self.glyphs.dot), choices)))
    }

    pub(super) fn levels(&self) -> Modal {
        let level = |name: &str, detail: &str, key, level| choice(name, detail, key, Answer::Verify(level));
        let choices = vec![
            level("exists", "every blob that a version needs is there", "e", Level::Exists),
            level("size", "and is as long as its manifests say", "s", Level::Size),
            level("digest", "and hashes to its name: reads everything", "d", Level::Digest),
        ];
        Modal::Pick(Box::new(Picker::menu("verify", choices)))
    }

    pub(super) fn jump(&self) -> Modal {
        let mut choices = Vec::new();
        for (id, place) in self.shared.places.iter().enumerate() {
            let title = place.location.title();
            choices.push(choice(title.clone(), "location", "", Answer::Jump(Jump::Place(id))));
            for index in place.indexes() {
                let target = Target { place: id, digest: index.digest };
                let size = index.summary.as_ref().map(|s| bytes(s.max_bytes, &self.shared)).unwrap_or_default();
                let names: Vec<_> = index.tags.iter().map(|tag| text::safe(tag)).collect();
                let name = if names.is_empty() { "untagged".to_owned() } else { names.join(" ") };
                let detail = format!("{}  {size}  {title}", index.short());
                choices.push(choice(name, detail, "", Answer::Jump(Jump::Index(target))));
            }
        }
        for (id, place) in self.shared.places.iter().enumerate() {
            let title = place.location.title();
            let versions: HashSet<Digest> = place.indexes().iter().map(|index| index.digest).collect();
            let blobs = place.inventory.iter().flat_map(|inventory| &inventory.blobs);
            for blob in
                blobs.filter(|blob| !versions.contains(&blob.digest)).take(JUMP_BLOBS.saturating_sub(choices.len()))
            {
                let target = Target { place: id, digest: blob.digest };
                let detail = format!("{} {} blob  {title}", blob.state.name(), blob.role.name());
                choices.push(choice(blob.digest.short(), detail, "", Answer::Jump(Jump::Blob(target))));
            }
        }
        Modal::Pick(Box::new(Picker::searching("jump to", choices)))
    }

    pub(super) fn command(&self) -> Modal {
        let command = shell(&self.top().command(&self.shared));
        let mut lines =
            vec![Line::from(Span::styled("the same on the command line:", self.theme.dim)), Line::default()];
        lines.push(Line::from(command.clone()));
        let modal = Modal::text("command", lines);
        if let Modal::Read(mut reading) = modal {
            reading.copies = Some(command);
            return Modal::Read(reading);
        }
        modal
    }

    pub(super) fn tour(&self) -> Modal {
        let key = |k: &'static str| Span::styled(k, self.theme.key);
        let line = |parts: Vec<Span<'static>>| Line::from(parts);
        let glyphs = self.glyphs;
        let sign = |s: &'static str, style| Span::styled(s, style);
        let lines = vec![
            line(vec![
                "each row is a version of a cache: ".into(),
                sign(glyphs.live, self.theme.live),
                " has a tag, ".into(),
                sign(glyphs.dangling, self.theme.dangling),
                " lost it but is still there".into(),
            ]),
            line(vec![key("enter"), " goes into it: layers, graph, records, then the files of a layer".into()]),
            line(vec![
                key("q"),
                " goes back, ".into(),
                key("/"),
                " filters, ".into(),
                key("space"),
                " marks, ".into(),
                key("s"),
                " sorts".into(),
            ]),
            line(vec![
                key("yf"),
                " copies the --cache-from line for a version, ".into(),
                key("D"),
                " shows what grew".into(),
            ]),
            line(vec![key("?"), " lists the keys that work where you are; no single key changes a cache".into()]),
        ];
        Modal::text("welcome", lines)
    }
}
