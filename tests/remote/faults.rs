//! Every fault, at every request that a program sends to a place: it ends with the truth, or says what it could not read. A
//! fault that passes changes nothing; one that stays is told, and so is everything that could still be had.

use crate::fixtures::Fixture;
use crate::program::{Place, Ran};
use crate::support::azure::Container;
use crate::support::builder::{Builder, Told};
use crate::support::faults::{Answer, Asked, Fault, Proxy, When};
use crate::support::github::Github;
use crate::support::pushing::{Repository, wait};
use crate::support::s3::Bucket;
use crate::support::wire::{Break, Wire};
use crate::support::{azure, registry, unique};
use serde_json::Value;
use tonic::{Code, Status};

/// A place behind a proxy, and how its API's pages look.
struct Subject {
    name: &'static str,
    proxy: Proxy,
    location: String,
    env: Vec<(&'static str, String)>,
    /// The part of a request line that asks for a list.
    list: &'static str,
    /// The list's answers: a page with nothing in it that leads nowhere, every page twice, pages that lead in a circle.
    empty_page: Fault,
    duplicate_page: Fault,
    looping_page: Fault,
}

/// A new backend is one line here.
const SUBJECTS: &[fn() -> Subject] = &[registry_subject, gha_subject, s3_subject, azblob_subject];

fn registry_subject() -> Subject {
    let repository = Repository::new(&registry(), &unique("faults"));
    let fixture = Fixture::unpack("local-history");
    wait(|| repository.layout(fixture.path(), &[]));
    let proxy = Proxy::before(&registry());
    let location = format!("type=registry,ref={}/{},registry.insecure=true", proxy.authority(), repository.name);
    let again = |asked: &Asked, answer: Answer, next: &str| {
        let path = asked.line.split_once(' ').unwrap().1;
        let path = path.split('?').next().unwrap();
        answer.with("link", &format!("<{path}?{next}>; rel=\"next\""))
    };
    Subject {
        name: "registry",
        location,
        proxy,
        env: Vec::new(),
        list: "/tags/list",
        empty_page: Fault::changed(|_, answer| answer.with_body(r#"{"name":"x","tags":null}"#)),
        duplicate_page: Fault::changed(move |asked, answer| match asked.line.contains("second") {
            true => answer,
            false => again(asked, answer, "second=1"),
        }),
        looping_page: Fault::changed(move |asked, answer| again(asked, answer, "n=1000")),
    }
}

/// GitHub's REST API and cache service; what signed URLs lead to is no place of theirs.
fn gha_subject() -> Subject {
    let github = Github::start();
    github.fill(&Fixture::unpack("gha-cache").path());
    let proxy = Proxy::before(&github.url);
    let location = github.both(2).with("api_url", proxy.url()).with("url_v2", proxy.url()).reveal();
    // It runs as long as the tests do.
    std::mem::forget(github);
    let page = |text: &'static str| Fault::changed(move |_, answer| answer.with_body(text));
    Subject {
        name: "gha",
        location,
        proxy,
        env: Vec::new(),
        list: "/actions/caches",
        empty_page: page(r#"{"total_count":0,"actions_caches":[]}"#),
        duplicate_page: Fault::changed(|_, answer| {
            let mut page: Value = serde_json::from_slice(&answer.body).unwrap();
            let list = page["actions_caches"].as_array_mut().unwrap();
            list.extend(list.clone());
            answer.with_body(page.to_string())
        }),
        looping_page: page(r#"{"total_count":250,"actions_caches":[{"id":1,"key":"x"}]}"#),
    }
}

fn s3_subject() -> Subject {
    let bucket = wait(|| async {
        let bucket = Bucket::new().await;
        bucket.put_folder(&Fixture::unpack("s3-bucket").path(), "").await;
        bucket
    });
    let proxy = Proxy::before(&bucket.endpoint);
    let location = bucket.location().with("endpoint_url", proxy.url()).reveal();
    let more =
        |mark: &str| format!("<IsTruncated>true</IsTruncated><NextContinuationToken>{mark}</NextContinuationToken>");
    let (looping, twice) = (format!("<ListBucketResult>{}</ListBucketResult>", more("1")), more("second"));
    Subject {
        name: "s3",
        location,
        proxy,
        env: Vec::new(),
        list: "list-type=2",
        empty_page: Fault::changed(|_, answer| answer.with_body("<ListBucketResult></ListBucketResult>")),
        duplicate_page: Fault::changed(move |asked, _| {
            let more = if asked.line.contains("second") { "" } else { &twice };
            let key = "<Contents><Key>manifests/main</Key><Size>1</Size></Contents>";
            Answer::status(200).with_body(format!("<ListBucketResult>{more}{key}</ListBucketResult>"))
        }),
        looping_page: Fault::Answers(Answer::status(200).with_body(looping)),
    }
}

fn azblob_subject() -> Subject {
    let container = Container::of_files(&Fixture::unpack("azblob-container").path());
    let proxy = Proxy::before(&azure());
    let location = format!("{},prefix=team/", container.location().replace(&azure(), proxy.url()));
    let page = |blobs: &str, marker: &str| {
        let page =
            format!("<EnumerationResults><Blobs>{blobs}</Blobs><NextMarker>{marker}</NextMarker></EnumerationResults>");
        Answer::status(200).with_body(page)
    };
    Subject {
        name: "azblob",
        location,
        proxy,
        env: Vec::new(),
        list: "comp=list",
        empty_page: Fault::Answers(page("", "")),
        duplicate_page: Fault::changed(|asked, answer| match asked.line.contains("marker=second") {
            true => answer,
            false => {
                let page = String::from_utf8(answer.body.clone()).unwrap();
                let marker = "<NextMarker>second</NextMarker>";
                answer.with_body(page.replace("<NextMarker/>", marker).replace("<NextMarker></NextMarker>", marker))
            }
        }),
        looping_page: Fault::Answers(page("", "1")),
    }
}

impl Subject {
    fn run(&self) -> Ran {
        self.run_for("30s")
    }

    /// With a server that may say nothing for so long.
    fn run_for(&self, timeout: &str) -> Ran {
        let place = Place::empty();
        let mut command = place.command(&["ls", "--json", &self.location]);
        command.env("CACHEDECK_TIMEOUT", timeout).envs(self.env.iter().map(|(name, value)| (name, value)));
        Ran::of(command.output().unwrap())
    }
}

/// What may come of a fault at one request.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    /// The same as without it: it was tried again.
    Same,
    /// A program that ends with this exit code, or tells what is missing in what it shows.
    Told(&'static [i32]),
}

fn faults() -> Vec<(&'static str, Fault, End)> {
    let busy = Answer::status(429).with("retry-after", "0");
    vec![
        ("401", Fault::status(401), End::Told(&[4])),
        ("403", Fault::status(403), End::Told(&[4])),
        ("404", Fault::status(404), End::Told(&[5])),
        ("409", Fault::status(409), End::Told(&[8])),
        ("429", Fault::Answers(busy), End::Same),
        ("500", Fault::status(500), End::Same),
        ("503", Fault::Answers(Answer::status(503).with("retry-after", "0")), End::Same),
        ("reset", Fault::Reset, End::Same),
        ("stall", Fault::Stall, End::Told(&[1])),
        ("stall halfway", Fault::StallHalfway, End::Told(&[1])),
        ("reset halfway", Fault::ResetHalfway, End::Same),
        ("truncated body", Fault::Truncated, End::Told(&[6])),
        ("too long a body", Fault::TooLong, End::Told(&[6])),
        ("wrong length", Fault::WrongLength, End::Same),
        ("wrong bytes", Fault::WrongBytes, End::Told(&[6])),
    ]
}

/// How long a program is to wait: not at all for what never comes, and long for all else, as the machine may be busy.
fn patience(fault: &Fault) -> &'static str {
    if matches!(fault, Fault::Stall | Fault::StallHalfway) { "300ms" } else { "30s" }
}

fn shown(ran: &Ran) -> Value {
    serde_json::from_str(&ran.out).unwrap_or(Value::Null)
}

#[test]
fn a_fault_at_any_request_ends_well() {
    let mut wrong = Vec::new();
    for subject in SUBJECTS {
        let subject = subject();
        let whole = subject.run();
        assert!(whole.code == 0 && shown(&whole)["items"][0]["layers"].is_number(), "{}: {whole}", subject.name);
        let requests = subject.proxy.asked().len();
        assert!(requests > 1, "{}", subject.name);
        for (name, fault, end) in faults() {
            for n in 1..=requests {
                subject.proxy.heal();
                subject.proxy.play(When::nth(n), fault.clone());
                let ran = subject.run_for(patience(&fault));
                let line = subject.proxy.asked().get(n - 1).map(|asked| asked.line.clone()).unwrap_or_default();
                if let Some(why) = verdict(&ran, &whole, end) {
                    wrong.push(format!("{}, {name} at request {n} ({line}): {why}\n{ran}", subject.name));
                }
            }
        }
        subject.proxy.heal();
        assert_eq!(shown(&subject.run()), shown(&whole), "{}: it works again", subject.name);
    }
    assert!(wrong.is_empty(), "{} go wrong:\n\n{}", wrong.len(), wrong.join("\n\n"));
}

/// What is wrong with how a run ended.
fn verdict(ran: &Ran, whole: &Ran, end: End) -> Option<String> {
    let (seen, all) = (shown(ran), shown(whole));
    if ran.code == 101 || ran.err.contains("panicked") {
        return Some("it panicked".to_owned());
    }
    if ran.code == 0 && seen == all {
        return None;
    }
    let End::Told(codes) = end else { return Some("it should have been tried again".to_owned()) };
    match ran.code {
        0 if seen["complete"] == false || has_damage(&seen) => None,
        0 => Some("something is missing, and nothing says so".to_owned()),
        code if !codes.contains(&code) => Some(format!("exit code {codes:?} was expected")),
        _ if !ran.err.contains("\"type\":\"error\"") => Some("no error is told".to_owned()),
        _ => None,
    }
}

/// Whether a version is said to be damaged, by what it lacks.
fn has_damage(seen: &Value) -> bool {
    let damaged = |item: &Value| item["state"] == "damaged" && item["missing"] != Value::Array(vec![]);
    seen["items"].as_array().is_some_and(|items| items.iter().any(damaged))
}

#[test]
fn what_stays_broken_is_told() {
    for subject in SUBJECTS {
        let subject = subject();
        for (name, fault, _) in faults() {
            subject.proxy.heal();
            subject.proxy.play(When::always(), fault.clone());
            let ran = subject.run_for(patience(&fault));
            let is_told = ran.err.contains("\"type\":\"error\"") || shown(&ran)["complete"] == false;
            assert!(is_told && ran.code != 101, "{}, {name}: {ran}", subject.name);
        }
    }
}

#[test]
fn odd_pages_end_well() {
    for subject in SUBJECTS {
        let subject = subject();
        let whole = subject.run();
        let pages = |fault: &Fault| {
            subject.proxy.heal();
            subject.proxy.play(When::always().of(subject.list), fault.clone());
            subject.run()
        };
        let empty = pages(&subject.empty_page);
        assert_eq!(empty.code, 0, "{}: {empty}", subject.name);
        assert_eq!(shown(&empty)["items"], Value::Array(vec![]), "{}", subject.name);
        // Where keys have an order, a page that comes again is a list that goes backwards.
        let twice = pages(&subject.duplicate_page);
        let is_told = twice.code == 6 && twice.err.contains("backwards");
        assert!(is_told || shown(&twice) == shown(&whole), "{}: {twice}", subject.name);
        let looping = pages(&subject.looping_page);
        assert_eq!(looping.code, 6, "{}: {looping}", subject.name);
        assert!(looping.err.contains("circle"), "{}: {looping}", subject.name);
        assert!(subject.proxy.asked().len() < 20, "{}", subject.name);
    }
}

/// What a builder says of its records, over `wire`.
fn records(wire: &Wire, timeout: &str) -> Ran {
    let place = Place::empty();
    let mut command =
        place.command(&["daemon", "du", "--json", &format!("type=daemon,addr=tcp://127.0.0.1:{}", wire.port)]);
    Ran::of(command.env("CACHEDECK_TIMEOUT", timeout).output().unwrap())
}

#[test]
fn the_wire_to_a_builder_may_fail_anywhere() {
    let builder = Builder::start(Told::recorded());
    let wire = Wire::to(builder.port);
    let whole = records(&wire, "30s");
    assert!(whole.code == 0 && shown(&whole)["complete"] == true, "{whole}");
    let length = wire.passed();
    let mut wrong = Vec::new();
    for how in [Break::Reset, Break::End, Break::Silence, Break::Noise] {
        for part in 0..16 {
            wire.fail(Some((length * part / 16, how)));
            let ran = records(&wire, if how == Break::Silence { "300ms" } else { "30s" });
            // Nothing tells wrong bytes within a text from right ones.
            let garbled = how == Break::Noise && ran.code == 0;
            if let Some(why) = verdict(&ran, &whole, End::Told(&[1])).filter(|_| !garbled) {
                wrong.push(format!("{how:?} after {part}/16: {why}\n{ran}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} go wrong:\n\n{}", wrong.len(), wrong.join("\n\n"));
    wire.fail(None);
    assert_eq!(shown(&records(&wire, "30s")), shown(&whole), "it works again");
}

#[test]
fn what_a_builder_refuses_is_told() {
    for (code, exit) in [
        (Code::Unauthenticated, 4),
        (Code::PermissionDenied, 4),
        (Code::ResourceExhausted, 1),
        (Code::Unavailable, 1),
        (Code::DeadlineExceeded, 1),
        (Code::Unknown, 1),
        (Code::Unimplemented, 0),
    ] {
        let builder = Builder::start(Told { failure: Some(Status::new(code, "no")), ..Told::recorded() });
        let ran = records(&Wire::to(builder.port), "30s");
        assert_eq!(ran.code, exit, "{code:?}: {ran}");
        let is_told = ran.err.contains("\"type\":\"error\"") || shown(&ran)["complete"] == false;
        assert!(is_told, "{code:?}: {ran}");
    }
}
