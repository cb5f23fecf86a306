//! The one way for untrusted text to a terminal: tags, annotations, names from tars, servers' words, file names.
//!
//! [`safe`] turns everything that could move the cursor, reorder or hide text into a visible escape. The rest lays
//! text out in cells and writes it for shells and spreadsheets. Nothing here knows about colours or widgets.

use std::borrow::Cow;
use std::fmt::Write as _;
use unicode_segmentation::UnicodeSegmentation as _;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// Longest output of [`safe`], in bytes. A name longer than this is not read by anybody.
pub const MAX_BYTES: usize = 4096;

/// Ends text that was cut for length.
const CUT: &str = " [cut]";

/// Marks stacked on one character beyond this number are escaped: they would run into the lines above and below.
const MAX_MARKS: usize = 6;

/// Marks a place where text was cut to fit, on terminals that have it.
pub const ELLIPSIS: &str = "…";

/// Marks a place where text was cut to fit, in ASCII mode.
pub const ELLIPSIS_ASCII: &str = "..";

/// `text` with everything invisible or active as visible escapes (`\n`, `\x1b`, `\u{202e}`), at most [`MAX_BYTES`]
/// long. Backslashes stay as they are: this is for reading, not for parsing back. Applying it twice changes nothing.
pub fn safe(text: &str) -> Cow<'_, str> {
    safe_within(text, MAX_BYTES)
}

/// [`safe`] with another limit, in bytes of output; longer text ends in ` [cut]`.
pub fn safe_within(text: &str, max: usize) -> Cow<'_, str> {
    if text.len() <= max && is_safe(text) {
        return Cow::Borrowed(text);
    }
    let mut out = Escaped::new(max);
    out.push_str(text);
    Cow::Owned(out.finish())
}

/// [`safe`] for bytes that should be UTF-8; those that are not become `\xff`.
pub fn safe_bytes(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return safe(text);
    }
    let mut out = Escaped::new(MAX_BYTES);
    for chunk in bytes.utf8_chunks() {
        out.push_str(chunk.valid());
        for byte in chunk.invalid() {
            out.push_escape(format_args!("\\x{byte:02x}"));
        }
    }
    Cow::Owned(out.finish())
}

fn is_safe(text: &str) -> bool {
    if text.bytes().all(|b| matches!(b, 0x20..=0x7e)) {
        return true;
    }
    let mut marks = Marks::at_start();
    text.chars().all(|c| !is_hostile(c) && marks.accept(c))
}

/// Whether `c` is invisible or does something to the terminal or to the order of text: Unicode's Cc, Cf, Zl, Zp,
/// every default-ignorable code point (zero-width, fillers, variation selectors, tags) and the noncharacters.
pub fn is_hostile(c: char) -> bool {
    match c {
        '\u{20}'..='\u{7e}' => false,
        '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}' => true,
        _ => {
            matches!(u32::from(c),
            0xad | 0x34f | 0x600..=0x605 | 0x61c | 0x6dd | 0x70f | 0x890..=0x891 | 0x8e2 | 0x115f..=0x1160
            | 0x17b4..=0x17b5 | 0x180b..=0x180f | 0x200b..=0x200f | 0x2028..=0x202e | 0x2060..=0x206f | 0x3164
            | 0xfdd0..=0xfdef | 0xfe00..=0xfe0f | 0xfeff | 0xffa0 | 0xfff0..=0xfffb | 0x110bd | 0x110cd
            | 0x13430..=0x1343f | 0x1bca0..=0x1bca3 | 0x1d173..=0x1d17a | 0xe0000..=0xe0fff)
                || u32::from(c) & 0xfffe == 0xfffe
        }
    }
}

/// Counts the zero-width marks on the character before.
struct Marks(Option<usize>);

impl Marks {
    fn at_start() -> Self {
        Self(None)
    }

    /// Whether `c` may be shown as it is. A mark with nothing before it would land on what is left of the text.
    fn accept(&mut self, c: char) -> bool {
        if c.is_ascii() || c.width() != Some(0) {
            self.0 = Some(0);
            return true;
        }
        match &mut self.0 {
            Some(count) if *count < MAX_MARKS => {
                *count += 1;
                true
            }
            _ => {
                // An escape takes its place, and that is a character to stand on.
                self.0 = Some(0);
                false
            }
        }
    }
}

struct Escaped {
    out: String,
    max: usize,
    /// Length of the longest beginning that leaves room for [`CUT`].
    room: usize,
    marks: Marks,
}

impl Escaped {
    fn new(max: usize) -> Self {
        Self { out: String::new(), max, room: 0, marks: Marks::at_start() }
    }

    fn push_str(&mut self, text: &str) {
        for c in text.chars() {
            if self.full() {
                return;
            }
            match c {
                '\n' => self.push_escape(format_args!("\\n")),
                '\r' => self.push_escape(format_args!("\\r")),
                '\t' => self.push_escape(format_args!("\\t")),
                c if c.is_ascii_control() => self.push_escape(format_args!("\\x{:02x}", u32::from(c))),
                c if is_hostile(c) || !self.marks.accept(c) => {
                    self.push_escape(format_args!("\\u{{{:x}}}", u32::from(c)));
                }
                c => {
                    self.out.push(c);
                    self.note();
                }
            }
        }
    }

    fn push_escape(&mut self, escape: std::fmt::Arguments<'_>) {
        if !self.full() {
            // Writing to a string cannot fail.
            let _ = self.out.write_fmt(escape);
            self.marks.0 = Some(0);
            self.note();
        }
    }

    fn note(&mut self) {
        if self.out.len() + CUT.len() <= self.max {
            self.room = self.out.len();
        }
    }

    fn full(&self) -> bool {
        self.out.len() > self.max
    }

    fn finish(mut self) -> String {
        if self.full() {
            self.out.truncate(self.room);
            self.out.push_str(CUT.get(..self.max.min(CUT.len())).unwrap_or_default());
        }
        self.out
    }
}

/// Cells `text` takes, counted grapheme by grapheme as it will be drawn. Meant for safe text.
pub fn width(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.graphemes(true).map(|g| g.width()).sum() }
}

/// `text` in at most `cells` cells; where it must be cut, the beginning and then `ellipsis`.
pub fn fit_end<'a>(text: &'a str, cells: usize, ellipsis: &str) -> Cow<'a, str> {
    if width(text) <= cells {
        return Cow::Borrowed(text);
    }
    let dots = head(ellipsis, cells);
    Cow::Owned(format!("{}{dots}", head(text, cells - width(dots))))
}

/// `text` in at most `cells` cells; where it must be cut, beginning, `ellipsis`, end. Names differ at their ends, so
/// the end gets the odd cell.
pub fn fit_middle<'a>(text: &'a str, cells: usize, ellipsis: &str) -> Cow<'a, str> {
    if width(text) <= cells {
        return Cow::Borrowed(text);
    }
    let dots = head(ellipsis, cells);
    let left = cells - width(dots);
    let start = head(text, left / 2);
    let end = tail(text, left - width(start));
    Cow::Owned(format!("{start}{dots}{end}"))
}

/// The longest beginning of `text` that takes at most `cells` cells.
pub fn head(text: &str, cells: usize) -> &str {
    let mut used = 0;
    let end = text.grapheme_indices(true).find(|(_, g)| {
        used += g.width();
        used > cells
    });
    end.map_or(text, |(at, _)| &text[..at])
}

/// The longest end of `text` that takes at most `cells` cells.
pub fn tail(text: &str, cells: usize) -> &str {
    let mut used = 0;
    let before = text.grapheme_indices(true).rev().find(|(_, g)| {
        used += g.width();
        used > cells
    });
    before.map_or(text, |(at, g)| &text[at + g.len()..])
}

/// `text` with blanks before it up to `cells` cells; wider text stays as it is.
pub fn pad_left(text: &str, cells: usize) -> Cow<'_, str> {
    match cells.saturating_sub(width(text)) {
        0 => Cow::Borrowed(text),
        blanks => Cow::Owned(format!("{:blanks$}{text}", "")),
    }
}

/// `text` with blanks after it up to `cells` cells; wider text stays as it is.
pub fn pad_right(text: &str, cells: usize) -> Cow<'_, str> {
    match cells.saturating_sub(width(text)) {
        0 => Cow::Borrowed(text),
        blanks => Cow::Owned(format!("{text}{:blanks$}", "")),
    }
}

/// `text` as one word of a POSIX shell, for commands that are shown to be copied. Plain words stay as they are;
/// others are single quoted; hostile characters become octal bytes in `$'..'`, so that the line is safe to look at.
pub fn shell_quote(text: &str) -> Cow<'_, str> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_@%+=:,./-".contains(&b);
    // zsh looks up a leading `=` as a command.
    if !text.is_empty() && !text.starts_with('=') && text.bytes().all(plain) {
        return Cow::Borrowed(text);
    }
    if is_safe(text) {
        return Cow::Owned(format!("'{}'", text.replace('\'', r"'\''")));
    }
    let mut out = String::from("$'");
    let mut marks = Marks::at_start();
    let mut utf8 = [0; 4];
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            '\'' | '\\' => out.extend(['\\', c]),
            c if is_hostile(c) || !marks.accept(c) => {
                for byte in c.encode_utf8(&mut utf8).bytes() {
                    let _ = write!(out, "\\{byte:03o}");
                }
            }
            c => out.push(c),
        }
    }
    out.push('\'');
    Cow::Owned(out)
}

/// `text` as a cell of a TSV file: escaped by [`safe`] (uncut), kept from being read as a formula by a leading `'`.
pub fn tsv_cell(text: &str) -> Cow<'_, str> {
    let cell = safe_within(text, usize::MAX);
    // The text itself is asked, as its tab or CR is an escape by now, which some programs undo.
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { Cow::Owned(format!("'{cell}")) } else { cell }
}

/// The candidate that `word` most likely meant, if one is near enough to suggest.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let length = word.chars().count();
    let most = |candidate: &str| 1 + candidate.len().min(word.len()) / 4;
    candidates
        .into_iter()
        // Comparing takes time and memory by the product of both lengths, and where these differ much is no use.
        .filter(|candidate| candidate.chars().count().abs_diff(length) <= most(candidate))
        .map(|candidate| (strsim::damerau_levenshtein(&word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= most(candidate) && *distance < word.len())
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;

    #[test]
    fn clean_text_costs_nothing() {
        for text in ["", "main", r"C:\temp 100%", "naïve", "日本語", "👍", "e\u{301}", "สวัสดี"] {
            assert!(matches!(safe(text), Cow::Borrowed(t) if t == text), "{text:?}");
        }
    }

    #[test]
    fn whatever_acts_or_hides_is_shown() {
        for (text, shown) in [
            ("\x1b]0;owned\x07", r"\x1b]0;owned\x07"),
            ("a\nb\tc\r", r"a\nb\tc\r"),
            ("\u{9b}31m\u{7f}\0", r"\u{9b}31m\x7f\x00"),
            ("evil\u{202e}gpj.exe", r"evil\u{202e}gpj.exe"),
            ("\u{2066}a\u{2069}\u{200e}\u{200f}\u{61c}", r"\u{2066}a\u{2069}\u{200e}\u{200f}\u{61c}"),
            ("a\u{200b}b\u{200d}c\u{feff}", r"a\u{200b}b\u{200d}c\u{feff}"),
            ("\u{2028}\u{2029}\u{ad}\u{3164}", r"\u{2028}\u{2029}\u{ad}\u{3164}"),
            ("x\u{e0041}\u{fe0f}\u{ffff}", r"x\u{e0041}\u{fe0f}\u{ffff}"),
            ("\u{301}a", r"\u{301}a"),
        ] {
            assert_eq!(safe(text), shown);
        }
        assert_eq!(safe_bytes(b"ok\xff\xc3(\x1b"), r"ok\xff\xc3(\x1b");
    }

    #[test]
    fn towers_of_marks_are_broken_up() {
        let tower = format!("a{}", "\u{301}".repeat(20));
        let shown = safe(&tower);
        assert!(shown.contains(r"\u{301}"));
        assert!(!shown.contains(&"\u{301}".repeat(MAX_MARKS + 1)));
    }

    #[test]
    fn long_text_is_cut_and_says_so() {
        let long = "x".repeat(MAX_BYTES * 2);
        let cut = safe(&long);
        assert_eq!(cut.len(), MAX_BYTES);
        assert!(cut.ends_with(CUT));
        assert_eq!(safe_within("日本語日本語", 12), "日本 [cut]");
        assert_eq!(safe_within("\x1b\x1b\x1b", 12), r"\x1b\x1b\x1b");
    }

    #[test]
    fn width_is_in_cells() {
        for (text, cells) in [("abc", 3), ("日本", 4), ("e\u{301}", 1), ("👍", 2), ("", 0), ("한글", 4)] {
            assert_eq!(width(text), cells, "{text}");
        }
    }

    #[test]
    fn cuts_keep_graphemes_whole() {
        assert_eq!(fit_end("feature/login", 13, ELLIPSIS), "feature/login");
        assert_eq!(fit_end("feature/login", 8, ELLIPSIS), "feature…");
        assert_eq!(fit_end("feature/login", 8, ELLIPSIS_ASCII), "featur..");
        assert_eq!(fit_middle("node_modules/typescript", 12, ELLIPSIS), "node_…script");
        assert_eq!(fit_middle("日本語のキャッシュ", 8, ELLIPSIS), "日…シュ");
        assert_eq!(fit_end("e\u{301}e\u{301}e\u{301}", 2, ELLIPSIS), "e\u{301}…");
        assert_eq!(fit_end("abc", 1, ELLIPSIS_ASCII), ".");
        assert_eq!(fit_middle("abc", 0, ELLIPSIS), "");
    }

    #[test]
    fn padding_counts_cells() {
        assert_eq!(pad_left("日本", 6), "  日本");
        assert_eq!(pad_right("日本", 6), "日本  ");
        assert_eq!(pad_right("too long", 3), "too long");
    }

    #[test]
    fn shell_words_mean_what_they_say() {
        for (text, word) in [
            ("type=local,src=./.cache", "type=local,src=./.cache"),
            ("", "''"),
            ("a b", "'a b'"),
            ("it's", r"'it'\''s'"),
            ("$(rm -rf ~)", "'$(rm -rf ~)'"),
            ("~/cache", "'~/cache'"),
            ("=ls", "'=ls'"),
            ("日本", "'日本'"),
            ("a\nb\\'\x1b", r"$'a\nb\\\'\033'"),
            ("\u{202e}7", r"$'\342\200\2567'"),
        ] {
            assert_eq!(shell_quote(text), word);
        }
    }

    #[test]
    fn spreadsheets_get_no_formulas() {
        for (text, cell) in [
            ("main", "main"),
            ("=1+1", "'=1+1"),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("\t=1", r"'\t=1"),
            ("a,\"b\"", r#"a,"b""#),
            ("a\nb", r"a\nb"),
        ] {
            assert_eq!(tsv_cell(text), cell);
        }
        assert_eq!(tsv_cell("a,b\tc"), r"a,b\tc");
    }

    #[test]
    fn suggestions_are_near() {
        let keys = ["src", "dest", "tag", "digest"];
        assert_eq!(nearest("scr", keys), Some("src"));
        assert_eq!(nearest("Digset", keys), Some("digest"));
        assert_eq!(nearest("compression", keys), None);
        assert_eq!(nearest("x", keys), None);
        // Compared letter by letter, this would take seconds and a hundred megabytes.
        assert_eq!(nearest(&"s".repeat(1 << 20), keys), None);
    }

    /// Text thick with what breaks terminals and layouts.
    fn nasty() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            any::<char>().prop_map(String::from),
            "[ -~]{1,4}",
            "[\u{0}-\u{1f}\u{7f}-\u{9f}\u{200b}-\u{200f}\u{2028}-\u{202e}\u{2060}-\u{206f}]",
            "[一-龥가-힣ぁ-ん]",
            "[a-zא-ת][\u{300}-\u{36f}]{0,9}",
            "[\u{1f1e6}-\u{1f1ff}\u{1f3fb}-\u{1f3ff}👍👩❤\u{fe0f}\u{1100}-\u{11ff}क-ह\u{94d}]",
        ];
        prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(1), ..ProptestConfig::default() })]

        #[test]
        fn nothing_hostile_comes_through(text in nasty(), bytes in prop::collection::vec(any::<u8>(), 0..200), max in 0usize..200) {
            for out in [safe(&text), safe_bytes(&bytes), safe_within(&text, max), shell_quote(&text), tsv_cell(&text)] {
                prop_assert!(!out.chars().any(is_hostile), "{out:?}");
            }
            prop_assert!(safe_within(&text, max).len() <= max);
        }

        #[test]
        fn safe_is_idempotent(text in nasty(), max in 0usize..200) {
            let once = safe_within(&text, max);
            prop_assert_eq!(safe_within(&once, max), once.clone());
        }

        #[test]
        fn cuts_never_exceed_their_cells(text in nasty(), cells in 0usize..30, ascii: bool) {
            let dots = if ascii { ELLIPSIS_ASCII } else { ELLIPSIS };
            let text = safe(&text);
            for cut in [fit_end(&text, cells, dots), fit_middle(&text, cells, dots)] {
                prop_assert!(width(&cut) <= cells, "{cut:?}");
            }
            prop_assert!(width(head(&text, cells)) <= cells);
            prop_assert!(width(tail(&text, cells)) <= cells);
            let fits = fit_end(&text, cells, dots);
            prop_assert_eq!(fit_end(&fits, cells, dots), fits.clone());
            prop_assert!(width(&pad_left(&fits, cells)) == cells && width(&pad_right(&fits, cells)) == cells);
        }
    }
}
