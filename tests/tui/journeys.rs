//! What a user does, key by key.

use crate::fixtures::Fixture;
use crate::stage::{Scene, Stage};
use crate::{location, names, open, open_with};
use cachedeck::format::usage;
use cachedeck::model::location::Location;
use cachedeck::ops::names::StepNames;
use cachedeck::tui::app::{Effect, Message, Report};
use cachedeck::tui::keys::{Keymap, Overrides};
use crossterm::event::MouseEventKind;
use std::time::Duration;

#[test]
fn every_version_is_a_row_and_the_newest_comes_first() {
    let fixture = Fixture::unpack("local-history");
    let mut stage = open(&fixture);
    stage.see("latest").see("release").see("untagged").see("1/6").see("6 indexes");
    assert!(stage.line(3).contains("latest"), "{}", stage.line(3));
}

#[test]
fn an_older_version_is_chosen_by_its_digest() {
    let fixture = Fixture::unpack("local-history");
    let mut stage = open(&fixture);
    stage.press("j y f");
    let line = stage.copied.pop().unwrap();
    assert!(line.starts_with("--cache-from type=local,src="), "{line}");
    assert!(line.contains(",digest=sha256:d9d014"), "{line}");
}

#[test]
fn enter_walks_down_and_q_walks_up_and_quits_only_at_the_root() {
    let fixture = Fixture::unpack("local-max");
    let mut stage = open_with(&fixture, Scene { names: names(), ..Scene::default() });
    stage.press("enter").see("› latest › layers").see("RUN /bin/gen");
    stage.press("q").miss("› layers");
    assert!(!stage.quit);
    stage.press("q");
    assert!(stage.quit);
}

#[test]
fn escape_never_quits() {
    let fixture = Fixture::unpack("local-max");
    let mut stage = open(&fixture);
    stage.press("esc esc esc enter esc esc");
    assert!(!stage.quit);
    stage.see("› layers");
}

#[test]
fn tabs_go_round_and_history_goes_back_and_forth() {
    let fixture = Fixture::unpack("local-max");
    let mut stage = open(&fixture);
    stage.press("enter ] ").see("› graph").press("]").see("› records").press("]").see("› raw");
    stage.see("application/vnd.buildkit.cacheconfig.v0");
    stage.press("] ]").see("› layers").press("[").see("› versions");
    stage.press("H").miss("› versions").press("L").see("› versions");
}

#[test]
fn the_layer_graph_folds_and_zooms_to_one_chain() {
    let fixture = Fixture::unpack("local-max");
    let mut stage = open_with(&fixture, Scene { names: names(), ..Scene::default() });
    stage.press("enter ]").see("layer chains").see("/9");
    stage.press("t").see("one chain");
    stage.press("esc").miss("one chain").see("/9");
    stage.press("-").see("above");
    stage.press("=").see("/9");
}

#[test]
fn the_record_graph_shows_inputs_and_selectors() {
    let fixture = Fixture::unpack("local-max");
    let mut stage = open_with(&fixture, Scene { names: names(), ..Scene::default() });
    stage.press("enter ] T").see("records, from results down").see("─▶").see("only ");
    stage.press("g g i").see("inputs");
}

#[test]
fn filters_speak_the_one_language_and_say_what_is_wrong() {
    let fixture = Fixture::unpack("local-history");
    let mut stage = open(&fixture);
    stage.press("/ 'dangling=true").see("/4 of 6");
    stage.press("enter").see("/ dangling=true").miss("●  latest");
    stage.press("esc").see("1/6");
    stage.press("/ 'siz>3").see("did you mean size").press("esc").see("1/6");
}

#[test]
fn leaving_the_filter_line_brings_the_old_filter_back() {
    let fixture = Fixture::unpack("local-history");
    let mut stage = open(&fixture);
    stage.press("/ 'release enter").see("1/1 of 6");
    stage.press("/ 'x").see("nothing fits").press("esc").see("1/1 of 6").see("release");
}

#[test]
fn the_cursor_stays_on_its_version_whatever_the_order() {
    let fixture = Fixture::unpack("local-history");
    let mut stage = open(&fixture);
    stage.press("j j y d");
    let before = stage.copied.pop();
    stage.press("s s S y d");
    assert_eq!(stage.copied.pop(), before);
}

#[test]
fn marks_add_up() {
    let fixture = Fixture::unpack("local-history");
    let mut stage = open(&fixture);
    stage.press("space space").see("marked 2 = ").see("theirs alone");
    stage.press("*").see("marked 6").press("*").miss("marked");
    stage.press("v j j v").see("marked 3").press("esc").miss("marked");
}

#[test]
fn diff_compares_with_the_version_before_or_with_a_base() {
    let fixture = Fixture::unpack("local-history");
    let mut stage = open(&fixture);
    stage.press("D").see("diff").see("latest").see("added");
    stage.press("q G m").see("base is untagged 4756e3").press("g g D").see("untagged 4756e3 to latest");
}

#[test]
fn verify_finds_what_is_wrong_and_shows_it() {
    let fixture = Fixture::unpack("local-max");
    let blobs = fixture.path().join("blobs/sha256");
    let file = std::fs::read_dir(&blobs).unwrap().flatten().max_by_key(|f| f.metadata().unwrap().len()).unwrap();
    let content = vec![b'x'; std::fs::metadata(file.path()).unwrap().len() as usize];
    let mut rights = std::fs::metadata(file.path()).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut rights, 0o644);
    std::fs::set_permissions(file.path(), rights).unwrap();
    std::fs::write(file.path(), content).unwrap();
    let mut stage = open(&fixture);
    stage.press("V s").see("no findings");
    stage.press("V d").see("1 finding").press("g v").see("wrong digest").see("has other content");
}

#[test]
fn blobs_are_listed_with_who_needs_them() {
    let fixture = Fixture::unpack("local-history");
    let mut stage = open(&fixture);
    stage.press("g b").see("› blobs").see("43 blobs").see("dangling");
    stage.press("T 2").see("dangling").see("/25 of 43").press("esc").see("1/43");
    stage.press("i").see("users");
}

#[test]
fn jump_finds_a_version_by_a_few_letters_of_its_digest() {
    let fixture = Fixture::unpack("local-history");
    let mut stage = open(&fixture);
    stage.press("; '467e31 enter").see("› release › layers");
}

#[test]
fn help_lists_the_keys_that_work_here_and_runs_them() {
    let fixture = Fixture::unpack("local-max");
    let mut stage = open(&fixture);
    stage.press("?").see("keys on indexes").press("'jumpto enter").see("jump to").press("esc");
    stage.press(": 'go-log enter").see("› log").see("1 index, 10 blobs");
}

#[test]
fn the_command_for_the_screen_is_shown_and_copied() {
    let fixture = Fixture::unpack("local-max");
    let mut stage = open(&fixture);
    stage.press("enter @").see("cachedeck layers").press("y");
    assert!(stage.copied.pop().unwrap().starts_with("cachedeck layers type=local,src="));
}

#[test]
fn the_pager_gets_the_rows_as_text() {
    let fixture = Fixture::unpack("local-max");
    let mut stage = open_with(&fixture, Scene { names: names(), ..Scene::default() });
    stage.press("enter o");
    let text = stage.paged.pop().unwrap();
    assert_eq!(text.lines().count(), 10, "{text}");
    assert!(text.contains("COPY"), "{text}");
}

#[test]
fn export_writes_a_new_file_and_never_over_an_old_one() {
    let fixture = Fixture::unpack("local-max");
    let mut stage = open(&fixture);
    let path = fixture.path().join("out.txt");
    let keys = format!("enter x ctrl+u '{} enter", path.display());
    stage.press(&keys).see("wrote ");
    assert!(std::fs::read_to_string(&path).unwrap().contains("step"));
    stage.press(&format!("x ctrl+u '{} enter", path.display())).see("cannot write");
}

#[test]
fn a_place_that_is_not_there_says_so_and_what_to_do() {
    let mut stage = Stage::open(vec![Location::local_dir("/nonexistent/cache")], Scene::default());
    stage.see("/nonexistent/cache").see("r tries again");
    let mut stage = Stage::open(Vec::new(), Scene::default());
    stage.see("cachedeck demo shows one");
}

#[test]
fn a_location_can_be_added() {
    let (one, two) = (Fixture::unpack("local-max"), Fixture::unpack("local-min"));
    let mut stage = open(&one);
    stage.press(&format!("a '{} enter", two.path().display())).see("local-min").see("2/2");
    stage.press("a 'type=local enter").see("add location").press("esc").see("2/2");
}

#[test]
fn while_it_loads_keys_work_and_rows_come_in() {
    let fixture = Fixture::unpack("local-history");
    let loaded = open(&fixture);
    let found = loaded.app.shared.places[0].indexes().to_vec();
    let mut stage = Stage::loading(vec![location(&fixture)], Scene::default());
    stage.see("loading");
    let Some(Effect::Start(job, _)) = stage.held.as_ref().unwrap().first() else { panic!("nothing was asked for") };
    let (id, progress) = (job.id, job.progress.clone());
    stage.tell(Message::Report(id, Report::Found(found)));
    stage.see("6 indexes so far").press("j").see("2/6");
    progress.expect(100, 0);
    progress.add(40, 0);
    stage.wait(Duration::from_millis(100)).miss("40%");
    stage.wait(Duration::from_millis(200)).see("loading 40%").see("esc stop");
    stage.press("esc");
    assert!(progress.is_cancelled());
    stage.tell(Message::Report(id, Report::Failed(cachedeck::error::Error::cancelled())));
    stage.see("stopped").see("r loads it again");
}

#[test]
fn late_answers_are_dropped() {
    let fixture = Fixture::unpack("local-max");
    let mut stage = Stage::loading(vec![location(&fixture)], Scene::default());
    let Some(Effect::Start(job, _)) = stage.held.as_ref().unwrap().first() else { panic!("nothing was asked for") };
    let (old, progress) = (job.id, job.progress.clone());
    stage.press("r");
    assert!(progress.is_cancelled(), "the newest wins");
    stage.tell(Message::Report(old, Report::Failed(cachedeck::error::Error::not_found("gone"))));
    stage.miss("gone").see("loading");
}

#[test]
fn names_come_when_a_builder_has_told_them() {
    let fixture = Fixture::unpack("local-max");
    let mut stage = open(&fixture);
    stage.see("no name").miss("named by").press("enter").miss("RUN");
    stage.press("f").tell(Message::Named(told()));
    stage.see("frozen").miss("RUN").press("f").see("RUN").see("builder");
    stage.press("i").see("named by builder");
}

/// What the builder of the fixtures tells when it is asked.
fn told() -> StepNames {
    StepNames::from_builder(&usage::read(include_bytes!("../fixtures/daemon-du.json")).unwrap())
}

#[test]
fn frozen_screens_wait_with_what_is_new() {
    let fixture = Fixture::unpack("local-max");
    let mut stage = open(&fixture);
    stage.press("f V s").see("frozen").miss("no findings");
    stage.press("f").miss("frozen").see("no findings");
}

#[test]
fn ctrl_c_stops_what_runs_and_then_quits() {
    let fixture = Fixture::unpack("local-max");
    let mut stage = Stage::loading(vec![location(&fixture)], Scene::default());
    stage.press("ctrl+c").see("stopping");
    assert!(!stage.quit);
    stage.press("ctrl+c");
    assert!(stage.quit);
}

#[test]
fn the_mouse_selects_sorts_and_opens() {
    let fixture = Fixture::unpack("local-history");
    let mut stage = open(&fixture);
    stage.click(60, 5).see("3/6");
    stage.wait(Duration::from_secs(2));
    stage.click(48, 2).see("name▴").click(48, 2).see("name▾");
    stage.mouse(MouseEventKind::ScrollDown, 60, 5);
    stage.wait(Duration::from_secs(6)).click(60, 4).click(60, 4).see("› layers");
}

#[test]
fn keys_of_the_user_are_keys_in_footer_and_help() {
    let fixture = Fixture::unpack("local-max");
    let keys = [("mark".to_owned(), vec!["ctrl+e".to_owned()])].into();
    let overrides: Overrides = [("everywhere".to_owned(), keys)].into();
    let keymap = Keymap::with(&overrides).unwrap();
    let mut stage = open_with(&fixture, Scene { keymap, ..Scene::default() });
    stage.see("^e mark").press("space").miss("marked 1").press("ctrl+e").see("marked 1");
}

#[test]
fn the_tour_is_five_lines_and_goes_away() {
    let fixture = Fixture::unpack("local-max");
    let mut stage = open_with(&fixture, Scene { tour: true, ..Scene::default() });
    stage.see("welcome").press("esc").miss("welcome");
}
