//! Writes blobs and cache configs as BuildKit does: a blob that is there already is left; what is new becomes visible whole, and
//! only if it is what its digest says.

use super::account::Failure;
use super::{Place, VERSION, own};
use crate::error::{Error, Kind, Result};
use crate::model::digest::Digest;
use crate::model::text;
use crate::store::keyed::fresh;
use crate::store::parts::{Part, Parts};
use crate::store::{BlobReader, Expected, Reference};
use azure_core::Method;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::StreamExt as _;

/// Requests at a time.
const IN_FLIGHT: usize = 16;

/// Stores a blob. Who stores it has asked whether it is there.
pub(super) async fn put(place: &Place, digest: &Digest, body: BlobReader) -> Result<()> {
    let key = place.layout.blob(digest);
    let mut parts = Parts::of(digest, body);
    let Some(first) = parts.next().await? else { return Ok(()) };
    let what = format!("writing blob {digest}");
    let sent = match first.is_last {
        true => whole(place, &key, first.bytes.clone(), ("if-none-match", "*")).await.map(drop),
        false => {
            let blocks = Blocks { place, key: &key, upload: fresh() };
            let (_, ids) = parts.send(first, |part| Box::pin(blocks.send(&what, part))).await?;
            blocks.join(&ids).await
        }
    };
    match sent.map_err(|e| place.container.changing(&what, e)) {
        // Somebody else may have been quicker, with the same bytes; or it is there, and only the answer was lost. It is visible
        // as a whole or not at all.
        Err(error) if matches!(error.kind(), Kind::Stale | Kind::Unavailable) => {
            own::head(place, &key).await.map(drop).map_err(|_| error)
        }
        sent => sent,
    }
}

/// Writes a blob in one piece, on a condition: a header and its value. Its ETag.
async fn whole(
    place: &Place,
    key: &str,
    bytes: Bytes,
    condition: (&'static str, &str),
) -> std::result::Result<Option<String>, Failure> {
    let headers = [("x-ms-blob-type", "BlockBlob"), condition];
    let written = place.container.write(place.container.blob_url(key), &headers, Some(bytes)).await;
    written.map(|answer| answer.etag)
}

/// An upload in blocks, invisible until they are joined. Those that never are, are Azure's to forget.
struct Blocks<'a> {
    place: &'a Place,
    key: &'a str,
    /// A word of this upload's own, so that two uploads of one blob do not mix.
    upload: String,
}

impl Blocks<'_> {
    async fn send(&self, what: &str, part: Part) -> Result<String> {
        // All blocks of a blob must have ids of one length, those of other programs' broken-off uploads, too: Azure's own
        // libraries make them of 64 bytes.
        let id = STANDARD.encode(format!("{:-<56}{:08}", self.upload, part.number()));
        let mut url = self.place.container.blob_url(self.key);
        url.query_pairs_mut().append_pair("comp", "block").append_pair("blockid", &id);
        let sent = self.place.container.write(url, &[], Some(part.bytes.clone())).await;
        sent.map(|_| id).map_err(|e| self.place.container.changing(what, e))
    }

    async fn join(&self, ids: &[String]) -> std::result::Result<(), Failure> {
        let mut url = self.place.container.blob_url(self.key);
        url.query_pairs_mut().append_pair("comp", "blocklist");
        let ids: String = ids.iter().map(|id| format!("<Latest>{id}</Latest>")).collect();
        let list = format!("<?xml version=\"1.0\" encoding=\"utf-8\"?><BlockList>{ids}</BlockList>");
        self.place.container.write(url, &[("if-none-match", "*")], Some(list.into())).await.map(drop)
    }
}

/// Stores a blob that another place of the same account has, see [`crate::store::Store::take`]. Azure copies it; within an
/// account that is mostly done at once.
pub(super) async fn take(place: &Place, digest: &Digest, size: u64, from: &Place) -> Result<bool> {
    let (key, source) = (place.layout.blob(digest), from.layout.blob(digest));
    let is_itself = place.container.blob_url(&key) == from.container.blob_url(&source);
    if !place.container.is_kin(&from.container) || is_itself {
        return Ok(false);
    }
    match own::head(place, &key).await {
        Ok(_) => return Ok(true),
        Err(error) if error.kind() == Kind::NotFound => {}
        Err(error) => return Err(error),
    }
    let theirs = match own::head(from, &source).await {
        Ok(head) => head,
        Err(error) if may_be_sent(error.kind()) => return Ok(false),
        Err(error) => return Err(error),
    };
    if theirs.length != Some(size) {
        let what = format!("blob {digest} of {} is not {size} bytes long, as it should be", from.container.name());
        return Err(Error::corrupt(what));
    }
    let tag = theirs.etag.unwrap_or_default();
    let conditions = [("x-ms-source-if-match", tag.as_str()), ("if-none-match", "*")];
    match own::copy_from(place, &from.container.source_url(&source), &key, &conditions).await {
        Ok(length) if length == Some(size) => Ok(true),
        Ok(_) => Err(Error::corrupt(format!("the copy of blob {digest} is not as long as it is"))),
        Err(error) if may_be_sent(error.kind()) => Ok(false),
        // Somebody else has written it meanwhile; or it is the source that was, which is to be read then.
        Err(error) if error.kind() == Kind::Stale => Ok(own::head(place, &key).await.is_ok()),
        // It may have gone well, and only the answer was lost.
        Err(error) if error.kind() == Kind::Unavailable => match own::head(place, &key).await {
            Ok(head) if head.copy.as_deref() == Some("success") && head.length == Some(size) => Ok(true),
            _ => Err(error),
        },
        Err(error) => Err(error),
    }
}

/// Whether what Azure does not do by itself may well go the usual way.
fn may_be_sent(kind: Kind) -> bool {
    matches!(kind, Kind::NotFound | Kind::Denied | Kind::Unauthenticated | Kind::Invalid | Kind::Unsupported)
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
    let written = whole(place, &key, document.clone(), condition).await;
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
