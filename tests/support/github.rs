//! A stand-in for GitHub's caches: the REST API, the cache service in both versions, and, at an origin of its own, the storage
//! that signed URLs lead to. It keeps everything in memory, checks tokens, and takes exports of a real BuildKit.
//!
//! What it answers follows GitHub's documentation of the REST API, and for the rest tonistiigi/go-actions-cache, the client
//! in BuildKit. Storage is as much of Azure's block blobs as that client uses.

#![allow(dead_code)]

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use cachedeck::model::location::Location;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

/// The repository.
pub const REPOSITORY: &str = "acme/app";
/// The personal token that the REST API wants.
pub const TOKEN: &str = "ghp_onlyForTests0123456789";
/// What BuildKit's client has as the version of every entry.
pub const VERSION: &str = "693bb7016429d80366022f036f84856888c9f13e00145f5f6f4dce303a38d6f2";
/// What signs URLs.
const SIGNATURE: &str = "c2lnbmVkLWJ5LXRlc3Rz";

/// A request as the stand-in saw it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// `api` or `storage`.
    pub origin: &'static str,
    pub method: Method,
    pub path: String,
    pub query: String,
    /// Whether anything in it authenticates, beside a signed URL.
    pub credentials: bool,
}

/// Answers in the stand-in's place, for tests of faults.
pub type Intercept = Box<dyn FnMut(&Seen, &mut Contents) -> Option<Response> + Send>;

/// An entry.
#[derive(Clone, Debug)]
pub struct Entry {
    pub id: u64,
    pub git_ref: String,
    pub key: String,
    pub version: String,
    pub created: Timestamp,
    pub last_used: Timestamp,
    pub content: Bytes,
    /// Bytes it claims to have.
    pub size: u64,
}

/// An upload that is not finished.
#[derive(Debug, Default)]
struct Upload {
    git_ref: String,
    key: String,
    version: String,
    blocks: BTreeMap<String, Bytes>,
    content: Option<Vec<u8>>,
}

/// What is in the cache.
#[derive(Default)]
pub struct Contents {
    pub entries: Vec<Entry>,
    pub quota_gb: Option<u64>,
    pub retention_days: Option<u64>,
    /// Requests left of 5000.
    pub remaining: u64,
    uploads: BTreeMap<u64, Upload>,
    last: u64,
    seen: Vec<Seen>,
}

impl Contents {
    /// Saves an entry a second after the one before.
    pub fn save(&mut self, git_ref: &str, key: &str, version: &str, content: impl Into<Bytes>) -> u64 {
        let content = content.into();
        self.last += 1;
        let newest = self.entries.iter().map(|e| e.created).max();
        let created = newest.unwrap_or("2026-11-14T08:00:00Z".parse().unwrap()) + SignedDuration::from_secs(1);
        self.entries.push(Entry {
            id: self.last,
            git_ref: git_ref.to_owned(),
            key: key.to_owned(),
            version: version.to_owned(),
            created,
            last_used: created,
            size: content.len() as u64,
            content,
        });
        self.last
    }

    /// Reserves a key, as a run does that is about to save something, or breaks off before it has.
    pub fn reserve(&mut self, git_ref: &str, key: &str) -> u64 {
        self.last += 1;
        let (git_ref, key, version) = (git_ref.to_owned(), key.to_owned(), VERSION.to_owned());
        self.uploads.insert(self.last, Upload { git_ref, key, version, ..Upload::default() });
        self.last
    }

    /// Keys that are reserved and not finished.
    pub fn reserved(&self) -> Vec<String> {
        self.uploads.values().map(|upload| upload.key.clone()).collect()
    }

    /// Forgets what is reserved and not finished, as GitHub does some day.
    pub fn forget_reserved(&mut self) {
        self.uploads.clear();
    }

    /// The bytes under a key, of whatever ref.
    pub fn content(&self, key: &str) -> Option<Bytes> {
        self.entries.iter().find(|entry| entry.key == key).map(|entry| entry.content.clone())
    }

    fn has(&self, git_ref: &str, key: &str) -> bool {
        self.entries.iter().any(|e| e.git_ref == git_ref && e.key == key)
            || self.uploads.values().any(|u| u.git_ref == git_ref && u.key == key)
    }

    /// What a run finds: ref by ref, the very key first, then the newest that begins like one of them.
    fn find(&self, refs: &[String], keys: &[String], version: &str) -> Option<&Entry> {
        for git_ref in refs {
            let mine = || self.entries.iter().filter(move |e| e.git_ref == *git_ref && e.version == version);
            if let Some(exact) = keys.first().and_then(|key| mine().find(|e| e.key == *key)) {
                return Some(exact);
            }
            for key in keys {
                if let Some(newest) = mine().filter(|e| e.key.starts_with(key)).max_by_key(|e| (e.created, e.id)) {
                    return Some(newest);
                }
            }
        }
        None
    }
}

struct Shared {
    contents: Mutex<Contents>,
    intercept: Mutex<Option<Intercept>>,
    /// What signed URLs begin with.
    storage: Mutex<String>,
}

/// The stand-in, as long as this lives.
pub struct Github {
    /// Root of the REST API and the cache service.
    pub url: String,
    /// Root of the storage.
    pub storage: String,
    shared: Arc<Shared>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
}

impl Drop for Github {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
    }
}

impl Github {
    /// Starts it on free ports.
    pub fn start() -> Self {
        Self::start_on("127.0.0.1:0", "127.0.0.1:0")
    }

    /// Starts it on these addresses.
    pub fn start_on(api: &str, storage: &str) -> Self {
        let listen = |address: &str| {
            let listener = TcpListener::bind(address).unwrap();
            listener.set_nonblocking(true).unwrap();
            let url = format!("http://{}", listener.local_addr().unwrap());
            (listener, url)
        };
        let ((api, url), (blobs, storage)) = (listen(api), listen(storage));
        let contents = Contents { remaining: 5000, quota_gb: Some(10), retention_days: Some(7), ..Contents::default() };
        let shared = Arc::new(Shared {
            contents: Mutex::new(contents),
            intercept: Mutex::new(None),
            storage: Mutex::new(storage.clone()),
        });
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let (for_api, for_storage) = (shared.clone(), shared.clone());
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let api = axum::serve(
                    tokio::net::TcpListener::from_std(api).unwrap(),
                    Router::new().fallback(serve_api).with_state(for_api),
                );
                let storage = axum::serve(
                    tokio::net::TcpListener::from_std(blobs).unwrap(),
                    Router::new().fallback(serve_storage).with_state(for_storage),
                );
                tokio::select! {
                    _ = api.into_future() => {}
                    _ = storage.into_future() => {}
                    _ = stopped => {}
                }
            });
        });
        Self { url, storage, shared, stop: Some(stop) }
    }

    /// What is in it, to be looked at and changed.
    pub fn contents(&self) -> MutexGuard<'_, Contents> {
        self.shared.contents.lock().unwrap()
    }

    /// Saves an entry as BuildKit does.
    pub fn save(&self, git_ref: &str, key: &str, content: impl Into<Bytes>) -> u64 {
        self.contents().save(git_ref, key, VERSION, content)
    }

    /// Takes over what the fixture `gha-cache` holds.
    pub fn fill(&self, folder: &Path) {
        let list: Value = serde_json::from_slice(&std::fs::read(folder.join("caches.json")).unwrap()).unwrap();
        let mut contents = self.contents();
        for cache in list["actions_caches"].as_array().unwrap() {
            let text = |field: &str| cache[field].as_str().unwrap().to_owned();
            let id = cache["id"].as_u64().unwrap();
            let content: Bytes = std::fs::read(folder.join(id.to_string())).unwrap().into();
            contents.last = contents.last.max(id);
            contents.entries.push(Entry {
                id,
                git_ref: text("ref"),
                key: text("key"),
                version: text("version"),
                created: text("created_at").parse().unwrap(),
                last_used: text("last_accessed_at").parse().unwrap(),
                size: cache["size_in_bytes"].as_u64().unwrap(),
                content,
            });
        }
    }

    /// Lets `intercept` see every request first.
    pub fn intercept(&self, intercept: impl FnMut(&Seen, &mut Contents) -> Option<Response> + Send + 'static) {
        *self.shared.intercept.lock().unwrap() = Some(Box::new(intercept));
    }

    /// Lets signed URLs lead to `url`, which leads on to the storage.
    pub fn sign_for(&self, url: &str) {
        url.clone_into(&mut self.shared.storage.lock().unwrap());
    }

    /// All requests so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.contents().seen.clone()
    }

    /// The location for REST.
    pub fn rest(&self) -> Location {
        let location = Location::new("gha").with("repo", REPOSITORY);
        location.with("api_url", &self.url).with("ghtoken", TOKEN)
    }

    /// The location in a run that may write `refs/heads/main`, where the service has `version`.
    pub fn run(&self, version: u8) -> Location {
        let key = if version == 2 { "url_v2" } else { "url" };
        let location = Location::new("gha").with(key, &self.url).with("version", version.to_string());
        location.with("token", run_token(&[("refs/heads/main", 3)]))
    }

    /// The location in a run that has a token for REST, too.
    pub fn both(&self, version: u8) -> Location {
        let run = self.run(version);
        run.with("repo", REPOSITORY).with("api_url", &self.url).with("ghtoken", TOKEN)
    }
}

/// A workflow run's token: refs with what it may do there, 1 to read, 2 to write.
pub fn run_token(scopes: &[(&str, u64)]) -> String {
    let ac: Vec<Value> = scopes.iter().map(|(r, p)| json!({ "Scope": r, "Permission": p })).collect();
    let claims =
        json!({ "ac": Value::Array(ac).to_string(), "nbf": 1_600_000_000, "exp": 4_000_000_000u64, "iss": "tests" });
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!(
        "{}.{}.{}",
        part(&json!({ "alg": "RS256", "typ": "JWT" })),
        part(&claims),
        URL_SAFE_NO_PAD.encode("signature")
    )
}

/// The refs of a run's token that have all bits of `permission`.
fn granted(headers: &HeaderMap, permission: u64) -> Option<Vec<String>> {
    let token = headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")?;
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims: Value = serde_json::from_slice(&claims).ok()?;
    let scopes: Vec<Value> = serde_json::from_str(claims["ac"].as_str()?).ok()?;
    let may = scopes.iter().filter(|s| s["Permission"].as_u64().is_some_and(|p| p & permission == permission));
    Some(may.filter_map(|s| Some(s["Scope"].as_str()?.to_owned())).collect())
}

/// Notes a request, and lets the test answer it first.
async fn see(shared: &Shared, origin: &'static str, request: Request) -> Result<(Seen, HeaderMap, Bytes), Response> {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 30).await.map_err(|_| StatusCode::BAD_REQUEST.into_response())?;
    let credentials =
        ["authorization", "cookie", "x-github-token"].iter().any(|name| parts.headers.contains_key(*name));
    let seen = Seen {
        origin,
        method: parts.method,
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        credentials,
    };
    let mut contents = shared.contents.lock().unwrap();
    contents.seen.push(seen.clone());
    if let Some(intercept) = shared.intercept.lock().unwrap().as_mut()
        && let Some(answer) = intercept(&seen, &mut contents)
    {
        return Err(answer);
    }
    Ok((seen, parts.headers, body))
}

async fn serve_api(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (seen, headers, body) = match see(&shared, "api", request).await {
        Ok(seen) => seen,
        Err(answer) => return answer,
    };
    let storage = shared.storage.lock().unwrap().clone();
    let mut contents = shared.contents.lock().unwrap();
    if let Some(call) = seen.path.strip_prefix("/twirp/github.actions.results.api.v1.CacheService/") {
        return twirp(&mut contents, &storage, (call, &headers), &body);
    }
    if let Some(call) = seen.path.strip_prefix("/_apis/artifactcache/") {
        return v1(&mut contents, &storage, (call, &seen, &headers), &body);
    }
    rest(&mut contents, &seen, &headers)
}

fn parameters(query: &str) -> BTreeMap<String, String> {
    url::form_urlencoded::parse(query.as_bytes()).into_owned().collect()
}

fn answer(status: u16, value: Value) -> Response {
    let headers = [(header::CONTENT_TYPE, "application/json")];
    (StatusCode::from_u16(status).unwrap(), headers, value.to_string()).into_response()
}

fn rest(contents: &mut Contents, seen: &Seen, headers: &HeaderMap) -> Response {
    let message = |status: u16, message: &str| {
        answer(
            status,
            json!({ "message": message, "documentation_url": "https://docs.github.com/rest", "status": status.to_string() }),
        )
    };
    let authorized = headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok());
    let mut response = match authorized {
        None => message(404, "Not Found"),
        Some(value) if value != format!("Bearer {TOKEN}") => message(401, "Bad credentials"),
        Some(_) if contents.remaining == 0 => message(403, "API rate limit exceeded for user ID 1."),
        Some(_) => match seen.path.strip_prefix(&format!("/repos/{REPOSITORY}/actions/")) {
            Some("caches") if seen.method == Method::GET => list(contents, &parameters(&seen.query)),
            Some("cache/usage") => answer(
                200,
                json!({
                    "full_name": REPOSITORY,
                    "active_caches_size_in_bytes": contents.entries.iter().map(|e| e.size).sum::<u64>(),
                    "active_caches_count": contents.entries.len(),
                }),
            ),
            Some("cache/storage-limit") => match contents.quota_gb {
                Some(gb) => answer(200, json!({ "max_cache_size_gb": gb })),
                None => message(403, "Resource not accessible by personal access token"),
            },
            Some("cache/retention-limit") => match contents.retention_days {
                Some(days) => answer(200, json!({ "max_cache_retention_days": days })),
                None => message(403, "Resource not accessible by personal access token"),
            },
            Some(path) if seen.method == Method::DELETE => {
                let id = path.strip_prefix("caches/").and_then(|id| id.parse::<u64>().ok());
                match contents.entries.iter().position(|e| Some(e.id) == id) {
                    Some(at) => {
                        contents.entries.remove(at);
                        StatusCode::NO_CONTENT.into_response()
                    }
                    None => message(404, "Not Found"),
                }
            }
            _ => message(404, "Not Found"),
        },
    };
    contents.remaining = contents.remaining.saturating_sub(1);
    let headers = response.headers_mut();
    headers.insert("x-ratelimit-limit", 5000.into());
    headers.insert("x-ratelimit-remaining", contents.remaining.into());
    headers.insert("x-ratelimit-reset", 4_000_000_000u64.into());
    headers.insert("x-ratelimit-resource", "core".parse().unwrap());
    response
}

fn list(contents: &Contents, query: &BTreeMap<String, String>) -> Response {
    let get = |name: &str| query.get(name).map(String::as_str);
    let mut found: Vec<&Entry> = contents
        .entries
        .iter()
        .filter(|e| get("key").is_none_or(|key| e.key.starts_with(key)))
        .filter(|e| get("ref").is_none_or(|r| e.git_ref == r))
        .collect();
    match get("sort") {
        Some("created_at") => found.sort_by_key(|e| (e.created, e.id)),
        Some("size_in_bytes") => found.sort_by_key(|e| (e.size, e.id)),
        _ => found.sort_by_key(|e| (e.last_used, e.id)),
    }
    if get("direction") != Some("asc") {
        found.reverse();
    }
    let number = |name: &str, usual: usize| get(name).and_then(|n| n.parse().ok()).unwrap_or(usual);
    let (size, page) = (number("per_page", 30).clamp(1, 100), number("page", 1).max(1));
    let shown: Vec<Value> = found
        .iter()
        .skip((page - 1) * size)
        .take(size)
        .map(|e| {
            json!({
                "id": e.id,
                "ref": e.git_ref,
                "key": e.key,
                "version": e.version,
                "last_accessed_at": e.last_used.to_string(),
                "created_at": e.created.to_string(),
                "size_in_bytes": e.size,
            })
        })
        .collect();
    answer(200, json!({ "total_count": found.len(), "actions_caches": shown }))
}

fn signed(storage: &str, container: &str, id: u64, permissions: &str) -> String {
    format!(
        "{storage}/{container}/{id}?se=2036-01-01T00%3A00%3A00Z&sig={SIGNATURE}&sp={permissions}&sr=b&sv=2025-01-05"
    )
}

fn twirp(contents: &mut Contents, storage: &str, (call, headers): (&str, &HeaderMap), body: &[u8]) -> Response {
    let fault = |status, code: &str| answer(status, json!({ "code": code, "msg": code.replace('_', " ") }));
    let Some(readable) = granted(headers, 1) else { return fault(401, "unauthenticated") };
    let writable = granted(headers, 2).unwrap_or_default().pop();
    let Ok(body) = serde_json::from_slice::<Value>(body) else { return fault(400, "malformed") };
    let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
    match call {
        "GetCacheEntryDownloadURL" => {
            let restore = body["restore_keys"].as_array().cloned().unwrap_or_default();
            let mut keys = vec![text("key")];
            keys.extend(restore.iter().filter_map(|key| Some(key.as_str()?.to_owned())));
            match contents.find(&readable, &keys, &text("version")) {
                Some(entry) => {
                    let url = signed(storage, "actions-cache", entry.id, "r");
                    answer(200, json!({ "ok": true, "signed_download_url": url, "matched_key": entry.key }))
                }
                None => answer(200, json!({ "ok": false, "signed_download_url": "", "matched_key": "" })),
            }
        }
        "CreateCacheEntry" => {
            let Some(git_ref) = writable else { return fault(403, "permission_denied") };
            if !is_key(&text("key")) {
                return fault(400, "invalid_argument");
            }
            if contents.has(&git_ref, &text("key")) {
                return fault(409, "already_exists");
            }
            let id = reserve(contents, git_ref, text("key"), text("version"));
            let url = signed(storage, "actions-cache-upload", id, "cw");
            answer(200, json!({ "ok": true, "signed_upload_url": url }))
        }
        "FinalizeCacheEntryUpload" => {
            // Its numbers come as text, as protobuf has it, or as they are, as BuildKit sends them.
            let size = body["size_bytes"].as_u64().or(text("size_bytes").parse().ok());
            let key = text("key");
            let open = |u: &Upload| Some(&u.git_ref) == writable.as_ref() && u.key == key;
            let id = contents.uploads.iter().find(|(_, u)| open(u)).map(|(id, _)| *id);
            match id.map(|id| finish(contents, id, size)) {
                Some(Ok(entry)) => answer(200, json!({ "ok": true, "entry_id": entry.to_string() })),
                Some(Err(())) => fault(400, "invalid_argument"),
                None => fault(404, "not_found"),
            }
        }
        _ => fault(404, "bad_route"),
    }
}

/// Whether GitHub takes such a key.
fn is_key(key: &str) -> bool {
    (1..=512).contains(&key.len()) && !key.contains(',')
}

fn reserve(contents: &mut Contents, git_ref: String, key: String, version: String) -> u64 {
    contents.last += 1;
    contents.uploads.insert(contents.last, Upload { git_ref, key, version, ..Upload::default() });
    contents.last
}

fn finish(contents: &mut Contents, id: u64, size: Option<u64>) -> Result<u64, ()> {
    let sent = contents.uploads.get(&id).ok_or(())?.content.as_ref().map_or(0, Vec::len);
    if size != Some(sent as u64) {
        return Err(());
    }
    let upload = contents.uploads.remove(&id).ok_or(())?;
    let content = upload.content.unwrap_or_default();
    Ok(contents.save(&upload.git_ref, &upload.key, &upload.version, content))
}

fn v1(
    contents: &mut Contents,
    storage: &str,
    (call, seen, headers): (&str, &Seen, &HeaderMap),
    body: &[u8],
) -> Response {
    let fault = |status, kind: &str| {
        let message = format!("stand-in: {kind}");
        answer(status, json!({ "$id": "1", "message": message, "typeName": kind, "typeKey": kind, "errorCode": 0 }))
    };
    let Some(readable) = granted(headers, 1) else { return fault(401, "UnauthorizedException") };
    let writable = granted(headers, 2).unwrap_or_default().pop();
    let json_body = serde_json::from_slice::<Value>(body).unwrap_or_default();
    let text = |name: &str| json_body[name].as_str().unwrap_or_default().to_owned();
    let id = call.strip_prefix("caches/").and_then(|id| id.parse::<u64>().ok());
    match (&seen.method, call, id) {
        (&Method::GET, "cache", _) => {
            let query = parameters(&seen.query);
            let keys: Vec<String> =
                query.get("keys").map(|k| k.split(',').map(str::to_owned).collect()).unwrap_or_default();
            match contents.find(&readable, &keys, query.get("version").map_or("", String::as_str)) {
                Some(entry) => {
                    let url = signed(storage, "artifactcache", entry.id, "r");
                    answer(200, json!({ "cacheKey": entry.key, "scope": entry.git_ref, "archiveLocation": url }))
                }
                None => StatusCode::NO_CONTENT.into_response(),
            }
        }
        (&Method::POST, "caches", _) => {
            let Some(git_ref) = writable else { return fault(403, "AccessDeniedException") };
            if !is_key(&text("key")) {
                return fault(400, "ArgumentException");
            }
            if contents.has(&git_ref, &text("key")) {
                return fault(409, "ArtifactCacheItemAlreadyExistsException");
            }
            answer(201, json!({ "cacheId": reserve(contents, git_ref, text("key"), text("version")) }))
        }
        (&Method::PATCH, _, Some(id)) => {
            let range = headers.get(header::CONTENT_RANGE).and_then(|v| v.to_str().ok()?.strip_prefix("bytes "));
            let start = range.and_then(|r| r.split('-').next()?.parse::<usize>().ok());
            let (Some(upload), Some(start)) = (contents.uploads.get_mut(&id), start) else {
                return fault(400, "ArgumentException");
            };
            let content = upload.content.get_or_insert_default();
            content.resize(content.len().max(start + body.len()), 0);
            content[start..start + body.len()].copy_from_slice(body);
            StatusCode::NO_CONTENT.into_response()
        }
        (&Method::POST, _, Some(id)) => match finish(contents, id, json_body["size"].as_u64()) {
            Ok(_) => StatusCode::NO_CONTENT.into_response(),
            Err(()) => fault(400, "ArgumentException"),
        },
        _ => fault(404, "VssResourceNotFoundException"),
    }
}

async fn serve_storage(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (seen, headers, body) = match see(&shared, "storage", request).await {
        Ok(seen) => seen,
        Err(answer) => return answer,
    };
    let query = parameters(&seen.query);
    let mut response = if query.get("sig").map(String::as_str) != Some(SIGNATURE) || seen.credentials {
        // Azure refuses a request that is signed twice.
        storage_fault(403, "AuthenticationFailed")
    } else {
        storage(&mut shared.contents.lock().unwrap(), (&seen, &query, &headers), body)
    };
    let headers = response.headers_mut();
    headers.insert("x-ms-request-id", "00000000-0000-0000-0000-000000000000".parse().unwrap());
    headers.insert("x-ms-version", "2025-01-05".parse().unwrap());
    response
}

fn storage_fault(status: u16, code: &str) -> Response {
    let xml = format!("<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>{code}</Code></Error>");
    let headers = [("content-type", "application/xml"), ("x-ms-error-code", code)];
    (StatusCode::from_u16(status).unwrap(), headers, xml).into_response()
}

fn storage(
    contents: &mut Contents,
    (seen, query, headers): (&Seen, &BTreeMap<String, String>, &HeaderMap),
    body: Bytes,
) -> Response {
    let id = seen.path.rsplit('/').next().and_then(|id| id.parse::<u64>().ok()).unwrap_or_default();
    if seen.method == Method::PUT {
        let Some(upload) = contents.uploads.get_mut(&id) else { return storage_fault(404, "BlobNotFound") };
        match query.get("comp").map(String::as_str) {
            None if headers.get("x-ms-blob-type").is_none_or(|is| is != "BlockBlob") => {
                return storage_fault(400, "MissingRequiredHeader");
            }
            None => upload.content = Some(body.to_vec()),
            Some("block") => {
                let block = query.get("blockid").cloned().unwrap_or_default();
                if STANDARD.decode(&block).is_err() {
                    return storage_fault(400, "InvalidQueryParameterValue");
                }
                upload.blocks.insert(block, body);
            }
            Some("blocklist") => {
                let list = String::from_utf8_lossy(&body).into_owned();
                let names = list.split("<Latest>").skip(1).filter_map(|rest| rest.split("</Latest>").next());
                let mut whole = Vec::new();
                for name in names {
                    let Some(block) = upload.blocks.get(name) else { return storage_fault(400, "InvalidBlockList") };
                    whole.extend_from_slice(block);
                }
                upload.content = Some(whole);
            }
            Some(_) => return storage_fault(400, "InvalidQueryParameterValue"),
        }
        let headers = [("etag", "\"0x1\""), ("last-modified", "Sat, 14 Nov 2026 08:00:00 GMT")];
        return (StatusCode::CREATED, headers).into_response();
    }
    let Some(entry) = contents.entries.iter_mut().find(|e| e.id == id) else {
        return storage_fault(404, "BlobNotFound");
    };
    let whole = entry.content.clone();
    let range = headers.get("x-ms-range").or(headers.get(header::RANGE)).and_then(|v| v.to_str().ok());
    let range = range.and_then(|r| r.strip_prefix("bytes=")?.split_once('-'));
    let start = range.and_then(|(start, _)| start.parse::<usize>().ok()).filter(|start| *start < whole.len());
    let base = Response::builder()
        .header("etag", "\"0x1\"")
        .header("last-modified", "Sat, 14 Nov 2026 08:00:00 GMT")
        .header("x-ms-blob-type", "BlockBlob")
        .header("content-type", "application/octet-stream");
    let built = match (seen.method.clone(), start) {
        (Method::HEAD, _) => base.header("content-length", whole.len()).body(Body::empty()),
        (Method::GET, Some(start)) => {
            let end =
                range.and_then(|(_, end)| end.parse::<usize>().ok()).map_or(whole.len(), |e| (e + 1).min(whole.len()));
            let told = format!("bytes {start}-{}/{}", end - 1, whole.len());
            base.status(206).header("content-range", told).body(Body::from(whole.slice(start..end)))
        }
        (Method::GET, None) if range.is_some() => return storage_fault(416, "InvalidRange"),
        (Method::GET, None) => base.body(Body::from(whole)),
        _ => return storage_fault(405, "UnsupportedHttpVerb"),
    };
    built.unwrap()
}
