//! The JSON that others build on. One object for a list:
//!
//! `{"schema":"cachedeck.<list>/1","location":{..},"items":[..],"warnings":[..],"complete":true}`
//!
//! With several locations `location` is null, `locations` holds them in the order given, and every item has a
//! `location` of its own: `.items[]` works either way. What is unknown is null and never left out.

use super::{Item, Section};
use crate::error::{Error, Kind, Result};
use crate::model::finding::Finding;
use crate::model::location::Location;
use crate::model::text;
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

/// A location as an object: `type`, its keys with secrets as `***`, and `title`.
pub(in crate::cli) struct Place<'a>(pub(in crate::cli) &'a Location);

impl Serialize for Place<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("type", self.0.kind())?;
        // No key of ours is called so; a stranger's gives way.
        for (key, value) in self.0.shown().filter(|(key, _)| !matches!(*key, "type" | "title")) {
            map.serialize_entry(key, &value)?;
        }
        map.serialize_entry("title", &self.0.title())?;
        map.end()
    }
}

/// The object for a list.
#[derive(Serialize)]
pub(super) struct Envelope<'a, T> {
    schema: String,
    location: Option<Place<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    locations: Option<Vec<Place<'a>>>,
    #[serde(flatten)]
    facts: Map<String, Value>,
    #[serde(bound = "T: Item")]
    items: Items<'a, T>,
    warnings: Vec<Warning<'a>>,
    complete: bool,
}

impl<'a, T: Item> Envelope<'a, T> {
    pub(super) fn new(schema: &str, sections: &'a [Section<'a, T>], several: bool, fields: &'a [String]) -> Self {
        let mut places: Vec<Place<'a>> = sections.iter().filter_map(|s| s.location.map(Place)).collect();
        let location = if several { None } else { places.pop() };
        Self {
            schema: format!("cachedeck.{schema}/1"),
            location,
            locations: several.then_some(places),
            facts: Map::new(),
            items: Items { sections, several, fields },
            warnings: sections.iter().flat_map(|section| Warning::all(section, several)).collect(),
            complete: sections.iter().all(|s| s.complete),
        }
    }

    /// With more fields beside the items.
    pub(super) fn with(mut self, facts: Map<String, Value>) -> Self {
        self.facts = facts;
        self
    }
}

/// A finding; with where it was found, if there is more than one place.
#[derive(Serialize)]
struct Warning<'a> {
    #[serde(flatten)]
    finding: &'a Finding,
    #[serde(skip_serializing_if = "Option::is_none")]
    location: Option<Place<'a>>,
}

impl<'a> Warning<'a> {
    fn all<T>(section: &'a Section<'a, T>, several: bool) -> impl Iterator<Item = Self> {
        let place = move || section.location.filter(|_| several).map(Place);
        section.warnings.iter().map(move |finding| Warning { finding, location: place() })
    }
}

struct Items<'a, T> {
    sections: &'a [Section<'a, T>],
    several: bool,
    fields: &'a [String],
}

impl<T: Item> Serialize for Items<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut seq = serializer.serialize_seq(None)?;
        for section in self.sections {
            for item in &section.items {
                if self.several || !self.fields.is_empty() {
                    let value = value(item, section.location.filter(|_| self.several));
                    let picked = value.and_then(|value| pick(value, self.fields)).map_err(serde::ser::Error::custom)?;
                    seq.serialize_element(&picked)?;
                } else {
                    seq.serialize_element(item)?;
                }
            }
        }
        seq.end()
    }
}

/// The lines for one location: its items, then its warnings, then, if it is not all, that it is not.
pub(super) fn lines<'a, T: Item>(
    section: &'a Section<'a, T>,
    several: bool,
    fields: &'a [String],
) -> impl Iterator<Item = Result<Value>> + 'a {
    let place = section.location.filter(|_| several);
    let items = section.items.iter().map(move |item| Ok(typed(T::TYPE, pick(value(item, place)?, fields)?)));
    let warnings = Warning::all(section, several)
        .map(|warning| Ok(typed("warning", serde_json::to_value(&warning).map_err(no_json)?)));
    let cut = (!section.complete).then(|| with_place(json!({"complete": false}), place).map(|v| typed("end", v)));
    items.chain(warnings).chain(cut)
}

/// `item` as an object; with where it is, if that is asked for.
pub(super) fn value(item: &impl Serialize, place: Option<&Location>) -> Result<Value> {
    with_place(serde_json::to_value(item).map_err(no_json)?, place)
}

fn with_place(mut value: Value, place: Option<&Location>) -> Result<Value> {
    if let (Some(place), Value::Object(fields)) = (place, &mut value) {
        fields.insert("location".to_owned(), serde_json::to_value(Place(place)).map_err(no_json)?);
    }
    Ok(value)
}

fn typed(kind: &str, value: Value) -> Value {
    let mut typed = Map::new();
    typed.insert("type".to_owned(), kind.into());
    if let Value::Object(fields) = value {
        typed.extend(fields.into_iter().filter(|(name, _)| name != "type"));
    }
    Value::Object(typed)
}

/// `value` with only `fields`, in their order; with all if there are none.
pub(super) fn pick(value: Value, fields: &[String]) -> Result<Value> {
    let Value::Object(mut all) = value else { return Ok(value) };
    if fields.is_empty() {
        return Ok(Value::Object(all));
    }
    let mut picked = Map::new();
    for field in fields {
        match all.get_mut(field) {
            Some(value) => drop(picked.insert(field.clone(), value.take())),
            None => return Err(super::template::unknown_field(field, &all)),
        }
    }
    Ok(Value::Object(picked))
}

fn no_json(error: serde_json::Error) -> Error {
    Error::new(Kind::Internal, "writing JSON").with_source(error)
}

/// The object for an error.
pub(super) fn error(error: &Error, location: Option<&Location>) -> Value {
    json!({
        "type": "error",
        "code": error.kind().code(),
        "exit": error.kind().exit_code(),
        "message": error.to_string(),
        "hint": error.hint(),
        "location": location.map(|l| serde_json::to_value(Place(l)).unwrap_or_else(|_| text::safe(&l.title()).into())),
    })
}
