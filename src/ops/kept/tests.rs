use super::*;
use crate::format::usage;
use std::time::Duration;

const NOW: &str = "2026-11-20T18:00:00Z";
const HOUR: Duration = Duration::from_secs(3600);

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

/// A record of 100 bytes, last used so many hours ago.
fn record(id: &str, parents: &[&str], hours: i64) -> UsageRecord {
    UsageRecord {
        id: id.to_owned(),
        parents: parents.iter().map(|&p| p.to_owned()).collect(),
        kind: "regular".to_owned(),
        description: format!("step {id}"),
        bytes: 100,
        created: None,
        last_used: Some(now() - SignedDuration::from_hours(hours)),
        uses: 1,
        in_use: false,
        mutable: false,
        shared: false,
    }
}

fn rule(keep: Duration, cap: u64) -> Rule {
    Rule { keep, max_used_bytes: cap, ..Rule::default() }
}

fn verdict(records: &[UsageRecord], rules: &[Rule], id: &str) -> Verdict {
    why(records, Some(rules), id, |kept| kept.verdict)
}

fn why<T>(records: &[UsageRecord], rules: Option<&[Rule]>, id: &str, look: impl Fn(&Kept<'_>) -> T) -> T {
    let at = records.iter().position(|r| r.id == id).unwrap();
    look(&Keeping::of(records, rules).why(at, now()))
}

#[test]
fn a_young_child_keeps_all_that_it_builds_on() {
    let mut records = vec![record("0", &[], 900)];
    for n in 1..8 {
        records.push(record(&n.to_string(), &[&(n - 1).to_string()], if n == 7 { 1 } else { 900 }));
    }
    let rules = [rule(48 * HOUR, 10)];
    assert_eq!(verdict(&records, &rules, "7"), Verdict::Young);
    assert_eq!(verdict(&records, &rules, "0"), Verdict::Child);
    why(&records, Some(&rules), "7", |kept| {
        assert_eq!((kept.ancestors, kept.descendants), (7, 0));
        let said = kept.sentences(SizeStyle::default(), now()).join("\n");
        assert!(said.contains("the 7 records that it builds on"), "{said}");
    });
    why(&records, Some(&rules), "0", |kept| {
        assert_eq!((kept.descendants, kept.holder.map(|(r, v)| (r.id.as_str(), v))), (7, Some(("7", Verdict::Young))));
        let said = kept.sentences(SizeStyle::default(), now()).join("\n");
        assert!(said.contains("step 7, which was used not long ago"), "{said}");
    });
}

#[test]
fn what_a_build_holds_is_kept_by_nothing_else() {
    let mut records = [record("a", &[], 900), record("b", &["a"], 900)];
    records[1].in_use = true;
    assert_eq!(verdict(&records, &[Rule::default()], "b"), Verdict::InUse);
    why(&records, Some(&[Rule::default()]), "a", |kept| {
        assert_eq!(kept.verdict, Verdict::Child);
        assert_eq!(kept.holder.map(|(_, verdict)| verdict), Some(Verdict::InUse));
    });
}

#[test]
fn the_cap_is_what_counts_and_the_reserved_space_is_a_floor_below_it() {
    let records = [record("a", &[], 900), record("b", &[], 900)];
    let says = |rule: Rule| why(&records, Some(std::slice::from_ref(&rule)), "a", |kept| kept.rules[0]);
    assert_eq!(says(rule(HOUR, 201)), Says::UnderCap(200, 201));
    assert_eq!(says(rule(HOUR, 200)), Says::Takes, "at the cap it acts");
    assert_eq!(
        says(Rule { reserved_bytes: 300, ..rule(HOUR, 100) }),
        Says::UnderCap(200, 300),
        "never below the floor"
    );
    assert_eq!(says(Rule { reserved_bytes: 100, ..rule(HOUR, 300) }), Says::UnderCap(200, 300), "the floor is no cap");
    assert_eq!(
        says(Rule { reserved_bytes: 100, ..Rule::default() }),
        Says::Takes,
        "with a floor alone it goes down to it"
    );
    let disk = Rule { min_free_bytes: 9, ..Rule::default() };
    assert_eq!(says(disk.clone()), Says::IfDiskFills(9, None));
    assert_eq!(says(Rule { max_used_bytes: 100, ..disk.clone() }), Says::Takes);
    assert_eq!(says(Rule { max_used_bytes: 900, ..disk.clone() }), Says::IfDiskFills(9, None));
    assert_eq!(says(Rule { reserved_bytes: 900, ..disk }), Says::UnderCap(200, 900));
    assert_eq!(says(Rule::default()), Says::Takes, "a rule without numbers takes all");
}

#[test]
fn shared_records_do_not_count_and_go_only_by_a_rule_for_all() {
    let mut records = vec![record("a", &[], 900), record("image", &[], 900), record("front", &[], 900)];
    records[1].shared = true;
    records[2].kind = "frontend".to_owned();
    assert_eq!(Keeping::of(&records, None).counted(), 200);
    let rules = [rule(HOUR, 201)];
    assert_eq!(verdict(&records, &rules, "a"), Verdict::UnderCap);
    let some = [Rule::default()];
    assert_eq!(verdict(&records, &some, "image"), Verdict::NoRule);
    why(&records, Some(&some), "front", |kept| assert_eq!(kept.rules, [Says::NotForAll(Special::Frontend)]));
    let all = [Rule::default(), Rule { all: true, ..Rule::default() }];
    assert_eq!(verdict(&records, &all, "image"), Verdict::Nothing);
    assert_eq!(verdict(&records, &all, "front"), Verdict::Nothing);
}

#[test]
fn filters_choose_by_type_and_more() {
    let mut local = record("l", &[], 900);
    (local.kind, local.mutable) = ("source.local".to_owned(), true);
    let says = |filters: &[&str]| {
        let filters = filters.iter().map(|&f| f.to_owned()).collect();
        fits(&Rule { filters, ..Rule::default() }.filters, &local)
    };
    assert_eq!(says(&[]), Some(true));
    assert_eq!(says(&["type==source.local", "type==exec.cachemount"]), Some(true));
    assert_eq!(says(&["type==regular"]), Some(false));
    assert_eq!(says(&["type!=regular,mutable"]), Some(true));
    assert_eq!(says(&["type==source.local,immutable"]), Some(false));
    assert_eq!(says(&["id==\"l\""]), Some(true));
    assert_eq!(says(&["description~=^step"]), None, "what can't be read is not guessed");
    assert_eq!(says(&["colour==red"]), None);
}

#[test]
fn the_weakest_rule_decides() {
    let records = [record("a", &[], 24)];
    let young = rule(48 * HOUR, 50);
    assert_eq!(verdict(&records, std::slice::from_ref(&young), "a"), Verdict::Young);
    assert_eq!(verdict(&records, &[young.clone(), rule(HOUR, 900)], "a"), Verdict::Young);
    assert_eq!(verdict(&records, &[young.clone(), rule(HOUR, 50)], "a"), Verdict::Nothing);
    assert_eq!(verdict(&records, &[rule(48 * HOUR, 900)], "a"), Verdict::UnderCap, "its age does not matter yet");
    assert_eq!(verdict(&records, &[], "a"), Verdict::NeverCollected);
    assert_eq!(why(&records, None, "a", |kept| kept.verdict), Verdict::Unknown);
    let mut never = [record("a", &[], 24)];
    never[0].last_used = None;
    assert_eq!(verdict(&never, &[young], "a"), Verdict::Nothing, "what was never used is not young");
}

#[test]
fn loops_and_strangers_among_parents_end() {
    let records = [record("a", &["b", "gone"], 900), record("b", &["a"], 900)];
    assert_eq!(verdict(&records, &[Rule::default()], "a"), Verdict::Child);
    why(&records, None, "a", |kept| assert_eq!((kept.ancestors, kept.descendants), (1, 1)));
}

#[test]
fn recorded_records_have_their_reasons() {
    let records = usage::read(include_bytes!("../../../tests/fixtures/daemon-du.json")).unwrap();
    // BuildKit's own rules on a disk of 500 GB.
    let sizes =
        Rule { reserved_bytes: 10 << 30, max_used_bytes: 100 << 30, min_free_bytes: 50 << 30, ..Rule::default() };
    let rules = [
        Rule {
            filters: ["type==source.local", "type==exec.cachemount", "type==source.git.checkout"]
                .map(str::to_owned)
                .into(),
            ..rule(48 * HOUR, 512_000_000)
        },
        Rule { keep: 60 * 24 * HOUR, ..sizes.clone() },
        sizes.clone(),
        Rule { all: true, ..sizes },
    ];
    let keeping = Keeping::of(&records, Some(&rules));
    let verdicts: Vec<Verdict> = (0..records.len()).map(|at| keeping.why(at, now()).verdict).collect();
    assert!(verdicts.iter().all(|v| matches!(v, Verdict::UnderCap | Verdict::Child)), "{verdicts:?}");
    let base = records.iter().position(|r| r.description.starts_with("[base 1/1]")).unwrap();
    assert_eq!(verdicts[base], Verdict::Child);
    let context = records.iter().position(|r| r.kind == "source.local").unwrap();
    assert!(matches!(keeping.why(context, now()).rules[0], Says::UnderCap(_, 512_000_000)));
}

#[test]
fn rules_say_what_their_numbers_mean() {
    let words = |rule: &Rule| rule_words(rule, SizeStyle::default()).join("; ");
    let rule = Rule { keep: 48 * HOUR, reserved_bytes: 1 << 30, max_used_bytes: 2 << 30, ..Rule::default() };
    assert_eq!(
        words(&rule),
        "all records but internal, frontend and shared ones; not used for 2d; cap 2.0 GiB; floor 1.0 GiB"
    );
    assert!(words(&Rule { reserved_bytes: 1 << 30, ..Rule::default() }).ends_with("down to 1.0 GiB"));
    assert!(words(&Rule::default()).ends_with("takes all of them"));
    let disk = Rule { filters: vec!["type==source.local".to_owned()], min_free_bytes: 1 << 30, ..Rule::default() };
    assert_eq!(words(&disk), "source.local; until 1.0 GiB of the disk are free");
}
