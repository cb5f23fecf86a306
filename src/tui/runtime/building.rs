//! Builds: checked against their builder, run, and told of line by line. `ops` does it; what the program says is made safe here.

use crate::error::{Error, Kind, Result};
use crate::model::build::report::{Ending as How, Imported, Origin, Report, Step};
use crate::model::build::watch::{Kind as Role, State, Watch};
use crate::model::build::{Assembled, Facts, assemble};
use crate::model::text;
use crate::model::units::count;
use crate::ops::build::{self, Found, News};
use crate::progress::Progress;
use crate::store::catalog;
use crate::tui::app::Ending;
use crate::tui::building::{Building, Checked, Transcript};
use crate::tui::shared::Standing;
use std::time::{Duration, Instant};

/// How long a step that is done may turn out to have been cached: builders fetch the result of a cached one first.
const SETTLING: Duration = Duration::from_millis(400);
/// The longest text of a line, in bytes.
const LONGEST: usize = 300;

/// The command of a build, checked against what its builder tells of itself. Nothing is built.
pub(super) async fn check(building: &Building) -> Result<Checked> {
    let (found, assembled) = assembled(building).await?;
    Ok(Checked {
        words: found.words.iter().chain(&assembled.words).cloned().collect(),
        variables: assembled.variables().map(str::to_owned).collect(),
        warnings: assembled.warnings,
    })
}

async fn assembled(building: &Building) -> Result<(Found, Assembled)> {
    let wish = building.wish();
    let environment = |name: &str| std::env::var(name).ok();
    // What is wrong whoever builds is told without asking anybody.
    assemble(&wish, &Facts::default(), &environment)?;
    let found = building.target.find().await?;
    let assembled = assemble(&wish, &found.facts, &environment)?;
    Ok((found, assembled))
}

/// Builds, to its end.
pub(super) async fn build(building: Building, progress: Progress, said: Transcript) -> Result<Ending> {
    let runtime = tokio::runtime::Handle::current();
    // What hears of the build is bound to one thread.
    let work = move || {
        runtime.block_on(async {
            let (found, assembled) = assembled(&building).await?;
            let mut listener = Listener { said, progress: progress.clone(), steps: Vec::new(), done: 0, all: 0 };
            let mut tell = |news: News<'_>| listener.hear(news);
            let was_empty = was_empty(&building).await;
            let report = build::run(found, &assembled, was_empty, &progress, &mut tell).await?;
            listener.flush(Duration::ZERO);
            Ok(told(&report))
        })
    };
    let ended = tokio::task::spawn_blocking(work).await;
    ended.map_err(|why| Error::new(Kind::Internal, "the build broke off").with_source(why))?
}

/// Whether the builder holds nothing yet: then whatever is cached was imported. `None` if it does not tell.
async fn was_empty(building: &Building) -> Option<bool> {
    let location = building.target.location();
    let records = match super::blocking(move || catalog::open(&location)).await {
        Ok(store) => store.usage().await,
        Err(error) => Err(error),
    };
    records.inspect_err(|error| tracing::info!("the builder's records: {error}")).ok().map(|all| all.is_empty())
}

/// A step as it was last heard of.
struct Heard {
    state: State,
    since: Instant,
    line: String,
    told: bool,
}

/// Turns what is heard into lines and progress.
struct Listener {
    said: Transcript,
    progress: Progress,
    steps: Vec<Option<Heard>>,
    done: usize,
    all: usize,
}

impl Listener {
    fn hear(&mut self, news: News<'_>) {
        match news {
            News::Line(line) if line.trim().is_empty() => {}
            News::Line(line) => self.said.say(text::safe_within(line, LONGEST).into_owned()),
            News::Changed(watch) => self.changed(watch),
        }
        self.flush(SETTLING);
    }

    fn changed(&mut self, watch: &Watch) {
        let (done, all) = watch.progress();
        // Counters only grow; a step that is done stays so.
        let grown = |now: usize, before: usize| now.saturating_sub(before) as u64;
        self.progress.expect(grown(all, self.all), 0);
        self.progress.add(grown(done, self.done), 0);
        (self.done, self.all) = (self.done.max(done), self.all.max(all));
        self.steps.resize_with(watch.all().len().max(self.steps.len()), || None);
        for (heard, watched) in self.steps.iter_mut().zip(watch.all()) {
            let state = watched.state();
            let shown = watched.kind != Role::Other || state == State::Failed;
            if !shown || heard.as_ref().is_some_and(|heard| heard.state == state) {
                continue;
            }
            let word = match state {
                State::Cached => "cached".to_owned(),
                State::Failed => "failed".to_owned(),
                _ => watched.took().map(seconds).unwrap_or_default(),
            };
            let why = watched.error.as_deref().map(|why| format!(": {}", text::safe_within(why, LONGEST)));
            let name = text::safe_within(&watched.name, LONGEST);
            let line = format!("{word:>7}  {name}{}", why.unwrap_or_default());
            let told = heard.as_ref().is_some_and(|heard| heard.told);
            *heard = Some(Heard { state, since: Instant::now(), line, told });
        }
    }

    /// Tells what is over for so long.
    fn flush(&mut self, settling: Duration) {
        for heard in self.steps.iter_mut().flatten().filter(|heard| !heard.told) {
            let over = match heard.state {
                State::Cached | State::Failed => true,
                State::Done => heard.since.elapsed() >= settling,
                State::Waiting | State::Running | State::Canceled => false,
            };
            if over {
                heard.told = true;
                self.said.say(heard.line.clone());
            }
        }
    }
}

/// What came of a build, in sentences: how much was cached, then caches, then step by step.
fn told(report: &Report) -> Ending {
    let safe = |given: &str| text::safe_within(given, LONGEST).into_owned();
    let mut lines = Vec::new();
    if let Some(failure) = &report.failure {
        let step = failure.step.as_deref().map(|step| format!("{}: ", safe(step))).unwrap_or_default();
        lines.push(format!("{step}{}", safe(&failure.error)));
        lines.extend(failure.log.iter().map(|line| format!("  {}", safe(line))));
    }
    if report.ending == How::Stopped {
        lines.push("stopped".to_owned());
    }
    lines.push(sum(report));
    for import in &report.imports {
        let title = import.location.title();
        match &import.state {
            Imported::Failed(why) => lines.push(format!("{title} was not imported: {}", safe(why))),
            Imported::LeftOut if report.ending == How::Done => {
                lines.push(format!("{title} was not imported: the builder was not asked for it"));
            }
            _ => {}
        }
    }
    for export in report.exports.iter().filter(|_| report.ending == How::Done) {
        let digest = export.manifest.map(|digest| format!(" as {}", digest.short())).unwrap_or_default();
        lines.push(format!("exported to {}{digest}", export.location.title()));
    }
    lines.extend(report.warnings.iter().map(|warning| safe(warning)));
    lines.extend(report.steps.iter().map(step));
    let state = match report.ending {
        How::Done => Standing::Done(lines),
        How::Failed | How::Stopped => Standing::Failed(lines),
    };
    Ending { state, runs: Vec::new() }
}

/// `6 of 8 steps cached, 4 of them imported; 12.3s`.
fn sum(report: &Report) -> String {
    let from = [(Origin::Imported, "imported"), (Origin::Unknown, "imported or in the builder, it does not tell")];
    let from = from.map(|(origin, words)| (report.cached_from(origin), words)).into_iter().filter(|(n, _)| *n > 0);
    let imported: String = from.map(|(n, words)| format!(", {n} of them {words}")).collect();
    let took = report.took().map(|took| format!("; {}", seconds(took))).unwrap_or_default();
    let (cached, all) = (report.count(State::Cached), report.steps.len() as u64);
    format!("{cached} of {} cached{imported}{took}", count(all, "step"))
}

/// `cached, imported  [2/5] RUN make`.
fn step(step: &Step) -> String {
    let how = match (step.state, step.origin) {
        (State::Cached, Some(Origin::Imported)) => "cached, imported".to_owned(),
        (State::Cached, Some(Origin::Builder)) => "cached, in the builder".to_owned(),
        (State::Cached, _) => "cached".to_owned(),
        (State::Failed, _) => "failed".to_owned(),
        (State::Done, _) => step.took.map_or("done".to_owned(), |took| format!("not cached, {}", seconds(took))),
        (State::Waiting | State::Running | State::Canceled, _) => "not reached".to_owned(),
    };
    format!("{how}  {}", text::safe_within(&step.name, LONGEST))
}

/// `12.3s`, and `2m05s` from a minute on.
fn seconds(took: Duration) -> String {
    match took.as_secs() {
        0..60 => format!("{:.1}s", took.as_secs_f64()),
        all => format!("{}m{:02}s", all / 60, all % 60),
    }
}
