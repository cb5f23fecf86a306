//! What is put together, and what is refused.

use super::*;
use std::collections::BTreeMap;

fn wish(client: Client, from: &[&str], to: &[&str]) -> Wish {
    let all = |texts: &[&str]| texts.iter().map(|text| Location::parse(text).unwrap()).collect();
    Wish {
        client,
        builder: None,
        from: all(from),
        to: all(to),
        options: Options::default(),
        arguments: vec![".".to_owned()],
        warm: false,
    }
}

fn with(wish: &Wish, facts: &Facts, environment: &[(&str, &str)]) -> Result<Assembled> {
    let environment: BTreeMap<&str, &str> = environment.iter().copied().collect();
    assemble(wish, facts, &|name| environment.get(name).map(|value| (*value).to_owned()))
}

fn line(wish: &Wish) -> String {
    with(wish, &Facts::default(), &[]).unwrap().words.join(" ")
}

/// The error, and its hint.
fn refused(wish: &Wish, facts: &Facts) -> (String, String) {
    let error = with(wish, facts, &[]).unwrap_err();
    assert_eq!(error.kind().exit_code(), 2, "{error}");
    (error.to_string(), error.hint().expect("what to do").to_owned())
}

fn docker(image_store: bool) -> Facts {
    Facts { driver: Some("docker".to_owned()), image_store: Some(image_store), ..Facts::default() }
}

#[test]
fn commands_are_put_together() {
    use Client::{Buildctl, Buildx};
    let digest = format!("sha256:{}", "0".repeat(64));
    for (client, from, to, expected) in [
        (Buildx, &[][..], &[][..], "build --progress=rawjson ."),
        (
            Buildx,
            &["type=local,src=c,mode=max"],
            &["type=local,src=c,mode=max"],
            "build --progress=rawjson --cache-from type=local,src=c --cache-to type=local,dest=c,mode=max .",
        ),
        (
            Buildctl,
            &["h/r:t"],
            &["h/r:t"],
            "build --progress=rawjson --import-cache type=registry,ref=h/r:t --export-cache type=registry,ref=h/r:t .",
        ),
        // An inline cache is imported like an image, and exported into the image that is built.
        (
            Buildx,
            &["type=inline,ref=h/r:t"],
            &["type=inline,ref=h/r:t"],
            "build --progress=rawjson --cache-from type=registry,ref=h/r:t --cache-to type=inline .",
        ),
        (
            Buildx,
            &[&format!("type=local,src=c,digest={digest}")],
            &[],
            &format!("build --progress=rawjson --cache-from type=local,src=c,digest={digest} ."),
        ),
        // An import reads the first name only.
        (
            Buildx,
            &["type=s3,bucket=b,region=r,name=a;b"],
            &["type=s3,bucket=b,region=r,name=a;b"],
            "build --progress=rawjson --cache-from type=s3,bucket=b,region=r,name=a \
             --cache-from type=s3,bucket=b,region=r,name=b --cache-to type=s3,bucket=b,region=r,name=a;b .",
        ),
        // azblob imports all.
        (
            Buildx,
            &["type=azblob,account_url=https://a,name=a;b"],
            &[],
            "build --progress=rawjson --cache-from type=azblob,account_url=https://a,name=a;b .",
        ),
        // Keys that nobody knows are passed on.
        (Buildx, &["type=local,src=c,new=1"], &[], "build --progress=rawjson --cache-from type=local,src=c,new=1 ."),
    ] {
        assert_eq!(line(&wish(client, from, to)), expected);
    }
    let named = Wish { builder: Some("ci".to_owned()), warm: true, ..wish(Buildx, &["h/r:t"], &[]) };
    assert_eq!(
        line(&named),
        "build --builder ci --progress=rawjson --cache-from type=registry,ref=h/r:t --output type=cacheonly ."
    );
    // buildctl puts nothing out where nothing is said.
    let warm = Wish { warm: true, ..wish(Buildctl, &["h/r:t"], &[]) };
    assert_eq!(line(&warm), "build --progress=rawjson --import-cache type=registry,ref=h/r:t .");
}

#[test]
fn options_go_to_the_exports_that_take_them() {
    let options = Options {
        mode: Some("max".to_owned()),
        compression: Some("zstd".to_owned()),
        compression_level: Some(3),
        force_compression: true,
        image_manifest: Choice::No,
        ignore_error: true,
        ..Options::default()
    };
    let wish = Wish { options, ..wish(Client::Buildx, &[], &["type=local,dest=c", "type=gha", "type=inline"]) };
    let environment = [("ACTIONS_RUNTIME_TOKEN", "t"), ("ACTIONS_RESULTS_URL", "u")];
    let assembled = with(&wish, &Facts::default(), &environment).unwrap();
    let to: Vec<_> = assembled.words.iter().filter(|word| word.starts_with("type=")).collect();
    assert_eq!(
        to,
        [
            "type=local,dest=c,mode=max,compression=zstd,compression-level=3,force-compression=true,image-manifest=false,\
             ignore-error=true",
            "type=gha,mode=max,ignore-error=true",
            "type=inline",
        ]
    );
    for told in ["gha: compression: type=gha always packs with gzip", "inline: mode: an inline cache is always min"] {
        assert!(assembled.warnings.iter().any(|w| w.contains(told)), "{told}: {:#?}", assembled.warnings);
    }
}

#[test]
fn what_builders_would_refuse_late_or_leave_out_is_refused_before() {
    for (to, what, what_to_do) in [
        ("type=local,dest=c,image-manifest=true,oci-mediatypes=false", "image-manifest=true needs OCI", "leave"),
        ("type=local,dest=c,mode=all", "mode=all", "min (what the result needs)"),
        ("type=local,dest=c,compression=gzp", "compression=gzp", "did you mean gzip?"),
        ("type=local,dest=c,compression-level=10", "compression-level=10 is none of gzip", "0 to 9"),
        ("type=registry,ref=r,compression=estargz,compression-level=11", "none of estargz", "0 to 9"),
        ("type=registry,ref=r,compression=zstd,compression-level=23", "none of zstd", "0 to 22"),
        ("type=local,dest=c,compression=uncompressed,compression-level=1", "have no compression-level", "choose"),
        ("type=local,dest=c,compression-level=high", "is no number", "whole number"),
        ("type=local,dest=c,ignore-error=yes", "neither true nor false", "write true"),
        ("type=registry,ref=r,reset=true", "reset is for local caches only", "cachedeck prune"),
        ("type=inline,mode=max", "an inline cache is always min", "another place"),
        ("type=registry,ref=h/r@sha256:0", "an export needs a tag", "HOST/REPOSITORY:TAG"),
        ("type=registry", "type=registry has no ref", "add ref="),
        ("type=daemon,builder=b", "a builder's own cache", "--builder"),
        ("type=gha", "there is no ACTIONS_RUNTIME_TOKEN", "ghaction-github-runtime"),
    ] {
        let (error, hint) = refused(&wish(Client::Buildx, &[], &[to]), &Facts::default());
        assert!(error.starts_with("--cache-to") && error.contains(what), "{to}: {error}");
        assert!(hint.contains(what_to_do), "{to}: {hint}");
    }
}

#[test]
fn what_is_fine_is_not_refused() {
    for to in [
        "type=local,dest=c,image-manifest=true",
        "type=local,dest=c,oci-mediatypes=false",
        "type=local,dest=c,image-manifest=0,oci-mediatypes=F",
        "type=local,dest=c,compression-level=-1",
        "type=local,dest=c,force-compression=",
        "type=registry,ref=h/r:t,compression=zstd,compression-level=22",
        "type=inline,mode=min",
        "type=brandnew,x=y",
    ] {
        let assembled = with(&wish(Client::Buildx, &[], &[to]), &Facts::default(), &[]).unwrap();
        assert!(assembled.warnings.is_empty(), "{to}: {:?}", assembled.warnings);
    }
}

#[test]
fn options_without_an_export_that_takes_them_are_mistakes() {
    let reset = Options { reset: true, ..Options::default() };
    let (error, _) =
        refused(&Wish { options: reset.clone(), ..wish(Client::Buildx, &["h/r:t"], &[]) }, &Facts::default());
    assert_eq!(error, "--reset is about exports, and there is none");
    let (error, _) = refused(&Wish { options: reset, ..wish(Client::Buildx, &[], &["h/r:t"]) }, &Facts::default());
    assert_eq!(error, "--reset is for local caches only");
    let min = Options { mode: Some("min".to_owned()), ..Options::default() };
    let (error, _) = refused(
        &Wish { options: min, ..wish(Client::Buildx, &[], &["type=local,dest=c,mode=max"]) },
        &Facts::default(),
    );
    assert!(error.contains("it says mode=max, and --mode says min"), "{error}");
}

#[test]
fn dockers_own_builder_has_its_limits() {
    let secret_free = "type=s3,bucket=b,region=r";
    for (from, to, store, flag) in [
        (&[][..], &["type=local,dest=c"][..], false, "--cache-to"),
        (&[], &["h/r:t"], false, "--cache-to"),
        (&[], &[secret_free], true, "--cache-to"),
        (&[secret_free], &[], true, "--cache-from"),
        (&[secret_free], &[], false, "--cache-from"),
    ] {
        let (error, hint) = refused(&wish(Client::Buildx, from, to), &docker(store));
        assert!(error.starts_with(flag) && error.contains("the builder in Docker itself"), "{error}");
        assert!(hint.contains("docker buildx create"), "{hint}");
        assert_eq!(hint.contains("containerd image store"), flag == "--cache-to" && !store, "{hint}");
    }
    for (from, to, store) in [
        (&["type=local,src=c", "h/r:t"][..], &["type=inline"][..], false),
        (&["type=local,src=c", "h/r:t"], &["type=local,dest=c", "h/r:t", "type=inline"], true),
    ] {
        with(&wish(Client::Buildx, from, to), &docker(store), &[]).unwrap();
    }
    // Another driver can do all, and so can one that is not known.
    for facts in [Facts { driver: Some("remote".to_owned()), ..Facts::default() }, Facts::default()] {
        with(&wish(Client::Buildx, &[], &[secret_free]), &facts, &[]).unwrap();
    }
}

#[test]
fn reset_needs_a_program_that_knows_it() {
    let reset = |client, version| {
        let facts = Facts { client: version, ..Facts::default() };
        with(&wish(client, &[], &["type=local,dest=c,reset=true"]), &facts, &[])
    };
    let error = reset(Client::Buildx, Some(Version(0, 34, 9))).unwrap_err();
    assert!(error.what().contains("reset needs buildx 0.35.0, and this is 0.34.9"), "{error}");
    assert!(reset(Client::Buildctl, Some(Version(0, 30, 0))).is_err());
    for (client, version) in [(Client::Buildx, Version(0, 35, 0)), (Client::Buildctl, Version(0, 31, 0))] {
        let warnings = reset(client, Some(version)).unwrap().warnings;
        assert!(warnings.len() == 1 && warnings[0].contains("deletes all versions without a tag"), "{warnings:?}");
    }
    let warnings = reset(Client::Buildx, None).unwrap().warnings;
    assert!(warnings[0].contains("can't be told"), "{warnings:?}");
}

#[test]
fn a_program_that_tells_nothing_is_too_old() {
    let facts = Facts { client: Some(Version(0, 12, 1)), ..Facts::default() };
    let (error, hint) = refused(&wish(Client::Buildx, &[], &[]), &facts);
    assert!(error.contains("buildx is 0.12.1") && hint == "update buildx", "{error}");
}

#[test]
fn exports_that_would_spoil_each_other_are_refused() {
    for (to, what) in [
        (&["type=local,dest=a,mode=max", "type=local,dest=b"][..], "leads nowhere"),
        (&["type=local,dest=a", "type=registry,ref=h/r:t,compression=zstd"], "leads nowhere"),
        (&["type=local,dest=a,tag=x", "type=local,dest=./a,tag=y"], "the same folder twice"),
        (&["h/r:t", "h/r:t"], "given twice"),
    ] {
        let (error, hint) = refused(&wish(Client::Buildx, &[], to), &Facts::default());
        assert!(error.contains(what), "{to:?}: {error}");
        assert!(!hint.is_empty());
    }
    for to in [
        &["type=local,dest=a,mode=max", "type=local,dest=b,mode=max,image-manifest=true"][..],
        // The folder comes last, so its manifest is the one that is told.
        &["type=registry,ref=h/r:t,mode=max", "type=local,dest=a"],
        &["type=local,dest=a", "type=s3,bucket=b,region=r,mode=max"],
    ] {
        with(&wish(Client::Buildx, &[], to), &Facts::default(), &[]).unwrap();
    }
}

#[test]
fn secrets_go_by_environment_or_not_at_all() {
    let keys = "access_key_id=canary-id,secret_access_key=canary-secret";
    let s3 = format!("type=s3,bucket=b,region=r,{keys}");
    let both = wish(Client::Buildx, &[&s3], &[&s3]);
    let assembled = with(&both, &Facts::default(), &[("AWS_SESSION_TOKEN", "another's")]).unwrap();
    assert!(!assembled.words.join(" ").contains("canary") && !format!("{assembled:?}").contains("canary"));
    let some = |value: &str| Some(value.to_owned());
    assert_eq!(
        assembled.environment(),
        [
            ("AWS_ACCESS_KEY_ID", some("canary-id")),
            ("AWS_SECRET_ACCESS_KEY", some("canary-secret")),
            // It belongs to other keys.
            ("AWS_SESSION_TOKEN", None),
        ]
    );
    let gha = wish(Client::Buildctl, &["type=gha,url_v2=u,token=canary-token"], &[]);
    let assembled = with(&gha, &Facts::default(), &[]).unwrap();
    assert_eq!(assembled.environment(), [("ACTIONS_RUNTIME_TOKEN", some("canary-token"))]);
    assert!(!assembled.words.join(" ").contains("canary"));

    let other = format!("type=s3,bucket=b2,region=r,{}", keys.replace("canary", "other"));
    for (client, from, to, way_out) in [
        (Client::Buildctl, &[s3.as_str()][..], &[][..], "docker buildx create --driver remote"),
        (Client::Buildx, &[s3.as_str()], &[other.as_str()], "build twice"),
        (Client::Buildx, &["type=s3,bucket=b,region=r,access_key_id=canary-id"], &[], "or neither"),
        (Client::Buildx, &["type=azblob,account_url=https://a,secret_access_key=canary"], &[], "AZURE_CLIENT_ID"),
        (Client::Buildx, &["type=azblob,account_url=https://a?sv=1&sig=canary"], &[], "AZURE_CLIENT_ID"),
        (Client::Buildx, &["type=s3,bucket=b,region=r,endpoint_url=https://me:canary@h"], &[], "out of the URL"),
        (Client::Buildx, &["type=gha,token=t,url=u,ghtoken=canary"], &[], "exports work without"),
        (Client::Buildx, &["type=s3,bucket=b,region=r,secret_acess_key=canary"], &[], "how it is spelt"),
    ] {
        let (error, hint) = refused(&wish(client, from, to), &Facts::default());
        assert!(hint.contains(way_out), "{from:?}: {error}: {hint}");
        assert!(!format!("{error}{hint}").contains("canary"), "{error}: {hint}");
    }
    // Without keys of its own it would be reached with those of the other.
    let mixed = wish(Client::Buildx, &[&s3, "type=s3,bucket=open,region=r"], &[]);
    assert!(with(&mixed, &Facts::default(), &[("AWS_ACCESS_KEY_ID", "mine")]).is_err());
}

#[test]
fn our_environment_says_where_as_for_other_commands() {
    let from = wish(Client::Buildx, &["type=s3"], &[]);
    let assembled = with(&from, &Facts::default(), &[("AWS_BUCKET", "b"), ("AWS_REGION", "r")]).unwrap();
    assert!(assembled.words.contains(&"type=s3,bucket=b,region=r".to_owned()), "{assembled:?}");
    let assembled = with(&from, &Facts::default(), &[("AWS_BUCKET", "b")]).unwrap();
    assert!(assembled.warnings[0].contains("has no region"), "{assembled:?}");
    let azure = wish(Client::Buildx, &["type=azblob"], &[]);
    let url = "https://a.blob.core.windows.net/?sv=1&sig=canary";
    let assembled = with(&azure, &Facts::default(), &[("BUILDKIT_AZURE_STORAGE_ACCOUNT_URL", url)]).unwrap();
    assert!(assembled.warnings[0].contains("carries a signature"), "{assembled:?}");
    assert!(!format!("{assembled:?}").contains("canary"));
}

#[test]
fn options_of_cachedeck_stand_before_the_dashes() {
    let given = |arguments: &[&str], warm| Wish {
        arguments: arguments.iter().map(|word| (*word).to_owned()).collect(),
        warm,
        ..wish(Client::Buildx, &[], &[])
    };
    for arguments in [
        &["--progress=plain", "."][..],
        &["--cache-from", "x", "."],
        &["--cache-to=x", "."],
        &["-q", "."],
        &["--builder", "b", "."],
        &["-o", "-", "."],
        &["--output=type=tar,dest=-", "."],
        &[],
    ] {
        refused(&given(arguments, false), &Facts::default());
    }
    for arguments in [&["--push", "."][..], &["-o", "out", "."], &["--output=type=local,dest=x", "."]] {
        refused(&given(arguments, true), &Facts::default());
        with(&given(arguments, false), &Facts::default(), &[]).unwrap();
    }
}

#[test]
fn versions_compare() {
    assert_eq!(Version::parse("v0.35.0-rc1"), Some(Version(0, 35, 0)));
    assert_eq!(Version::parse("0.31"), Some(Version(0, 31, 0)));
    assert_eq!(Version::parse("v0.0.0+unknown"), None);
    assert_eq!(Version::parse("master"), None);
    assert!(Version(0, 9, 3) < Version(0, 31, 0));
}
