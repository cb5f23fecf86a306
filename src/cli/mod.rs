//! Layer 4: the command line. A command is one file here and one line in [`COMMANDS`]; the work itself belongs into
//! `ops`, so that the terminal UI has it too. Nothing is printed but through [`output`].

mod blobs;
mod choice;
mod du;
mod failure;
mod globals;
mod inspect;
mod item;
mod job;
mod layers;
mod list;
mod ls;
mod output;
mod places;
mod session;
mod usage;
mod verify;
mod version;
mod versions;

use clap::{ArgMatches, CommandFactory, FromArgMatches as _, Parser};
use failure::{Outcome, Stop};
use globals::Globals;
use session::Session;
use std::ffi::OsString;
use std::process::ExitCode;

/// A subcommand: its arguments, and what it does with them.
trait Command: Parser {
    /// What it is called.
    const NAME: &'static str;

    /// Whether it takes the usual values of `--format`.
    const FORMATS: bool = true;

    /// Does it.
    fn run(self, session: &mut Session) -> Outcome;
}

/// A line of the table of commands.
struct Entry {
    name: &'static str,
    describe: fn() -> clap::Command,
    run: fn(&ArgMatches, Globals) -> Outcome,
}

/// All commands, in the order of the help.
const COMMANDS: &[Entry] = &[
    entry::<ls::Ls>(),
    entry::<inspect::Inspect>(),
    entry::<layers::Layers>(),
    entry::<versions::Versions>(),
    entry::<blobs::Blobs>(),
    entry::<du::Du>(),
    entry::<verify::Verify>(),
    entry::<version::Version>(),
];

const fn entry<C: Command>() -> Entry {
    Entry { name: C::NAME, describe: C::command, run: start::<C> }
}

fn start<C: Command>(matches: &ArgMatches, globals: Globals) -> Outcome {
    let command = C::from_arg_matches(matches).map_err(usage::error)?;
    command.run(&mut Session::new(globals, C::FORMATS)?)
}

/// See BuildKit build caches whole: every version, its layers and records, what they take and what is wrong
///
/// Without a command: opens the terminal UI on these locations, or does `ls` where there is no terminal.
///
/// A LOCATION is what --cache-from and --cache-to take (type=local,src=DIR), or simply a folder. Without any, the
/// folders where people keep caches are looked at.
#[derive(Parser)]
#[command(name = "cachedeck", version, max_term_width = 100, after_help = EXAMPLES)]
struct Root {
    /// Where caches live
    #[arg(value_name = "LOCATION")]
    locations: Vec<String>,

    #[command(flatten)]
    globals: Globals,
}

const EXAMPLES: &str = "\
Examples:
  cachedeck demo                            look around in an example
  cachedeck .buildx-cache                   open a local cache
  cachedeck ls --json type=local,src=DIR    what is there, for programs
  cachedeck help exit-codes                 what exit codes mean";

/// The whole command line, for parsing, completion and manual.
fn root() -> clap::Command {
    Root::command().subcommands(COMMANDS.iter().map(|entry| (entry.describe)().name(entry.name)))
}

/// The names of all commands.
fn command_names() -> impl Iterator<Item = &'static str> {
    COMMANDS.iter().map(|entry| entry.name)
}

/// Runs the program with the arguments of the process.
pub fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let matches = match root().try_get_matches_from(&arguments) {
        Ok(matches) => matches,
        Err(error) => return ExitCode::from(usage::tell(&error, &arguments)),
    };
    let globals = match Root::from_arg_matches(&matches) {
        Ok(root) => root.globals,
        Err(error) => return ExitCode::from(usage::tell(&error, &arguments)),
    };
    let words = globals.words();
    ExitCode::from(match run(&matches, globals) {
        Ok(exit) => exit.code(),
        Err(Stop::Closed) => 0,
        Err(Stop::Failed { error, location }) => {
            words.error(&error, location.as_deref());
            error.kind().exit_code()
        }
    })
}

fn run(matches: &ArgMatches, globals: Globals) -> Outcome {
    let locations: Vec<String> = matches.get_many("locations").into_iter().flatten().cloned().collect();
    match matches.subcommand() {
        Some((name, _)) if !locations.is_empty() => Err(usage::misplaced(name, &locations).into()),
        Some((name, arguments)) => match COMMANDS.iter().find(|entry| entry.name == name) {
            Some(entry) => (entry.run)(arguments, globals),
            None => Err(usage::unknown(name).into()),
        },
        None => ls::Ls::of(locations).run(&mut Session::new(globals, true)?),
    }
}
