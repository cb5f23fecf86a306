//! Runs the tests' stand-in for GitHub's caches, so that a real BuildKit can export to it and cachedeck can be tried on it:
//! `cargo run --example github_stand_in [API-ADDRESS STORAGE-ADDRESS]`. It prints what to put into the environment, and keeps
//! everything in memory until it is stopped.

#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::panic)]

#[path = "../tests/support/github.rs"]
mod github;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let address = |at: usize| arguments.get(at).map_or("127.0.0.1:0", String::as_str);
    let github = github::Github::start_on(address(0), address(1));
    println!("export ACTIONS_RUNTIME_TOKEN={}", github::run_token(&[("refs/heads/main", 3)]));
    println!("export ACTIONS_RESULTS_URL={0} ACTIONS_CACHE_URL={0} ACTIONS_CACHE_SERVICE_V2=True", github.url);
    println!(
        "export GITHUB_API_URL={} GITHUB_TOKEN={} GITHUB_REPOSITORY={}",
        github.url,
        github::TOKEN,
        github::REPOSITORY
    );
    loop {
        std::thread::park();
    }
}
