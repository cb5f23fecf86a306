//! Which repository of which registry a `ref` means: as Docker completes it, and as URLs of the distribution API.

use crate::error::{Error, Result};
use crate::model::digest::Digest;
use crate::model::location::{Location, mask_url};
use oci_spec::distribution::Reference;
use reqwest::Url;

/// A repository and how it is reached.
#[derive(Clone, Debug)]
pub struct Repository {
    /// The registry as people call it: `docker.io`, `ghcr.io`, `localhost:5000`.
    pub registry: String,
    /// Its name in the registry: `library/alpine`.
    pub name: String,
    /// `https://HOST/v2/NAME/`.
    base: Url,
}

impl Repository {
    /// What the location's `ref` means. [`crate::error::Kind::Invalid`] if it is missing or malformed.
    pub fn of(location: &Location) -> Result<Self> {
        let text = location.value("ref").ok_or_else(|| {
            Error::invalid(format!("type={} has no ref", location.kind())).with_hint("add ref=HOST/REPOSITORY:TAG")
        })?;
        let bad = |why: String| {
            Error::invalid(format!("bad ref {:?}: {why}", mask_url(text)))
                .with_hint("a ref is [HOST[:PORT]/]REPOSITORY[:TAG][@DIGEST], without https://")
        };
        let reference = Reference::try_from(text).map_err(|e| bad(e.to_string()))?;
        let scheme = if is_insecure(location)? { "http" } else { "https" };
        let host = match reference.registry() {
            "docker.io" => "registry-1.docker.io",
            host => host,
        };
        let name = reference.repository();
        if name.bytes().any(|c| c.is_ascii_uppercase()) {
            return Err(bad("a repository's name is in lower case".to_owned()));
        }
        let base = Url::parse(&format!("{scheme}://{host}/v2/{name}/")).map_err(|e| bad(e.to_string()))?;
        // Digests of other algorithms are fine by the grammar, but nothing here reads them.
        location.asked_digest()?;
        Ok(Self { registry: reference.registry().to_owned(), name: name.to_owned(), base })
    }

    /// A URL of the registry itself: what requests with credentials may go to.
    pub fn url(&self) -> &Url {
        &self.base
    }

    /// Where the tags are listed.
    pub fn tags(&self) -> Result<Url> {
        self.at("tags/list?n=1000")
    }

    /// Where a tag's manifest is; `None` if no tag can be called that.
    pub fn tag(&self, tag: &str) -> Option<Url> {
        is_tag(tag).then(|| self.at(&format!("manifests/{tag}")).ok()).flatten()
    }

    /// Where a manifest is.
    pub fn manifest(&self, digest: &Digest) -> Result<Url> {
        self.at(&format!("manifests/{digest}"))
    }

    /// Where a blob is.
    pub fn blob(&self, digest: &Digest) -> Result<Url> {
        self.at(&format!("blobs/{digest}"))
    }

    /// Where uploads begin.
    pub fn uploads(&self) -> Result<Url> {
        self.at("blobs/uploads/")
    }

    fn at(&self, path: &str) -> Result<Url> {
        self.base.join(path).map_err(|e| Error::invalid(format!("no URL for {path}")).with_source(e))
    }
}

/// Whether the user asked for plain HTTP.
fn is_insecure(location: &Location) -> Result<bool> {
    match location.value("registry.insecure") {
        None => Ok(false),
        // As Go reads them, so BuildKit does.
        Some("1" | "t" | "T" | "TRUE" | "true" | "True") => Ok(true),
        Some("0" | "f" | "F" | "FALSE" | "false" | "False") => Ok(false),
        Some(other) => Err(Error::invalid(format!("registry.insecure={other:?} is neither true nor false"))),
    }
}

/// Whether a tag can be called that, by the distribution API's grammar.
pub fn is_tag(text: &str) -> bool {
    let word = |c: u8| c.is_ascii_alphanumeric() || c == b'_';
    let all = text.as_bytes();
    all.len() <= 128 && all.first().is_some_and(|c| word(*c)) && all.iter().all(|&c| word(c) || c == b'.' || c == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    fn url(reference: &str) -> String {
        let location = Location::new("registry").with("ref", reference);
        Repository::of(&location).unwrap().tag("x").unwrap().to_string()
    }

    #[test]
    fn refs_are_completed_as_docker_does() {
        let hub = |name: &str| format!("https://registry-1.docker.io/v2/{name}/manifests/x");
        for (reference, wanted) in [
            ("alpine", hub("library/alpine")),
            ("alpine:3", hub("library/alpine")),
            ("me/app", hub("me/app")),
            ("docker.io/alpine", hub("library/alpine")),
            ("index.docker.io/me/app:1", hub("me/app")),
            ("localhost/app", "https://localhost/v2/app/manifests/x".to_owned()),
            ("localhost:5000/a/b/c", "https://localhost:5000/v2/a/b/c/manifests/x".to_owned()),
            (
                "ghcr.io/me/app:1@sha256:0000000000000000000000000000000000000000000000000000000000000000",
                "https://ghcr.io/v2/me/app/manifests/x".to_owned(),
            ),
        ] {
            assert_eq!(url(reference), wanted);
        }
    }

    #[test]
    fn plain_http_is_only_for_who_asks() {
        let location = Location::new("registry").with("ref", "localhost:5000/app");
        let scheme = |location: &Location| Repository::of(location).unwrap().url().scheme().to_owned();
        assert_eq!(scheme(&location), "https");
        assert_eq!(scheme(&location.clone().with("registry.insecure", "false")), "https");
        assert_eq!(scheme(&location.clone().with("registry.insecure", "true")), "http");
        let odd = Repository::of(&location.with("registry.insecure", "yes")).unwrap_err();
        assert_eq!(odd.kind(), Kind::Invalid);
    }

    #[test]
    fn what_is_no_ref_is_refused_and_shows_no_password() {
        for reference in ["https://me:secret@host/app", "A/b", "a b", "host/../x", "x@sha256:12", "x:-"] {
            let error = Repository::of(&Location::new("registry").with("ref", reference)).unwrap_err();
            assert_eq!(error.kind(), Kind::Invalid, "{reference}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
        assert_eq!(Repository::of(&Location::new("inline")).unwrap_err().kind(), Kind::Invalid);
    }

    #[test]
    fn tags_cannot_lead_elsewhere() {
        for tag in ["latest", "v1.2-x_y", "_", "0"] {
            assert!(is_tag(tag), "{tag}");
        }
        for tag in ["", "..", ".a", "-a", "a/b", "a?b", "a%2fb", "a\u{1b}", "é", &"a".repeat(129)] {
            assert!(!is_tag(tag), "{tag}");
        }
    }
}
