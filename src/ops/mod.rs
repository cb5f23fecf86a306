//! Layer 3: use cases. They see stores only through [`crate::store::Store`], and serve the command line and the terminal
//! UI alike.

pub mod apply;
pub mod build;
pub mod copy;
pub mod diff;
pub mod files;
pub mod find;
pub mod import;
pub mod journal;
pub mod kept;
pub mod load;
pub mod names;
pub mod picture;
pub mod pin;
pub mod prune;
pub mod repair;
pub mod retire;
pub mod settle;
pub mod verify;
pub mod versions;
