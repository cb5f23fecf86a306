//! No secret comes out anywhere: canaries of every kind are put through every command, as loud as it gets, while servers refuse
//! connections or answer with all that they were sent. What is printed, logged and kept must not hold one, in any spelling.

use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::routing::any;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use tempfile::TempDir;
use url::form_urlencoded::byte_serialize;

/// Kinds of secrets. What stands here is made longer, with characters that URLs escape.
const KINDS: [&str; 16] = [
    "account-key",
    "sas-signature",
    "aws-secret",
    "aws-session-token",
    "aws-access-key-id",
    "registry-password",
    "registry-bearer",
    "identity-token",
    "github-token",
    "gh-token",
    "actions-token",
    "url-userinfo",
    "ghtoken",
    "client-secret",
    "proxy-password",
    "federated-token",
];

fn canary(kind: &str) -> String {
    assert!(KINDS.contains(&kind));
    let text = format!("canary/{kind}+flies=");
    // An account key must be base64 itself.
    if kind == "account-key" { STANDARD.encode(text) } else { text }
}

fn escaped(text: &str) -> String {
    byte_serialize(text.as_bytes()).collect()
}

/// How a secret may look when it comes out. Base64 is looked for at each of the three places it can begin in what is encoded.
fn spellings() -> Vec<(&'static str, String)> {
    let mut all = Vec::new();
    for kind in KINDS {
        let raw = canary(kind);
        all.extend([(kind, raw.clone()), (kind, escaped(&raw)), (kind, format!("canary/{kind}"))]);
        for shift in 0..3 {
            let encoded = STANDARD.encode(format!("{}{raw}", &"   "[..shift]));
            // Its ends depend on what stands beside it.
            all.push((kind, encoded[4..encoded.len() - 4].to_owned()));
        }
    }
    all
}

/// Where caches are said to be, on a server at `host`, with all secrets that can be written there.
fn locations(host: &str) -> Vec<String> {
    let url = format!("http://{host}");
    let (key, id, secret) = (canary("account-key"), canary("aws-access-key-id"), canary("aws-secret"));
    let (signature, user) = (escaped(&canary("sas-signature")), escaped(&canary("url-userinfo")));
    let (session, ghtoken, actions) = (canary("aws-session-token"), canary("ghtoken"), canary("actions-token"));
    vec![
        format!("type=azblob,account_url={url}/acme,account_name=acme,secret_access_key={key}"),
        format!("type=azblob,account_url={url}/acme?sv=2022-11-02&sp=rl&sig={signature},account_name=acme"),
        format!("type=azblob,account_url={url}/acme,account_name=acme"),
        format!("type=azblob,account_url=http://me:{user}@{host}/acme,account_name=acme"),
        format!(
            "type=s3,bucket=b,region=eu-1,endpoint_url={url},use_path_style=true,access_key_id={id},\
             secret_access_key={secret},session_token={session}"
        ),
        format!("type=s3,bucket=b,region=eu-1,endpoint_url=http://me:{user}@{host},use_path_style=true"),
        format!("type=registry,ref={host}/password/app:tag,registry.insecure=true"),
        format!("type=registry,ref={host}/bearer/app:tag,registry.insecure=true"),
        format!("type=inline,ref={host}/app:tag,registry.insecure=true"),
        format!("type=gha,scope=main,repo=acme/app,ghtoken={ghtoken}"),
        format!("type=gha,scope=main,url={url}/,url_v2={url}/,token={actions}"),
        "type=gha,scope=main".to_owned(),
        // Misspelt, and of a type that nobody knows.
        format!("type=s3,bucket=b,region=eu-1,endpoint_url={url},secret_acess_key={secret}"),
        format!("type=nobody,url={url}/?token={signature},password={secret}"),
    ]
}

/// What a user's session has in it.
fn environment(host: &str, docker: &Path) -> Vec<(&'static str, String)> {
    let url = format!("http://{host}");
    vec![
        ("DOCKER_CONFIG", docker.to_str().unwrap().to_owned()),
        ("GITHUB_TOKEN", canary("github-token")),
        ("GH_TOKEN", canary("gh-token")),
        ("GITHUB_API_URL", url.clone()),
        ("GITHUB_REPOSITORY", "acme/app".to_owned()),
        ("ACTIONS_RUNTIME_TOKEN", canary("actions-token")),
        ("ACTIONS_RESULTS_URL", format!("{url}/")),
        ("ACTIONS_CACHE_URL", format!("{url}/")),
        ("AWS_ACCESS_KEY_ID", canary("aws-access-key-id")),
        ("AWS_SECRET_ACCESS_KEY", canary("aws-secret")),
        ("AWS_SESSION_TOKEN", canary("aws-session-token")),
        ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
        ("AZURE_TENANT_ID", "tenant".to_owned()),
        ("AZURE_CLIENT_ID", "client".to_owned()),
        ("AZURE_CLIENT_SECRET", canary("client-secret")),
        ("AZURE_AUTHORITY_HOST", url.clone()),
        ("CACHEDECK_TIMEOUT", "300ms".to_owned()),
    ]
}

/// What follows a command's name; every command there is has its line.
fn arguments(command: &str, location: &str) -> Vec<String> {
    let layer = "sha256:04d3";
    let words: &[&str] = match command {
        "diff" => &[location, location],
        "files" => &[location, layer],
        "cat" | "extract" => &[location, layer, "bin/sh"],
        "find" => &["bin/sh", location],
        "completion" => &["bash"],
        "build" => &["--cache", location, "--dry-run", "--", "."],
        "warm" => &[location, "--dry-run", "--", "."],
        "man" | "version" | "demo" | "help" => &[],
        _ => &[location],
    };
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// The commands, as the help lists them.
fn commands() -> Vec<String> {
    let help = Command::new(env!("CARGO_BIN_EXE_cachedeck")).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let listed = help.split_once("Commands:\n").unwrap().1.split("\n\n").next().unwrap();
    let names = listed.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    names.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

/// A server that answers everything with `status` and all that it was sent; gives its address. It ends with the test.
async fn echo(status: StatusCode) -> String {
    let answer = move |uri: Uri, sent: HeaderMap, body: Bytes| async move {
        let mut headers = HeaderMap::new();
        // No use in trying again: it is asked for at once, and the answer is the same.
        headers.insert("retry-after", "3600".parse().unwrap());
        if let Some(value) = sent.get("authorization") {
            headers.insert("x-ms-error-code", value.clone());
            headers.insert("x-amz-request-id", value.clone());
        }
        headers.insert("www-authenticate", "Basic realm=\"echo\"".parse().unwrap());
        let sent: String = sent.iter().map(|(k, v)| format!("{k}: {}\n", v.to_str().unwrap_or_default())).collect();
        (
            status,
            headers,
            format!("<Error><Code>{uri}</Code><Message>{sent}{}</Message></Error>", String::from_utf8_lossy(&body)),
        )
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let app = axum::Router::new().fallback(any(answer));
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    address
}

/// The docker configuration of somebody who is logged in at `host`.
fn docker_config(host: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let password = STANDARD.encode(format!("me:{}", canary("registry-password")));
    let auths = serde_json::json!({ "auths": { host: {
        "auth": password,
        "identitytoken": canary("identity-token"),
        "registrytoken": canary("registry-bearer"),
    }}});
    fs::write(folder.path().join("config.json"), auths.to_string()).unwrap();
    folder
}

struct Run {
    what: String,
    arguments: Vec<String>,
    environment: Vec<(&'static str, String)>,
}

/// Runs the program in a home of its own; gives each place where a canary came out.
fn leaks(run: &Run, spellings: &[(&'static str, String)]) -> Vec<String> {
    let home = tempfile::tempdir().unwrap();
    let at = |name: &str| home.path().join(name);
    let mut program = Command::new(env!("CARGO_BIN_EXE_cachedeck"));
    program.env_clear().env("HOME", home.path()).current_dir(home.path());
    for (variable, folder) in [("XDG_CACHE_HOME", "cache"), ("XDG_DATA_HOME", "data"), ("XDG_STATE_HOME", "state")] {
        program.env(variable, at(folder));
    }
    let output = program.envs(run.environment.iter().map(|(k, v)| (k, v))).args(&run.arguments).output().unwrap();
    let mut seen = vec![("stdout".to_owned(), output.stdout), ("stderr".to_owned(), output.stderr)];
    let mut folders = vec![home.path().to_owned()];
    while let Some(next) = folders.pop() {
        for path in fs::read_dir(next).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else {
                seen.push((path.display().to_string(), fs::read(path).unwrap()));
            }
        }
    }
    let mut found = Vec::new();
    for (place, bytes) in seen {
        let text = String::from_utf8_lossy(&bytes);
        for (kind, spelling) in spellings {
            if let Some(at) = text.find(spelling.as_str()) {
                let line = text[..at].rfind('\n').map_or(0, |end| end + 1);
                let line: String = text[line..].chars().take(200).collect();
                found.push(format!("{}: {kind} in {place}: {line}", run.what));
            }
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_comes_out() {
    let (unauthorised, broken) = (echo(StatusCode::UNAUTHORIZED).await, echo(StatusCode::INTERNAL_SERVER_ERROR).await);
    let failures = [("401", unauthorised), ("500", broken), ("refused", "127.0.0.1:1".to_owned())];
    let volumes: [(&str, &[&str]); 2] = [("loud", &["-vvv"]), ("json", &["-vvv", "--json", "--log-file", "log"])];
    let dockers: Vec<TempDir> = failures.iter().map(|(_, host)| docker_config(host)).collect();
    let mut runs = Vec::new();
    for ((failure, host), docker) in failures.iter().zip(&dockers) {
        let mut environment = environment(host, docker.path());
        for command in commands() {
            for location in locations(host) {
                for (volume, options) in volumes {
                    let mut all = vec![command.clone()];
                    all.extend(options.iter().map(|option| (*option).to_owned()));
                    all.extend(arguments(&command, &location));
                    let what = format!("{failure}, {volume}, {command} {}", location.split(',').next().unwrap());
                    runs.push(Run { what, arguments: all, environment: environment.clone() });
                }
            }
        }
        // A proxy stands between, and has a password of its own.
        let proxy = format!("http://me:{}@{host}", escaped(&canary("proxy-password")));
        environment
            .extend(["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY"].map(|name| (name, proxy.clone())));
        environment.push(("AZURE_FEDERATED_TOKEN", canary("federated-token")));
        for location in locations("caches.invalid") {
            environment.push(("CACHEDECK_PLAINTEXT_CREDENTIALS", "1".to_owned()));
            let all = ["ls", location.as_str(), "-vvv"].map(str::to_owned).to_vec();
            runs.push(Run { what: format!("{failure}, proxy"), arguments: all, environment: environment.clone() });
        }
    }
    assert!(runs.len() >= 1000, "{} runs", runs.len());
    let (next, spellings, found) = (AtomicUsize::new(0), spellings(), Mutex::new(Vec::new()));
    // Most of the time is waiting for programs that wait.
    tokio::task::block_in_place(|| {
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    while let Some(run) = runs.get(next.fetch_add(1, Ordering::Relaxed)) {
                        found.lock().unwrap().extend(leaks(run, &spellings));
                    }
                });
            }
        });
    });
    let found = found.into_inner().unwrap();
    assert!(
        found.is_empty(),
        "{} leaks in {} runs:\n{}",
        found.len(),
        runs.len(),
        found[..found.len().min(40)].join("\n")
    );
}

#[test]
fn the_canaries_would_be_seen() {
    let spellings = spellings();
    for kind in KINDS {
        let raw = canary(kind);
        for shown in [
            raw.clone(),
            escaped(&raw),
            STANDARD.encode(format!("me:{raw}")),
            STANDARD.encode(format!("{{\"a\":\"{raw}\"}}")),
        ] {
            assert!(spellings.iter().any(|(k, spelling)| *k == kind && shown.contains(spelling.as_str())), "{shown}");
        }
    }
}
