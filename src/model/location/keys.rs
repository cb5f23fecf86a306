//! Which keys each type of location knows, which of them are secret, and how secrets are kept out of URLs.

use crate::model::text;
use std::borrow::Cow;

/// What a key is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Says where the cache is: for import and export.
    Place,
    /// Only for `--cache-from`.
    Import,
    /// Only for `--cache-to`.
    Export,
    /// cachedeck's own: buildx does not know it.
    Own,
}

use Role::{Export, Import, Own, Place};

/// What every exporter takes.
const EXPORT: &[(&str, Role)] = &[
    ("mode", Export),
    ("compression", Export),
    ("compression-level", Export),
    ("force-compression", Export),
    ("oci-mediatypes", Export),
    ("image-manifest", Export),
    ("ignore-error", Export),
];

const TYPES: &[(&str, &[(&str, Role)])] = &[
    ("local", &[("src", Import), ("dest", Export), ("tag", Place), ("digest", Import), ("reset", Export)]),
    ("registry", &[("ref", Place), ("registry.insecure", Place)]),
    ("inline", &[("ref", Place), ("registry.insecure", Place)]),
    (
        "s3",
        &[
            ("bucket", Place),
            ("region", Place),
            ("name", Place),
            ("prefix", Place),
            ("manifests_prefix", Place),
            ("blobs_prefix", Place),
            ("endpoint_url", Place),
            ("use_path_style", Place),
            ("access_key_id", Place),
            ("secret_access_key", Place),
            ("session_token", Place),
            ("disable_accept_encoding", Place),
            ("retry_mode", Place),
            ("retry_max_attempts", Place),
            ("touch_refresh", Export),
            ("upload_parallelism", Export),
        ],
    ),
    (
        "azblob",
        &[
            ("account_url", Place),
            ("account_name", Place),
            ("container", Place),
            ("name", Place),
            ("prefix", Place),
            ("manifests_prefix", Place),
            ("blobs_prefix", Place),
            ("secret_access_key", Place),
        ],
    ),
    (
        "gha",
        &[
            ("scope", Place),
            ("url", Place),
            ("url_v2", Place),
            ("version", Place),
            ("token", Place),
            ("ghtoken", Place),
            ("repository", Place),
            ("timeout", Place),
            ("repo", Own),
            ("api_url", Own),
        ],
    ),
    ("daemon", &[("builder", Own), ("addr", Own), ("cacert", Own), ("cert", Own), ("key", Own), ("servername", Own)]),
];

/// The types there are, in the order to list them.
pub(super) fn types() -> impl Iterator<Item = &'static str> {
    TYPES.iter().map(|(kind, _)| *kind)
}

/// The keys of a type; `None` if the type is not one of ours.
pub(super) fn of(kind: &str) -> Option<impl Iterator<Item = (&'static str, Role)> + use<>> {
    let (_, own) = TYPES.iter().find(|(name, _)| *name == kind)?;
    let common = if kind == "daemon" { &[] } else { EXPORT };
    Some(own.iter().chain(common).copied())
}

/// What `key` is for in a location of type `kind`; `None` if nobody knows.
pub(super) fn role(kind: &str, key: &str) -> Option<Role> {
    of(kind)?.find(|(name, _)| *name == key).map(|(_, role)| role)
}

/// Stands for a secret.
pub(super) const MASK: &str = "***";

const SECRET: &[&str] = &["access_key_id", "secret_access_key", "session_token", "token", "ghtoken"];

/// Whether the value of `key` must never be shown: the known ones, and whatever looks like one of them misspelt.
pub(super) fn is_secret(kind: &str, key: &str) -> bool {
    if SECRET.contains(&key) {
        return true;
    }
    role(kind, key).is_none()
        && (["secret", "token", "passw", "credential", "auth", "key"].iter().any(|word| key.contains(word))
            || text::nearest(key, SECRET.iter().copied()).is_some())
}

/// `value` with what a URL in it may carry as credentials (user information, signatures) as `***`.
pub fn mask_url(value: &str) -> Cow<'_, str> {
    rewrite_url(value, Some(MASK))
}

/// `value` without what a URL in it may carry as credentials.
pub(super) fn strip_url(value: &str) -> Cow<'_, str> {
    rewrite_url(value, None)
}

/// Puts `mask` in the place of each secret in a URL, or leaves the secrets out.
fn rewrite_url<'a>(value: &'a str, mask: Option<&str>) -> Cow<'a, str> {
    let (head, query) = value.split_once('?').unwrap_or((value, ""));
    let user = head.find("://").and_then(|at| {
        let start = at + 3;
        let end = head[start..].find(['/', '#']).map_or(head.len(), |len| start + len);
        head[start..end].rfind('@').map(|len| start..start + len)
    });
    if user.is_none() && !query.split('&').any(|parameter| secret_parameter(parameter).is_some()) {
        return Cow::Borrowed(value);
    }
    let mut out = head.to_owned();
    match (user, mask) {
        (Some(user), Some(mask)) => out.replace_range(user, mask),
        (Some(user), None) => out.replace_range(user.start..=user.end, ""),
        (None, _) => {}
    }
    let kept: Vec<Cow<'_, str>> = query
        .split('&')
        .filter(|parameter| !parameter.is_empty())
        .filter_map(|parameter| match secret_parameter(parameter) {
            Some(name) => mask.map(|mask| Cow::Owned(format!("{name}={mask}"))),
            None => Some(Cow::Borrowed(parameter)),
        })
        .collect();
    if !kept.is_empty() {
        out.push('?');
        out.push_str(&kept.join("&"));
    }
    Cow::Owned(out)
}

/// The name of a query parameter that signs or authenticates: Azure's SAS, AWS's and Google's presigned URLs, tokens.
fn secret_parameter(parameter: &str) -> Option<&str> {
    let (name, _) = parameter.split_once('=')?;
    let lower = name.to_ascii_lowercase();
    let secret = matches!(lower.as_str(), "sig" | "se" | "token" | "access_token" | "key")
        || ["x-amz-", "x-goog-", "awsaccesskey"].iter().any(|prefix| lower.starts_with(prefix))
        // Nothing we know needs an escaped name, and it may stand for any of the above.
        || lower.contains('%')
        || ["secret", "signature", "password", "credential"].iter().any(|word| lower.contains(word));
    secret.then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_lose_their_credentials() {
        for (url, masked, stripped) in [
            ("https://minio:9000/x?a=b", "https://minio:9000/x?a=b", "https://minio:9000/x?a=b"),
            ("https://me:pw@minio:9000/x", "https://***@minio:9000/x", "https://minio:9000/x"),
            ("https://a@b@host?sig=s", "https://***@host?sig=***", "https://host"),
            ("https://h/c?sv=1&sig=a%2Fb&sr=c", "https://h/c?sv=1&sig=***&sr=c", "https://h/c?sv=1&sr=c"),
            ("https://h/?X-Amz-Signature=0&x=1", "https://h/?X-Amz-Signature=***&x=1", "https://h/?x=1"),
            ("https://h/?%73ig=0", "https://h/?%73ig=***", "https://h/"),
            ("repo/app@sha256:00", "repo/app@sha256:00", "repo/app@sha256:00"),
            ("https://h/a@b", "https://h/a@b", "https://h/a@b"),
        ] {
            assert_eq!(mask_url(url), masked);
            assert_eq!(strip_url(url), stripped);
        }
    }

    #[test]
    fn misspelt_secrets_are_still_secret() {
        for key in ["secret_access_key", "secret_acess_key", "acces_key_id", "tokn", "password", "my_token"] {
            assert!(is_secret("s3", key), "{key}");
        }
        for (kind, key) in [("local", "src"), ("s3", "bucket"), ("gha", "scope"), ("local", "tags"), ("s3", "nmae")] {
            assert!(!is_secret(kind, key), "{key}");
        }
    }
}
