//! Bytes, counts, durations and dates: what people type, and how they are shown. No clock: `now` is a parameter.

use crate::error::{Error, Result};
use crate::model::text;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A number of bytes. Shown as IEC with one decimal place: `13.2 GiB`, `32 B`; an integer in JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Bytes(pub u64);

/// How sizes are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SizeStyle {
    /// Powers of 1024: `13.2 GiB`.
    #[default]
    Iec,
    /// Powers of 1000: `14.2 GB`.
    Si,
    /// The plain number: `14173392076`.
    Bytes,
}

impl Bytes {
    /// Number and unit apart, so that a screen can dim the unit; the unit is empty for [`SizeStyle::Bytes`].
    pub fn split(self, style: SizeStyle) -> (String, String) {
        let (base, options) = match style {
            SizeStyle::Iec => (1024, humansize::BINARY),
            SizeStyle::Si => (1000, humansize::DECIMAL),
            SizeStyle::Bytes => return (self.0.to_string(), String::new()),
        };
        let decimals = if self.0 < base { 0 } else { 1 };
        let show = |bytes: u64| humansize::format_size(bytes, options.decimal_places(1).decimal_zeroes(decimals));
        let mut shown = show(self.0);
        // It rounds within a unit: right below the next one it would say 1024.0 KiB.
        if shown.starts_with(&format!("{base}.0 ")) {
            shown = show(self.0.saturating_add(self.0 / base));
        }
        match shown.split_once(' ') {
            Some((number, unit)) => (number.to_owned(), unit.to_owned()),
            None => (shown, String::new()),
        }
    }

    /// As one text in `style`.
    pub fn show(self, style: SizeStyle) -> String {
        let (number, unit) = self.split(style);
        if unit.is_empty() { number } else { format!("{number} {unit}") }
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.show(SizeStyle::Iec))
    }
}

/// `KB MB GB TB` are powers of 1000; `KiB MiB GiB TiB` and bare `K M G T` powers of 1024; a plain number is bytes.
/// Letters in any case, decimals allowed, the result rounded down.
impl FromStr for Bytes {
    type Err = Error;

    fn from_str(given: &str) -> Result<Self> {
        let bad = |why: &str| {
            Error::invalid(format!("bad size {}: {why}", text::safe(given)))
                .with_hint("sizes are like 500, 64MiB, 1.5G (1024s) or 2GB (1000s)")
        };
        let (number, unit) = split_number(given.trim());
        let scale: u128 = match unit.to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "k" | "kib" => 1 << 10,
            "m" | "mib" => 1 << 20,
            "g" | "gib" => 1 << 30,
            "t" | "tib" => 1 << 40,
            "p" | "pib" => 1 << 50,
            "kb" => 1_000,
            "mb" => 1_000_000,
            "gb" => 1_000_000_000,
            "tb" => 1_000_000_000_000,
            "pb" => 1_000_000_000_000_000,
            _ => return Err(bad("unknown unit")),
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        if whole.is_empty() || fraction.is_empty() {
            return Err(bad("not a number"));
        }
        if scale == 1 && number.contains('.') {
            return Err(bad("there are no parts of a byte, it needs a unit"));
        }
        if fraction.len() > 9 {
            return Err(bad("too many decimals"));
        }
        let digits = |text: &str| text.parse::<u64>().map(u128::from).map_err(|_| bad("too large"));
        let bytes = digits(whole)? * scale + digits(fraction)? * scale / 10_u128.pow(fraction.len() as u32);
        u64::try_from(bytes).map(Self).map_err(|_| bad("too large"))
    }
}

/// The digits and points at the beginning of `text`, and the rest without blanks between.
fn split_number(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, rest) = text.split_at(end);
    (number, rest.trim_start())
}

/// A limit: so many bytes, or a share of what there is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Limit {
    /// At most this.
    Size(Bytes),
    /// At most this many hundredths of the whole, 0 to 100.
    Percent(f64),
}

impl FromStr for Limit {
    type Err = Error;

    fn from_str(given: &str) -> Result<Self> {
        let Some(number) = given.trim().strip_suffix('%') else {
            return given.parse().map(Limit::Size);
        };
        match number.trim_end().parse::<f64>() {
            Ok(percent) if (0.0..=100.0).contains(&percent) => Ok(Limit::Percent(percent)),
            _ => Err(Error::invalid(format!("bad share {}: not between 0% and 100%", text::safe(given)))),
        }
    }
}

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const WEEK: u64 = 7 * DAY;
/// A month is 30 days and a year 365 wherever no date is at hand.
const MONTH: u64 = 30 * DAY;
const YEAR: u64 = 365 * DAY;

/// Reads `90s`, `15m`, `36h`, `7d`, `2w`, `3mo`, `1y` and sums of these (`1d12h`). `m` is always minutes, a month is
/// 30 days, a year 365.
pub fn parse_duration(given: &str) -> Result<Duration> {
    let bad = |why: String| {
        Error::invalid(format!("bad duration {}: {why}", text::safe(given)))
            .with_hint("durations are like 90s, 15m (minutes), 36h, 7d, 2w, 3mo, 1y or 1d12h")
    };
    let mut rest = given.trim();
    let mut seconds = 0_u64;
    if rest.is_empty() {
        return Err(bad("empty".to_owned()));
    }
    while !rest.is_empty() {
        let (number, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len()));
        let (unit, after) = after.split_at(after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len()));
        let scale = match unit.trim() {
            "s" => 1,
            "m" => MINUTE,
            "h" => HOUR,
            "d" => DAY,
            "w" => WEEK,
            "mo" => MONTH,
            "y" => YEAR,
            "" => return Err(bad("it needs a unit".to_owned())),
            "M" => return Err(bad("m is minutes, mo is months".to_owned())),
            _ if number.is_empty() => return Err(bad("not a number".to_owned())),
            unit => return Err(bad(format!("unknown unit {}", text::safe(unit)))),
        };
        if number.is_empty() {
            return Err(bad("not a number".to_owned()));
        }
        seconds = number
            .parse::<u64>()
            .ok()
            .and_then(|number| number.checked_mul(scale))
            .and_then(|more| seconds.checked_add(more))
            // What `Timestamp` can still be compared with.
            .filter(|seconds| *seconds <= 10_000 * YEAR)
            .ok_or_else(|| bad("too long".to_owned()))?;
        rest = after;
    }
    Ok(Duration::from_secs(seconds))
}

/// Reads a time to come: a duration from `now`, or as [`parse_time`]. [`crate::error::Kind::Invalid`] for one that is over.
pub fn parse_until(given: &str, now: Timestamp) -> Result<Timestamp> {
    let time = match parse_duration(given) {
        Ok(duration) => {
            let duration = SignedDuration::try_from(duration).ok();
            let time = duration.and_then(|duration| now.checked_add(duration).ok());
            time.ok_or_else(|| Error::invalid(format!("{} is too far away", text::safe(given))))?
        }
        Err(error) => parse_time(given).map_err(|_| error.with_hint("like 90d, 2w, 3mo or 2027-01-31"))?,
    };
    match time > now {
        true => Ok(time),
        false => {
            let what = format!("{} is over already", text::safe(given));
            Err(Error::invalid(what).with_hint("name a time to come, like 90d"))
        }
    }
}

/// Reads an RFC 3339 time, or a date as its midnight in UTC.
pub fn parse_time(given: &str) -> Result<Timestamp> {
    let trimmed = given.trim();
    let time = trimmed.parse::<Timestamp>().or_else(|error| match trimmed.parse::<Date>() {
        // The parser of dates also takes a time without an offset, and drops it.
        Ok(date) if trimmed.len() == "2026-08-01".len() => date.to_zoned(TimeZone::UTC).map(|zoned| zoned.timestamp()),
        _ => Err(error),
    });
    time.map_err(|error| {
        Error::invalid(format!("bad time {}", text::safe(given)))
            .with_hint("times are like 2026-08-01 or 2026-08-01T12:00:00Z")
            .with_source(error)
    })
}

/// `time` as RFC 3339 in UTC, with as many fractional digits as it needs, up to nine: what Go's `RFC3339Nano` writes.
pub fn rfc3339(time: Timestamp) -> String {
    time.to_string()
}

/// How long ago `then` was, in one unit, rounded down: `12s`, `2h`, `41d`, `3mo`, `2y`; `in 2h` if it is to come.
pub fn age(now: Timestamp, then: Timestamp) -> String {
    let passed = now.duration_since(then);
    let short = short_duration(passed.unsigned_abs());
    if passed < SignedDuration::ZERO { format!("in {short}") } else { short }
}

/// `duration` in one unit, rounded down: `12s`, `59m`, `23h`, `89d`, `23mo`, `2y`.
pub fn short_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (scale, unit) = match seconds {
        0..MINUTE => (1, "s"),
        MINUTE..HOUR => (MINUTE, "m"),
        HOUR..DAY => (HOUR, "h"),
        // Up to three months days say more.
        _ if seconds < 3 * MONTH => (DAY, "d"),
        _ if seconds < 2 * YEAR => (MONTH, "mo"),
        _ => (YEAR, "y"),
    };
    format!("{}{unit}", seconds / scale)
}

/// `n` and a word, with an `s` if there are several: `1 layer`, `3,402 layers`.
pub fn count(n: impl TryInto<u64>, word: &str) -> String {
    let n = n.try_into().unwrap_or(u64::MAX);
    let plural = match word {
        _ if n == 1 => word.to_owned(),
        "index" => "indexes".to_owned(),
        "entry" => "entries".to_owned(),
        _ => format!("{word}s"),
    };
    format!("{} {plural}", thousands(n))
}

/// A number with commas.
pub fn thousands(n: impl TryInto<u64>) -> String {
    let digits = n.try_into().unwrap_or(u64::MAX).to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;

    #[test]
    fn counts_read_well() {
        assert_eq!(count(1u64, "layer"), "1 layer");
        assert_eq!(count(3402u64, "blob"), "3,402 blobs");
        assert_eq!(count(2usize, "index"), "2 indexes");
        assert_eq!(thousands(1_000_000u64), "1,000,000");
        assert_eq!(thousands(999u64), "999");
    }

    #[test]
    fn sizes_are_shown_in_three_styles() {
        for (bytes, iec, si) in [
            (0, "0 B", "0 B"),
            (32, "32 B", "32 B"),
            (999, "999 B", "999 B"),
            (1000, "1000 B", "1.0 kB"),
            (1024, "1.0 KiB", "1.0 kB"),
            (1536, "1.5 KiB", "1.5 kB"),
            (1_048_575, "1.0 MiB", "1.0 MB"),
            (1_048_524, "1023.9 KiB", "1.0 MB"),
            (999_949, "976.5 KiB", "999.9 kB"),
            (999_950, "976.5 KiB", "1.0 MB"),
            (14_173_392_076, "13.2 GiB", "14.2 GB"),
            (u64::MAX, "16.0 EiB", "18.4 EB"),
        ] {
            let bytes = Bytes(bytes);
            assert_eq!((bytes.to_string().as_str(), bytes.show(SizeStyle::Si).as_str()), (iec, si));
        }
        assert_eq!(Bytes(1536).split(SizeStyle::Iec), ("1.5".to_owned(), "KiB".to_owned()));
        assert_eq!(Bytes(14_173_392_076).show(SizeStyle::Bytes), "14173392076");
        assert_eq!(format!("{:>8}", Bytes(32)), "    32 B");
    }

    #[test]
    fn sizes_are_read_in_both_scales() {
        for (text, bytes) in [
            ("0", 0),
            ("500", 500),
            ("32 B", 32),
            ("1K", 1024),
            ("1k", 1024),
            ("1KB", 1000),
            ("1kB", 1000),
            ("1KiB", 1024),
            ("1.5GiB", 3 << 29),
            ("1.5G", 3 << 29),
            ("2gb", 2_000_000_000),
            (" 0.5 TiB ", 1 << 39),
            ("0.1KiB", 102),
            ("3MB", 3_000_000),
            ("16383PiB", 16383 << 50),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(text.parse::<Bytes>().unwrap(), Bytes(bytes), "{text}");
        }
        for text in [
            "",
            "GiB",
            ".5G",
            "1.G",
            "1.2.3G",
            "-1",
            "+1",
            "1e3",
            "1X",
            "1GiBs",
            "1.5",
            "1.5B",
            "0x10",
            "1,5G",
            "nan",
            "18446744073709551616",
            "16384PiB",
            "99999999999999999999T",
            "1.0000000000G",
            "80%",
            "1 G B",
        ] {
            assert!(text.parse::<Bytes>().is_err(), "{text}");
        }
        let error = "1X\u{1b}".parse::<Bytes>().unwrap_err();
        assert_eq!(error.what(), r"bad size 1X\x1b: unknown unit");
    }

    #[test]
    fn limits_are_sizes_or_shares() {
        assert_eq!("80%".parse::<Limit>().unwrap(), Limit::Percent(80.0));
        assert_eq!("12.5 %".parse::<Limit>().unwrap(), Limit::Percent(12.5));
        assert_eq!("8GB".parse::<Limit>().unwrap(), Limit::Size(Bytes(8_000_000_000)));
        for text in ["%", "101%", "-1%", "nan%", "x%"] {
            assert!(text.parse::<Limit>().is_err(), "{text}");
        }
    }

    #[test]
    fn durations_add_up_and_m_is_minutes() {
        for (text, seconds) in [
            ("90s", 90),
            ("15m", 900),
            ("36h", 36 * HOUR),
            ("7d", WEEK),
            ("2w", 14 * DAY),
            ("3mo", 90 * DAY),
            ("1y", 365 * DAY),
            ("1d12h", 36 * HOUR),
            ("1h 30m", 5400),
            ("0s", 0),
        ] {
            assert_eq!(parse_duration(text).unwrap(), Duration::from_secs(seconds), "{text}");
        }
        for text in ["", "5", "h", "1M", "100ms", "1.5h", "-1h", "1h5", "1x", "99999999999999999999s", "20000y", "٣d"]
        {
            assert!(parse_duration(text).is_err(), "{text}");
        }
        assert!(parse_duration("1M").unwrap_err().what().ends_with("m is minutes, mo is months"));
    }

    fn time(text: &str) -> Timestamp {
        parse_time(text).unwrap()
    }

    #[test]
    fn times_are_dates_or_rfc_3339() {
        assert_eq!(time("2026-08-01"), time("2026-08-01T00:00:00Z"));
        assert_eq!(time("2026-08-01T02:00:00+02:00"), time("2026-08-01"));
        for text in ["", "2026-13-01", "01.08.2026", "2026-08-01T12:00", "yesterday", "2026-08-01T12:00:00", "20260801"]
        {
            assert!(parse_time(text).is_err(), "{text}");
        }
        for text in [
            "2026-08-21T07:02:11.123456789Z",
            "2026-08-21T07:02:11.12Z",
            "2026-08-21T07:02:11Z",
            "2026-08-21T07:02:11.000000001Z",
        ] {
            assert_eq!(rfc3339(time(text)), text);
        }
    }

    #[test]
    fn ages_take_one_unit() {
        let now = time("2026-08-21T12:00:00Z");
        for (then, short) in [
            ("2026-08-21T12:00:00Z", "0s"),
            ("2026-08-21T11:59:01Z", "59s"),
            ("2026-08-21T11:00:01Z", "59m"),
            ("2026-08-21T10:00:00Z", "2h"),
            ("2026-08-20T12:00:00Z", "1d"),
            ("2026-07-11T12:00:00Z", "41d"),
            ("2026-05-20T12:00:00Z", "3mo"),
            ("2024-08-21T12:00:00Z", "2y"),
            ("2026-08-21T14:00:00Z", "in 2h"),
        ] {
            assert_eq!(age(now, time(then)), short, "{then}");
        }
        assert_eq!(age(Timestamp::MAX, Timestamp::MIN), "20012y");
    }

    proptest! {
        #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(3), ..ProptestConfig::default() })]

        #[test]
        fn what_is_shown_is_near_the_truth(bytes: u64, shift in 0..64u32) {
            let bytes = Bytes(bytes >> shift);
            let read = bytes.to_string().replace('E', "P").parse::<Bytes>().unwrap_or_default();
            let scale = if bytes.to_string().ends_with("EiB") { 1024 } else { 1 };
            let apart = (u128::from(read.0) * scale).abs_diff(u128::from(bytes.0));
            // Half of the last place shown, where the whole is at least ten of those.
            prop_assert!(apart * 20 <= u128::from(bytes.0) + 20, "{} {}", bytes.0, bytes);
            prop_assert_eq!(bytes.show(SizeStyle::Bytes).parse::<Bytes>().unwrap(), bytes);
        }

        #[test]
        fn no_text_breaks_the_readers(text in "[0-9.smhdwy%KMGTiB -]{0,12}") {
            let _ = (text.parse::<Bytes>(), text.parse::<Limit>(), parse_duration(&text), parse_time(&text));
        }
    }
}
