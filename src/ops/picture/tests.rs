use super::*;
use crate::model::cache::{Compression, Layer, Link, Outcome, Record};
use crate::model::text;
use crate::ops::names::Source;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

fn digest(of: usize) -> Digest {
    Digest::of(&of.to_le_bytes())
}

fn layer(index: usize, parent: Option<usize>, size: u64) -> Layer {
    Layer {
        blob: digest(index),
        parent,
        size: Some(size),
        compression: Compression::Gzip,
        media_type: "".into(),
        diff_id: None,
        created: None,
        platform: None,
        history: None,
    }
}

/// A record made from `inputs`: a number for each input's records, the selector if there is one.
fn record(index: usize, inputs: &[&[(usize, Option<&str>)]], result: Option<usize>) -> Record {
    let link = |&(record, selector): &(usize, Option<&str>)| Link { record, selector: selector.map(Into::into) };
    Record {
        digest: digest(1000 + index),
        inputs: inputs.iter().map(|alternatives| alternatives.iter().map(link).collect()).collect(),
        results: result.map(|layer| Outcome::Layer { layer, created: None }).into_iter().collect(),
    }
}

fn step(text: &str) -> Option<StepName> {
    Some(StepName { step: text.into(), source: Source::Usage })
}

/// A build of three stages: a base, dependencies and a program on it, and the program copied onto the base again.
fn example() -> (Cache, Vec<Option<StepName>>) {
    let layers = vec![
        layer(0, None, 3 << 20),
        layer(1, Some(0), 900),
        layer(2, Some(1), 48 << 20),
        layer(3, Some(2), 11 << 20),
        layer(4, Some(0), 10 << 20),
        layer(5, None, 130),
    ];
    let records = vec![
        record(0, &[&[(1, Some(&digest(7).to_string()))], &[(2, None), (3, Some("/src/page.html"))]], Some(4)),
        record(1, &[&[(4, None)]], Some(3)),
        record(2, &[], None),
        record(3, &[&[(2, None)], &[(6, None)]], Some(5)),
        record(4, &[&[(5, None)], &[(6, None)]], Some(2)),
        record(5, &[&[(6, None)]], None),
        record(6, &[], Some(0)),
    ];
    let steps = vec![
        step("[base 1/1] FROM debian:13"),
        step("[deps 1/2] COPY package.json /app/"),
        step("RUN npm ci --omit=dev"),
        None,
        step("[web 1/1] COPY --from=build /app/dist /srv"),
    ];
    (Cache { layers, records }, steps)
}

fn drawn(cache: &Cache, steps: &[Option<StepName>], graph: Graph, format: Format) -> String {
    draw(&Subject { title: "main", cache, steps, missing: &[] }, graph, format, &Options::of(format))
}

#[test]
fn every_format_of_both_graphs() {
    let (cache, steps) = example();
    for graph in Graph::ALL {
        for format in Format::ALL {
            let name = format!("{}_{}", graph.name(), format.name());
            insta::assert_snapshot!(name, drawn(&cache, &steps, graph, format));
        }
    }
}

#[test]
fn what_is_missing_is_seen_in_every_picture() {
    let (cache, steps) = example();
    let missing = [digest(1)];
    let subject = Subject { title: "main", cache: &cache, steps: &steps, missing: &missing };
    let draw = |graph, format| draw(&subject, graph, format, &Options::of(format));
    assert!(draw(Graph::Layers, Format::Tree).contains("✕ #1"));
    assert!(draw(Graph::Layers, Format::Svg).contains("✕ missing"));
    for format in [Format::Dot, Format::Mermaid] {
        assert_eq!(draw(Graph::Layers, format).matches("900 B").count(), 1);
        assert!(draw(Graph::Layers, format).contains("missing"));
    }
    // A record needs the layer and all below it.
    let records = draw(Graph::Records, Format::Tree);
    assert_eq!(records.matches('✕').count(), 2, "{records}");
    assert!(records.contains("✕ 0: r1 → #3") && records.contains("✕ r4 → #2"), "{records}");
}

#[test]
fn narrow_terminals_lose_columns_before_names() {
    let (cache, steps) = example();
    let subject = Subject { title: "main", cache: &cache, steps: &steps, missing: &[] };
    for width in [20, 40, 60, 80] {
        let options = Options { width, ..Options::of(Format::Tree) };
        let tree = draw(&subject, Graph::Layers, Format::Tree, &options);
        // Below thirty cells only the heading is longer than asked for.
        assert!(tree.lines().skip(1).all(|line| text::width(line) <= width), "{width}\n{tree}");
        assert!(tree.contains("48.0 MiB"), "{width}\n{tree}");
    }
    let options = Options { width: 60, ascii: true, ..Options::of(Format::Tree) };
    insta::assert_snapshot!("ascii_60", draw(&subject, Graph::Records, Format::Tree, &options));
    let ascii = draw(&subject, Graph::Records, Format::Tree, &options);
    assert!(ascii.is_ascii());
}

#[test]
fn runs_of_small_layers_fold_and_say_so() {
    // 0 - 1 - 2 - 3 - 4, large at both ends, and a small leaf at 0 that no run goes through.
    let sizes = [5 << 20, 10, 20, 30, 7 << 20];
    let mut layers: Vec<Layer> = sizes.iter().enumerate().map(|(i, &size)| layer(i, i.checked_sub(1), size)).collect();
    layers.push(layer(5, Some(0), 1));
    let cache = Cache { layers, records: Vec::new() };
    let subject = Subject { title: "main", cache: &cache, steps: &[], missing: &[] };
    let options = Options { fold_below: 1 << 20, ..Options::of(Format::Tree) };
    let tree = draw(&subject, Graph::Layers, Format::Tree, &options);
    let names: Vec<&str> = tree.lines().skip(1).map(|line| line.split(" unnamed").next().unwrap_or_default()).collect();
    assert_eq!(names[..2], ["● #0", "├─● #5"], "{tree}");
    assert!(names[2].starts_with("└─… and 3 more") && names[2].ends_with("60 B"), "{tree}");
    assert_eq!(names[3], "  ● #4", "{tree}");
}

#[test]
fn the_largest_layers_stay_when_there_are_too_many() {
    let layers = (0..100).map(|i| layer(i, (i > 0).then_some(0), i as u64)).collect();
    let cache = Cache { layers, records: Vec::new() };
    let subject = Subject { title: "main", cache: &cache, steps: &[], missing: &[] };
    let options = Options { limit: 3, ..Options::of(Format::Tree) };
    let tree = draw(&subject, Graph::Layers, Format::Tree, &options);
    assert!(tree.contains("#99 ") && tree.contains("#98 ") && tree.contains("#97 "), "{tree}");
    assert!(!tree.contains("#96 ") && tree.contains("and 97 more"), "{tree}");
}

/// Records with links to those that `links` tells for each.
fn linked(count: usize, links: impl Fn(usize) -> Vec<usize>) -> Vec<Record> {
    let link = |record| vec![Link { record, selector: None }];
    (0..count).map(|i| Record { inputs: links(i).into_iter().map(link).collect(), ..record(i, &[], None) }).collect()
}

fn bounded(cache: &Cache, formats: &[Format]) {
    for graph in Graph::ALL {
        for &format in formats {
            let picture = drawn(cache, &[], graph, format);
            assert!(picture.len() <= 4000 * format.limit(), "{graph:?} {format:?}: {} bytes", picture.len());
            assert!(picture.contains(" more"), "{graph:?} {format:?}");
        }
    }
}

#[test]
fn chains_of_200_000_are_drawn_in_no_time_and_space() {
    const N: usize = 200_000;
    let layers = (0..N).map(|i| layer(i, i.checked_sub(1), 1 + i as u64 % 7)).collect();
    let cache = Cache { layers, records: linked(N, |i| i.checked_sub(1).into_iter().collect()) };
    bounded(&cache, &[Format::Tree, Format::Svg]);
    assert_eq!(drawn(&cache, &[], Graph::Layers, Format::Json).matches("\"parent\":").count(), N);
}

#[test]
fn mermaid_stays_within_what_its_renderers_take() {
    // Each record is made from all before it.
    let dense = Cache { layers: Vec::new(), records: linked(300, |i| (0..i).collect()) };
    let picture = drawn(&dense, &[], Graph::Records, Format::Mermaid);
    assert!(picture.matches("-->").count() < 500);
    assert!(picture.contains("links not drawn"), "{picture}");
    let long = "x".repeat(400);
    let chain = (0..2000).map(|i| layer(i, i.checked_sub(1), [1, 1 << 40][i % 2])).collect();
    let chain = Cache { layers: chain, records: Vec::new() };
    assert!(drawn(&chain, &vec![step(&long); 2000], Graph::Layers, Format::Mermaid).len() < 50_000);
}

#[test]
fn stars_combs_and_ladders_are_drawn_in_no_time_and_space() {
    const N: usize = 50_000;
    const DRAWN: &[Format] = &[Format::Tree, Format::Dot, Format::Mermaid, Format::Svg];
    let star = (0..N).map(|i| layer(i, (i > 0).then_some(0), 1)).collect();
    let all_at_one = linked(N, |i| if i == N - 1 { (0..N - 1).collect() } else { Vec::new() });
    bounded(&Cache { layers: star, records: all_at_one }, DRAWN);
    // A chain with a leaf at each of its layers.
    let comb = (0..N).map(|i| layer(i, i.checked_sub(if i % 2 == 0 { 2 } else { 1 }), 1)).collect();
    let ladder = linked(N, |i| i.checked_sub(1).into_iter().chain(i.checked_sub(2)).collect());
    bounded(&Cache { layers: comb, records: ladder }, DRAWN);
}

/// The example with `text` wherever a cache or a user can put text.
fn with_text(text: &str) -> (Cache, Vec<Option<StepName>>) {
    let (mut cache, _) = example();
    cache.records[0].inputs[0][0].selector = Some(text.into());
    (cache, vec![step(text); 6])
}

/// Every mark that means something to a format, as often as it stands in `picture`.
fn marks(picture: &str, format: Format) -> Vec<usize> {
    let marks: &[&str] = match format {
        Format::Tree => &["\n"],
        Format::Dot => &["\n"],
        Format::Mermaid => &["\n", "\"", "<", "%", "`", "|"],
        Format::Svg => &["<", ">", "\"", "'"],
        Format::Json => &["\n"],
    };
    marks.iter().map(|mark| picture.matches(mark).count()).collect()
}

const HOSTILE: &[&str] = &[
    "</text><script>alert(1)</script>",
    "]]><!--&lt;&#27;",
    r#""] ; evil [shape=box"#,
    r"ends in a backslash\",
    r#"\" -> n9; \N \G"#,
    "&quot;&#x1b;[31m",
    "%%{init: {'theme':'x'}}%%",
    "`**md**` $$x$$ #quot; fa:fa-ban",
    "1. list\n2. list",
    "end",
    "|x| --> n0",
    "\u{1b}]0;owned\u{7}\u{9b}31m",
    "\u{202e}gnp.exe\u{2066}\u{200b}",
    "日本語のステップ 日本語のステップ 日本語のステップ 日本語のステップ",
    "",
];

fn breaks_nothing(text: &str) {
    let (cache, steps) = with_text(text);
    let (plain, plain_steps) = with_text("x");
    for graph in Graph::ALL {
        for format in Format::ALL {
            let subject = Subject { title: text, cache: &cache, steps: &steps, missing: &[] };
            let picture = draw(&subject, graph, format, &Options::of(format));
            assert!(!picture.chars().any(|c| c != '\n' && text::is_hostile(c)), "{graph:?} {format:?}\n{picture}");
            let subject = Subject { title: "x", cache: &plain, steps: &plain_steps, missing: &[] };
            let harmless = draw(&subject, graph, format, &Options::of(format));
            assert_eq!(marks(&picture, format), marks(&harmless, format), "{text:?} {graph:?} {format:?}\n{picture}");
            match format {
                Format::Dot => assert_eq!(strings(&picture), strings(&harmless), "{text:?}\n{picture}"),
                Format::Json => {
                    let json: serde_json::Value = serde_json::from_str(&picture).unwrap();
                    assert_eq!(json["title"], text);
                }
                _ => {}
            }
        }
    }
}

/// How many quoted strings Graphviz's lexer sees, and that none is left open.
fn strings(dot: &str) -> usize {
    let (mut count, mut open, mut escaped) = (0, false, false);
    for c in dot.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' if open => escaped = true,
            '"' => {
                open = !open;
                count += usize::from(open);
            }
            _ => {}
        }
    }
    assert!(!open);
    count
}

#[test]
fn hostile_text_breaks_out_of_no_format() {
    HOSTILE.iter().for_each(|text| breaks_nothing(text));
    let (cache, steps) = with_text(r#"a"b\c&amp;d"#);
    assert!(drawn(&cache, &steps, Graph::Layers, Format::Dot).contains(r##"[label="#0 a\"b\\c&amp;amp;d\l"##));
    let (cache, steps) = with_text("a\"b#1;<c>");
    assert!(drawn(&cache, &steps, Graph::Layers, Format::Mermaid).contains("[\"#35;0 a#34;b#35;1#59;#60;c#62;<br/>"));
    let (cache, steps) = with_text("a&b<c>'\"");
    assert!(drawn(&cache, &steps, Graph::Layers, Format::Svg).contains(">#0 a&amp;b&lt;c&gt;&#39;&quot;</text>"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..Default::default() })]

    #[test]
    fn no_text_breaks_out(text in r#"([ -~]|["\\&<>%#|`;\]\[]|\PC|\p{Cc}|\p{Cf}){0,80}"#) {
        breaks_nothing(&text);
    }

    #[test]
    fn limits_leave_nothing_uncounted(
        parents in prop::collection::vec((any::<prop::sample::Index>(), any::<bool>(), 0u64..9), 1..60),
        limit in 0usize..70,
        fold_below in 0u64..9,
    ) {
        let layers: Vec<Layer> = parents
            .iter()
            .enumerate()
            .map(|(i, (parent, root, size))| layer(i, (i > 0 && !root).then(|| parent.index(i.max(1))), *size))
            .collect();
        let cache = Cache { layers, records: Vec::new() };
        let subject = Subject { title: "x", cache: &cache, steps: &[], missing: &[] };
        let options = Options { limit, fold_below, ..Options::of(Format::Dot) };
        let sketch = Sketch::new(&subject, Graph::Layers, &options);
        let total: usize = sketch.items.iter().map(|i| i.more.unwrap_or(1)).sum();
        prop_assert_eq!(total, cache.layers.len());
        let bytes: u64 = sketch.items.iter().filter_map(|i| i.bytes).sum();
        prop_assert_eq!(bytes, cache.layers.iter().filter_map(|l| l.size).sum::<u64>());
        prop_assert!(sketch.items.len() <= 2 * limit + 1 || limit >= cache.layers.len());
        for (at, item) in sketch.items.iter().enumerate() {
            prop_assert!(item.parent.is_none_or(|p| p < at && sketch.items[p].children.contains(&at)));
        }
    }

    #[test]
    fn every_link_of_a_record_is_drawn_once_and_leads_down(
        links in prop::collection::vec(prop::collection::vec(any::<prop::sample::Index>(), 0..4), 1..40),
    ) {
        let link = |i: usize, to: &prop::sample::Index| Link { record: to.index(i), selector: None };
        let records: Vec<Record> = links
            .iter()
            .enumerate()
            .map(|(i, to)| {
                let inputs = to.iter().filter(|_| i > 0).map(|to| vec![link(i, to)]).collect();
                Record { inputs, ..record(i, &[], None) }
            })
            .collect();
        let count: usize = records.iter().map(|r| r.inputs.len()).sum();
        let cache = Cache { layers: Vec::new(), records };
        let subject = Subject { title: "x", cache: &cache, steps: &[], missing: &[] };
        let sketch = Sketch::new(&subject, Graph::Records, &Options::of(Format::Dot));
        prop_assert_eq!(sketch.items.len(), cache.records.len());
        prop_assert_eq!(sketch.links.len(), count);
        prop_assert!(sketch.links.iter().all(|l| l.from < l.to));
        prop_assert!(sketch.links.is_sorted_by_key(|l| l.from));
        let held = sketch.links.iter().filter(|l| l.holds).count();
        prop_assert_eq!(held, sketch.items.iter().filter(|i| i.parent.is_some()).count());
    }
}
