//! Values that no rule of a format hangs on: a bad one reads as absent and fails nothing. Parsed in place, since a large
//! cache has hundreds of thousands of them.

use jiff::Timestamp;
use serde::{Deserialize, Deserializer};
use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

/// A value written as a string, or nothing where the string is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lenient<T>(pub Option<T>);

impl<T> Default for Lenient<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<'de, T: FromStr> Deserialize<'de> for Lenient<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor<T>(PhantomData<T>);
        impl<T: FromStr> serde::de::Visitor<'_> for Visitor<T> {
            type Value = Lenient<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_str<E>(self, text: &str) -> Result<Lenient<T>, E> {
                Ok(Lenient(text.parse().ok()))
            }
            fn visit_unit<E>(self) -> Result<Lenient<T>, E> {
                Ok(Lenient(None))
            }
        }
        deserializer.deserialize_any(Visitor(PhantomData))
    }
}

/// That something was said; what, does not matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Given;

impl FromStr for Given {
    type Err = ();

    fn from_str(_: &str) -> Result<Self, ()> {
        Ok(Self)
    }
}

/// A time as Go writes it, its zero time (year 1) being none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GoTime(Timestamp);

/// 0001-01-01T00:00:00Z.
const GO_ZERO_TIME: i64 = -62_135_596_800;

impl FromStr for GoTime {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let time: Timestamp = text.parse().map_err(|_| ())?;
        if time.as_second() > GO_ZERO_TIME { Ok(Self(time)) } else { Err(()) }
    }
}

impl Lenient<GoTime> {
    /// The time, if there is one.
    pub fn time(self) -> Option<Timestamp> {
        self.0.map(|t| t.0)
    }
}

/// For fields that Go writes as `null` when they are empty.
pub(super) fn null_as_default<'de, T: Deserialize<'de> + Default, D: Deserializer<'de>>(
    from: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}
