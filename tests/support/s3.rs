//! Buckets of the S3 server that tests share, written to by plain requests: it takes any signature.

use super::faults::{Fault, Proxy, When};
use super::{s3, unique};
use bytes::Bytes;
use cachedeck::model::location::Location;
use futures::StreamExt as _;
use std::fmt::Write as _;
use std::path::Path;

/// A bucket of its own.
pub struct Bucket {
    pub name: String,
    pub endpoint: String,
    client: reqwest::Client,
}

impl Bucket {
    /// Creates one.
    pub async fn new() -> Self {
        let bucket = Self { name: unique("bucket"), endpoint: s3(), client: reqwest::Client::new() };
        bucket.send(reqwest::Method::PUT, "", Bytes::new()).await;
        bucket
    }

    /// One that is there.
    pub fn at(endpoint: &str, name: &str) -> Self {
        Self { name: name.to_owned(), endpoint: endpoint.to_owned(), client: reqwest::Client::new() }
    }

    /// Where the bucket is, with credentials that are none.
    pub fn location(&self) -> Location {
        location(&self.endpoint, &self.name)
    }

    /// Keeps older versions from now on.
    pub async fn keep_versions(&self) {
        let body = "<VersioningConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
                    <Status>Enabled</Status></VersioningConfiguration>";
        self.send(reqwest::Method::PUT, "?versioning", body.into()).await;
    }

    /// The server, which tells whether it keeps versions in words that are not S3's, put right.
    pub fn mended(&self, versions: bool) -> Proxy {
        let status = if versions { "<Status>Enabled</Status>" } else { "" };
        let xml = format!(
            "<VersioningConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{status}</VersioningConfiguration>"
        );
        let proxy = Proxy::before(&self.endpoint);
        proxy.play(When::always().of("?versioning"), Fault::changed(move |_, answer| answer.with_body(xml.clone())));
        proxy
    }

    /// Writes an object.
    pub async fn put(&self, key: &str, bytes: impl Into<Bytes>) {
        self.send(reqwest::Method::PUT, &format!("/{}", encoded(key)), bytes.into()).await;
    }

    /// Writes many.
    pub async fn put_all(&self, objects: impl IntoIterator<Item = (String, Bytes)>) {
        let puts = objects.into_iter().map(|(key, bytes)| async move { self.put(&key, bytes).await });
        futures::stream::iter(puts).buffer_unordered(16).collect::<Vec<_>>().await;
    }

    /// Writes every file below `folder`, its path for a key, after `prefix`.
    pub async fn put_folder(&self, folder: &Path, prefix: &str) {
        let mut objects = Vec::new();
        let mut folders = vec![folder.to_owned()];
        while let Some(at) = folders.pop() {
            for entry in std::fs::read_dir(at).unwrap() {
                let path = entry.unwrap().path();
                match path.is_dir() {
                    true => folders.push(path),
                    false => {
                        let key = path.strip_prefix(folder).unwrap().to_str().unwrap();
                        objects.push((format!("{prefix}{key}"), Bytes::from(std::fs::read(&path).unwrap())));
                    }
                }
            }
        }
        self.put_all(objects).await;
    }

    /// Takes an object away, or hides it where versions are kept.
    pub async fn delete(&self, key: &str) {
        self.send(reqwest::Method::DELETE, &format!("/{}", encoded(key)), Bytes::new()).await;
    }

    /// Whether there is an object.
    pub async fn has(&self, key: &str) -> bool {
        let url = format!("{}/{}/{}", self.endpoint, self.name, encoded(key));
        self.client.head(&url).header("authorization", SIGNED).send().await.unwrap().status().is_success()
    }

    /// How many versions and markers there are of an object.
    pub async fn versions(&self, key: &str) -> (usize, usize) {
        let url = format!("{}/{}?versions&prefix={}", self.endpoint, self.name, encoded(key));
        let list = self.client.get(&url).header("authorization", SIGNED).send().await.unwrap().text().await.unwrap();
        (list.matches("<Version>").count(), list.matches("<DeleteMarker>").count())
    }

    /// Begins an upload in parts and leaves it so.
    pub async fn begin_upload(&self, key: &str) {
        self.send(reqwest::Method::POST, &format!("/{}?uploads", encoded(key)), Bytes::new()).await;
    }

    async fn send(&self, method: reqwest::Method, path: &str, body: Bytes) {
        let url = format!("{}/{}{path}", self.endpoint, self.name);
        let request = self.client.request(method, &url).header("authorization", SIGNED).body(body);
        let response = request.send().await.unwrap();
        assert!(response.status().is_success(), "{url}: {} {}", response.status(), response.text().await.unwrap());
    }
}

const SIGNED: &str = "AWS4-HMAC-SHA256 Credential=tests/20260101/us-east-1/s3/aws4_request, \
                      SignedHeaders=host;x-amz-date, Signature=0000";

/// A bucket on any server.
pub fn location(endpoint: &str, bucket: &str) -> Location {
    let options = [
        ("bucket", bucket),
        ("region", "us-east-1"),
        ("endpoint_url", endpoint),
        ("use_path_style", "true"),
        ("access_key_id", "tests"),
        ("secret_access_key", "only for tests"),
    ];
    options.iter().fold(Location::new("s3"), |location, (key, value)| location.with(key, *value))
}

/// A key as a URL has it.
fn encoded(key: &str) -> String {
    let mut text = String::new();
    for byte in key.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => text.push(byte.into()),
            other => write!(text, "%{other:02X}").unwrap(),
        }
    }
    text
}
