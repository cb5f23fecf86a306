//! The one error type. It says what failed, on what, and what to do next; it never holds a secret or a signed URL.
//!
//! Exit codes and retries follow from [`Kind`] alone. Causes are kept, not folded into the text.

use std::fmt;

/// What sort of failure it was. Exit codes come from this alone; only [`Kind::Unavailable`] is worth a retry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// The thing named does not exist: no such folder, tag, digest or file.
    NotFound,
    /// It exists, but we may not read or change it.
    Denied,
    /// Credentials are missing or refused.
    Unauthenticated,
    /// What the user gave makes no sense: a bad location, option or filter.
    Invalid,
    /// This backend cannot do that, ever.
    Unsupported,
    /// It changed since it was looked at.
    Stale,
    /// What is stored is damaged or not in the format it should have.
    Corrupt,
    /// Somebody else holds it.
    Busy,
    /// It may work later: a time-out, a 503, a broken connection.
    Unavailable,
    /// A program that was run for the user failed.
    Failed,
    /// The user stopped it.
    Cancelled,
    /// A fault of ours.
    Internal,
}

impl Kind {
    /// The machine-readable code used in JSON errors.
    pub fn code(self) -> &'static str {
        match self {
            Kind::NotFound => "not_found",
            Kind::Denied => "denied",
            Kind::Unauthenticated => "unauthenticated",
            Kind::Invalid => "invalid",
            Kind::Unsupported => "unsupported",
            Kind::Stale => "stale",
            Kind::Corrupt => "corrupt",
            Kind::Busy => "busy",
            Kind::Unavailable => "unavailable",
            Kind::Failed => "failed",
            Kind::Cancelled => "cancelled",
            Kind::Internal => "internal",
        }
    }

    /// The process exit code for a command that failed with this kind.
    pub fn exit_code(self) -> u8 {
        match self {
            Kind::Invalid => 2,
            Kind::Denied | Kind::Unauthenticated => 4,
            Kind::NotFound => 5,
            Kind::Corrupt => 6,
            Kind::Stale | Kind::Busy => 8,
            Kind::Unsupported => 10,
            Kind::Cancelled => 130,
            Kind::Unavailable | Kind::Failed | Kind::Internal => 1,
        }
    }
}

/// A failure, with what it happened to and what to do next.
#[derive(Debug)]
pub struct Error {
    kind: Kind,
    what: String,
    hint: Option<String>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// The crate's result.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error of `kind`; `what` says what failed and on what, in lower case and without a full stop.
    pub fn new(kind: Kind, what: impl Into<String>) -> Self {
        Self { kind, what: what.into(), hint: None, source: None }
    }

    /// Short for [`Error::new`] with [`Kind::Invalid`].
    pub fn invalid(what: impl Into<String>) -> Self {
        Self::new(Kind::Invalid, what)
    }

    /// Short for [`Error::new`] with [`Kind::Corrupt`].
    pub fn corrupt(what: impl Into<String>) -> Self {
        Self::new(Kind::Corrupt, what)
    }

    /// Short for [`Error::new`] with [`Kind::NotFound`].
    pub fn not_found(what: impl Into<String>) -> Self {
        Self::new(Kind::NotFound, what)
    }

    /// A backend, by its type, can't do or give something.
    pub fn unsupported(backend: &str, what: impl fmt::Display) -> Self {
        Self::new(Kind::Unsupported, format!("not supported by {backend}: {what}"))
    }

    /// The user stopped the job.
    pub fn cancelled() -> Self {
        Self::new(Kind::Cancelled, "stopped")
    }

    /// An I/O failure on `what`, its kind taken from the system's error.
    pub fn io(what: impl Into<String>, source: std::io::Error) -> Self {
        use std::io::ErrorKind as E;
        let kind = match source.kind() {
            E::NotFound => Kind::NotFound,
            E::PermissionDenied => Kind::Denied,
            E::InvalidData | E::UnexpectedEof => Kind::Corrupt,
            E::TimedOut | E::ConnectionReset | E::ConnectionRefused | E::BrokenPipe => Kind::Unavailable,
            _ => Kind::Internal,
        };
        Self::new(kind, what).with_source(source)
    }

    /// The same error, for each of many that fail together. It has no cause: that is told once.
    #[must_use]
    pub fn again(&self) -> Self {
        Self { kind: self.kind, what: self.what.clone(), hint: self.hint.clone(), source: None }
    }

    /// Adds what the user can do next.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Keeps the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Puts `what` in front of what failed, for a caller that knows the larger thing.
    #[must_use]
    pub fn context(mut self, what: impl fmt::Display) -> Self {
        self.what = format!("{what}: {}", self.what);
        self
    }

    /// What sort of failure.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What failed, without causes.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// What to do next, where something can be done.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

/// One line: what failed, then its causes. May hold untrusted text: print it through [`crate::model::text`].
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        let mut next = std::error::Error::source(self);
        while let Some(cause) = next {
            write!(f, ": {cause}")?;
            next = cause.source();
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|s| s.as_ref() as _)
    }
}
