//! What `du` and `ls` say of a builder, which has records and no versions.

use crate::builder::{Builder, Told};
use crate::program::Place;

#[test]
fn a_builder_has_records_and_no_versions() {
    let place = Place::with("local-min");
    let builder = Builder::start(Told::recorded());
    let daemon = format!("type=daemon,addr={}", builder.address());

    let item = &place.run(&["du", "--json", &daemon]).json()["items"][0];
    let types = item["types"].as_array().unwrap();
    let sum = |field: &str| types.iter().map(|each| each[field].as_u64().unwrap()).sum::<u64>();
    assert!(item["bytes"].as_u64().unwrap() > 1_000_000 && types.len() > 1, "{item}");
    assert_eq!(item["bytes"], sum("bytes"));
    assert_eq!(item["records"], sum("records"));
    assert_eq!(item["reclaimable_bytes"], sum("reclaimable_bytes"));
    assert_eq!((&item["blobs"], &item["indexes"]), (&0.into(), &0.into()));

    let table = place.run(&["du", &daemon]);
    assert!(table.out.contains("RECORDS") && table.out.contains("RECLAIMABLE"), "{table}");
    assert!(!table.out.contains("DANGLING") && !table.out.contains("VERSIONS"), "{table}");
    assert_eq!(place.run(&["du", "--fail-over", "1MB", &daemon]).code, 7);
    let both = place.run(&["du", "local-min", &daemon]);
    assert!(both.out.contains("RECORDS") && both.out.contains("DANGLING"), "{both}");

    let listed = place.run(&["ls", &daemon]);
    let said = format!("{}{}", listed.out, listed.err);
    assert!(said.contains("a builder has no versions: it keeps 12 records"), "{listed}");
    assert!(said.contains("cachedeck daemon du"), "{listed}");
}
