//! Who agrees to a change: a person who types the name of the place, or `--yes`.

use super::super::failure::Outcome;
use super::super::session::Session;
use crate::error::{Error, Result};
use crate::model::location::Location;
use crate::model::text;
use std::io::{self, BufRead as _, IsTerminal as _};

/// An error if nobody can be asked and nobody agreed beforehand.
pub(in crate::cli) fn can_ask(session: &Session, yes: bool) -> Result<()> {
    let watched = session.out.terminal && io::stdin().is_terminal() && io::stderr().is_terminal();
    if yes || watched && !session.out.is_json() {
        return Ok(());
    }
    Err(Error::invalid("nothing was changed: there is no terminal to ask on")
        .with_hint("--yes does it without asking; look at the plan first"))
}

/// Asks for the name of the place. An error if somebody does not agree.
pub(in crate::cli) fn agree(session: &Session, location: &Location, yes: bool, what: &str) -> Outcome<()> {
    can_ask(session, yes)?;
    if yes {
        return Ok(());
    }
    let name = name(session, location);
    session.words.prompt(&format!("type {} {what}: ", text::safe(&name)));
    let mut typed = String::new();
    io::stdin().lock().read_line(&mut typed).map_err(|e| Error::io("reading the answer", e))?;
    if typed.trim() != name {
        return Err(Error::invalid("nothing was changed: that is not its name").into());
    }
    Ok(())
}

/// What a place is called: its name in the config, else what its title says without the type.
fn name(session: &Session, location: &Location) -> String {
    let named = session.config.known(location).find_map(|place| place.name.clone());
    named.unwrap_or_else(|| {
        let title = location.title();
        title.split_once(':').map_or(title.as_str(), |(_, place)| place).to_owned()
    })
}
