//! Holds the promises of `docs/safety.md`: whatever builds and other cachedecks do meanwhile, and whatever fails, no version that
//! anybody can find loses a blob.
//!
//! Whether a place is whole is told by `oracle.rs`, which shares no code with the program. The ways of collecting that lose data
//! are kept as mutants: each must be caught here, or the tests prove nothing.

#![allow(clippy::unwrap_used, clippy::panic)]

mod faults;
mod interleavings;
#[cfg(unix)]
mod local;
mod objects;
mod oracle;
mod properties;
mod stepped;
mod world;
