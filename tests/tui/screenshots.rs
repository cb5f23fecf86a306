//! The pictures in `screenshots/`, drawn by the program itself from the example cache, and of many
//! places from real servers and stand-ins (`many.rs`). `just screenshots` draws them anew.

use crate::building;
use crate::changing;
use crate::copying;
use crate::demo;
use crate::stage::Scene;
use cachedeck::ops::names::StepNames;
use cachedeck::tui::svg::{Background, svg};
use ratatui::buffer::Buffer;
use std::path::Path;
use std::time::Duration;

struct Picture {
    file: &'static str,
    keys: &'static str,
    theme: &'static str,
    background: Background,
}

const fn picture(file: &'static str, keys: &'static str) -> Picture {
    Picture { file, keys, theme: "default", background: Background::Dark }
}

const PICTURES: &[Picture] = &[
    picture("home", "j space j space"),
    picture("layers", "enter j j"),
    picture("graph", "enter ] j j j j"),
    picture("records", "enter ] ] j j"),
    picture("record-graph", "enter ] T"),
    picture("raw", "enter ] ] ]"),
    picture("versions", "enter ] ] ] ]"),
    picture("diff", "/ 'v1.1 enter m esc g g D"),
    picture("files", "enter j j j j j j enter = j j j j j j j j j j"),
    picture("blobs", "g b"),
    picture("findings", "V d g v"),
    picture("help", "?"),
    Picture { background: Background::Light, ..picture("home-light", "j space j space") },
    Picture { theme: "mono", ..picture("home-no-colour", "j space j space") },
];

#[test]
fn the_pictures_are_what_is_drawn_now() {
    for picture in PICTURES {
        let (mut stage, _fixture) = demo(Scene { theme: picture.theme, ..Scene::default() });
        stage.press(picture.keys);
        held(picture.file, &stage.buffer(), picture.background);
    }
}

#[test]
fn the_pictures_of_changes_are_what_is_drawn_now() {
    for (file, keys) in changing::PICTURES {
        let memory = changing::cache();
        let names = StepNames::read(include_bytes!("../../assets/demo-names.json")).unwrap();
        let mut stage = changing::open(&memory, Scene { names, ..Scene::default() });
        stage.press(keys).wait(Duration::from_secs(30));
        held(file, &stage.buffer(), Background::Dark);
    }
}

#[test]
fn the_pictures_of_copies_and_builds_are_what_is_drawn_now() {
    let names = || StepNames::read(include_bytes!("../../assets/demo-names.json")).unwrap();
    let scene = || Scene { names: names(), ..Scene::default() };
    held("copy", &copying::picture(scene()).buffer(), Background::Dark);
    held("build", &building::picture(scene()).buffer(), Background::Dark);
    let before = "j j j d P A 'shop-cache enter q g g p tab '90d tab 'release enter";
    let (mut stage, _transfers) = copying::copying(scene(), before);
    held("jobs", &stage.buffer(), Background::Dark);
}

/// Fails if the picture `file` does not show `buffer`, or draws it anew where that is asked for.
#[track_caller]
pub fn held(file: &str, buffer: &Buffer, background: Background) {
    let drawn = svg(buffer, background);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("screenshots").join(file).with_extension("svg");
    if std::env::var_os("CACHEDECK_SCREENSHOTS").is_some_and(|how| how == "write") {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, drawn).unwrap();
        return;
    }
    let same = std::fs::read_to_string(&path).is_ok_and(|kept| kept == drawn);
    assert!(same, "{file} is not what is drawn now: `just screenshots`, then look at all of them");
}
