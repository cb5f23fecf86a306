//! What is given up for good: records of builders, entries on GitHub. Only what is named goes, and it is looked at again before.

use crate::support::builder::{Builder, Told, record};
use crate::support::faults::{Answer, Fault, Proxy, When};
use crate::support::github::Github;
use crate::support::pushing::wait;
use cachedeck::error::{Error, Kind};
use cachedeck::model::location::Location;
use cachedeck::model::usage::UsageRecord;
use cachedeck::progress::Progress;
use cachedeck::store::{Store, catalog};
use std::sync::Arc;

fn kinds(results: Vec<Result<(), Error>>) -> Vec<Option<Kind>> {
    results.into_iter().map(|result| result.err().map(|error| error.kind())).collect()
}

async fn discard(store: &Arc<dyn Store>, ids: &[&str]) -> Vec<Option<Kind>> {
    let ids: Vec<String> = ids.iter().map(|id| (*id).to_owned()).collect();
    kinds(store.discard(&ids, &Progress::new()).await)
}

fn of_builder(id: &str, parents: &[&str], in_use: bool) -> UsageRecord {
    UsageRecord {
        id: id.to_owned(),
        parents: parents.iter().map(|parent| (*parent).to_owned()).collect(),
        kind: "regular".to_owned(),
        description: String::new(),
        bytes: 10,
        created: None,
        last_used: None,
        uses: 0,
        in_use,
        mutable: false,
        shared: false,
    }
}

fn builder(told: Told) -> (Builder, Arc<dyn Store>) {
    let records = [
        of_builder("base", &[], false),
        of_builder("leaf", &["base"], false),
        of_builder("used", &[], true),
        of_builder("other", &[], false),
    ];
    let builder = Builder::start(Told { usage: records.iter().map(record).collect(), ..told });
    let store = catalog::open(&Location::new("daemon").with("addr", builder.address())).unwrap();
    (builder, store)
}

async fn ids(store: &Arc<dyn Store>) -> Vec<String> {
    store.usage().await.unwrap().into_iter().map(|record| record.id).collect()
}

#[test]
fn only_named_records_go_and_none_that_is_held() {
    let (builder, store) = builder(Told { old: true, ..Told::default() });
    wait(|| async {
        assert_eq!(discard(&store, &[]).await, []);
        assert_eq!(
            discard(&store, &["gone", "used", "a,b", ""]).await,
            [None, Some(Kind::Stale), Some(Kind::Invalid), Some(Kind::Invalid)]
        );
        assert!(builder.pruned().is_empty(), "there was nothing to ask for");
        assert_eq!(discard(&store, &["base"]).await, [Some(Kind::Stale)], "something builds on it");
        assert_eq!(discard(&store, &["base", "leaf"]).await, [None, None]);
        assert_eq!(ids(&store).await, ["other", "used"]);
    });
    assert_eq!(builder.pruned(), [vec!["id==base"], vec!["id==base", "id==leaf"]]);
}

#[test]
fn an_answer_that_breaks_off_is_followed_by_a_look() {
    let (_breaking, store) = builder(Told { prune_breaks: true, ..Told::default() });
    wait(|| async {
        assert_eq!(discard(&store, &["other"]).await, [None], "it is gone, whatever was answered");
        assert_eq!(ids(&store).await, ["base", "leaf", "used"]);
    });
    let refusal = Some(tonic::Status::permission_denied("not you"));
    let (_refusing, store) = builder(Told { prune_failure: refusal, ..Told::default() });
    wait(|| async {
        assert_eq!(discard(&store, &["other"]).await, [Some(Kind::Denied)]);
        assert_eq!(ids(&store).await.len(), 4);
    });
}

/// A repository with entries 1, 2, …, behind a proxy.
fn github() -> (Github, Proxy, Arc<dyn Store>) {
    let github = Github::start();
    for n in 1..=4 {
        github.save("refs/heads/main", &format!("index-web-1-f921bd05#{n}"), &b"{}"[..]);
    }
    let proxy = Proxy::before(&github.url);
    let store = catalog::open(&github.rest().with("api_url", proxy.url())).unwrap();
    (github, proxy, store)
}

async fn numbers(store: &Arc<dyn Store>) -> Vec<String> {
    let (now, past) = (store.references().await.unwrap().items, store.past().await.unwrap().items);
    now.into_iter().chain(past).filter_map(|reference| reference.version).collect()
}

fn deletions(proxy: &Proxy) -> usize {
    proxy.asked().iter().filter(|asked| asked.line.starts_with("DELETE ")).count()
}

#[test]
fn only_numbered_entries_go_one_by_one() {
    let (_github, proxy, store) = github();
    wait(|| async {
        let all = numbers(&store).await;
        assert_eq!(all.len(), 4);
        assert_eq!(
            discard(&store, &[&all[3], "999999", "index-web", &all[2]]).await,
            [None, None, Some(Kind::Invalid), None]
        );
        assert_eq!(numbers(&store).await, all[..2]);
    });
    assert_eq!(deletions(&proxy), 2, "what is not there is not asked for");
    assert!(proxy.asked().iter().all(|asked| !asked.line.starts_with("DELETE ") || !asked.line.contains("key=")));
}

#[test]
fn a_deletion_is_not_sent_again_before_it_was_looked_what_became_of_it() {
    let (_github, proxy, store) = github();
    wait(|| async {
        let all = numbers(&store).await;
        // Done, and the answer lost.
        proxy.play(When::nth(1).of("DELETE "), Fault::changed(|_, _| Answer::status(502)));
        assert_eq!(discard(&store, &[&all[3]]).await, [None]);
        // Refused for now: the rest is not even tried.
        proxy.heal();
        let busy = Answer::status(429).with("retry-after", "60");
        proxy.play(When::always().of("DELETE "), Fault::Answers(busy));
        assert_eq!(discard(&store, &[&all[2], &all[1]]).await, [Some(Kind::Unavailable), Some(Kind::Unavailable)]);
        assert_eq!(deletions(&proxy), 1);
        proxy.heal();
        assert_eq!(numbers(&store).await, all[..3]);
    });
}

#[test]
fn daemon_prune_shows_first_and_takes_what_it_showed() {
    let (builder, store) = builder(Told::default());
    let (place, address) = (crate::program::Place::empty(), builder.address());
    let plan = place.run(&["daemon", "prune", "--json", &address]).json();
    let ids = |plan: &serde_json::Value| -> Vec<String> {
        let steps = plan["steps"].as_array().unwrap().iter();
        steps.map(|step| step["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids(&plan), ["leaf", "other", "base"]);
    assert_eq!((&plan["frees_bytes"], &plan["promise"]["undo"]["possible"]), (&30.into(), &"never".into()));
    let refused = place.run(&["daemon", "prune", "--apply", &address]);
    assert_eq!(refused.code, 2, "{refused}");
    assert!(refused.err.contains("--yes"), "{refused}");
    assert!(builder.pruned().is_empty(), "nothing was asked for yet");

    let some = place.run(&["daemon", "prune", "--apply", "--yes", "--max-used-space", "35", &address]);
    assert_eq!(some.code, 0, "{some}");
    assert_eq!(wait(|| ids_of(&store)).len(), 3);
    let disk = place.run(&["daemon", "prune", "--min-free-space", "1GB", &address]);
    assert_eq!(disk.code, 10, "{disk}");
    let all = place.run(&["daemon", "prune", "--apply", "--yes", &address]);
    assert_eq!(all.code, 0, "{all}");
    assert!(all.err.contains("2 records freed"), "{all}");
    assert_eq!(wait(|| ids_of(&store)), ["used"]);
}

async fn ids_of(store: &Arc<dyn Store>) -> Vec<String> {
    ids(store).await
}

#[test]
fn gha_prune_shows_first_and_takes_what_it_showed() {
    let (_github, proxy, store) = github();
    let place = crate::program::Place::empty();
    let location = store.location().reveal();
    let nothing = place.run(&["gha", "prune", &location]);
    assert_eq!(nothing.code, 2, "nothing said is not everything: {nothing}");
    let young = place.run(&["gha", "prune", "--superseded", "--json", &location]).json();
    let plan = place.run(&["gha", "prune", "--superseded", "--grace", "0s", "--json", &location]).json();
    assert_eq!(plan["steps"].as_array().unwrap().len(), 3, "{young}");
    let refused = place.run(&["gha", "prune", "--superseded", "--grace", "0s", "--apply", &location]);
    assert_eq!((refused.code, deletions(&proxy)), (2, 0), "{refused}");
    let done = place.run(&["gha", "prune", "--superseded", "--grace", "0s", "--apply", "--yes", &location]);
    assert_eq!(done.code, 0, "{done}");
    assert_eq!(deletions(&proxy), 3);
    assert!(done.err.contains("3 entries freed"), "{done}");
    assert_eq!(wait(|| numbers(&store)).len(), 1);
}

#[test]
fn builds_are_pinned_and_let_go() {
    let builder = Builder::start(Told::recorded());
    let (place, address) = (crate::program::Place::empty(), builder.address());
    let history = place.run(&["daemon", "history", "--json", &address]).json();
    let id = history["items"][0]["id"].as_str().unwrap().to_owned();
    let pinned = place.run(&["daemon", "pin", &id, &address]);
    assert_eq!(pinned.code, 0, "{pinned}");
    assert_eq!(place.run(&["daemon", "unpin", &id, &address]).code, 0);
    assert_eq!(builder.pins(), [(id.clone(), true), (id.clone(), false)]);
    assert_eq!(place.run(&["daemon", "pin", "nobody", &address]).code, 5);
    let refused = place.run(&["--read-only", "daemon", "pin", &id, &address]);
    assert_eq!(refused.code, 4, "{refused}");
    assert_eq!(builder.pins().len(), 2, "what is refused is not asked for");
}
