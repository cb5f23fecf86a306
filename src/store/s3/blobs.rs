//! Lists the blobs of a bucket. S3 gives a thousand keys a page, each page after the one before; but digests are spread
//! evenly, so that keys can be cut into ranges that are asked for side by side ([`super::ranges`] tells how). That takes hardly
//! more requests than going through one by one.

use super::classify::classify;
use super::discard;
use super::pages::{Guard, plain, time};
use super::ranges::{From, IN_FLIGHT, Next, Owner, Range, Spread, position};
use super::settings::Settings;
use crate::error::{Error, Kind, Result};
use crate::model::finding::{Finding, Problem};
use crate::model::inventory::Leftover;
use crate::model::text;
use crate::model::units;
use crate::progress::Progress;
use crate::store::keyed::Layout;
use crate::store::{BlobEntry, Listing};
use aws_sdk_s3::Client;
use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output;
use aws_sdk_s3::types::{EncodingType, MultipartUpload};
use futures::StreamExt as _;
use std::collections::VecDeque;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

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
    let mut waiting = VecDeque::from([Range::whole(&settings.layout.blobs, Guard::new(settings))]);
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

/// A page, made sense of.
struct Page {
    entries: Vec<BlobEntry>,
    strays: Vec<String>,
    more_strays: usize,
    next: Option<Next>,
}

async fn page(client: Client, settings: Settings, mut range: Range) -> Result<(Range, Page)> {
    let what = || format!("listing bucket {}", settings.bucket);
    let request = client.list_objects_v2().bucket(&settings.bucket).prefix(&range.prefix);
    let request = request.set_max_keys(range.most.map(i32::from));
    let request = match &range.from {
        From::Beginning => request,
        From::After(key) => request.start_after(key),
        From::Mark(mark) => request.continuation_token(mark),
    };
    let answer = request.encoding_type(EncodingType::Url).send().await.map_err(|e| classify(&what(), e))?;
    let page = read(&answer, &mut range, &settings.layout).map_err(|e| e.context(what()))?;
    Ok((range, page))
}

fn read(answer: &ListObjectsV2Output, range: &mut Range, layout: &Layout) -> Result<Page> {
    let mut page =
        Page { entries: Vec::with_capacity(answer.contents().len()), strays: vec![], more_strays: 0, next: None };
    let mut ended = false;
    let mut spread: Option<Spread> = None;
    let mut ends_with_digest = false;
    for object in answer.contents() {
        let key = plain(object.key().unwrap_or_default(), answer.encoding_type());
        range.guard.key(&key, false)?;
        match range.owner(&key)? {
            Owner::This => {}
            Owner::Other => continue,
            Owner::After => {
                ended = true;
                break;
            }
        }
        let position = position(&key, &layout.blobs);
        ends_with_digest = position.is_some();
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
        if let Some(last) = position {
            let Spread { first, count, .. } = spread.unwrap_or(Spread { first: last, last, count: 0 });
            spread = Some(Spread { first, last, count: count + 1 });
        }
    }
    if !ended {
        let mark = range.guard.next(answer.is_truncated(), answer.next_continuation_token().map(str::to_owned))?;
        // With keys after the last digest, or in no order, nothing follows from where digests are.
        let fits = !range.guard.unordered && page.strays.is_empty() && ends_with_digest;
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
    use crate::model::digest::Digest;
    use aws_sdk_s3::types::Object;
    use std::collections::BTreeSet;

    /// What a server has, and was asked for.
    struct Server {
        keys: BTreeSet<String>,
        requests: usize,
        sent: usize,
        /// Ranges that could be asked for at a time, at each request.
        side_by_side: Vec<usize>,
    }

    impl Server {
        fn of(keys: impl IntoIterator<Item = String>) -> Self {
            Self { keys: keys.into_iter().collect(), requests: 0, sent: 0, side_by_side: Vec::new() }
        }

        fn with_blobs(count: usize, beginning: &str) -> Self {
            let blob = |n: usize| {
                let hex = Digest::of(&n.to_le_bytes()).to_string();
                format!("blobs/sha256:{beginning}{}", &hex["sha256:".len()..hex.len() - beginning.len()])
            };
            Self::of((0..count).map(blob))
        }

        fn page(&mut self, range: &Range) -> ListObjectsV2Output {
            let after = match &range.from {
                From::Beginning => "",
                From::After(key) => key,
                From::Mark(mark) => mark.strip_prefix("mark ").unwrap(),
            };
            let most = usize::from(range.most.unwrap_or(1000));
            let rest = self
                .keys
                .range(after.to_owned()..)
                .filter(|key| key.as_str() > after && key.starts_with(&range.prefix));
            let found: Vec<&String> = rest.take(most + 1).collect();
            let object = |key: &&String| Object::builder().key(*key).size(1).build();
            let page = ListObjectsV2Output::builder()
                .set_contents(Some(found.iter().take(most).map(object).collect()))
                .is_truncated(found.len() > most);
            let page = match found.get(most) {
                Some(_) => page.next_continuation_token(format!("mark {}", found[most - 1])),
                None => page,
            };
            self.requests += 1;
            self.sent += found.len().min(most);
            page.build()
        }

        /// Lists it, and finds that each key was told of once.
        fn list(mut self) -> Self {
            let layout = Layout::plain(&"type=s3".parse().unwrap());
            let mut waiting = VecDeque::from([Range::whole(&layout.blobs, Guard::default())]);
            let (mut told, mut strays) = (Vec::new(), 0);
            while let Some(mut range) = waiting.pop_front() {
                self.side_by_side.push(waiting.len() + 1);
                let answer = self.page(&range);
                let page = read(&answer, &mut range, &layout).unwrap();
                told.extend(page.entries.iter().map(|entry| layout.blob(&entry.digest)));
                strays += page.strays.len() + page.more_strays;
                // Those that run are not waiting.
                waiting.extend(range.rest(page.next, &layout.blobs, waiting.len().saturating_sub(IN_FLIGHT)));
            }
            told.sort();
            let (blobs, others): (Vec<&String>, Vec<_>) =
                self.keys.iter().partition(|key| layout.digest_of(key).is_some());
            assert!(told.iter().eq(blobs), "{} blobs are told of, of {} keys", told.len(), self.keys.len());
            assert_eq!(strays, others.len());
            self
        }
    }

    #[test]
    fn listing_side_by_side_takes_hardly_more_than_one_by_one() {
        // What is sent twice is time lost where a server is slow.
        let cases = [
            (0, 1, 0),
            (999, 1, 0),
            (1500, 2, 0),
            (4000, 6, 1100),
            (12_000, 18, 2000),
            (19_608, 36, 50),
            (120_000, 150, 20_000),
        ];
        for (blobs, most, twice) in cases {
            let server = Server::with_blobs(blobs, "").list();
            assert!(server.requests <= most, "{blobs} blobs take {} requests", server.requests);
            assert!(server.sent <= blobs + twice, "{blobs} blobs: {} are sent", server.sent);
        }
    }

    #[test]
    fn much_is_listed_side_by_side_to_the_end() {
        let server = Server::with_blobs(200_000, "").list();
        let from = server.side_by_side.iter().position(|n| *n >= 16).unwrap();
        let fewer = server.side_by_side[from..].iter().rposition(|n| *n >= 16).unwrap();
        let ends = server.side_by_side.len() - from - fewer;
        assert!(from <= 2 && ends <= 20, "{from} requests before there are 16 at a time, {ends} after");
        assert!(server.requests <= 240, "{} requests", server.requests);
    }

    #[test]
    fn whatever_is_between_and_beside_digests_is_found_once() {
        let stems = ["", "sha256", "sha256:", "sha256:0", "sha256:9", "sha256:9~", "sha256:a", "sha256:f~", "sha512:1"];
        let ends = [" ", ":", "A", "Z", "`", "g", "~", "\u{7f}", "é", "\u{10ffff}", "/", "9a"];
        for (blobs, beginning) in
            [(0, ""), (20_000, ""), (20_000, "9"), (20_000, "af"), (20_000, "f"), (3000, "00000000000000000")]
        {
            let mut server = Server::with_blobs(blobs, beginning);
            for stem in stems {
                server.keys.extend(ends.map(|end| format!("blobs/{stem}{end}")));
            }
            server.list();
        }
        // More in a gap than a page has.
        let mut server = Server::with_blobs(20_000, "");
        server.keys.extend((0..2500).map(|n| format!("blobs/sha256:B{n:04}")));
        server.keys.extend((0..2500).map(|n| format!("blobs/sha256:x{n:04}")));
        server.list();
    }

    #[test]
    fn blobs_in_disorder_are_found_once() {
        // Half of them begin alike.
        let mut server = Server::with_blobs(10_000, "");
        server.keys.extend(Server::with_blobs(10_000, "37a").keys);
        assert!(server.list().requests < 80);
    }

    #[test]
    fn a_page_of_keys_that_were_not_asked_for_is_an_error() {
        let layout = Layout::plain(&"type=s3".parse().unwrap());
        let mut range = Range::whole("blobs/sha256:8", Guard::default());
        let all = Server::with_blobs(100, "").page(&Range::whole("", Guard::default()));
        assert_eq!(read(&all, &mut range, &layout).err().unwrap().kind(), Kind::Corrupt);
    }
}
