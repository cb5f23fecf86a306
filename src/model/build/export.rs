//! Where to export to, and how: the options of each backend, and what BuildKit makes of them.

use super::import::{about, filled, is_a_cache};
use super::{Client, Environment, Facts, Version, Wish, wrong};
use crate::error::{Error, Result};
use crate::model::location::Location;
use crate::model::text;

const FLAG: &str = "--cache-to";

/// What to do where Docker's own builder is not enough.
pub(super) const OTHER_BUILDER: &str =
    "take another builder: `docker buildx create --name ci --driver docker-container`, then --builder ci";

/// What to do where it lacks containerd's image store.
pub(super) const STORE: &str = "turn on the containerd image store in Docker's settings, or take another builder: `docker buildx \
                                create --name ci --driver docker-container`, then --builder ci";

/// A value that may be left to BuildKit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// Nothing is said.
    #[default]
    Unsaid,
    /// `true`.
    Yes,
    /// `false`.
    No,
}

/// Options for exports; each is the key of the same name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// `min` or `max`.
    pub mode: Option<String>,
    /// `gzip`, `zstd`, `estargz` or `uncompressed`.
    pub compression: Option<String>,
    /// How hard to compress.
    pub compression_level: Option<i64>,
    /// Packs layers anew that are packed otherwise.
    pub force_compression: bool,
    /// OCI's media types, or Docker's.
    pub oci_mediatypes: Choice,
    /// An image manifest, or an index.
    pub image_manifest: Choice,
    /// A failed export does not fail the build.
    pub ignore_error: bool,
    /// Deletes what no tag reaches afterwards.
    pub reset: bool,
}

impl Options {
    /// Keys and values of all that is said.
    fn said(&self) -> Vec<(&'static str, String)> {
        let choice = |choice: Choice| match choice {
            Choice::Unsaid => None,
            Choice::Yes => Some("true".to_owned()),
            Choice::No => Some("false".to_owned()),
        };
        let yes = |said: bool| said.then(|| "true".to_owned());
        let all = [
            ("mode", self.mode.clone()),
            ("compression", self.compression.clone()),
            ("compression-level", self.compression_level.map(|level| level.to_string())),
            ("force-compression", yes(self.force_compression)),
            ("oci-mediatypes", choice(self.oci_mediatypes)),
            ("image-manifest", choice(self.image_manifest)),
            ("ignore-error", yes(self.ignore_error)),
            ("reset", yes(self.reset)),
        ];
        all.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
    }
}

/// Whether an export of type `kind` makes anything of `key`.
///
/// Only `local` and `registry` call `compression.ParseAttributes` and read media types; the others always pack with gzip. `mode`
/// and `ignore-error` are read for all (`control.go`), but an inline cache is min whatever is said (`llbsolver/export.go`).
fn takes(kind: &str, key: &str) -> bool {
    match key {
        "mode" => kind != "inline",
        "compression" | "compression-level" | "force-compression" | "oci-mediatypes" | "image-manifest" => {
            matches!(kind, "local" | "registry")
        }
        "reset" => kind == "local",
        _ => true,
    }
}

/// Why `key` does nothing at `kind`, and what to do.
fn useless(kind: &str, key: &str) -> (String, &'static str) {
    match key {
        "mode" => (format!("{key}: an inline cache is always min"), "export to another place too, for mode=max"),
        "reset" => (
            format!("{key} is for local caches only"),
            "`cachedeck prune` cleans up all sorts of places, and shows before",
        ),
        "oci-mediatypes" | "image-manifest" => {
            (format!("{key}: type={kind} has no manifest"), "leave it out; it is for local and registry")
        }
        _ => (
            format!("{key}: type={kind} always packs with gzip"),
            "leave it out; `cachedeck copy` packs anew on the way to another place",
        ),
    }
}

/// All exports with all options, checked.
pub(super) fn all(
    wish: &Wish,
    facts: &Facts,
    environment: Environment<'_>,
    warnings: &mut Vec<String>,
) -> Result<Vec<Location>> {
    let said = wish.options.said();
    if let Some((key, _)) = said.first()
        && wish.to.is_empty()
    {
        return Err(Error::invalid(format!("--{key} is about exports, and there is none"))
            .with_hint("say where to with --cache-to or --cache"));
    }
    for (key, _) in &said {
        if !wish.to.iter().any(|location| takes(location.kind(), key)) {
            let kind = wish.to.first().map(Location::kind).unwrap_or_default();
            let (what, hint) = useless(kind, key);
            return Err(Error::invalid(format!("--{what}")).with_hint(hint));
        }
    }
    let mut all: Vec<Location> = Vec::new();
    for given in &wish.to {
        is_a_cache(FLAG, given)?;
        let mut location = filled(given, environment, warnings);
        for (key, value) in &said {
            match location.value(key) {
                Some(other) if other != value => {
                    let what = format!("it says {key}={}, and --{key} says {value}", text::safe(other));
                    return Err(wrong(FLAG, &location, what, "leave one of both out"));
                }
                _ if takes(location.kind(), key) => location.set(key, value.clone()),
                _ => warnings.push(format!("{FLAG} {}: {}", location.title(), useless(location.kind(), key).0)),
            }
        }
        let to = location.cache_to(None).map_err(|error| about(FLAG, error))?;
        check(&location, wish.client, facts, warnings)?;
        // BuildKit: "duplicate cache exports". Of inline ones it takes the first.
        if all.iter().any(|other| other.cache_to(None).is_ok_and(|other| other == to)) {
            if location.kind() == "inline" {
                continue;
            }
            return Err(wrong(FLAG, &location, "given twice", "leave one of both out"));
        }
        all.push(location);
    }
    beside_each_other(&all)?;
    Ok(all)
}

/// What is wrong with one export.
fn check(location: &Location, client: Client, facts: &Facts, warnings: &mut Vec<String>) -> Result<()> {
    let kind = location.kind();
    let fail = |what: String, hint: &str| Err(wrong(FLAG, location, what, hint));
    can_export(location, facts)?;
    for key in ["force-compression", "oci-mediatypes", "image-manifest", "ignore-error", "reset"] {
        if let Some(given) = location.get(key)
            && boolean(key, given).is_none()
        {
            return fail(format!("{key}={} is neither true nor false", text::safe(given)), "write true or false");
        }
    }
    for key in
        ["mode", "compression", "compression-level", "force-compression", "oci-mediatypes", "image-manifest", "reset"]
    {
        if location.value(key).is_some() && !takes(kind, key) && kind_is_known(kind) {
            let (what, hint) = useless(kind, key);
            if key == "reset" || (kind == "inline" && location.value(key) == Some("max")) {
                return fail(what, hint);
            }
            if (kind, location.value(key)) != ("inline", Some("min")) {
                warnings.push(format!("{FLAG} {}: {what}", location.title()));
            }
        }
    }
    // BuildKit leaves out a mode that it does not know, and exports min.
    if let Some(mode) = location.value("mode")
        && !["min", "max"].contains(&mode)
    {
        return fail(format!("mode={}", text::safe(mode)), "modes are min (what the result needs) and max (all steps)");
    }
    compression(location)?;
    let is = |key| location.get(key).and_then(|given| boolean(key, given));
    // `NewExportableCache`: fails when everything is built and uploaded.
    if is("image-manifest") == Some(true) && is("oci-mediatypes") == Some(false) {
        return fail(
            "image-manifest=true needs OCI media types".to_owned(),
            "leave oci-mediatypes=false out, or image-manifest=true",
        );
    }
    if kind == "registry" && location.value("ref").is_some_and(|name| name.contains('@')) {
        return fail("an export needs a tag, not a digest".to_owned(), "write HOST/REPOSITORY:TAG");
    }
    if kind == "local" && is("reset") == Some(true) {
        let (since, name) = match client {
            Client::Buildx => (Version(0, 35, 0), "buildx"),
            Client::Buildctl => (Version(0, 31, 0), "buildctl"),
        };
        match facts.client {
            Some(version) if version < since => {
                let hint = "update it, or clean up with `cachedeck prune`, which shows before what goes";
                return fail(format!("reset needs {name} {since}, and this is {version}"), hint);
            }
            Some(_) => {}
            None => warnings.push(format!("which version of {name} this is can't be told; reset needs {since}")),
        }
        warnings.push(format!(
            "reset deletes all versions without a tag in {}, for good, and takes blobs from builds that export there at the \
             same time; `cachedeck prune` does not",
            location.title()
        ));
    }
    Ok(())
}

/// Whether the builder can export there.
fn can_export(location: &Location, facts: &Facts) -> Result<()> {
    if facts.driver.as_deref() != Some("docker") {
        return Ok(());
    }
    let fail = |what: &str, hint: &str| Err(wrong(FLAG, location, what, hint));
    match (location.kind(), facts.image_store) {
        ("inline", _) | ("local" | "registry" | "gha", Some(true) | None) => Ok(()),
        // buildx refuses it (`build/opt.go`: `driver.CacheExport`).
        (_, Some(false)) => {
            fail("the builder in Docker itself exports inline caches only without the containerd image store", STORE)
        }
        _ => fail("the builder in Docker itself exports local, registry, gha and inline caches only", OTHER_BUILDER),
    }
}

fn kind_is_known(kind: &str) -> bool {
    matches!(kind, "local" | "registry" | "inline" | "s3" | "azblob" | "gha")
}

/// Checks how layers are packed.
fn compression(location: &Location) -> Result<()> {
    let fail = |what: String, hint: &str| Err(wrong(FLAG, location, what, hint));
    let how = location.value("compression").unwrap_or("gzip");
    // Go's compress/gzip takes -2 to 9; zstd's own levels go from 1 to 22, and 0 is its default.
    let levels = match how {
        "gzip" | "estargz" => Some(-2..=9),
        "zstd" => Some(0..=22),
        "uncompressed" => None,
        other => {
            let nearest = text::nearest(other, ["gzip", "zstd", "estargz", "uncompressed"]);
            let meant = nearest.map(|nearest| format!("did you mean {nearest}? ")).unwrap_or_default();
            let hint = format!("{meant}BuildKit knows gzip, zstd, estargz and uncompressed");
            return fail(format!("compression={}", text::safe(other)), &hint);
        }
    };
    let Some(given) = location.value("compression-level") else { return Ok(()) };
    let level = given.parse::<i64>().ok();
    match (levels, level) {
        (_, None) => fail(format!("compression-level={} is no number", text::safe(given)), "give a whole number"),
        (None, _) => {
            fail("uncompressed layers have no compression-level".to_owned(), "leave it out, or choose a compression")
        }
        (Some(levels), Some(level)) if !levels.contains(&level) => fail(
            format!("compression-level={level} is none of {how}"),
            &format!("levels of {how} are {} to {}", levels.start().max(&0), levels.end()),
        ),
        _ => Ok(()),
    }
}

/// As Go's `strconv.ParseBool`; force-compression may be empty for true.
fn boolean(key: &str, given: &str) -> Option<bool> {
    match given {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        "" if key == "force-compression" => Some(true),
        _ => None,
    }
}

/// What makes the manifest of an export: two that agree in it write the same one.
fn manifest(location: &Location) -> [Option<String>; 6] {
    let key = |key: &str, usual: &str| {
        let value = location.get(key).unwrap_or(usual);
        Some(boolean(key, value).map_or_else(|| value.to_owned(), |value| value.to_string()))
    };
    [
        key("mode", "min"),
        key("compression", "gzip"),
        location.value("compression-level").map(str::to_owned),
        key("force-compression", "false"),
        key("oci-mediatypes", "true"),
        key("image-manifest", key("oci-mediatypes", "true").as_deref().unwrap_or("true")),
    ]
}

/// Exports that can't be done in one build without harm.
///
/// `client/solve.go`: all exports answer under one key, `cache.manifest`, of which the last is kept; each local folder then gets
/// that manifest into its index, under the one tag that was given last for this folder. An export that wrote another manifest
/// is left with an index that leads nowhere (seen with two folders, one gzip, one zstd).
fn beside_each_other(all: &[Location]) -> Result<()> {
    let writes = |location: &&Location| matches!(location.kind(), "local" | "registry");
    let Some(last) = all.iter().rev().find(writes) else { return Ok(()) };
    for (at, location) in all.iter().enumerate().filter(|(_, location)| location.kind() == "local") {
        if all[..at].iter().any(|other| other.kind() == "local" && other.identity() == location.identity()) {
            let hint = "a build leaves one version in a folder: give another folder, or tag it afterwards with `cachedeck pin`";
            return Err(wrong(FLAG, location, "the same folder twice", hint));
        }
        if manifest(location) != manifest(last) {
            let what = format!(
                "BuildKit would write the manifest of {} into its index, which leads nowhere there",
                last.title()
            );
            let hint =
                "give both the same mode, compression and media types, or export to one and `cachedeck copy` from it";
            return Err(wrong(FLAG, location, what, hint));
        }
    }
    Ok(())
}
