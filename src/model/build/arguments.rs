//! What the user gives to the program itself, after `--`: passed on as it is, but for options that are cachedeck's to give.

use super::{Client, Wish};
use crate::error::{Error, Result};
use crate::model::text;

/// Options that stand before `--`, and what to do instead.
const OURS: &[(&str, &str)] = &[
    ("--cache-from", "give --cache-from before the --, so that it is checked"),
    ("--cache-to", "give --cache-to before the --, so that it is checked"),
    ("--import-cache", "give --cache-from before the --, so that it is checked"),
    ("--export-cache", "give --cache-to before the --, so that it is checked"),
    ("--builder", "give --builder before the --: what can be done depends on the builder"),
    ("--addr", "give --addr before the --"),
    ("--progress", "cachedeck shows progress itself: give --progress before the --"),
    ("--quiet", "leave it out: what is shown meanwhile is chosen with --progress none before the --"),
    ("-q", "leave it out: what is shown meanwhile is chosen with --progress none before the --"),
];

/// Options of a build that put something out.
const OUTPUTS: &[&str] = &["--output", "-o", "--push", "--load"];

/// [`crate::error::Kind::Invalid`] if there is nothing to build, or something is given that is not for the user to give.
pub(super) fn check(wish: &Wish) -> Result<()> {
    if wish.arguments.is_empty() {
        let (what, example) = match wish.client {
            Client::Buildx => ("docker buildx build", "-- -t app ."),
            Client::Buildctl => {
                ("buildctl build", "-- --frontend dockerfile.v0 --local context=. --local dockerfile=.")
            }
        };
        return Err(Error::invalid("nothing to build")
            .with_hint(format!("what `{what}` takes stands after --, as in `{example}`")));
    }
    for (at, argument) in wish.arguments.iter().enumerate() {
        let name = argument.split_once('=').map_or(argument.as_str(), |(name, _)| name);
        if let Some((_, hint)) = OURS.iter().find(|(ours, _)| *ours == name) {
            return Err(Error::invalid(format!("{name} after the --")).with_hint(*hint));
        }
        if OUTPUTS.contains(&name) {
            if wish.warm {
                return Err(Error::invalid(format!("{name}: filling a builder puts nothing out"))
                    .with_hint("`cachedeck build` does"));
            }
            let value = argument.split_once('=').map(|(_, value)| value).or(wish.arguments.get(at + 1).map(|v| &**v));
            let to_stdout = |value: &str| value == "-" || value.split(',').any(|field| field == "dest=-");
            if ["--output", "-o"].contains(&name) && value.is_some_and(to_stdout) {
                return Err(Error::invalid(format!("{name} {}: stdout is for the report", text::safe("-")))
                    .with_hint("put it into a file: type=tar,dest=FILE"));
            }
        }
    }
    Ok(())
}
