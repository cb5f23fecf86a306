//! Copies between places of all sorts, on real servers where there are any: what is read back is what was there, and whatever fails on
//! the way leaves the destination as it was.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

#[path = "../fixtures/mod.rs"]
mod fixtures;
#[allow(dead_code, reason = "the tests of the command line use all of it")]
#[path = "../cli/program.rs"]
mod program;
#[path = "../support/mod.rs"]
mod support;

mod broken_off;
mod faults;
mod flavours;
mod pairs;
mod places;
mod programs;
