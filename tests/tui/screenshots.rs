//! The pictures in `screenshots/`, drawn by the program itself from the example cache. `just screenshots` draws them anew.

use crate::demo;
use crate::stage::Scene;
use cachedeck::tui::svg::{Background, svg};
use std::path::Path;

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
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("screenshots");
    let write = std::env::var_os("CACHEDECK_SCREENSHOTS").is_some_and(|how| how == "write");
    if write {
        std::fs::create_dir_all(&folder).unwrap();
    }
    let mut stale = Vec::new();
    for picture in PICTURES {
        let (mut stage, _fixture) = demo(Scene { theme: picture.theme, ..Scene::default() });
        stage.press(picture.keys);
        let drawn = svg(&stage.buffer(), picture.background);
        let path = folder.join(picture.file).with_extension("svg");
        if write {
            std::fs::write(&path, drawn).unwrap();
        } else if std::fs::read_to_string(&path).ok().as_ref() != Some(&drawn) {
            stale.push(picture.file);
        }
    }
    assert!(stale.is_empty(), "{stale:?} are not what is drawn now: `just screenshots`, then look at them");
}
