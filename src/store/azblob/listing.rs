//! Lists of a container, page by page, as the List Blobs request of version 2022-11-02 gives them. Read leniently: one odd
//! entry must not hide the others.

use super::account::{Container, Failure, time, whole};
use crate::error::{Error, Result};
use azure_core::Method;
use jiff::Timestamp;
use serde::Deserialize;
use std::collections::HashSet;

/// The longest page that is read; one of 5,000 entries has some 5 MiB.
const PAGE_LIMIT: u64 = 64 << 20;

/// Pages without an entry that may follow each other: Azure gives such where much was deleted.
const EMPTY_PAGES: usize = 1000;

/// Something in a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) key: String,
    /// Nothing was ever committed: an upload that goes on, or never finished.
    pub(super) uncommitted: bool,
    pub(super) size: u64,
    pub(super) etag: Option<String>,
    pub(super) modified: Option<Timestamp>,
    /// Of an older version.
    pub(super) version: Option<String>,
    pub(super) is_current: bool,
    pub(super) deleted: bool,
    /// Days that a deleted one is still kept.
    pub(super) days_left: Option<u64>,
}

/// The pages of one list.
pub(super) struct Pages<'a> {
    container: &'a Container,
    prefix: String,
    include: &'a str,
    delimiter: &'a str,
    next: Option<String>,
    seen: HashSet<String>,
    empty: usize,
    folders: Vec<String>,
}

impl<'a> Pages<'a> {
    /// Of all whose key begins with `prefix`; `include` is Azure's word for what more to list.
    pub(super) fn new(container: &'a Container, prefix: impl Into<String>, include: &'a str) -> Self {
        let next = Some(String::new());
        Self {
            container,
            prefix: prefix.into(),
            include,
            delimiter: "",
            next,
            seen: HashSet::new(),
            empty: 0,
            folders: Vec::new(),
        }
    }

    /// The same, leaving out what has `delimiter` after the prefix.
    pub(super) fn without(self, delimiter: &'a str) -> Self {
        Self { delimiter, ..self }
    }

    /// Whether there are more pages.
    pub(super) fn has_more(&self) -> bool {
        self.next.is_some()
    }

    /// Folders that the page before left out, where there is a delimiter.
    pub(super) fn folders(&mut self) -> Vec<String> {
        std::mem::take(&mut self.folders)
    }

    /// The next page, directories left out; `None` after the last.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<Entry>>> {
        let what = format!("listing {:?}", self.prefix);
        self.ask().await?.map_err(|failure| self.container.classify(&what, failure))
    }

    /// As [`Pages::next`], with what Azure refuses kept apart.
    pub(super) async fn ask(&mut self) -> Result<std::result::Result<Option<Vec<Entry>>, Failure>> {
        let Some(marker) = self.next.clone() else { return Ok(Ok(None)) };
        let mut query = vec![("restype", "container"), ("comp", "list")];
        let more = [
            ("prefix", self.prefix.as_str()),
            ("include", self.include),
            ("delimiter", self.delimiter),
            ("marker", &marker),
        ];
        query.extend(more.into_iter().filter(|(_, value)| !value.is_empty()));
        let answer = match self.container.ask(Method::Get, self.container.url(&query)).await {
            Ok(answer) => answer,
            Err(failure) => return Ok(Err(failure)),
        };
        let bytes = whole(answer, PAGE_LIMIT).await.map_err(|e| Error::io("reading a list", e))?;
        let page = bytes.as_deref().and_then(|bytes| azure_core::xml::read_xml::<Page>(bytes).ok());
        // The parser's own words repeat the whole page.
        let page =
            page.ok_or_else(|| Error::corrupt(format!("listing {:?}: the answer is no list of blobs", self.prefix)))?;
        let items = page.blobs.unwrap_or_default().items;
        self.folders.extend(items.iter().filter_map(Item::folder));
        let entries: Vec<Entry> = items.into_iter().filter_map(Item::entry).collect();
        self.next = page.next_marker.filter(|marker| !marker.is_empty());
        self.empty = if entries.is_empty() { self.empty + 1 } else { 0 };
        let again = self.next.as_ref().is_some_and(|marker| !self.seen.insert(marker.clone()));
        if again || self.empty > EMPTY_PAGES {
            let why = if again { "the pages lead in a circle" } else { "page after page is empty" };
            return Err(Error::corrupt(format!("listing {:?}: {why}", self.prefix)));
        }
        Ok(Ok(Some(entries)))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Page {
    blobs: Option<Items>,
    next_marker: Option<String>,
}

#[derive(Default, Deserialize)]
struct Items {
    #[serde(rename = "$value", default)]
    items: Vec<Item>,
}

#[derive(Deserialize)]
enum Item {
    Blob(Box<Blob>),
    /// What is left out for its delimiter.
    BlobPrefix(Folder),
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Folder {
    name: Option<Name>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Blob {
    name: Name,
    #[serde(default)]
    properties: Properties,
    version_id: Option<String>,
    is_current_version: Option<String>,
    deleted: Option<String>,
}

#[derive(Deserialize)]
struct Name {
    /// Whether it is written as in a URL, for XML could not hold it.
    #[serde(rename = "@Encoded")]
    encoded: Option<String>,
    #[serde(rename = "$text", default)]
    text: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Properties {
    #[serde(rename = "Content-Length")]
    content_length: Option<String>,
    #[serde(rename = "Content-Type")]
    content_type: Option<String>,
    #[serde(rename = "Last-Modified")]
    last_modified: Option<String>,
    etag: Option<String>,
    /// `directory` in accounts with a hierarchical namespace.
    resource_type: Option<String>,
    remaining_retention_days: Option<String>,
}

impl Name {
    fn plain(&self) -> String {
        if self.encoded.as_deref() == Some("true") { decoded(&self.text) } else { self.text.clone() }
    }
}

impl Item {
    fn folder(&self) -> Option<String> {
        match self {
            Item::Blob(_) => None,
            Item::BlobPrefix(folder) => folder.name.as_ref().map(Name::plain),
        }
    }

    fn entry(self) -> Option<Entry> {
        let Item::Blob(blob) = self else { return None };
        let Blob { name, properties, version_id, is_current_version, deleted } = *blob;
        if properties.resource_type.as_deref() == Some("directory") {
            return None;
        }
        let is = |flag: Option<String>| flag.as_deref() == Some("true");
        let etag = properties.etag.filter(|etag| !etag.is_empty());
        let key = name.plain();
        let size = properties.content_length.and_then(|length| length.parse().ok()).unwrap_or_default();
        Some(Entry {
            key,
            // Azure leaves out the ETag, too, of what was never committed; Azurite only the type.
            uncommitted: etag.is_none() || size == 0 && properties.content_type.is_none(),
            size,
            etag,
            modified: properties.last_modified.as_deref().and_then(time),
            version: version_id.filter(|version| !version.is_empty()),
            is_current: is(is_current_version),
            deleted: is(deleted),
            days_left: properties.remaining_retention_days.and_then(|days| days.parse().ok()),
        })
    }
}

fn decoded(text: &str) -> String {
    // A plus stands for itself here, unlike in a form.
    let pair = text.replace('+', "%2B");
    url::form_urlencoded::parse(pair.as_bytes()).map(|(name, _)| name.into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(blobs: &str) -> Vec<Entry> {
        let page = format!(
            "\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?><EnumerationResults><Blobs>{blobs}</Blobs><NextMarker/></EnumerationResults>"
        );
        let page: Page = azure_core::xml::read_xml(page.as_bytes()).unwrap();
        assert!(page.next_marker.unwrap_or_default().is_empty());
        page.blobs.unwrap_or_default().items.into_iter().filter_map(Item::entry).collect()
    }

    #[test]
    fn entries_are_read_whatever_they_lack() {
        assert_eq!(entries(""), []);
        let found = entries(
            "<Blob><Name>a</Name><Properties><Last-Modified>Thu, 01 Jul 2021 10:44:59 GMT</Last-Modified><Etag>0x8D</Etag>\
             <Content-Length>8</Content-Length><Content-MD5 /></Properties><OrMetadata /></Blob>\
             <BlobPrefix><Name>sha256:</Name></BlobPrefix>\
             <Blob><Name>b</Name><Properties><Content-Length>0</Content-Length><BlobType>BlockBlob</BlobType></Properties></Blob>\
             <Blob><Name>dir</Name><Properties><Etag>0x1</Etag><ResourceType>directory</ResourceType></Properties></Blob>\
             <Blob><Name Encoded=\"true\">c%EF%BF%BE+d</Name><Deleted>true</Deleted><VersionId>2021-07-01</VersionId>\
             <Properties><Etag>0x2</Etag><Content-Type /><RemainingRetentionDays>6</RemainingRetentionDays></Properties></Blob>",
        );
        let modified = "2021-07-01T10:44:59Z".parse().ok();
        let whole = Entry { key: "a".into(), size: 8, etag: Some("0x8D".into()), modified, ..Entry::default() };
        let upload = Entry { key: "b".into(), uncommitted: true, ..Entry::default() };
        let old = Entry {
            key: "c\u{fffe}+d".into(),
            etag: Some("0x2".into()),
            version: Some("2021-07-01".into()),
            deleted: true,
            days_left: Some(6),
            ..Entry::default()
        };
        assert_eq!(found, [whole, upload, old]);
    }
}
