//! What every screen looks like: full, loading, empty, failed and without colour, in the sizes people have. Reviewed by
//! eye (`cargo insta review`); nothing in them depends on machine, time or terminal.

use crate::builder::{Builder, Told, event, worker};
use crate::fixtures::Fixture;
use crate::github::Github;
use crate::stage::{Scene, Stage, text_of};
use crate::{demo, open_with};
use cachedeck::error::Error;
use cachedeck::model::location::Location;
use cachedeck::tui::app::{Effect, Message, Report};
use cachedeck::tui::shared::Job;
use ratatui::buffer::Buffer;
use ratatui::style::Modifier;
use std::path::Path;
use std::time::Duration;

/// A desktop's terminal, and the one that everybody has at least.
pub const USUAL: &[(u16, u16)] = &[(120, 35), (80, 24)];
/// Where columns, panes and headers have left.
const SMALL: &[(u16, u16)] = &[(60, 20), (40, 10)];

/// Compares the frame with what was reviewed as `name`.
fn check(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}

/// Compares the screen as it is, in each of `sizes`.
pub fn check_in(sizes: &[(u16, u16)], name: &str, stage: &mut Stage) {
    let frames: Vec<String> = sizes.iter().map(|&(width, height)| stage.resize(width, height).text()).collect();
    check(name, &frames.join("\n"));
}

/// Every screen and box on the example cache, and the keys that lead there.
const SCREENS: &[(&str, &str)] = &[
    ("home", "j space j space j"),
    ("locations", "1"),
    ("layers", "enter j j"),
    ("layers_forest", "enter t"),
    ("graph", "enter ] j j j j j j"),
    ("graph_chain", "enter ] j j j j j j t"),
    ("graph_folded", "enter ] -"),
    ("graph_records", "enter ] T j j j"),
    ("records", "enter ] ] j j"),
    ("raw", "enter ] ] ] j j j"),
    ("versions", "j enter ] ] ] ]"),
    ("files", "enter j j j j j j enter = j j j j j j j j j j"),
    ("files_merged", "enter j enter t l l j"),
    ("files_filtered", "enter j enter / 'size>10KiB enter j"),
    ("blobs", "g b j j"),
    ("blobs_orphans", "g b T 3"),
    ("diff", "/ 'v1.1 enter m esc g g D"),
    ("diff_records", "/ 'v1.1 enter m esc g g D t"),
    ("findings", "V d g v"),
    ("found", "g f 'package.json enter"),
    ("log", "V s g L"),
    ("help", "?"),
    ("help_search", "? 'yank"),
    ("palette", ": 'go"),
    ("sort_menu", "s"),
    ("kinds_menu", "T"),
    ("verify_menu", "V"),
    ("filter_prompt", "/ 'dangling=true"),
    ("filter_wrong", "/ 'siz>1"),
    ("filter_nothing", "/ 'size>1TiB enter"),
    ("jump", "; 'feat"),
    ("command", "enter @"),
    ("info", "enter i"),
    ("chord", "y"),
    ("add_location", "a"),
    ("zoomed", "z"),
];

/// One of each screen.
const MAIN: [&str; 14] = [
    "home",
    "locations",
    "layers",
    "graph",
    "graph_records",
    "records",
    "raw",
    "versions",
    "files",
    "blobs",
    "diff",
    "findings",
    "found",
    "help",
];

#[test]
fn full() {
    for (name, keys) in SCREENS {
        let (mut stage, _fixture) = demo(Scene::default());
        check_in(USUAL, name, stage.press(keys));
    }
    let (mut stage, _fixture) = demo(Scene { tour: true, ..Scene::default() });
    check_in(USUAL, "tour", &mut stage);
}

#[test]
fn small() {
    for (name, keys) in &SCREENS[..18] {
        let (mut stage, _fixture) = demo(Scene::default());
        check_in(SMALL, &format!("{name}_small"), stage.press(keys));
    }
    for (name, keys) in [("help", "?"), ("info", "enter i"), ("command", "enter @"), ("chord", "g")] {
        let (mut stage, _fixture) = demo(Scene::default());
        check_in(SMALL, &format!("{name}_small"), stage.press(keys));
    }
    let (mut stage, _fixture) = demo(Scene { tour: true, ..Scene::default() });
    check_in(SMALL, "tour_small", &mut stage);
    check_in(&[(39, 9)], "too_small", &mut stage);
}

#[test]
fn ascii() {
    for name in ["home", "layers", "graph", "graph_records", "raw", "files", "blobs"] {
        let (mut stage, _fixture) = demo(Scene { ascii: true, ..Scene::default() });
        check_in(&[(80, 24)], &format!("{name}_ascii"), stage.press(keys_to(name)));
    }
}

#[test]
fn without_colour() {
    for name in MAIN {
        let (mut stage, _fixture) = demo(Scene { theme: "mono", ..Scene::default() });
        stage.press(keys_to(name));
        let frame = |&(width, height): &(u16, u16)| {
            let buffer = stage.resize(width, height).buffer();
            format!("{}\n{}", text_of(&buffer), attributes(&buffer))
        };
        let frames: Vec<String> = USUAL.iter().map(frame).collect();
        check(&format!("{name}_mono"), &frames.join("\n"));
    }
}

fn keys_to(name: &str) -> &'static str {
    SCREENS.iter().find(|(screen, _)| *screen == name).unwrap().1
}

/// What stands out and how, cell by cell: reversed, bold, underlined, dim.
fn attributes(buffer: &Buffer) -> String {
    let sign = |modifier: Modifier| match modifier {
        m if m.contains(Modifier::REVERSED) => 'r',
        m if m.contains(Modifier::UNDERLINED) => 'u',
        m if m.contains(Modifier::BOLD) => 'b',
        m if m.contains(Modifier::DIM) => '.',
        _ => ' ',
    };
    let row = |y| (0..buffer.area.width).map(|x| sign(buffer[(x, y)].modifier)).collect::<String>();
    (0..buffer.area.height).map(|y| row(y).trim_end().to_owned() + "\n").collect()
}

/// The job that the stage holds back.
fn held(stage: &Stage) -> Job {
    let Some(Effect::Start(job, _)) = stage.held.as_ref().unwrap().last() else { panic!("nothing was asked for") };
    job.clone()
}

#[test]
fn loading() {
    let (mut loaded, fixture) = demo(Scene::default());
    let found = loaded.app.shared.places[0].indexes()[..4].to_vec();
    let location = || vec![Location::local_dir(fixture.path().to_string_lossy())];
    let scene = || Scene { called: Some("shop-cache"), ..Scene::default() };
    for (name, keys) in [("home", ""), ("locations", "1"), ("layers", "enter"), ("graph", "enter ]"), ("blobs", "g b")]
    {
        let mut stage = Stage::loading(location(), scene());
        let job = held(&stage);
        stage.tell(Message::Report(job.id, Report::Found(found.clone())));
        job.progress.expect(80, 0);
        job.progress.add(32, 1_400_000);
        stage.press(keys).wait(Duration::from_millis(250));
        check_in(USUAL, &format!("{name}_loading"), &mut stage);
    }
    let mut stage = Stage::loading(location(), scene());
    check_in(USUAL, "home_first_frame", &mut stage);

    for (name, before, keys) in [
        ("raw", "enter", "] ] ]"),
        ("files", "enter j", "enter"),
        ("found", "", "g f 'package.json enter"),
        ("findings", "", "V d g v"),
    ] {
        loaded.press("g i").press(before);
        loaded.held = Some(Vec::new());
        loaded.press(keys).wait(Duration::from_millis(250));
        check_in(USUAL, &format!("{name}_loading"), &mut loaded);
        let id = held(&loaded).id;
        loaded.tell(Message::Report(id, Report::Failed(Error::cancelled())));
        loaded.wait(Duration::from_secs(60)).held = None;
        loaded.wait(Duration::ZERO);
    }
}

/// A cache folder in which nothing is yet.
fn empty_cache() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("blobs/sha256")).unwrap();
    std::fs::write(folder.path().join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    std::fs::write(folder.path().join("index.json"), r#"{"schemaVersion":2,"manifests":[]}"#).unwrap();
    folder
}

#[test]
fn empty() {
    let mut stage = Stage::open(Vec::new(), Scene::default());
    check_in(USUAL, "home_no_locations", &mut stage);

    let folder = empty_cache();
    let place = Location::local_dir(folder.path().to_string_lossy());
    let mut stage = Stage::open(vec![place], Scene { called: Some("new-cache"), ..Scene::default() });
    for (name, keys) in [
        ("home", ""),
        ("locations", "1"),
        ("blobs", "g b"),
        ("findings", "q g v"),
        ("verified", "V d"),
        ("found", "q g f 'x enter"),
        ("log", "q g L"),
    ] {
        check_in(USUAL, &format!("{name}_empty"), stage.press(keys));
    }
    check_in(SMALL, "home_empty_small", stage.press("g i"));

    let (mut stage, _fixture) = demo(Scene::default());
    check_in(USUAL, "diff_empty", stage.press("/ 'ed5e95 enter m esc / 'v1.0 enter D"));
}

#[test]
fn failed() {
    let mut stage = Stage::open(vec![Location::local_dir("no/such/folder")], Scene::default());
    check_in(USUAL, "home_no_such_folder", &mut stage);
    check_in(SMALL, "home_no_such_folder_small", &mut stage);
    check_in(USUAL, "blobs_no_such_folder", stage.press("g b"));
    check_in(USUAL, "log_no_such_folder", stage.press("g L"));

    let mut stage = Stage::open(vec![Location::local_dir("tests/fixtures")], Scene::default());
    check_in(USUAL, "home_not_a_cache", &mut stage);
    let mut stage = Stage::open(vec![Location::local_dir("tests/fixtures/broken")], Scene::default());
    check_in(USUAL, "home_truncated_index", &mut stage);

    let (mut stage, _fixture) = demo(Scene::default());
    check_in(USUAL, "layers_missing_blob", stage.press("j j enter / 'test enter"));
    // What fails is said with the folder's real name, which is another one each time.
    stage.press("enter").see("no blob sha256:bd22d5d5a8c4").see("reads it again");

    // A version whose config is damaged, and a location that is gone once it was loaded.
    let fixture = Fixture::unpack("local-max");
    let config = largest_document(&fixture.path());
    std::fs::remove_file(&config).unwrap();
    std::fs::write(&config, "{").unwrap();
    let mut stage = open_with(&fixture, Scene { called: Some("damaged"), ..Scene::default() });
    check_in(USUAL, "home_damaged", &mut stage);
    for (name, keys) in [("raw", "enter"), ("versions", "]"), ("layers", "]"), ("graph", "]"), ("records", "]")] {
        check_in(USUAL, &format!("{name}_damaged"), stage.press(keys));
    }
    std::fs::remove_dir_all(fixture.path()).unwrap();
    stage.press("g i r").see("damaged: no such folder");
}

/// The cache config of a folder with one version: the largest blob that is JSON.
fn largest_document(folder: &Path) -> std::path::PathBuf {
    let blobs = std::fs::read_dir(folder.join("blobs/sha256")).unwrap().map(|entry| entry.unwrap().path());
    let documents = blobs.filter(|path| std::fs::read(path).unwrap().starts_with(b"{\"layers\""));
    documents.max_by_key(|path| path.metadata().unwrap().len()).unwrap()
}

/// A repository in which BuildKit shares the quota with others.
fn repository() -> Github {
    let github = Github::start();
    {
        let mut contents = github.contents();
        contents.save("refs/heads/main", "node-cache-Linux-x64-npm-3f2a91", "0123", vec![0; 2_400_000]);
        contents.save("refs/pull/7/merge", "setup-go-Linux-x64-go-1.26-77ab10", "4567", vec![0; 310_000]);
    }
    for n in 1..=9u8 {
        let git_ref = if n < 6 { "refs/heads/main" } else { "refs/heads/feature/login" };
        let digest = cachedeck::model::digest::Digest::of(&[n]);
        github.save(git_ref, &format!("buildkit-blob-1-{digest}"), vec![n; 41_000 * usize::from(n)]);
    }
    for (git_ref, key) in [
        ("refs/heads/main", "index-web-1-f921bd05#1"),
        ("refs/heads/main", "index-web-1-f921bd05#2"),
        ("refs/heads/main", "index-api-1-f921bd05-sig#1"),
        ("refs/heads/feature/login", "index-web-1-9f5e1c27#1"),
    ] {
        github.save(git_ref, key, vec![b'{'; 5517]);
    }
    github
}

#[test]
fn gha() {
    let github = repository();
    for (name, keys) in [("gha", "g a j j"), ("gha_home", ""), ("gha_filtered", "g a T 2"), ("gha_refused", "enter")] {
        let mut stage = Stage::open(vec![github.rest()], Scene::default());
        check_in(USUAL, name, stage.press(keys));
    }
    let mut stage = Stage::open(vec![github.rest()], Scene { theme: "mono", ..Scene::default() });
    stage.press("g a j j");
    let frames: Vec<String> = USUAL
        .iter()
        .map(|&(width, height)| {
            let buffer = stage.resize(width, height).buffer();
            format!("{}\n{}", text_of(&buffer), attributes(&buffer))
        })
        .collect();
    check("gha_mono", &frames.join("\n"));
    let mut stage = Stage::loading(vec![github.rest()], Scene::default());
    check_in(USUAL, "gha_loading", stage.press("g a"));
    let mut stage = Stage::open(vec![github.rest().with("ghtoken", "ghp_wrong")], Scene::default());
    check_in(USUAL, "gha_failed", stage.press("g a"));
    let empty = Github::start();
    let mut stage = Stage::open(vec![empty.rest()], Scene::default());
    check_in(USUAL, "gha_empty", stage.press("g a"));
}

/// A builder two days after the fixtures were made, with a mount in use, an image's record, and a chain that a young step keeps.
fn told() -> Told {
    let mut told = Told::recorded();
    told.usage[0].in_use = true;
    told.usage[1].shared = true;
    let hostile = "[web 9/9] RUN echo \u{1b}[31mred\u{202e} \u{1f680} \u{4f60}\u{597d}".to_owned();
    told.usage[2].description = hostile;
    told.events.push(event("hostile\u{1b}[2J", 40, Some("exit\u{7} code: 1")));
    told
}

fn builder_stage(builder: &Builder, scene: Scene) -> Stage {
    let mut stage = Stage::open_builder(Location::new("daemon").with("addr", builder.address()), scene);
    stage.tell(Message::Tick("2026-11-22T18:00:00Z".parse().unwrap(), Duration::from_secs(1)));
    stage
}

#[test]
fn daemon() {
    let builder = Builder::start(told());
    for (name, keys) in [
        ("daemon", "g d j j"),
        ("daemon_home", "1"),
        ("daemon_zoomed", "g d z"),
        ("daemon_builds", "g d ] j"),
        ("daemon_build", "g d ] enter"),
        ("daemon_why", "1 enter j j i"),
        ("daemon_filtered", "enter / 'type=regular enter s u T 1"),
    ] {
        check_in(USUAL, name, builder_stage(&builder, Scene::default()).press(keys));
    }
    check_in(SMALL, "daemon_small", builder_stage(&builder, Scene::default()).press("g d"));
    let mut stage = builder_stage(&builder, Scene { theme: "mono", ..Scene::default() });
    let buffer = stage.press("g d j").buffer();
    check("daemon_mono", &format!("{}\n{}", text_of(&buffer), attributes(&buffer)));

    let here = || vec![Location::new("daemon").with("builder", "ci")];
    check_in(USUAL, "daemon_loading", Stage::loading(here(), Scene::default()).press("g d"));
    let none = Location::new("daemon").with("addr", "unix:///nowhere/buildkitd.sock");
    check_in(USUAL, "daemon_failed", Stage::open(vec![none], Scene::default()).press("g d"));
    let empty = Builder::start(Told { workers: vec![worker()], ..Told::default() });
    check_in(USUAL, "daemon_empty", builder_stage(&empty, Scene::default()).press("g d"));
    let old = Builder::start(Told { old: true, ..told() });
    check_in(USUAL, "daemon_old", builder_stage(&old, Scene::default()).press("g d ]"));
    let (mut stage, _fixture) = demo(Scene::default());
    stage.press("g d").see("no builder is among the locations");
}

#[test]
fn a_young_child_keeps_all_it_builds_on() {
    let mut told = Told { workers: vec![worker()], version: "v0.31.0".to_owned(), ..Told::default() };
    let known = Told::recorded().usage.remove(0);
    let id = |n: u8| format!("step{n}");
    told.usage = (0..8)
        .map(|n| {
            let mut usage = known.clone();
            usage.id = id(n);
            usage.parents = n.checked_sub(1).map(id).into_iter().collect();
            usage.description = format!("[build {n}/7] RUN make stage{n}");
            usage.size = 20_000_000_000;
            (usage.in_use, usage.shared, usage.mutable) = (false, false, false);
            usage.record_type = "regular".to_owned();
            let days = if n == 7 { 1 } else { 90 };
            let now: jiff::Timestamp = "2026-11-22T18:00:00Z".parse().unwrap();
            let used = now - jiff::SignedDuration::from_hours(24 * days);
            usage.last_used_at.as_mut().unwrap().seconds = used.as_second();
            usage
        })
        .collect();
    // Only what was unused for 60 days goes.
    told.workers[0].gc_policy.truncate(2);
    let builder = Builder::start(told);
    let mut stage = builder_stage(&builder, Scene::default());
    stage.press("g d / 'stage7 enter").see("young").see("so do the 7 records that it builds on");
    stage.press("esc / 'stage0 enter").see("child").see("7 records build on it").see("which was used not long");
}
