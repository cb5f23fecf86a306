//! Writes blobs and cache configs as BuildKit does: a blob that is there already is left; what is new becomes visible whole, and
//! only if it is what its digest says.

use super::account::Failure;
use super::{Place, VERSION, own};
use crate::error::{Error, Kind, Result};
use crate::model::digest::Digest;
use crate::model::text;
use crate::store::keyed::fresh;
use crate::store::{BlobReader, Expected, Reference};
use azure_core::Method;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use sha2::Digest as _;
use tokio::io::AsyncReadExt as _;

/// Bytes of a block, and of what is sent in one piece at most. Azure takes fifty thousand blocks.
const BLOCK: usize = 16 << 20;
/// Requests at a time.
const IN_FLIGHT: usize = 16;

/// Stores a blob.
pub(super) async fn put(place: &Place, digest: &Digest, mut body: BlobReader) -> Result<()> {
    let key = place.layout.blob(digest);
    let is_there = match own::head(place, &key).await {
        Ok(_) => true,
        Err(error) if error.kind() == Kind::NotFound => false,
        Err(error) => return Err(error),
    };
    let mut hasher = sha2::Sha256::new();
    let mut blocks = Blocks { place, key: &key, upload: fresh(), ids: Vec::new() };
    loop {
        let block = block(digest, &mut body).await?;
        hasher.update(&block);
        let is_last = block.len() < BLOCK;
        if is_last {
            let is = Digest::from_bytes(std::mem::take(&mut hasher).finalize().into());
            if is != *digest {
                // Blocks that were sent and never joined are Azure's to forget.
                return Err(Error::corrupt(format!("what was sent as {digest} is {is}")));
            }
        }
        if !is_there {
            let sent = match (blocks.ids.is_empty(), is_last) {
                (true, true) => own::upload(place, &key, block, Some(("if-none-match", "*"))).await.map(drop),
                (_, false) => blocks.send(block).await,
                (false, true) => match blocks.send(block).await {
                    Ok(()) => blocks.join().await,
                    Err(failure) => Err(failure),
                },
            };
            match sent.map_err(|e| place.container.changing(&format!("writing blob {digest}"), e)) {
                Ok(()) => {}
                // Somebody else was quicker, with the same bytes.
                Err(error) if is_last && error.kind() == Kind::Stale => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        if is_last {
            return Ok(());
        }
    }
}

/// The next block: shorter than [`BLOCK`] only at the end.
async fn block(digest: &Digest, body: &mut BlobReader) -> Result<Bytes> {
    let mut block = BytesMut::new();
    while block.len() < BLOCK {
        block.reserve((64 << 10).min(BLOCK - block.len()));
        let read = body.take((BLOCK - block.len()) as u64).read_buf(&mut block).await;
        if read.map_err(|e| crate::store::reading(digest, e))? == 0 {
            break;
        }
    }
    Ok(block.freeze())
}

/// An upload in blocks, invisible until they are joined.
struct Blocks<'a> {
    place: &'a Place,
    key: &'a str,
    /// A word of this upload's own, so that two uploads of one blob do not mix.
    upload: String,
    ids: Vec<String>,
}

impl Blocks<'_> {
    async fn send(&mut self, block: Bytes) -> std::result::Result<(), Failure> {
        if block.is_empty() {
            return Ok(());
        }
        let id = STANDARD.encode(format!("{}-{:08}", self.upload, self.ids.len()));
        let mut url = self.place.container.blob_url(self.key);
        url.query_pairs_mut().append_pair("comp", "block").append_pair("blockid", &id);
        self.place.container.send(Method::Put, url, &[], Some(block)).await?;
        self.ids.push(id);
        Ok(())
    }

    async fn join(&self) -> std::result::Result<(), Failure> {
        let mut url = self.place.container.blob_url(self.key);
        url.query_pairs_mut().append_pair("comp", "blocklist");
        let ids: String = self.ids.iter().map(|id| format!("<Latest>{id}</Latest>")).collect();
        let list = format!("<?xml version=\"1.0\" encoding=\"utf-8\"?><BlockList>{ids}</BlockList>");
        let joined = self.place.container.send(Method::Put, url, &[("if-none-match", "*")], Some(list.into())).await;
        joined.map(drop)
    }
}

/// Writes a cache config under a name, see [`crate::store::Store::publish`].
pub(super) async fn publish(
    place: &Place,
    name: &str,
    document: &Bytes,
    needs: &[Digest],
    expected: Expected,
) -> Result<Reference> {
    let mut there = futures::stream::iter(needs.iter().copied())
        .map(|digest: Digest| async move { (digest, own::head(place, &place.layout.blob(&digest)).await) })
        .buffer_unordered(IN_FLIGHT);
    while let Some((digest, head)) = there.next().await {
        match head {
            Ok(_) => {}
            Err(error) if error.kind() == Kind::NotFound => {
                let what = format!("{} was not published: blob {digest} is not there", text::safe(name));
                return Err(Error::corrupt(what));
            }
            Err(error) => return Err(error),
        }
    }
    drop(there);
    let key = place.layout.manifest(name);
    let what = format!("writing cache {}", text::safe(name));
    let tag;
    let condition = match &expected {
        Expected::Absent => ("if-none-match", "*"),
        Expected::Version(version) if version.starts_with(VERSION) => return Err(stale(&what)),
        Expected::Version(version) => {
            tag = quoted(version);
            ("if-match", tag.as_str())
        }
    };
    let written = own::upload(place, &key, document.clone(), Some(condition)).await;
    let etag = match written.map_err(|e| place.container.changing(&what, e)) {
        Ok(etag) => etag,
        Err(error) if error.kind() == Kind::Stale => return Err(stale(&what)),
        // What was to be replaced is gone.
        Err(error) if error.kind() == Kind::NotFound && expected != Expected::Absent => return Err(stale(&what)),
        // It may have been written, and only the answer be lost.
        Err(error) if error.kind() == Kind::Unavailable => match own::read(place, &key).await {
            Ok((is, etag)) if is == *document => etag,
            _ => return Err(error),
        },
        Err(error) => return Err(error),
    };
    // As lists have it.
    let version = etag.map(|etag| bare(&etag).to_owned());
    let (size, modified) = (Some(document.len() as u64), None);
    Ok(Reference { name: name.to_owned(), digest: None, size, modified, version })
}

/// Takes names away, see [`crate::store::Store::remove`].
pub(super) async fn remove(place: &Place, references: &[Reference]) -> Vec<Result<()>> {
    let unname = |reference: Reference| async move { unname(place, &reference).await };
    futures::stream::iter(references.iter().cloned()).map(unname).buffered(IN_FLIGHT).collect().await
}

async fn unname(place: &Place, reference: &Reference) -> Result<()> {
    let what = format!("removing cache {}", text::safe(&reference.name));
    let version = reference.version.as_deref();
    if version.is_some_and(|version| version.starts_with(VERSION)) {
        return Err(Error::new(Kind::Unsupported, format!("{what}: older versions are the account's own to forget")));
    }
    let key = place.layout.manifest(&reference.name);
    let tag = match own::head(place, &key).await {
        Ok(head) => head.etag.unwrap_or_default(),
        Err(error) if error.kind() == Kind::NotFound => return Ok(()),
        Err(error) => return Err(error.context(&what)),
    };
    if version.is_none_or(|was| bare(was) != bare(&tag)) {
        return Err(stale(&what));
    }
    match delete(place, &key, &tag).await.map_err(|e| place.container.changing(&what, e)) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == Kind::NotFound => Ok(()),
        Err(error) if error.kind() == Kind::Stale => Err(stale(&what)),
        // It may be gone, and only the answer be lost. It is not sent again: by then the name may be somebody else's.
        Err(error) if error.kind() == Kind::Unavailable => match own::head(place, &key).await {
            Err(gone) if gone.kind() == Kind::NotFound => Ok(()),
            _ => Err(error),
        },
        Err(error) => Err(error),
    }
}

/// Deletes a blob that still has this ETag, which changes whenever it is written.
pub(super) async fn delete(place: &Place, key: &str, etag: &str) -> std::result::Result<(), Failure> {
    let url = place.container.blob_url(key);
    let headers = [("if-match", etag), ("x-ms-delete-snapshots", "include")];
    place.container.send(Method::Delete, url, &headers, None).await.map(drop)
}

fn bare(tag: &str) -> &str {
    tag.trim_matches('"')
}

/// An ETag as a header has it; lists have it without quotation marks.
fn quoted(tag: &str) -> String {
    format!("\"{}\"", bare(tag))
}

fn stale(what: &str) -> Error {
    Error::new(Kind::Stale, format!("{what}: it has changed since it was looked at"))
        .with_hint("look again, then retry")
}
