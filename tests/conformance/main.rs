//! Holds every backend to the contract written in `src/store/mod.rs`. One run goes over the whole catalog and the
//! reference store; every case runs for every backend, and what a backend claims to be able to do decides how.
//!
//! A new backend needs one line in `HARNESSES`: how a place of its kind is filled with a [`World`].

#![allow(clippy::unwrap_used, clippy::panic)]

mod cases;
#[path = "../support/mod.rs"]
mod support;

use bytes::Bytes;
use cachedeck::error::Kind;
use cachedeck::model::digest::Digest;
use cachedeck::model::location::Location;
use cachedeck::model::usage::UsageRecord;
use cachedeck::store::memory::Memory;
use cachedeck::store::{Store, catalog};
use std::any::Any;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use support::azure::Container;
use support::builder::{Builder, Told};
use support::faults::{Answer, Fault, Proxy, When};
use support::github::Github;
use support::pushing::{Repository, wait};
use support::s3::Bucket;

/// What a place holds before a case begins.
#[derive(Clone, Default)]
pub struct World {
    /// Blobs, by the digest they are stored under, right or wrong.
    pub blobs: BTreeMap<Digest, Bytes>,
    /// Names and what they lead to.
    pub names: Vec<(String, Digest)>,
    /// A builder's records.
    pub usage: Vec<UsageRecord>,
}

impl World {
    /// Adds a blob under the digest it has.
    pub fn blob(&mut self, bytes: impl Into<Bytes>) -> Digest {
        let bytes = bytes.into();
        let digest = Digest::of(&bytes);
        self.blobs.insert(digest, bytes);
        digest
    }
}

/// A place that holds a world, as long as this lives.
pub struct Place {
    /// The place, opened.
    pub store: Arc<dyn Store>,
    /// Those of the world's names that a place of this kind can have.
    pub names: Vec<(String, Digest)>,
    _keep: Box<dyn Any + Send + Sync>,
}

impl Place {
    /// What a place of this kind calls what the world calls `name`, if it can have it.
    pub fn called(&self, name: &str) -> Option<String> {
        let is_it =
            |own: &&String| own.as_str() == name || own.strip_prefix(name).is_some_and(|r| r.starts_with("@refs/"));
        self.names.iter().map(|(own, _)| own).find(is_it).cloned()
    }
}

/// Makes places of one kind.
type Harness = fn(&World) -> Place;

/// `memory` is in no catalog: nobody's cache lives there.
const HARNESSES: &[(&str, Harness)] = &[
    ("memory", memory),
    ("local", local),
    ("azblob", azblob),
    ("registry", |world| registry("registry", world)),
    ("inline", |world| registry("inline", world)),
    ("gha", |world| gha(world, Github::rest)),
    ("gha", |world| gha(world, |github| github.both(1))),
    ("gha", |world| gha(world, |github| github.both(2))),
    ("daemon", daemon),
    ("s3", |world| s3(world, false)),
    ("s3", |world| s3(world, true)),
];

fn memory(world: &World) -> Place {
    let store = Memory::new(Location::new("memory"));
    world.blobs.iter().for_each(|(digest, bytes)| store.insert_as(*digest, bytes.clone()));
    world.names.iter().for_each(|(name, digest)| store.name(name, *digest));
    store.set_usage(world.usage.clone());
    Place { store: Arc::new(store), names: world.names.clone(), _keep: Box::new(()) }
}

fn local(world: &World) -> Place {
    let folder = tempfile::tempdir().unwrap();
    write_layout(folder.path(), world);
    let store = catalog::open(&Location::local_dir(folder.path().to_str().unwrap())).unwrap();
    Place { store, names: world.names.clone(), _keep: Box::new(folder) }
}

/// Names lead to objects of their own there, so none leads to what is not there. With `versions` the bucket keeps older ones.
fn s3(world: &World, versions: bool) -> Place {
    let mut names = world.names.clone();
    names.retain(|(_, digest)| world.blobs.contains_key(digest));
    let configs = names.iter().map(|(name, digest)| (format!("manifests/{name}"), world.blobs[digest].clone()));
    let blobs = world.blobs.iter().map(|(digest, bytes)| (format!("blobs/{digest}"), bytes.clone()));
    let objects: Vec<_> = configs.chain(blobs).collect();
    let bucket = wait(|| async {
        let bucket = Bucket::new().await;
        if versions {
            bucket.keep_versions().await;
        }
        bucket.put_all(objects).await;
        bucket
    });
    let mended = bucket.mended(versions);
    let store = catalog::open(&support::s3::location(mended.url(), &bucket.name)).unwrap();
    Place { store, names, _keep: Box::new(mended) }
}

fn write_layout(folder: &Path, world: &World) {
    let blobs = folder.join("blobs/sha256");
    std::fs::create_dir_all(&blobs).unwrap();
    world.blobs.iter().for_each(|(digest, bytes)| std::fs::write(blobs.join(digest.hex()), bytes).unwrap());
    let entry = |(name, digest): &(String, Digest)| {
        serde_json::json!({
            "digest": digest,
            "size": world.blobs.get(digest).map_or(0, Bytes::len),
            "annotations": { "org.opencontainers.image.ref.name": name },
        })
    };
    let manifests: Vec<_> = world.names.iter().map(entry).collect();
    let index = serde_json::json!({ "schemaVersion": 2, "manifests": manifests });
    std::fs::write(folder.join("index.json"), index.to_string()).unwrap();
}

/// A registry lists what the tags grammar allows, and only manifests that are there; it takes no blob under a wrong digest, so
/// a proxy hands those out.
fn registry(kind: &str, world: &World) -> Place {
    let repository = Repository::new(&support::registry(), &support::unique("conformance"));
    let is_tag = |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric());
    let mut names = world.names.clone();
    names.retain(|(name, digest)| is_tag(name) && world.blobs.contains_key(digest));
    let (right, wrong): (Vec<_>, Vec<_>) =
        world.blobs.iter().partition(|(digest, bytes)| Digest::of(bytes) == **digest);
    let is_named = |digest: &Digest| names.iter().any(|(_, named)| named == digest);
    let blobs: Vec<Vec<u8>> =
        right.iter().filter(|(digest, _)| !is_named(digest)).map(|(_, bytes)| bytes.to_vec()).collect();
    wait(|| async {
        repository.make_empty().await;
        repository.blobs(blobs).await;
        for (name, digest) in &names {
            repository.manifest(name, world.blobs[digest].to_vec()).await;
        }
    });
    let proxy = Proxy::before(&support::registry());
    for (digest, bytes) in wrong {
        let path = format!("blobs/{digest}");
        proxy.play(When::always().of(&path), Fault::Answers(Answer::status(200).with_body(bytes.to_vec())));
    }
    let reference = format!("{}/{}", proxy.authority(), repository.name);
    let location = Location::new(kind).with("ref", reference).with("registry.insecure", "true");
    Place { store: catalog::open(&location).unwrap(), names, _keep: Box::new(proxy) }
}

/// The names are scopes; each is called by its Git ref, too.
fn gha(world: &World, location: fn(&Github) -> Location) -> Place {
    const REF: &str = "refs/heads/main";
    let github = Github::start();
    for (digest, bytes) in &world.blobs {
        github.save(REF, &format!("buildkit-blob-1-{digest}"), bytes.clone());
    }
    let mut names = Vec::new();
    for (scope, digest) in &world.names {
        if let Some(bytes) = world.blobs.get(digest) {
            github.save(REF, &format!("index-{scope}-1-f921bd05#1"), bytes.clone());
            names.push((format!("{scope}@{REF}"), *digest));
        }
    }
    Place { store: catalog::open(&location(&github)).unwrap(), names, _keep: Box::new(github) }
}

fn azblob(world: &World) -> Place {
    // Azure's lists are XML, which can't hold control characters; Azurite fails on them.
    let mut world = world.clone();
    world.names.retain(|(name, digest)| world.blobs.contains_key(digest) && !name.chars().any(char::is_control));
    let (container, names) = (Container::with(keyed(&world)), world.names);
    let store = catalog::open(&container.location().parse().unwrap()).unwrap();
    Place { store, names, _keep: Box::new(()) }
}

/// What object stores hold: each blob under its digest, what a name leads to under the name.
fn keyed(world: &World) -> BTreeMap<String, Vec<u8>> {
    let blobs = world.blobs.iter().map(|(digest, bytes)| (format!("blobs/{digest}"), bytes.to_vec()));
    let named = world.names.iter().filter_map(|(name, digest)| {
        let bytes = world.blobs.get(digest)?;
        Some((format!("manifests/{name}"), bytes.to_vec()))
    });
    blobs.chain(named).collect()
}

/// A builder has no caches, only records.
fn daemon(world: &World) -> Place {
    let usage = world.usage.iter().map(support::builder::record).collect();
    let builder = Builder::start(Told { usage, ..Told::default() });
    let store = catalog::open(&Location::new("daemon").with("addr", builder.address())).unwrap();
    Place { store, names: Vec::new(), _keep: Box::new(builder) }
}

#[test]
fn every_backend_has_a_harness() {
    for kind in catalog::types() {
        assert!(HARNESSES.iter().any(|(name, _)| *name == kind), "no harness for {kind}: add one to HARNESSES");
    }
    for (name, harness) in HARNESSES {
        assert_eq!(harness(&World::default()).store.location().kind(), *name);
    }
}

#[test]
fn what_has_no_backend_is_said_with_what_has() {
    let error = catalog::open(&Location::new("carrier-pigeon")).err().unwrap();
    assert_eq!(error.kind(), Kind::Unsupported);
    assert!(catalog::types().all(|kind| error.hint().unwrap().contains(kind)), "{error:?}");
}

#[test]
fn run_all() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut failed = Vec::new();
    for (backend, harness) in HARNESSES {
        for (name, case) in cases::ALL {
            // On a task of its own, so that one failing case does not hide those after it.
            let ended = runtime.block_on(async { tokio::spawn(case(*harness)).await });
            if ended.is_err() {
                failed.push(format!("{backend}: {name}"));
            }
        }
    }
    assert!(failed.is_empty(), "the contract is broken, see above:\n{}", failed.join("\n"));
}
