//! Containers of Azurite for tests. Filled by requests that are signed here, so that nothing of the program under test is
//! needed to check it.

use azure_core::auth::Secret;
use azure_core::hmac::hmac_sha256;
use futures::StreamExt as _;
use reqwest::{Method, StatusCode};
use std::collections::BTreeMap;
use std::path::Path;
use url::Url;
use url::form_urlencoded::byte_serialize;

/// Azurite's account, and the key that it is known to have.
pub const ACCOUNT: &str = "devstoreaccount1";
pub const KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

const VERSION: &str = "2022-11-02";

/// A container that no other test has.
pub struct Container {
    account: String,
    pub name: String,
}

impl Container {
    /// Makes it, with an object for each key.
    pub fn with(objects: BTreeMap<String, Vec<u8>>) -> Self {
        let container = Self { account: super::azure(), name: super::unique("test") };
        let made = container.send(vec![(Method::PUT, "?restype=container".to_owned(), Vec::new())]);
        assert_eq!(made, [StatusCode::CREATED]);
        let puts =
            objects.into_iter().map(|(key, bytes)| (Method::PUT, format!("/{}", encoded(&key)), bytes)).collect();
        let refused: Vec<StatusCode> = container.send(puts).into_iter().filter(|s| *s != StatusCode::CREATED).collect();
        assert_eq!(refused, Vec::<StatusCode>::new());
        container
    }

    /// With the files below `folder`, by their paths.
    pub fn of_files(folder: &Path) -> Self {
        let mut objects = BTreeMap::new();
        let mut folders = vec![folder.to_owned()];
        while let Some(next) = folders.pop() {
            for path in std::fs::read_dir(next).unwrap().map(|entry| entry.unwrap().path()) {
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let key = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
                    objects.insert(key, std::fs::read(path).unwrap());
                }
            }
        }
        Self::with(objects)
    }

    /// Where it is, without credentials.
    pub fn place(&self) -> String {
        format!("type=azblob,account_url={},account_name={ACCOUNT},container={}", self.account, self.name)
    }

    /// Where it is, with the account's key.
    pub fn location(&self) -> String {
        format!("{},secret_access_key={KEY}", self.place())
    }

    /// Begins an upload under `key` and leaves it so.
    pub fn begin(&self, key: &str, bytes: &[u8]) {
        let target = format!("/{}?comp=block&blockid=MQ%3D%3D", encoded(key));
        assert_eq!(self.send(vec![(Method::PUT, target, bytes.to_vec())]), [StatusCode::CREATED]);
    }

    /// Whether there is a container of this name.
    pub fn exists(&self) -> bool {
        self.send(vec![(Method::GET, "?restype=container".to_owned(), Vec::new())]) == [StatusCode::OK]
    }

    /// One that is there.
    pub fn called(name: &str) -> Self {
        Self { account: super::azure(), name: name.to_owned() }
    }

    /// Deletes an object, if it is there.
    pub fn delete(&self, key: &str) {
        self.send(vec![(Method::DELETE, format!("/{}", encoded(key)), Vec::new())]);
    }

    /// The one that nobody made.
    pub fn nowhere() -> Self {
        Self { account: super::azure(), name: super::unique("nowhere") }
    }

    /// A shared access signature for this container: a query. `permissions` are `r`, `l` or both.
    pub fn signature(&self, permissions: &str) -> String {
        let (expiry, resource) = ("2099-01-01T00:00:00Z", format!("/blob/{ACCOUNT}/{}", self.name));
        let signed =
            [permissions, "", expiry, &resource, "", "", "", VERSION, "c", "", "", "", "", "", "", ""].join("\n");
        let signature = hmac_sha256(&signed, &Secret::new(KEY)).unwrap();
        format!("sp={permissions}&se={expiry}&sv={VERSION}&sr=c&sig={}", encoded(&signature))
    }

    /// Sends requests to what follows the container's URL, eight at a time; their answers in order.
    fn send(&self, requests: Vec<(Method, String, Vec<u8>)>) -> Vec<StatusCode> {
        let base = format!("{}/{}", self.account, self.name);
        let work = async move {
            let client = reqwest::Client::new();
            let sent = requests.into_iter().map(|(method, target, bytes)| {
                let request = signed(method, Url::parse(&format!("{base}{target}")).unwrap(), bytes);
                let answer = client.execute(request);
                async { answer.await.unwrap().status() }
            });
            futures::stream::iter(sent).buffered(8).collect().await
        };
        // On a thread and runtime of its own, for a test may already be inside of one.
        let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        std::thread::spawn(move || runtime().block_on(work)).join().unwrap()
    }
}

/// A request under the account's key, as Azure's "Authorize with Shared Key" has it.
fn signed(method: Method, url: Url, bytes: Vec<u8>) -> reqwest::Request {
    let now = jiff::Timestamp::now();
    let date = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&now).unwrap();
    let length = if bytes.is_empty() { String::new() } else { bytes.len().to_string() };
    let headers = [("x-ms-blob-type", "BlockBlob"), ("x-ms-date", date.as_str()), ("x-ms-version", VERSION)];
    let mut text = format!("{method}\n\n\n{length}\n\n\n\n\n\n\n\n\n");
    headers.iter().for_each(|(name, value)| text.push_str(&format!("{name}:{value}\n")));
    text.push_str(&format!("/{ACCOUNT}{}", url.path()));
    let query: BTreeMap<_, _> = url.query_pairs().into_owned().collect();
    query.iter().for_each(|(name, value)| text.push_str(&format!("\n{name}:{value}")));
    let signature = hmac_sha256(&text, &Secret::new(KEY)).unwrap();
    let mut request = reqwest::Request::new(method, url);
    for (name, value) in headers {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    request.headers_mut().insert("authorization", format!("SharedKey {ACCOUNT}:{signature}").parse().unwrap());
    // Said even where there is none to send: Azurite insists.
    request.headers_mut().insert("content-length", bytes.len().into());
    *request.body_mut() = Some(bytes.into());
    request
}

fn encoded(text: &str) -> String {
    byte_serialize(text.as_bytes()).map(|piece| if piece == "+" { "%20" } else { piece }).collect()
}
