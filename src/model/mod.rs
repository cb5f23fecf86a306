//! Layer 0: plain data and pure functions. No async, no I/O, no clock.

pub mod actions;
pub mod build;
pub mod builder;
pub mod cache;
pub mod digest;
pub mod files;
pub mod filter;
pub mod finding;
pub mod graph;
pub mod inventory;
pub mod location;
pub mod pin;
pub mod plan;
pub mod policy;
pub mod reduce;
pub mod rows;
pub mod run;
pub mod text;
pub mod units;
pub mod usage;
