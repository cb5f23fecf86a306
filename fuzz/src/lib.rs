//! What each fuzz target does with its bytes: it reads them as the program would, and holds what came out of it against
//! what the readers promise. A broken promise panics. `tests/fuzz_corpus.rs` of the main crate runs the same functions
//! over the committed corpus, so nothing here may depend on libFuzzer.

#![allow(clippy::panic, clippy::unwrap_used, clippy::expect_used)]

mod documents;
mod layers;
mod words;

pub use documents::{build, config, envelope, index, usage};
pub use layers::{repair, tar};
pub use words::{filter, location, settings};

use cachedeck::error::{Error, Kind};

/// The longest message that a person may be shown.
const MESSAGE: usize = 16 << 10;

/// What is refused is refused with a reason of the right kind, which a person can read.
fn refused(error: &Error, kind: Kind) {
    assert_eq!(error.kind(), kind, "{error}");
    let text = format!("{error}{}", error.hint().unwrap_or_default());
    assert!(!error.what().is_empty() && text.len() <= MESSAGE, "{} bytes of message: {text}", text.len());
}
