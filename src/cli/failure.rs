//! How a command ends: with an [`Exit`], or by a [`Stop`]. Exit codes are decided here and by
//! [`crate::error::Kind::exit_code`], nowhere else.

use crate::error::Error;
use crate::model::location::Location;

/// How a command that did its work ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    /// All of it was done.
    Done,
    /// Some of several items failed; what failed was told.
    Partly,
    /// What was looked for is not there.
    Nothing,
    /// Damage was found.
    Damage,
    /// A threshold that the user set was passed, or a guard refused a plan.
    Limit,
    /// There was nothing to do, and the user wants to know that.
    Noop,
    /// A program that was run for the user failed; why was told.
    Failed,
    /// The user stopped it; what there is to tell was told.
    Stopped,
}

impl Exit {
    /// How several ends come to one: what went wrong counts more than what did not.
    pub(super) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Exit::Done, other) | (other, Exit::Done) => other,
            (one, other) if one == other => one,
            _ => Exit::Partly,
        }
    }

    /// The process's exit code.
    pub(super) fn code(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Partly => 3,
            Exit::Nothing => 5,
            Exit::Damage => 6,
            Exit::Limit => 7,
            Exit::Noop => 9,
            Exit::Stopped => 130,
        }
    }
}

/// Why a command did not do its work.
#[derive(Debug)]
pub(super) enum Stop {
    /// It failed.
    Failed {
        /// On what.
        location: Option<Box<Location>>,
        /// How.
        error: Box<Error>,
    },
    /// Nobody reads the output any more, as in `cachedeck ls | head`: no failure, and nothing to say.
    Closed,
}

impl Stop {
    /// A failure at `location`.
    pub(super) fn at(location: &Location, error: Error) -> Self {
        Stop::Failed { location: Some(Box::new(location.clone())), error: Box::new(error) }
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Stop::Failed { location: None, error: Box::new(error) }
    }
}

/// What a command comes to.
pub(super) type Outcome<T = Exit> = std::result::Result<T, Stop>;
