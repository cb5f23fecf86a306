//! A layout where there is none yet, as BuildKit's exporter makes it: the folder, `oci-layout`, and no version. `index.json` comes
//! with the first name.

use crate::error::{Error, Kind, Result};
use crate::model::location::Location;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

const LAYOUT: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;

/// Makes a layout out of a folder that is not there or empty; one that is a cache is left as it is.
/// [`Kind::Invalid`] for a folder that holds something else.
pub(in crate::store) fn make(location: &Location) -> Result<()> {
    let folder = location.local()?.dir;
    let folder = Path::new(&folder);
    let failed = |what: &str, error| Error::io(format!("{what} {}", folder.display()), error);
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            fs::create_dir_all(folder).map_err(|e| failed("making folder", e))?;
            fs::read_dir(folder).map_err(|e| failed("opening folder", e))?
        }
        Err(error) => return Err(failed("opening folder", error)),
    };
    let names: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.file_name())).collect();
    if names.iter().any(|name| name == "index.json" || name == "blobs") {
        return Ok(());
    }
    // What an export, or we, began and did not come further with.
    let own = |name: &std::ffi::OsString| name == "oci-layout" || name == "ingest" || name == super::area::AREA;
    if !names.iter().all(own) {
        return Err(Error::new(Kind::Invalid, format!("{} is no build cache, and not empty", folder.display()))
            .with_hint("give a folder that is new or empty"));
    }
    // Last what it is known by: what breaks off before is begun anew.
    fs::write(folder.join("oci-layout"), LAYOUT).map_err(|e| failed("making a cache in", e))?;
    fs::create_dir_all(folder.join("blobs/sha256")).map_err(|e| failed("making a cache in", e))
}
