//! How fast a job goes, and how long it will take: told from what it has counted, looked at now and then.

use crate::progress::Counts;
use std::collections::VecDeque;
use std::time::Duration;

/// A rate is that of the last while: a line that was slow an hour ago tells nothing.
const WINDOW: Duration = Duration::from_secs(10);
/// Samples are at least so far apart.
const APART: Duration = Duration::from_millis(250);
/// What was measured for less than this is no rate.
const LEAST: Duration = Duration::from_secs(1);

/// When it was looked, and the bytes that were done by then.
pub type Sample = (Duration, u64);

/// How fast it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Speed {
    /// Bytes a second.
    pub rate: u64,
    /// How long the rest will take; `None` where nobody knows how much that is, or nothing moves.
    pub left: Option<Duration>,
}

/// The rate between the first and the last of `samples`, and what that means for the rest of `counts`. `None` before there is enough
/// to tell from.
pub fn speed(samples: impl IntoIterator<Item = Sample>, counts: Counts) -> Option<Speed> {
    let mut samples = samples.into_iter();
    let (begun, before) = samples.next()?;
    let (now, done) = samples.last()?;
    let passed = now.saturating_sub(begun);
    if passed < LEAST {
        return None;
    }
    let rate = (done.saturating_sub(before) as f64 / passed.as_secs_f64()) as u64;
    let rest = counts.bytes_total.saturating_sub(counts.bytes);
    let left = (rate > 0 && counts.bytes_total > 0).then(|| Duration::from_secs(rest.div_ceil(rate)));
    Some(Speed { rate, left })
}

/// `left` in words that do not jump about: `8s`, `3m 20s`, `2h 5m`.
pub fn words(left: Duration) -> String {
    let seconds = left.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s}s"),
        (0, m, s) => format!("{m}m {s}s"),
        (h, m, _) => format!("{h}h {m}m"),
    }
}

/// What was seen of one job lately.
#[derive(Clone, Debug, Default)]
pub struct Pace {
    samples: VecDeque<Sample>,
}

impl Pace {
    /// Notes what is done by `clock`.
    pub fn note(&mut self, clock: Duration, counts: Counts) {
        if self.samples.back().is_some_and(|(last, _)| clock < *last + APART) {
            return;
        }
        self.samples.push_back((clock, counts.bytes));
        while self.samples.len() > 2 && self.samples[1].0 + WINDOW <= clock {
            self.samples.pop_front();
        }
    }

    /// How fast it goes.
    pub fn speed(&self, counts: Counts) -> Option<Speed> {
        speed(self.samples.iter().copied(), counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(bytes: u64, bytes_total: u64) -> Counts {
        Counts { bytes, bytes_total, ..Counts::default() }
    }

    #[test]
    fn a_rate_needs_a_second_and_the_rest_follows_from_it() {
        let at = |seconds: f64, bytes| (Duration::from_secs_f64(seconds), bytes);
        assert_eq!(speed([], counts(0, 9)), None);
        assert_eq!(speed([at(0.0, 0), at(0.5, 500)], counts(500, 9000)), None);
        let known = speed([at(1.0, 1000), at(2.0, 1500), at(5.0, 9000)], counts(9000, 19_000)).unwrap();
        assert_eq!(known, Speed { rate: 2000, left: Some(Duration::from_secs(5)) });
        let unknown = speed([at(0.0, 0), at(2.0, 100)], counts(100, 0)).unwrap();
        assert_eq!(unknown, Speed { rate: 50, left: None });
        let stalled = speed([at(0.0, 70), at(2.0, 70)], counts(70, 100)).unwrap();
        assert_eq!(stalled, Speed { rate: 0, left: None }, "nothing moves: nobody knows");
        let over = speed([at(0.0, 0), at(2.0, 200)], counts(200, 100)).unwrap();
        assert_eq!(over.left, Some(Duration::ZERO), "what was sent twice is not owed");
    }

    #[test]
    fn only_the_last_while_counts() {
        let mut pace = Pace::default();
        // A megabyte a second for a minute, then ten times that.
        for second in 0..=60 {
            pace.note(Duration::from_secs(second), counts(second * 1_000_000, 0));
            pace.note(Duration::from_millis(second * 1000 + 3), counts(u64::MAX, 0));
        }
        for second in 61..=80 {
            pace.note(Duration::from_secs(second), counts(60_000_000 + (second - 60) * 10_000_000, 0));
        }
        assert_eq!(pace.speed(counts(0, 0)).unwrap().rate, 10_000_000);
        assert!(pace.samples.len() < 20);
    }

    #[test]
    fn what_is_left_is_told_in_two_units_at_most() {
        let told = [8, 59, 200, 7500, 360_000].map(|seconds| words(Duration::from_secs(seconds)));
        assert_eq!(told, ["8s", "59s", "3m 20s", "2h 5m", "100h 0m"]);
    }
}
