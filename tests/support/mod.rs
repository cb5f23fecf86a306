//! Servers that tests run against. The real ones are started by `tests/servers/with`, which tells where they are by environment
//! variables; the stand-ins live here.

#![allow(dead_code)]

pub mod azure;
pub mod builder;
pub mod faults;
pub mod github;
pub mod pushing;
pub mod s3;
pub mod wire;

/// Where a server is that `tests/servers/with` started. Fails where it did not: no test is skipped for want of a server.
fn server(variable: &str) -> String {
    match std::env::var(variable) {
        Ok(address) if !address.is_empty() => address,
        _ => {
            panic!("{variable} is not set: run tests through tests/run, or `tests/servers/with cargo nextest run ...`")
        }
    }
}

/// The registry without a password: `http://127.0.0.1:PORT`.
pub fn registry() -> String {
    server("CACHEDECK_TEST_REGISTRY")
}

/// The registry that wants user `tester` and password `only for tests`.
pub fn registry_with_password() -> String {
    server("CACHEDECK_TEST_REGISTRY_AUTH")
}

/// Azurite, with the account's path: `http://127.0.0.1:PORT/devstoreaccount1`.
pub fn azure() -> String {
    server("CACHEDECK_TEST_AZURE")
}

/// moto's S3, which takes any credentials.
pub fn s3() -> String {
    server("CACHEDECK_TEST_S3")
}

/// A name that no other test has: for a repository, bucket or container, since all tests share the servers.
pub fn unique(prefix: &str) -> String {
    let mut random = [0; 8];
    std::io::Read::read_exact(&mut std::fs::File::open("/dev/urandom").unwrap(), &mut random).unwrap();
    format!("{prefix}-{:016x}", u64::from_ne_bytes(random))
}
