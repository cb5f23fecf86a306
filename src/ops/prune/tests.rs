use super::*;
use crate::model::inventory::{Blob, Details, Reached, Role, State, Usage};
use crate::model::units::Bytes;

const NOW: &str = "2026-11-21T12:00:00Z";

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

fn digest(n: u8) -> Digest {
    Digest::from_bytes([n; 32])
}

/// Version `n`, so many hours old, which needs blobs `needs` beside its own manifest.
fn version(n: u8, tags: &[&str], hours: i64, needs: &[u8]) -> CacheIndex {
    let mut reach: Vec<Reached> = needs
        .iter()
        .map(|&need| Reached { digest: digest(need), size: 100, role: Role::Layer })
        .chain([Reached { digest: digest(n), size: 1, role: Role::Manifest }])
        .collect();
    reach.sort();
    CacheIndex {
        digest: digest(n),
        unread: false,
        tags: tags.iter().map(|&t| t.to_owned()).collect(),
        formerly: Vec::new(),
        listed: !tags.is_empty(),
        form: None,
        manifest_bytes: 1,
        config: None,
        cache: None,
        summary: None,
        reach,
        missing: Vec::new(),
        exclusive_bytes: 0,
        shared_bytes: 0,
        created: Some(now() - SignedDuration::from_hours(hours)),
        modified: None,
        findings: Vec::new(),
    }
}

fn inventory(indexes: Vec<CacheIndex>) -> Inventory {
    let mut blobs: Vec<Blob> = Vec::new();
    for index in &indexes {
        for reached in &index.reach {
            if !blobs.iter().any(|blob| blob.digest == reached.digest) {
                blobs.push(Blob {
                    digest: reached.digest,
                    size: Some(reached.size),
                    declared: None,
                    modified: None,
                    role: reached.role,
                    state: State::Live,
                    referrers: 1,
                });
            }
        }
    }
    blobs.sort_by_key(|blob| blob.digest);
    let bytes = blobs.iter().filter_map(|blob| blob.size).sum();
    Inventory {
        location: "type=local,src=x".parse().unwrap(),
        indexes,
        blobs,
        leftovers: Vec::new(),
        usage: Usage { bytes, ..Usage::default() },
        details: Details::default(),
        warnings: Vec::new(),
        complete: true,
    }
}

/// The numbers of the versions that go.
fn gone(indexes: Vec<CacheIndex>, pins: &[Pin], policy: &Policy) -> Vec<u8> {
    let inventory = inventory(indexes);
    let sight = Sight { inventory: &inventory, pins, now: now(), id: RunId::new(now(), 0) };
    let verdicts = choose::choose(&sight, policy).unwrap();
    let mut gone: Vec<u8> = verdicts.iter().filter(|v| v.goes).map(|v| v.index.digest.as_bytes()[0]).collect();
    gone.sort();
    gone
}

/// `main` with two former versions, `dev` with a name of its own, one that is older than all.
fn history() -> Vec<CacheIndex> {
    let formerly = |mut index: CacheIndex, name: &str| {
        index.formerly = vec![name.to_owned()];
        index
    };
    vec![
        version(1, &["main"], 2, &[11, 12]),
        formerly(version(2, &[], 30, &[11, 13]), "main"),
        formerly(version(3, &[], 60, &[11, 14]), "main"),
        version(4, &["dev"], 500, &[15]),
        version(5, &[], 900, &[16]),
    ]
}

#[test]
fn without_rules_what_has_a_name_stays() {
    assert_eq!(gone(history(), &[], &Policy::default()), [2, 3, 5]);
}

#[test]
fn the_last_of_each_name_stay() {
    let last = |n| Policy { keep_last: Some(n), ..Policy::default() };
    assert_eq!(gone(history(), &[], &last(1)), [2, 3], "what never had a name is a group, too");
    assert_eq!(gone(history(), &[], &last(2)), [3]);
    assert_eq!(gone(history(), &[], &Policy { group_by: Some(GroupBy::None), ..last(2) }), [2, 3, 5]);
    // Where there is one name, what has none was its.
    let one_name = vec![version(1, &["latest"], 90, &[]), version(2, &[], 30, &[]), version(3, &[], 60, &[])];
    assert_eq!(gone(one_name, &[], &last(2)), [3], "what the name leads to is the last, however old");
}

#[test]
fn rules_are_ored_and_names_and_digests_count() {
    let policy = Policy { keep_within: Some(SignedDuration::from_hours(48)), ..Policy::default() };
    assert_eq!(gone(history(), &[], &policy), [3, 4, 5]);
    let policy = Policy { keep_tags: vec!["d*".to_owned()], ..policy };
    assert_eq!(gone(history(), &[], &policy), [3, 5]);
    let policy = Policy { keep_digests: vec![digest(5).hex()[..8].parse().unwrap()], ..policy };
    assert_eq!(gone(history(), &[], &policy), [3]);
    let bad = Policy { keep_tags: vec!["{".to_owned()], ..Policy::default() };
    let inventory = inventory(history());
    let sight = Sight { inventory: &inventory, pins: &[], now: now(), id: RunId::new(now(), 0) };
    assert_eq!(choose::choose(&sight, &bad).unwrap_err().kind(), crate::error::Kind::Invalid);
}

#[test]
fn one_of_each_day_stays() {
    let hours = [1, 3, 20, 26, 50, 51, 75];
    let versions = hours.iter().zip(1..).map(|(&hours, n)| version(n, &[], hours, &[])).collect();
    // Noon: 1 and 3 hours ago is the 21st, 20 the 20th, 26 too, 50 and 51 the 19th, 75 the 18th.
    let policy = Policy { keep_daily: Some(3), ..Policy::default() };
    assert_eq!(gone(versions, &[], &policy), [2, 4, 6, 7]);
}

#[test]
fn the_oldest_go_until_it_fits() {
    // In all 605 bytes: manifests of 1, and layers 11 to 16 of 100.
    let most = |bytes| Policy { max_size: Some(Limit::Size(Bytes(bytes))), ..Policy::default() };
    assert_eq!(gone(history(), &[], &most(605)), [0_u8; 0]);
    assert_eq!(gone(history(), &[], &most(604)), [5], "what has no name goes first, the oldest of it");
    assert_eq!(gone(history(), &[], &most(500)), [3, 5]);
    assert_eq!(gone(history(), &[], &most(300)), [2, 3, 4, 5]);
    let kept = Policy { keep_tags: vec!["main".to_owned()], ..most(0) };
    assert_eq!(gone(history(), &[], &kept), [2, 3, 4, 5], "what a rule keeps stays, also if it does not fit then");
    let fits = Policy { keep_tags: vec!["main".to_owned()], ..most(504) };
    assert_eq!(gone(history(), &[], &fits), [5], "what no rule keeps goes only as far as needed");
}

#[test]
fn pins_win_until_their_time_is_over() {
    let pin = |until: Option<i64>| Pin {
        name: "dev".to_owned(),
        digest: digest(4),
        made: now() - SignedDuration::from_hours(100),
        until: until.map(|hours| now() + SignedDuration::from_hours(hours)),
        reason: None,
    };
    let nothing = Policy { keep_none: true, remove: vec!["dev".to_owned()], ..Policy::default() };
    assert_eq!(gone(history(), &[pin(None)], &nothing), [1, 2, 3, 5]);
    assert_eq!(gone(history(), &[pin(Some(1))], &nothing), [1, 2, 3, 5]);
    assert_eq!(gone(history(), &[pin(Some(-1))], &nothing), [1, 2, 3, 4, 5]);
    let elsewhere = Pin { digest: digest(1), ..pin(None) };
    assert_eq!(gone(history(), &[elsewhere], &nothing), [1, 2, 3, 4, 5], "a name that leads elsewhere pins nothing");
}

#[test]
fn what_you_choose_goes_or_stays() {
    let choose = |remove: &[&str], keep: &[&str]| Policy {
        remove: remove.iter().map(|&s| s.to_owned()).collect(),
        keep: keep.iter().map(|&s| s.to_owned()).collect(),
        ..Policy::default()
    };
    let short = digest(3).hex()[..12].to_owned();
    assert_eq!(gone(history(), &[], &choose(&["dev"], &[])), [4], "what was chosen, and no more");
    assert_eq!(gone(history(), &[], &choose(&[&short], &[])), [3]);
    assert_eq!(gone(history(), &[], &choose(&[], &[&short])), [2, 5]);
    let inventory = inventory(history());
    let sight = Sight { inventory: &inventory, pins: &[], now: now(), id: RunId::new(now(), 0) };
    let error = choose::choose(&sight, &choose(&["nobody"], &[])).unwrap_err();
    assert_eq!(error.kind(), crate::error::Kind::NotFound);
}

#[test]
fn shared_blobs_are_told_apart() {
    let inventory = inventory(history());
    let sight = Sight { inventory: &inventory, pins: &[], now: now(), id: RunId::new(now(), 0) };
    let verdicts =
        choose::choose(&sight, &Policy { remove: vec!["main".into()], keep_none: true, ..Policy::default() });
    let verdicts = verdicts.unwrap();
    let lots = blobs::lots(&inventory, &verdicts, &blobs::Told::default(), true, true);
    assert_eq!(lots.shared, blobs::Lot { count: 1, bytes: 100, frees: 100 }, "blob 11, which three of them use");
    assert_eq!(lots.of_version[&digest(1)], 101);
    assert_eq!(lots.targets.iter().map(|t| t.bytes).sum::<u64>(), 605);
}

#[test]
fn an_expired_pin_takes_its_own_name_along_and_no_other() {
    let expired = |n: u8| Pin {
        name: "dev".to_owned(),
        digest: digest(n),
        made: now() - SignedDuration::from_hours(100),
        until: Some(now() - SignedDuration::from_hours(1)),
        reason: None,
    };
    let named = |n: u8, name: &str| Reference {
        name: name.to_owned(),
        digest: Some(digest(n)),
        size: None,
        modified: None,
        version: Some(digest(n).to_string()),
    };
    let inventory = inventory(vec![version(1, &["main"], 2, &[]), version(4, &["dev", "other"], 500, &[])]);
    let items = vec![named(4, "dev"), named(1, "main"), named(4, "other")];
    let references = References { items, findings: Vec::new() };
    let names = |pin: Pin| -> Vec<String> {
        let pins = [pin];
        let sight = Sight { inventory: &inventory, pins: &pins, now: now(), id: RunId::new(now(), 0) };
        let chosen = choose::choose(&sight, &Policy::default()).unwrap();
        let steps = expired_names(&sight, &references, &chosen).into_iter();
        steps.filter_map(|step| if let Step::Unname { name, .. } = step { Some(name) } else { None }).collect()
    };
    assert_eq!(names(expired(4)), ["dev"]);
    assert_eq!(names(expired(1)), Vec::<String>::new(), "dev was made to lead elsewhere since");
}
