//! Takes tags away, each alone where the registry can; else with the digest that they lead to, if no other tag and no list of
//! another tag leads there.
//!
//! The API has no "only if it is still so", and deleting a digest deletes all its tags. So all tags are looked at before, those
//! asked for once more right before, manifests are fetched before they go, one digest goes at a time, and a tag that is lost
//! with it is put back. What can't be told counts as needed.

use super::heads::{Head, head};
use super::{Api, PARALLEL, Registry, push, tags};
use crate::error::{Error, Kind, Result};
use crate::format::envelope::{self, Envelope};
use crate::model::digest::Digest;
use crate::store::http::{Repeat, fault};
use crate::store::{Reference, Store as _};
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use reqwest::{Method, StatusCode, Url};
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::atomic::Ordering;

/// So many lists are looked into for what else leads to a digest.
const MOST_LISTS: usize = 100_000;

/// Tags that lead to one digest, all to be taken away.
struct Group {
    head: Head,
    /// Where they are among those asked for.
    members: Vec<usize>,
}

/// What the repository's tags lead to, and what their lists lead to.
#[derive(Default)]
struct Survey {
    tags: BTreeMap<String, Head>,
    lists: HashMap<Digest, Vec<Below>>,
}

/// What a list leads to.
#[derive(Clone, Copy)]
struct Below {
    digest: Digest,
    /// Whether it may lead further.
    is_list: bool,
}

/// Takes tags away, see [`crate::store::Store::remove`].
pub async fn tags(registry: &Registry, references: &[Reference]) -> Vec<Result<()>> {
    let api = &registry.api;
    let names: Vec<String> = references.iter().map(|reference| reference.name.clone()).collect();
    let look = |name: String| async move { head(api, &name).await };
    let now: Vec<Result<Option<Head>>> =
        futures::stream::iter(names.into_iter().map(look)).buffered(PARALLEL).collect().await;
    let mut results: Vec<Option<Result<()>>> = Vec::new();
    let mut groups: BTreeMap<Digest, Group> = BTreeMap::new();
    for (at, (reference, now)) in references.iter().zip(now).enumerate() {
        results.push(match now {
            Ok(None) => Some(Ok(())),
            Ok(Some(head)) if reference.version.as_deref() == Some(&head.digest.to_string()) => {
                groups.entry(head.digest).or_insert(Group { head, members: Vec::new() }).members.push(at);
                None
            }
            Ok(Some(_)) => Some(Err(changed(&reference.name))),
            Err(error) => Some(Err(error)),
        });
    }
    let mut survey = Survey::default();
    let mut groups: Vec<Group> = groups.into_values().collect();
    // Lists before what they lead to.
    groups.sort_by_key(|group| (!group.head.is_list, group.head.digest));
    for group in groups {
        let asked: BTreeSet<String> = group.members.iter().map(|at| references[*at].name.clone()).collect();
        let mut ended = one(registry, &mut survey, &group.head, &asked).await;
        for at in group.members {
            results[at] = Some(ended.remove(&references[at].name).unwrap_or(Ok(())));
        }
    }
    let nobody = || Err(Error::new(Kind::Internal, "a tag was passed over"));
    results.into_iter().map(|result| result.unwrap_or_else(nobody)).collect()
}

/// Takes the tags `asked`, which lead to `head`, away. Those that it could not are told.
async fn one(
    registry: &Registry,
    survey: &mut Survey,
    head: &Head,
    asked: &BTreeSet<String>,
) -> BTreeMap<String, Result<()>> {
    let all = |error: Error| {
        let again = |name: &String| (name.clone(), Err(error.again()));
        asked.iter().map(again).collect::<BTreeMap<_, _>>()
    };
    let saved = match registry.read(&head.digest, envelope::LIMIT).await {
        Ok(bytes) => bytes,
        Err(error) => return all(error.context("nothing was taken away, as it could not be kept for the way back")),
    };
    if let Err(error) = survey.refresh(&registry.api).await {
        return all(error.context("nothing was taken away, as not all tags could be looked at"));
    }
    let mut ended = BTreeMap::new();
    for name in asked {
        if registry.whole_digests.load(Ordering::Relaxed) {
            break;
        }
        match alone(registry, name, head).await {
            Ok(true) => drop(ended.insert(name.clone(), Ok(()))),
            Ok(false) => registry.whole_digests.store(true, Ordering::Relaxed),
            Err(error) => drop(ended.insert(name.clone(), Err(error))),
        }
    }
    let rest: BTreeSet<String> = asked.iter().filter(|name| !ended.contains_key(*name)).cloned().collect();
    if !rest.is_empty()
        && let Err(error) = together(registry, survey, head, &rest).await
    {
        ended.extend(rest.iter().map(|name| (name.clone(), Err(error.again()))));
    }
    if let Err(error) = put_back(registry, survey, asked, head, &saved).await {
        asked.iter().for_each(|name| drop(ended.insert(name.clone(), Err(error.again()))));
    }
    ended
}

/// Deletes a tag that leads to `seen`, and nothing else. `false` if the registry can't do that.
async fn alone(registry: &Registry, name: &str, seen: &Head) -> Result<bool> {
    let api = &registry.api;
    let Some(url) = still(api, name, seen).await? else { return Ok(true) };
    let asked = delete(api, url).await;
    let status = match asked {
        Ok(status) if status.is_success() => return Ok(true),
        Ok(status) => status,
        // Whether it was done is not known; it is not done again.
        Err(error) if error.kind() == Kind::Unavailable && matches!(head(api, name).await, Ok(None)) => {
            return Ok(true);
        }
        Err(error) => return Err(error),
    };
    match status.as_u16() {
        404 => Ok(head(api, name).await?.is_none()),
        _ => Ok(false),
    }
}

/// Deletes a digest with the tags `asked`, if no other leads there.
async fn together(registry: &Registry, survey: &mut Survey, seen: &Head, asked: &BTreeSet<String>) -> Result<()> {
    let api = &registry.api;
    let refused = |what: String, hint: &str| Err(registry.unsupported(&what).with_hint(hint.to_owned()));
    let mut others = survey.tags.iter().filter(|(name, head)| head.digest == seen.digest && !asked.contains(*name));
    if let Some((other, _)) = others.next() {
        let what = format!("taking single tags away; tag {other} leads to the same version, and would go, too");
        return refused(what, "take all tags of that version away together, or use the registry's own means");
    }
    if let Some(list) = survey.list_with(registry, &seen.digest).await? {
        let what = format!("taking single tags away; {list} leads to the same version, and would break");
        return refused(what, "take away what leads to it first");
    }
    // Right before, once more.
    for name in asked {
        still(api, name, seen).await?;
    }
    let status = match delete(api, api.repository.manifest(&seen.digest)?).await {
        Ok(status) => status,
        Err(error) if error.kind() == Kind::Unavailable => {
            // Whether it was done is not known; it is not done again.
            for name in asked {
                if head(api, name).await.is_ok_and(|head| head.is_none()) {
                    continue;
                }
                return Err(error);
            }
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    match status.as_u16() {
        200..=299 | 404 => Ok(()),
        400 | 405 | 501 => refused(
            format!("{} does not let manifests be deleted", api.repository.registry),
            "switch deleting on there (distribution: REGISTRY_STORAGE_DELETE_ENABLED=true), or use its own means",
        ),
        _ => Err(Error::new(Kind::Invalid, format!("deleting {}: the registry answers {status}", seen.digest))),
    }
}

/// Where the tag `name` is, if it still leads to `seen`: [`Kind::Stale`] if it leads elsewhere, `None` if it is gone.
async fn still(api: &Api, name: &str, seen: &Head) -> Result<Option<Url>> {
    match head(api, name).await? {
        None => Ok(None),
        Some(head) if head.digest == seen.digest => Ok(api.repository.tag(name)),
        Some(_) => Err(changed(name)),
    }
}

/// Sends one `DELETE`, once, and tells how it was answered, where that says something about what was asked for.
async fn delete(api: &Api, url: Url) -> Result<StatusCode> {
    let what = format!("deleting {}", url.path().rsplit('/').next().unwrap_or_default());
    let request = api.http.request(Method::DELETE, url);
    let response = api.send_as(&api.deleting, request, Repeat::Never).await.map_err(|e| e.context(&what))?;
    match response.status().as_u16() {
        200..=299 | 400 | 404 | 405 | 501 => Ok(response.status()),
        401 | 403 => Err(super::auth::refused(&api.deleting, what, &response)),
        _ => Err(fault(what, &response)),
    }
}

/// Puts tags back that are gone and should not be: all that were there, save for `asked`.
async fn put_back(
    registry: &Registry,
    survey: &mut Survey,
    asked: &BTreeSet<String>,
    seen: &Head,
    saved: &Bytes,
) -> Result<()> {
    let api = &registry.api;
    let listed = names(api).await?;
    let mut lost = Vec::new();
    for (name, was) in survey.tags.iter().filter(|(name, _)| !asked.contains(*name)) {
        // Some list tags that lead nowhere any more.
        let suspicious = !listed.contains(name) || was.digest == seen.digest;
        if suspicious && head(api, name).await?.is_none() {
            lost.push(name.clone());
        }
    }
    survey.tags.retain(|name, _| listed.contains(name));
    let media_type = envelope::media_type(saved)?;
    for name in lost {
        let Some(url) = api.repository.tag(&name) else { continue };
        tracing::warn!(tag = name, digest = %seen.digest, "the tag was lost with the version, and is put back");
        push::lead(api, url, &media_type, saved).await.map_err(|e| {
            e.context(format!("tag {name} was lost with version {}, and can't be put back", seen.digest))
                .with_hint(format!("publish {} as {name} again", seen.digest))
        })?;
        survey.tags.insert(name, seen.clone());
    }
    Ok(())
}

impl Survey {
    /// Looks at all tags that are not known yet. The list is read twice: what comes meanwhile may be on neither page else.
    async fn refresh(&mut self, api: &Api) -> Result<()> {
        let mut listed = names(api).await?;
        loop {
            let new: Vec<String> = listed.iter().filter(|name| !self.tags.contains_key(*name)).cloned().collect();
            let ask = |name: String| async move { head(api, &name).await.map(|head| head.map(|head| (name, head))) };
            let found = futures::stream::iter(new.into_iter().map(ask)).buffer_unordered(PARALLEL);
            let found: Vec<Option<(String, Head)>> = found.try_collect().await?;
            self.tags.extend(found.into_iter().flatten());
            let again = names(api).await?;
            self.tags.retain(|name, _| again.contains(name));
            if again.is_subset(&listed) {
                return Ok(());
            }
            listed = again;
        }
    }

    /// The first tag whose list, or a list in it, leads to `digest`. An error if that can't be told.
    async fn list_with(&mut self, registry: &Registry, digest: &Digest) -> Result<Option<String>> {
        let lists: Vec<(String, Digest)> = self
            .tags
            .iter()
            .filter(|(_, head)| head.is_list && head.digest != *digest)
            .map(|(name, head)| (name.clone(), head.digest))
            .collect();
        for (name, top) in lists {
            let (mut stack, mut seen) = (vec![top], HashSet::new());
            while let Some(list) = stack.pop() {
                if !seen.insert(list) {
                    continue;
                }
                if self.lists.len() > MOST_LISTS {
                    return Err(Error::invalid(format!("there are more than {MOST_LISTS} lists of manifests")));
                }
                let below = match self.lists.entry(list) {
                    Entry::Occupied(known) => known.into_mut(),
                    Entry::Vacant(new) => {
                        new.insert(below(registry, &list).await.map_err(|e| e.context(format!("tag {name}")))?)
                    }
                };
                for below in below.iter() {
                    if below.is_list {
                        stack.push(below.digest);
                    } else {
                        seen.insert(below.digest);
                    }
                }
            }
            if seen.contains(digest) {
                return Ok(Some(format!("tag {name}")));
            }
        }
        Ok(None)
    }
}

/// Manifests that a manifest leads to. What is gone leads nowhere.
async fn below(registry: &Registry, list: &Digest) -> Result<Vec<Below>> {
    registry.learn_of(*list);
    let bytes = match registry.read(list, envelope::LIMIT).await {
        Err(error) if error.kind() == Kind::NotFound => return Ok(Vec::new()),
        read => read?,
    };
    Ok(match Envelope::read(&bytes)? {
        Envelope::Images { manifests } => {
            let is_list = |media_type: &str| !media_type.contains(".manifest.v");
            manifests.iter().map(|entry| Below { digest: entry.digest, is_list: is_list(&entry.media_type) }).collect()
        }
        Envelope::Cache { .. } | Envelope::Image { .. } => Vec::new(),
    })
}

/// All tags; none where the registry forgets a repository with its last tag.
async fn names(api: &Api) -> Result<BTreeSet<String>> {
    match tags::list(api).await {
        Err(error) if error.kind() == Kind::NotFound => Ok(BTreeSet::new()),
        listed => listed.map(|tags| tags.names),
    }
}

fn changed(name: &str) -> Error {
    Error::new(Kind::Stale, format!("tag {name} has changed since it was looked at"))
        .with_hint("look again, then retry")
}
