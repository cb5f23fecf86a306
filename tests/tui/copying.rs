//! What a user does to copy caches: choose versions and a place, see what it would come to, start it, watch it, take it back. Between
//! stores in memory, and once between folders.

use crate::changing::cache;
use crate::fixtures::Fixture;
use crate::snapshots::{USUAL, check_in};
use crate::stage::{Scene, Stage};
use bytes::Bytes;
use cachedeck::error::Error;
use cachedeck::model::digest::Digest;
use cachedeck::model::location::Location;
use cachedeck::ops::copy::{Traffic, Transfer};
use cachedeck::store::Store;
use cachedeck::store::memory::Memory;
use cachedeck::tui::app::{Effect, Message, Report};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Where copies go on stage.
const OFFLINE: &str = "offline";

/// An empty cache in memory, called `offline`.
fn offline() -> Arc<Memory> {
    Arc::new(Memory::new(Location::local_dir(OFFLINE)))
}

/// The app on the example cache and an empty one, both open.
fn open(from: &Arc<dyn Store>, to: &Arc<Memory>, scene: Scene) -> Stage {
    let stores: Vec<Arc<dyn Store>> = vec![from.clone(), to.clone()];
    let locations = vec![from.location().clone(), to.location().clone()];
    Stage::open(locations, Scene { stores, ..scene })
}

fn example() -> Arc<dyn Store> {
    cache()
}

fn names(store: &Memory) -> Vec<String> {
    let names = futures::executor::block_on(store.references()).unwrap();
    names.items.into_iter().map(|name| name.name).collect()
}

#[test]
fn a_version_is_copied_once_it_is_seen_what_that_comes_to() {
    let to = offline();
    let mut stage = open(&example(), &to, Scene::default());
    stage.press("c").see("copy to").see("local:offline").see("here, under another name").see("somewhere else..");
    stage.press("1").see("copy main of local:shop-cache").see("sends").see("writes").see("cachedeck copy");
    assert!(names(&to).is_empty(), "seeing what it comes to changes nothing");
    stage.press("enter").see("copied to local:offline; u on the jobs (gw) takes it back");
    assert_eq!(names(&to), ["main"]);
    stage
        .press("w")
        .see("copy")
        .see("done")
        .see("11 blobs copied in place")
        .see("main is there as main")
        .see("--cache-from");
    // The place that it went to is loaded again.
    stage.press("q 1 j enter").see("1/1");
    stage.press("w u").see("undo this copy").press("tab enter").see("0 blobs came back, 1 name led back");
    assert_eq!(names(&to), [""; 0]);
}

#[test]
fn marked_versions_are_copied_together_and_what_is_there_is_not_sent_again() {
    let to = offline();
    let mut stage = open(&example(), &to, Scene::default());
    stage.press("c 1 enter").press("space space j space c 1").see("copy 3 versions of").see("not sent again");
    stage.press("enter w").see("3 versions of local:shop-cache").see("there before");
    assert_eq!(names(&to).len(), 3);
    // All of it is there: nothing to do.
    stage.press("q c 1").see("nothing to do").press("enter").see("all of it is there already; nothing was sent");
    stage.press("esc w").miss("job 3");
}

#[test]
fn versions_marked_on_their_tab_are_copied_too() {
    let to = offline();
    let mut stage = open(&example(), &to, Scene::default());
    stage.press("enter ] ] ] ] g g space space c 1").see("copy 2 versions of");
}

#[test]
fn options_change_what_it_comes_to() {
    let to = offline();
    let mut stage = open(&example(), &to, Scene::default());
    stage.press("c 1").see("image-manifest");
    stage.press("ctrl+u 'june").see("looking at both places").wait(Duration::from_secs(1)).see("writes   june");
    stage.press("tab right right").see("index").see("--form index");
    stage.press("tab right").see("--mode min").see("left out: only intermediate steps need it");
    stage.press("tab right right").see("are packed anew").see("--compression zstd").see("level");
    stage.press("tab '23").wait(Duration::from_secs(2)).see("zstd has no level 23").see("from 1 to 22");
    stage.press("enter").see("this can't be copied").press("ctrl+u '1").wait(Duration::from_secs(3));
    stage.see("--compression-level 1").press("enter").see("copied to local:offline");
    assert_eq!(names(&to), ["june"]);
    stage.press("w").see("june");
}

#[test]
fn a_name_that_leads_elsewhere_is_led_here_only_if_that_is_said() {
    let to = offline();
    let mut stage = open(&example(), &to, Scene::default());
    stage.press("c 1 enter");
    stage.press("j c 1").press("ctrl+u 'main").wait(Duration::from_secs(1));
    stage.see("leads to another version").see("say yes to overwrite").press("enter").see("this can't be copied");
    stage.press("up up right").see("instead of").see("--overwrite").press("enter");
    stage.press("w").see("done");
    assert_eq!(names(&to), ["main"]);
}

#[test]
fn a_place_is_typed_and_what_is_wrong_is_said_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let there = folder.path().join("new");
    let mut stage = open(&example(), &offline(), Scene::default());
    stage.press("c t").see("copy to ›").press("'offlin enter").see("no such folder: offlin").see("copy to ›");
    stage.press("ctrl+u 'type=local enter").see("type=local has no folder");
    stage.press("ctrl+u '@ci enter").see("no location called @ci");
    stage.press("ctrl+u 'type=daemon enter").see("takes no copies");
    stage.press(&format!("ctrl+u '{} enter", there.display())).see("sends");
    assert!(!there.exists(), "nothing is made before");
    stage.press("enter").see("copied to");
    assert!(there.join("index.json").exists());
    // It is among the locations now.
    stage.press("1 G enter").see("1/1");
}

#[test]
fn places_that_take_no_copies_say_why() {
    let github = Location::new("gha").with("repo", "acme/shop");
    let builder = Location::new("daemon").with("builder", "ci");
    let locations = vec![Location::local_dir("shop-cache"), builder.clone()];
    let aliases = BTreeMap::from([("gh".to_owned(), github), ("ci".to_owned(), builder)]);
    let mut stage = Stage::open(locations, Scene { store: Some(example()), aliases, ..Scene::default() });
    stage.press("c").see("daemon:ci").see("no: a builder's own cache takes no copies").see("@gh of the config");
    stage
        .press("1")
        .see("copy to")
        .see("a builder's own cache takes no copies: a build with")
        .press("esc")
        .miss("copy to");
    let scene = Scene { store: Some(example()), read_only: Some("--read-only says so"), ..Scene::default() };
    let mut stage = Stage::open(vec![Location::local_dir("shop-cache")], scene);
    stage.press("c").see("nothing may be copied anywhere: --read-only says so").miss("copy to");
}

#[test]
fn what_is_damaged_or_no_cache_can_not_be_chosen() {
    let mut stage = open(&example(), &offline(), Scene::default());
    stage.press("/ 'nightly enter c").see("nightly misses").see("so would its copy").miss("somewhere else");
}

/// A blob of `main` alone, and the store it is in, which loses it.
pub fn lost(store: &Memory, stage: &Stage) -> Bytes {
    let main = stage.app.shared.places[0].indexes().iter().find(|index| index.name() == Some("main")).unwrap();
    let layers = &main.cache.as_ref().unwrap().layers;
    let blob = layers.iter().max_by_key(|layer| layer.size).unwrap().blob;
    let bytes = futures::executor::block_on(store.read(&blob, u64::MAX)).unwrap();
    store.lose(&blob);
    bytes
}

#[test]
fn a_copy_that_failed_is_tried_again_and_sends_only_the_rest() {
    let (from, to) = (cache(), offline());
    let mut stage = open(&(from.clone() as Arc<dyn Store>), &to, Scene::default());
    stage.press("c 1").see("sends");
    let blob = lost(&from, &stage);
    stage.press("enter").see("A on the jobs (gw) goes on");
    assert_eq!(names(&to), [""; 0], "what is not whole has no name");
    stage.press("w").see("failed").see("main was not copied").see("what arrived is not sent again");
    stage.press("u").see("changed nothing that can be taken back");
    from.insert(blob);
    stage.press("A").see("done").see("1 blob copied in place").see("there before");
    stage.press("j").see("job 6 tries it again").press("A").see("tries it again");
    stage.press("k A").see("all of it was done");
    assert_eq!(names(&to), ["main"]);
}

#[test]
fn other_changes_that_failed_are_tried_again_and_plans_are_made_anew() {
    let memory = cache();
    let mut stage = crate::changing::open(&memory, Scene::default());
    stage.press("d P").see("you chose it to go");
    let other = memory.insert("{}");
    memory.name("new", other);
    stage.press("A 'shop-cache enter w").see("failed").see("A tries again");
    stage.press("A").see("what is left is planned anew").see("prune plan").see("you chose it to go");
    stage.press("A 'shop-cache enter w").see("hidden");
}

/// The app while it copies, after `keys`: 2 of 5 blobs have arrived, 2 are on their way. What keeps them there comes along.
pub fn copying(scene: Scene, keys: &str) -> (Stage, Vec<Transfer>) {
    let mut stage = open(&example(), &offline(), scene);
    stage.press(keys).press("g g space space c 1").held = Some(Vec::new());
    stage.press("enter w");
    let Some(Effect::Start(job, _)) = stage.held.as_ref().unwrap().first() else { panic!("nothing was asked for") };
    let (id, progress) = (job.id, job.progress.clone());
    let traffic = Traffic::default();
    let transfers: Vec<Transfer> = [(b"one", 9 << 20, 7 << 20), (b"two", 4 << 20, 1 << 20)]
        .into_iter()
        .map(|(name, size, done)| {
            let transfer = traffic.begin(Digest::of(name), size);
            let mut body = transfer.count(Box::new(tokio::io::AsyncReadExt::take(tokio::io::repeat(0), done)));
            let mut read = Vec::new();
            futures::executor::block_on(tokio::io::AsyncReadExt::read_to_end(&mut body, &mut read)).unwrap();
            transfer
        })
        .collect();
    progress.expect(5, 40 << 20);
    stage.tell(Message::Report(id, Report::Sends(traffic)));
    stage.wait(Duration::from_secs(10));
    progress.add(2, 24 << 20);
    stage.wait(Duration::from_secs(14));
    (stage, transfers)
}

#[test]
fn a_copy_that_runs_is_watched_and_stopped() {
    let (mut stage, transfers) = copying(Scene::default(), "");
    stage.see("2 of 5 60%").see("24.0 MiB of 40.0 MiB").see("6.0 MiB/s").see("3s left").see("copy 60%");
    stage.see("7.0 MiB of 9.0 MiB").see(&Digest::of(b"two").short());
    drop(transfers);
    stage.miss("7.0 MiB of 9.0 MiB");
    stage.press("ctrl+c").see("stops after its current step").see("stopping");
    let Some(Effect::Start(job, _)) = stage.held.as_ref().unwrap().first() else { panic!("nothing was asked for") };
    assert!(job.progress.is_cancelled());
    let id = job.id;
    stage.held = None;
    stage.tell(Message::Report(id, Report::Failed(Error::cancelled())));
    stage.see("failed").see("stopped").press("A").see("done");
}

#[test]
fn between_folders_the_copy_is_there_and_is_undone() {
    let from = Fixture::unpack("local-max");
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("copy");
    let mut stage = crate::open(&from);
    stage.press(&format!("c t '{} enter", to.display())).see("sends").press("enter");
    let index = std::fs::read_to_string(to.join("index.json")).unwrap();
    assert!(index.contains("latest"), "{index}");
    stage.press("w").see("done").press("u tab enter").see("1 name led back");
    let index = std::fs::read_to_string(to.join("index.json")).unwrap();
    assert!(!index.contains("latest"), "{index}");
}

#[test]
fn hostile_names_are_spelt_out_where_they_are_copied() {
    let from = cache();
    let names = futures::executor::block_on(from.references()).unwrap();
    let main = names.items.iter().find(|name| name.name == "main").unwrap().digest.unwrap();
    from.name("\u{1b}[31mred\u{202e}gnp\u{7}", main);
    let mut stage = open(&(from as Arc<dyn Store>), &offline(), Scene::default());
    for keys in ["c", "1", "enter", "w", "i", "esc u"] {
        let text = stage.press(keys).text();
        assert!(!text.contains(['\u{1b}', '\u{202e}', '\u{7}']), "{text:?}");
    }
}

#[test]
fn no_colour_no_odd_sign_and_no_size_breaks_the_box() {
    let mut stage = open(&example(), &offline(), Scene { theme: "mono", ascii: true, ..Scene::default() });
    for keys in ["space c", "1", "tab right", "tab right", "tab right", "tab '5", "up", "tab tab tab", "enter", "w"] {
        stage.resize(120, 35).press(keys);
        let text = stage.wait(Duration::from_secs(9)).text();
        assert!(text.is_ascii(), "{keys}:\n{text}");
        for (width, height) in [(100, 20), (80, 24), (60, 15), (40, 10), (84, 60), (250, 90), (12, 3), (0, 0)] {
            stage.resize(width, height).text();
        }
        stage.resize(40, 10);
    }
}

/// The picture of a copy that is asked for: two versions, one of them there, to a small place.
pub fn picture(scene: Scene) -> Stage {
    let mut stage = open(&example(), &offline(), scene);
    stage.press("j c 1 enter k").wait(Duration::from_secs(20));
    stage.press("space space j space c 1 tab tab right tab tab").wait(Duration::from_secs(30));
    stage
}

#[test]
fn the_frames_of_copying() {
    check_in(USUAL, "copy", &mut picture(Scene::default()));
    let frames = [
        ("copy_to", "c"),
        ("copy_typed", "c t 'offlin enter"),
        ("copy_level", "c 1 tab tab tab right tab '12"),
        ("copy_taken", "c 1 enter j c 1 ctrl+u 'main"),
        ("copy_done", "c 1 enter w"),
    ];
    for (name, keys) in frames {
        let mut stage = open(&example(), &offline(), Scene::default());
        stage.press(keys).wait(Duration::from_secs(30));
        check_in(USUAL, name, &mut stage);
    }
    let (mut stage, _transfers) = copying(Scene::default(), "");
    check_in(USUAL, "copy_running", &mut stage);
    let from = cache();
    let mut stage = open(&(from.clone() as Arc<dyn Store>), &offline(), Scene::default());
    stage.press("c 1");
    lost(&from, &stage);
    stage.press("enter w").wait(Duration::from_secs(30));
    check_in(USUAL, "copy_failed", &mut stage);
    check_in(USUAL, "copy_mono", &mut picture(Scene { theme: "mono", ..Scene::default() }));
}

#[test]
fn a_copy_goes_to_a_registry_that_does_not_know_the_repository_yet() {
    let from = Fixture::unpack("local-max");
    let registry = crate::support::registry();
    let place = format!("{}/{}", registry.trim_start_matches("http://"), crate::support::unique("copied"));
    let data = tempfile::tempdir().unwrap();
    let scene = Scene { data: Some(data.path().to_owned()), ..Scene::default() };
    let mut stage = crate::open_with(&from, scene);
    stage
        .press(&format!("c t 'type=registry,ref={place}:cache,registry.insecure=true enter"))
        .see("called     cache")
        .see("sends");
    stage.press("enter").see("copied to registry:").press("w").see("latest is there as cache").press("q");
    stage.press("1 G enter").see("cache").see("1/1").press("1 g g enter c 1").see("not sent again");
}
