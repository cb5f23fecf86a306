//! Messages as they come from builders, and as they could.

use super::*;

fn at(second: i64) -> Option<Timestamp> {
    Timestamp::from_second(1_000 + second).ok()
}

fn vertex(digest: &str, inputs: &[&str]) -> Vertex {
    Vertex {
        digest: digest.to_owned(),
        inputs: inputs.iter().map(|input| (*input).to_owned()).collect(),
        name: digest.to_owned(),
        ..Vertex::default()
    }
}

fn watched(vertices: impl IntoIterator<Item = Vertex>) -> Watch {
    let mut watch = Watch::default();
    vertices.into_iter().for_each(|vertex| watch.take(Status { vertices: vec![vertex], ..Status::default() }));
    watch
}

#[test]
fn steps_come_after_what_they_are_made_from() {
    let watch = watched([
        vertex("final", &["copy", "base"]),
        vertex("[internal] load context", &[]),
        vertex("copy", &["run", "[internal] load context"]),
        vertex("run", &["base"]),
        vertex("base", &["nobody"]),
    ]);
    let names: Vec<&str> = watch.steps().iter().map(|step| step.name.as_str()).collect();
    assert_eq!(names, ["base", "run", "copy", "final"]);
    // A circle is nothing that builders have, and ends all the same.
    assert_eq!(watched([vertex("a", &["b"]), vertex("b", &["a"]), vertex("c", &["c"])]).steps().len(), 3);
}

#[test]
fn what_runs_again_counts_once_where_it_overlaps() {
    let run = |started, completed| Vertex { started: at(started), completed: at(completed), ..vertex("a", &[]) };
    let watch = watched([run(0, 4), run(2, 6), run(10, 11), run(3, 5)]);
    assert_eq!(watch.all()[0].took(), Some(Duration::from_secs(7)));
    assert_eq!((watch.all()[0].started(), watch.all()[0].completed()), (at(0), at(11)));
    // One that goes on has no end yet, and one that ends before it begins takes no time.
    let goes_on = watched([run(0, 4), Vertex { started: at(5), ..vertex("a", &[]) }]);
    assert_eq!(goes_on.all()[0].state(), State::Running);
    assert_eq!(watched([run(9, 1)]).all()[0].took(), Some(Duration::ZERO));
}

#[test]
fn states_follow_from_what_was_told() {
    let done = Vertex { started: at(0), completed: at(1), ..vertex("a", &[]) };
    let failed = |error: &str| Vertex { error: Some(error.to_owned()), ..done.clone() };
    for (vertex, state) in [
        (vertex("a", &[]), State::Waiting),
        (Vertex { started: at(0), ..vertex("a", &[]) }, State::Running),
        (done.clone(), State::Done),
        (Vertex { cached: true, ..done.clone() }, State::Cached),
        (failed("exit code: 1"), State::Failed),
        (failed("process did not complete: context canceled"), State::Canceled),
    ] {
        assert_eq!(watched([vertex]).all()[0].state(), state);
    }
}

#[test]
fn the_last_lines_are_kept() {
    let mut watch = watched([vertex("a", &[])]);
    let mut say = |data: &[u8]| {
        let log = Log { vertex: "a".to_owned(), data: data.to_vec() };
        watch.take(Status { logs: vec![log], ..Status::default() });
    };
    (0..30).for_each(|n| say(format!("line {n}\r\nand ").as_bytes()));
    say(&vec![b'x'; 1 << 20]);
    let log = watch.all()[0].log();
    assert_eq!((log.len(), log[0].as_str()), (LAST_LINES + 1, "and line 10"));
    assert!(log[LAST_LINES].starts_with("and xxx") && log[LAST_LINES].len() == LONGEST_LINE);
}

#[test]
fn the_manifest_of_an_export_is_told() {
    let mut watch = watched([vertex("exporting cache to registry", &[]), vertex("b", &[])]);
    let digest = format!("sha256:{}", "0a".repeat(32));
    let part = |vertex: &str, id: String| Part { vertex: vertex.to_owned(), id };
    let parts = vec![
        part("exporting cache to registry", format!("writing layer {digest}")),
        part("exporting cache to registry", format!("writing cache image manifest {digest}")),
        part("b", "writing cache manifest sha256:none".to_owned()),
        part("nobody", format!("writing cache manifest {digest}")),
    ];
    watch.take(Status { parts, ..Status::default() });
    assert_eq!(watch.all()[0].manifest.map(|manifest| manifest.to_string()), Some(digest));
    assert_eq!((watch.all()[0].exports_to(), watch.all()[1].manifest), (Some("registry"), None));
}
