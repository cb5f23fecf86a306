use super::*;
use crate::error::Kind;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

#[derive(Default)]
struct Index {
    name: &'static str,
    tags: Vec<&'static str>,
    size: Option<u64>,
    layers: u64,
    created: Option<&'static str>,
    missing: bool,
}

impl Row for Index {
    fn fields() -> &'static [Field] {
        const FIELDS: &[Field] = &[
            Field::new("type", FieldKind::Text),
            Field::new("tag", FieldKind::Text),
            Field::new("size", FieldKind::Size),
            Field::new("layers", FieldKind::Count),
            Field::new("age", FieldKind::Time),
            Field::new("missing", FieldKind::Flag),
        ];
        FIELDS
    }

    fn field(&self, name: &str) -> Option<Value<'_>> {
        match name {
            "type" => Some(Value::Text("local".into())),
            "tag" => Some(Value::Texts(self.tags.iter().map(|&tag| tag.into()).collect())),
            "size" => self.size.map(Value::Size),
            "layers" => Some(Value::Count(self.layers)),
            "age" => self.created.map(|time| Value::Time(time.parse().unwrap())),
            "missing" => Some(Value::Flag(self.missing)),
            _ => None,
        }
    }

    fn text(&self) -> Cow<'_, str> {
        self.name.into()
    }
}

fn index() -> Index {
    Index {
        name: "Release-1.42 5be0c1d9 RUN npm ci",
        tags: vec!["release-1.42", "main", "a b"],
        size: Some(3 << 30),
        layers: 40,
        created: Some("2026-08-15T00:00:00Z"),
        missing: false,
    }
}

fn passes(filter: &str, row: &Index) -> bool {
    let now = "2026-08-21T00:00:00Z".parse().unwrap();
    Filter::parse(filter, Index::fields()).unwrap_or_else(|e| panic!("{filter}: {e}")).matches(row, now)
}

#[test]
fn terms_that_hold() {
    for filter in [
        "",
        "   ",
        "type=local",
        "tag=main",
        "tag!=nightly",
        "tag~=^rel",
        "TAG=main",
        "tag=\"a b\"",
        "tag~=\"^a b$\"",
        "size>1GiB",
        "size>=3GiB size<=3GiB size=3221225472 size!=1",
        "size<4G",
        "layers=40 layers<41",
        "age>5d",
        "age<7d age<=6d age>=6d",
        "age>2026-08-01 age<2026-08-21T00:00:00Z",
        "missing=false missing!=yes",
        "release",
        "NPM",
        "\"run npm\"",
        "re:^Rel",
        "re:\"npm \\w+\"",
        "re:size>|Rel",
        "fz:rlsnpm",
        "fz:\"rl npm\"",
        "!nightly",
        "!tag=nightly",
        "!re:^nightly",
        "!!release",
        "!\"!\"",
        "size>1GiB age<30d tag=main type=local !nightly",
    ] {
        assert!(passes(filter, &index()), "{filter}");
    }
}

#[test]
fn terms_that_do_not_hold() {
    for filter in [
        "type=s3",
        "type=Local",
        "tag!=main",
        "tag~=^x",
        "size>3GiB",
        "size<3GiB",
        "layers>40",
        "age>6d",
        "age>2026-08-16",
        "missing=true",
        "nightly",
        "!release",
        "re:^rel",
        "fz:npmrls",
        "fz:NPMCI",
        "release nightly",
        "\"npm  ci\"",
        "\"size>1GiB\"",
        "\"!nightly\"",
    ] {
        assert!(!passes(filter, &index()), "{filter}");
    }
}

#[test]
fn what_is_unknown_compares_as_false() {
    let row = Index { name: "untagged", ..Index::default() };
    for filter in ["size>0", "size=0", "size!=0", "size<1", "age>0s", "age<1y", "tag=x", "tag~="] {
        assert!(!passes(filter, &row), "{filter}");
    }
    assert!(passes("!size>0", &row));
    assert!(passes("tag!=x", &row), "no tags is known: none of them is x");
}

#[test]
fn errors_name_the_term_and_the_way_out() {
    for (filter, what) in [
        ("main siez>1", "bad filter term siez>1: no field siez"),
        ("size>1XB", "bad filter term size>1XB: bad size 1XB: unknown unit"),
        ("size>", "bad filter term size>: bad size : not a number"),
        ("size~=1", "bad filter term size~=1: size is a number, it takes = != > < >= <="),
        ("tag>a", "bad filter term tag>a: tag is text, it takes = != ~="),
        ("missing>no", "bad filter term missing>no: missing is true or false, it takes = !="),
        ("missing=maybe", "bad filter term missing=maybe: not true or false"),
        ("layers=-1", "bad filter term layers=-1: not a whole number"),
        ("age>soon", "bad filter term age>soon: neither a duration (30d) nor a date (2026-08-01)"),
        ("x tag=\"a b", "bad filter term tag=\"a b: the quote is not closed"),
        ("re:(a", "bad filter term re:(a: bad regular expression: unclosed group"),
        ("tag~=[", "bad filter term tag~=[: bad regular expression: unclosed character class"),
        ("!", "bad filter term !: nothing to look for"),
        ("re:", "bad filter term re:: nothing to look for"),
        ("\u{1b}[2Jx=1 foo=\u{202e}1", r"bad filter term foo=\u{202e}1: no field foo"),
    ] {
        let error = Filter::parse(filter, Index::fields()).unwrap_err();
        assert_eq!((error.what(), error.kind()), (what, Kind::Invalid), "{filter}");
    }
    let error = Filter::parse("siez>1", Index::fields()).unwrap_err();
    let hint =
        "did you mean size? known here: type, tag, size, layers, age, missing; to look for the text itself, quote it";
    assert_eq!(error.hint(), Some(hint));
}

#[test]
fn a_filter_remembers_its_words() {
    let filter = Filter::parse("  tag=main  x ", Index::fields()).unwrap();
    assert_eq!(filter.source(), "tag=main  x");
    assert!(!filter.is_empty());
    assert!(Filter::default().is_empty());
}

#[test]
fn fuzzy_ranks_the_nearer_higher() {
    let mut fuzzy = Fuzzy::new("rel1");
    let scores = ["release-1.42", "rel1", "main"].map(|text| fuzzy.score(text));
    assert!(scores[1] > scores[0] && scores[0].is_some() && scores[2].is_none());
}

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(4), ..ProptestConfig::default() })]

    #[test]
    fn no_text_breaks_a_filter(text in "(tag|size|age|re:|fz:|[ !\"\\\\=~<>1d(a日\u{301}]){0,12}") {
        if let Ok(mut filter) = Filter::parse(&text, Index::fields()) {
            let _ = filter.matches(&index(), Timestamp::UNIX_EPOCH);
            // What was read can be read again.
            prop_assert!(Filter::parse(filter.source(), Index::fields()).is_ok());
        }
    }

    #[test]
    fn inverting_inverts(term in "(tag|size|layers)(=|!=)[0-9]{1,3}|[a-z0-9]{1,3}") {
        prop_assert_ne!(passes(&term, &index()), passes(&format!("!{term}"), &index()));
    }
}
