//! The files of a chain of layers as one tree, as a build sees them.

use super::{LayerFiles, OpenLayer};
use crate::error::{Kind, Result};
use crate::model::digest::Digest;
use crate::model::files::Ending;
use crate::model::files::tree::FileTree;
use crate::progress::Progress;
use crate::store::Store;
use std::sync::Arc;

/// A chain that was read.
#[derive(Clone, Debug)]
pub struct Merged {
    /// Its files, marked by what the topmost layer did.
    pub tree: FileTree,
    /// How the reading of each layer ended, lowest first. While one did not end well, marks can be wrong.
    pub endings: Vec<Ending>,
}

/// Reads `layers`, lowest first, into one tree. `progress` counts entries and packed bytes. A layer that is not there or
/// can't be read is told by its ending. Errors: [`Kind::Cancelled`].
pub async fn merge(store: &Arc<dyn Store>, layers: &[Digest], progress: &Progress) -> Result<Merged> {
    let mut tree = FileTree::new();
    let mut endings = Vec::with_capacity(layers.len());
    for (at, digest) in layers.iter().enumerate() {
        if at > 0 {
            tree.begin_layer();
        }
        let layer = LayerFiles::new(Arc::clone(store), *digest);
        // The tree goes to the reading thread and back; what a failing layer brought until then is kept too.
        let shared = Arc::new(std::sync::Mutex::new(tree));
        let reading = Arc::clone(&shared);
        let read = layer.read(progress, move |layer| {
            let mut tree = reading.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            fill(&mut tree, layer)
        });
        endings.push(match read.await {
            Ok(ending) => ending,
            Err(error) if error.kind() == Kind::Cancelled => return Err(error),
            Err(error) => Ending::Unreadable(error.to_string()),
        });
        let mut shared = shared.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        tree = std::mem::take(&mut shared);
    }
    Ok(Merged { tree, endings })
}

fn fill(tree: &mut FileTree, layer: &mut OpenLayer) -> Result<Ending> {
    loop {
        match layer.next_entry()? {
            Ok(entry) => {
                if let Err(full) = tree.insert(&entry) {
                    return Ok(Ending::Truncated(full));
                }
            }
            Err(ending) => return Ok(ending),
        }
    }
}
