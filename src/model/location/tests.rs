use super::*;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn parse(text: &str) -> Location {
    Location::parse(text).unwrap()
}

fn digest() -> Digest {
    Digest::from_hex(HEX).unwrap()
}

fn pairs(location: &Location) -> Vec<(&str, &str)> {
    location.keys.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect()
}

#[test]
fn reads_what_buildx_reads() {
    for (text, kind, keys) in [
        ("type=local,src=path/to/cache", "local", vec![("src", "path/to/cache")]),
        ("TYPE=local,Src=./A", "local", vec![("src", "./A")]),
        ("src=x,type=local\n", "local", vec![("src", "x")]),
        ("type=local,src=a=b=c", "local", vec![("src", "a=b=c")]),
        ("type=local,\"src=a,b\"", "local", vec![("src", "a,b")]),
        ("type=local,\"src=say \"\"hi\"\"\"", "local", vec![("src", "say \"hi\"")]),
        ("type=s3,name=a;b,prefix=", "s3", vec![("name", "a;b"), ("prefix", "")]),
        ("type=new,x-y=1", "new", vec![("x-y", "1")]),
        ("type=local, src=x", "local", vec![(" src", "x")]),
        ("type=local,=x", "local", vec![("", "x")]),
        ("type=registry,type=local", "local", vec![]),
        ("type=local,src=a,tag=t,src=b", "local", vec![("src", "b"), ("tag", "t")]),
        ("ghcr.io/acme/app:cache", "registry", vec![("ref", "ghcr.io/acme/app:cache")]),
        ("user/app\n", "registry", vec![("ref", "user/app")]),
        ("type=Local", "Local", vec![]),
        ("type=local,KÖLN\u{130}Σ=x", "local", vec![("kölniσ", "x")]),
    ] {
        let location = parse(text);
        assert_eq!((location.kind(), pairs(&location)), (kind, keys), "{text:?}");
    }
}

#[test]
fn refuses_what_buildx_refuses() {
    for text in
        ["", "\n", "test=test", "a,b", "type=local,src", "type=local,", "type=", "type=,src=x", "type=local,src=a\"b"]
    {
        assert_eq!(Location::parse(text).unwrap_err().kind(), Kind::Invalid, "{text:?}");
    }
}

#[test]
fn references_may_be_listed() {
    let refs = |text| Location::parse_all(text).map(|all| all.iter().map(Location::reveal).collect::<Vec<_>>());
    assert_eq!(refs("ref1,ref2").unwrap(), ["type=registry,ref=ref1", "type=registry,ref=ref2"]);
    assert_eq!(refs("type=local,src=x").unwrap(), ["type=local,src=x"]);
    // Each field is read again, as buildx does.
    assert_eq!(refs("\"\"\"a,b\"\"\"").unwrap(), ["type=registry,\"ref=a,b\""]);
    for text in ["a,,b", "a,", "\"\"", "\"a,b\""] {
        assert!(refs(text).is_err(), "{text:?}");
    }
}

#[test]
fn bare_paths_are_local_and_names_are_names() {
    let given = |text: &str| Given::parse(text, |path| path == "cache" || path == "a,b").unwrap();
    for path in ["/var/cache", "./c", "../c", ".", "..", ".buildx-cache", "~/c", "./a=b,c", "cache", "a,b"] {
        assert_eq!(given(path), [Given::Location(Location::local_dir(path))], "{path}");
    }
    assert_eq!(given("@ci"), [Given::Alias("ci".into())]);
    assert_eq!(given("cache:v1"), [Given::Location(parse("type=registry,ref=cache:v1"))]);
    for text in ["@", "@a b", "@a,b", "@../x", ""] {
        assert!(Given::parse(text, |_| true).is_err(), "{text:?}");
    }
    // buildx's own words come before a folder that happens to be called like them.
    let version = |text: &str| vec![Given::Location(parse(text))];
    assert_eq!(given("cache,tag=main"), version("type=local,src=cache,tag=main"));
    let digest = format!("digest=sha256:{}", "a".repeat(64));
    assert_eq!(given(&format!("./x=y,{digest}")), version(&format!("type=local,src=./x=y,{digest}")));
    assert_eq!(Given::parse("./a,tag=b", |_| true).unwrap(), [Given::Location(Location::local_dir("./a,tag=b"))]);
    assert!(Given::parse("app,tag=main", |_| false).is_err(), "no folder and no type");
    assert_eq!(Given::parse("type=local,src=x", |_| true).unwrap(), [Given::Location(parse("type=local,src=x"))]);
}

#[test]
fn odd_keys_are_kept_and_named() {
    let location = parse("type=local,scr=x,src=y,src=z,zzzzzz=1");
    assert_eq!(pairs(&location), [("scr", "x"), ("src", "z"), ("zzzzzz", "1")]);
    assert_eq!(
        location.warnings(),
        [
            "src is given twice, the last counts",
            "type=local does not know the key scr, did you mean src?",
            "type=local does not know the key zzzzzz",
        ]
    );
    assert_eq!(parse("type=local,dest=x,mode=max,compression=zstd,reset=true").warnings(), [""; 0]);
    assert_eq!(parse("type=locl,scr=x").warnings(), [""; 0], "the catalog refuses the type itself");
}

#[test]
fn local_needs_one_folder() {
    let local = |text: &str| parse(text).local();
    let plain = Local { dir: "x".into(), tag: None, digest: None };
    for text in
        ["type=local,src=x", "type=local,dest=x", "type=local,src=x,dest=x,tag=,digest=", "type=local,src=,dest=x"]
    {
        assert_eq!(local(text).unwrap(), plain, "{text}");
    }
    let full = Local { tag: Some("t".into()), digest: Some(digest()), ..plain };
    assert_eq!(local(&format!("type=local,src=x,tag=t,digest=sha256:{HEX}")).unwrap(), full);
    for text in ["type=local", "type=local,src=", "type=local,src=x,dest=y", "type=local,src=x,digest=sha256:../x", "x"]
    {
        let error = local(text).unwrap_err();
        assert_eq!(error.kind(), Kind::Invalid, "{text}");
    }
}

#[test]
fn secrets_are_never_shown() {
    let text = "type=s3,bucket=b,access_key_id=CANARY1,secret_access_key=CANARY2,session_token=CANARY3,\
                secret_acess_key=CANARY4,endpoint_url=https://u:CANARY5@host/?X-Amz-Signature=CANARY6";
    let location = parse(text);
    let json = serde_json::to_string(&location).unwrap();
    let warnings = location.warnings().join("\n");
    for out in [
        location.to_string(),
        format!("{location:?}"),
        format!("{:#?}", Given::Location(location.clone())),
        location.title(),
        location.identity(),
        location.cache_from(None, None).unwrap(),
        location.cache_to(Some("n")).unwrap(),
        json.clone(),
        warnings,
    ] {
        assert!(!out.contains("CANARY"), "{out}");
    }
    assert!(json.starts_with(r#"{"type":"s3","bucket":"b","access_key_id":"***","#));
    assert_eq!(location.get("secret_access_key"), Some("CANARY2"));
    assert!(location.reveal().contains("CANARY2"));
    // A comma in an unquoted secret ends the field; what follows is still part of the secret.
    for text in ["type=s3,secret_access_key=a,CANARY", "secret_access_key=CANARY", "type=s3,token=CANARY\"x"] {
        let error = Location::parse(text).unwrap_err();
        assert!(!format!("{error}{:?}", error.hint()).contains("CANARY"));
    }
}

#[test]
fn one_version_as_a_flag() {
    let from = |text: &str, digest, index| parse(text).cache_from(digest, index).map_err(|e| e.kind());
    let sha = format!("sha256:{HEX}");
    for (text, wanted_digest, index, flag) in [
        ("type=local,src=./c", None, None, "type=local,src=./c".to_owned()),
        ("type=local,dest=./c,mode=max", None, Some("main"), "type=local,src=./c,tag=main".into()),
        ("type=local,src=c,tag=old", Some(digest()), Some("main"), format!("type=local,src=c,digest={sha}")),
        ("type=local,src=c,tag=old", None, None, "type=local,src=c,tag=old".into()),
        ("type=local,src=a,x=1", None, Some("a,b"), "type=local,src=a,x=1,\"tag=a,b\"".into()),
        ("type=local,\"src=a,b\"", None, None, "type=local,\"src=a,b\"".into()),
        ("h:5000/r:t", Some(digest()), None, format!("type=registry,ref=h:5000/r@{sha}")),
        ("h:5000/r", None, Some("v1"), "type=registry,ref=h:5000/r:v1".into()),
        ("type=inline,ref=r:t", None, None, "type=registry,ref=r:t".into()),
        ("type=s3,bucket=b,token=x,mode=max", None, Some("n"), "type=s3,bucket=b,name=n".into()),
        ("type=gha,repo=o/r,scope=a", None, Some("b"), "type=gha,scope=b".into()),
        ("type=new,x=1", None, None, "type=new,x=1".into()),
    ] {
        assert_eq!(from(text, wanted_digest, index), Ok(flag), "{text}");
    }
    assert_eq!(from("type=daemon,builder=b", None, None), Err(Kind::Unsupported));
    assert_eq!(from("type=s3,bucket=b", Some(digest()), None), Err(Kind::Unsupported));
    assert_eq!(from("type=registry", None, None), Err(Kind::Invalid));
    assert_eq!(from("type=local", None, None), Err(Kind::Invalid));

    let to = |text: &str, index| parse(text).cache_to(index).map_err(|e| e.kind());
    for (text, index, flag) in [
        ("type=local,src=c,tag=t,digest=x", None, "type=local,dest=c,tag=t"),
        ("type=local,dest=c,mode=max", Some("n"), "type=local,dest=c,mode=max,tag=n"),
        ("h/r:t@sha256:0", Some("n"), "type=registry,ref=h/r:n"),
        ("type=inline,ref=r:t", None, "type=inline"),
        ("type=azblob,account_url=https://a?sig=1,name=x", Some("n"), "type=azblob,account_url=https://a,name=n"),
    ] {
        // A digest that is none does not matter here, only for reading.
        let text = text.replace(",digest=x", "");
        assert_eq!(to(&text, index).as_deref(), Ok(flag), "{text}");
    }
    assert_eq!(to("type=daemon,addr=tcp://h", None), Err(Kind::Unsupported));
}

#[test]
fn titles_are_short_and_safe() {
    for (text, title) in [
        ("type=local,src=./.buildcache,tag=x", "local:./.buildcache"),
        ("type=local,dest=c\u{1b}[2J", r"local:c\x1b[2J"),
        ("ghcr.io/a/b:c", "registry:ghcr.io/a/b:c"),
        ("type=s3,region=r,prefix=team-a/,bucket=ci", "s3:ci/team-a/"),
        (
            "type=azblob,account_url=https://a.blob.core.windows.net,account_name=a,container=c,prefix=team/",
            "azblob:https://a.blob.core.windows.net/c/team/",
        ),
        ("type=azblob,account_name=a,container=c", "azblob:a/c"),
        ("type=daemon,builder=ci0", "daemon:ci0"),
        ("type=gha,scope=main", "gha:main"),
        ("type=new,x=1", "new"),
    ] {
        assert_eq!(parse(text).title(), title);
    }
}

#[test]
fn one_place_has_one_identity() {
    let same = |a: &str, b: &str| parse(a).identity() == parse(b).identity();
    assert!(same("type=local,src=./c/,tag=a", "type=local,mode=max,dest=c"));
    assert!(same("type=local,src=/a//b/.", "type=local,src=/a/b"));
    assert!(!same("type=local,src=a/../b", "type=local,src=b"));
    assert!(!same("type=local,src=/c", "type=local,src=c"));
    assert!(same("h:5000/r:a", "h:5000/r@sha256:0"));
    assert!(!same("h:5000/r", "h/r"));
    assert!(same("type=s3,name=a,bucket=b,region=r,secret_access_key=x", "type=s3,region=r,bucket=b,mode=max"));
    assert!(!same("type=s3,bucket=b,prefix=x", "type=s3,bucket=b"));
}

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(2), ..ProptestConfig::default() })]

    #[test]
    fn what_is_printed_reads_back(
        kind in "[a-z0-9,\"=\n\r ]{1,6}",
        keys in prop::collection::vec(("[a-zσ \"',\r\n._-]{0,5}", "[ -~\n\r\t\"',=日\u{202e}]{0,8}"), 0..6),
    ) {
        let mut location = Location::new(kind);
        for (key, value) in keys {
            if key != "type" {
                location.set(&key, value);
            }
        }
        prop_assert_eq!(&Location::parse(&location.reveal()).unwrap(), &location);
        // As it is shown, it is at least the same type with the same keys.
        let shown = Location::parse(&location.to_string()).unwrap();
        prop_assert_eq!(shown.kind(), location.kind());
        prop_assert!(shown.keys.iter().map(|(k, _)| k).eq(location.keys.iter().map(|(k, _)| k)));
    }

    #[test]
    fn no_text_breaks_the_parser(text in "[a-z=,\"\n\r@./~日\u{1b}-]{0,24}", is_dir: bool) {
        if let Ok(all) = Given::parse(&text, |_| is_dir) {
            prop_assert!(!all.is_empty());
            for given in all {
                if let Given::Location(location) = given {
                    prop_assert_eq!(&Location::parse(&location.reveal()).unwrap(), &location);
                    let _ = (location.warnings(), location.title(), location.identity(), location.local());
                    if let Ok(flag) = location.cache_from(None, None) {
                        prop_assert!(Location::parse(&flag).is_ok(), "{}", flag);
                    }
                }
            }
        }
    }
}

#[test]
fn a_scope_is_asked_for_without_the_ref_that_saved_it() {
    let place: Location = "type=gha,scope=web,repo=o/r".parse().unwrap();
    assert_eq!(place.asking_for("api@refs/heads/main").value("scope"), Some("api"));
}
