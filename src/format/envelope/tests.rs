use super::*;
use crate::error::Kind;

const A: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const B: &str = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
const C: &str = "sha256:cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc";

fn read(text: &str) -> Result<Envelope> {
    Envelope::read(text.as_bytes())
}

fn pointer(media_type: &str, digest: &str) -> String {
    format!(r#"{{"mediaType":"{media_type}","digest":"{digest}","size":9}}"#)
}

fn config() -> String {
    pointer(cacheconfig::MEDIA_TYPE, A)
}

fn layer(digest: &str) -> String {
    pointer("application/vnd.oci.image.layer.v1.tar+gzip", digest)
}

fn digests(envelope: &Envelope) -> Vec<String> {
    envelope.descriptors().map(|d| d.digest.to_string()).collect()
}

#[test]
fn a_manifest_with_a_cache_config_is_a_cache() {
    // Whatever it calls itself.
    for said in ["", r#""mediaType":"","#, r#""mediaType":"application/vnd.oci.image.index.v1+json","#] {
        let text = format!(r#"{{"schemaVersion":2,{said}"config":{},"layers":[{},{}]}}"#, config(), layer(B), layer(C));
        let envelope = read(&text).unwrap();
        assert!(matches!(envelope, Envelope::Cache { form: Form::ImageManifest, .. }), "{said}");
        assert_eq!(digests(&envelope), [A, B, C]);
    }
}

#[test]
fn a_list_with_a_cache_config_is_a_cache() {
    let docker = pointer("application/vnd.docker.image.rootfs.diff.tar.gzip", B);
    for (said, layer, form) in [
        (r#""mediaType":"application/vnd.oci.image.index.v1+json","#, layer(B), Form::Index),
        (
            r#""mediaType":"application/vnd.docker.distribution.manifest.list.v2+json","#,
            docker.clone(),
            Form::DockerList,
        ),
        ("", layer(B), Form::Index),
        ("", docker, Form::DockerList),
        (r#""mediaType":"","#, pointer("", B), Form::Index),
    ] {
        // The config may stand anywhere.
        for list in [format!("{layer},{}", config()), format!("{},{layer}", config())] {
            let envelope = read(&format!(r#"{{"schemaVersion":2,{said}"manifests":[{list}]}}"#)).unwrap();
            assert!(matches!(envelope, Envelope::Cache { form: is, .. } if is == form), "{said} {form:?}");
            assert_eq!(digests(&envelope), [A, B]);
        }
    }
}

#[test]
fn of_several_configs_builds_take_the_last() {
    let (first, last) = (config(), pointer(cacheconfig::MEDIA_TYPE, C));
    let text = format!(r#"{{"schemaVersion":2,"manifests":[{first},{},{last}]}}"#, layer(B));
    let Envelope::Cache { config, layers, .. } = read(&text).unwrap() else { panic!("no cache") };
    assert_eq!(config.digest.to_string(), C);
    assert_eq!(layers.len(), 2, "the other one is still pointed to");
}

#[test]
fn images_and_indexes_of_images_are_told_apart() {
    let image = pointer("application/vnd.oci.image.config.v1+json", A);
    let text = format!(r#"{{"schemaVersion":2,"config":{image},"layers":null}}"#);
    assert!(matches!(read(&text).unwrap(), Envelope::Image { layers, .. } if layers.is_empty()));
    let manifest = pointer("application/vnd.oci.image.manifest.v1+json", A);
    let platform = manifest.replace("}", r#","platform":{"os":"linux","architecture":"arm64","variant":"v8"}}"#);
    let envelope = read(&format!(r#"{{"schemaVersion":2,"manifests":[{platform},{}]}}"#, layer(B))).unwrap();
    let Envelope::Images { manifests } = envelope else { panic!("no index") };
    assert!(manifests[0].may_be_envelope() && !manifests[1].may_be_envelope());
    assert_eq!(manifests[0].platform.as_deref().unwrap().to_string(), "linux/arm64/v8");
    assert!(matches!(read(r#"{"schemaVersion":2,"manifests":[]}"#).unwrap(), Envelope::Images { .. }));
}

#[test]
fn what_is_two_things_at_once_or_nothing_is_refused() {
    let (config, layer) = (config(), layer(B));
    for (text, why) in [
        (format!(r#"{{"schemaVersion":2,"config":{config},"manifests":[]}}"#), "both"),
        (format!(r#"{{"schemaVersion":2,"config":{config},"layers":[],"manifests":[{layer}]}}"#), "both"),
        (format!(r#"{{"schemaVersion":2,"layers":[{layer}],"manifests":[{layer}]}}"#), "both"),
        (format!(r#"{{"schemaVersion":2,"layers":[{layer}]}}"#), "neither"),
        (r#"{"schemaVersion":2}"#.to_owned(), "neither"),
        (r#"{"schemaVersion":2,"config":null,"manifests":null}"#.to_owned(), "neither"),
        (format!(r#"{{"schemaVersion":1,"config":{config}}}"#), "schema version 1"),
        (format!(r#"{{"config":{config}}}"#), "schemaVersion"),
        (format!(r#"{{"schemaVersion":2.0,"config":{config}}}"#), "not a valid manifest"),
        (format!(r#"{{"schemaVersion":2,"config":{config},"config":{config}}}"#), "duplicate"),
        (format!(r#"{{"schemaVersion":2,"config":{config}}} x"#), "trailing"),
        (format!(r#"{{"schemaVersion":2,"config":{config}"#), "EOF"),
        ("[]".to_owned(), "object"),
        (String::new(), "object"),
    ] {
        let error = read(&text).expect_err(&text);
        assert_eq!(error.kind(), Kind::Corrupt);
        assert!(error.to_string().contains(why), "{text}\n{error}");
    }
    let long = format!(r#"{{"schemaVersion":2,"config":{config}{}}}"#, " ".repeat(LIMIT as usize));
    assert!(read(&long).unwrap_err().to_string().contains("longer than 4 MiB"));
}

#[test]
fn descriptors_are_exact() {
    let good = format!(r#"{{"schemaVersion":2,"config":{}}}"#, config());
    assert!(read(&good).is_ok());
    for (from, to) in [
        (r#""size":9"#, r#""size":-1"#),
        (r#""size":9"#, r#""size":9.5"#),
        (r#""size":9"#, r#""size":18446744073709551616"#),
        (r#""size":9"#, r#""size":1e999"#),
        (r#""size":9"#, r#""size":"9""#),
        (r#""size":9"#, r#""x":9"#),
        ("sha256:aaaa", "sha256:AAAA"),
        ("sha256:aaaa", "sha512:aaaa"),
        ("sha256:aaaa", "sha256:../a"),
        ("sha256:aaaa", "sha256:aaa"),
        ("sha256:aaaa", "sha256:aaaaa"),
        ("sha256:aaaa", "aaaa"),
        (r#""digest""#, r#""digset""#),
    ] {
        let bad = good.replacen(from, to, 1);
        assert_ne!(bad, good);
        assert_eq!(read(&bad).expect_err(&bad).kind(), Kind::Corrupt);
    }
    let huge = good.replace(r#""size":9"#, &format!(r#""size":{}"#, u64::MAX));
    assert!(read(&huge).is_ok(), "a length is only a claim");
}

#[test]
fn a_bad_digest_is_told_shortly() {
    let text = format!(r#"{{"schemaVersion":2,"config":{{"digest":"{}","size":1}}}}"#, "x".repeat(1 << 20));
    assert!(read(&text).unwrap_err().to_string().len() < 300);
}

#[test]
fn annotations_that_matter_are_read_and_bad_ones_left_aside() {
    let layer = |annotations: &str| {
        let layer = layer(B).replace(r#""size":9"#, &format!(r#""size":9,"annotations":{annotations}"#));
        let text = format!(r#"{{"schemaVersion":2,"config":{},"layers":[{layer}]}}"#, config());
        let Envelope::Cache { mut layers, .. } = read(&text).unwrap() else { panic!("no cache") };
        layers.remove(0)
    };
    let full = layer(&format!(
        r#"{{"containerd.io/uncompressed":"{C}","buildkit/createdat":"2026-11-20T17:31:29.695383089Z",
            "containerd.io/snapshot/stargz/toc.digest":"{A}","x":"y"}}"#
    ));
    assert_eq!(full.diff_id().unwrap().to_string(), C);
    assert_eq!(full.created(), Some("2026-11-20T17:31:29.695383089Z".parse().unwrap()));
    assert_eq!(full.compression(), Compression::Estargz);
    let bad = layer(r#"{"containerd.io/uncompressed":"no","buildkit/createdat":"0001-01-01T00:00:00Z"}"#);
    assert_eq!((bad.diff_id(), bad.created(), bad.compression()), (None, None, Compression::Gzip));
    for none in ["null", "{}"] {
        assert_eq!(layer(none).annotations, Annotations::default());
    }
}

#[test]
fn an_index_lists_tags_however_they_are_written() {
    let index = |annotations: &str| {
        let text = format!(r#"{{"schemaVersion":2,"manifests":[{{"digest":"{A}","size":3{annotations}}}]}}"#);
        let mut index = read_index_json(text.as_bytes()).unwrap();
        assert!(index.faults.is_empty());
        index.entries.remove(0)
    };
    let (image, oci) = (r#""io.containerd.image.name":"a""#, r#""org.opencontainers.image.ref.name":"b""#);
    let tag = |annotations: &str| index(annotations).tag().map(str::to_owned);
    assert_eq!(tag(&format!(r#","annotations":{{{oci},{image}}}"#)).as_deref(), Some("a"));
    assert_eq!(tag(&format!(r#","annotations":{{{oci}}}"#)).as_deref(), Some("b"));
    assert_eq!(tag(&format!(r#","annotations":{{"io.containerd.image.name":"",{oci}}}"#)).as_deref(), Some("b"));
    assert_eq!(tag(r#","annotations":{"org.opencontainers.image.ref.name":""}"#), None);
    assert_eq!(tag(r#","annotations":{"org.opencontainers.image.ref.name":null}"#), None);
    assert_eq!(tag(r#","annotations":{}"#), None);
    assert_eq!(tag(r#","annotations":null"#), None);
    assert_eq!(tag(""), None);
}

#[test]
fn a_bad_entry_of_an_index_hides_no_other() {
    let good = format!(r#"{{"digest":"{A}","size":3}}"#);
    let bad = [
        "null",
        "7",
        "{}",
        &format!(r#"["{A}",3]"#),
        &format!(r#"{{"digest":"{A}"}}"#),
        &format!(r#"{{"digest":"{A}","size":-3}}"#),
        r#"{"digest":"sha256:../../etc/passwd","size":3}"#,
        &format!(r#"{{"digest":"{A}","size":3,"annotations":{{"org.opencontainers.image.ref.name":5}}}}"#),
        &format!(r#"{{"digest":"{A}","digest":"{B}","size":3}}"#),
    ]
    .join(",");
    let index = read_index_json(format!(r#"{{"manifests":[{good},{bad},{good}]}}"#).as_bytes()).unwrap();
    assert_eq!((index.entries.len(), index.bad, index.faults.len()), (2, 9, 9));
}

#[test]
fn very_many_bad_entries_are_counted_not_kept() {
    let text = format!(r#"{{"manifests":[{}0]}}"#, "0,".repeat(100_000));
    let index = read_index_json(text.as_bytes()).unwrap();
    assert_eq!((index.entries.len(), index.bad, index.faults.len()), (0, 100_001, MAX_FAULTS));
}

#[test]
fn what_is_no_index_is_refused() {
    assert_eq!(read_index_json(br#"{"manifests":null}"#).unwrap().entries, []);
    let deep = format!(r#"{{"manifests":[{}"#, "[".repeat(1_000_000));
    for bad in [
        "",
        "{",
        "{}",
        "[]",
        "null",
        r#"{"manifests":{}}"#,
        r#"{"manifests":[]}x"#,
        r#"{"manifests":[],"manifests":[]}"#,
        &deep,
    ] {
        assert_eq!(read_index_json(bad.as_bytes()).expect_err("taken").kind(), Kind::Corrupt);
    }
}
