//! The filter language of `--filter` and of every list in the terminal UI.
//!
//! Terms are separated by blanks and must all hold: `size>1GiB age>30d tag~=^rel type=s3`. A term is a comparison of a
//! field (`= != ~= > < >= <=`, `~=` being a regular expression), or a word to find in the row's text in any case, or
//! `re:` and a regular expression, or `fz:` and letters to find in that order. `!` before a term inverts it; `".."`
//! keeps blanks together and takes the meaning from what is special. No clock: `now` is a parameter.

use crate::error::{Error, Result};
use crate::model::text;
use crate::model::units::{self, Bytes};
use jiff::{SignedDuration, Timestamp};
use nucleo_matcher::pattern::{AtomKind, CaseMatching, Normalization, Pattern};
use nucleo_matcher::{Config, Matcher, Utf32Str};
use regex::Regex;
use std::borrow::Cow;
use std::cmp::Ordering;

/// A field that rows of one sort have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// The name typed in filters, lower case.
    pub name: &'static str,
    /// What it is compared with.
    pub kind: FieldKind,
    /// What it may be called as well: its name in JSON, where that is another.
    pub also: &'static [&'static str],
}

impl Field {
    /// A field called `name`.
    pub const fn new(name: &'static str, kind: FieldKind) -> Self {
        Self { name, kind, also: &[] }
    }

    /// It may be called so as well.
    pub const fn or(self, also: &'static [&'static str]) -> Self {
        Self { also, ..self }
    }

    /// The one of `fields` that is called `name`, in any case.
    pub fn called<'a>(name: &str, fields: &'a [Field]) -> Option<&'a Field> {
        let name = name.trim().to_ascii_lowercase();
        fields.iter().find(|field| field.name == name || field.also.contains(&name.as_str()))
    }
}

/// What values a field has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldKind {
    /// Words: `= != ~=`.
    Text,
    /// Bytes, typed as in [`Bytes`].
    Size,
    /// A whole number.
    Count,
    /// A time, compared with a date, or by its age with a duration: `age>30d` is older than 30 days.
    Time,
    /// `true` or `false`: `= !=`.
    Flag,
}

/// The value of a field in one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// One text.
    Text(Cow<'a, str>),
    /// Any number of texts, such as the tags of an index: one of them must fit, and for `!=` none may be equal.
    Texts(Vec<Cow<'a, str>>),
    /// Bytes.
    Size(u64),
    /// A whole number.
    Count(u64),
    /// A time.
    Time(Timestamp),
    /// Yes or no.
    Flag(bool),
}

/// What can be filtered.
pub trait Row {
    /// The fields there are, in the order to list them.
    fn fields() -> &'static [Field]
    where
        Self: Sized;

    /// The value of field `name`, of its kind; `None` where it is unknown, and then every comparison is false.
    fn field(&self, name: &str) -> Option<Value<'_>>;

    /// What words are searched in: what the row shows, as the user sees it.
    fn text(&self) -> Cow<'_, str>;
}

impl<R: Row> Row for &R {
    fn fields() -> &'static [Field] {
        R::fields()
    }

    fn field(&self, name: &str) -> Option<Value<'_>> {
        (**self).field(name)
    }

    fn text(&self) -> Cow<'_, str> {
        (**self).text()
    }
}

/// A parsed filter. An empty one lets everything pass.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    source: String,
    terms: Vec<Term>,
}

#[derive(Clone, Debug)]
struct Term {
    inverted: bool,
    test: Test,
}

#[derive(Clone, Debug)]
enum Test {
    Word(String),
    Pattern(Regex),
    Fuzzy(Fuzzy),
    Field(&'static str, Operator, Wanted),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Equal,
    Unequal,
    Like,
    More,
    Less,
    AtLeast,
    AtMost,
}

/// Longer ones first where one begins like another.
const OPERATORS: [(&str, Operator); 7] = [
    ("!=", Operator::Unequal),
    ("~=", Operator::Like),
    (">=", Operator::AtLeast),
    ("<=", Operator::AtMost),
    ("=", Operator::Equal),
    (">", Operator::More),
    ("<", Operator::Less),
];

/// What a field is compared with.
#[derive(Clone, Debug)]
enum Wanted {
    Text(String),
    Pattern(Regex),
    Number(u64),
    Time(Timestamp),
    Age(SignedDuration),
    Flag(bool),
}

impl Filter {
    /// Reads a filter for rows with `fields`, which is [`Row::fields`]. Errors name the offending term and what could
    /// stand there.
    pub fn parse(source: &str, fields: &[Field]) -> Result<Self> {
        let terms = words(source)?.iter().map(|word| parse_term(word, fields)).collect::<Result<_>>()?;
        Ok(Self { source: source.trim().to_owned(), terms })
    }

    /// The text it was read from.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether it lets everything pass.
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// Whether `row` passes at the time `now`. Mutable only for the scratch space of fuzzy terms.
    pub fn matches(&mut self, row: &impl Row, now: Timestamp) -> bool {
        self.terms.iter_mut().all(|term| {
            let holds = match &mut term.test {
                Test::Word(word) => row.text().to_lowercase().contains(word.as_str()),
                Test::Pattern(pattern) => pattern.is_match(&row.text()),
                Test::Fuzzy(fuzzy) => fuzzy.score(&row.text()).is_some(),
                Test::Field(name, operator, wanted) => {
                    row.field(name).is_some_and(|value| operator.holds(&value, wanted, now))
                }
            };
            holds != term.inverted
        })
    }
}

impl Operator {
    fn holds(self, value: &Value<'_>, wanted: &Wanted, now: Timestamp) -> bool {
        match (value, wanted) {
            (Value::Text(text), _) => self.holds_for_texts(std::slice::from_ref(text), wanted),
            (Value::Texts(texts), _) => self.holds_for_texts(texts, wanted),
            (Value::Size(number) | Value::Count(number), Wanted::Number(wanted)) => self.fits(number.cmp(wanted)),
            (Value::Time(time), Wanted::Time(wanted)) => self.fits(time.cmp(wanted)),
            (Value::Time(time), Wanted::Age(wanted)) => self.fits(now.duration_since(*time).cmp(wanted)),
            (Value::Flag(flag), Wanted::Flag(wanted)) => self.fits(flag.cmp(wanted)),
            _ => false,
        }
    }

    fn holds_for_texts(self, texts: &[Cow<'_, str>], wanted: &Wanted) -> bool {
        match (self, wanted) {
            (Operator::Equal, Wanted::Text(wanted)) => texts.iter().any(|text| text == wanted),
            (Operator::Unequal, Wanted::Text(wanted)) => texts.iter().all(|text| text != wanted),
            (Operator::Like, Wanted::Pattern(pattern)) => texts.iter().any(|text| pattern.is_match(text)),
            _ => false,
        }
    }

    fn fits(self, order: Ordering) -> bool {
        match self {
            Operator::Equal => order.is_eq(),
            Operator::Unequal => order.is_ne(),
            Operator::More => order.is_gt(),
            Operator::Less => order.is_lt(),
            Operator::AtLeast => order.is_ge(),
            Operator::AtMost => order.is_le(),
            Operator::Like => false,
        }
    }
}

/// Finds letters in order, not necessarily side by side; upper case in the pattern makes case count.
#[derive(Clone, Debug)]
pub struct Fuzzy {
    pattern: Pattern,
    matcher: Matcher,
    buffer: Vec<char>,
}

impl Fuzzy {
    /// Searches for `pattern`; blanks in it are letters like others.
    pub fn new(pattern: &str) -> Self {
        Self {
            pattern: Pattern::new(pattern, CaseMatching::Smart, Normalization::Smart, AtomKind::Fuzzy),
            matcher: Matcher::new(Config::DEFAULT),
            buffer: Vec::new(),
        }
    }

    /// How well `text` fits, more being better; `None` if it does not.
    pub fn score(&mut self, text: &str) -> Option<u32> {
        self.pattern.score(Utf32Str::new(text, &mut self.buffer), &mut self.matcher)
    }
}

/// A term as written.
struct Word {
    /// With its quotes, for messages.
    source: String,
    /// Without them.
    text: String,
    /// How much of `text`, in bytes, stands before the first quote: only there characters are special.
    bare: usize,
}

fn words(source: &str) -> Result<Vec<Word>> {
    let mut words = Vec::new();
    let mut chars = source.trim_start().chars().peekable();
    while chars.peek().is_some() {
        let mut word = Word { source: String::new(), text: String::new(), bare: 0 };
        let mut bare = None;
        let mut quoted = false;
        while let Some(c) = chars.next_if(|c| quoted || !c.is_whitespace()) {
            word.source.push(c);
            match c {
                '"' => {
                    bare.get_or_insert(word.text.len());
                    quoted = !quoted;
                }
                '\\' if quoted && chars.peek() == Some(&'"') => {
                    word.source.push('"');
                    word.text.push('"');
                    chars.next();
                }
                c => word.text.push(c),
            }
        }
        if quoted {
            return Err(bad(&word, "the quote is not closed"));
        }
        word.bare = bare.unwrap_or(word.text.len());
        words.push(word);
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
    }
    Ok(words)
}

fn bad(word: &Word, why: impl std::fmt::Display) -> Error {
    Error::invalid(format!("bad filter term {}: {why}", text::safe(&word.source)))
}

fn parse_term(word: &Word, fields: &[Field]) -> Result<Term> {
    let bare = &word.text[..word.bare];
    let marks = bare.len() - bare.trim_start_matches('!').len();
    let (bare, rest) = (&bare[marks..], &word.text[marks..]);
    let test = if bare.starts_with("re:") {
        Test::Pattern(regex(word, &rest[3..])?)
    } else if bare.starts_with("fz:") {
        Test::Fuzzy(Fuzzy::new(&rest[3..]))
    } else if let Some((name, operator, value)) = comparison(bare, rest) {
        let field = find_field(word, name, fields)?;
        Test::Field(field.name, operator, wanted(word, field, operator, value)?)
    } else {
        Test::Word(rest.to_lowercase())
    };
    let nothing = match &test {
        Test::Word(text) => text.is_empty() && word.bare == word.text.len(),
        Test::Pattern(_) | Test::Fuzzy(_) => rest.len() == 3,
        Test::Field(..) => false,
    };
    if nothing {
        return Err(bad(word, "nothing to look for"));
    }
    Ok(Term { inverted: marks % 2 == 1, test })
}

/// Splits `rest`, which begins with the unquoted `bare`, at its operator.
fn comparison<'a>(bare: &str, rest: &'a str) -> Option<(&'a str, Operator, &'a str)> {
    let name = bare.find(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '_' | '-' | '.'))?;
    if name == 0 {
        return None;
    }
    let (sign, operator) = OPERATORS.into_iter().find(|(sign, _)| bare[name..].starts_with(sign))?;
    Some((&rest[..name], operator, &rest[name + sign.len()..]))
}

fn find_field<'a>(word: &Word, name: &str, fields: &'a [Field]) -> Result<&'a Field> {
    Field::called(name, fields).ok_or_else(|| {
        let names = || fields.iter().map(|field| field.name);
        let known =
            format!("known here: {}; to look for the text itself, quote it", names().collect::<Vec<_>>().join(", "));
        let hint = match text::nearest(name, names()) {
            Some(near) => format!("did you mean {near}? {known}"),
            None => known,
        };
        bad(word, format_args!("no field {}", text::safe(name))).with_hint(hint)
    })
}

fn wanted(word: &Word, field: &Field, operator: Operator, value: &str) -> Result<Wanted> {
    let allowed = match field.kind {
        FieldKind::Text => matches!(operator, Operator::Equal | Operator::Unequal | Operator::Like),
        FieldKind::Flag => matches!(operator, Operator::Equal | Operator::Unequal),
        FieldKind::Size | FieldKind::Count | FieldKind::Time => operator != Operator::Like,
    };
    if !allowed {
        let (what, signs) = match field.kind {
            FieldKind::Text => ("is text", "= != ~="),
            FieldKind::Flag => ("is true or false", "= !="),
            FieldKind::Size | FieldKind::Count => ("is a number", "= != > < >= <="),
            FieldKind::Time => ("is a time", "= != > < >= <="),
        };
        return Err(bad(word, format_args!("{} {what}, it takes {signs}", field.name)));
    }
    let in_term = |error: Error| error.context(format_args!("bad filter term {}", text::safe(&word.source)));
    Ok(match field.kind {
        FieldKind::Text if operator == Operator::Like => Wanted::Pattern(regex(word, value)?),
        FieldKind::Text => Wanted::Text(value.to_owned()),
        FieldKind::Size => Wanted::Number(value.parse::<Bytes>().map_err(in_term)?.0),
        FieldKind::Count => Wanted::Number(value.parse().map_err(|_| bad(word, "not a whole number"))?),
        FieldKind::Time => match (units::parse_duration(value), units::parse_time(value)) {
            // Durations are bounded, so they fit.
            (Ok(age), _) => Wanted::Age(age.try_into().unwrap_or(SignedDuration::MAX)),
            (_, Ok(time)) => Wanted::Time(time),
            _ => return Err(bad(word, "neither a duration (30d) nor a date (2026-08-01)")),
        },
        FieldKind::Flag => match value.to_ascii_lowercase().as_str() {
            "true" | "yes" => Wanted::Flag(true),
            "false" | "no" => Wanted::Flag(false),
            _ => return Err(bad(word, "not true or false")),
        },
    })
}

fn regex(word: &Word, pattern: &str) -> Result<Regex> {
    Regex::new(pattern).map_err(|error| {
        // The library draws a picture of several lines; the reason is its last.
        let reason = error.to_string();
        let reason = reason.lines().last().unwrap_or_default();
        bad(word, format_args!("bad regular expression: {}", text::safe(reason.trim_start_matches("error: "))))
    })
}

#[cfg(test)]
mod tests;
