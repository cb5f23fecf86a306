//! `build`: a build with chosen caches, checked before it starts and reported on after it. [`warm`](super::warm) fills a builder the
//! same way.

mod markdown;
mod report;
mod request;
mod watching;

pub(super) use request::{Request, locations};

use super::Command;
use super::failure::{Exit, Outcome};
use super::output::{Format, Place, Tone};
use super::session::Session;
use super::usage;
use crate::error::{Error, Kind};
use crate::model::build::{Assembled, Choice, Options};
use crate::model::text;
use crate::ops::build::Target;
use crate::progress::Progress;
use crate::store::catalog;
use clap::builder::TypedValueParser;
use clap::{Args, Parser};
use serde_json::json;
use std::env;
use std::path::PathBuf;

/// Build with chosen caches, and tell which steps they saved
///
/// Runs `docker buildx build` (or `buildctl build` with --addr) with what stands after --, and with the caches named before
/// it. What the builder can't do, or would leave out without a word, is told before anything starts. Afterwards: each step,
/// whether it was cached and from where, and what was exported.
///
/// LOCATION is what --cache-from and --cache-to take, a folder, or @name from the configuration. Its secrets go to the builder
/// through the environment (AWS_*, ACTIONS_*), never through arguments.
#[derive(Parser)]
#[command(after_help = "\
Examples:
  cachedeck build --cache .buildx-cache --mode max -- -t app .
  cachedeck build --cache-from @ci --cache-from .buildx-cache --cache-to @ci -- --push -t ghcr.io/acme/app .
  cachedeck build --cache-to .buildx-cache --dry-run -- .     the command, and what would be wrong with it
  cachedeck build --addr unix:///run/buildkit/buildkitd.sock --cache @ci -- \\
      --frontend dockerfile.v0 --local context=. --local dockerfile=.")]
pub(super) struct Build {
    /// Import this cache; may be given more than once
    #[arg(long, value_name = "LOCATION", help_heading = CACHES)]
    cache_from: Vec<String>,

    /// Export to there; may be given more than once
    #[arg(long, value_name = "LOCATION", help_heading = CACHES)]
    cache_to: Vec<String>,

    /// Import from there, and export to there
    #[arg(long, value_name = "LOCATION", help_heading = CACHES)]
    cache: Vec<String>,

    #[command(flatten)]
    export: ExportArgs,

    #[command(flatten)]
    how: HowArgs,
}

/// The headings of options.
const CACHES: &str = "Caches";
const EXPORTS: &str = "Exports";
const BUILDER: &str = "Builder";

/// Options of exports; they hold for every --cache-to.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = EXPORTS)]
struct ExportArgs {
    /// min: what the result needs; max: what all steps left
    #[arg(long, value_name = "MODE", value_parser = ["min", "max"], hide_possible_values = true)]
    mode: Option<String>,

    /// gzip, zstd, estargz or uncompressed
    #[arg(long, value_name = "HOW", value_parser = ["gzip", "zstd", "estargz", "uncompressed"], hide_possible_values = true)]
    compression: Option<String>,

    /// 0 to 9 for gzip and estargz, 0 to 22 for zstd
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    compression_level: Option<i64>,

    /// Pack layers anew that are packed otherwise
    #[arg(long)]
    force_compression: bool,

    /// Media types of the OCI (true, as BuildKit does) or of Docker (false)
    #[arg(long, value_name = "BOOL", value_parser = boolean(), hide_possible_values = true)]
    oci_mediatypes: Option<Choice>,

    /// An image manifest (true, as BuildKit does) or an index (false)
    #[arg(long, value_name = "BOOL", value_parser = boolean(), hide_possible_values = true)]
    image_manifest: Option<Choice>,

    /// Let the build succeed if an export fails
    #[arg(long)]
    ignore_error: bool,

    /// Delete what no tag of a local cache reaches, at once and for good (buildx 0.35)
    #[arg(long)]
    reset: bool,
}

fn boolean() -> impl TypedValueParser<Value = Choice> {
    usage::one_of([("true", Choice::Yes), ("false", Choice::No)])
}

impl ExportArgs {
    fn options(&self) -> Options {
        Options {
            mode: self.mode.clone(),
            compression: self.compression.clone(),
            compression_level: self.compression_level,
            force_compression: self.force_compression,
            oci_mediatypes: self.oci_mediatypes.unwrap_or_default(),
            image_manifest: self.image_manifest.unwrap_or_default(),
            ignore_error: self.ignore_error,
            reset: self.reset,
        }
    }
}

/// Who builds, and what is told.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = BUILDER)]
pub(super) struct HowArgs {
    /// Build with this builder of buildx
    #[arg(long, value_name = "NAME", conflicts_with = "addr")]
    builder: Option<String>,

    /// Build through buildctl, with the buildkitd at this address
    #[arg(long, value_name = "ADDRESS")]
    addr: Option<String>,

    /// Only check, and print the command
    #[arg(long, short = 'n', visible_alias = "print")]
    dry_run: bool,

    /// Append the report to this file, as Markdown; otherwise to $GITHUB_STEP_SUMMARY, if that is set
    #[arg(long, value_name = "FILE")]
    summary: Option<PathBuf>,

    /// What `docker buildx build` takes, or `buildctl build` with --addr
    #[arg(last = true, value_name = "ARGS", help_heading = "Arguments")]
    arguments: Vec<String>,
}

impl HowArgs {
    fn target(&self) -> Target {
        match &self.addr {
            Some(address) => Target::Buildctl(address.clone()),
            None => Target::Buildx(self.builder.clone()),
        }
    }
}

impl Command for Build {
    const NAME: &'static str = "build";

    fn run(self, session: &mut Session) -> Outcome {
        let both = |one: &[String]| one.iter().chain(&self.cache).cloned().collect::<Vec<_>>();
        let request = Request {
            from: locations(session, "--cache-from", &both(&self.cache_from))?,
            to: locations(session, "--cache-to", &both(&self.cache_to))?,
            options: self.export.options(),
            warm: false,
        };
        request.run(session, &self.how)
    }
}

impl Request {
    /// Checks it, and builds.
    pub(super) fn run(self, session: &mut Session, how: &HowArgs) -> Outcome {
        let target = how.target();
        let (found, assembled) = self.assemble(session, how, &target)?;
        for warning in &assembled.warnings {
            session.words.say("warning", Tone::Warn, warning);
        }
        if how.dry_run {
            let words: Vec<String> = found.words.iter().chain(&assembled.words).cloned().collect();
            return print(session, &words, &assembled);
        }
        let was_empty = if assembled.imports.is_empty() { None } else { was_empty(session, &target) };
        let mut report = watching::build(session, found, &assembled, was_empty)?;
        report::look(session, &mut report);
        report::tell(session, &report)?;
        let summary = how.summary.clone().or_else(|| env::var_os(SUMMARY).filter(|v| !v.is_empty()).map(PathBuf::from));
        if let Some(file) = summary
            && let Err(error) = markdown::append(&file, &report, session.out.look.sizes)
        {
            session.words.say("warning", Tone::Warn, &format!("the summary could not be written: {error}"));
        }
        Ok(report::exit(&report))
    }
}

/// Where GitHub has the summary of a job.
const SUMMARY: &str = "GITHUB_STEP_SUMMARY";

/// Whether the builder holds nothing yet: then whatever is cached was imported. `None` if it does not tell.
fn was_empty(session: &mut Session, target: &Target) -> Option<bool> {
    let location = target.location();
    let records = async move {
        let opened = tokio::task::spawn_blocking(move || catalog::open(&location)).await;
        opened.map_err(|e| Error::new(Kind::Internal, "opening broke off").with_source(e))??.usage().await
    };
    let records = session.jobs.run("asking the builder", &Progress::new(), records);
    records.inspect_err(|error| tracing::info!("the builder's records: {error}")).ok().map(|all| all.is_empty())
}

/// Prints the command that would be run.
fn print(session: &mut Session, words: &[String], assembled: &Assembled) -> Outcome {
    let variables: Vec<&str> = assembled.variables().collect();
    match session.out.format {
        Format::Json | Format::Jsonl => session.out.json(&json!({
            "schema": "cachedeck.build-command/1",
            "command": words,
            "variables": variables,
            "cache_from": assembled.imports.iter().map(Place).collect::<Vec<_>>(),
            "cache_to": assembled.exports.iter().map(Place).collect::<Vec<_>>(),
            "build_warnings": assembled.warnings,
        }))?,
        _ => {
            let line: Vec<_> = words.iter().map(|word| text::shell_quote(word)).collect();
            session.out.line(&line.join(" "))?;
            session.out.flush()?;
            if !variables.is_empty() {
                session.words.note(&format!("cachedeck sets these for it: {}", variables.join(", ")));
            }
        }
    }
    Ok(Exit::Done)
}
