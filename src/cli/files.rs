//! `files`: what a layer holds.

use super::Command;
use super::failure::{Exit, Outcome};
use super::layer_choice::LayerChoice;
use super::list::ListArgs;
use super::output::{Cell, Column, Item, Section};
use super::session::Session;
use crate::model::files::{Entry, EntryKind, mode_string};
use crate::model::filter::{Field, FieldKind, Row, Value};
use crate::model::finding::Severity;
use crate::model::text;
use crate::model::units::{Bytes, count};
use crate::progress::Progress;
use clap::Parser;
use jiff::Timestamp;
use serde::{Serialize, Serializer};
use std::borrow::Cow;
use tokio::sync::mpsc;

/// List the files in a layer
///
/// Whiteouts (w) stand for what the layer deletes from those below it.
#[derive(Parser)]
#[command(after_help = "\
Fields to filter and sort by:
  path kind size mode uid gid age modified link

Examples:
  cachedeck files .buildx-cache '#3'
  cachedeck files .buildx-cache 4f7a1c --sort size -L 20
  cachedeck files .buildx-cache 4f7a1c --filter 'kind=whiteout'")]
pub(super) struct Files {
    #[command(flatten)]
    layer: LayerChoice,

    #[command(flatten)]
    list: ListArgs,
}

impl Command for Files {
    const NAME: &'static str = "files";

    fn run(self, session: &mut Session) -> Outcome {
        let mut selection = self.list.selection::<FileItem>(&mut session.out)?;
        let layer = self.layer.load(session)?;
        let progress = Progress::new();
        progress.expect(0, layer.bytes);
        let (sender, mut batches) = mpsc::channel::<Vec<Entry>>(8);
        let files = layer.files();
        let work = async {
            let collect = async {
                let mut items = Vec::new();
                while let Some(batch) = batches.recv().await {
                    items.extend(batch.into_iter().map(FileItem));
                }
                items
            };
            let (listing, items) = tokio::join!(files.list(&progress, sender), collect);
            Ok((listing?, items))
        };
        let (listing, items) = session.jobs.run("listing", &progress, work).map_err(|error| layer.failed(error))?;
        let finding = listing.ending.finding(&layer.digest);
        let bytes = items.iter().map(|file| file.0.size).fold(0, u64::saturating_add);
        let holds = format!("{}, {} unpacked", count(items.len(), "entry"), Bytes(bytes).show(session.out.look.sizes));
        let mut section = Section {
            location: Some(&layer.loaded.inventory.location),
            items,
            warnings: finding.iter().collect(),
            complete: listing.ending.is_complete(),
        };
        section.select(&mut selection, session.out.look.now);
        session.out.list("file-list", &[section], false)?;
        if session.out.is_chatty() {
            session.words.note(&holds);
        }
        let damaged = finding.is_some_and(|finding| finding.severity == Severity::Error);
        Ok(if damaged { Exit::Damage } else { Exit::Done })
    }
}

/// An entry of a layer.
pub(super) struct FileItem(pub(super) Entry);

impl FileItem {
    fn path(&self) -> Cow<'_, str> {
        lossy(&self.0.path)
    }

    fn link(&self) -> Option<Cow<'_, str>> {
        self.0.link.as_deref().map(lossy)
    }

    fn time(&self) -> Option<Timestamp> {
        Timestamp::from_second(self.0.mtime).ok()
    }
}

/// Names in tars are bytes. Those that are no text are shown as escapes, in JSON too.
pub(super) fn lossy(name: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(name) {
        Ok(name) => name.into(),
        Err(_) => text::safe_bytes(name),
    }
}

impl Serialize for FileItem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Fields<'a> {
            path: Cow<'a, str>,
            kind: EntryKind,
            mode: u32,
            uid: u32,
            gid: u32,
            bytes: u64,
            modified_at: Option<Timestamp>,
            link: Option<Cow<'a, str>>,
            device: Option<(u32, u32)>,
            xattrs: Vec<Cow<'a, str>>,
            number: u32,
        }
        let entry = &self.0;
        Fields {
            path: self.path(),
            kind: entry.kind,
            mode: entry.mode,
            uid: entry.uid,
            gid: entry.gid,
            bytes: entry.size,
            modified_at: self.time(),
            link: self.link(),
            device: entry.device,
            xattrs: entry.xattrs.iter().map(|name| lossy(name)).collect(),
            number: entry.number,
        }
        .serialize(serializer)
    }
}

impl Row for FileItem {
    fn fields() -> &'static [Field] {
        const FIELDS: &[Field] = &[
            Field::new("path", FieldKind::Text),
            Field::new("kind", FieldKind::Text),
            Field::new("size", FieldKind::Size).or(&["bytes"]),
            Field::new("mode", FieldKind::Text),
            Field::new("uid", FieldKind::Count),
            Field::new("gid", FieldKind::Count),
            Field::new("age", FieldKind::Time),
            Field::new("modified", FieldKind::Time).or(&["modified_at"]),
            Field::new("link", FieldKind::Text),
        ];
        FIELDS
    }

    fn field(&self, name: &str) -> Option<Value<'_>> {
        match name {
            "path" => Some(Value::Text(self.path())),
            "kind" => Some(Value::Text(Cow::Borrowed(self.0.kind.name()))),
            "size" => Some(Value::Size(self.0.size)),
            "mode" => Some(Value::Text(Cow::Owned(mode_string(self.0.kind, self.0.mode)))),
            "uid" => Some(Value::Count(self.0.uid.into())),
            "gid" => Some(Value::Count(self.0.gid.into())),
            "age" | "modified" => self.time().map(Value::Time),
            "link" => self.link().map(Value::Text),
            _ => None,
        }
    }

    fn text(&self) -> Cow<'_, str> {
        self.path()
    }
}

impl Item for FileItem {
    const TYPE: &'static str = "file";

    fn fields() -> &'static [Field] {
        <Self as Row>::fields()
    }

    fn row(&self) -> impl Row {
        self
    }

    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::words("MODE", |f: &Self| Cell::text(mode_string(f.0.kind, f.0.mode))),
            Column::words("UID:GID", |f: &Self| Cell::text(format!("{}:{}", f.0.uid, f.0.gid))).drop(1),
            Column::numbers("SIZE", |f: &Self| Cell::size((f.0.kind == EntryKind::File).then_some(f.0.size)))
                .field("bytes"),
            Column::numbers("AGE", |f: &Self| Cell::time(f.time())).wide().field("modified_at"),
            Column::words("PATH", |f: &Self| match f.link() {
                Some(link) => Cell::text(format!("{} -> {link}", f.path())),
                None => Cell::text(f.path()),
            })
            .cut_middle(),
        ]
    }
}
