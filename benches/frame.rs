//! How long a frame takes at 100,000 rows: as it stands, after a key, and while a filter is typed. Eight milliseconds is
//! the bar for one that stands or follows a key; the terminal's own time is not in it.

#![allow(clippy::expect_used, clippy::panic, missing_docs)]

use cachedeck::model::cache::{Cache, Compression, Form, Layer};
use cachedeck::model::digest::Digest;
use cachedeck::model::graph::Summary;
use cachedeck::model::inventory::{Blob, CacheIndex, Details, Inventory, Reached, Role, State, Usage};
use cachedeck::model::location::Location;
use cachedeck::tui::app::{App, Effect, Message, Report, Settings, Setup};
use cachedeck::tui::keys::{Chord, Keymap};
use cachedeck::tui::theme::Theme;
use criterion::{Criterion, criterion_group, criterion_main};
use jiff::{Timestamp, ToSpan as _};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use std::sync::Arc;

const ROWS: u64 = 100_000;
const NOW: &str = "2026-11-20T12:00:00Z";

/// A digest that is `number` scattered, so that order by digest is not order of making.
fn digest(number: u64) -> Digest {
    let scattered = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    format!("sha256:{scattered:016x}{number:016x}{number:016x}{scattered:016x}").parse().expect("a digest")
}

/// A hundred layers that the versions share, four to each.
fn cache(version: u64, now: Timestamp) -> Cache {
    let layer = |number: u64, parent: Option<usize>| Layer {
        blob: digest(ROWS + number),
        parent,
        size: Some(4096 * (number + 1)),
        created: Some(now - (number as i64).hours()),
        diff_id: None,
        media_type: "application/vnd.oci.image.layer.v1.tar+gzip".into(),
        compression: Compression::Gzip,
        history: Some(format!("RUN step {number}").into()),
        platform: None,
    };
    let layers = (0..4).map(|at| layer((version + at) % 100, (at > 0).then(|| at as usize - 1)));
    Cache { layers: layers.collect(), ..Cache::default() }
}

/// 100,000 versions of four layers each; their manifests and the layers are its blobs.
fn inventory(location: &Location) -> Inventory {
    let now: Timestamp = NOW.parse().expect("a time");
    let index = |number: u64| {
        let cache = cache(number, now);
        let mut reach: Vec<Reached> =
            cache.layers.iter().map(|l| Reached { digest: l.blob, size: 4096, role: Role::Layer }).collect();
        reach.push(Reached { digest: digest(number), size: 512, role: Role::Manifest });
        reach.sort();
        CacheIndex {
            digest: digest(number),
            tags: if number.is_multiple_of(3) { vec![format!("branch/feature-{number}")] } else { Vec::new() },
            unread: false,
            formerly: Vec::new(),
            listed: number.is_multiple_of(3),
            form: Some(Form::ImageManifest),
            manifest_bytes: 512,
            config: None,
            summary: Some(Summary::of(&cache)),
            cache: Some(Arc::new(cache)),
            reach,
            missing: Vec::new(),
            exclusive_bytes: 512,
            shared_bytes: 16384,
            created: Some(now - (number as i64).minutes()),
            modified: Some(now),
            findings: Vec::new(),
        }
    };
    let blob = |number: u64| Blob {
        digest: digest(number),
        size: Some(512 + number),
        declared: Some(512 + number),
        modified: Some(now - (number as i64).minutes()),
        role: if number < ROWS { Role::Manifest } else { Role::Layer },
        state: if number.is_multiple_of(3) { State::Live } else { State::Dangling },
        referrers: 1,
    };
    let mut blobs: Vec<Blob> = (0..ROWS + 100).map(blob).collect();
    blobs.sort_by_key(|blob| blob.digest);
    Inventory {
        location: location.clone(),
        indexes: (0..ROWS).map(index).collect(),
        usage: Usage { blobs: ROWS + 100, bytes: ROWS * 50_000, indexes: ROWS, ..Usage::default() },
        blobs,
        leftovers: Vec::new(),
        details: Details::default(),
        warnings: Vec::new(),
        complete: true,
    }
}

struct Screen {
    app: App,
    terminal: Terminal<TestBackend>,
}

impl Screen {
    fn open(inventory: &Inventory) -> Screen {
        let (mut app, effects) = App::new(Setup {
            settings: std::sync::Arc::new(|_| Settings::default()),
            locations: vec![inventory.location.clone()],
            aliases: Default::default(),
            names: Default::default(),
            keymap: Keymap::standard(),
            theme: Theme::terminal(),
            ascii: false,
            sizes: Default::default(),
            tour: false,
            now: NOW.parse().expect("a time"),
            is_dir: |_| false,
        });
        let Some(Effect::Start(job, _)) = effects.into_iter().next() else { panic!("nothing is loaded") };
        app.update(Message::Report(job.id, Report::Loaded(Box::new(inventory.clone()))));
        Screen { app, terminal: Terminal::new(TestBackend::new(120, 35)).expect("a terminal") }
    }

    fn press(&mut self, keys: &str) {
        let chord: Chord = keys.parse().expect("keys");
        for press in chord.iter() {
            self.app.update(Message::Key(press.event()));
        }
    }

    fn draw(&mut self) {
        self.terminal.draw(|frame| self.app.draw(frame)).expect("a frame");
    }
}

fn frame(criterion: &mut Criterion) {
    let inventory = inventory(&Location::local_dir("cache"));
    let mut group = criterion.benchmark_group("frame");
    for (name, keys) in [("indexes", ""), ("blobs", "g b"), ("versions", "enter [")] {
        let mut screen = Screen::open(&inventory);
        screen.draw();
        if !keys.is_empty() {
            screen.press(keys);
        }
        screen.draw();
        group.bench_function(format!("{name} as it stands"), |bench| bench.iter(|| screen.draw()));
        let mut down = true;
        group.bench_function(format!("{name} after a key"), |bench| {
            bench.iter(|| {
                // Up and down between pages, so that every row drawn is another one.
                screen.press(if down { "pgdn" } else { "pgup" });
                down = !down;
                screen.draw();
            });
        });
        screen.press("/");
        let mut longer = true;
        group.sample_size(20);
        group.bench_function(format!("{name} after a letter of a filter"), |bench| {
            bench.iter(|| {
                screen.press(if longer { "7" } else { "backspace" });
                longer = !longer;
                screen.draw();
            });
        });
    }
    group.finish();
}

criterion_group!(benches, frame);
criterion_main!(benches);
