//! Runs several actors against one store in every order their steps can take. A step is a call that sees or changes what others
//! change; between two steps of an actor any other may come in.

use async_trait::async_trait;
use bytes::Bytes;
use cachedeck::error::Result;
use cachedeck::model::digest::Digest;
use cachedeck::model::inventory::{Details, Need};
use cachedeck::model::location::Location;
use cachedeck::model::plan::{Promise, RunId, Target};
use cachedeck::progress::Progress;
use cachedeck::store::memory::Memory;
use cachedeck::store::{
    BlobEntry, BlobReader, Capabilities, Expected, Hold, Listing, Opaque, Reference, References, Store,
};
use futures::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex};
use tokio::sync::{Notify, mpsc, oneshot};

/// Where actors wait for their turn.
#[derive(Default)]
pub struct Gate {
    waiting: Mutex<BTreeMap<usize, VecDeque<oneshot::Sender<()>>>>,
    done: Mutex<HashSet<usize>>,
    changed: Notify,
}

impl Gate {
    async fn pass(&self, actor: usize) {
        let (turn, wait) = oneshot::channel();
        self.waiting.lock().unwrap().entry(actor).or_default().push_back(turn);
        self.changed.notify_one();
        wait.await.unwrap();
    }

    fn leave(&self, actor: usize) {
        self.done.lock().unwrap().insert(actor);
        self.changed.notify_one();
    }

    /// Once each of `actors` waits or has left: those that wait.
    async fn ready(&self, actors: usize) -> Vec<usize> {
        loop {
            let changed = self.changed.notified();
            {
                let (waiting, done) = (self.waiting.lock().unwrap(), self.done.lock().unwrap());
                let waits = |actor: &usize| waiting.get(actor).is_some_and(|queue| !queue.is_empty());
                if (0..actors).all(|actor| done.contains(&actor) || waits(&actor)) {
                    return (0..actors).filter(|actor| !done.contains(actor)).collect();
                }
            }
            changed.await;
        }
    }

    fn let_go(&self, actor: usize) {
        let turn = self.waiting.lock().unwrap().get_mut(&actor).unwrap().pop_front().unwrap();
        turn.send(()).unwrap();
    }
}

/// An actor, given the store as it sees it.
pub type Actor = Arc<dyn Fn(Arc<dyn Store>) -> BoxFuture<'static, ()> + Send + Sync>;

/// Runs `actors` on what `begin` makes, in every order; `end` judges each outcome. How many orders there were.
pub async fn every_order<F>(
    begin: impl AsyncFn() -> Arc<Memory>,
    actors: impl Fn(&Arc<Memory>) -> Vec<Actor>,
    end: F,
) -> usize
where
    F: AsyncFn(&Arc<Memory>, &[usize]),
{
    let mut orders = 0;
    // Choices of the order at hand: which of how many ready actors went on.
    let mut choices: Vec<(usize, usize)> = Vec::new();
    loop {
        let store = begin().await;
        let gate = Arc::new(Gate::default());
        let tasks: Vec<_> = actors(&store)
            .into_iter()
            .enumerate()
            .map(|(actor, work)| {
                let hook = Arc::new(Turns { gate: gate.clone(), actor });
                let seen = Arc::new(Hooked { store: store.clone(), hook });
                let gate = gate.clone();
                tokio::spawn(async move {
                    work(seen).await;
                    gate.leave(actor);
                })
            })
            .collect();
        let mut order = Vec::new();
        let mut at = 0;
        loop {
            let ready = gate.ready(tasks.len()).await;
            if ready.is_empty() {
                break;
            }
            if at == choices.len() {
                choices.push((0, ready.len()));
            }
            choices[at].1 = ready.len();
            let actor = ready[choices[at].0.min(ready.len() - 1)];
            order.push(actor);
            gate.let_go(actor);
            at += 1;
        }
        choices.truncate(at);
        for task in tasks {
            task.await.unwrap();
        }
        end(&store, &order).await;
        orders += 1;
        // The next order: the last choice that has another way.
        while choices.last().is_some_and(|(choice, of)| choice + 1 >= *of) {
            choices.pop();
        }
        match choices.last_mut() {
            Some((choice, _)) => *choice += 1,
            None => return orders,
        }
    }
}

/// Comes in before and after each call to a store.
#[async_trait]
pub trait Hook: Send + Sync {
    /// An error is given in the call's stead.
    async fn before(&self, call: &'static str) -> Result<()>;

    /// An error is given though the call was done.
    async fn after(&self, _call: &'static str) -> Result<()> {
        Ok(())
    }
}

struct Turns {
    gate: Arc<Gate>,
    actor: usize,
}

/// Calls that nobody else sees or is seen by: notes are read under a hold only, and documents do not change.
const OWN: &[&str] =
    &["open", "promise", "written_since", "hidden", "discard", "note", "notes", "read_note", "drop_note"];

#[async_trait]
impl Hook for Turns {
    async fn before(&self, call: &'static str) -> Result<()> {
        if !OWN.contains(&call) {
            self.gate.pass(self.actor).await;
        }
        Ok(())
    }
}

/// A store in memory, with a hook in every call.
pub struct Hooked {
    pub store: Arc<Memory>,
    pub hook: Arc<dyn Hook>,
}

impl Hooked {
    async fn call<T>(&self, name: &'static str, work: impl Future<Output = Result<T>> + Send) -> Result<T> {
        self.hook.before(name).await?;
        let done = work.await?;
        self.hook.after(name).await?;
        Ok(done)
    }
}

#[async_trait]
impl Store for Hooked {
    fn location(&self) -> &Location {
        self.store.location()
    }

    fn capabilities(&self) -> Capabilities {
        self.store.capabilities()
    }

    fn lacks(&self, need: Need) -> Option<String> {
        self.store.lacks(need)
    }

    async fn details(&self) -> Result<Details> {
        self.store.details().await
    }

    async fn references(&self) -> Result<References> {
        self.call("references", self.store.references()).await
    }

    async fn blobs(
        &self,
        progress: &Progress,
        opaque: &Arc<Opaque>,
        batches: mpsc::Sender<Vec<BlobEntry>>,
    ) -> Result<Listing> {
        self.call("blobs", self.store.blobs(progress, opaque, batches)).await
    }

    async fn stat(&self, digest: &Digest) -> Result<BlobEntry> {
        self.call("stat", self.store.stat(digest)).await
    }

    async fn open(&self, digest: &Digest) -> Result<BlobReader> {
        self.call("open", self.store.open(digest)).await
    }

    async fn put(&self, digest: &Digest, body: BlobReader) -> Result<()> {
        self.call("put", self.store.put(digest, body)).await
    }

    async fn publish(&self, name: &str, document: &Bytes, needs: &[Digest], expected: Expected) -> Result<Reference> {
        self.call("publish", self.store.publish(name, document, needs, expected)).await
    }

    async fn remove(&self, references: &[Reference]) -> Vec<Result<()>> {
        let mut results = Vec::new();
        for one in references {
            let work = async { self.store.remove(std::slice::from_ref(one)).await.remove(0) };
            results.push(self.call("remove", work).await);
        }
        results
    }

    async fn promise(&self) -> Result<Promise> {
        self.call("promise", self.store.promise()).await
    }

    async fn written_since(&self, targets: &[Target], since: Timestamp) -> Result<HashSet<Digest>> {
        self.call("written_since", self.store.written_since(targets, since)).await
    }

    async fn hold(&self, run: &RunId) -> Result<Hold> {
        self.call("hold", self.store.hold(run)).await
    }

    async fn hide(
        &self,
        run: &RunId,
        targets: &[Target],
        grace: SignedDuration,
        progress: &Progress,
    ) -> Vec<Result<()>> {
        // Blob by blob, as real places do it.
        let mut results = Vec::new();
        for one in targets {
            let work = async { self.store.hide(run, std::slice::from_ref(one), grace, progress).await.remove(0) };
            results.push(self.call("hide", work).await);
        }
        results
    }

    async fn hidden(&self, run: &RunId, targets: &[Target]) -> Result<Vec<Target>> {
        self.call("hidden", self.store.hidden(run, targets)).await
    }

    async fn restore(&self, run: &RunId, targets: &[Target], progress: &Progress) -> Vec<Result<()>> {
        let mut results = Vec::new();
        for one in targets {
            let work = async { self.store.restore(run, std::slice::from_ref(one), progress).await.remove(0) };
            results.push(self.call("restore", work).await);
        }
        results
    }

    async fn purge(&self, run: &RunId, targets: &[Target], progress: &Progress) -> Vec<Result<()>> {
        let mut results = Vec::new();
        for one in targets {
            let work = async { self.store.purge(run, std::slice::from_ref(one), progress).await.remove(0) };
            results.push(self.call("purge", work).await);
        }
        results
    }

    async fn discard(&self, ids: &[String], progress: &Progress) -> Vec<Result<()>> {
        let mut results = Vec::new();
        for one in ids {
            let work = async { self.store.discard(std::slice::from_ref(one), progress).await.remove(0) };
            results.push(self.call("discard", work).await);
        }
        results
    }

    async fn note(&self, key: &str, bytes: Bytes) -> Result<()> {
        self.call("note", self.store.note(key, bytes)).await
    }

    async fn notes(&self, prefix: &str) -> Result<Vec<String>> {
        self.call("notes", self.store.notes(prefix)).await
    }

    async fn read_note(&self, key: &str) -> Result<Bytes> {
        self.call("read_note", self.store.read_note(key)).await
    }

    async fn drop_note(&self, key: &str) -> Result<()> {
        self.call("drop_note", self.store.drop_note(key)).await
    }
}
