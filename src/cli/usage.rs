//! Mistakes in the command line: told as clap tells them, or as JSON where that was asked for.

use super::output::{Words, print_help};
use crate::error::Error;
use crate::model::location::Location;
use crate::model::text;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::error::ContextValue;
use std::ffi::OsString;
use std::str::FromStr;

/// Tells a mistake, or prints the help or version asked for. Gives the exit code.
pub(super) fn tell(error: &clap::Error, arguments: &[OsString]) -> u8 {
    if !error.use_stderr() {
        print_help(error);
        return 0;
    }
    let mut words = arguments.iter().filter_map(|a| a.to_str()).peekable();
    let mut json = false;
    while let Some(word) = words.next() {
        let format = word.strip_prefix("--format=").or_else(|| words.peek().copied().filter(|_| word == "--format"));
        json |= word == "--json" || word.starts_with("--json=") || matches!(format, Some("json" | "jsonl"));
    }
    let error_of_ours = self::error_text(error);
    if json {
        Words { json, colour: false }.error(&error_of_ours, None);
    } else if rendered(error) == error.render().to_string()
        && arguments.iter().all(|a| a.to_str().is_some_and(|a| text::safe(a) == a))
    {
        print_help(error);
    } else {
        // Clap repeats what it was given, and that could act on the terminal.
        let words = Words { json, colour: false };
        rendered(error).lines().for_each(|line| words.note(line));
    }
    error_of_ours.kind().exit_code()
}

/// Reads an argument, for clap, which tells errors without their hints.
pub(super) fn value<T: FromStr<Err = Error>>(given: &str) -> Result<T, String> {
    given.parse().map_err(|error: Error| match error.hint() {
        Some(hint) => format!("{error}; {hint}"),
        None => error.to_string(),
    })
}

/// Reads one of these words, for clap, which lists them in completions and where none fits.
pub(super) fn one_of<T: Clone + Send + Sync + 'static>(
    values: impl IntoIterator<Item = (&'static str, T)>,
) -> impl TypedValueParser<Value = T> {
    let values: Vec<(&'static str, T)> = values.into_iter().collect();
    PossibleValuesParser::new(values.iter().map(|(name, _)| *name)).try_map(move |given| {
        let found = values.iter().find(|(name, _)| *name == given);
        found.map(|(_, value)| value.clone()).ok_or("unknown")
    })
}

/// A mistake that shows only when a command's arguments are taken apart.
pub(super) fn error(error: clap::Error) -> Error {
    error_text(&error)
}

/// What clap says, which repeats what it was given: a location in the wrong place loses its secrets.
fn rendered(error: &clap::Error) -> String {
    let mut rendered = error.render().to_string();
    let words = error.context().filter_map(|(_, value)| match value {
        ContextValue::String(word) => Some(vec![word.clone()]),
        ContextValue::Strings(words) => Some(words.clone()),
        _ => None,
    });
    for word in words.flatten() {
        match Location::parse(&word) {
            Ok(location) if location.has_secrets() => rendered = rendered.replace(&word, &location.to_string()),
            _ => {}
        }
    }
    rendered
}

fn error_text(error: &clap::Error) -> Error {
    let rendered = rendered(error);
    let mut paragraphs = rendered.trim_start_matches("error: ").split("\n\n");
    let what = paragraphs.next().unwrap_or_default().lines().map(str::trim).collect::<Vec<_>>().join(" ");
    Error::invalid(what).with_hint("`cachedeck help` shows what can be given")
}
