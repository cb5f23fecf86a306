//! The real program, with a cleared environment, a fixed clock and a fixed width.

#![allow(clippy::unwrap_used, clippy::panic)]

#[allow(dead_code, reason = "other tests ask more of it")]
#[path = "../support/builder.rs"]
mod builder;
#[path = "../fixtures/mod.rs"]
mod fixtures;
#[path = "../support/github.rs"]
mod github;

mod bad_input;
mod build;
mod changing;
mod choosing;
mod daemon;
mod documented;
mod files;
mod help;
mod json;
mod locations;
mod output;
mod program;
mod tables;
