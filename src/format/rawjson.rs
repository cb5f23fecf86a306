//! What buildx and buildctl print with `--progress=rawjson`: a `SolveStatus` of BuildKit's `client/graph.go` a line, between
//! lines of plain text.

use crate::error::{Error, Result};
use crate::model::build::watch::{Log, Part, Status, Vertex};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::Deserialize;

/// The longest line that is read.
const MOST: usize = 8 << 20;

#[derive(Deserialize, Default)]
#[serde(default)]
struct Message {
    vertexes: Option<Vec<RawVertex>>,
    statuses: Option<Vec<RawPart>>,
    logs: Option<Vec<RawLog>>,
    warnings: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RawVertex {
    digest: String,
    inputs: Option<Vec<String>>,
    name: String,
    started: Option<String>,
    completed: Option<String>,
    cached: bool,
    error: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RawPart {
    id: String,
    vertex: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RawLog {
    vertex: String,
    data: Option<String>,
}

/// Reads a line. `None` for one that is no message, which is then text.
///
/// [`crate::error::Kind::Corrupt`] for one that looks like a message and is none.
pub fn decode(line: &str) -> Result<Option<Status>> {
    if !line.starts_with('{') {
        return Ok(None);
    }
    let corrupt = |what: &str| Error::corrupt(format!("a message of the builder {what}"));
    if line.len() > MOST {
        return Err(corrupt("is too long"));
    }
    let message: Message = serde_json::from_str(line).map_err(|error| corrupt("makes no sense").with_source(error))?;
    let Message { vertexes, statuses, logs, warnings } = message;
    if vertexes.is_none() && statuses.is_none() && logs.is_none() && warnings.is_none() {
        return Err(corrupt("holds nothing known"));
    }
    // A time that is none leaves the rest as it is.
    let time = |text: Option<String>| text.and_then(|text| text.parse::<Timestamp>().ok());
    let vertex = |raw: RawVertex| Vertex {
        digest: raw.digest,
        inputs: raw.inputs.unwrap_or_default(),
        name: raw.name,
        started: time(raw.started),
        completed: time(raw.completed),
        cached: raw.cached,
        error: Some(raw.error).filter(|error| !error.is_empty()),
    };
    let log = |raw: RawLog| Log {
        vertex: raw.vertex,
        data: raw.data.and_then(|data| STANDARD.decode(data).ok()).unwrap_or_default(),
    };
    Ok(Some(Status {
        vertices: vertexes.unwrap_or_default().into_iter().map(vertex).collect(),
        logs: logs.unwrap_or_default().into_iter().map(log).collect(),
        parts: statuses.unwrap_or_default().into_iter().map(|raw| Part { vertex: raw.vertex, id: raw.id }).collect(),
    }))
}
