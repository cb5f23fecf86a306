//! Small models of places that promise less than a folder does, and every order of the steps of an export and of what cachedeck
//! does there. The ways it goes lose nothing; each of the other ways is caught.
//!
//! * S3: exporters touch what they reuse. Only removing the very version that was seen is safe.
//! * Azure Blob: exporters leave no trace. Hiding by a copy and a conditional delete is safe, if it settles.
//! * Registries: deleting by digest takes all tags along; one that comes meanwhile is put back.

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

type Step<P = Bucket, M = Memory> = fn(&mut P, &mut M);

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

/// Orders in all, and those that end broken. `end` is what comes once both are done.
fn orders<P: Clone, M: Clone + Default>(
    begin: &P,
    actors: [&[Step<P, M>]; 2],
    end: &dyn Fn(&mut P, &mut [M; 2]) -> bool,
) -> (usize, usize) {
    fn go<P: Clone, M: Clone>(
        place: P,
        left: [&[Step<P, M>]; 2],
        memories: [M; 2],
        end: &dyn Fn(&mut P, &mut [M; 2]) -> bool,
        counts: &mut (usize, usize),
    ) {
        if left.iter().all(|steps| steps.is_empty()) {
            let (mut place, mut memories) = (place, memories);
            counts.0 += 1;
            counts.1 += usize::from(end(&mut place, &mut memories));
            return;
        }
        for actor in 0..2 {
            if let [step, rest @ ..] = left[actor] {
                let (mut place, mut memories, mut left) = (place.clone(), memories.clone(), left);
                step(&mut place, &mut memories[actor]);
                left[actor] = rest;
                go(place, left, memories, end, counts);
            }
        }
    }
    let mut counts = (0, 0);
    go(begin.clone(), actors, Default::default(), end, &mut counts);
    counts
}

fn count(collect: &[Step]) -> (usize, usize) {
    orders(&Bucket::old(), [EXPORT, collect], &|bucket, _| bucket.broken())
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

/// Two blobs of a container, each with the number of its last write, and copies of what is hidden.
#[derive(Clone, Debug)]
struct Container {
    blobs: [Option<u64>; 2],
    trash: [Option<u64>; 2],
    published: bool,
    now: u64,
}

/// What an actor on a container saw of each blob.
#[derive(Clone, Debug, Default)]
struct Looks([Option<u64>; 2]);

const AZURE_EXPORT: &[Step<Container, Looks>] = &[
    |c, m| m.0[0] = c.blobs[0],
    |c, m| upload(c, m, 0),
    |c, m| m.0[1] = c.blobs[1],
    |c, m| upload(c, m, 1),
    |c, _| c.published = true,
];

/// What was there is skipped and not touched; an upload never overwrites.
fn upload(container: &mut Container, looks: &Looks, blob: usize) {
    if looks.0[blob].is_none() && container.blobs[blob].is_none() {
        container.now += 1;
        container.blobs[blob] = Some(container.now);
    }
}

const AZURE_HIDE: &[Step<Container, Looks>] = &[
    |c, m| mark_and_copy(c, m, 0),
    |c, m| delete_if_same(c, m, 0),
    |c, m| mark_and_copy(c, m, 1),
    |c, m| delete_if_same(c, m, 1),
];

fn mark_and_copy(container: &mut Container, looks: &mut Looks, blob: usize) {
    if !container.published {
        looks.0[blob] = container.blobs[blob];
        container.trash[blob] = container.blobs[blob];
    }
}

fn delete_if_same(container: &mut Container, looks: &mut Looks, blob: usize) {
    if looks.0[blob].is_some() && container.blobs[blob] == looks.0[blob] {
        container.blobs[blob] = None;
    }
}

/// What is needed by now comes back, without overwriting; the rest is freed.
fn mark_again(container: &mut Container) {
    for blob in 0..2 {
        if container.published && container.blobs[blob].is_none() {
            container.blobs[blob] = container.trash[blob];
        }
        container.trash[blob] = None;
    }
}

fn lacks(container: &Container) -> bool {
    container.published && container.blobs.iter().any(Option::is_none)
}

#[test]
fn a_container_loses_nothing_if_what_is_hidden_settles() {
    let begin = Container { blobs: [Some(0); 2], trash: [None; 2], published: false, now: 0 };
    let (all, broken) = orders(&begin, [AZURE_EXPORT, AZURE_HIDE], &|container, _| {
        // Exports that were under way are done by then.
        mark_again(container);
        lacks(container)
    });
    println!("Azure, hide, settle, mark again: {all} orders, {broken} broken");
    assert_eq!((all > 100, broken), (true, 0));
    let at_once: Vec<Step<Container, Looks>> =
        AZURE_HIDE.iter().copied().chain([(|c, _| mark_again(c)) as Step<_, _>]).collect();
    let (all, broken) = orders(&begin, [AZURE_EXPORT, &at_once], &|container, _| lacks(container));
    println!("Azure, hide, mark again at once: {all} orders, {broken} broken");
    assert!(broken > 0);
}

/// A manifest of a registry, and whether the tags `stale` and `main` lead to it.
#[derive(Clone, Debug)]
struct Repository {
    stored: bool,
    stale: bool,
    main: bool,
    /// Whether an export said that `main` is there.
    told: bool,
}

/// What cachedeck knows while it takes `stale` away.
#[derive(Clone, Debug, Default)]
struct Kept {
    bytes: bool,
    goes: bool,
}

/// Uploads the manifest, and says `main` leads to it: one request.
const TAG_MAIN: &[Step<Repository, Kept>] = &[|r, _| (r.stored, r.main, r.told) = (true, true, true)];

const DELETE_BY_DIGEST: &[Step<Repository, Kept>] = &[
    |r, k| k.bytes = r.stored,
    // The look just before: every tag on the digest must be one that goes.
    |r, k| k.goes = k.bytes && r.stale && !r.main,
    |r, k| {
        if k.goes {
            (r.stored, r.stale, r.main) = (false, false, false);
        }
    },
];

/// A tag that was lost beside those that go is put back with the bytes that were kept.
fn put_back(repository: &mut Repository, kept: &Kept) {
    if kept.goes && repository.told && !repository.main {
        (repository.stored, repository.main) = (kept.bytes, true);
    }
}

#[test]
fn a_tag_that_comes_meanwhile_is_put_back() {
    let begin = Repository { stored: true, stale: true, main: false, told: false };
    let lost = |repository: &Repository| repository.told && !(repository.main && repository.stored);
    let (all, broken) = orders(&begin, [TAG_MAIN, DELETE_BY_DIGEST], &|repository, memories| {
        put_back(repository, &memories[1]);
        lost(repository)
    });
    println!("registry, look again and put back: {all} orders, {broken} broken");
    assert_eq!((all, broken), (4, 0));
    let (_, broken) = orders(&begin, [TAG_MAIN, DELETE_BY_DIGEST], &|repository, _| lost(repository));
    println!("registry, without: {broken} broken");
    assert!(broken > 0);
}
