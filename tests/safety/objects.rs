//! Object stores whose exporters touch what they reuse: a small model of S3, and every order of the steps of an export and of
//! collecting. Only removing the very version that was seen is safe; each of the other ways is caught.

/// One key of a bucket with versioning: versions by number, the newest last; `None` is a delete marker.
#[derive(Clone, Debug, Default)]
struct Bucket {
    /// For each blob, its versions: when written.
    blobs: [Vec<Option<u64>>; 2],
    /// Whether a manifest names both blobs.
    published: bool,
    now: u64,
}

impl Bucket {
    /// Two blobs, as old as can be.
    fn old() -> Self {
        Self { blobs: [vec![Some(0)], vec![Some(0)]], published: false, now: 100 }
    }

    fn there(&self, blob: usize) -> Option<u64> {
        self.blobs[blob].last().copied().flatten()
    }

    fn write(&mut self, blob: usize) {
        self.now += 1;
        self.blobs[blob].push(Some(self.now));
    }

    fn broken(&self) -> bool {
        self.published && (0..2).any(|blob| self.there(blob).is_none())
    }
}

/// What an actor remembers between its steps.
#[derive(Clone, Debug, Default)]
struct Memory {
    seen: [Option<u64>; 2],
    absent: [bool; 2],
}

type Step = fn(&mut Bucket, &mut Memory);

/// An export as BuildKit does it: look; touch what is old, upload what is not there; name it all at the end. A touch of what has
/// gone meanwhile fails the export visibly.
const EXPORT: &[Step] =
    &[|b, m| look(b, m, 0), |b, m| touch(b, m, 0), |b, m| look(b, m, 1), |b, m| touch(b, m, 1), publish];

fn look(bucket: &mut Bucket, memory: &mut Memory, blob: usize) {
    memory.absent[blob] = bucket.there(blob).is_none();
}

fn touch(bucket: &mut Bucket, memory: &mut Memory, blob: usize) {
    if !memory.absent[blob] && bucket.there(blob).is_none() {
        // The copy finds nothing to copy: the export ends with an error, and names nothing.
        memory.seen = [Some(u64::MAX); 2];
        return;
    }
    bucket.write(blob);
}

fn publish(bucket: &mut Bucket, memory: &mut Memory) {
    bucket.published |= memory.seen[0] != Some(u64::MAX);
}

fn see(bucket: &mut Bucket, memory: &mut Memory, blob: usize) {
    // Only what is old is a candidate, and only if nothing names it.
    memory.seen[blob] = bucket.there(blob).filter(|written| *written < 50 && !bucket.published);
}

/// Looks, and removes later whatever is there then.
const LOOK_THEN_DELETE: &[Step] =
    &[|b, m| see(b, m, 0), |b, m| delete(b, m, 0), |b, m| see(b, m, 1), |b, m| delete(b, m, 1)];

fn delete(bucket: &mut Bucket, memory: &mut Memory, blob: usize) {
    if memory.seen[blob].is_some() && bucket.there(blob).is_some() {
        bucket.blobs[blob].push(None);
    }
}

/// Looks twice before it removes.
const LOOK_TWICE: &[Step] = &[
    |b, m| see(b, m, 0),
    |b, m| see(b, m, 0),
    |b, m| delete(b, m, 0),
    |b, m| see(b, m, 1),
    |b, m| see(b, m, 1),
    |b, m| delete(b, m, 1),
];

/// Removes on condition of the ETag: that is a hash of the content, and a touched blob has the same one.
const IF_MATCH: &[Step] = LOOK_THEN_DELETE;

/// Removes exactly the version that was seen.
const THAT_VERSION: &[Step] =
    &[|b, m| see(b, m, 0), |b, m| delete_version(b, m, 0), |b, m| see(b, m, 1), |b, m| delete_version(b, m, 1)];

fn delete_version(bucket: &mut Bucket, memory: &mut Memory, blob: usize) {
    if let Some(seen) = memory.seen[blob] {
        bucket.blobs[blob].retain(|version| *version != Some(seen));
    }
}

/// Orders in all, and those that end broken.
fn count(collect: &[Step]) -> (usize, usize) {
    fn go(bucket: Bucket, left: [&[Step]; 2], memories: [Memory; 2], counts: &mut (usize, usize)) {
        if left.iter().all(|steps| steps.is_empty()) {
            counts.0 += 1;
            counts.1 += usize::from(bucket.broken());
            return;
        }
        for actor in 0..2 {
            if let [step, rest @ ..] = left[actor] {
                let (mut bucket, mut memories, mut left) = (bucket.clone(), memories.clone(), left);
                step(&mut bucket, &mut memories[actor]);
                left[actor] = rest;
                go(bucket, left, memories, counts);
            }
        }
    }
    let mut counts = (0, 0);
    go(Bucket::old(), [EXPORT, collect], Default::default(), &mut counts);
    counts
}

#[test]
fn removing_the_version_that_was_seen_loses_nothing() {
    let (orders, broken) = count(THAT_VERSION);
    println!("the exact version: {orders} orders, {broken} broken");
    assert!(orders > 100);
    assert_eq!(broken, 0);
}

#[test]
fn the_other_ways_are_caught() {
    for (name, steps) in [("look, then delete", LOOK_THEN_DELETE), ("look twice", LOOK_TWICE), ("If-Match", IF_MATCH)] {
        let (orders, broken) = count(steps);
        println!("{name}: {orders} orders, {broken} broken");
        assert!(broken > 0, "{name}");
    }
}
