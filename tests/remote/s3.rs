//! Buckets: a real server holds what BuildKit wrote, stand-ins say what a real one will not say on demand.

use crate::fixtures::Fixture;
use crate::support::s3::{Bucket, location};
use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use cachedeck::error::{Error, Kind, Result};
use cachedeck::model::digest::Digest;
use cachedeck::model::inventory::{Inventory, State};
use cachedeck::model::location::Location;
use cachedeck::ops::load::load;
use cachedeck::progress::Progress;
use cachedeck::store::catalog;
use serde_json::{Value, json};
use std::process::Command;

async fn look(location: &Location) -> Result<Inventory> {
    load(&catalog::open(location)?, &Progress::new()).await
}

/// A bucket that holds `s3-bucket`, its keys after `prefix`.
async fn filled(prefix: &str) -> Bucket {
    let bucket = Bucket::new().await;
    bucket.put_folder(&Fixture::unpack("s3-bucket").path(), prefix).await;
    bucket
}

/// The program's JSON, with whatever comes from the environment given there.
fn run(command: &str, location: &Location) -> Value {
    let mut program = Command::new(env!("CARGO_BIN_EXE_cachedeck"));
    let keys =
        [("AWS_ACCESS_KEY_ID", "tests"), ("AWS_SECRET_ACCESS_KEY", "only for tests"), ("AWS_REGION", "us-east-1")];
    let bucket = location.get("bucket").unwrap();
    program.env_clear().envs(keys).env("AWS_BUCKET", bucket).env("AWS_EC2_METADATA_DISABLED", "true");
    let bare = ["access_key_id", "secret_access_key", "bucket", "region"];
    let location = bare.iter().fold(location.clone(), |location, key| location.without(key));
    let output = program.args([command, "--json", &location.reveal()]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn ls_and_du_tell_what_is_in_the_bucket() {
    let bucket = filled("").await;
    let expected: Value = serde_json::from_str(include_str!("../fixtures/expected.json")).unwrap();
    let expected = &expected["s3-bucket"];

    let listing = run("ls", &bucket.location());
    assert_eq!((&listing["complete"], &listing["warnings"]), (&json!(true), &json!([])));
    assert_eq!(listing["location"]["bucket"], bucket.name);
    // Two names lead to one config: that is one version with two names.
    let items = listing["items"].as_array().unwrap();
    assert_eq!(items.len(), 1);
    assert_eq!(items[0]["tags"], json!(["5f1e2d3", "main"]));
    for manifest in expected["manifests"].as_array().unwrap() {
        for (field, value) in manifest.as_object().unwrap().iter().filter(|(field, _)| *field != "name") {
            assert_eq!(&items[0][field], value, "{field}");
        }
    }

    let usage = &run("du", &bucket.location())["items"][0];
    for field in ["blobs", "bytes", "live_blobs", "orphan_blobs", "orphan_bytes"] {
        assert_eq!(usage[field], expected[field], "{field}");
    }
    assert_eq!((&usage["missing_blobs"], &usage["indexes"]), (&json!(0), &json!(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn prefixes_are_minded() {
    let bucket = filled("team/a-").await;
    let elsewhere = look(&bucket.location()).await.unwrap();
    assert_eq!((elsewhere.indexes.len(), elsewhere.blobs.len()), (0, 0));
    let there = look(&bucket.location().with("prefix", "team/a-")).await.unwrap();
    assert_eq!((there.indexes.len(), there.usage.blobs, there.usage.orphan_blobs), (1, 16, 7));
    let spelt = bucket.location().with("manifests_prefix", "team/a-manifests/").with("blobs_prefix", "team/a-blobs/");
    assert_eq!(look(&spelt).await.unwrap().usage, there.usage);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_selects_and_hides_nothing() {
    let bucket = filled("").await;
    bucket.put("manifests/other", r#"{"layers":[]}"#).await;
    let inventory = look(&bucket.location().with("name", "main;other")).await.unwrap();
    assert_eq!(inventory.indexes.len(), 2);
    assert!(inventory.selected().unwrap().tags.contains(&"main".to_owned()));
    let error = look(&bucket.location()).await.unwrap().selected().unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_blob_is_told_and_uploads_are_left_over() {
    let bucket = filled("").await;
    bucket.put("blobs/README", "x").await;
    bucket.put("blobs/", "").await;
    bucket.begin_upload(&format!("blobs/{}", Digest::of(b"begun"))).await;
    let inventory = look(&bucket.location()).await.unwrap();
    assert!(inventory.complete);
    let [stray] = &inventory.warnings[..] else { panic!("{:?}", inventory.warnings) };
    assert!(stray.message.starts_with("blobs/README"), "{stray:?}");
    assert_eq!(inventory.leftovers.len(), 1);
    assert_eq!(inventory.usage.blobs, 16);
}

#[tokio::test(flavor = "multi_thread")]
async fn older_versions_are_there_to_choose_from() {
    let bucket = Bucket::new().await;
    bucket.keep_versions().await;
    let folder = Fixture::unpack("s3-bucket");
    bucket.put_folder(&folder.path().join("blobs"), "blobs/").await;
    let real = std::fs::read(folder.path().join("manifests/main")).unwrap();
    let (first, newest) = (r#"{"layers":[]}"#, r#"{"layers":[],"records":[]}"#);
    // The first is written twice: that is one content, and one version.
    for bytes in [first.as_bytes(), first.as_bytes(), &real, newest.as_bytes()] {
        bucket.put("manifests/main", bytes.to_vec()).await;
    }
    bucket.put("manifests/gone", real.clone()).await;
    bucket.delete("manifests/gone").await;
    let inventory = look(&bucket.location()).await.unwrap();
    assert!(inventory.complete, "{:?}", inventory.warnings);
    let found = |bytes: &[u8]| inventory.version(&Digest::of(bytes)).unwrap();
    assert_eq!(inventory.indexes.len(), 3);
    assert_eq!((&found(newest.as_bytes()).tags[..], found(newest.as_bytes()).listed), (&["main".to_owned()][..], true));
    let older = found(&real);
    assert!(older.is_dangling() && older.tags.is_empty());
    assert_eq!(older.formerly, ["gone", "main"]);
    assert_eq!(found(first.as_bytes()).formerly, ["main"]);
    assert_eq!((inventory.usage.dangling_blobs, inventory.usage.orphan_blobs), (9, 7));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_of_many_pages_is_whole() {
    let bucket = Bucket::new().await;
    let blob = |n: usize| format!("blobs/{}", Digest::of(n.to_string().as_bytes()));
    bucket.put_all((0..1100).map(|n| (blob(n), n.to_string().into()))).await;
    bucket.put_all((0..30).map(|n| (format!("manifests/{n}"), r#"{"layers":[]}"#.into()))).await;
    bucket.put("blobs/zzz", "").await;
    let inventory = look(&bucket.location()).await.unwrap();
    assert_eq!(inventory.usage.blobs, 1100);
    assert_eq!(inventory.blobs.iter().filter(|b| b.state == State::Orphan).count(), 1100);
    assert_eq!((inventory.indexes.len(), inventory.indexes[0].tags.len()), (1, 30));
    assert_eq!(inventory.warnings.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_is_not_there_is_not_created() {
    let bucket = Bucket::new().await;
    for _ in 0..2 {
        let error = look(&bucket.location().with("bucket", "nobody-has-this")).await.unwrap_err();
        assert_eq!(error.kind(), Kind::NotFound, "{error}");
        assert!(error.what().contains("no such bucket"), "{error}");
    }
}

/// A server that answers everything the same way.
async fn answering(answer: fn(&Request) -> Response) -> Location {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().fallback(move |request: Request| async move { answer(&request) });
    tokio::spawn(async move { axum::serve(listener, router).await });
    location(&endpoint, "b").with("retry_max_attempts", "1")
}

async fn refused(answer: fn(&Request) -> Response) -> Error {
    look(&answering(answer).await).await.unwrap_err()
}

fn error(status: StatusCode, code: &str) -> Response {
    let body = format!("<Error><Code>{code}</Code><Message>hidden</Message><Resource>hidden</Resource></Error>");
    (status, [("content-type", "application/xml")], body).into_response()
}

/// What a stand-in answers to a request.
type Answers = fn(&Request) -> Response;

#[tokio::test(flavor = "multi_thread")]
async fn refusals_say_what_to_do() {
    let cases: [(Answers, Kind, &str); 8] = [
        (|_| error(StatusCode::FORBIDDEN, "AccessDenied"), Kind::Denied, "s3:ListBucket"),
        (|_| error(StatusCode::FORBIDDEN, "InvalidAccessKeyId"), Kind::Unauthenticated, "AWS_PROFILE"),
        (|_| error(StatusCode::FORBIDDEN, "SignatureDoesNotMatch"), Kind::Unauthenticated, "access key"),
        (|_| error(StatusCode::BAD_REQUEST, "ExpiredToken"), Kind::Unauthenticated, "log in again"),
        (|_| error(StatusCode::NOT_FOUND, "NoSuchBucket"), Kind::NotFound, "bucket"),
        (|_| error(StatusCode::SERVICE_UNAVAILABLE, "SlowDown"), Kind::Unavailable, "later"),
        (|_| error(StatusCode::CONFLICT, "OperationAborted"), Kind::Stale, ""),
        (|_| (StatusCode::OK, "<html>welcome").into_response(), Kind::Corrupt, ""),
    ];
    for (answer, kind, hint) in cases {
        let error = refused(answer).await;
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.hint().unwrap_or_default().contains(hint), "{error:?}");
        assert!(!format!("{error}").contains("hidden"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_right_region_is_named() {
    let error = refused(|_| {
        let headers = [("x-amz-bucket-region", "eu-west-1"), ("location", "http://127.0.0.1:1/")];
        (headers, error(StatusCode::MOVED_PERMANENTLY, "PermanentRedirect")).into_response()
    })
    .await;
    assert_eq!(error.kind(), Kind::Invalid);
    assert_eq!(error.hint(), Some("set region=eu-west-1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_be_read_is_unknown_and_never_missing() {
    let digest = Digest::of(b"x");
    let location = answering(|request| {
        let query = request.uri().query().unwrap_or_default();
        let list = |contents: &str| {
            let xml = format!("<ListBucketResult><IsTruncated>false</IsTruncated>{contents}</ListBucketResult>");
            ([("content-type", "application/xml")], xml).into_response()
        };
        let object =
            |key: &str| format!("<Contents><Key>{key}</Key><Size>1</Size><ETag>&quot;e&quot;</ETag></Contents>");
        match () {
            () if query.contains("list-type=2") && query.contains("manifests") => list(&object("manifests/main")),
            () if query.contains("list-type=2") => list(&object(&format!("blobs/{}", Digest::of(b"x")))),
            () => error(StatusCode::FORBIDDEN, "AccessDenied"),
        }
    })
    .await;
    let inventory = look(&location).await.unwrap();
    assert!(!inventory.complete);
    assert!(inventory.indexes[0].unread);
    assert_eq!(inventory.indexes[0].tags, ["main"]);
    assert_eq!(inventory.blob(&digest).unwrap().state, State::Unknown);
    let store = catalog::open(&location).unwrap();
    assert_eq!(store.stat(&digest).await.unwrap_err().kind(), Kind::Denied);
    assert_eq!(store.read(&digest, 9).await.unwrap_err().kind(), Kind::Denied);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_that_repeat_end_in_an_error() {
    let error = refused(|_| {
        let xml = "<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>\
                   <Contents><Key>manifests/a</Key><Size>1</Size></Contents></ListBucketResult>";
        ([("content-type", "application/xml")], xml).into_response()
    })
    .await;
    assert_eq!(error.kind(), Kind::Corrupt);
    let error = refused(|_| {
        let xml = "<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>\
                   </ListBucketResult>";
        ([("content-type", "application/xml")], xml).into_response()
    })
    .await;
    assert_eq!(error.kind(), Kind::Corrupt);
}

#[test]
fn without_credentials_it_says_so() {
    let mut program = Command::new(env!("CARGO_BIN_EXE_cachedeck"));
    let output = program
        .env_clear()
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("HOME", "/nonexistent")
        .args(["ls", "--json", "type=s3,bucket=b,region=us-east-1,endpoint_url=http://127.0.0.1:1,use_path_style=true"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(4), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no AWS credentials"));
}
