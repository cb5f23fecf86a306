//! What a user does to change a cache: choose, plan, apply, look at jobs, take back, pin. On the example cache in a store in
//! memory, which holds to the contract more strictly than real places do.

use crate::fixtures::Fixture;
use crate::snapshots::{USUAL, check_in};
use crate::stage::{NOW, Scene, Stage, text_of};
use cachedeck::model::digest::Digest;
use cachedeck::model::location::Location;
use cachedeck::store::memory::Memory;
use cachedeck::tui::app::{Effect, Message};
use jiff::Timestamp;
use ratatui::style::{Color, Modifier};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

/// The example cache in memory, its blobs as old as its files; two more that nothing needs, one of them just written.
pub fn cache() -> Arc<Memory> {
    let fixture = Fixture::unpack_from("assets/demo.tar.gz", "shop-cache");
    let memory = Memory::new(Location::local_dir("shop-cache"));
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

/// Types words into a box, blanks and all.
fn typed(stage: &mut Stage, text: &str) {
    stage.press(&format!("'{text}"));
}

const NAME: &str = "local:shop-cache";

#[test]
fn what_is_staged_goes_once_its_name_is_typed_and_comes_back_from_the_trash() {
    let memory = cache();
    let mut stage = open(&memory, Scene::default());
    stage.see("RW").press("/ 'v1.0 enter d").see("1 staged").see("nothing is removed yet").see("-  v1.0");
    stage.press("esc").see("12 indexes");
    stage.press("P").see("› prune plan").see("DRY RUN - nothing is removed until A").see("you chose it to go");
    // Enter on an untouched box cancels.
    stage.press("A").see("apply this prune").see(NAME).press("enter").miss("apply this prune").see("12 indexes");
}

#[test]
fn the_frames_of_changing_a_cache() {
    let memory = cache();
    let mut stage = open(&memory, Scene::default());
    stage.press("j d");
    check_in(USUAL, "staged", &mut stage);
}

#[test]
fn look() {
    let memory = cache();
    let mut stage = open(&memory, Scene::default());
    for keys in ["d", "P", "A", "esc", "1", "space", "q p", "esc", "q w", "q g t", "q g P"] {
        stage.press(keys);
        println!("=== {keys}\n{}", stage.resize(120, 35).text());
        println!("{}", stage.resize(80, 24).text());
        stage.resize(120, 35);
    }
}
