//! Mistakes in the command line: told as clap tells them, or as JSON where that was asked for.

use super::output::{Words, print_help};
use crate::error::Error;
use crate::model::text;
use std::ffi::OsString;

/// Tells a mistake, or prints the help or version asked for. Gives the exit code.
pub(super) fn tell(error: &clap::Error, arguments: &[OsString]) -> u8 {
    if !error.use_stderr() {
        print_help(error);
        return 0;
    }
    let json = arguments.iter().filter_map(|a| a.to_str()).any(|argument| {
        argument == "--json" || argument.starts_with("--json=") || argument.starts_with("--format=json")
    });
    let error_of_ours = self::error_text(error);
    if json {
        Words { json, colour: false }.error(&error_of_ours, None);
    } else if arguments.iter().all(|a| a.to_str().is_some_and(|a| text::safe(a) == a)) {
        print_help(error);
    } else {
        // Clap repeats what it was given, and that could act on the terminal.
        let words = Words { json, colour: false };
        error.render().to_string().lines().for_each(|line| words.note(line));
    }
    error_of_ours.kind().exit_code()
}

/// A mistake that shows only when a command's arguments are taken apart.
pub(super) fn error(error: clap::Error) -> Error {
    error_text(&error)
}

fn error_text(error: &clap::Error) -> Error {
    let rendered = error.render().to_string();
    let mut paragraphs = rendered.trim_start_matches("error: ").split("\n\n");
    let what = paragraphs.next().unwrap_or_default().lines().map(str::trim).collect::<Vec<_>>().join(" ");
    Error::invalid(what).with_hint("`cachedeck help` shows what can be given")
}
