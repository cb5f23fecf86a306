//! Layer 4: the command line. A command is one file here and one line in `COMMANDS`; the work itself belongs into
//! `ops`, so that the terminal UI has it too. Nothing is printed but through `output`.

mod apply;
mod blobs;
mod build;
mod cat;
mod change;
mod choice;
mod completion;
mod copy;
mod daemon;
mod delete;
mod demo;
mod diff;
mod du;
mod extract;
mod failure;
mod files;
mod find;
mod flags;
mod gha;
mod globals;
mod graph;
mod inspect;
mod item;
mod job;
mod layer_choice;
mod layers;
mod list;
mod locations;
mod log;
mod ls;
mod man;
mod output;
mod pin;
mod pins;
mod places;
mod prune;
mod raw;
mod records;
mod repair;
mod runs;
mod session;
mod summary;
mod sync;
mod topics;
mod trash;
mod undo;
mod unpin;
mod untag;
mod usage;
mod verify;
mod version;
mod versions;
mod warm;

use crate::tui;
use clap::{ArgMatches, CommandFactory, FromArgMatches as _, Parser};
use failure::{Exit, Outcome, Stop};
use globals::Globals;
use output::Format;
use session::{Needs, Session};
use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::process::ExitCode;

/// A subcommand: its arguments, and what it does with them.
trait Command: Parser {
    /// What it is called.
    const NAME: &'static str;

    /// What it needs: most take the usual values of `--format` and deal with locations.
    const NEEDS: Needs = Needs { format: true, config: true };

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
    entry::<versions::Versions>(),
    entry::<layers::Layers>(),
    entry::<graph::Graph>(),
    entry::<records::Records>(),
    entry::<raw::Raw>(),
    entry::<du::Du>(),
    entry::<blobs::Blobs>(),
    entry::<verify::Verify>(),
    entry::<diff::Diff>(),
    entry::<files::Files>(),
    entry::<cat::Cat>(),
    entry::<extract::Extract>(),
    entry::<find::Find>(),
    entry::<flags::Flags>(),
    entry::<copy::CopyCommand>(),
    entry::<sync::Sync>(),
    entry::<build::Build>(),
    entry::<warm::Warm>(),
    entry::<pin::PinCommand>(),
    entry::<unpin::Unpin>(),
    entry::<pins::Pins>(),
    entry::<prune::Prune>(),
    entry::<delete::Delete>(),
    entry::<untag::Untag>(),
    entry::<repair::Repair>(),
    entry::<apply::Apply>(),
    entry::<trash::Trash>(),
    entry::<undo::Undo>(),
    entry::<runs::Log>(),
    entry::<gha::Gha>(),
    entry::<daemon::Daemon>(),
    entry::<locations::Locations>(),
    entry::<demo::Demo>(),
    entry::<completion::Completion>(),
    entry::<man::Man>(),
    entry::<version::Version>(),
];

const fn entry<C: Command>() -> Entry {
    Entry { name: C::NAME, describe: C::command, run: start::<C> }
}

fn start<C: Command>(matches: &ArgMatches, globals: Globals) -> Outcome {
    let command = C::from_arg_matches(matches).map_err(usage::error)?;
    command.run(&mut Session::new(globals, C::NEEDS)?)
}

/// See BuildKit build caches whole: every version, its layers, what they take, what is wrong
///
/// Without a command: opens the terminal UI on these locations, or does `ls` where there is no terminal.
///
/// A LOCATION is what --cache-from and --cache-to take (type=local,src=DIR), or simply a folder. Without any, those in
/// the configuration are meant, and the folders where people keep caches.
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

More: cachedeck help TOPIC, which is places, filters, json, configuration, environment or\n\
exit-codes";

/// The whole command line, for parsing, completion and manual.
fn root() -> clap::Command {
    let commands = COMMANDS.iter().map(|entry| (entry.describe)().name(entry.name));
    Root::command().subcommands(commands).subcommands(topics::commands())
}

/// As [`root`], with help that is the same for `-h` and `--help`: short lines, and what there is to explain before them.
fn parser() -> clap::Command {
    compact(root())
}

/// Lets the long description stand before the usage, as there is no long form of help any more.
fn compact(command: clap::Command) -> clap::Command {
    let command = command.mut_subcommands(compact);
    let Some(long) = command.get_long_about().map(ToString::to_string) else { return command };
    let rest = long.split_once("\n\n").map(|(_, rest)| rest.to_owned());
    let command = command
        .long_about(None::<&str>)
        .help_template("{about-with-newline}\n{before-help}{usage-heading} {usage}\n\n{all-args}{after-help}");
    match rest {
        Some(rest) => command.before_help(rest),
        None => command,
    }
}

/// The names of all commands.
fn command_names() -> impl Iterator<Item = &'static str> {
    COMMANDS.iter().map(|entry| entry.name)
}

/// Runs the program with the arguments of the process.
pub fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let matches = match parser().try_get_matches_from(&arguments) {
        Ok(matches) => matches,
        Err(error) => return ExitCode::from(usage::tell(&error, &arguments)),
    };
    let globals = match Root::from_arg_matches(&matches) {
        Ok(root) => root.globals,
        Err(error) => return ExitCode::from(usage::tell(&error, &arguments)),
    };
    let words = globals.words();
    // Lines of a log on the terminal would run through the UI.
    let drawing = matches.subcommand_name().is_none_or(|name| name == demo::Demo::NAME) && is_watched();
    if let Err(error) = log::start(&globals, !drawing) {
        words.error(&error, None);
        return ExitCode::from(error.kind().exit_code());
    }
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
        Some((name, arguments)) => match COMMANDS.iter().find(|entry| entry.name == name) {
            Some(entry) => (entry.run)(arguments, globals),
            None => topics::show(name, &mut Session::new(globals, topics::NEEDS)?),
        },
        None => look(locations, &mut Session::new(globals, ls::Ls::NEEDS)?),
    }
}

/// Whether a person looks at the output and can press keys.
fn is_watched() -> bool {
    std::io::stdout().is_terminal() && std::io::stdin().is_terminal()
}

/// What the program does without a command: the terminal UI for people, the list for programs.
fn look(locations: Vec<String>, session: &mut Session) -> Outcome {
    let watched = is_watched() && session.out.format == Format::Table;
    // What was found is on the screen then; `ls` says it in words.
    let found = match (watched, locations.is_empty()) {
        (true, true) => places::known(&session.config),
        (true, false) => places::parse(&session.config, &locations)?,
        (false, _) => Vec::new(),
    };
    if found.is_empty() {
        return ls::Ls::of(locations).run(session);
    }
    let config = &session.config;
    let named = config.places.iter().filter_map(|place| Some((place.name.clone()?, place.location.clone())));
    let options = tui::Options {
        aliases: named.collect(),
        names: session.given_names()?,
        builders: session.builders(&found),
        settings: change::settings(session),
        locations: found,
        theme: if session.globals.no_color() { "mono".to_owned() } else { config.theme.clone() },
        ascii: session.out.look.ascii,
        mouse: config.mouse,
        sizes: session.out.look.sizes,
        keys: config.keys.clone(),
    };
    job::run_alone(tui::run(options))?;
    Ok(Exit::Done)
}
