//! What came of a build, as Markdown for the summary of a CI job. All that comes from outside is text there: no link, image, tag
//! or table of its own.

use super::report::steps_in_words;
use super::watching::seconds;
use crate::error::{Error, Result};
use crate::model::build::report::{Ending, Imported, Origin, Report, Step};
use crate::model::build::watch::State;
use crate::model::text;
use crate::model::units::{Bytes, SizeStyle};
use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

/// Steps that are listed: GitHub takes a summary of at most 1 MiB.
const MOST_STEPS: usize = 500;

/// The longest text that is shown, in bytes.
const LONGEST: usize = 300;

/// Appends it to `file`, which is made if it is not there.
pub(super) fn append(file: &Path, report: &Report, sizes: SizeStyle) -> Result<()> {
    let failed = |error| Error::io(format!("writing {}", file.display()), error);
    let mut to = OpenOptions::new().append(true).create(true).open(file).map_err(failed)?;
    to.write_all(document(report, sizes).as_bytes()).map_err(failed)
}

fn document(report: &Report, sizes: SizeStyle) -> String {
    let mut out = String::new();
    let title = match report.ending {
        Ending::Done => "Build",
        Ending::Failed => "Build failed",
        Ending::Stopped => "Build stopped",
    };
    let _ = writeln!(out, "### {title}: {}\n", plain(&steps_in_words(report)));
    if let Some(failure) = &report.failure {
        let step = failure.step.as_deref().map(|step| format!("{}: ", code(step))).unwrap_or_default();
        let _ = writeln!(out, "{step}{}\n", plain(&failure.error));
        if !failure.log.is_empty() {
            let lines: Vec<String> = failure.log.iter().map(|line| plain(line)).collect();
            let _ = writeln!(out, "<pre>{}</pre>\n", lines.join("&#10;"));
        }
    }
    if !report.exports.is_empty() {
        out.push_str("| Exported to | Digest | Layers | Size | Only there |\n| --- | --- | ---: | ---: | ---: |\n");
        for export in &report.exports {
            let index = export.index.as_ref();
            let digest = index.and_then(|index| index.digest).map(|digest| code(&digest.to_string()));
            let digest = digest.unwrap_or_else(|| export.unknown.as_deref().map(plain).unwrap_or_default());
            let layers = index.and_then(|index| index.layers).map(|layers| layers.to_string()).unwrap_or_default();
            let size = |bytes: Option<u64>| bytes.map(|bytes| Bytes(bytes).show(sizes)).unwrap_or_default();
            let (all, only) = (size(index.and_then(|i| i.bytes)), size(index.map(|index| index.exclusive_bytes)));
            let _ = writeln!(out, "| {} | {digest} | {layers} | {all} | {only} |", code(&export.location.title()));
        }
        out.push('\n');
    }
    if !report.imports.is_empty() {
        out.push_str("| Imported from | |\n| --- | --- |\n");
        for import in &report.imports {
            let state = match &import.state {
                Imported::Read => "read".to_owned(),
                Imported::Failed(why) => format!("failed: {}", plain(why)),
                Imported::LeftOut => "not asked for".to_owned(),
                Imported::Unknown => "this one, or another of its type, failed".to_owned(),
            };
            let _ = writeln!(out, "| {} | {state} |", code(&import.location.title()));
        }
        out.push('\n');
    }
    if !report.steps.is_empty() {
        out.push_str("<details><summary>Steps</summary>\n\n| | Step | Took |\n| --- | --- | ---: |\n");
        for step in report.steps.iter().take(MOST_STEPS) {
            let took = step.took.map(seconds).unwrap_or_default();
            let _ = writeln!(out, "| {} | {} | {took} |", state(step), code(&step.name));
        }
        if report.steps.len() > MOST_STEPS {
            let _ = writeln!(out, "\n{} more steps are not listed.", report.steps.len() - MOST_STEPS);
        }
        out.push_str("\n</details>\n\n");
    }
    for warning in &report.warnings {
        let _ = writeln!(out, "> {}\n", plain(warning));
    }
    out
}

fn state(step: &Step) -> String {
    match (step.state, step.origin) {
        (State::Cached, Some(Origin::Imported)) => "cached, imported".to_owned(),
        (State::Cached, Some(Origin::Builder)) => "cached, in the builder".to_owned(),
        (State::Cached, _) => "cached".to_owned(),
        (State::Done, _) => "built".to_owned(),
        (State::Failed, _) => "**failed**".to_owned(),
        (State::Running | State::Canceled, _) => "stopped".to_owned(),
        (State::Waiting, _) => "not run".to_owned(),
    }
}

/// Text that is only text: whatever Markdown or HTML could take for more is written as its number.
fn plain(given: &str) -> String {
    let safe = text::safe_within(given, LONGEST);
    let mut out = String::with_capacity(safe.len());
    for c in safe.chars() {
        // An address becomes a link by its colon or dots alone, and a name by its @.
        if c.is_alphanumeric() || matches!(c, ' ' | ',' | ';' | '(' | ')' | '/') || (c == '.' || c == '-') {
            out.push(c);
        } else {
            let _ = write!(out, "&#{};", u32::from(c));
        }
    }
    out
}

fn code(given: &str) -> String {
    format!("<code>{}</code>", plain(given))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_outside_stays_text() {
        let hostile = "RUN x | y </code><img src=x> `a` [l](https://e.example) **b** @team\u{1b}[31m\n# h";
        let shown = code(hostile);
        let inner = shown.strip_prefix("<code>").and_then(|rest| rest.strip_suffix("</code>")).unwrap();
        for c in ['|', '<', '>', '`', '[', ']', '*', '@', ':', '\u{1b}', '\n'] {
            assert!(!inner.contains(c), "{c:?} in {inner}");
        }
    }
}
