//! `locations`: the named places of the configuration.

mod import;
mod test;

use super::Command;
use super::failure::{Exit, Outcome};
use super::list::ListArgs;
use super::output::{Cell, Column, Item, Place, Section, Tone};
use super::session::{Needs, Session};
use crate::config::{self, edit::Edit};
use crate::error::{Error, Kind, Result};
use crate::model::filter::{Field, FieldKind, Row, Value};
use crate::model::location::{Given, Location};
use crate::model::text;
use crate::store::catalog;
use clap::{Parser, Subcommand};
use serde::{Serialize, Serializer};
use std::borrow::Cow;
use std::io::{BufRead as _, Read as _};
use std::path::Path;

/// The longest secret that is read.
const SECRET: u64 = 64 << 10;

/// Name locations, so that @NAME stands for them, and test whether they can be reached
#[derive(Parser)]
#[command(after_help = "\
Examples:
  cachedeck locations add ci type=s3,bucket=ci,region=eu-west-1
  cachedeck locations import --workflow .github/workflows/build.yml --dry-run
  cachedeck locations test
  cachedeck ls @ci")]
pub(super) struct Locations {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    Add(Add),
    Ls(Ls),
    Rm(Rm),
    Test(test::Test),
    Import(import::Import),
}

impl Command for Locations {
    const NAME: &'static str = "locations";
    const NEEDS: Needs = Needs { format: true, config: false };

    fn run(self, session: &mut Session) -> Outcome {
        // A file that is not there yet is what the first name is added to.
        match session.globals.config() {
            Ok(config) => session.config = config,
            Err(error) if error.kind() == Kind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
        match self.action {
            Action::Add(add) => add.run(session),
            Action::Ls(ls) => ls.run(session),
            Action::Rm(rm) => rm.run(session),
            Action::Test(test) => test.run(session),
            Action::Import(import) => import.run(session),
        }
    }
}

/// Let a name stand for a location
///
/// Secrets are never taken from the command line, where other users and the shell's history see them: leave them out and
/// set the environment variables that buildx reads, or give them on standard input. A folder is kept with its whole path.
#[derive(Parser)]
#[command(after_help = "\
Examples:
  cachedeck locations add here ./.buildx-cache
  cachedeck locations add ci type=s3,bucket=ci,region=eu-west-1 --read-only
  pass show ci/s3 | cachedeck locations add ci type=s3,bucket=ci,region=eu-west-1,access_key_id=.. \\
      --secret-from-stdin secret_access_key")]
struct Add {
    /// The name, without the @
    #[arg(value_name = "NAME")]
    name: String,

    /// What it stands for
    #[arg(value_name = "LOCATION")]
    location: String,

    /// Let nothing be changed there
    #[arg(long)]
    read_only: bool,

    /// Let the name stand for this from now on, if it is taken
    #[arg(long)]
    replace: bool,

    /// Read this key's value from standard input
    #[arg(long, value_name = "KEY")]
    secret_from_stdin: Option<String>,
}

impl Add {
    fn run(self, session: &mut Session) -> Outcome {
        let mut location = one(&self.location)?;
        if location.has_secrets() && !(location.value("access_key_id").is_some() && only_id_is_secret(&location)) {
            return Err(Error::invalid("secrets do not belong on the command line, where others can see them")
                .with_hint(
                    "leave it out and set what buildx reads (AWS_SECRET_ACCESS_KEY, BUILDKIT_AZURE_STORAGE_ACCOUNT_KEY, \
                     GITHUB_TOKEN, docker login), or pipe it in: --secret-from-stdin KEY",
                )
                .into());
        }
        if let Some(key) = &self.secret_from_stdin {
            location.set(key, secret()?);
            if !location.clone().without("access_key_id").has_secrets() {
                let what = format!("{} is no key for a secret of type={}", text::safe(key), location.kind());
                return Err(Error::invalid(what)
                    .with_hint("such keys are secret_access_key, session_token, token")
                    .into());
            }
        }
        warn(session, &location);
        let mut edit = Edit::open(session.globals.config_file())?;
        edit.add(&self.name, &location, self.read_only, self.replace)?;
        let path = edit.path().display().to_string();
        edit.save()?;
        session.words.note(&format!("@{} stands for {}, in {path}", self.name, location.title()));
        Ok(Exit::Done)
    }
}

/// An access key's id alone opens nothing, and many have it in their files.
fn only_id_is_secret(location: &Location) -> bool {
    !location.clone().without("access_key_id").has_secrets()
}

/// What is odd about a location, and whether it can be opened at all.
fn warn(session: &Session, location: &Location) {
    location.warnings().iter().for_each(|warning| session.words.say("warning", Tone::Warn, warning));
    if !catalog::types().any(|kind| kind == location.kind()) {
        let warning = format!("nothing can open type={}", text::safe(location.kind()));
        session.words.say("warning", Tone::Warn, &warning);
    }
}

/// The one location that is meant. The folder of a local one with its whole path: a name means the same everywhere.
fn one(given: &str) -> Result<Location> {
    let mut all = Given::parse(given, |path| Path::new(path).is_dir())?;
    let location = match (all.pop(), all.is_empty()) {
        (Some(Given::Location(location)), true) => location,
        (Some(Given::Alias(_)), _) => return Err(Error::invalid("a name cannot stand for another name")),
        _ => return Err(Error::invalid("a name stands for one location, not for several")),
    };
    Ok(with_whole_path(location))
}

fn with_whole_path(mut location: Location) -> Location {
    for key in ["src", "dest"] {
        let folder = location.value(key).filter(|folder| location.kind() == "local" && !folder.starts_with('~'));
        if let Some(whole) = folder.and_then(|folder| std::path::absolute(folder).ok()?.to_str().map(str::to_owned)) {
            location.set(key, whole);
        }
    }
    location
}

/// The first line of the input.
fn secret() -> Result<String> {
    let mut line = String::new();
    let read = std::io::stdin().lock().take(SECRET).read_line(&mut line);
    read.map_err(|error| Error::io("reading the secret", error))?;
    match line.trim_end_matches(['\r', '\n']) {
        "" => Err(Error::invalid("nothing came on standard input").with_hint("pipe the secret in")),
        secret => Ok(secret.to_owned()),
    }
}

/// Forget a name; what it stands for is left as it is
#[derive(Parser)]
#[command(after_help = "\
Examples:
  cachedeck locations rm ci")]
struct Rm {
    /// The names
    #[arg(value_name = "NAME", required = true)]
    forgotten: Vec<String>,
}

impl Rm {
    fn run(self, session: &mut Session) -> Outcome {
        let mut edit = Edit::open(session.globals.config_file())?;
        for name in &self.forgotten {
            edit.remove(name.strip_prefix('@').unwrap_or(name))?;
        }
        let path = edit.path().display().to_string();
        edit.save()?;
        session.words.note(&format!("{} no longer in {path}", self.forgotten.join(", ")));
        Ok(Exit::Done)
    }
}

/// List the names and what they stand for
#[derive(Parser)]
#[command(after_help = "\
Fields to filter and sort by:
  name type location read_only

Examples:
  cachedeck locations ls
  cachedeck locations ls --format '{{.name}}'")]
struct Ls {
    #[command(flatten)]
    list: ListArgs,
}

impl Ls {
    fn run(self, session: &mut Session) -> Outcome {
        let mut selection = self.list.selection::<NamedItem>(&mut session.out)?;
        let places = session.config.places.clone();
        if places.is_empty() && session.out.is_chatty() {
            session.words.note("no location has a name yet; `cachedeck locations add NAME LOCATION` gives one");
        }
        let mut section = Section {
            location: None,
            items: places.into_iter().map(NamedItem).collect(),
            warnings: Vec::new(),
            complete: true,
        };
        section.select(&mut selection, session.out.look.now);
        session.out.list("location-list", &[section], false)?;
        Ok(Exit::Done)
    }
}

/// A named location.
struct NamedItem(config::Place);

impl NamedItem {
    fn name(&self) -> &str {
        self.0.name.as_deref().unwrap_or_default()
    }
}

impl Serialize for NamedItem {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Fields<'a> {
            name: &'a str,
            location: Place<'a>,
            read_only: bool,
        }
        Fields { name: self.name(), location: Place(&self.0.location), read_only: self.0.read_only }
            .serialize(serializer)
    }
}

impl Row for NamedItem {
    fn fields() -> &'static [Field] {
        const FIELDS: &[Field] = &[
            Field::new("name", FieldKind::Text),
            Field::new("type", FieldKind::Text),
            Field::new("location", FieldKind::Text),
            Field::new("read_only", FieldKind::Flag),
        ];
        FIELDS
    }

    fn field(&self, name: &str) -> Option<Value<'_>> {
        Some(match name {
            "name" => Value::Text(Cow::Borrowed(self.name())),
            "type" => Value::Text(Cow::Borrowed(self.0.location.kind())),
            "location" => Value::Text(Cow::Owned(self.0.location.to_string())),
            "read_only" => Value::Flag(self.0.read_only),
            _ => return None,
        })
    }

    fn text(&self) -> Cow<'_, str> {
        Cow::Owned(format!("@{} {}", self.name(), self.0.location))
    }
}

impl Item for NamedItem {
    const TYPE: &'static str = "location";

    fn fields() -> &'static [Field] {
        <Self as Row>::fields()
    }

    fn row(&self) -> impl Row {
        self
    }

    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::words("NAME", |item: &Self| Cell::text(format!("@{}", item.name()))).field("name"),
            Column::words("LOCATION", |item: &Self| Cell::text(item.0.location.to_string())).cut_middle(),
            Column::words("", |item: &Self| Cell::text(if item.0.read_only { "read-only" } else { "" }))
                .field("read_only"),
        ]
    }
}
