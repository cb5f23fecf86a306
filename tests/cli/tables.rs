//! What commands show of real caches.

use crate::program::Place;

/// Commands on the cache that grew over six exports, with names for a part of its layers.
#[test]
fn a_cache_with_history() {
    let place = Place::with("local-history");
    let names = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/daemon-du.json");
    for (name, arguments) in [
        ("ls", &["ls", "local-history"][..]),
        ("ls_wide", &["ls", "--format", "wide", "local-history"]),
        ("ls_tsv", &["ls", "--format", "tsv", "local-history"]),
        ("ls_filtered", &["ls", "--filter", "dangling=true size>200KiB", "--sort", "exclusive", "local-history"]),
        ("versions", &["versions", "local-history"]),
        ("versions_wide", &["versions", "--format", "wide", "-L", "2", "local-history"]),
        ("inspect", &["inspect", "local-history", "--names", names]),
        ("inspect_dangling", &["inspect", "local-history", "--digest", "21450e"]),
        ("layers", &["layers", "local-history", "--names", names]),
        ("records", &["records", "local-history", "--filter", "results>0"]),
        ("graph", &["graph", "local-history", "--names", names, "--ascii"]),
        ("graph_mermaid", &["graph", "local-history", "--records", "--format", "mermaid"]),
        ("du", &["du", "local-history"]),
        ("du_bytes", &["du", "local-history", "--bytes"]),
        ("du_si", &["du", "local-history", "--si"]),
        ("du_index", &["du", "--by", "index", "local-history"]),
        ("du_layer", &["du", "--by", "layer", "-L", "5", "local-history"]),
        ("du_step", &["du", "--by", "step", "local-history", "--names", names]),
        ("blobs", &["blobs", "--state", "dangling", "--sort", "size", "-L", "4", "local-history"]),
        ("verify", &["verify", "--level", "digest", "local-history"]),
        ("diff", &["diff", "local-history,tag=release", "local-history,tag=latest"]),
        ("diff_base", &["diff", "local-history", "--base", "d9d014", "--records"]),
        ("flags", &["flags", "local-history", "--digest", "d9d0"]),
        ("flags_to", &["flags", "local-history", "--tag", "release", "--to"]),
        ("files", &["files", "local-history", "#6"]),
        ("find", &["find", "app", "local-history"]),
        ("template", &["ls", "--format", "{{.tags}} {{human .MaxBytes}} {{ago .created_at}}", "local-history"]),
    ] {
        insta::assert_snapshot!(name, place.run(arguments));
    }
}

#[test]
fn several_locations_say_where_things_are() {
    let place = Place::with("local-min");
    place.add("inline-image", "inline-image");
    insta::assert_snapshot!("several_ls", place.run(&["ls", "local-min", "inline-image"]));
    insta::assert_snapshot!("several_du", place.run(&["du", "local-min", "inline-image"]));
    let partly = place.run(&["ls", "local-min", "./gone"]);
    insta::assert_snapshot!("several_partly", partly);
    assert_eq!(partly.code, 3);
}

#[test]
fn an_inline_cache_names_its_layers_itself() {
    let place = Place::with("inline-image");
    insta::assert_snapshot!("inline_layers", place.run(&["layers", "inline-image"]));
}

#[test]
fn the_demo_shows_a_cache_and_cleans_up() {
    let place = Place::empty();
    let shown = place.run(&["demo"]);
    assert_eq!(shown.code, 0, "{shown}");
    assert!(shown.out.contains("main") && shown.out.contains("dangling"), "{shown}");
    assert!(shown.err.contains("nightly: a blob is missing"), "{shown}");
    assert_eq!(std::fs::read_dir(place.path("")).unwrap().count(), 0, "something was left behind");
    let kept = place.run(&["demo", "--keep", "example"]);
    assert_eq!(kept.code, 0, "{kept}");
    assert_eq!(place.run(&["verify", "example/shop-cache"]).code, 6, "one version lacks a blob");
    assert_eq!(place.run(&["demo", "--keep", "example"]).code, 2, "nothing is overwritten");
}
