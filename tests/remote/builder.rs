//! Builders: reached in every way there is, and what they tell.

use crate::program::{Place, Ran};
use crate::support::builder::{Builder, Told, record, worker};
use cachedeck::error::{Error, Kind};
use cachedeck::format::usage;
use cachedeck::model::builder::Totals;
use cachedeck::model::location::Location;
use cachedeck::ops::load::load;
use cachedeck::progress::Progress;
use cachedeck::store::{Store, catalog};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tonic::Status;

fn open(builder: &Builder) -> Arc<dyn Store> {
    catalog::open(&Location::new("daemon").with("addr", builder.address())).unwrap()
}

fn wait<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

fn refused(store: &Arc<dyn Store>) -> Error {
    wait(store.usage()).unwrap_err()
}

/// Runs the program with `docker` leading to the builder, and with buildx's store in the place.
fn run(place: &Place, builder: &Builder, more: &[(&str, &str)], arguments: &[&str]) -> Ran {
    let mut command = place.command(arguments);
    let path = format!("{}:{}", builder.programs().display(), std::env::var("PATH").unwrap());
    command.env("PATH", path).env("BUILDX_CONFIG", place.path("buildx")).env("HOME", place.path("home"));
    command.env("CACHEDECK_TIMEOUT", "10s");
    command.envs(more.iter().copied());
    Ran::of(command.output().unwrap())
}

fn instance(place: &Place, name: &str, driver: &str, nodes: serde_json::Value) {
    let folder = place.path("buildx/instances");
    std::fs::create_dir_all(&folder).unwrap();
    let json = serde_json::json!({ "Name": name, "Driver": driver, "Nodes": nodes, "Dynamic": false });
    std::fs::write(folder.join(name), json.to_string()).unwrap();
}

fn ids(ran: &Ran) -> usize {
    ran.json()["items"].as_array().unwrap().len()
}

#[test]
fn all_that_a_builder_tells_comes_through() {
    let builder = Builder::start(Told::recorded());
    let store = open(&builder);
    let recorded = usage::read(include_bytes!("../fixtures/daemon-du.json")).unwrap();
    let mut sorted = recorded.clone();
    sorted.sort_by(|a, b| a.id.cmp(&b.id));
    assert_eq!(wait(store.usage()).unwrap(), sorted, "to the nanosecond");
    let inventory = wait(load(&store, &Progress::new())).unwrap();
    let told = inventory.details.builder.unwrap();
    let [node] = &told.nodes[..] else { panic!("{told:?}") };
    assert_eq!(node.records.as_deref(), Ok(&sorted[..]));
    assert_eq!(node.version.as_deref(), Some("v0.31.0"));
    let worker = &node.workers.as_ref().unwrap()[0];
    assert_eq!(worker.platforms, ["linux/amd64", "linux/386"]);
    assert_eq!((worker.rules.len(), worker.rules[0].keep.as_secs(), worker.rules[3].all), (4, 48 * 3600, true));
    let builds = node.builds.as_ref().unwrap();
    assert_eq!(builds.iter().map(|b| b.id.as_str()).collect::<Vec<_>>(), ["newest", "broken", "old"]);
    assert_eq!((builds[0].state(), builds[1].state(), builds[2].pinned), ("done", "failed", true));
    assert_eq!((builds[0].cached_steps, builds[0].total_steps, builds[0].results.len()), (6, 8, 1));
    assert!(told.gaps().is_empty());
    let shown = format!("{told:?}");
    assert!(!shown.contains("canary"), "build arguments and passwords are left out: {shown}");
    assert_eq!(told.totals(), Totals::of(&recorded));
}

#[test]
fn an_old_builder_tells_what_it_can() {
    let builder = Builder::start(Told { old: true, ..Told::recorded() });
    let inventory = wait(load(&open(&builder), &Progress::new())).unwrap();
    let told = inventory.details.builder.unwrap();
    assert!(told.nodes[0].records.is_ok() && told.nodes[0].workers.is_ok());
    assert!(told.nodes[0].builds.as_ref().unwrap_err().contains("does not tell"));
    assert_eq!(told.gaps().len(), 1, "{:?}", told.gaps());
}

#[test]
fn what_fails_says_what_to_do() {
    let gone = tempfile::tempdir().unwrap();
    let at = |address: String| catalog::open(&Location::new("daemon").with("addr", address)).unwrap();
    let error = refused(&at(format!("unix://{}/none", gone.path().display())));
    assert_eq!(error.kind(), Kind::NotFound);
    assert!(error.hint().unwrap().contains("buildkitd"), "{error:?}");

    let left = gone.path().join("left");
    drop(std::os::unix::net::UnixListener::bind(&left).unwrap());
    let error = refused(&at(format!("unix://{}", left.display())));
    assert_eq!(error.kind(), Kind::Unavailable, "{error}");

    let builder = Builder::start(Told { failure: Some(Status::permission_denied("no")), ..Told::default() });
    assert_eq!(refused(&open(&builder)).kind(), Kind::Denied);
    let builder = Builder::start(Told { failure: Some(Status::internal("\u{1b}[31mbroken")), ..Told::default() });
    let error = refused(&open(&builder));
    assert_eq!(error.kind(), Kind::Internal);
    assert!(error.to_string().contains(r"\x1b[31mbroken"), "{error}");

    for bad in ["nowhere", "unix://", "tcp://", "tcp://host", "http://host:1", "docker-container://--privileged"] {
        let error = catalog::open(&Location::new("daemon").with("addr", bad)).err().unwrap();
        assert_eq!(error.kind(), Kind::Invalid, "{bad}");
        assert!(error.hint().is_some(), "{bad}");
    }
}

#[test]
fn one_that_never_answers_is_given_up() {
    let builder = Builder::start(Told { silent: true, ..Told::default() });
    let place = Place::empty();
    let given = builder.address();
    let ran = run(&place, &builder, &[("CACHEDECK_TIMEOUT", "300ms")], &["daemon", "du", &given]);
    assert_eq!(ran.code, 1, "{ran}");
    assert!(ran.err.contains("no answer within"), "{ran}");
    assert!(builder.asked.load(Ordering::SeqCst) > 0);
}

#[test]
fn tcp_is_open_only_where_that_is_safe() {
    let builder = Builder::start(Told::recorded());
    let address = format!("tcp://127.0.0.1:{}", builder.port);
    let store = catalog::open(&Location::new("daemon").with("addr", address)).unwrap();
    let details = wait(store.details()).unwrap();
    assert!(details.notes.is_empty(), "nothing leaves this machine");
    assert!(details.builder.unwrap().nodes[0].records.is_ok());
}

/// Certificates for both ends, made by openssl: an authority, `server` for `localhost`, `client`.
fn certificates() -> Option<tempfile::TempDir> {
    let folder = tempfile::tempdir().unwrap();
    let script = r#"set -e
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=authority \
  -addext basicConstraints=critical,CA:true -addext keyUsage=critical,keyCertSign
for who in server client; do
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout $who.key -out $who.csr -subj /CN=$who
  printf 'subjectAltName=DNS:localhost\nbasicConstraints=CA:false\n' > $who.ext
  openssl x509 -req -in $who.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out $who.pem -days 2 -extfile $who.ext
done"#;
    let made = std::process::Command::new("bash").arg("-c").arg(script).current_dir(folder.path()).output();
    made.is_ok_and(|made| made.status.success()).then_some(folder)
}

#[test]
fn tls_knows_both_ends() {
    use tonic::transport::{Certificate, Identity, ServerTlsConfig};
    let certificates = certificates().expect("openssl makes certificates for this test");
    let read = |name: &str| std::fs::read(certificates.path().join(name)).unwrap();
    let tls = ServerTlsConfig::new()
        .identity(Identity::from_pem(read("server.pem"), read("server.key")))
        .client_ca_root(Certificate::from_pem(read("ca.pem")));
    let builder = Builder::start_with(Told::recorded(), Some(tls));
    let path = |name: &str| certificates.path().join(name).display().to_string();
    let address = format!("tcp://127.0.0.1:{}", builder.port);
    let plain = Location::new("daemon").with("addr", &address);
    let trusting = plain.clone().with("cacert", path("ca.pem")).with("servername", "localhost");
    let known = trusting.clone().with("cert", path("client.pem")).with("key", path("client.key"));
    assert!(wait(catalog::open(&known).unwrap().usage()).is_ok());
    let stranger = known.clone().without("cacert");
    let error = wait(catalog::open(&stranger).unwrap().usage()).unwrap_err();
    assert_eq!(error.kind(), Kind::Unauthenticated, "{error}");
    assert!(error.hint().unwrap().contains("cacert="), "{error:?}");
    for refused in [&plain, &trusting, &known.clone().with("servername", "elsewhere")] {
        assert!(wait(catalog::open(refused).unwrap().usage()).is_err(), "{refused}");
    }
    assert_eq!(catalog::open(&known.without("key")).err().unwrap().kind(), Kind::Invalid);

    // As buildx keeps them for its remote driver.
    let place = Place::empty();
    let options = serde_json::json!({
        "cacert": path("ca.pem"), "cert": path("client.pem"), "key": path("client.key"), "servername": "localhost",
    });
    instance(
        &place,
        "far",
        "remote",
        serde_json::json!([{ "Name": "far0", "Endpoint": address, "DriverOpts": options }]),
    );
    let ran = run(&place, &builder, &[], &["daemon", "du", "far", "--json"]);
    assert_eq!(ids(&ran), Told::recorded().usage.len(), "{ran}");
}

#[test]
fn builders_of_buildx_are_found_by_name() {
    let builder = Builder::start(Told::recorded());
    let place = Place::empty();
    let here =
        serde_json::json!([{ "Name": "near0", "Endpoint": builder.address(), "Platforms": null, "DriverOpts": null }]);
    instance(&place, "near", "remote", here);
    instance(&place, "pods", "kubernetes", serde_json::json!([{ "Name": "pods0", "Endpoint": "" }]));
    instance(
        &place,
        "box",
        "docker-container",
        serde_json::json!([
            { "Name": "box0", "Endpoint": "unix:///var/run/docker.sock" },
            { "Name": "box1", "Endpoint": "elsewhere" },
        ]),
    );
    let all = Told::recorded().usage.len();
    let du = |name: &str, more: &[(&str, &str)]| run(&place, &builder, more, &["daemon", "du", name, "--json"]);
    assert_eq!(ids(&du("near", &[])), all);
    assert!(builder.calls().is_empty(), "a remote builder is asked directly");

    assert_eq!(ids(&du("pods", &[])), all);
    assert_eq!(builder.calls(), ["buildx inspect pods", "buildx dial-stdio --builder pods --progress quiet"]);

    let both = du("box", &[]);
    assert_eq!(ids(&both), 2 * all, "{both}");
    let exec = |options: &str, node: &str| format!("{options} exec -i buildx_buildkit_{node} buildctl dial-stdio");
    let mut calls = builder.calls().split_off(2);
    calls.sort();
    assert_eq!(calls, [exec("--context=elsewhere", "box1"), exec("--host=unix:///var/run/docker.sock", "box0")]);

    // The current one: by the environment, then as buildx wrote it down.
    let current = |more: &[(&str, &str)]| run(&place, &builder, more, &["daemon", "du", "--json"]);
    assert_eq!(ids(&current(&[("BUILDX_BUILDER", "near")])), all);
    let chosen = serde_json::json!({ "Key": "unix:///var/run/docker.sock", "Name": "box", "Global": false });
    std::fs::write(place.path("buildx/current"), chosen.to_string()).unwrap();
    assert_eq!(ids(&current(&[])), 2 * all);
    assert_eq!(ids(&current(&[("DOCKER_HOST", "unix:///other"), ("BUILDX_BUILDER", "near")])), all);

    let unknown = du("nobody", &[]);
    assert_eq!(unknown.code, 5, "{unknown}");
    assert!(unknown.err.contains("box, near, pods"), "{unknown}");
    assert_eq!(du("../near", &[]).code, 5);
}

#[test]
fn nothing_is_started_to_be_asked() {
    let builder = Builder::start(Told::recorded());
    let place = Place::empty();
    instance(&place, "pods", "kubernetes", serde_json::json!([{ "Name": "pods0", "Endpoint": "" }]));
    instance(&place, "box", "docker-container", serde_json::json!([{ "Name": "box0", "Endpoint": "" }]));
    let ran = run(&place, &builder, &[("STAND_IN_STATUS", "stopped")], &["daemon", "du", "pods"]);
    assert_eq!(ran.code, 1, "{ran}");
    assert!(ran.err.contains("docker buildx inspect --bootstrap pods"), "{ran}");
    assert_eq!(builder.calls(), ["buildx inspect pods"], "dialling would have started it");
    for (says, code, hint) in [
        ("Error response from daemon: No such container: buildx_buildkit_box0", 5, "--bootstrap box"),
        ("Error response from daemon: container 6f is not running", 1, "--bootstrap box"),
        ("Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?", 1, "DOCKER_HOST"),
        ("permission denied while trying to connect to the Docker daemon socket", 4, "group docker"),
        ("something \u{1b}[31melse", 1, r"something \x1b[31melse"),
    ] {
        let ran = run(&place, &builder, &[("STAND_IN_REFUSES", says)], &["daemon", "du", "box"]);
        assert_eq!(ran.code, code, "{says}: {ran}");
        assert!(ran.err.contains(hint), "{says}: {ran}");
    }
    let mut command = place.command(&["daemon", "du", "pods"]);
    let ran = Ran::of(command.env("PATH", "/nowhere").env("BUILDX_CONFIG", place.path("buildx")).output().unwrap());
    assert_eq!(ran.code, 1, "{ran}");
    assert!(ran.err.contains("no docker on the PATH"), "{ran}");
}

#[test]
fn a_node_that_fails_hides_no_other() {
    let builder = Builder::start(Told::recorded());
    let place = Place::empty();
    let nodes = serde_json::json!([
        { "Name": "up", "Endpoint": builder.address() },
        { "Name": "down", "Endpoint": format!("unix://{}", place.path("none").display()) },
    ]);
    instance(&place, "two", "remote", nodes);
    let ran = run(&place, &builder, &[], &["daemon", "du", "two", "--json"]);
    assert_eq!(ids(&ran), Told::recorded().usage.len());
    assert_eq!(ran.json()["complete"], false);
    assert!(ran.err.contains("node down"), "{ran}");
}

#[test]
fn why_tells_of_children_and_rules() {
    let mut told = Told { workers: vec![worker()], ..Told::recorded() };
    told.usage[2].in_use = true;
    let builder = Builder::start(told);
    let place = Place::empty();
    let address = builder.address();
    let ran = run(&place, &builder, &[], &["daemon", "why", "[base 1/1]", &address]);
    assert_eq!(ran.code, 0, "{ran}");
    assert!(ran.out.contains("what builds on it keeps it") && ran.out.contains("which a build holds"), "{ran}");
    assert!(ran.out.contains("cap 93.1 GiB; floor 9.3 GiB"), "{ran}");
    let json = run(&place, &builder, &[], &["daemon", "why", "[base 1/1]", &address, "--json"]).json();
    assert_eq!((&json["kept"], json["rules"].as_array().unwrap().len()), (&"child".into(), 4));
    assert_eq!(run(&place, &builder, &[], &["daemon", "why", "nobody", &address]).code, 5);
    assert_eq!(
        run(&place, &builder, &[], &["daemon", "why", "local source", &address]).code,
        2,
        "it is not clear which"
    );
}

#[test]
fn hostile_descriptions_come_out_as_text() {
    let mut evil = Told::recorded();
    let mut one = evil.usage[0].clone();
    one.description = "\u{1b}]0;owned\u{7}\u{202e}step".to_owned();
    evil.usage = vec![one];
    let builder = Builder::start(evil);
    let place = Place::empty();
    for command in [&["daemon", "du"][..], &["daemon", "why", "step"]] {
        let ran = run(&place, &builder, &[], &[command, &[&builder.address()]].concat());
        assert_eq!(ran.code, 0, "{ran}");
        assert!(!ran.out.contains(['\u{1b}', '\u{7}', '\u{202e}']), "{ran}");
    }
}

#[test]
fn a_socket_that_may_not_be_opened_says_whose_it_is() {
    // Nobody keeps root out.
    if std::fs::read("/etc/shadow").is_ok() {
        return;
    }
    let builder = Builder::start(Told::default());
    std::fs::set_permissions(builder.socket(), std::fs::Permissions::from_mode(0o000)).unwrap();
    let error = refused(&open(&builder));
    assert_eq!(error.kind(), Kind::Denied);
    assert!(error.hint().unwrap().contains("group"), "{error:?}");
}

#[test]
fn records_of_a_great_builder_come_whole() {
    let mut one = usage::read(include_bytes!("../fixtures/daemon-du.json")).unwrap().remove(0);
    one.description = "x".repeat(200);
    let usage =
        (0..50_000).map(|n| record(&cachedeck::model::usage::UsageRecord { id: format!("{n:06}"), ..one.clone() }));
    let builder = Builder::start(Told { usage: usage.collect(), ..Told::default() });
    assert_eq!(wait(open(&builder).usage()).unwrap().len(), 50_000, "longer than what gRPC takes by itself");
}

/// Steps of `local-max` in the place, and who told them.
fn steps(ran: &Ran, source: &str) -> Vec<Option<String>> {
    assert_eq!(ran.code, 0, "{ran}");
    let items = ran.json()["items"].as_array().unwrap().clone();
    let step = |item: &serde_json::Value| {
        let step = item["step"].as_str().map(str::to_owned);
        assert_eq!(item["step_source"].as_str(), step.as_ref().map(|_| source), "{item}");
        step
    };
    items.iter().map(step).collect()
}

const LAYERS: [&str; 3] = ["layers", "local-max", "--json=step,step_source"];

#[test]
fn layers_of_a_cache_are_named_by_the_builders_at_hand() {
    let builder = Builder::start(Told::recorded());
    let place = Place::with("local-max");
    let layers = |more: &[(&str, &str)], options: &[&str]| run(&place, &builder, more, &[&LAYERS, options].concat());
    let nothing = steps(&layers(&[], &[]), "");
    assert!(nothing.iter().all(Option::is_none), "nobody is at hand");
    std::fs::write(place.path("usage.json"), include_bytes!("../fixtures/daemon-du.json")).unwrap();
    let right = steps(&layers(&[], &["--names", "usage.json"]), "usage");
    assert!(right.iter().all(Option::is_some));

    let near = serde_json::json!([{ "Name": "near0", "Endpoint": builder.address() }]);
    instance(&place, "near", "remote", near);
    assert_eq!(steps(&layers(&[], &["--no-builders"]), ""), nothing);
    std::fs::write(place.path("config.toml"), "builders = false").unwrap();
    assert_eq!(steps(&layers(&[], &["--config", "config.toml"]), ""), nothing);
    assert_eq!(run(&place, &builder, &[], &["ls", "local-max"]).code, 0);
    assert_eq!(run(&place, &builder, &[], &["demo"]).code, 0);
    assert_eq!(builder.asked.load(Ordering::SeqCst), 0, "only where steps are shown, and where that is wanted");
    assert_eq!(steps(&layers(&[], &[]), "builder"), right);
    assert_eq!(steps(&layers(&[], &["--names", "usage.json"]), "usage"), right, "what the user gives comes first");

    std::fs::remove_dir_all(place.path("buildx")).unwrap();
    assert_eq!(steps(&layers(&[], &[]), "remembered"), right);
    assert_eq!(steps(&layers(&[], &["--no-builders"]), ""), nothing);
    assert!(builder.calls().is_empty(), "no program was started");

    std::fs::remove_dir_all(place.path(".remembered")).unwrap();
    assert_eq!(steps(&layers(&[("BUILDKIT_HOST", &builder.address())], &[]), "builder"), right);
    std::fs::remove_dir_all(place.path(".remembered")).unwrap();
    std::fs::write(place.path("config.toml"), format!("[locations]\nb = \"type=daemon,addr={}\"", builder.address()))
        .unwrap();
    assert_eq!(steps(&layers(&[], &["--config", "config.toml"]), "builder"), right);
}

#[test]
fn builders_that_give_no_names_hold_nothing_up() {
    let builder = Builder::start(Told { silent: true, ..Told::default() });
    let place = Place::with("local-max");
    instance(&place, "mute", "remote", serde_json::json!([{ "Name": "mute0", "Endpoint": builder.address() }]));
    instance(&place, "pods", "kubernetes", serde_json::json!([{ "Name": "pods0", "Endpoint": "" }]));
    instance(&place, "odd", "remote", serde_json::json!([{ "Name": "odd0", "Endpoint": "unix://" }]));
    std::fs::write(place.path("buildx/instances/broken"), "{").unwrap();
    let environment = [("STAND_IN_STATUS", "stopped"), ("CACHEDECK_TIMEOUT", "600s")];
    let ran = run(&place, &builder, &environment, &LAYERS);
    assert!(steps(&ran, "").iter().all(Option::is_none));
    assert_eq!(ran.err, "");
    assert!(builder.asked.load(Ordering::SeqCst) > 0);
    assert!(builder.calls().iter().all(|call| call == "buildx inspect pods"), "nothing is started to be asked");
}
