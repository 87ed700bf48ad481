//! Is it one JSON object? A single pass over the bytes, without building anything.
//!
//! RFC 8259 to the letter, and the bytes are never changed: numbers of any size and precision,
//! escaped lone surrogates, duplicate keys and white space around the object are all fine; bytes
//! that are not UTF-8, control characters in strings, trailing commas and a byte order mark are not.
//! Nesting is counted in objects and arrays, the outermost being 1, and is limited.
//!
//! The scanner does not recurse. The same scanner splits an object or an array into its [`Part`]s for
//! patches and differences.

use std::fmt;

/// Bytes equal to this in each lane.
const LANES: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// Why bytes are not one JSON object, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{problem} at line {line}, column {column} (byte {offset})")]
pub struct JsonError {
    /// What is wrong.
    pub problem: JsonProblem,
    /// Byte offset of what is wrong, from 0; the length where the bytes end too soon.
    pub offset: usize,
    /// Line, from 1.
    pub line: usize,
    /// Column in bytes, from 1.
    pub column: usize,
}

/// What is wrong with JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum JsonProblem {
    /// The outermost value is no object.
    NotAnObject,
    /// The bytes end within the object.
    Unfinished,
    /// Nested deeper than allowed, which is this deep.
    TooDeep(usize),
    /// Something else than a value.
    NoValue,
    /// Something else than a key in quotes.
    NoKey,
    /// No colon after a key.
    NoColon,
    /// Neither a comma nor the closing bracket.
    NoComma,
    /// A number that is not written as JSON writes them.
    Number,
    /// A control character in a string, unescaped.
    Control,
    /// An escape that does not exist.
    Escape,
    /// Bytes in a string that are not UTF-8.
    Utf8,
    /// Something after the object.
    Trailing,
}

impl fmt::Display for JsonProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAnObject => "the outermost value is not an object",
            Self::Unfinished => "the object is not finished",
            Self::TooDeep(max) => return write!(f, "nested deeper than {max}"),
            Self::NoValue => "expected a value",
            Self::NoKey => "expected a key in quotes",
            Self::NoColon => "expected a colon",
            Self::NoComma => "expected a comma or a closing bracket",
            Self::Number => "malformed number",
            Self::Control => "control character in a string",
            Self::Escape => "malformed escape in a string",
            Self::Utf8 => "bytes that are not UTF-8 in a string",
            Self::Trailing => "something follows the object",
        })
    }
}

/// Checks that `bytes` are one JSON object, nested at most `depth_max` deep.
///
/// # Errors
/// When they are not: the first problem, and where it is.
pub fn validate_object(bytes: &[u8], depth_max: usize) -> Result<(), JsonError> {
    let mut scanner = Scanner { bytes, at: 0 };
    scanner.space();
    let result = if scanner.peek().is_some_and(|byte| byte != b'{') {
        scanner.fail(JsonProblem::NotAnObject)
    } else {
        scanner.value(depth_max)
    };
    result
        .and_then(|()| {
            scanner.space();
            scanner.peek().map_or(Ok(()), |_| scanner.fail(JsonProblem::Trailing))
        })
        .map_err(|stop| stop.locate(bytes))
}

/// Checks that `bytes` are one JSON value of any kind, nested at most `depth_max` deep.
///
/// # Errors
/// When they are not: the first problem, and where it is.
pub fn validate_value(bytes: &[u8], depth_max: usize) -> Result<(), JsonError> {
    let mut scanner = Scanner { bytes, at: 0 };
    scanner.space();
    let result = scanner.value(depth_max).and_then(|()| {
        scanner.space();
        scanner.peek().map_or(Ok(()), |_| scanner.fail(JsonProblem::Trailing))
    });
    result.map_err(|stop| stop.locate(bytes))
}

/// Lengths, in bytes, of what makes up one member of an object or one item of an array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    /// From the end of the part before, or from behind the bracket: comma and white space.
    pub(super) lead: usize,
    /// The key with its quotes; 0 in an array.
    pub(super) key: usize,
    /// The colon and the white space around it; 0 in an array.
    pub(super) colon: usize,
    /// The value.
    pub(super) value: usize,
}

/// The parts of the object or array whose bracket stands at `at`, and the white space before its
/// closing bracket; `None` where there is no sound object or array.
pub(super) fn parts(bytes: &[u8], at: usize) -> Option<(Vec<Part>, usize)> {
    let object = match bytes.get(at)? {
        b'{' => true,
        b'[' => false,
        _ => return None,
    };
    Scanner { bytes, at: at + 1 }.parts(object).ok()
}

/// A problem whose line and column are not worked out yet.
struct Stop {
    problem: JsonProblem,
    offset: usize,
}

impl Stop {
    #[cold]
    fn locate(&self, bytes: &[u8]) -> JsonError {
        let lines = bytes[..self.offset].split(|&byte| byte == b'\n');
        let (line, last) = lines.enumerate().last().unwrap_or((0, b""));
        let column = last.len() + 1;
        JsonError { problem: self.problem, offset: self.offset, line: line + 1, column }
    }
}

struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Scanner<'_> {
    #[inline]
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// The problem, unless the bytes simply ended.
    #[cold]
    fn fail<T>(&self, problem: JsonProblem) -> Result<T, Stop> {
        let ended = self.at >= self.bytes.len();
        let problem = if ended { JsonProblem::Unfinished } else { problem };
        Err(Stop { problem, offset: self.at })
    }

    #[inline]
    fn space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    /// A value with all it holds; the scanner stands at its first byte.
    fn value(&mut self, depth_max: usize) -> Result<(), Stop> {
        let mut open = Brackets::default();
        loop {
            match self.peek() {
                Some(b'"') => self.string()?,
                Some(bracket @ (b'{' | b'[')) => {
                    if open.depth == depth_max {
                        return self.fail(JsonProblem::TooDeep(depth_max));
                    }
                    let object = bracket == b'{';
                    self.at += 1;
                    self.space();
                    if self.peek() == Some(closing(object)) {
                        self.at += 1;
                    } else {
                        open.push(object);
                        self.key_if(object)?;
                        continue;
                    }
                }
                Some(b'-' | b'0'..=b'9') => self.number()?,
                Some(b't') => self.word(b"true")?,
                Some(b'f') => self.word(b"false")?,
                Some(b'n') => self.word(b"null")?,
                _ => return self.fail(JsonProblem::NoValue),
            }
            if !self.after_value(&mut open)? {
                return Ok(());
            }
        }
    }

    /// Goes on to the next value; false when the outermost one is finished.
    #[inline]
    fn after_value(&mut self, open: &mut Brackets) -> Result<bool, Stop> {
        while open.depth > 0 {
            self.space();
            match self.peek() {
                Some(b',') => {
                    self.at += 1;
                    self.space();
                    self.key_if(open.object)?;
                    return Ok(true);
                }
                Some(byte) if byte == closing(open.object) => {
                    self.at += 1;
                    open.pop();
                }
                _ => return self.fail(JsonProblem::NoComma),
            }
        }
        Ok(false)
    }

    /// In an object, a key and its colon; answers the length of the key.
    #[inline]
    fn key_if(&mut self, object: bool) -> Result<usize, Stop> {
        if !object {
            return Ok(0);
        }
        if self.peek() != Some(b'"') {
            return self.fail(JsonProblem::NoKey);
        }
        let start = self.at;
        self.string()?;
        let key = self.at - start;
        self.space();
        if self.peek() != Some(b':') {
            return self.fail(JsonProblem::NoColon);
        }
        self.at += 1;
        self.space();
        Ok(key)
    }

    fn parts(&mut self, object: bool) -> Result<(Vec<Part>, usize), Stop> {
        let mut parts = Vec::new();
        let mut end = self.at;
        self.space();
        if self.peek() == Some(closing(object)) {
            return Ok((parts, self.at - end));
        }
        loop {
            let start = self.at;
            let key = if object { self.key_if(true)? } else { 0 };
            let value_start = self.at;
            self.value(usize::MAX)?;
            let colon = value_start - start - key;
            parts.push(Part { lead: start - end, key, colon, value: self.at - value_start });
            end = self.at;
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(byte) if byte == closing(object) => return Ok((parts, self.at - end)),
                _ => return self.fail(JsonProblem::NoComma),
            }
            self.space();
        }
    }

    fn word(&mut self, word: &[u8]) -> Result<(), Stop> {
        for &byte in word {
            if self.peek() != Some(byte) {
                return self.fail(JsonProblem::NoValue);
            }
            self.at += 1;
        }
        Ok(())
    }

    fn number(&mut self) -> Result<(), Stop> {
        self.skip(b"-");
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.skip(b".") {
            self.digits()?;
        }
        if self.skip(b"eE") {
            self.skip(b"+-");
            self.digits()?;
        }
        Ok(())
    }

    fn skip(&mut self, any: &[u8]) -> bool {
        let found = self.peek().is_some_and(|byte| any.contains(&byte));
        self.at += usize::from(found);
        found
    }

    fn digits(&mut self) -> Result<(), Stop> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        if self.at == start { self.fail(JsonProblem::Number) } else { Ok(()) }
    }

    /// A string from its opening quote to behind its closing one.
    #[inline]
    fn string(&mut self) -> Result<(), Stop> {
        self.at += 1;
        loop {
            self.plain();
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => self.escape()?,
                Some(0x80..) => self.beyond_ascii()?,
                _ => return self.fail(JsonProblem::Control),
            }
        }
    }

    /// Passes over the bytes of a string that mean themselves, eight at a time.
    #[inline]
    fn plain(&mut self) {
        while let Some(lanes) = self.bytes.get(self.at..).and_then(<[u8]>::first_chunk::<8>) {
            let special = special_lanes(u64::from_le_bytes(*lanes));
            if special != 0 {
                self.at += special.trailing_zeros() as usize / 8;
                return;
            }
            self.at += 8;
        }
        while let Some(0x20 | 0x21 | 0x23..=0x5b | 0x5d..=0x7f) = self.peek() {
            self.at += 1;
        }
    }

    fn escape(&mut self) -> Result<(), Stop> {
        self.at += 1;
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 1,
            Some(b'u') => {
                self.at += 1;
                for _ in 0..4 {
                    if !self.peek().is_some_and(|byte| byte.is_ascii_hexdigit()) {
                        return self.fail(JsonProblem::Escape);
                    }
                    self.at += 1;
                }
            }
            _ => return self.fail(JsonProblem::Escape),
        }
        Ok(())
    }

    /// A run of characters beyond ASCII.
    fn beyond_ascii(&mut self) -> Result<(), Stop> {
        while let Some(first @ 0x80..) = self.peek() {
            self.at += match utf8_len(first, &self.bytes[self.at + 1..]) {
                Some(len) => len,
                None => return self.fail(JsonProblem::Utf8),
            };
        }
        Ok(())
    }
}

#[inline]
fn closing(object: bool) -> u8 {
    if object { b'}' } else { b']' }
}

/// Which of eight bytes are a quote, a backslash, a control character or beyond ASCII: the high bit
/// of each. Lanes above the lowest one found may be wrong (a borrow runs upwards), the lowest never
/// is; see "Bit Twiddling Hacks", "Determine if a word has a byte less than n".
#[inline]
fn special_lanes(lanes: u64) -> u64 {
    let equal = |byte: u8| {
        let difference = lanes ^ (LANES * u64::from(byte));
        difference.wrapping_sub(LANES) & !difference
    };
    let control = lanes.wrapping_sub(LANES * 0x20) & !lanes;
    (control | equal(b'"') | equal(b'\\') | lanes) & HIGH
}

/// Bytes of the character that begins with `first`, if it is well-formed (Unicode, table 3-7).
fn utf8_len(first: u8, rest: &[u8]) -> Option<usize> {
    let second = *rest.first()?;
    let (len, second_is_sound) = match first {
        0xc2..=0xdf => (2, matches!(second, 0x80..=0xbf)),
        0xe0 => (3, matches!(second, 0xa0..=0xbf)),
        0xed => (3, matches!(second, 0x80..=0x9f)),
        0xe1..=0xef => (3, matches!(second, 0x80..=0xbf)),
        0xf0 => (4, matches!(second, 0x90..=0xbf)),
        0xf1..=0xf3 => (4, matches!(second, 0x80..=0xbf)),
        0xf4 => (4, matches!(second, 0x80..=0x8f)),
        _ => return None,
    };
    let tail = rest.get(1..len - 1)?;
    (second_is_sound && tail.iter().all(|byte| matches!(byte, 0x80..=0xbf))).then_some(len)
}

/// The brackets that are open: whether each is an object's, the innermost one at hand.
#[derive(Default)]
struct Brackets {
    depth: usize,
    object: bool,
    outer: Vec<bool>,
}

impl Brackets {
    #[inline]
    fn push(&mut self, object: bool) {
        self.outer.push(self.object);
        self.object = object;
        self.depth += 1;
    }

    #[inline]
    fn pop(&mut self) {
        self.object = self.outer.pop().unwrap_or(false);
        self.depth -= 1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::de::IgnoredAny;

    use super::*;

    fn problem_at(text: &str) -> (JsonProblem, usize) {
        let error = validate_object(text.as_bytes(), 3).expect_err(text);
        (error.problem, error.offset)
    }

    #[test]
    fn says_what_and_where() {
        use JsonProblem::*;
        for (text, problem, offset) in [
            ("", Unfinished, 0),
            ("  ", Unfinished, 2),
            ("[1]", NotAnObject, 0),
            (" null", NotAnObject, 1),
            ("\u{feff}{}", NotAnObject, 0),
            (r#"{"a":1"#, Unfinished, 6),
            (r#"{"a":tru"#, Unfinished, 8),
            (r#"{"a":"x"#, Unfinished, 7),
            (r#"{"a":-"#, Unfinished, 6),
            (r#"{"a":[[[1]]]}"#, TooDeep(3), 7),
            (r#"{"a":}"#, NoValue, 5),
            (r#"{"a":[1,]}"#, NoValue, 8),
            (r#"{"a":nul}"#, NoValue, 8),
            (r#"{"a":NaN}"#, NoValue, 5),
            (r#"{"a":+1}"#, NoValue, 5),
            ("{a:1}", NoKey, 1),
            (r#"{"a":1,}"#, NoKey, 7),
            (r#"{"a" 1}"#, NoColon, 5),
            (r#"{"a":1 "b":2}"#, NoComma, 7),
            (r#"{"a":[1}"#, NoComma, 7),
            (r#"{"a":01}"#, NoComma, 6),
            (r#"{"a":1.}"#, Number, 7),
            (r#"{"a":1e}"#, Number, 7),
            (r#"{"a":-x}"#, Number, 6),
            ("{\"a\":\"x\n\"}", Control, 7),
            (r#"{"a":"\x"}"#, Escape, 7),
            (r#"{"a":"\u12g4"}"#, Escape, 10),
            ("{} {}", Trailing, 3),
        ] {
            assert_eq!(problem_at(text), (problem, offset), "{text}");
        }
    }

    #[test]
    fn counts_lines_and_columns() {
        let error = validate_object(b"{\n  \"a\": 1,\n  \"b\": ?\n}", 9).unwrap_err();
        assert_eq!((error.line, error.column, error.offset), (3, 8, 19));
        assert_eq!(error.to_string(), "expected a value at line 3, column 8 (byte 19)");
    }

    #[test]
    fn takes_what_json_allows() {
        let digits = "7".repeat(1000);
        for value in
            ["1e400", "-0", "0.0E-9", &digits, r#""\ud800""#, r#""\uDC00\/\b""#, "\"\u{7f}ä€😀\""]
        {
            let text = format!("\r\n\t {{ \"k\" : [ {value} , {{ }} ] , \"k\" : [ ] }} \n");
            assert_eq!(validate_object(text.as_bytes(), 3), Ok(()), "{text}");
        }
    }

    #[test]
    fn depth_is_exact_and_costs_no_stack() {
        let nested = |depth: usize| {
            [&br#"{"a":"#[..], &b"[".repeat(depth - 1), &b"]".repeat(depth - 1), b"}"].concat()
        };
        assert_eq!(validate_object(&nested(96), 96), Ok(()));
        let error = validate_object(&nested(97), 96).unwrap_err();
        assert_eq!((error.problem, error.offset), (JsonProblem::TooDeep(96), 5 + 95));
        assert_eq!(validate_object(&nested(1_000_000), usize::MAX), Ok(()));
        assert!(validate_object(b"{}", 0).is_err());
    }

    #[test]
    fn every_byte_of_a_string_is_seen() {
        for special in [b'"', b'\\', 0x00, 0x1f, 0x80, 0xff] {
            for at in 0..40 {
                let mut text = [b"{\"k\":\"", &[b'x'; 40][..], b"\"}"].concat();
                text[6 + at] = special;
                assert!(validate_object(&text, 9).is_err(), "{special:#x} at {at}");
            }
        }
    }

    fn agrees(bytes: &[u8]) -> bool {
        let text = std::str::from_utf8(bytes).ok();
        let sound = text.is_some_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok());
        let object = bytes.trim_ascii_start().first() == Some(&b'{');
        validate_object(bytes, 500).is_ok() == (sound && object)
    }

    fn state() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<f64>().prop_map(Into::into),
            any::<String>().prop_map(Into::into),
        ];
        let value = leaf.prop_recursive(5, 60, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
                prop::collection::btree_map(any::<String>(), inner, 0..6)
                    .prop_map(|map| map.into_iter().collect()),
            ]
        });
        prop::collection::btree_map(any::<String>(), value, 0..6)
            .prop_map(|map| map.into_iter().collect())
    }

    proptest! {
        #[test]
        fn agrees_with_serde_json(
            state in state(),
            pretty: bool,
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..4),
        ) {
            let text = if pretty { serde_json::to_vec_pretty(&state) } else { serde_json::to_vec(&state) };
            let mut bytes = text.unwrap();
            prop_assert_eq!(validate_object(&bytes, 500), Ok(()));
            let likely = b"\"\\{}[],:0-1.eEtfnu \n\x00\x1f\x7f\x80\xbf\xc3\xed\xf4\xff";
            for (at, byte) in damage {
                let at = at.index(bytes.len());
                bytes[at] = likely[byte.index(likely.len())];
                prop_assert!(agrees(&bytes), "{:?}", String::from_utf8_lossy(&bytes));
                prop_assert!(agrees(&bytes[..at]), "{:?}", String::from_utf8_lossy(&bytes[..at]));
            }
        }

        #[test]
        fn agrees_on_utf8(noise in prop::collection::vec(0x7f..=0xffu8, 0..6)) {
            let text = [b"{\"k\":\"", &noise[..], b"\"}"].concat();
            prop_assert!(agrees(&text), "{:x?}", noise);
        }

        #[test]
        fn never_panics(bytes: Vec<u8>, at in 0..9usize) {
            prop_assert!(validate_object(&bytes, 5).is_ok() <= agrees(&bytes));
            parts(&bytes, at);
        }

        #[test]
        fn parts_are_the_whole(state in state(), pretty: bool) {
            let text = if pretty { serde_json::to_vec_pretty(&state) } else { serde_json::to_vec(&state) };
            let bytes = text.unwrap();
            let (parts, tail) = parts(&bytes, 0).unwrap();
            let len: usize = parts.iter().map(|part| part.lead + part.key + part.colon + part.value).sum();
            prop_assert_eq!(len + tail + 2, bytes.len());
            prop_assert_eq!(parts.len(), state.as_object().unwrap().len());
        }
    }
}
