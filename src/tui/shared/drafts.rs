//! What the user is about to change at a place: the policy with what was chosen by hand, the plan that was made of it, and the
//! way back to what was wanted before. Nothing here changes anything.

use super::PlaceId;
use crate::error::Error;
use crate::model::inventory::CacheIndex;
use crate::model::location::Location;
use crate::model::pin::Pin;
use crate::model::plan::{Plan, Purpose};
use crate::model::policy::Policy;
use crate::model::run::Run;
use crate::ops::prune::Wish;
use crate::store::Capabilities;
use std::collections::HashMap;
use std::sync::Arc;

/// What may be done to a place, and what was done to it before.
#[derive(Clone, Debug)]
pub struct Ledger {
    /// What it can do.
    pub claims: Capabilities,
    /// Its pins, by name.
    pub pins: Vec<Pin>,
    /// Its runs, the last first.
    pub runs: Vec<Run>,
    /// Why pins or runs can't be told. Safe text.
    pub problem: Option<String>,
}

impl Ledger {
    /// The pin that holds a version.
    pub fn pin_of(&self, index: &CacheIndex) -> Option<&Pin> {
        self.pins.iter().find(|pin| pin.digest == index.digest && index.tags.contains(&pin.name))
    }
}

/// A plan in the making.
#[derive(Clone, Debug)]
pub struct Draft {
    /// What is wanted.
    pub wish: Wish,
    /// Where a repair may fetch what is missing.
    pub from: Option<Location>,
    past: Vec<Wish>,
    future: Vec<Wish>,
    /// The last plan that was made, also while another is on its way.
    pub plan: Option<Arc<Plan>>,
    /// Why none could be made of what is wanted now.
    pub error: Option<Arc<Error>>,
    /// Whether `plan` is of what is wanted now.
    pub current: bool,
    /// Grows with every change.
    pub revision: u64,
}

impl Draft {
    /// To do what is usual.
    pub fn new(purpose: Purpose) -> Draft {
        let wish = Wish { purpose, ..Wish::prune(Policy::default()) };
        let (past, future) = (Vec::new(), Vec::new());
        Draft { wish, from: None, past, future, plan: None, error: None, current: false, revision: 0 }
    }

    /// Wants something else.
    pub fn want(&mut self, wish: Wish) {
        self.past.push(std::mem::replace(&mut self.wish, wish));
        self.future.clear();
        self.outdate();
    }

    /// Wants again what was wanted before; `false` if that was nothing.
    pub fn undo(&mut self) -> bool {
        let Some(wish) = self.past.pop() else { return false };
        self.future.push(std::mem::replace(&mut self.wish, wish));
        self.outdate();
        true
    }

    /// Wants again what was taken back; `false` if that was nothing.
    pub fn redo(&mut self) -> bool {
        let Some(wish) = self.future.pop() else { return false };
        self.past.push(std::mem::replace(&mut self.wish, wish));
        self.outdate();
        true
    }

    /// The plan is not of what is wanted, or of the place as it is.
    pub fn outdate(&mut self) {
        self.current = false;
        self.revision += 1;
    }

    /// Forgets what was chosen by hand: it is done.
    pub fn settle(&mut self) {
        self.wish.policy.remove.clear();
        self.wish.policy.keep.clear();
        (self.past, self.future) = (Vec::new(), Vec::new());
        (self.plan, self.error) = (None, None);
        self.outdate();
    }

    /// Whether a version was chosen for removal.
    pub fn has_staged(&self, index: &CacheIndex) -> bool {
        let own = called(index);
        self.wish.policy.remove.contains(&own)
    }
}

/// What a version is called in a policy: its name, else the beginning of its digest.
pub fn called(index: &CacheIndex) -> String {
    index.name().map_or_else(|| index.digest.short(), str::to_owned)
}

/// All that is about to be changed, by place and purpose.
#[derive(Clone, Debug, Default)]
pub struct Drafts {
    all: HashMap<(PlaceId, Purpose), Draft>,
    /// What is wanted of a place where nothing else was said.
    usual: HashMap<PlaceId, Wish>,
}

impl Drafts {
    /// What is planned there.
    pub fn get(&self, place: PlaceId, purpose: Purpose) -> Option<&Draft> {
        self.all.get(&(place, purpose))
    }

    /// The same, begun if need be.
    pub fn entry(&mut self, place: PlaceId, purpose: Purpose) -> &mut Draft {
        let usual = self.usual.get(&place).filter(|_| purpose == Purpose::Prune);
        let draft = || Draft { wish: usual.cloned().unwrap_or(Draft::new(purpose).wish), ..Draft::new(purpose) };
        self.all.entry((place, purpose)).or_insert_with(draft)
    }

    /// Sets what pruning is to do at `place` where nothing else is said.
    pub fn set_usual(&mut self, place: PlaceId, wish: Wish) {
        self.usual.insert(place, wish);
    }

    /// Nothing that was planned at `place` is of it as it is now.
    pub fn outdate(&mut self, place: PlaceId) {
        self.all.iter_mut().filter(|((at, _), _)| *at == place).for_each(|(_, draft)| draft.outdate());
    }

    /// Versions chosen for removal, in all places.
    pub fn staged(&self) -> usize {
        let pruned = self.all.iter().filter(|((_, purpose), _)| *purpose == Purpose::Prune);
        pruned.map(|(_, draft)| draft.wish.policy.remove.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wanted_can_be_taken_back_and_made_again() {
        let mut draft = Draft::new(Purpose::Prune);
        let staged = |draft: &Draft| draft.wish.policy.remove.clone();
        let stage = |draft: &mut Draft, name: &str| {
            let mut wish = draft.wish.clone();
            wish.policy.remove.push(name.to_owned());
            draft.want(wish);
        };
        stage(&mut draft, "a");
        stage(&mut draft, "b");
        assert!(draft.undo());
        assert_eq!(staged(&draft), ["a"]);
        assert!(draft.redo() && !draft.redo());
        assert_eq!(staged(&draft), ["a", "b"]);
        assert!(draft.undo() && draft.undo() && !draft.undo());
        stage(&mut draft, "c");
        assert!(!draft.redo(), "what was taken back is forgotten once something else is chosen");
    }
}
