//! What a user does to build with a cache: see the command, start it, watch what it says, see what was cached. The builder itself is
//! that of `tests/pty.rs`; here its answers are given.

use crate::changing::cache;
use crate::snapshots::{USUAL, check_in};
use crate::stage::{Scene, Stage};
use cachedeck::error::{Error, Kind};
use cachedeck::model::build::{Facts, assemble};
use cachedeck::ops::build::Target;
use cachedeck::tui::app::{Effect, Ending, Message, Report};
use cachedeck::tui::building::{Building, Checked, Transcript};
use cachedeck::tui::screen::{Changing, Work};
use cachedeck::tui::shared::Standing;
use std::time::Duration;

/// The app with the box open, nothing checked yet.
fn asking(scene: Scene) -> Stage {
    let mut stage = crate::changing::open(&cache(), scene);
    stage.held = Some(Vec::new());
    stage.press("b");
    stage
}

/// The last build that was to be checked, and its job.
fn asked(stage: &Stage) -> (u64, Box<Building>) {
    let held = stage.held.as_ref().unwrap().iter().rev();
    let mut checks = held.filter_map(|effect| match effect {
        Effect::Start(job, order) => match &order.work {
            Work::Check(building) => Some((job.id, building.clone())),
            _ => None,
        },
        _ => None,
    });
    checks.next().unwrap()
}

/// Answers as a builder that takes it.
fn taken(stage: &mut Stage) {
    let (id, building) = asked(stage);
    let words = ["docker", "buildx", "build", "--progress=rawjson", "--cache-from"].map(str::to_owned);
    let from = building.from.cache_from(None, None).unwrap();
    let words = words.into_iter().chain([from]).chain(building.wish().arguments).collect();
    let warnings = vec!["the builder is older than what is known here".to_owned()];
    let checked = Checked { words, variables: vec!["AWS_ACCESS_KEY_ID".to_owned()], warnings };
    stage.tell(Message::Report(id, Report::Checked(building, Ok(checked))));
}

/// The app while it builds, the job, and what the build says.
fn building(scene: Scene) -> (Stage, u64) {
    let mut stage = asking(scene);
    taken(&mut stage);
    stage.press("enter w");
    let started = stage.held.as_ref().unwrap().iter().find_map(|effect| match effect {
        Effect::Start(job, order) => match &order.work {
            Work::Change(changing) if matches!(**changing, Changing::Build(_)) => Some(job.clone()),
            _ => None,
        },
        _ => None,
    });
    let job = started.unwrap();
    let said = Transcript::default();
    ["  0.1s  importing cache manifest from local", " cached  [2/4] RUN apt-get update", "   3.2s  [3/4] COPY . ."]
        .into_iter()
        .for_each(|line| said.say(line.to_owned()));
    job.progress.expect(4, 0);
    job.progress.add(3, 0);
    stage.tell(Message::Report(job.id, Report::Says(said)));
    (stage, job.id)
}

fn done() -> Report {
    let lines = ["3 of 4 steps cached, 3 of them imported; 4.0s", "cached, imported  [2/4] RUN apt-get update"];
    let state = Standing::Done(lines.map(str::to_owned).to_vec());
    Report::Changed(Ending { state, runs: Vec::new() })
}

#[test]
fn the_command_is_seen_before_anything_is_built() {
    let mut stage = asking(Scene::default());
    stage.see("build with main of local:shop-cache").see("asking the builder; nothing is built");
    stage.press("enter").see("the builder was not heard yet");
    taken(&mut stage);
    stage.see("docker buildx build").see("digest=sha256:44e4").see("AWS_ACCESS_KEY_ID").see("older than what is known");
    let all = |stage: &Stage| stage.held.as_ref().unwrap().len();
    let before = all(&stage);
    stage.press("tab right").see("[mode=max: all steps]");
    let (_, wanted) = asked(&stage);
    assert_eq!((wanted.to.as_ref().map(|(_, max)| *max), all(&stage)), (Some(true), before + 1));
    assert_eq!(wanted.to.unwrap().0.asked_name(), Some("main"));
    stage.press("tab 'ci tab '--target 'app").press("shift+tab up up").see("asking the builder");
    stage.wait(Duration::from_secs(2));
    let (id, wanted) = asked(&stage);
    let wish = wanted.wish();
    assert_eq!((wish.builder.as_deref(), wish.arguments.join(" ").as_str()), (Some("ci"), "--targetapp ."));
    let error = Error::new(Kind::NotFound, "builder ci: no builder \"ci\" found").with_hint("`docker buildx ls` shows");
    stage.tell(Message::Report(id, Report::Checked(wanted, Err(error))));
    stage.see("no builder").see("`docker buildx ls` shows").press("enter").see("this can't be built");
    stage.press("esc w").see("nothing runs, and nothing was changed");
}

#[test]
fn an_address_is_built_at_through_buildctl() {
    let mut stage = asking(Scene::default());
    stage.press("tab tab 'tcp://ci:1234");
    stage.wait(Duration::from_secs(2));
    let (_, wanted) = asked(&stage);
    assert_eq!(wanted.target, Target::Buildctl("tcp://ci:1234".to_owned()));
    let words = |wanted: &Building| assemble(&wanted.wish(), &Facts::default(), &|_| None).unwrap().words.join(" ");
    let expected = "--frontend dockerfile.v0 --local context=. --local dockerfile=.";
    assert!(words(&wanted).ends_with(expected), "{}", words(&wanted));
    let remote = Building { context: "https://h/r.git".to_owned(), ..*wanted };
    assert!(words(&remote).ends_with("--opt context=https://h/r.git"), "{}", words(&remote));
}

#[test]
fn a_build_says_what_it_does_and_what_was_cached() {
    let (mut stage, id) = building(Scene::default());
    stage.see("with main of local:shop-cache").see("3 of 4 75%").see("cached  [2/4] RUN apt-get update");
    stage.tell(Message::Report(id, done()));
    stage.press("j").see("done").see("3 of 4 steps cached, 3 of them imported").press("i").see("3.2s  [3/4] COPY");
}

#[test]
fn a_build_that_failed_is_tried_again_and_one_that_exports_nothing_may_be_made_anywhere() {
    let scene = Scene { read_only: Some("the config says so"), ..Scene::default() };
    let (mut stage, id) = building(scene);
    let state = Standing::Failed(vec!["[3/4] COPY . .: exit code 1".to_owned()]);
    stage.tell(Message::Report(id, Report::Changed(Ending { state, runs: Vec::new() })));
    stage.press("j").see("failed").see("exit code 1").press("A").see("runs");
    let mut stage = asking(Scene { read_only: Some("the config says so"), ..Scene::default() });
    stage.press("tab right").see("is read-only: the config says so").see("build without exporting");
}

#[test]
fn what_a_builder_says_is_spelt_out() {
    let (mut stage, id) = building(Scene::default());
    let state = Standing::Failed(vec!["\u{1b}[31mred\u{202e}".to_owned()]);
    stage.tell(Message::Report(id, Report::Changed(Ending { state, runs: Vec::new() })));
    let text = stage.text();
    assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text:?}");
}

/// The box of a build that exports what it built, with the command that a real builder would be asked with.
pub fn picture(scene: Scene) -> Stage {
    let mut stage = asking(scene);
    stage.press("tab right tab tab '-t space 'shop:main");
    stage.wait(Duration::from_secs(2));
    let (id, building) = asked(&stage);
    let builder = Facts { driver: Some("docker-container".to_owned()), ..Facts::default() };
    let assembled = assemble(&building.wish(), &builder, &|_| None).unwrap();
    let words = ["docker", "buildx"].map(str::to_owned).into_iter().chain(assembled.words).collect();
    let checked = Checked { words, variables: Vec::new(), warnings: Vec::new() };
    stage.tell(Message::Report(id, Report::Checked(building, Ok(checked))));
    stage
}

#[test]
fn the_frames_of_building() {
    let mut stage = asking(Scene::default());
    taken(&mut stage);
    check_in(USUAL, "build", &mut stage);
    let (mut stage, id) = building(Scene::default());
    check_in(USUAL, "build_running", &mut stage);
    stage.tell(Message::Report(id, done()));
    stage.wait(Duration::from_secs(30));
    check_in(USUAL, "build_done", &mut stage);
    let mut stage = asking(Scene { theme: "mono", ascii: true, ..Scene::default() });
    taken(&mut stage);
    for (width, height) in [(100, 20), (60, 15), (40, 10), (12, 3), (0, 0), (120, 35)] {
        assert!(stage.resize(width, height).text().is_ascii());
    }
}
