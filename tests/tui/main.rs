//! Journeys through the terminal UI: keys in, screens out, on real caches.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod building;
mod changing;
mod copying;
#[path = "../fixtures/mod.rs"]
mod fixtures;
mod journeys;
mod looks;
mod many;
mod screenshots;
mod sizes;
mod snapshots;
mod stage;
#[path = "../support/mod.rs"]
mod support;

use cachedeck::format::usage;
use cachedeck::model::location::Location;
use cachedeck::ops::names::StepNames;
use fixtures::Fixture;
use stage::{Scene, Stage};
use support::{builder, github};

/// The app on one fixture.
pub fn open(fixture: &Fixture) -> Stage {
    open_with(fixture, Scene::default())
}

/// The app on one fixture, set differently.
pub fn open_with(fixture: &Fixture, scene: Scene) -> Stage {
    Stage::open(vec![location(fixture)], scene)
}

/// Where a fixture is.
pub fn location(fixture: &Fixture) -> Location {
    Location::local_dir(fixture.path().to_string_lossy())
}

/// Step names of the builder that wrote the fixtures.
pub fn names() -> StepNames {
    StepNames::from_usage(&usage::read(include_bytes!("../fixtures/daemon-du.json")).unwrap())
}

/// The example cache that `cachedeck demo` opens, with the names of its steps.
pub fn demo(scene: Scene) -> (Stage, Fixture) {
    let fixture = Fixture::unpack_from("assets/demo.tar.gz", "shop-cache");
    let names = StepNames::read(include_bytes!("../../assets/demo-names.json")).unwrap();
    let stage = open_with(&fixture, Scene { names, called: Some("shop-cache"), ..scene });
    (stage, fixture)
}
