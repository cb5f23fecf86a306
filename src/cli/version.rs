//! `version`: which cachedeck this is.

use super::Command;
use super::failure::{Exit, Outcome};
use super::session::{Needs, Session};
use clap::Parser;
use serde_json::json;

/// Show the version
#[derive(Parser)]
pub(super) struct Version {}

impl Command for Version {
    const NAME: &'static str = "version";
    const NEEDS: Needs = Needs { format: true, config: false };

    fn run(self, session: &mut Session) -> Outcome {
        let version = env!("CARGO_PKG_VERSION");
        if session.out.is_json() {
            let types: Vec<_> = crate::store::catalog::types().collect();
            let value = json!({"schema": "cachedeck.version/1", "version": version, "location_types": types});
            session.out.json(&value)?;
        } else {
            session.out.line(&format!("cachedeck {version}"))?;
            session.out.flush()?;
        }
        Ok(Exit::Done)
    }
}
