//! `type=daemon`: a builder's own cache, as buildkitd tells of it over its control API. It holds no caches under names, only
//! records of what steps left behind; so there is nothing here to list or to read, but usage and details.
//!
//! `builder=NAME` is a builder of buildx, `addr=` the address of a buildkitd; without either the builder is meant that buildx
//! would take. Nothing is ever started to be asked.

mod ask;
mod buildx;
mod child;
mod discard;
mod way;

use super::{BlobEntry, BlobReader, Capabilities, Frees, References, Store, http};
use crate::error::{Error, Kind, Result};
use crate::model::builder::{Builder, Node};
use crate::model::digest::Digest;
use crate::model::inventory::Details;
use crate::model::location::Location;
use crate::model::plan::{Promise, Undo};
use crate::model::usage::UsageRecord;
use crate::progress::Progress;
use async_trait::async_trait;
use buildx::{Folders, Instance};
use futures::future::join_all;
use jiff::SignedDuration;
use std::sync::Arc;
use std::time::Duration;
use way::{Tls, Way};

/// What an address is read from where buildctl would read it.
const HOST_VARIABLE: &str = "BUILDKIT_HOST";

/// A builder.
#[derive(Debug)]
struct Daemon {
    location: Location,
    /// Names of the nodes, and how each is reached. Never empty.
    nodes: Vec<(String, Way)>,
    timeout: Duration,
}

/// Opens the builder at `location`. Reads what buildx wrote down, and asks nobody.
///
/// [`crate::error::Kind::NotFound`] if buildx knows no such builder, [`crate::error::Kind::Invalid`] for an address that is none.
pub fn open(location: &Location) -> Result<Arc<dyn Store>> {
    let nodes = nodes(location)?;
    Ok(Arc::new(Daemon { location: location.clone(), nodes, timeout: http::timeout()? }))
}

/// The builders at hand: those of buildx, and the one that `$BUILDKIT_HOST` leads to. None is asked whether it runs.
pub fn at_hand() -> Vec<Location> {
    let made = Folders::usual().map(|folders| folders.names()).unwrap_or_default();
    let mut all: Vec<Location> = made.into_iter().map(|name| Location::new("daemon").with("builder", name)).collect();
    if let Ok(address) = std::env::var(HOST_VARIABLE)
        && !address.is_empty()
    {
        all.push(Location::new("daemon").with("addr", address));
    }
    all
}

fn nodes(location: &Location) -> Result<Vec<(String, Way)>> {
    match (location.value("addr"), location.value("builder")) {
        (Some(_), Some(_)) => {
            Err(Error::invalid("a builder has either a name or an address").with_hint("leave one out"))
        }
        (Some(address), None) => {
            let way = Way::parse(address, tls(|key| location.value(key))?)?;
            Ok(vec![(way.title(), way)])
        }
        (None, name) => {
            let folders = Folders::usual().ok_or_else(|| {
                Error::not_found("there is no home folder, so buildx keeps no builders").with_hint("give addr=ADDRESS")
            })?;
            let name = name.map_or_else(|| folders.current(), |name| Ok(name.to_owned()))?;
            of_instance(folders.find(&name)?)
        }
    }
}

/// How the nodes of a builder are reached: directly where that is possible, else through buildx.
fn of_instance(instance: Instance) -> Result<Vec<(String, Way)>> {
    let several = instance.nodes.len() > 1;
    let way = |node: &buildx::Node| match instance.driver.as_str() {
        "remote" if ["unix://", "tcp://", "docker-container://"].iter().any(|s| node.endpoint.starts_with(s)) => {
            Way::parse(&node.endpoint, tls(|key| node.driver_opts.get(key).map(String::as_str))?)
        }
        "docker-container" => Ok(Way::Container {
            context: Some(node.endpoint.clone()).filter(|endpoint| !endpoint.is_empty()),
            container: format!("buildx_buildkit_{}", node.name),
            builder: Some(instance.name.clone()),
        }),
        _ => {
            let platform = node.platforms.first().map(buildx::Platform::name).filter(|_| several);
            Ok(Way::Buildx(instance.name.clone(), platform))
        }
    };
    let mut nodes: Vec<(String, Way)> = Vec::new();
    for node in &instance.nodes {
        let way = way(node).map_err(|error| error.context(format_args!("builder {}", instance.name)))?;
        // buildx chooses by platform alone, so two nodes with the same one can't both be had through it.
        if !nodes.iter().any(|(_, known)| *known == way) {
            nodes.push((node.name.clone(), way));
        }
    }
    match nodes.is_empty() {
        true => Err(Error::not_found(format!("builder {} has no nodes", instance.name))),
        false => Ok(nodes),
    }
}

/// The files of TLS, by the keys that buildx's remote driver has for them.
fn tls<'a>(get: impl Fn(&str) -> Option<&'a str>) -> Result<Option<Tls>> {
    let file = |key| get(key).map(std::path::PathBuf::from);
    let tls = Tls {
        ca: file("cacert"),
        identity: match (file("cert"), file("key")) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => return Err(Error::invalid("cert and key belong together").with_hint("give both, or neither")),
        },
        server: get("servername").map(str::to_owned),
    };
    Ok(Some(tls).filter(|tls| *tls != Tls::default()))
}

impl Daemon {
    /// What each node answers. The first failure is it if all fail; else it stands at its node.
    async fn ask(&self) -> Result<Builder> {
        let asked = self.nodes.iter().map(|(_, way)| ask::everything(way, self.timeout));
        let mut nodes = Vec::new();
        let mut first = None;
        let mut some = false;
        for ((name, way), answer) in self.nodes.iter().zip(join_all(asked).await) {
            let (name, address) = (name.clone(), way.title());
            nodes.push(match answer {
                Ok(said) => {
                    some = true;
                    let ask::Answers { version, records, workers, builds } = said;
                    Node { name, address, version, workers, records, builds }
                }
                Err(error) => {
                    let why = error.to_string();
                    first.get_or_insert(error);
                    let (workers, records, builds) = (Err(why.clone()), Err(why.clone()), Err(why));
                    Node { name, address, version: None, workers, records, builds }
                }
            });
        }
        match first {
            Some(error) if !some => Err(error),
            _ => Ok(Builder { nodes }),
        }
    }
}

#[async_trait]
impl Store for Daemon {
    fn location(&self) -> &Location {
        &self.location
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            list_blobs: false,
            find_dangling: false,
            read_blobs: false,
            bare_configs: false,
            write: false,
            remove: false,
            hide: false,
            discard: true,
            notes: false,
            usage: true,
            frees: Frees::AtMost,
        }
    }

    async fn references(&self) -> Result<References> {
        Ok(References::default())
    }

    async fn details(&self) -> Result<Details> {
        let builder = self.ask().await?;
        let mut notes = Vec::new();
        if self.nodes.iter().any(|(_, way)| way.is_open()) {
            notes.push("insecure".to_owned());
        }
        Ok(Details { notes, builder: Some(Arc::new(builder)), ..Details::default() })
    }

    async fn stat(&self, _digest: &Digest) -> Result<BlobEntry> {
        Err(self.unsupported("reading blobs"))
    }

    async fn open(&self, _digest: &Digest) -> Result<BlobReader> {
        Err(self.unsupported("reading blobs"))
    }

    async fn usage(&self) -> Result<Vec<UsageRecord>> {
        let asked = join_all(self.nodes.iter().map(|(_, way)| ask::records(way, self.timeout))).await;
        let (mut all, mut failure, mut some) = (Vec::new(), None, false);
        for answer in asked {
            match answer {
                Ok(records) => {
                    some = true;
                    all.extend(records);
                }
                Err(error) => drop(failure.get_or_insert(error)),
            }
        }
        all.sort_by(|a, b| a.id.cmp(&b.id));
        match failure {
            Some(error) if !some => Err(error),
            _ => Ok(all),
        }
    }

    async fn promise(&self) -> Result<Promise> {
        Ok(Promise {
            grace: SignedDuration::ZERO,
            settle: SignedDuration::ZERO,
            undo: Undo::Never("a builder keeps no copy; what is removed is built again".to_owned()),
            exact: false,
            caveats: vec!["what images share with a record stays with them, so less may be freed".to_owned()],
        })
    }

    async fn keep_build(&self, id: &str, kept: bool) -> Result<()> {
        let mut unknown = None;
        for (_, way) in &self.nodes {
            match ask::keep_build(way, self.timeout, id, kept).await {
                Err(error) if error.kind() == Kind::NotFound => {}
                // Another node may be the one that made it.
                Err(error) => drop(unknown.get_or_insert(error)),
                Ok(()) => return Ok(()),
            }
        }
        let absent = || {
            Error::not_found(format!("no build {} at {}", crate::model::text::safe(id), self.location.title()))
                .with_hint("`cachedeck daemon history` lists those there are")
        };
        Err(unknown.unwrap_or_else(absent))
    }

    async fn discard(&self, ids: &[String], progress: &Progress) -> Vec<Result<()>> {
        discard::records(&self.nodes, self.timeout, ids, progress).await
    }
}
