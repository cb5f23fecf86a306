//! Lets the n-th system call of a test's own thread fail, and keeps what tests measure.

use rustix::io::Errno;
use std::cell::RefCell;
use std::sync::Mutex;
use std::time::Duration;

#[derive(Default)]
struct Faults {
    /// Calls until the one that fails.
    left: Option<(usize, Errno)>,
    /// The call that failed.
    failed: Option<&'static str>,
}

thread_local! {
    static FAULTS: RefCell<Faults> = RefCell::default();
}

static HELD: Mutex<Vec<Duration>> = Mutex::new(Vec::new());

/// Lets call number `n`, counted from 0, fail with `errno`.
pub(super) fn fail(n: usize, errno: Errno) {
    FAULTS.with_borrow_mut(|faults| *faults = Faults { left: Some((n, errno)), failed: None });
}

/// Lets no call fail any more; tells which one did.
pub(super) fn stop() -> Option<&'static str> {
    FAULTS.with_borrow_mut(std::mem::take).failed
}

/// A call is made.
pub(super) fn next(name: &'static str) -> Result<(), Errno> {
    FAULTS.with_borrow_mut(|faults| match &mut faults.left {
        Some((0, errno)) => {
            let errno = *errno;
            *faults = Faults { left: None, failed: Some(name) };
            Err(errno)
        }
        Some((left, _)) => {
            *left -= 1;
            Ok(())
        }
        None => Ok(()),
    })
}

/// The lock of `index.json` was held so long.
pub(super) fn held(long: Duration) {
    HELD.lock().unwrap().push(long);
}

/// How long it was held each time since this was asked last.
pub(super) fn take_held() -> Vec<Duration> {
    std::mem::take(&mut *HELD.lock().unwrap())
}
