//! The program: starts the command line and nothing else.

use std::process::ExitCode;

fn main() -> ExitCode {
    cachedeck::cli::main()
}
