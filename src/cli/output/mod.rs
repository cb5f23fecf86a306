//! The only place of the command line that prints. Data goes to stdout, words to stderr; both through here, so that no
//! text from outside reaches a terminal unescaped.

mod escape;
mod json;
mod paint;
mod sink;
mod table;
mod template;
mod words;

pub(super) use json::Place;
pub(super) use paint::Tone;
pub(super) use table::{Cell, Column, Table, Value};
pub(super) use words::Words;

use super::failure::{Outcome, Stop};
use crate::error::{Error, Result};
use crate::model::filter::{Field, Row};
use crate::model::finding::Finding;
use crate::model::location::Location;
use crate::model::text;
use crate::model::units::SizeStyle;
use escape::JsonSafe;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Map;
use std::io::{self, BufWriter, IsTerminal as _, Stdout, Write};
use template::Template;

/// How values look.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    /// Whether colours are wanted on stdout.
    pub(super) colour: bool,
    /// Whether to stay with ASCII where we choose the characters.
    pub(super) ascii: bool,
    /// Whether digests and texts are shown whole.
    pub(super) whole: bool,
    /// How sizes are shown.
    pub(super) sizes: SizeStyle,
    /// The time that ages are counted from.
    pub(super) now: Timestamp,
}

impl Look {
    fn ellipsis(&self) -> &'static str {
        if self.ascii { text::ELLIPSIS_ASCII } else { text::ELLIPSIS }
    }
}

/// What the data is written as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// Columns for people.
    Table,
    /// All columns there are.
    Wide,
    /// Tab-separated plain values.
    Tsv,
    /// One object.
    Json,
    /// One object a line.
    Jsonl,
    /// A line an item.
    Template(Template),
}

impl Format {
    /// Reads the value of `--format`.
    pub(super) fn parse(given: &str) -> Result<Self> {
        Ok(match given {
            "table" => Format::Table,
            "wide" => Format::Wide,
            "tsv" => Format::Tsv,
            "json" => Format::Json,
            "jsonl" => Format::Jsonl,
            template if template.contains("{{") => Format::Template(Template::parse(template)?),
            other => {
                let error = Error::invalid(format!("no output format {}", text::safe(other)));
                return Err(error.with_hint("formats: table, wide, tsv, json, jsonl, or a template like '{{.digest}}'"));
            }
        })
    }
}

/// Something of which there are lists: it can be filtered, has columns and is an object in JSON.
pub(super) trait Item: Serialize {
    /// The `type` of its lines in JSON lines.
    const TYPE: &'static str;

    /// The fields it is filtered and sorted by.
    fn fields() -> &'static [Field];

    /// Itself as filters see it.
    fn row(&self) -> impl Row;

    /// Its columns; the order is that of the table.
    fn columns() -> Vec<Column<Self>>
    where
        Self: Sized;
}

/// What is listed of one location.
pub(super) struct Section<'a, T> {
    /// Where, unless it is of no place.
    pub(super) location: Option<&'a Location>,
    /// What is listed.
    pub(super) items: Vec<T>,
    /// What is wrong there.
    pub(super) warnings: Vec<&'a Finding>,
    /// Whether this is all there is.
    pub(super) complete: bool,
}

/// Where data goes, and how it is written.
pub(super) struct Output {
    out: BufWriter<Stdout>,
    /// How it is written.
    pub(super) format: Format,
    /// The only fields wanted in JSON, in this order.
    pub(super) fields: Vec<String>,
    /// How values look.
    pub(super) look: Look,
    /// Whether stdout is a terminal.
    pub(super) terminal: bool,
    /// Cells a line may take.
    width: Option<usize>,
    /// What is said beside the data.
    pub(super) words: Words,
}

impl Output {
    /// Writes to stdout.
    pub(super) fn new(format: Format, look: Look, words: Words) -> Self {
        let stdout = io::stdout();
        let terminal = stdout.is_terminal();
        let width = if terminal { terminal_width() } else { None };
        Self {
            out: BufWriter::with_capacity(64 << 10, stdout),
            format,
            fields: Vec::new(),
            look,
            terminal,
            width,
            words,
        }
    }

    /// Whether the data is JSON of either sort.
    pub(super) fn is_json(&self) -> bool {
        matches!(self.format, Format::Json | Format::Jsonl)
    }

    /// Whether words beside the data make sense: somebody looks at a table.
    pub(super) fn is_chatty(&self) -> bool {
        self.terminal && matches!(self.format, Format::Table | Format::Wide)
    }

    /// Writes a list in the format asked for. `several` says that more than one location was asked for, and then items
    /// say where they are. Findings are part of the JSON; otherwise they become words.
    pub(super) fn list<T: Item>(&mut self, schema: &str, sections: &[Section<'_, T>], several: bool) -> Outcome<()> {
        self.list_with(schema, Map::new(), sections, several)
    }

    /// As [`Output::list`], with more fields beside the items in a JSON object.
    pub(super) fn list_with<T: Item>(
        &mut self,
        schema: &str,
        facts: Map<String, serde_json::Value>,
        sections: &[Section<'_, T>],
        several: bool,
    ) -> Outcome<()> {
        if let Some(item) = sections.iter().find_map(|section| section.items.first()) {
            // A mistake in the fields is told before anything is written.
            json::pick(json::value(item, sections.iter().find_map(|s| s.location).filter(|_| several))?, &self.fields)?;
        }
        match &self.format {
            Format::Json => {
                let fields = self.fields.clone();
                let envelope = json::Envelope::new(schema, sections, several, &fields).with(facts);
                return self.json(&envelope);
            }
            Format::Jsonl => return self.json_lines(sections, several),
            Format::Template(template) => {
                let template = template.clone();
                for section in sections {
                    for item in &section.items {
                        let value = json::value(item, section.location.filter(|_| several))?;
                        let line = template.line(&value, &self.look)?;
                        self.line(&line)?;
                    }
                }
            }
            Format::Table | Format::Wide | Format::Tsv => {
                let rows: Vec<&T> = sections.iter().flat_map(|section| &section.items).collect();
                let mut table = Table::new(&T::columns(), &rows, self.format != Format::Table);
                if several {
                    let titles = sections.iter().flat_map(|section| {
                        let title = section.location.map(Location::title).unwrap_or_default();
                        section.items.iter().map(move |_| title.clone())
                    });
                    table = table.prefixed("LOCATION", titles);
                }
                self.table(&table)?;
            }
        }
        self.flush()?;
        for section in sections {
            section
                .warnings
                .iter()
                .for_each(|finding| self.words.finding(finding, section.location.filter(|_| several)));
        }
        Ok(())
    }

    /// Writes a table, or TSV if that is asked for.
    pub(super) fn table(&mut self, table: &Table) -> Outcome<()> {
        let lines = match self.format {
            Format::Tsv => table.tsv(),
            // Who asks for all there is gets it, and the terminal breaks the lines.
            Format::Wide => table.lines(&self.look, None),
            _ => table.lines(&self.look, self.width.filter(|_| !self.look.whole)),
        };
        lines.iter().try_for_each(|line| self.line(line))
    }

    fn json_lines<T: Item>(&mut self, sections: &[Section<'_, T>], several: bool) -> Outcome<()> {
        let fields = self.fields.clone();
        for section in sections {
            for line in json::lines(section, several, &fields) {
                let line = line?;
                self.json_line(&line)?;
            }
        }
        self.flush()
    }

    /// Writes `value` as JSON and a line break: over several lines on a terminal, in one elsewhere.
    pub(super) fn json(&mut self, value: &impl Serialize) -> Outcome<()> {
        let to = JsonSafe(&mut self.out);
        let written =
            if self.terminal { serde_json::to_writer_pretty(to, value) } else { serde_json::to_writer(to, value) };
        written.map_err(|e| stopped(e.into()))?;
        self.raw(b"\n")?;
        self.flush()
    }

    /// Writes `value` as JSON in one line.
    pub(super) fn json_line(&mut self, value: &impl Serialize) -> Outcome<()> {
        serde_json::to_writer(JsonSafe(&mut self.out), value).map_err(|e| stopped(e.into()))?;
        self.raw(b"\n")
    }

    /// Writes a line that is safe already.
    pub(super) fn line(&mut self, line: &str) -> Outcome<()> {
        self.raw(line.as_bytes())?;
        self.raw(b"\n")
    }

    /// Writes bytes as they are. On a terminal only what is safe already.
    pub(super) fn raw(&mut self, bytes: &[u8]) -> Outcome<()> {
        self.out.write_all(bytes).map_err(stopped)
    }

    /// Sends on what is buffered.
    pub(super) fn flush(&mut self) -> Outcome<()> {
        self.out.flush().map_err(stopped)
    }

    /// Cells in a line of the terminal; `None` where there is none.
    pub(super) fn width(&self) -> Option<usize> {
        self.width
    }

    /// Takes the bytes of a file from another thread: as they are, but on a terminal made safe.
    pub(super) fn sink(&self) -> (sink::Sink, sink::Closed) {
        sink::Sink::new(self.terminal)
    }

    /// `text`, made safe, in a tone.
    pub(super) fn paint(&self, text: &str, tone: Tone) -> String {
        tone.paint(&text::safe(text), self.look.colour)
    }
}

/// Prints what clap has to say: help and version to stdout, mistakes to stderr.
pub(super) fn print_help(said: &clap::Error) {
    // Where nobody reads any more, nobody misses it.
    let _ = said.print();
}

/// What a failed write means.
fn stopped(error: io::Error) -> Stop {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Stop::Closed,
        _ => Error::io("writing the output", error).into(),
    }
}

/// Cells in a line of the terminal: what `COLUMNS` says, else the terminal itself.
fn terminal_width() -> Option<usize> {
    let said = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let asked = || rustix::termios::tcgetwinsize(io::stdout()).ok().map(|size| usize::from(size.ws_col));
    said.or_else(asked).filter(|width| *width > 0)
}
