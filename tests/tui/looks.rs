//! How it looks: no colour where none is wanted, ASCII where it must be, and text that cannot harm.

use crate::fixtures::Fixture;
use crate::stage::{Scene, text_of};
use crate::{names, open_with};
use ratatui::style::{Color, Modifier};

/// A walk over all screens and boxes.
const WALK: &[&str] = &[
    "", "1", "3", "enter", "t", "]", "T", "t", "]", "]", "]", "q q", "g b", "q g v", "q g L", "q D", "t", "q", "?",
    "esc", ":", "esc", ";", "esc", "s", "esc", "V", "esc", "@", "esc", "i", "esc", "/ 'x", "enter", "y", "esc",
    "space",
];

fn walk(scene: Scene, mut check: impl FnMut(&ratatui::buffer::Buffer, &str)) {
    let fixture = Fixture::unpack("local-history");
    let mut stage = open_with(&fixture, scene);
    for keys in WALK {
        stage.press(keys);
        check(&stage.buffer(), keys);
    }
}

#[test]
fn mono_draws_no_colour_on_any_screen() {
    walk(Scene { theme: "mono", names: names(), ..Scene::default() }, |buffer, keys| {
        for cell in buffer.content() {
            assert_eq!((cell.fg, cell.bg), (Color::Reset, Color::Reset), "after {keys:?}:\n{}", text_of(buffer));
        }
    });
}

#[test]
fn the_cursor_is_seen_without_colour() {
    let fixture = Fixture::unpack("local-history");
    let mut stage = open_with(&fixture, Scene { theme: "mono", ..Scene::default() });
    for keys in ["", "enter", "]", "]", "]", "]", "g b"] {
        stage.press(keys);
        let buffer = stage.buffer();
        let reversed = buffer.content().iter().filter(|cell| cell.modifier.contains(Modifier::REVERSED)).count();
        assert!(reversed > 20, "after {keys:?}:\n{}", text_of(&buffer));
        assert!(text_of(&buffer).contains('▌'), "after {keys:?}");
    }
}

#[test]
fn ascii_draws_seven_bit_signs_on_every_screen() {
    walk(Scene { ascii: true, names: names(), ..Scene::default() }, |buffer, keys| {
        let text = text_of(buffer);
        let odd: Vec<&str> = text.lines().filter(|line| !line.is_ascii()).collect();
        assert!(odd.is_empty(), "after {keys:?}: {odd:#?}");
    });
}

#[test]
fn every_theme_draws_every_screen() {
    for theme in cachedeck::tui::theme::NAMES {
        walk(Scene { theme, ..Scene::default() }, |buffer, _| assert!(text_of(buffer).contains("cachedeck")));
    }
}

#[test]
fn hostile_tags_reach_the_screen_as_escapes_and_keep_the_columns() {
    let fixture = Fixture::unpack("local-max");
    let path = fixture.path().join("index.json");
    let index = std::fs::read_to_string(&path).unwrap();
    let evil = r"\u001b[31mred\u202egnp\u0007日本語の長いタグ名";
    std::fs::write(&path, index.replace("latest", evil)).unwrap();
    let mut stage = open_with(&fixture, Scene::default());
    let screen = stage.text();
    assert!(!screen.contains('\u{1b}') && !screen.contains('\u{202e}') && !screen.contains('\u{7}'));
    stage.see(r"\x1b");
    let buffer = stage.buffer();
    for y in 0..buffer.area.height {
        let line: String = (0..buffer.area.width).map(|x| buffer[(x, y)].symbol()).collect();
        assert!(unicode_width::UnicodeWidthStr::width(line.as_str()) >= 120, "{line}");
    }
    // The right border is where it is in every row.
    assert_eq!(buffer[(119, 3)].symbol(), "│");
    stage.press("enter").see("› layers");
}
