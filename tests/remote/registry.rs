//! Caches in registries: what was pushed is what is seen, and who gets to see credentials.

use crate::fixtures::Fixture;
use crate::program::{Place, Ran};
use crate::support::faults::{Answer, Asked, Fault, Proxy, When};
use crate::support::pushing::{Repository, wait};
use crate::support::{registry, registry_with_password, unique};
use cachedeck::model::digest::Digest;
use serde_json::Value;
use std::path::Path;

const FIXTURES: [&str; 10] = [
    "local-docker-list",
    "local-estargz",
    "local-history",
    "local-index",
    "local-max",
    "local-min",
    "local-multi",
    "local-uncompressed",
    "local-zstd",
    "inline-image",
];

/// The location of a repository at `server`, which speaks plain HTTP.
fn location(server: &str, name: &str) -> String {
    format!("type=registry,ref={}/{name},registry.insecure=true", server.strip_prefix("http://").unwrap())
}

/// Pushes a fixture to the registry at `server`.
fn pushed(server: &str, fixture: &Fixture, more: &[Digest]) -> Repository {
    let repository = Repository::new(server, &unique("fixture"));
    wait(|| repository.layout(fixture.path(), more));
    repository
}

fn run(place: &Place, arguments: &[&str], env: &[(&str, &str)]) -> Ran {
    Ran::of(place.command(arguments).envs(env.iter().copied()).output().unwrap())
}

/// What two places can't agree on: when something was written there, and what else they hold.
fn without(mut value: Value, fields: &[&str]) -> Value {
    for item in value.as_array_mut().unwrap() {
        fields.iter().for_each(|field| drop(item.as_object_mut().unwrap().remove(*field)));
    }
    value
}

#[test]
fn what_was_pushed_is_what_is_seen() {
    for name in FIXTURES {
        let (place, fixture) = (Place::empty(), Fixture::unpack(name));
        let local = fixture.path().to_str().unwrap().to_owned();
        let repository = pushed(&registry(), &fixture, &[]);
        let remote = location(&registry(), &repository.name);

        let mut ours = place.run(&["ls", "--json", &local]).json()["items"].clone();
        ours.as_array_mut().unwrap().retain(|item| item["dangling"] == false);
        let theirs = place.run(&["ls", "--json", &remote]).json();
        assert_eq!((&theirs["warnings"], &theirs["complete"]), (&Value::Array(vec![]), &Value::Bool(true)), "{name}");
        let apart = ["modified_at", "exclusive_bytes", "shared_bytes"];
        assert_eq!(without(theirs["items"].clone(), &apart), without(ours, &apart), "{name}");

        let layers = |location: &str| {
            let layers = place.run(&["layers", "--json", location]).json()["items"].clone();
            without(layers, &["referrers"])
        };
        assert_eq!(layers(&remote), layers(&local), "{name}");
        for graph in [&["graph", "--format", "dot"][..], &["graph", "--format", "dot", "--records"]] {
            // Its title names the place.
            let draw = |location: &str| {
                let drawn = place.run(&[graph, &[location]].concat()).out;
                drawn.lines().filter(|line| !line.starts_with("  graph [label")).collect::<Vec<_>>().join("\n")
            };
            assert_eq!(draw(&remote), draw(&local), "{name}");
        }
        let verified = place.run(&["verify", "--level", "digest", "--json", &remote]).json();
        assert_eq!(verified["items"], Value::Array(vec![]), "{name}");
    }
}

#[test]
fn an_image_is_read_as_inline_cache() {
    let (place, fixture) = (Place::empty(), Fixture::unpack("inline-image"));
    let repository = pushed(&registry(), &fixture, &[]);
    let inline = location(&registry(), &repository.name).replace("registry,ref", "inline,ref");
    let items = place.run(&["ls", "--json", &inline]).json()["items"].clone();
    assert_eq!((&items[0]["form"], &items[0]["records"]), (&"inline".into(), &14.into()));
}

#[test]
fn a_version_without_a_tag_is_opened_by_its_digest() {
    let (place, fixture) = (Place::empty(), Fixture::unpack("local-history"));
    let local = place.run(&["ls", "--json", fixture.path().to_str().unwrap()]).json();
    let untagged = local["items"].as_array().unwrap().iter().find(|item| item["dangling"] == true).unwrap();
    let digest: Digest = untagged["digest"].as_str().unwrap().parse().unwrap();
    let repository = pushed(&registry(), &fixture, &[digest]);

    let by_digest = location(&registry(), &format!("{}@{digest}", repository.name));
    let listed = place.run(&["ls", "--json", &by_digest]).json();
    let found = listed["items"].as_array().unwrap().iter().find(|item| item["digest"] == untagged["digest"]).unwrap();
    for field in ["tags", "dangling", "min_bytes", "max_bytes", "layers", "records"] {
        assert_eq!(found[field], untagged[field], "{field}");
    }
    assert_eq!(listed["items"].as_array().unwrap().len(), 3, "and both that have one");
    let inspected = place.run(&["layers", "--json", &by_digest]).json();
    assert_eq!(inspected["items"].as_array().unwrap().len() as u64, untagged["layers"].as_u64().unwrap());

    let gone = location(&registry(), &format!("{}@{}", repository.name, Digest::of(b"nobody has it")));
    assert_eq!(place.run(&["layers", &gone]).code, 5);
    // Once the tags are gone, this registry says that there is no such repository.
    let only = Repository::new(&registry(), &unique("untagged"));
    wait(|| async {
        let layer = only.blob("layer").await;
        let config = only.blob("{}").await;
        let descriptor = |digest: Digest, size: usize| serde_json::json!({"digest": digest, "size": size, "mediaType": "application/vnd.oci.image.config.v1+json"});
        let manifest =
            serde_json::json!({"schemaVersion": 2, "config": descriptor(config, 2), "layers": [descriptor(layer, 5)]});
        let digest =
            only.manifest(&Digest::of(manifest.to_string().as_bytes()).to_string(), manifest.to_string()).await;
        let listed = place.run(&["ls", "--json", &location(&registry(), &format!("{}@{digest}", only.name))]).json();
        assert_eq!(listed["items"][0]["digest"], digest.to_string());
    });
}

#[test]
fn a_missing_layer_is_found() {
    let (place, fixture) = (Place::empty(), Fixture::unpack("local-max"));
    let repository = pushed(&registry(), &fixture, &[]);
    let remote = location(&registry(), &repository.name);
    let layers = place.run(&["layers", "--json", &remote]).json();
    let gone: Digest = layers["items"][0]["digest"].as_str().unwrap().parse().unwrap();
    wait(|| repository.delete_blob(&gone));
    for level in ["exists", "size", "digest"] {
        let ran = place.run(&["verify", "--json", "--level", level, &remote]);
        let found: Value = serde_json::from_str(&ran.out).unwrap();
        assert_eq!(ran.code, 6, "{level}: {ran}");
        assert_eq!(found["items"][0]["code"], "blob_missing", "{level}: {ran}");
        assert_eq!(found["items"][0]["digest"], gone.to_string(), "{level}: {ran}");
    }
}

#[test]
fn what_is_not_there_is_said() {
    let place = Place::empty();
    let ran = place.run(&["ls", &location(&registry(), "no/such/repository")]);
    assert_eq!(ran.code, 5, "{ran}");
    assert!(ran.err.contains("no repository no/such/repository at 127.0.0.1"), "{ran}");
    assert!(ran.err.contains("hint: check the ref"), "{ran}");
    let nobody = place.run(&["ls", &location("http://127.0.0.1:1", "app")]);
    assert_eq!(nobody.code, 1, "{nobody}");
    // Only who asks for plain HTTP gets it.
    let encrypted = location(&registry(), "app").replace(",registry.insecure=true", "");
    assert_eq!(place.run(&["ls", &encrypted]).code, 1);
}

/// A repository of the registry that wants a password.
fn locked_away() -> Repository {
    let server = registry_with_password();
    let repository = Repository::new(&server, &unique("locked")).with_login("tester", "only for tests");
    let fixture = Fixture::unpack("local-min");
    wait(|| repository.layout(fixture.path(), &[]));
    repository
}

fn docker_config(place: &Place, config: Value) -> String {
    let folder = place.path("docker");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
    folder.to_str().unwrap().to_owned()
}

fn basic(user: &str, password: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"))
}

#[test]
fn credentials_come_from_docker() {
    let (place, repository) = (Place::empty(), locked_away());
    let server = registry_with_password();
    let host = server.strip_prefix("http://").unwrap();
    let remote = location(&server, &repository.name);
    let list = |config: Value, path: &str| {
        let folder = docker_config(&place, config);
        run(&place, &["ls", "--json", &remote], &[("DOCKER_CONFIG", &folder), ("PATH", path)])
    };

    let auths = |password: &str| serde_json::json!({"auths": {host: {"auth": basic("tester", password)}}});
    assert_eq!(list(auths("only for tests"), "").json()["items"].as_array().unwrap().len(), 1);

    let refused = list(auths("canary-password"), "");
    assert_eq!(refused.code, 4, "{refused}");
    assert!(refused.err.contains("401") && refused.err.contains(&format!("docker login {host}")), "{refused}");
    assert!(!refused.err.contains("canary") && !refused.err.contains(&basic("tester", "canary-password")), "{refused}");

    let nobody = list(serde_json::json!({}), "");
    assert_eq!(nobody.code, 4, "{nobody}");
    assert!(nobody.err.contains(&format!("docker login {host}")), "{nobody}");

    let helper = serde_json::json!({"credHelpers": {host: "of-tests"}});
    write_helper(
        &place.path("bin"),
        "#!/bin/sh\n[ \"$1\" = get ] && cat >/dev/null && echo '{\"Username\":\"tester\",\"Secret\":\"only for tests\"}'\n",
    );
    let path = format!("{}:/usr/bin:/bin", place.path("bin").display());
    assert_eq!(list(helper.clone(), &path).json()["items"].as_array().unwrap().len(), 1);
    let store = serde_json::json!({"auths": {host: {}}, "credsStore": "of-tests"});
    assert_eq!(list(store, &path).json()["items"].as_array().unwrap().len(), 1);

    let absent = list(helper.clone(), "/nonexistent");
    assert_eq!(absent.code, 4, "{absent}");
    assert!(absent.err.contains("helper"), "{absent}");
    write_helper(&place.path("bin"), "#!/bin/sh\ncat >/dev/null; echo canary-secret; echo canary-word >&2; exit 1\n");
    let failed = list(helper, &path);
    assert_eq!(failed.code, 4, "{failed}");
    assert!(failed.err.contains("docker-credential-of-tests") && !failed.err.contains("canary"), "{failed}");
}

fn write_helper(folder: &Path, script: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::create_dir_all(folder).unwrap();
    let path = folder.join("docker-credential-of-tests");
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// A registry that wants tokens, which it hands out at `realm`, and the folder with a password for it.
struct Tokens {
    place: Place,
    proxy: Proxy,
    remote: String,
    docker: String,
}

const TOKEN: &str = r#"{"token":"good","expires_in":300}"#;

impl Tokens {
    fn new() -> Self {
        let place = Place::empty();
        let repository = pushed(&registry(), &Fixture::unpack("local-min"), &[]);
        let proxy = Proxy::before(&registry());
        let password = serde_json::json!({"auths": {proxy.authority(): {"auth": basic("me", "canary")}}});
        let docker = docker_config(&place, password);
        let remote = location(proxy.url(), &repository.name);
        Self { place, proxy, remote, docker }
    }

    /// From now on the registry wants tokens from `realm`.
    fn wanted(&self, realm: &str) {
        let challenge = format!("Bearer realm=\"{realm}\",service=\"tests\",scope=\"repository:other:push\"");
        let check = move |asked: &Asked, answer: Answer| match asked.header("authorization") {
            Some("Bearer good") => answer,
            _ => Answer::status(401).with("www-authenticate", &challenge),
        };
        self.proxy.play(When::always().of("/v2/"), Fault::changed(check));
    }

    fn list(&self) -> Ran {
        run(&self.place, &["ls", "--json", &self.remote], &[("DOCKER_CONFIG", &self.docker)])
    }

    fn asked(&self, part: &str) -> Vec<Asked> {
        self.proxy.asked().into_iter().filter(|asked| asked.line.contains(part)).collect()
    }
}

#[test]
fn a_token_is_got_once_and_again_when_it_ends() {
    let tokens = Tokens::new();
    let realm = format!("{}/token", tokens.proxy.url());
    tokens.proxy.play(When::always().of("/token"), Fault::Answers(Answer::status(200).with_body(TOKEN)));
    tokens.proxy.play(
        When::nth(1).of("/manifests/"),
        Fault::Answers(Answer::status(401).with("www-authenticate", &format!("Bearer realm=\"{realm}\""))),
    );
    tokens.wanted(&realm);
    assert_eq!(tokens.list().json()["items"].as_array().unwrap().len(), 1);
    let asked = tokens.asked("/token");
    assert_eq!(asked.len(), 2, "one, and one when it was refused in between");
    for asked in &asked {
        assert_eq!(asked.header("authorization").unwrap(), format!("Basic {}", basic("me", "canary")));
        assert!(asked.line.contains("scope=repository%3Afixture-") && asked.line.contains("%3Apull"), "{}", asked.line);
        assert!(!asked.line.contains("push"), "no more than is needed: {}", asked.line);
    }
    assert!(asked[0].line.contains("service=tests"));
}

#[test]
fn a_token_that_is_refused_for_ever_ends_it() {
    let tokens = Tokens::new();
    tokens
        .proxy
        .play(When::always().of("/token"), Fault::Answers(Answer::status(200).with_body(r#"{"access_token":"bad"}"#)));
    tokens.wanted(&format!("{}/token", tokens.proxy.url()));
    let ran = tokens.list();
    assert_eq!(ran.code, 4, "{ran}");
    assert_eq!(tokens.asked("/token").len(), 1);
    assert!(ran.err.contains("docker login") && !ran.err.contains("canary"), "{ran}");
}

#[test]
fn a_realm_elsewhere_gets_no_credentials() {
    let (tokens, elsewhere) = (Tokens::new(), Proxy::before(&registry()));
    elsewhere.play(When::always(), Fault::Answers(Answer::status(200).with_body(TOKEN)));
    tokens.wanted(&format!("{}/token", elsewhere.url()));
    assert_eq!(tokens.list().code, 0, "what is public can be read all the same");
    assert_eq!(elsewhere.asked().len(), 1);
    assert_eq!(elsewhere.asked()[0].header("authorization"), None);

    elsewhere.heal();
    elsewhere.play(When::always(), Fault::status(401));
    let ran = tokens.list();
    assert_eq!(ran.code, 4, "{ran}");
    assert!(ran.err.contains("were not sent to 127.0.0.1") && !ran.err.contains("canary"), "{ran}");
    assert!(elsewhere.asked().iter().all(|asked| asked.header("authorization").is_none()));
}

#[test]
fn a_redirect_loses_the_token() {
    let (tokens, elsewhere) = (Tokens::new(), Proxy::before(&registry()));
    tokens.proxy.play(When::always().of("/token"), Fault::Answers(Answer::status(200).with_body(TOKEN)));
    let (to, own) = (elsewhere.url().to_owned(), tokens.proxy.url().to_owned());
    let send_on = move |asked: &Asked, _| {
        let path = asked.line.split_once(' ').unwrap().1;
        match asked.header("authorization") {
            Some("Bearer good") => Answer::status(307).with("location", &format!("{to}{path}")),
            _ => Answer::status(401).with("www-authenticate", &format!("Bearer realm=\"{own}/token\"")),
        }
    };
    tokens.proxy.play(When::always().of("/blobs/"), Fault::changed(send_on));
    tokens.wanted(&format!("{}/token", tokens.proxy.url()));
    assert_eq!(tokens.list().json()["items"][0]["form"], "image-manifest");
    assert!(!elsewhere.asked().is_empty());
    assert!(elsewhere.asked().iter().all(|asked| asked.header("authorization").is_none()));

    // Where it was sent on to may not ask who we are.
    elsewhere.play(When::always(), Fault::Answers(Answer::status(401).with("www-authenticate", "Basic realm=\"x\"")));
    assert_eq!(tokens.list().json()["complete"], false);
    assert!(elsewhere.asked().iter().all(|asked| asked.header("authorization").is_none()));
}

/// The list of tags, `size` to a page.
fn in_pages(size: usize) -> Fault {
    Fault::changed(move |asked, answer| {
        let all: Value = serde_json::from_slice(&answer.body).unwrap();
        let mut tags: Vec<&str> = all["tags"].as_array().unwrap().iter().map(|tag| tag.as_str().unwrap()).collect();
        tags.sort_unstable();
        let (path, query) = asked.line.split_once(' ').unwrap().1.split_once('?').unwrap();
        let last = query.split('&').find_map(|parameter| parameter.strip_prefix("last="));
        tags.retain(|tag| last.is_none_or(|last| *tag > last));
        let more = tags.len() > size;
        tags.truncate(size);
        let page = answer.with_body(serde_json::json!({"name": all["name"], "tags": tags}).to_string());
        match tags.last().filter(|_| more) {
            Some(last) => page.with("link", &format!("<{path}?last={last}&n={size}>; rel=\"next\"")),
            None => page,
        }
    })
}

#[test]
fn all_pages_of_tags_are_read() {
    let (place, repository) = (Place::empty(), Repository::new(&registry(), &unique("tags")));
    wait(|| async {
        for n in 0..25 {
            repository.manifest(&format!("t{n:02}"), r#"{"schemaVersion":2,"manifests":[]}"#).await;
        }
    });
    let proxy = Proxy::before(&registry());
    proxy.play(When::always().of("/tags/list"), in_pages(10));
    let listed = place.run(&["ls", "--json", &location(proxy.url(), &repository.name)]).json();
    assert_eq!(listed["items"][0]["tags"].as_array().unwrap().len(), 25);

    proxy.heal();
    let foreign = |_: &Asked, answer: Answer| answer.with("link", "<https://evil.example/v2/x>; rel=\"next\"");
    proxy.play(When::always().of("/tags/list"), Fault::changed(foreign));
    let ran = place.run(&["ls", &location(proxy.url(), &repository.name)]);
    assert_eq!(ran.code, 4, "{ran}");
    assert!(ran.err.contains("another host, evil.example"), "{ran}");
}

#[test]
fn plain_http_is_shown() {
    let (place, repository) = (Place::empty(), pushed(&registry(), &Fixture::unpack("local-min"), &[]));
    let listed = place.run(&["ls", "--json", &location(&registry(), &repository.name)]).json();
    assert_eq!(listed["location"]["registry.insecure"], "true");
}
