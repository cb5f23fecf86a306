//! Digests. Parsing one is the only way to a path, an object key or a URL, so that nothing a cache says can lead elsewhere.

use crate::error::{Error, Result};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// A SHA-256 digest, `sha256:<64 lower-case hex digits>`: the only kind BuildKit writes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

const PREFIX: &str = "sha256:";

impl Digest {
    /// From the 32 bytes of a finished SHA-256.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The digest of `data`.
    pub fn of(data: &[u8]) -> Self {
        use sha2::Digest as _;
        Self(sha2::Sha256::digest(data).into())
    }

    /// From the 64 lower-case hex digits alone, as in a blob's file name.
    pub fn from_hex(hex: &str) -> Result<Self> {
        parse_hex(hex).map(Self).ok_or_else(|| bad(hex))
    }

    /// The 64 hex digits.
    pub fn hex(&self) -> String {
        let mut text = String::with_capacity(64);
        push_hex(&self.0, &mut text);
        text
    }

    /// The first twelve hex digits: enough for a person, not for a machine.
    pub fn short(&self) -> String {
        let mut text = String::with_capacity(12);
        push_hex(&self.0[..6], &mut text);
        text
    }

    /// The raw bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

fn push_hex(bytes: &[u8], to: &mut String) {
    for byte in bytes {
        for nibble in [byte >> 4, byte & 15] {
            to.push(char::from(b"0123456789abcdef"[usize::from(nibble)]));
        }
    }
}

/// The value of each hex digit, or [`NO_DIGIT`]. A large cache has half a million digests to parse.
const DIGITS: [u8; 256] = {
    let mut digits = [NO_DIGIT; 256];
    let mut value = 0;
    while value < 16 {
        digits[b"0123456789abcdef"[value as usize] as usize] = value;
        value += 1;
    }
    digits
};

const NO_DIGIT: u8 = 0xff;

fn parse_hex(hex: &str) -> Option<[u8; 32]> {
    let hex: &[u8; 64] = hex.as_bytes().try_into().ok()?;
    let mut bytes = [0; 32];
    let mut seen = 0;
    for (byte, pair) in bytes.iter_mut().zip(hex.chunks_exact(2)) {
        let (high, low) = (DIGITS[usize::from(pair[0])], DIGITS[usize::from(pair[1])]);
        seen |= high | low;
        *byte = high << 4 | low & 0x0f;
    }
    (seen & 0xf0 == 0).then_some(bytes)
}

fn bad(text: &str) -> Error {
    let shown: String = text.chars().take(80).collect();
    Error::invalid(format!("not a digest: {shown:?}")).with_hint("a digest is sha256: and 64 lower-case hex digits")
}

impl FromStr for Digest {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        text.strip_prefix(PREFIX).and_then(parse_hex).map(Self).ok_or_else(|| bad(text))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Digest;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a digest, sha256: and 64 lower-case hex digits")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> std::result::Result<Digest, E> {
                // Not serde's own words: those would repeat all of a text that may be megabytes long.
                text.parse().map_err(|e: Error| E::custom(e.what()))
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

/// `words` with every digest in them cut to its first twelve digits: where the whole one is shown elsewhere.
pub fn shorten(words: &str) -> String {
    let mut out = String::new();
    let mut rest = words;
    while let Some(at) = rest.find(PREFIX) {
        let (before, from) = rest.split_at(at);
        let hex = &from[PREFIX.len()..];
        let digits = hex.bytes().take_while(u8::is_ascii_hexdigit).count();
        out.push_str(before);
        let (shown, skipped) = if digits == 64 { (&hex[..12], PREFIX.len() + 64) } else { (PREFIX, PREFIX.len()) };
        out.push_str(shown);
        rest = &from[skipped..];
    }
    out.push_str(rest);
    out
}

/// What a user typed for a digest: all of it or a beginning of at least four hex digits, with or without `sha256:`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DigestPrefix(String);

impl fmt::Display for DigestPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.0)
    }
}

impl DigestPrefix {
    /// Whether `digest` begins like this.
    pub fn matches(&self, digest: &Digest) -> bool {
        digest.hex().starts_with(&self.0)
    }
}

impl FromStr for DigestPrefix {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let hex = text.strip_prefix(PREFIX).unwrap_or(text);
        let fits = (4..=64).contains(&hex.len()) && hex.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'));
        if fits {
            Ok(Self(hex.to_owned()))
        } else {
            Err(bad(text).with_hint("give at least four of its digits, or all"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn round_trips_and_shortens() {
        let digest: Digest = format!("sha256:{HEX}").parse().unwrap();
        assert_eq!(digest, Digest::of(b""));
        assert_eq!(digest.to_string(), format!("sha256:{HEX}"));
        assert_eq!(digest.short(), "e3b0c44298fc");
        assert_eq!(Digest::from_hex(HEX).unwrap(), digest);
    }

    #[test]
    fn refuses_everything_that_is_not_exactly_a_digest() {
        let upper = HEX.to_uppercase();
        for text in [
            "",
            "sha256:",
            HEX,
            "sha256:../../../../etc/passwd",
            &format!("sha256:{upper}"),
            &format!("SHA256:{HEX}"),
            &format!("sha256:{}", &HEX[1..]),
            &format!("sha256:{HEX}0"),
            &format!("sha512:{HEX}{HEX}"),
            &format!("sha256:{}é", &HEX[2..]),
            &format!(" sha256:{HEX}"),
            &format!("sha256:{HEX}\n"),
        ] {
            assert!(text.parse::<Digest>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn prefixes_need_four_digits() {
        let digest = Digest::from_hex(HEX).unwrap();
        assert!("e3b0".parse::<DigestPrefix>().unwrap().matches(&digest));
        assert!("sha256:e3b0c4".parse::<DigestPrefix>().unwrap().matches(&digest));
        assert!(!"e3b1".parse::<DigestPrefix>().unwrap().matches(&digest));
        assert!("e3b".parse::<DigestPrefix>().is_err());
        assert!("e3b0/..".parse::<DigestPrefix>().is_err());
    }

    #[test]
    fn only_whole_digests_are_cut() {
        let digest = Digest::of(b"x");
        assert_eq!(shorten(&format!("blob {digest} is gone")), format!("blob {} is gone", digest.short()));
        assert_eq!(shorten("sha256:12 and sha256:"), "sha256:12 and sha256:");
    }
}
