//! The real program against places that are not on this disk: real servers, and stand-ins for what has none.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

#[path = "../fixtures/mod.rs"]
mod fixtures;
#[allow(dead_code, reason = "the tests of the command line use all of it")]
#[path = "../cli/program.rs"]
mod program;
#[path = "../support/mod.rs"]
mod support;

mod azblob;
mod azblob_changes;
mod builder;
mod canaries;
mod changing_faults;
mod discarding;
mod faults;
mod gha;
mod gha_writes;
mod registry;
mod registry_writes;
mod s3;
mod s3_changes;
mod taking;
