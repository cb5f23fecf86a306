//! Lists the blobs of a bucket. S3 gives a thousand keys a page, each page after the one before; but digests are spread
//! evenly, so that the first page tells about how many there are, and the rest is cut into ranges of about a page each, which
//! are asked for side by side. That takes hardly more requests than going through one by one.

use super::classify::classify;
use super::discard;
use super::pages::{Guard, plain, time};
use super::settings::Settings;
use crate::error::{Error, Kind, Result};
use crate::model::finding::{Finding, Problem};
use crate::model::inventory::Leftover;
use crate::model::text;
use crate::model::units;
use crate::progress::Progress;
use crate::store::{BlobEntry, Listing};
use aws_sdk_s3::Client;
use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output;
use aws_sdk_s3::types::{EncodingType, MultipartUpload};
use futures::StreamExt as _;
use std::collections::VecDeque;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Pages asked for at a time.
const IN_FLIGHT: usize = 32;
/// Keys that a range is meant to have: few enough below a page's thousand that chance seldom makes them more.
const SHARE: u128 = 900;
/// Ranges that wait at most; beyond that the rest of a range is gone through page by page.
const WAITING: usize = 1 << 14;
/// Keys that are no blobs, of which each is told; of others their number.
const STRAYS: usize = 20;
/// Unfinished uploads that are asked how long they are.
const MEASURED: usize = 64;

/// Lists into `batches`, a page each.
pub async fn list(
    client: &Client,
    settings: &Settings,
    progress: &Progress,
    batches: mpsc::Sender<Vec<BlobEntry>>,
) -> Result<Listing> {
    progress.check()?;
    let mut strays = Strays::default();
    let mut waiting = VecDeque::from([Range::whole(settings)]);
    let mut running = JoinSet::new();
    loop {
        while running.len() < IN_FLIGHT
            && let Some(range) = waiting.pop_front()
        {
            running.spawn(page(client.clone(), settings.clone(), range));
        }
        // Dropping what runs stops it.
        let Some(done) = progress.token().run_until_cancelled(running.join_next()).await else {
            return Err(Error::cancelled());
        };
        let Some(done) = done else { break };
        let (range, page) =
            done.map_err(|e| Error::new(Kind::Internal, "a task of listing broke off").with_source(e))??;
        progress.add(page.entries.len() as u64, page.entries.iter().map(|b| b.size).sum());
        strays.add(page.strays, page.more_strays);
        waiting.extend(range.rest(page.next, &settings.layout.blobs, waiting.len()));
        if !page.entries.is_empty() && batches.send(page.entries).await.is_err() {
            return Err(Error::cancelled());
        }
    }
    let leftovers = uploads(client, settings).await?;
    Ok(Listing { leftovers, findings: strays.findings(), complete: true })
}

/// A part of the key space that is listed on its own.
struct Range {
    /// The last key that it has; `None` for whatever comes.
    until: Option<String>,
    /// Where to go on, if it is not the beginning.
    from: From,
    guard: Guard,
}

enum From {
    Beginning,
    After(String),
    Mark(String),
}

/// What follows a page.
struct Next {
    mark: String,
    /// Where the digests of the page begin and end, and how many they are, unless the page is all in disorder.
    spread: Option<(u64, u64, usize)>,
}

/// A page, made sense of.
struct Page {
    entries: Vec<BlobEntry>,
    strays: Vec<String>,
    more_strays: usize,
    next: Option<Next>,
}

impl Range {
    fn whole(settings: &Settings) -> Self {
        let guard = Guard::new(settings);
        Self { until: None, from: From::Beginning, guard }
    }

    /// What is left of it after a page: nothing, or itself, or several parts of about a page each.
    fn rest(self, next: Option<Next>, prefix: &str, waiting: usize) -> Vec<Self> {
        let Some(next) = next else { return Vec::new() };
        let end = self.until.as_deref().and_then(|key| position(key, prefix)).unwrap_or(u64::MAX);
        let parts = match next.spread {
            Some((first, last, count)) if waiting < WAITING && end > last && last > first => {
                let expected = u128::from(end - last) * count as u128 / u128::from(last - first);
                (expected / SHARE).min((WAITING - waiting) as u128) as u64
            }
            _ => 0,
        };
        let Some((_, last, _)) = next.spread.filter(|_| parts > 1) else {
            return vec![Self { from: From::Mark(next.mark), ..self }];
        };
        // A key that digests come after, and no digest is.
        let cut = |n: u64| {
            let at = u128::from(last) + u128::from(end - last) * u128::from(n) / u128::from(parts);
            format!("{prefix}sha256:{at:016x}")
        };
        let mut ranges = Vec::new();
        let mut after = self.guard.last().to_owned();
        for n in 1..=parts {
            let until = if n == parts { self.until.clone() } else { Some(cut(n)) };
            let next = until.clone().unwrap_or_default();
            ranges.push(Self { until, guard: Guard::after(&after), from: From::After(after) });
            after = next;
        }
        ranges
    }
}

/// Where a digest stands among all: its first 64 bits.
fn position(key: &str, prefix: &str) -> Option<u64> {
    let hex = key.strip_prefix(prefix)?.strip_prefix("sha256:")?;
    u64::from_str_radix(hex.get(..16)?, 16).ok()
}

async fn page(client: Client, settings: Settings, mut range: Range) -> Result<(Range, Page)> {
    let what = || format!("listing bucket {}", settings.bucket);
    let request = client.list_objects_v2().bucket(&settings.bucket).prefix(&settings.layout.blobs);
    let request = match &range.from {
        From::Beginning => request,
        From::After(key) => request.start_after(key),
        From::Mark(mark) => request.continuation_token(mark),
    };
    let answer = request.encoding_type(EncodingType::Url).send().await.map_err(|e| classify(&what(), e))?;
    let page = read(&answer, &mut range, &settings).map_err(|e| e.context(what()))?;
    Ok((range, page))
}

fn read(answer: &ListObjectsV2Output, range: &mut Range, settings: &Settings) -> Result<Page> {
    let layout = &settings.layout;
    let mut page =
        Page { entries: Vec::with_capacity(answer.contents().len()), strays: vec![], more_strays: 0, next: None };
    let mut ended = false;
    let mut spread: Option<(u64, u64, usize)> = None;
    for object in answer.contents() {
        let key = plain(object.key().unwrap_or_default(), answer.encoding_type());
        range.guard.key(&key, false)?;
        if range.until.as_deref().is_some_and(|until| *key > *until) {
            ended = true;
            break;
        }
        let Some(digest) = layout.digest_of(&key) else {
            match layout.is_known(&key) {
                true => {}
                false if page.strays.len() < STRAYS => page.strays.push(key.into_owned()),
                false => page.more_strays += 1,
            }
            continue;
        };
        let size = object.size().and_then(|size| size.try_into().ok());
        let size = size.ok_or_else(|| Error::corrupt(format!("blob {digest} has no length")))?;
        let modified = object.last_modified().and_then(time);
        page.entries.push(BlobEntry { digest, size, modified, document: None });
        if let Some(at) = position(&key, &layout.blobs) {
            spread = Some(spread.map_or((at, at, 1), |(first, _, count)| (first, at, count + 1)));
        }
    }
    if !ended {
        let mark = range.guard.next(answer.is_truncated(), answer.next_continuation_token().map(str::to_owned))?;
        // With keys after the last digest, or in no order, nothing follows from where digests are.
        let fits = !range.guard.unordered && page.strays.is_empty();
        page.next = mark.map(|mark| Next { mark, spread: spread.filter(|_| fits) });
    }
    Ok(page)
}

/// Keys under the prefix that are no blobs.
#[derive(Default)]
struct Strays {
    named: Vec<String>,
    more: usize,
}

impl Strays {
    fn add(&mut self, keys: Vec<String>, more: usize) {
        self.more += more;
        for key in keys {
            match self.named.len() < STRAYS {
                true => self.named.push(key),
                false => self.more += 1,
            }
        }
    }

    fn findings(mut self) -> Vec<Finding> {
        self.named.sort();
        let stray = |message| Finding::new(Problem::Stray, None, message);
        let mut findings: Vec<_> =
            self.named.iter().map(|key| stray(format!("{}: not a blob", text::safe(key)))).collect();
        if self.more > 0 {
            findings.push(stray(format!(
                "{} under the blobs prefix is no blob either",
                units::count(self.more, "more key")
            )));
        }
        findings
    }
}

/// Uploads in parts that were begun and not ended. Nothing where we may not know, or the server has no such thing.
async fn uploads(client: &Client, settings: &Settings) -> Result<Vec<Leftover>> {
    let found = begun(client, settings, &settings.layout.blobs).await?;
    let measured = futures::stream::iter(found.into_iter().enumerate())
        .map(|(at, (key, upload))| async move {
            let bytes = if at < MEASURED { measure(client, settings, &key, &upload).await } else { 0 };
            let name = discard::name(settings, &key, upload.upload_id().unwrap_or_default());
            Leftover { name, bytes, modified: upload.initiated().and_then(time) }
        })
        .buffered(IN_FLIGHT);
    let mut leftovers: Vec<Leftover> = measured.collect().await;
    leftovers.sort_by(|a, b| a.name.cmp(&b.name).then(a.modified.cmp(&b.modified)));
    Ok(leftovers)
}

/// Uploads under keys that begin with `prefix`, with their keys. None where we may not know, or the server has no such thing.
pub async fn begun(client: &Client, settings: &Settings, prefix: &str) -> Result<Vec<(String, MultipartUpload)>> {
    let what = format!("listing unfinished uploads of bucket {}", settings.bucket);
    let mut guard = Guard::new(settings);
    let mut found: Vec<(String, MultipartUpload)> = Vec::new();
    let mut mark: Option<(String, Option<String>)> = None;
    loop {
        let (key, id) = mark.map_or((None, None), |(key, id)| (Some(key), id));
        let request = client.list_multipart_uploads().bucket(&settings.bucket).prefix(prefix);
        let request = request.encoding_type(EncodingType::Url).set_key_marker(key).set_upload_id_marker(id);
        let page = match request.send().await.map_err(|e| classify(&what, e)) {
            Ok(page) => page,
            Err(error) if matches!(error.kind(), Kind::Denied | Kind::Unsupported) => return Ok(found),
            Err(error) => return Err(error),
        };
        for upload in page.uploads() {
            let key = plain(upload.key().unwrap_or_default(), page.encoding_type());
            guard.key(&key, true).map_err(|e| e.context(&what))?;
            found.push((key.into_owned(), upload.clone()));
        }
        let id = page.next_upload_id_marker().map(str::to_owned);
        let key = page.next_key_marker().map(|key| plain(key, page.encoding_type()).into_owned());
        let whole = key.as_ref().map(|key| format!("{key}\0{}", id.as_deref().unwrap_or_default()));
        match guard.next(page.is_truncated(), whole).map_err(|e| e.context(&what))? {
            Some(_) => mark = key.map(|key| (key, id)),
            None => return Ok(found),
        }
    }
}

/// Bytes of an upload's parts, of its first thousand at least; 0 if that can't be told.
async fn measure(client: &Client, settings: &Settings, key: &str, upload: &MultipartUpload) -> u64 {
    let request = client.list_parts().bucket(&settings.bucket).key(key);
    match request.set_upload_id(upload.upload_id().map(str::to_owned)).send().await {
        Ok(parts) => parts.parts().iter().filter_map(|part| u64::try_from(part.size()?).ok()).sum(),
        Err(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PREFIX: &str = "blobs/";

    fn key(at: u64) -> String {
        format!("{PREFIX}sha256:{at:016x}{:048x}", 0)
    }

    fn range(last: &str, until: Option<String>) -> Range {
        Range { until, from: From::Beginning, guard: Guard::after(last) }
    }

    #[test]
    fn a_rest_is_cut_into_parts_of_about_a_page_without_gaps() {
        let page = 1 << 48;
        // A thousand digests in 1/65536 of the space: 65,535,000 more.
        let next = || Some(Next { mark: "m".to_owned(), spread: Some((0, page, 1000)) });
        let parts = range(&key(page), None).rest(next(), PREFIX, 0);
        assert_eq!(parts.len(), WAITING, "no more than can wait");
        let last = |part: &Range| part.until.clone();
        for pair in parts.windows(2) {
            let From::After(after) = &pair[1].from else { panic!("a range begins after another") };
            assert_eq!(last(&pair[0]).as_ref(), Some(after));
        }
        assert!(matches!(&parts[0].from, From::After(after) if *after == key(page)));
        assert_eq!(last(&parts[WAITING - 1]), None);

        let end = key(page * 10);
        let parts = range(&key(page), Some(end.clone())).rest(next(), PREFIX, 0);
        assert_eq!(parts.len(), 10, "9,000 more in shares of 900");
        assert_eq!(last(&parts[9]), Some(end));
        assert_eq!(range(&key(page), None).rest(next(), PREFIX, WAITING).len(), 1);
    }

    #[test]
    fn what_tells_nothing_is_gone_through_page_by_page() {
        for spread in [None, Some((5, 5, 1)), Some((0, u64::MAX - 1, 1000))] {
            let rest = range("x", None).rest(Some(Next { mark: "m".to_owned(), spread }), PREFIX, 0);
            assert!(matches!(&rest[..], [Range { from: From::Mark(mark), .. }] if mark == "m"));
        }
        assert!(range("x", None).rest(None, PREFIX, 0).is_empty());
    }
}
