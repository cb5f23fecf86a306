//! Text that people type: locations, filters, the settings.

use super::refused;
use cachedeck::config::Config;
use cachedeck::error::Kind;
use cachedeck::model::digest::Digest;
use cachedeck::model::filter::{Field, FieldKind, Filter, Row, Value};
use cachedeck::model::location::{Given, Location};
use cachedeck::tui::keys::Keymap;
use jiff::Timestamp;
use std::borrow::Cow;
use std::path::Path;

/// A location, spelt out or as a path or a name.
pub fn location(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match Location::parse(text) {
        Ok(location) => check(&location),
        Err(error) => refused(&error, Kind::Invalid),
    }
    // A world in which some of the paths are folders.
    match Given::parse(text, |path| path.len() % 2 == 0) {
        Ok(given) => {
            assert!(!given.is_empty());
            for given in given {
                match given {
                    Given::Alias(name) => assert_eq!(text, format!("@{name}")),
                    Given::Location(location) => check(&location),
                }
            }
        }
        Err(error) => refused(&error, Kind::Invalid),
    }
}

/// It reads back as it was written, and what is handed out can be read and holds no secret.
fn check(location: &Location) {
    let parse = |text: &str| Location::parse(text).unwrap_or_else(|error| panic!("{error}: {text:?}"));
    assert_eq!(parse(&location.reveal()), *location);
    let shown = parse(&location.to_string());
    assert_eq!(shown.kind(), location.kind());
    if !location.has_secrets() {
        assert_eq!(shown, *location);
    }
    parse(&location.identity());
    location.title();
    location.warnings();
    let _ = location.local();
    let digest = Digest::from_hex(&"0".repeat(64)).unwrap();
    let flags = [
        location.cache_from(None, None),
        location.cache_from(Some(digest), None),
        location.cache_from(None, Some("a,\"b\"\n")),
        location.cache_to(None),
        location.cache_to(Some("main")),
    ];
    // A path or a reference is no URL, even where it looks like one with a user in it.
    let may_look_secret = matches!(location.kind(), "local" | "registry" | "inline");
    for flag in flags.into_iter().flatten() {
        let flag = parse(&flag);
        assert!(may_look_secret || !flag.has_secrets(), "{}", flag.reveal());
    }
}

/// A filter, tried on a row with a field of every kind.
pub fn filter(data: &[u8]) {
    struct Sample;
    const FIELDS: &[Field] = &[
        Field::new("type", FieldKind::Text),
        Field::new("tag", FieldKind::Text),
        Field::new("size", FieldKind::Size),
        Field::new("layers", FieldKind::Count),
        Field::new("age", FieldKind::Time),
        Field::new("missing", FieldKind::Flag),
    ];
    impl Row for Sample {
        fn fields() -> &'static [Field] {
            FIELDS
        }
        fn field(&self, name: &str) -> Option<Value<'_>> {
            Some(match name {
                "type" => Value::Text("local".into()),
                "tag" => Value::Texts(vec!["main".into(), "日本 \u{202e}".into()]),
                "size" => Value::Size(u64::MAX),
                "layers" => Value::Count(0),
                "age" => Value::Time(Timestamp::MIN),
                "missing" => Value::Flag(true),
                _ => return None,
            })
        }
        fn text(&self) -> Cow<'_, str> {
            "main 日本 \u{202e} RUN npm ci".into()
        }
    }

    let Ok(text) = std::str::from_utf8(data) else { return };
    match Filter::parse(text, FIELDS) {
        Ok(mut filter) => {
            let mut again = Filter::parse(filter.source(), FIELDS).expect("a filter's own source");
            for now in [Timestamp::MIN, Timestamp::UNIX_EPOCH, Timestamp::MAX] {
                assert_eq!(filter.matches(&Sample, now), again.matches(&Sample, now));
            }
        }
        Err(error) => refused(&error, Kind::Invalid),
    }
}

/// The settings, with the key table that they make.
pub fn settings(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let config = match Config::parse(text, Path::new("config.toml")) {
        Ok(config) => config,
        Err(error) => return refused(&error, Kind::Invalid),
    };
    config.warnings();
    for place in &config.places {
        assert!(place.name.is_some());
        check(&place.location);
    }
    if let Err(error) = Keymap::with(&config.keys) {
        assert_eq!(error.kind(), Kind::Invalid);
    }
}
