//! cachedeck shows BuildKit build caches wherever they live. The library is the program's own; its JSON is the
//! interface for others.
//!
//! Six layers, imports only downward (held by `tests/architecture.rs`):
//!
//! | layer | module | job |
//! |---|---|---|
//! | 0 | [`error`], [`progress`], [`model`] | plain data and pure functions |
//! | 1 | [`mod@format`] | bytes to model and back |
//! | 2 | [`store`], [`state`] | reach one place where caches live; remember what was seen |
//! | 3 | [`ops`] | use cases: load, verify, diff, files, find, prune, pin, repair, copy, build |
//! | 4 | [`cli`], [`tui`], [`config`] | talk to people |
//! | 5 | `main.rs` | start |

pub mod cli;
pub mod config;
pub mod error;
pub mod format;
pub mod model;
pub mod ops;
pub mod progress;
pub mod state;
pub mod store;
pub mod tui;
