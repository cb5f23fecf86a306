//! All sizes of terminals: nothing panics, what must not be dropped stays.

use crate::fixtures::Fixture;
use crate::stage::Scene;
use crate::{names, open_with};

const WALK: &[&str] = &[
    "", "1", "2", "3", "z", "z", "enter", "tab", "z", "z", "]", "T", "t", "]", "]", "]", "q", "g b", "q g v", "q g L",
    "q D", "q", "?", "esc", ";", "esc", "V", "esc", "@", "esc", "/ 'x", "esc", "y", "esc",
];

#[test]
fn no_size_breaks_a_screen() {
    let fixture = Fixture::unpack("local-history");
    let mut stage = open_with(&fixture, Scene { names: names(), ..Scene::default() });
    for keys in WALK {
        stage.resize(120, 35).press(keys);
        for (width, height) in [
            (120, 35),
            (100, 20),
            (80, 24),
            (79, 16),
            (60, 15),
            (59, 12),
            (40, 10),
            (84, 60),
            (250, 90),
            (39, 10),
            (12, 3),
            (1, 1),
            (0, 0),
        ] {
            stage.resize(width, height);
            let text = stage.text();
            assert!(width < 30 || text.lines().next().is_some(), "{width}x{height} after {keys:?}");
        }
    }
}

#[test]
fn too_small_a_terminal_says_so_and_still_quits() {
    let fixture = Fixture::unpack("local-max");
    let mut stage = open_with(&fixture, Scene { size: (39, 9), ..Scene::default() });
    stage.see("needs 40x10, have 39x9 - q quits").press("enter").press("q");
    assert!(stage.quit);
}

#[test]
fn state_survives_every_resize() {
    let fixture = Fixture::unpack("local-history");
    let mut stage = open_with(&fixture, Scene::default());
    stage.press("j j space").see("4/6");
    stage.resize(40, 10).see("untagged");
    stage.resize(10, 2);
    stage.resize(120, 35).see("4/6").see("marked 1");
}

#[test]
fn narrow_terminals_keep_name_size_and_signs() {
    let fixture = Fixture::unpack("local-history");
    let mut stage = open_with(&fixture, Scene { size: (40, 10), ..Scene::default() });
    stage.see("●").see("latest").see("229.3 KiB").see("2ea56c9c");
    stage.resize(80, 24).see("latest").see("unique").see("preview");
    stage.resize(79, 16).miss("preview");
}

#[test]
fn zoom_gives_the_pane_the_whole_place() {
    let fixture = Fixture::unpack("local-history");
    let mut stage = open_with(&fixture, Scene::default());
    stage.press("z").miss("preview").miss("locations").see("indexes").press("z").see("preview");
}
