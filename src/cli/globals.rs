//! The options that every command takes.

use super::job::Show;
use super::output::{Format, Look, Words};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::model::units::{self, SizeStyle};
use clap::{ArgAction, Args};
use jiff::Timestamp;
use std::env;
use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};

/// The heading they stand under.
const HEADING: &str = "Global options";

/// Lets nothing be changed if it is set to anything but 0.
const READ_ONLY: &str = "CACHEDECK_READ_ONLY";

/// The time, for output that stays the same.
const NOW: &str = "CACHEDECK_NOW";

/// Options of every command.
#[derive(Args, Clone, Debug)]
pub(super) struct Globals {
    /// Write the data as JSON, with all fields or with only these
    #[arg(long, global = true, value_name = "FIELDS", num_args = 0..=1, require_equals = true, value_delimiter = ',', help_heading = HEADING)]
    json: Option<Vec<String>>,

    /// table, wide, tsv, json, jsonl, or a template like '{{.digest}}'
    #[arg(long, global = true, value_name = "FORMAT", conflicts_with = "json", help_heading = HEADING)]
    format: Option<String>,

    /// Show sizes in powers of 1000
    #[arg(long, global = true, conflicts_with = "bytes", help_heading = HEADING)]
    si: bool,

    /// Show sizes as plain numbers of bytes
    #[arg(long, global = true, help_heading = HEADING)]
    bytes: bool,

    /// Use no colours, as with NO_COLOR=1
    #[arg(long, global = true, help_heading = HEADING)]
    no_color: bool,

    /// Draw with ASCII characters only
    #[arg(long, global = true, help_heading = HEADING)]
    ascii: bool,

    /// Name layers after their steps: what `docker buildx du --verbose --format json` printed
    #[arg(long, global = true, value_name = "FILE", help_heading = HEADING)]
    pub(super) names: Vec<PathBuf>,

    /// Ask no builder which steps made the layers
    #[arg(long, global = true, help_heading = HEADING)]
    pub(super) no_builders: bool,

    /// Read this configuration file
    #[arg(long, global = true, value_name = "FILE", help_heading = HEADING)]
    config: Option<PathBuf>,

    /// Change nothing anywhere, as with CACHEDECK_READ_ONLY=1
    #[arg(long, global = true, help_heading = HEADING)]
    read_only: bool,

    /// How to show progress: auto, tty, plain, json or none
    #[arg(long, global = true, value_enum, default_value_t, hide_default_value = true, hide_possible_values = true, value_name = "HOW", help_heading = HEADING)]
    pub(super) progress: Show,

    /// Write a log there
    #[arg(long, global = true, value_name = "FILE", help_heading = HEADING)]
    pub(super) log_file: Option<PathBuf>,

    /// Log more; twice for all. Without --log-file to stderr
    #[arg(short, long, global = true, action = ArgAction::Count, help_heading = HEADING)]
    pub(super) verbose: u8,
}

impl Globals {
    /// The output format asked for, if one is.
    pub(super) fn format(&self) -> Result<Format> {
        match (&self.json, &self.format) {
            (Some(_), _) => Ok(Format::Json),
            (None, Some(format)) => Format::parse(format),
            (None, None) => Ok(Format::Table),
        }
    }

    /// The fields asked for in JSON; none means all.
    pub(super) fn fields(&self) -> Vec<String> {
        self.json.iter().flatten().filter(|f| !f.is_empty()).cloned().collect()
    }

    /// Whether programs read what we write.
    pub(super) fn is_json(&self) -> bool {
        self.json.is_some() || matches!(self.format.as_deref(), Some("json" | "jsonl"))
    }

    /// The user's settings.
    pub(super) fn config(&self) -> Result<Config> {
        match &self.config {
            Some(path) if path.as_os_str() != super::raw::NO_FILE => Config::load_file(path),
            _ => Config::load(),
        }
    }

    /// The configuration file that was named.
    pub(super) fn config_file(&self) -> Option<&Path> {
        self.config.as_deref()
    }

    /// Whether colours are refused altogether.
    pub(super) fn no_color(&self) -> bool {
        self.no_color || env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty())
    }

    /// Whether nothing may be changed anywhere.
    pub(super) fn read_only(&self) -> bool {
        self.read_only || env::var_os(READ_ONLY).is_some_and(|v| !v.is_empty() && v != "0")
    }

    /// How sizes are shown, where the options say it.
    pub(super) fn sizes(&self) -> Option<SizeStyle> {
        match (self.si, self.bytes) {
            (_, true) => Some(SizeStyle::Bytes),
            (true, _) => Some(SizeStyle::Si),
            _ => None,
        }
    }

    /// How to speak beside the data.
    pub(super) fn words(&self) -> Words {
        Words { json: self.is_json(), colour: self.colour(io::stderr().is_terminal()) }
    }

    /// How values look on stdout.
    pub(super) fn look(&self, config: &Config) -> Result<Look> {
        Ok(Look {
            colour: self.colour(io::stdout().is_terminal()),
            ascii: self.ascii || config.ascii,
            whole: false,
            sizes: self.sizes().unwrap_or(config.size_style),
            now: now()?,
        })
    }

    fn colour(&self, terminal: bool) -> bool {
        terminal && !self.no_color() && env::var_os("TERM").is_none_or(|term| term != "dumb")
    }
}

/// The time, for what is written down and waited for: that of the clock, or [`NOW`] as for ages.
pub(super) fn clock() -> Timestamp {
    now().unwrap_or_else(|_| Timestamp::now())
}

/// The time that ages are counted from: that of the clock, or `CACHEDECK_NOW` for output that stays the same.
fn now() -> Result<Timestamp> {
    match env::var(NOW) {
        Ok(time) if !time.is_empty() => units::parse_time(&time).map_err(|error: Error| error.context(NOW)),
        _ => Ok(Timestamp::now()),
    }
}
