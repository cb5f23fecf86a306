//! `locations import`: names for the places that build files use.

use super::super::output::Tone;
use super::with_whole_path;
use crate::cli::failure::{Exit, Outcome};
use crate::cli::session::Session;
use crate::config::edit::Edit;
use crate::error::{Error, Result};
use crate::model::location::Location;
use crate::model::units::count;
use crate::ops::import::{LIMIT, import};
use clap::Parser;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// Name the locations that bake files, workflows and compose files use
///
/// Takes what --cache-from and --cache-to are given there, each place once. Variables have their defaults; what is only
/// known when a build runs is left out, and so are secrets.
#[derive(Parser)]
#[command(after_help = "\
Examples:
  cachedeck locations import --bake docker-bake.hcl --dry-run
  cachedeck locations import --workflow .github/workflows/*.yml --repo acme/app")]
pub(super) struct Import {
    /// Bake files, in HCL or JSON, or compose files
    #[arg(long, value_name = "FILE", num_args = 1..)]
    bake: Vec<PathBuf>,

    /// Workflows or actions of GitHub
    #[arg(long, value_name = "FILE", num_args = 1.., required_unless_present = "bake")]
    workflow: Vec<PathBuf>,

    /// The repository whose caches type=gha means
    #[arg(long, value_name = "OWNER/NAME")]
    repo: Option<String>,

    /// Only show what would be named
    #[arg(long, short = 'n')]
    dry_run: bool,
}

impl Import {
    pub(super) fn run(self, session: &mut Session) -> Outcome {
        let files = self.bake.iter().chain(&self.workflow).map(|path| Ok((path.display().to_string(), read(path)?)));
        let files = files.collect::<Result<Vec<_>>>()?;
        let known =
            session.config.places.iter().filter_map(|p| Some((p.name.clone()?, self.complete(p.location.clone()))));
        let known: Vec<(String, Location)> = known.collect();
        let mut imports = import(&files, &known)?;
        for import in &mut imports.new {
            import.location = self.complete(with_whole_path(import.location.clone()));
        }
        // With their whole paths and repositories some may turn out to be known.
        imports.new.retain(|import| !known.iter().any(|(_, known)| known.identity() == import.location.identity()));
        imports.skipped.iter().for_each(|skipped| session.words.say("warning", Tone::Warn, skipped));
        if !self.dry_run && !imports.new.is_empty() {
            let mut edit = Edit::open(session.globals.config_file())?;
            for import in &imports.new {
                edit.add(&import.name, &import.location, false, false)?;
            }
            edit.save()?;
        }
        for import in &imports.new {
            let line = format!("@{}  {}", import.name, import.location);
            let line = session.out.paint(&line, Tone::Plain);
            session.out.line(&line)?;
            if import.location.kind() == "gha" && import.location.value("repo").is_none() {
                session
                    .words
                    .note(&format!("@{}: add --repo OWNER/NAME, or it is read only in a workflow", import.name));
            }
        }
        session.out.flush()?;
        let done = if self.dry_run { "would be named" } else { "named" };
        session.words.note(&format!("{} {done}", count(imports.new.len(), "location")));
        Ok(Exit::Done)
    }

    /// `type=gha` means the repository that a workflow runs in: from here it has to be named.
    fn complete(&self, location: Location) -> Location {
        match &self.repo {
            Some(repo) if location.kind() == "gha" && location.value("repo").is_none() => location.with("repo", repo),
            _ => location,
        }
    }
}

fn read(path: &Path) -> Result<String> {
    let failed = |error| Error::io(format!("cannot read {}", path.display()), error);
    let mut bytes = Vec::new();
    File::open(path).map_err(failed)?.take(LIMIT + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > LIMIT {
        return Err(Error::invalid(format!("{} is longer than such a file is", path.display())));
    }
    String::from_utf8(bytes).map_err(|_| Error::invalid(format!("{} is no text", path.display())))
}
