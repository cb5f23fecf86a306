//! What is said beside the data, on stderr: errors, findings, notes and progress. As lines for people, or as JSON.

use super::escape::JsonSafe;
use super::json as objects;
use super::paint::Tone;
use crate::error::{Error, Kind};
use crate::model::finding::{Finding, Severity};
use crate::model::location::Location;
use crate::model::text;
use serde::Serialize;
use serde_json::json;
use std::io::{self, Write};

/// Speaks to the user.
#[derive(Clone, Copy, Debug)]
pub(in crate::cli) struct Words {
    /// Whether errors are JSON.
    pub(in crate::cli) json: bool,
    /// Whether colours are wanted on stderr.
    pub(in crate::cli) colour: bool,
}

impl Words {
    /// Tells of a failure: what failed, on what, and what to do.
    pub(in crate::cli) fn error(self, error: &Error, location: Option<&Location>) {
        if self.json {
            return self.json_line(&objects::error(error, location));
        }
        if error.kind() == Kind::Cancelled {
            // Who stopped it knows what and where.
            return self.line("stopped");
        }
        // Most messages name the place themselves.
        let told = |title: &String| {
            let place = title.split_once(':').map_or(title.as_str(), |(_, place)| place);
            error.what().contains(place)
        };
        let place = location.map(Location::title).filter(|title| !told(title));
        let place = place.map(|title| format!("{title}: ")).unwrap_or_default();
        self.say("error", Tone::Bad, &format!("{place}{error}"));
        if let Some(hint) = error.hint() {
            self.say("hint", Tone::Dim, hint);
        }
    }

    /// Tells of something that was found; where, if there is more than one place.
    pub(in crate::cli) fn finding(self, finding: &Finding, location: Option<&Location>) {
        let place = location.map(|l| format!("{}: ", l.title())).unwrap_or_default();
        let tone = if finding.severity == Severity::Error { Tone::Bad } else { Tone::Warn };
        self.say(finding.severity.name(), tone, &format!("{place}{}", finding.message));
    }

    /// Tells what helps, or anything else that is no data.
    pub(in crate::cli) fn note(self, words: &str) {
        if self.json {
            return self.json_line(&json!({"type": "note", "message": words}));
        }
        self.line(&text::safe(words));
    }

    /// `word: rest` with the word in a tone; `rest` may come from outside.
    pub(in crate::cli) fn say(self, word: &str, tone: Tone, rest: &str) {
        if self.json {
            return self.json_line(&json!({"type": word, "message": rest}));
        }
        self.line(&format!("{}: {}", tone.paint(word, self.colour), text::safe(rest)));
    }

    /// A line that is safe already. A stderr that can't be written to is nobody's business.
    pub(in crate::cli) fn line(self, line: &str) {
        let _ = writeln!(io::stderr().lock(), "{line}");
    }

    /// A question, made safe, with the cursor behind it.
    pub(in crate::cli) fn prompt(self, question: &str) {
        let mut err = io::stderr().lock();
        let _ = write!(err, "{}", text::safe(question)).and_then(|()| err.flush());
    }

    /// Draws over the line the cursor is in; an empty one clears it. Safe already.
    pub(in crate::cli) fn status(self, line: &str) {
        let mut err = io::stderr().lock();
        let _ = write!(err, "\r\x1b[K{line}").and_then(|()| err.flush());
    }

    /// One object in one line.
    pub(in crate::cli) fn json_line(self, value: &impl Serialize) {
        let mut err = io::stderr().lock();
        let _ = serde_json::to_writer(JsonSafe(&mut err), value);
        let _ = writeln!(err);
    }
}
