//! What a user does to change a cache: choose, plan, apply, look at jobs, take back, pin. On the example cache in a store in
//! memory, which holds to the contract more strictly than real places do.

use crate::fixtures::Fixture;
use crate::snapshots::{USUAL, check_in};
use crate::stage::{NOW, Scene, Stage, text_of};
use cachedeck::model::digest::Digest;
use cachedeck::model::location::Location;
use cachedeck::model::policy::Policy;
use cachedeck::ops::prune::Wish;
use cachedeck::store::memory::Memory;
use cachedeck::tui::app::{Effect, Ending, Message, Report};
use cachedeck::tui::shared::Standing;
use jiff::Timestamp;
use ratatui::style::{Color, Modifier};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

/// The example cache in memory, its blobs as old as its files; two more that nothing needs, one of them just written.
pub fn cache() -> Arc<Memory> {
    cache_called("shop-cache")
}

/// The same in another place.
fn cache_called(name: &str) -> Arc<Memory> {
    let fixture = Fixture::unpack_from("assets/demo.tar.gz", "shop-cache");
    let memory = Memory::new(Location::local_dir(name));
    let now: Timestamp = NOW.parse().unwrap();
    let mut files: Vec<_> = std::fs::read_dir(fixture.path().join("blobs/sha256"))
        .unwrap()
        .map(|file| {
            let file = file.unwrap();
            let written = file.metadata().unwrap().modified().unwrap().duration_since(UNIX_EPOCH).unwrap().as_secs();
            (Timestamp::from_second(written as i64).unwrap(), file.path())
        })
        .collect();
    files.sort();
    for (written, path) in files {
        let passed = written.min(now).duration_since(memory.now());
        memory.advance(passed.max(jiff::SignedDuration::ZERO));
        memory.insert(std::fs::read(path).unwrap());
    }
    memory.insert("nothing needs this".repeat(40_000));
    let index: serde_json::Value =
        serde_json::from_slice(&std::fs::read(fixture.path().join("index.json")).unwrap()).unwrap();
    for entry in index["manifests"].as_array().unwrap() {
        let digest: Digest = entry["digest"].as_str().unwrap().parse().unwrap();
        memory.name(entry["annotations"]["org.opencontainers.image.ref.name"].as_str().unwrap(), digest);
    }
    memory.advance(now.duration_since(memory.now()));
    memory.insert("somebody is about to need this".repeat(1000));
    Arc::new(memory)
}

/// The app on that cache.
pub fn open(memory: &Arc<Memory>, scene: Scene) -> Stage {
    let store: Arc<dyn cachedeck::store::Store> = memory.clone();
    Stage::open(vec![Location::local_dir("shop-cache")], Scene { store: Some(store), ..scene })
}

/// What must be typed before anything is changed there.
const NAME: &str = "shop-cache";

/// The app with one version staged, its plan applied.
fn applied(memory: &Arc<Memory>, scene: Scene) -> Stage {
    let mut stage = open(memory, scene);
    stage.press("d P A").press(&format!("'{NAME} enter"));
    stage
}

#[test]
fn what_is_staged_goes_once_its_name_is_typed_and_comes_back_from_the_trash() {
    let memory = cache();
    let mut stage = open(&memory, Scene::default());
    stage.see("12 indexes").see("●  main").see("RW");
    stage.press("d").see("1 staged").see("nothing is removed yet").see("●- main");
    stage.press("P").see("› prune plan").see("DRY RUN - nothing is removed until A").see("you chose it to go");
    // Enter on an untouched box cancels.
    stage.press("A").see("apply this prune").press("enter").miss("apply this prune");
    stage.press("A 'shop enter").see("that is not its name; nothing was done").see("apply this prune");
    // Another key than the one that goes on: still nothing.
    stage.press("esc").miss("apply this prune").press("w").see("nothing runs, and nothing was changed").press("q");
    stage.press("A").press(&format!("'{NAME} enter"));
    stage.see("9 blobs hidden").miss("1 staged").miss("you chose it to go");
    stage.press("w").see("prune").see("done").press("q q");
    stage.see("1/11").miss("44e48227f52d");
    stage.press("g t").see("in 6h").see("9 blobs").press("u").see("come back").press("enter").miss("come back");
    stage.press("u tab enter").see("nothing is hidden").press("q").see("1/12").see("●  main");
}

#[test]
fn a_choice_can_be_taken_back_and_made_again() {
    let memory = cache();
    let mut stage = open(&memory, Scene::default());
    stage.press("d j j j d").see("2 staged").press("u").see("1 staged").press("U").see("2 staged");
    stage.press("u u").miss("staged ·").press("u").see("nothing was chosen before this");
    stage.press("space space d").see("2 staged").press("d").see("not removed after all");
}

#[test]
fn the_policy_is_edited_and_each_edit_is_a_new_plan() {
    let memory = cache();
    let mut stage = open(&memory, Scene::default());
    stage.press("P").see("6 versions").see("old, and no name leads");
    stage.press("1 j space").see("[x] keep the last of each").see("--keep-last 3").see("no rule keeps it");
    stage.press("e ctrl+u '1 enter").see("--keep-last 1").press("e ctrl+u 'x enter").see("that is no whole number");
    stage.press("esc u").see("--keep-last 3").press("U").see("--keep-last 1").press("u u").miss("--keep-last");
    // The plan is kept when one goes back.
    stage.press("U q").press("P").see("--keep-last 3");
    stage.press("2 / 'orphan enter space").see("--no-sweep").see("they were not asked for");
}

#[test]
fn a_row_is_flipped_and_says_that_it_was_chosen() {
    let memory = cache();
    let mut stage = open(&memory, Scene::default());
    stage.press("P / 'checkout enter space").see("you chose it to go").see("--remove feature/checkout");
    stage.press("space").see("you chose it to stay").see("--keep feature/checkout");
    stage.press("i").see("feature/checkout").see("frees").press("esc enter").see("nothing is done to it");
    stage.press("esc esc / 'orphan enter enter").see("hide").see("sha256:");
}

#[test]
fn a_plan_that_a_guard_refuses_is_shown_and_not_applied() {
    let memory = cache();
    let mut stage = open(&memory, Scene::default());
    stage.press("P 1 j j e ctrl+u '1s enter").see("refused").see("keeps no version at all");
    stage.press("A").see("not applied").miss("type shop-cache").press("q").see("1/12");
}

#[test]
fn what_changed_since_the_plan_is_not_touched() {
    let memory = cache();
    let mut stage = open(&memory, Scene::default());
    stage.press("d P").see("you chose it to go");
    let other = memory.insert("{}");
    memory.name("new", other);
    stage.press(&format!("A '{NAME} enter"));
    stage.see("has changed since the plan was made").press("w").see("failed").press("q");
    // What was chosen is chosen still, and there is a plan of the place as it is.
    stage.see("1 staged").see("you chose it to go").see("new");
}

#[test]
fn the_plan_is_written_to_a_file_as_it_is() {
    let memory = cache();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plan.json");
    let mut stage = open(&memory, Scene::default());
    stage.press(&format!("d P x ctrl+u '{} enter", path.display())).see("wrote");
    let plan: cachedeck::model::plan::Plan = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    assert!(plan.policy.contains(&"take main away".to_owned()), "{:?}", plan.policy);
    assert_eq!(plan.removed().filter(|row| row.names == ["main"]).count(), 1);
}

#[test]
fn a_pin_keeps_a_version_and_is_taken_away_again() {
    let memory = cache();
    let mut stage = open(&memory, Scene::default());
    stage.press("/ '039ec enter p").see("pin untagged 039ec9").see("pin-039ec9886022");
    stage.press("tab 'soon enter").see("bad duration").press("ctrl+u '90d tab 'release enter");
    stage.see("◆  pin-039ec9886022").press("w").see("pin").see("all of it is there").see("--cache-from").press("q");
    stage.press("d").see("is pinned, so it stays").miss("staged ·");
    stage.press("g P").see("pins of").see("until in 3mo").see("release").press("esc esc");
    stage
        .press("P / '039ec enter")
        .see("pinned 0s ago")
        .see("keep ◆")
        .press("space")
        .see("pins always stay")
        .press("q");
    stage.press("/ '039ec enter p").see("take the pin away").press("enter").see("◆");
    stage.press("p").see("only name").press("esc");
    // Named twice, the pin alone goes.
    let version = stage.app.shared.places[0].index(&memory_digest(&memory)).unwrap().digest;
    memory.name("kept-too", version);
    stage.press("r p tab enter").miss("◆").see("kept-too").press("g P").see("no pins here");
}

/// The version that is pinned above.
fn memory_digest(memory: &Memory) -> Digest {
    let names = futures::executor::block_on(cachedeck::store::Store::references(memory)).unwrap();
    names.items.iter().find(|name| name.name.starts_with("pin-")).unwrap().digest.unwrap()
}

#[test]
fn broken_versions_are_mended_from_what_verifying_found() {
    let memory = cache();
    let mut stage = open(&memory, Scene::default());
    stage.press("V e g v").see("blob missing").press("F").see("› repair plan").see("nightly").see("WRITE");
    stage.press("A").see("apply this repair").press(&format!("'{NAME} enter")).see("nothing is broken");
    stage.press("q q").miss("●✕");
}

#[test]
fn a_repair_fetches_what_another_place_still_has() {
    let (memory, backup) = (cache(), cache_called("backup"));
    let stores: Vec<Arc<dyn cachedeck::store::Store>> = vec![memory.clone(), backup];
    let locations = stores.iter().map(|store| store.location().clone()).collect();
    let mut stage = Stage::open(locations, Scene { stores, ..Scene::default() });
    crate::copying::lost(&memory, &stage);
    stage.press("r V e g v F").see("WRITE").see("main").see("nowhere; e chooses");
    stage.press("e").see("fetch what is missing from").press("t 'backups enter").see("no such folder: backups");
    stage
        .press("esc e")
        .see("local:backup")
        .press("1")
        .see("fetches  local:backup")
        .see("--from type=local,src=backup");
    stage.press(&format!("A '{NAME} enter")).see("nothing is broken");
    stage.press("q q").see("●  main").see("44e48227f52d");
}

#[test]
fn changes_of_a_place_queue_and_stop_between_two_steps() {
    let memory = cache();
    let mut stage = open(&memory, Scene::default());
    stage.press("d P").held = Some(Vec::new());
    stage.press(&format!("A '{NAME} enter")).see("prune");
    stage.press("q / '039ec enter p enter w").see("runs").see("waits").see("waits");
    let Some(Effect::Start(job, _)) = stage.held.as_ref().unwrap().first() else { panic!("nothing was asked for") };
    let (id, progress) = (job.id, job.progress.clone());
    assert_eq!(stage.held.as_ref().unwrap().len(), 1, "the second waits for the first");
    stage.press("g g ctrl+c").see("pin was stopped before it began").see("nothing was changed");
    stage.press("j ctrl+c").see("stops after its current step").see("stopping");
    assert!(progress.is_cancelled());
    // Leaving asks while something is being changed.
    stage.press("Q").see("a cache is being changed").press("enter");
    assert!(!stage.quit);
    let far = vec!["it stopped: you stopped it; 1 of 1 name changed, 3 of 8 hidden".to_owned()];
    stage.tell(Message::Report(
        id,
        Report::Changed(Ending { state: Standing::Partly(far), runs: vec!["20261120-120000-000001".parse().unwrap()] }),
    ));
    stage.see("partly").see("3 of 8 hidden").see("u on the jobs (gw)").see("u here, or cachedeck undo");
}

#[test]
fn quitting_while_a_cache_is_changed_waits_for_the_current_step() {
    let memory = cache();
    let mut stage = open(&memory, Scene::default());
    stage.press("d P").held = Some(Vec::new());
    stage.press(&format!("A '{NAME} enter Q tab enter")).see("stopping after the current step");
    assert!(!stage.quit);
    let Some(Effect::Start(job, _)) = stage.held.as_ref().unwrap().first() else { panic!("nothing was asked for") };
    let (id, progress) = (job.id, job.progress.clone());
    assert!(progress.is_cancelled());
    stage.tell(Message::Report(id, Report::Changed(Ending { state: Standing::Partly(Vec::new()), runs: Vec::new() })));
    assert!(stage.quit);
}

#[test]
fn read_only_places_say_why_and_change_nothing() {
    let memory = cache();
    let mut stage = open(&memory, Scene { read_only: Some("the config says so"), ..Scene::default() });
    stage.see("RO").press("d").see("is read-only: the config says so").miss("staged");
    stage.press("p").see("is read-only").press("P").see("DRY RUN").press("A").see("is read-only").miss("type shop");
    let fixture = Fixture::unpack("local-max");
    crate::open(&fixture).see("RW");
}

#[test]
fn the_policy_of_the_config_is_what_the_planner_begins_with() {
    let memory = cache();
    let policy = Policy { keep_last: Some(2), ..Policy::default() };
    let mut stage = open(&memory, Scene { pruning: Some(Wish::prune(policy)), ..Scene::default() });
    stage.press("P").see("--keep-last 2").see("no rule keeps it");
}

#[test]
fn hostile_names_are_spelt_out_wherever_changes_are_shown() {
    let memory = cache();
    let names = futures::executor::block_on(cachedeck::store::Store::references(&*memory)).unwrap();
    let main = names.items.iter().find(|name| name.name == "main").unwrap().digest.unwrap();
    memory.name("\u{1b}[31mred\u{202e}gnp\u{7}", main);
    let mut stage = open(&memory, Scene::default());
    let clean = |stage: &mut Stage| {
        let text = stage.text();
        assert!(!text.contains(['\u{1b}', '\u{202e}', '\u{7}']), "{text:?}");
    };
    for keys in
        ["d", "P", "i", "esc", "enter", "esc", "A", "'shop-cache", "enter", "w", "i", "esc q q g t", "i", "esc u"]
    {
        stage.press(keys);
        clean(&mut stage);
    }
}

/// A walk over everything that changes caches.
const WALK: &[&str] = &[
    "d",
    "P",
    "1",
    "j space",
    "e",
    "esc",
    "2",
    "i",
    "esc",
    "enter",
    "esc",
    "A",
    "'x",
    "enter",
    "esc",
    "z",
    "z",
    "q p",
    "tab",
    "esc",
    "P A 'shop-cache enter",
    "w",
    "i",
    "esc",
    "q q",
    "g t",
    "u",
    "esc",
    "E",
    "esc",
    "q",
    "g P",
    "V e",
    "g v",
    "F",
];

#[test]
fn no_colour_no_odd_sign_and_no_size_breaks_them() {
    let memory = cache();
    let mut stage = open(&memory, Scene { theme: "mono", ascii: true, ..Scene::default() });
    for keys in WALK {
        stage.resize(120, 35).press(keys);
        let buffer = stage.buffer();
        let text = text_of(&buffer);
        assert!(
            buffer.content().iter().all(|cell| (cell.fg, cell.bg) == (Color::Reset, Color::Reset)),
            "{keys}:\n{text}"
        );
        assert!(text.is_ascii(), "{keys}:\n{text}");
        for (width, height) in [(100, 20), (80, 24), (60, 15), (40, 10), (84, 60), (250, 90), (12, 3), (0, 0)] {
            stage.resize(width, height).text();
        }
    }
}

#[test]
fn the_cursor_and_the_choice_of_a_box_are_seen_without_colour() {
    let memory = cache();
    let mut stage = open(&memory, Scene { theme: "mono", ..Scene::default() });
    for keys in ["d P", "1", "2 A", "esc q g t T 1"] {
        stage.press(keys);
        let buffer = stage.buffer();
        let reversed = buffer.content().iter().filter(|cell| cell.modifier.contains(Modifier::REVERSED)).count();
        assert!(keys.contains("g t") || reversed > 5, "after {keys:?}:\n{}", text_of(&buffer));
    }
}

#[test]
fn local_caches_are_changed_and_come_back_too() {
    let fixture = Fixture::unpack("local-history");
    let mut stage = crate::open(&fixture);
    let name = fixture.path().to_string_lossy().into_owned();
    let before = listing(&fixture);
    // The files were unpacked just now: what is young is left alone, unless the user says otherwise.
    stage.press("/ '1b4979 enter d esc P").see("younger than");
    stage.press("1 j j j j j j j j j j j e ctrl+u '0 enter").see("--grace 0s").see("you chose it to go");
    assert_eq!(listing(&fixture), before, "a plan changes nothing");
    stage.press(&format!("A '{name} enter w")).see("done").see("hidden").press("q q").see("1/5");
    stage.press("g t u tab enter").see("nothing is hidden").press("q").see("1/6");
    assert_eq!(listing(&fixture), before);
}

/// Blobs and index of a local cache.
fn listing(fixture: &Fixture) -> Vec<String> {
    let mut all: Vec<String> = std::fs::read_dir(fixture.path().join("blobs/sha256"))
        .unwrap()
        .map(|file| file.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    all.sort();
    all.push(std::fs::read_to_string(fixture.path().join("index.json")).unwrap());
    all
}

/// Keys after which the planner, the jobs and the trash are worth a picture.
pub const PICTURES: &[(&str, &str)] = &[
    ("planner", "/ 'checkout enter d esc P 1 j space j space 2 j j"),
    ("trash", "j j j d P A 'shop-cache enter A 'shop-cache enter q g t"),
];

#[test]
fn the_frames_of_changing_a_cache() {
    let frames = [
        ("staged", "j d j j d"),
        ("plan", "j d j j d P"),
        ("plan_policy", "P 1 j space j space j j j j j e ctrl+u 'main,v1.* enter"),
        ("plan_usual", "P"),
        ("plan_refused", "P 1 j j e ctrl+u '1s enter"),
        ("plan_error", "P 1 G k k k k k k k k k e '[ enter"),
        ("plan_row", "P / 'orphan enter enter"),
        ("plan_command", "j d P @"),
        ("confirm", "j d P A"),
        ("confirm_wrong", "j d P A 'shop enter"),
        ("jobs_empty", "w"),
        ("trash_empty", "g t"),
        ("pin_box", "p"),
        ("repair", "V e g v F"),
    ];
    for (name, keys) in frames {
        let memory = cache();
        let mut stage = open(&memory, Scene::default());
        stage.press(keys);
        check_in(USUAL, name, stage.wait(Duration::from_secs(30)));
    }
    let empty = Arc::new(Memory::new(Location::local_dir("shop-cache")));
    let mut stage = open(&empty, Scene::default());
    check_in(USUAL, "plan_empty", stage.press("P"));
    let memory = cache();
    let mut stage = applied(&memory, Scene::default());
    stage.press("q p enter j j j d P").wait(Duration::from_secs(30));
    check_in(USUAL, "plan_pinned", &mut stage);
    check_in(USUAL, "jobs", stage.press("w j"));
    check_in(USUAL, "trash", stage.press("q q g t"));
    check_in(USUAL, "trash_all", stage.press("T 1"));
    check_in(USUAL, "empty_box", stage.press("T 0 E"));
    check_in(USUAL, "pins", stage.press("esc g P"));
    let memory = cache();
    let mut stage = open(&memory, Scene::default());
    stage.press("d P").held = Some(Vec::new());
    stage.press(&format!("A '{NAME} enter q / '039ec enter p enter w")).wait(Duration::from_secs(30));
    check_in(USUAL, "jobs_running", &mut stage);
    check_in(USUAL, "quit_box", stage.press("Q"));
    for (name, keys) in
        [("plan_mono", "j d P"), ("confirm_mono", "j d P A"), ("trash_mono", "d P A 'shop-cache enter q g t")]
    {
        let memory = cache();
        let mut stage = open(&memory, Scene { theme: "mono", ..Scene::default() });
        stage.press(keys).wait(Duration::from_secs(30));
        check_in(USUAL, name, &mut stage);
    }
}
