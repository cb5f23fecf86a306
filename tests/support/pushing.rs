//! Pushes to a registry, as a builder does.

use cachedeck::model::digest::Digest;
use futures::StreamExt as _;
use reqwest::header::{CONTENT_TYPE, LOCATION};
use serde_json::Value;
use std::collections::BTreeMap;
use std::future::Future;
use std::path::{Path, PathBuf};

/// A repository to push to.
#[derive(Clone)]
pub struct Repository {
    client: reqwest::Client,
    /// `http://127.0.0.1:PORT`
    server: String,
    /// Its name.
    pub name: String,
    login: Option<(String, String)>,
}

/// Runs `work` to its end, in tests with and without a runtime.
pub fn wait<F: Future<Output: Send>>(work: impl FnOnce() -> F + Send) -> F::Output {
    std::thread::scope(|scope| {
        let run = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work());
        scope.spawn(run).join().unwrap()
    })
}

impl Repository {
    /// The repository `name` of the registry at `server`.
    pub fn new(server: &str, name: &str) -> Self {
        Self { client: reqwest::Client::new(), server: server.to_owned(), name: name.to_owned(), login: None }
    }

    /// With a user and a password.
    pub fn with_login(self, user: &str, password: &str) -> Self {
        Self { login: Some((user.to_owned(), password.to_owned())), ..self }
    }

    fn request(&self, method: &str, url: &str) -> reqwest::RequestBuilder {
        let url = if url.starts_with("http") { url.to_owned() } else { format!("{}{url}", self.server) };
        let request = self.client.request(method.parse().unwrap(), url);
        match &self.login {
            Some((user, password)) => request.basic_auth(user, Some(password)),
            None => request,
        }
    }

    /// Pushes a blob.
    pub async fn blob(&self, bytes: impl Into<Vec<u8>>) -> Digest {
        let bytes = bytes.into();
        let digest = Digest::of(&bytes);
        let begun = self.request("POST", &format!("/v2/{}/blobs/uploads/", self.name)).send().await.unwrap();
        assert_eq!(begun.status(), 202);
        let upload = begun.headers()[LOCATION].to_str().unwrap();
        let end = format!("{upload}{}digest={digest}", if upload.contains('?') { '&' } else { '?' });
        let ended = self.request("PUT", &end).body(bytes).send().await.unwrap();
        assert_eq!(ended.status(), 201);
        digest
    }

    /// Pushes a manifest under a tag or its digest.
    pub async fn manifest(&self, name: &str, bytes: impl Into<Vec<u8>>) -> Digest {
        let bytes = bytes.into();
        let digest = Digest::of(&bytes);
        let value: Value = serde_json::from_slice(&bytes).unwrap();
        let usual = if value.get("config").is_some() { "manifest" } else { "index" };
        let usual = format!("application/vnd.oci.image.{usual}.v1+json");
        let media_type = value["mediaType"].as_str().unwrap_or(&usual);
        let put = self.request("PUT", &format!("/v2/{}/manifests/{name}", self.name));
        let answer = put.header(CONTENT_TYPE, media_type).body(bytes).send().await.unwrap();
        let status = answer.status();
        assert_eq!(status, 201, "{}", answer.text().await.unwrap());
        digest
    }

    /// Takes a manifest away, with all its tags.
    pub async fn delete(&self, digest: &Digest) {
        let deleted = self.request("DELETE", &format!("/v2/{}/manifests/{digest}", self.name)).send().await.unwrap();
        assert_eq!(deleted.status(), 202);
    }

    /// Takes a blob away.
    pub async fn delete_blob(&self, digest: &Digest) {
        let deleted = self.request("DELETE", &format!("/v2/{}/blobs/{digest}", self.name)).send().await.unwrap();
        assert_eq!(deleted.status(), 202);
    }

    /// Makes the repository be there, with nothing in it.
    pub async fn make_empty(&self) {
        let empty = self.manifest("empty", r#"{"schemaVersion":2,"manifests":[]}"#).await;
        self.delete(&empty).await;
    }

    /// Pushes blobs, many at a time.
    pub async fn blobs(&self, all: impl IntoIterator<Item = Vec<u8>>) {
        futures::stream::iter(all)
            .for_each_concurrent(16, |bytes| async {
                self.blob(bytes).await;
            })
            .await;
    }

    /// Pushes all versions of the layout in `folder`: those with a tag under it, and `more` by their digests.
    pub async fn layout(&self, folder: PathBuf, more: &[Digest]) {
        let index: Value = serde_json::from_slice(&std::fs::read(folder.join("index.json")).unwrap()).unwrap();
        let mut roots: Vec<(String, Digest)> = more.iter().map(|digest| (digest.to_string(), *digest)).collect();
        for entry in index["manifests"].as_array().unwrap() {
            let digest: Digest = entry["digest"].as_str().unwrap().parse().unwrap();
            let name = entry["annotations"]["org.opencontainers.image.ref.name"].as_str();
            // An image's name ends with its tag.
            let tag = name.map(|name| name.rsplit_once(':').map_or(name, |(_, tag)| tag).to_owned());
            roots.push((tag.unwrap_or_else(|| digest.to_string()), digest));
        }
        let mut pushed = BTreeMap::new();
        for (name, digest) in roots {
            self.tree(&folder, &name, digest, &mut pushed).await;
        }
    }

    async fn tree(&self, folder: &Path, name: &str, top: Digest, pushed: &mut BTreeMap<Digest, ()>) {
        let read = |digest: &Digest| std::fs::read(folder.join("blobs/sha256").join(digest.hex())).unwrap();
        let (mut manifests, mut stack) = (vec![(name.to_owned(), top)], vec![top]);
        while let Some(digest) = stack.pop() {
            let value: Value = serde_json::from_slice(&read(&digest)).unwrap();
            let lists = ["layers", "manifests"].iter().filter_map(|list| value[list].as_array()).flatten();
            let below: Vec<&Value> = lists.chain(value.get("config")).collect();
            for entry in below {
                let digest: Digest = entry["digest"].as_str().unwrap().parse().unwrap();
                let media_type = entry["mediaType"].as_str().unwrap_or_default();
                if media_type.contains(".manifest.") || media_type.contains(".index.") {
                    manifests.push((digest.to_string(), digest));
                    stack.push(digest);
                } else if pushed.insert(digest, ()).is_none() {
                    self.blob(read(&digest)).await;
                }
            }
        }
        // Those that others lead to go first.
        for (name, digest) in manifests.into_iter().rev() {
            self.manifest(&name, read(&digest)).await;
        }
    }
}
