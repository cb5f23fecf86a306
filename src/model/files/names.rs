//! Keeps each name once. A tree of a million entries has few different names, and many short ones.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

/// A name that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct NameId(u32);

/// Names, each once, in one piece of memory.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    bytes: Vec<u8>,
    /// Where each name ends; it begins where the one before ends.
    ends: Vec<u32>,
    /// The newest name of a hash, and for each name the one before it with the same hash.
    newest: HashMap<u32, u32>,
    before: Vec<u32>,
    hasher: RandomState,
}

const NONE: u32 = u32::MAX;

impl Names {
    /// The id of `name`, which is kept from now on; `None` once all names together take 4 GiB.
    pub(super) fn keep(&mut self, name: &[u8]) -> Option<NameId> {
        let hash = self.hash(name);
        if let Some(id) = self.with_hash(hash, name) {
            return Some(id);
        }
        let id = u32::try_from(self.ends.len()).ok().filter(|&id| id != NONE)?;
        let end = u32::try_from(self.bytes.len() + name.len()).ok()?;
        self.bytes.extend_from_slice(name);
        self.ends.push(end);
        self.before.push(self.newest.insert(hash, id).unwrap_or(NONE));
        Some(NameId(id))
    }

    /// The id of `name`, if it is kept.
    pub(super) fn find(&self, name: &[u8]) -> Option<NameId> {
        self.with_hash(self.hash(name), name)
    }

    /// The name itself.
    pub(super) fn get(&self, id: NameId) -> &[u8] {
        let at = id.0 as usize;
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before] as usize);
        &self.bytes[start..self.ends[at] as usize]
    }

    /// Half of it is enough: names with the same one are chained.
    fn hash(&self, name: &[u8]) -> u32 {
        self.hasher.hash_one(name) as u32
    }

    fn with_hash(&self, hash: u32, name: &[u8]) -> Option<NameId> {
        let mut id = *self.newest.get(&hash)?;
        while id != NONE {
            if self.get(NameId(id)) == name {
                return Some(NameId(id));
            }
            id = self.before[id as usize];
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kept_once_and_come_back() {
        let mut names = Names::default();
        let ids: Vec<NameId> = ["a", "", "b\u{ff}", "a", ""].map(|n| names.keep(n.as_bytes()).unwrap()).to_vec();
        assert_eq!((ids[0], ids[1]), (ids[3], ids[4]));
        assert_eq!(names.get(ids[2]), "b\u{ff}".as_bytes());
        assert_eq!(names.get(ids[1]), b"");
        assert_eq!((names.find(b"a"), names.find(b"c")), (Some(ids[0]), None));
        assert_eq!(names.bytes.len(), 4);
    }
}
