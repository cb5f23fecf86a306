//! Eight places of all kinds at once, real ones and stand-ins; one of them fails and one never answers.

use crate::builder::{Builder, Told};
use crate::fixtures::Fixture;
use crate::github::Github;
use crate::names;
use crate::screenshots::held;
use crate::snapshots::check_in;
use crate::stage::{Scene, Stage};
use crate::support::azure::Container;
use crate::support::pushing::{Repository, wait};
use crate::support::s3::{self, Bucket};
use crate::support::{registry, unique};
use axum::Router;
use axum::http::StatusCode;
use cachedeck::model::location::Location;
use cachedeck::tui::app::Message;
use cachedeck::tui::svg::Background;
use std::net::TcpListener;
use std::time::Duration;

/// Which of them never answers.
const SLOW: usize = 2;
/// As they are called on stage, in their order there.
const PLACES: [&str; 8] = [
    "type=local,src=app-cache",
    "type=registry,ref=ghcr.io/acme/app:cache",
    "type=inline,ref=ghcr.io/acme/web:latest",
    "type=s3,bucket=acme-ci,region=eu-west-1,prefix=team-a/",
    "type=azblob,account_url=https://acmecache.blob.core.windows.net,container=buildkit,prefix=team/",
    "type=gha,repo=acme/app",
    "type=daemon,builder=ci0",
    "type=s3,bucket=acme-eu,region=eu-central-1",
];

/// The places, as long as this lives.
pub struct Many {
    real: Vec<Location>,
    _fixture: Fixture,
    _silent: TcpListener,
    _github: Github,
    _builder: Builder,
}

impl Many {
    /// Fills them all.
    pub fn fill() -> Self {
        let fixture = Fixture::unpack("local-history");
        let server = registry();
        let repository = Repository::new(&server, &unique("many"));
        wait(|| repository.layout(fixture.path(), &[]));
        let registry = insecure("registry", &server, &format!("{}:main", repository.name));

        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let inline = insecure("inline", &format!("http://{}", silent.local_addr().unwrap()), "acme/web:latest");

        let bucket = wait(|| async {
            let bucket = Bucket::new().await;
            bucket.put_folder(&Fixture::unpack("s3-bucket").path(), "team-a/").await;
            bucket
        });
        let container = Container::of_files(&Fixture::unpack("azblob-container").path());
        let github = Github::start();
        github.fill(&Fixture::unpack("gha-cache").path());
        let builder = Builder::start(Told::recorded());
        let real = vec![
            crate::location(&fixture),
            registry,
            inline,
            bucket.location().with("prefix", "team-a/"),
            container.location().parse::<Location>().unwrap().with("prefix", "team/"),
            github.rest(),
            Location::new("daemon").with("addr", builder.address()),
            s3::location(&forbidding(), "acme-eu"),
        ];
        Self { real, _fixture: fixture, _silent: silent, _github: github, _builder: builder }
    }

    /// The app with all of them, loaded but for the one that never answers.
    pub fn stage(&self) -> Stage {
        let shown = PLACES.map(|place| place.parse::<Location>().unwrap());
        let slow = Some(shown[SLOW].clone());
        let cast = shown.into_iter().zip(self.real.iter().cloned()).collect();
        later(Stage::open_as(cast, Scene { names: names(), slow, ..Scene::default() }))
    }
}

fn insecure(kind: &str, server: &str, reference: &str) -> Location {
    let server = server.strip_prefix("http://").unwrap();
    Location::new(kind).with("ref", format!("{server}/{reference}")).with("registry.insecure", "true")
}

/// An S3 server at which nothing may be done.
fn forbidding() -> String {
    const REFUSAL: &str = "<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>";
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let router = Router::new().fallback(|| async { (StatusCode::FORBIDDEN, REFUSAL) });
            axum::serve(tokio::net::TcpListener::from_std(listener).unwrap(), router).await.unwrap();
        });
    });
    url
}

/// Two days after the fixtures were made.
fn later(mut stage: Stage) -> Stage {
    stage.tell(Message::Tick("2026-11-22T18:00:00Z".parse().unwrap(), Duration::from_secs(1)));
    stage
}

#[test]
fn eight_places_are_seen_at_once() {
    let many = Many::fill();
    let mut stage = many.stage();
    held("many", &stage.buffer(), Background::Dark);
    check_in(&[(120, 35)], "many", &mut stage);
    check_in(&[(80, 24)], "many_small", stage.press("1"));
}

#[test]
fn a_slow_place_and_a_failing_one_hold_up_no_other() {
    let many = Many::fill();
    let mut stage = many.stage();
    // What each says, and what one step into it says.
    let expected: [(&[&str], &[&str]); 8] = [
        (&["6 indexes", "latest", "release"], &["9 layers", "dcd50806e37f"]),
        (&["2 indexes", "latest", "release"], &["9 layers", "dcd50806e37f"]),
        (&["loading", "esc stops"], &["loading", "esc stops"]),
        (&["5f1e2d3 +1", "229.2 KiB in 7 orphans"], &["10 layers", "8a9d17cbe2b4"]),
        (&["5f1e2d3 +1", "1 index ", "9 blobs"], &["10 layers"]),
        (&["web@refs/heads/main", "○ unknown"], &["not supported by gha: contents need a workflow run's token"]),
        (&["a builder has no versions", "12 records"], &["BuildKit v0.31.0", "why it is kept"]),
        (&["access denied (AccessDenied)", "s3:ListBucket", "r tries again"], &["access denied (AccessDenied)"]),
    ];
    stage.press("1");
    for (row, (says, inside)) in expected.into_iter().enumerate() {
        let title = PLACES[row].parse::<Location>().unwrap().title();
        stage.see(&format!("› {title} ")).see(&format!(" {}/8 ", row + 1));
        for text in says {
            stage.see(text);
        }
        stage.press("2 enter");
        for text in inside {
            stage.see(text);
        }
        let home = stage.shows("1 locations");
        stage.press(if home { "1 j" } else { "q 1 j" });
    }
    // All this time it went on.
    stage.see("⠋ inline");
}

#[test]
fn a_slow_place_is_stopped_and_loaded_again() {
    let many = Many::fill();
    for keys in ["1 j j esc", "1 j j ctrl+c"] {
        let mut stage = many.stage();
        stage.see("⠋ inline").press(keys).wait_for_all();
        stage.see("inline:ghcr.io/acme/web:latest: loading stopped; r loads it again").see("loading was stopped");
        assert!(!stage.quit);
        stage.miss("⠋").press("r").see("⠋ inline");
    }
    // Escape minds only the place one is at, and the line at the bottom tells what stops the other.
    let mut stage = many.stage();
    stage.press("1").see("^c stop").press("esc").see("⠋ inline").press("j j").see("esc stop");
    stage.press("k k ctrl+c").wait_for_all().see("inline:ghcr.io/acme/web:latest: loading stopped");
}

#[test]
fn what_a_place_does_not_give_is_refused_with_the_reason() {
    let many = Many::fill();
    let mut stage = many.stage();
    let why = "not supported by gha: contents need a workflow run's token";
    stage.press("1 j j j j j 2").see(&format!("its content can't be read: {why}"));
    // The line at the bottom answers keys.
    stage.press("g f");
    assert!(stage.line(34).contains(why), "{}", stage.text());
    stage.press("enter").see(why).see("run cachedeck in a workflow, with ACTIONS_RUNTIME_TOKEN");
    stage.press("q 1 j g f");
    assert!(stage.line(34).contains("not supported by daemon: "), "{}", stage.text());
}
