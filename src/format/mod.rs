//! Layer 1: bytes to model and back. What the formats are, and where that is known from, stands in `docs/formats.md`.
//!
//! Everything here reads untrusted bytes: limits come before parsing, and every fault is an error, never a panic.

pub mod buildfile;
pub mod buildx;
pub mod cacheconfig;
pub mod compose;
pub mod document;
pub mod envelope;
pub mod image;
pub mod layer;
pub mod lenient;
pub mod mend;
pub mod rawjson;
pub mod usage;
