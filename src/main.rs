//! The program: starts the command line and nothing else.

use std::process::ExitCode;

/// Reading a cache makes a million small allocations on all cores at once; with the system's allocator they are a third
/// of the time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cachedeck::cli::main()
}
