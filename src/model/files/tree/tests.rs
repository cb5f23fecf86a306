use super::*;
use std::collections::BTreeMap;

fn entry(path: &str, kind: EntryKind, size: u64) -> Entry {
    Entry {
        number: 0,
        path: path.into(),
        kind,
        mode: 0o755,
        uid: 0,
        gid: 0,
        size,
        mtime: 0,
        link: None,
        device: None,
        xattrs: Vec::new(),
    }
}

/// `a/` is a directory, `a=3` a file of three bytes, whiteouts as they are.
fn read(text: &str) -> Entry {
    match text.split_once('=') {
        Some((path, size)) => entry(path, EntryKind::File, size.parse().unwrap()),
        None if text.ends_with('/') => entry(text, EntryKind::Directory, 0),
        None if text.ends_with(".wh..wh..opq") => entry(text, EntryKind::Opaque, 0),
        None => entry(text, EntryKind::Whiteout, 0),
    }
}

fn tree(layers: &[&[&str]]) -> FileTree {
    let mut tree = FileTree::new();
    for (at, layer) in layers.iter().enumerate() {
        if at > 0 {
            tree.begin_layer();
        }
        for text in *layer {
            tree.insert(&read(text)).unwrap();
        }
    }
    tree
}

/// Lines of mark, path and bytes.
fn show(tree: &FileTree, view: View) -> Vec<String> {
    fn below(tree: &FileTree, at: NodeId, view: View, lines: &mut Vec<String>) {
        for id in tree.children(at, view, Order::Name) {
            let node = tree.node(id);
            let path = String::from_utf8_lossy(&tree.path(id)).into_owned();
            lines.push(format!("{} {path} {}", node.mark().letter(), node.total(view)));
            below(tree, id, view, lines);
        }
    }
    let mut lines = Vec::new();
    below(tree, ROOT, view, &mut lines);
    lines
}

#[test]
fn directories_are_summed_and_missing_ones_implied() {
    let tree = tree(&[&["./", "/usr/bin/app=50", "usr/", "usr/lib/a=3", "./usr/lib/b=4"]]);
    assert_eq!(
        show(&tree, View::Layer),
        ["A usr 57", "A usr/bin 50", "A usr/bin/app 50", "A usr/lib 7", "A usr/lib/a 3", "A usr/lib/b 4"]
    );
    let node = |path: &[u8]| tree.node(tree.find(path).unwrap());
    assert!(node(b"usr/bin").is_implied() && !node(b"usr").is_implied() && !node(b"").is_implied());
    assert_eq!((node(b"/usr/./lib/").total(View::Merged), node(b"").total(View::Merged)), (7, 57));
    assert_eq!(tree.find(b"usr/none"), None);
    let by_size = tree.children(tree.find(b"usr/lib").unwrap(), View::Layer, Order::Size);
    assert_eq!(tree.path(by_size[0]), b"usr/lib/b");
}

#[test]
fn the_later_of_two_entries_wins_and_says_so() {
    let tree = tree(&[&["a=5", "a=7", "d/x=1", "d=2"]]);
    assert_eq!(show(&tree, View::Layer), ["A a 7", "A d 2"], "a file in the place of a directory takes it away");
    assert!(tree.node(tree.find(b"a").unwrap()).is_repeated());
    assert_eq!(tree.tally(), Tally { entries: 4, added: 2, ..Tally::default() });
}

#[test]
fn the_newest_layer_is_marked_against_those_below() {
    let lower: &[&str] = &["etc/", "etc/a=1", "etc/b=2", "opt/", "opt/x=10", "opt/y/z=20", "tmp/t=5"];
    let upper: &[&str] = &["etc/", "etc/a=4", "etc/c=8", "etc/.wh.b", "opt/new=1", "opt/.wh..wh..opq", ".wh.tmp"];
    let tree = tree(&[lower, upper]);
    assert_eq!(
        show(&tree, View::Layer),
        [
            "W .wh.tmp 0",
            "  etc 12",
            "W etc/.wh.b 0",
            "M etc/a 4",
            "A etc/c 8",
            "  opt 1",
            "W opt/.wh..wh..opq 0",
            "A opt/new 1"
        ]
    );
    assert_eq!(
        show(&tree, View::Merged),
        [
            "  etc 12",
            "M etc/a 4",
            "D etc/b 2",
            "A etc/c 8",
            "  opt 1",
            "A opt/new 1",
            "D opt/x 10",
            "D opt/y 0",
            "D opt/y/z 20",
            "D tmp 0",
            "D tmp/t 5"
        ]
    );
    let node = |path: &str| tree.node(tree.find(path.as_bytes()).unwrap());
    assert_eq!(node("etc/.wh.b").deletes(), Some(&b"b"[..]));
    assert_eq!((node("etc/.wh.b").deleted(), node(".wh.tmp").deleted()), ((1, 2), (2, 5)));
    assert_eq!(node("opt/.wh..wh..opq").deleted(), (3, 30));
    let tally = tree.tally();
    assert_eq!((tally.added, tally.modified, tally.deleted, tally.whiteouts), (2, 1, 6, 3));
    assert_eq!((tally.entries, tally.hidden_bytes, tally.repeated_bytes), (7, 1 + 2 + 30 + 5, 0));
}

#[test]
fn what_a_layer_deletes_and_writes_is_modified_in_either_order() {
    for upper in [&["a=2", ".wh.a"][..], &[".wh.a", "a=2"]] {
        let tree = tree(&[&["a=1"], upper]);
        assert_eq!(show(&tree, View::Merged), ["M a 2"], "{upper:?}");
        assert_eq!(tree.tally().deleted, 0);
    }
    for upper in [&["d/new=1", ".wh.d"][..], &[".wh.d", "d/new=1"]] {
        let tree = tree(&[&["d/old=1"], upper]);
        assert_eq!(show(&tree, View::Merged)[1..], ["A d/new 1", "D d/old 1"], "{upper:?}");
    }
}

#[test]
fn deletions_of_lower_layers_leave_nothing() {
    let mut tree = tree(&[&["a=1", "d/x=2"], &[".wh.a", "d=9"], &["b=1"]]);
    assert_eq!(show(&tree, View::Merged), ["A b 1", "  d 9"]);
    assert_eq!(show(&tree, View::Layer), ["A b 1"]);
    assert_eq!(tree.layer(), 2);
    tree.begin_layer();
    tree.insert(&read("a=3")).unwrap();
    assert_eq!(show(&tree, View::Merged), ["A a 3", "  b 1", "  d 9"]);
    assert_eq!(tree.node(ROOT).total(View::Merged), 13);
    assert_eq!(tree.node(ROOT).total(View::Layer), 3);
    assert_eq!(tree.node(tree.find(b"d").unwrap()).layer(), 1);
}

#[test]
fn repeated_files_are_counted() {
    let tree = tree(&[&["a=100", "b=10"], &["a=100", "b=11"]]);
    assert_eq!((tree.tally().repeated_bytes, tree.tally().hidden_bytes), (100, 110));
}

#[test]
fn hostile_names_stand_where_they_say_and_lead_nowhere() {
    let tree = tree(&[&["../../etc/passwd=1", "a/../b=2", "/=3", "=4", ".wh.=5"]]);
    assert_eq!(
        show(&tree, View::Layer),
        ["A .. 1", "A ../.. 1", "A ../../etc 1", "A ../../etc/passwd 1", "A .wh. 5", "A a 2", "A a/.. 2", "A a/../b 2"]
    );
}

#[test]
fn links_stay_links_with_what_is_said_to_be_behind_them() {
    let mut tree = FileTree::new();
    tree.insert(&Entry { link: Some(b"usr/lib".to_vec()), ..entry("lib", EntryKind::Symlink, 0) }).unwrap();
    tree.insert(&read("lib/x=3")).unwrap();
    tree.insert(&Entry { xattrs: vec![b"user.a".to_vec()], ..entry("f", EntryKind::File, 1) }).unwrap();
    let lib = tree.node(tree.find(b"lib").unwrap());
    assert_eq!((lib.kind(), lib.link(), lib.total(View::Layer)), (EntryKind::Symlink, Some(&b"usr/lib"[..]), 3));
    assert_eq!(tree.node(tree.find(b"f").unwrap()).xattrs().collect::<Vec<_>>(), [b"user.a"]);
}

#[test]
fn a_name_costs_little() {
    assert!(size_of::<Data>() <= 104, "{}", size_of::<Data>());
}

#[test]
fn trees_have_bounds() {
    let mut tree = FileTree { max_nodes: 100_000, ..FileTree::new() };
    let deep = "d/".repeat(2000);
    let full = (0..100).find_map(|n| tree.insert(&read(&format!("{n}/{deep}f=1"))).err());
    assert_eq!((full, tree.nodes.len()), (Some(Limit::Nodes(100_000)), 100_000));

    let mut tree = FileTree { max_churn: 1 << 20, ..FileTree::new() };
    for n in 0..1000 {
        tree.insert(&read(&format!("d/{n}=1"))).unwrap();
    }
    tree.begin_layer();
    let churned = (0..10_000).find_map(|n| {
        let entry = if n % 2 == 0 { read("d=1") } else { read("d/1=1") };
        tree.insert(&entry).err()
    });
    assert_eq!(churned, Some(Limit::Churn(1 << 20)));
}

mod random {
    use super::*;
    use proptest::prelude::*;

    type Plain = BTreeMap<String, (bool, u64)>;

    fn remove(files: &mut Plain, path: &str) {
        files.retain(|p, _| p != path && !p.starts_with(&format!("{path}/")));
    }

    /// The specification, word by word: whiteouts first, on lower layers only; then the entries in their order.
    fn apply(lower: &Plain, layer: &[String]) -> Plain {
        let mut files = lower.clone();
        for path in layer {
            let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
            let below = if parent.is_empty() { String::new() } else { format!("{parent}/") };
            if name == ".wh..wh..opq" {
                files.retain(|p, _| !p.starts_with(&below));
            } else if let Some(target) = name.strip_prefix(".wh.") {
                remove(&mut files, &format!("{below}{target}"));
            }
        }
        for path in layer {
            let whole = path.split(['=']).next().unwrap().trim_end_matches('/');
            let mut parents: Vec<&str> = whole.match_indices('/').map(|(at, _)| &whole[..at]).collect();
            parents.retain(|p| !matches!(files.get(*p), Some((true, _))));
            for parent in parents {
                files.insert(parent.to_owned(), (true, 0));
            }
            if let Some((path, size)) = path.split_once('=') {
                remove(&mut files, path);
                files.insert(path.to_owned(), (false, size.parse().unwrap()));
            } else if path.ends_with('/') {
                files.insert(whole.to_owned(), (true, 0));
            }
        }
        files
    }

    /// Whether a whiteout stands in a directory that the same layer deletes. The specification leaves open whether that
    /// directory is then there; containerd goes by the order of entries, and so does the tree.
    fn is_ambiguous(layer: &[String]) -> bool {
        let whiteouts = || {
            let split = |path: &'_ String| {
                path.rsplit_once('/').map_or((String::new(), path.clone()), |(p, n)| (p.to_owned(), n.to_owned()))
            };
            layer.iter().map(split).filter(|(_, name)| name.starts_with(".wh."))
        };
        whiteouts().any(|(parent, _)| {
            let parent = format!("{parent}/");
            whiteouts().any(|(other, name)| {
                let below = if other.is_empty() { String::new() } else { format!("{other}/") };
                match name.strip_prefix(".wh.") {
                    Some(".wh..opq") => parent != below && parent != "/" && parent.starts_with(&below),
                    target => parent.starts_with(&format!("{below}{}/", target.unwrap_or_default())),
                }
            })
        })
    }

    fn line() -> impl Strategy<Value = String> {
        let parent = proptest::collection::vec(prop_oneof!["a", "b", "c"], 0..3).prop_map(|p| p.join("/"));
        let name = prop_oneof![
            4 => ("[abc]", 0_u32..9).prop_map(|(n, s)| format!("{n}={s}")),
            2 => "[abc]".prop_map(|n| format!("{n}/")),
            2 => "[abc]".prop_map(|n| format!(".wh.{n}")),
            1 => Just(".wh..wh..opq".to_owned()),
        ];
        (parent, name).prop_map(|(p, n)| if p.is_empty() { n } else { format!("{p}/{n}") })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn chains_merge_as_specified(layers in proptest::collection::vec(proptest::collection::vec(line(), 0..8), 1..4)) {
            prop_assume!(!layers.iter().any(|layer| is_ambiguous(layer)));
            let mut tree = FileTree::new();
            let (mut before, mut now) = (Plain::new(), Plain::new());
            for (at, layer) in layers.iter().enumerate() {
                if at > 0 {
                    tree.begin_layer();
                }
                for text in layer {
                    tree.insert(&read(text)).unwrap();
                }
                before = std::mem::take(&mut now);
                now = apply(&before, layer);
            }
            let (mut seen, mut deleted) = (Plain::new(), Vec::new());
            let mut stack = vec![ROOT];
            let mut tally = Tally { entries: layers.last().unwrap().len() as u64, ..Tally::default() };
            while let Some(at) = stack.pop() {
                for id in tree.children(at, View::Merged, Order::Name) {
                    stack.push(id);
                    let node = tree.node(id);
                    let path = String::from_utf8(tree.path(id)).unwrap();
                    if let Some(count) = tally.of(node.mark()) {
                        *count += 1;
                    }
                    let is_directory = node.kind() == EntryKind::Directory;
                    if node.mark() == Mark::Deleted {
                        deleted.push(path.clone());
                    } else {
                        seen.insert(path.clone(), (is_directory, node.size()));
                    }
                    match node.mark() {
                        Mark::Added => prop_assert!(!before.contains_key(&path), "{}", path),
                        _ => prop_assert!(before.contains_key(&path), "{}", path),
                    }
                    let below: u64 = now.iter().filter(|(p, _)| **p == path || p.starts_with(&format!("{path}/"))).map(|(_, f)| f.1).sum();
                    if node.mark() != Mark::Deleted {
                        prop_assert_eq!(node.total(View::Merged), below, "{}", path);
                    }
                }
            }
            prop_assert_eq!(&seen, &now);
            let gone: Vec<String> = before.into_keys().filter(|path| !now.contains_key(path)).collect();
            deleted.sort();
            prop_assert_eq!(deleted, gone);
            tally.whiteouts = tree.tally().whiteouts;
            (tally.hidden_bytes, tally.repeated_bytes) = (tree.tally().hidden_bytes, tree.tally().repeated_bytes);
            prop_assert_eq!(tree.tally(), tally);
        }
    }
}
