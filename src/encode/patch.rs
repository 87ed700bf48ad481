//! Patches: RFC 6902 (an array of operations) and RFC 7396 (an object to merge), applied to the
//! bytes of a state.
//!
//! Bytes no operation names stay as they are, white space and spelling of numbers included. New
//! values go in as the patch writes them. A patch is applied whole or not at all. `test` compares
//! numbers by value, to the last digit, strings by meaning, and objects regardless of order. Each
//! operation costs its own size and moving the bytes behind it.

use std::fmt;
use std::ops::Range;

use super::json::{JsonError, parts, validate_value};
use super::outline::{Editor, Outline, Spot};
use super::regroup::Region;
use super::text::{quote, same_number, unquote};

/// Why a patch was not applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("patch operation {operation} at `{pointer}`: {problem}")]
pub struct PatchError {
    /// The place of the operation in the patch, from 0; 0 for a merge.
    pub operation: usize,
    /// The JSON Pointer that could not be followed, or where the operation failed.
    pub pointer: String,
    /// What is wrong.
    pub problem: PatchProblem,
}

/// What is wrong with an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PatchProblem {
    /// The patch is not JSON.
    Json(JsonError),
    /// The patch is neither an array of operations nor an object, or an operation lacks a member or
    /// has one that makes no sense.
    Malformed(&'static str),
    /// There is nothing at the pointer, or nothing that could hold it.
    NotFound,
    /// A `test` found another value.
    TestFailed,
    /// The state would not be an object any more.
    NotAnObject,
    /// The state would be nested deeper, or written longer, than allowed.
    Limit(&'static str),
}

impl fmt::Display for PatchProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(error) => write!(f, "the patch is not JSON: {error}"),
            Self::Malformed(what) => write!(f, "malformed: {what}"),
            Self::NotFound => f.write_str("there is nothing there"),
            Self::TestFailed => f.write_str("the test found another value"),
            Self::NotAnObject => f.write_str("the state would not be an object any more"),
            Self::Limit(what) => write!(f, "the state would be {what} than allowed"),
        }
    }
}

/// How large a state may become.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) depth_max: usize,
    pub(super) bytes_max: usize,
}

/// Applies `patch` to the sound object in `bytes` and answers what changed. On an error the bytes
/// are as before, and the outline is of no use any more.
pub(super) fn apply(
    bytes: &mut Vec<u8>,
    outline: &mut Outline,
    patch: &[u8],
    limits: Limits,
) -> Result<Vec<Region>, PatchError> {
    let whole = |problem| PatchError { operation: 0, pointer: String::new(), problem };
    // A value of the allowed depth stands in an operation, which stands in the array.
    validate_value(patch, limits.depth_max.saturating_add(2))
        .map_err(|error| whole(PatchProblem::Json(error)))?;
    let start = patch.iter().position(|byte| !b" \n\r\t".contains(byte)).unwrap_or(0);
    let mut patching = Patching { editor: Editor::new(bytes, outline), limits, operation: 0 };
    let result = match patch[start] {
        b'[' => patching.operations(patch, start),
        b'{' => patching.merge(patch, start),
        _ => Err(whole(PatchProblem::Malformed("neither an array nor an object"))),
    };
    match result {
        Ok(()) => Ok(patching.editor.finish()),
        Err(error) => {
            patching.editor.roll_back();
            Err(error)
        }
    }
}

struct Patching<'a> {
    editor: Editor<'a>,
    limits: Limits,
    operation: usize,
}

/// A JSON Pointer: the meanings of its reference tokens.
type Pointer = Vec<Vec<u8>>;

#[derive(Default)]
struct Operation<'a> {
    op: &'a [u8],
    path: Option<Pointer>,
    from: Option<Pointer>,
    value: Option<&'a [u8]>,
}

impl Patching<'_> {
    fn operations(&mut self, patch: &[u8], at: usize) -> Result<(), PatchError> {
        for (nth, range) in values(patch, at).into_iter().map(|(_, range)| range).enumerate() {
            self.operation = nth;
            let operation = Operation::read(patch, range)
                .map_err(|what| self.error(&[], PatchProblem::Malformed(what)))?;
            self.operate(operation)?;
        }
        Ok(())
    }

    fn operate(&mut self, operation: Operation) -> Result<(), PatchError> {
        let Operation { op, path, from, value } = operation;
        let missing = |what| PatchProblem::Malformed(what);
        let path = path.ok_or_else(|| self.error(&[], missing("`path` is missing")))?;
        let value = || value.ok_or_else(|| self.error(&path, missing("`value` is missing")));
        let from = || from.ok_or_else(|| self.error(&path, missing("`from` is missing")));
        match op {
            br#""add""# => {
                let value = value()?;
                self.add(&path, value)
            }
            br#""replace""# => {
                let value = value()?;
                self.replace(&path, value)
            }
            br#""test""# => {
                let value = value()?;
                self.test(&path, value)
            }
            br#""remove""# => self.remove(&path),
            br#""copy""# => {
                let from = from()?;
                let copied = self.text(&from)?;
                self.add(&path, &copied)
            }
            br#""move""# => {
                let from = from()?;
                self.relocate(&from, &path)
            }
            _ => Err(self.error(&path, missing("`op` is none of the six"))),
        }
    }

    fn error(&self, pointer: &[Vec<u8>], problem: PatchProblem) -> PatchError {
        PatchError { operation: self.operation, pointer: pointer_text(pointer), problem }
    }

    fn find(&mut self, pointer: &[Vec<u8>]) -> Result<Spot, PatchError> {
        self.find_above(pointer, 0)
    }

    /// The value so many levels above the one at `pointer`.
    fn find_above(&mut self, pointer: &[Vec<u8>], levels: usize) -> Result<Spot, PatchError> {
        let mut spot = self.editor.root();
        for token in &pointer[..pointer.len() - levels] {
            let nth = self.step(&spot, token);
            let nth = nth.ok_or_else(|| self.error(pointer, PatchProblem::NotFound))?;
            spot = self.editor.child(&spot, nth);
        }
        Ok(spot)
    }

    /// Which child of `parent` a token names.
    fn step(&mut self, parent: &Spot, token: &[u8]) -> Option<usize> {
        let count = self.editor.count(parent)?;
        if self.is_object(parent) {
            self.editor.member(parent, token)
        } else {
            index(token).filter(|&nth| nth < count)
        }
    }

    fn is_object(&self, spot: &Spot) -> bool {
        self.editor.bytes()[spot.range.start] == b'{'
    }

    fn text(&mut self, pointer: &[Vec<u8>]) -> Result<Vec<u8>, PatchError> {
        let spot = self.find(pointer)?;
        Ok(self.editor.bytes()[spot.range].to_vec())
    }

    fn add(&mut self, path: &[Vec<u8>], value: &[u8]) -> Result<(), PatchError> {
        let Some(token) = path.last() else { return self.replace(path, value) };
        let parent = self.find_above(path, 1)?;
        let not_found = || PatchProblem::NotFound;
        let count = self.editor.count(&parent).ok_or_else(|| self.error(path, not_found()))?;
        if self.is_object(&parent) {
            if self.editor.member(&parent, token).is_some() {
                return self.replace(path, value);
            }
            let key = quote(token);
            self.admit(path, value, key.len() + 2)?;
            self.editor.insert(&parent, count, Some(&key), value);
        } else {
            let nth = if token == b"-" { Some(count) } else { index(token) };
            let nth = nth.filter(|&nth| nth <= count);
            let nth = nth.ok_or_else(|| self.error(path, not_found()))?;
            self.admit(path, value, 1)?;
            self.editor.insert(&parent, nth, None, value);
        }
        Ok(())
    }

    fn replace(&mut self, path: &[Vec<u8>], value: &[u8]) -> Result<(), PatchError> {
        let spot = self.find(path)?;
        if path.is_empty() && value[0] != b'{' {
            return Err(self.error(path, PatchProblem::NotAnObject));
        }
        self.admit(path, value, 0)?;
        self.editor.set(&spot, value);
        Ok(())
    }

    /// Checks that `value` may stand at `path`; `more` bytes come with it.
    fn admit(&self, path: &[Vec<u8>], value: &[u8], more: usize) -> Result<(), PatchError> {
        if validate_value(value, self.limits.depth_max.saturating_sub(path.len())).is_err() {
            return Err(self.error(path, PatchProblem::Limit("nested deeper")));
        }
        let room = self.limits.bytes_max.saturating_sub(self.editor.bytes().len());
        if value.len() + more > room {
            return Err(self.error(path, PatchProblem::Limit("longer")));
        }
        Ok(())
    }

    fn remove(&mut self, path: &[Vec<u8>]) -> Result<(), PatchError> {
        let Some(token) = path.last() else {
            return Err(self.error(path, PatchProblem::NotAnObject));
        };
        let parent = self.find_above(path, 1)?;
        let nth = self.step(&parent, token);
        let nth = nth.ok_or_else(|| self.error(path, PatchProblem::NotFound))?;
        self.editor.remove(&parent, nth);
        if !self.is_object(&parent) {
            return Ok(());
        }
        let mut parent = self.find_above(path, 1)?;
        while let Some(nth) = self.editor.member(&parent, token) {
            self.editor.remove(&parent, nth);
            parent = self.find_above(path, 1)?;
        }
        Ok(())
    }

    fn relocate(&mut self, from: &[Vec<u8>], path: &[Vec<u8>]) -> Result<(), PatchError> {
        let moved = self.text(from)?;
        if from == path {
            return Ok(());
        }
        if path.starts_with(from) {
            let problem = PatchProblem::Malformed("a value cannot be moved into itself");
            return Err(self.error(path, problem));
        }
        self.remove(from)?;
        self.add(path, &moved)
    }

    fn test(&mut self, path: &[Vec<u8>], value: &[u8]) -> Result<(), PatchError> {
        let spot = self.find(path)?;
        if same_value(&self.editor.bytes()[spot.range], value) {
            Ok(())
        } else {
            Err(self.error(path, PatchProblem::TestFailed))
        }
    }

    fn merge(&mut self, patch: &[u8], at: usize) -> Result<(), PatchError> {
        let mut waiting = vec![(Pointer::new(), at)];
        while let Some((above, at)) = waiting.pop() {
            let mut members = members(patch, at);
            members.sort_by_key(|(_, range)| range.start);
            for (key, range) in members {
                let mut place = above.clone();
                place.push(key);
                let value = &patch[range.clone()];
                match value[0] {
                    b'n' => self.remove_if_there(&place)?,
                    b'{' if self.holds_object(&place) => waiting.push((place, range.start)),
                    // A value taken whole would bring its members that are null along.
                    b'{' if value.windows(4).any(|four| four == b"null") => {
                        self.add(&place, b"{}")?;
                        waiting.push((place, range.start));
                    }
                    _ => self.add(&place, value)?,
                }
            }
        }
        Ok(())
    }

    fn holds_object(&mut self, path: &[Vec<u8>]) -> bool {
        self.find(path).is_ok_and(|spot| self.is_object(&spot))
    }

    fn remove_if_there(&mut self, path: &[Vec<u8>]) -> Result<(), PatchError> {
        match self.remove(path) {
            Err(PatchError { problem: PatchProblem::NotFound, .. }) => Ok(()),
            result => result,
        }
    }
}

impl<'a> Operation<'a> {
    fn read(patch: &'a [u8], range: Range<usize>) -> Result<Self, &'static str> {
        if patch[range.start] != b'{' {
            return Err("an operation is an object");
        }
        let mut operation = Self::default();
        for (key, range) in members(patch, range.start) {
            let value = &patch[range];
            match &key[..] {
                b"op" => operation.op = value,
                b"path" => operation.path = Some(read_pointer(value)?),
                b"from" => operation.from = Some(read_pointer(value)?),
                b"value" => operation.value = Some(value),
                _ => {}
            }
        }
        Ok(operation)
    }
}

fn read_pointer(raw: &[u8]) -> Result<Pointer, &'static str> {
    if raw[0] != b'"' {
        return Err("a pointer is a string");
    }
    let text = unquote(raw);
    let mut tokens = text.split(|&byte| byte == b'/');
    if tokens.next().is_some_and(|before| !before.is_empty()) {
        return Err("a pointer is empty or begins with a slash");
    }
    tokens.map(read_token).collect()
}

fn read_token(escaped: &[u8]) -> Result<Vec<u8>, &'static str> {
    let mut token = Vec::with_capacity(escaped.len());
    let mut rest = escaped.iter();
    while let Some(&byte) = rest.next() {
        token.push(match (byte, byte == b'~') {
            (_, true) => match rest.next() {
                Some(b'0') => b'~',
                Some(b'1') => b'/',
                _ => return Err("in a pointer, `~` is followed by 0 or 1"),
            },
            (itself, false) => itself,
        });
    }
    Ok(token)
}

/// The pointer as text; what is no Unicode is shown as U+FFFD.
pub(super) fn pointer_text(pointer: &[Vec<u8>]) -> String {
    let mut text = String::new();
    for token in pointer {
        text.push('/');
        text.push_str(&String::from_utf8_lossy(token).replace('~', "~0").replace('/', "~1"));
    }
    text
}

fn index(token: &[u8]) -> Option<usize> {
    let sound = !token.is_empty()
        && token.iter().all(u8::is_ascii_digit)
        && (token.len() == 1 || token[0] != b'0');
    sound.then(|| std::str::from_utf8(token).ok()?.parse().ok()).flatten()
}

/// What the object or array at `at` holds: the raw key, empty in an array, and the place of the
/// value.
pub(super) fn values(bytes: &[u8], at: usize) -> Vec<(&[u8], Range<usize>)> {
    let mut end = at + 1;
    let (parts, _) = parts(bytes, at).unwrap_or_default();
    parts
        .into_iter()
        .map(|part| {
            let key_start = end + part.lead;
            let start = key_start + part.key + part.colon;
            end = start + part.value;
            (&bytes[key_start..key_start + part.key], start..end)
        })
        .collect()
}

/// The members of the object at `at`, in order of their keys; of equal keys the last counts.
pub(super) fn members(bytes: &[u8], at: usize) -> Vec<(Vec<u8>, Range<usize>)> {
    let values = values(bytes, at).into_iter();
    let mut members: Vec<_> =
        values.map(|(key, range)| (unquote(key).into_owned(), range)).collect();
    members.reverse();
    members.sort_by(|a, b| a.0.cmp(&b.0));
    members.dedup_by(|later, first| later.0 == first.0);
    members
}

/// Whether two values are the same value.
fn same_value(a: &[u8], b: &[u8]) -> bool {
    let mut waiting = vec![(0..a.len(), 0..b.len())];
    while let Some((a_range, b_range)) = waiting.pop() {
        let (a_raw, b_raw) = (&a[a_range.clone()], &b[b_range.clone()]);
        let same = match (a_raw[0], b_raw[0]) {
            _ if a_raw == b_raw => true,
            (b'"', b'"') => unquote(a_raw) == unquote(b_raw),
            (b'-' | b'0'..=b'9', b'-' | b'0'..=b'9') => same_number(a_raw, b_raw),
            (b'[', b'[') => {
                let (a, b) = (values(a, a_range.start), values(b, b_range.start));
                let same = a.len() == b.len();
                waiting.extend(a.into_iter().zip(b).map(|((_, a), (_, b))| (a, b)));
                same
            }
            (b'{', b'{') => {
                let (a, b) = (members(a, a_range.start), members(b, b_range.start));
                let same = a.iter().map(|(key, _)| key).eq(b.iter().map(|(key, _)| key));
                waiting.extend(a.into_iter().zip(b).map(|((_, a), (_, b))| (a, b)));
                same
            }
            _ => false,
        };
        if !same {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patched(state: &str, patch: &str) -> Result<String, PatchError> {
        let mut bytes = state.as_bytes().to_vec();
        let mut outline = Outline::of(&bytes);
        let limits = Limits { depth_max: 5, bytes_max: 300 };
        let result = apply(&mut bytes, &mut outline, patch.as_bytes(), limits);
        let text = String::from_utf8(bytes).unwrap();
        match result {
            Ok(_) => Ok(text),
            Err(error) => {
                assert_eq!(text, state, "a patch that fails changes nothing");
                Err(error)
            }
        }
    }

    #[test]
    fn operations_leave_other_bytes_alone() {
        let state = "{ \"a\" : [ 1e400 , 2.50 ],\n\t\"b\": {} , \"c\":{ \"x\":1 , \"y\":2 } }\n";
        for (patch, outcome) in [
            (r#"{"op":"add","path":"/a/-","value":3}"#, state.replace("2.50 ]", "2.50,3 ]")),
            (r#"{"op":"add","path":"/a/0","value":3}"#, state.replace("[ 1e", "[ 3,1e")),
            (r#"{"op":"add","path":"/a/1","value":3}"#, state.replace(", 2.50", ", 3,2.50")),
            (
                r#"{"op":"add","path":"/b/k\"","value":[ 1]}"#,
                state.replace("{}", r#"{"k\"":[ 1]}"#),
            ),
            (r#"{"op":"add","path":"/c/x","value":9}"#, state.replace(":1", ":9")),
            (
                r#"{"op":"replace","path":"/a","value":null}"#,
                state.replace("[ 1e400 , 2.50 ]", "null"),
            ),
            (r#"{"op":"remove","path":"/a/0"}"#, state.replace("1e400 , ", "")),
            (r#"{"op":"remove","path":"/a/1"}"#, state.replace(" , 2.50", "")),
            (r#"{"op":"remove","path":"/c"}"#, state.replace(" , \"c\":{ \"x\":1 , \"y\":2 }", "")),
            (r#"{"op":"copy","from":"/a/0","path":"/c/x"}"#, state.replace(":1", ":1e400")),
            (
                r#"{"op":"move","from":"/c/x","path":"/b/x"}"#,
                state.replace("{}", r#"{"x":1}"#).replace("\"x\":1 , ", ""),
            ),
            (r#"{"op":"replace","path":"","value":{}}"#, "{}\n".to_owned()),
            (r#"{"op":"move","from":"/a","path":"/a"}"#, state.to_owned()),
        ] {
            assert_eq!(patched(state, &format!("[{patch}]")).unwrap(), outcome, "{patch}");
        }
    }

    #[test]
    fn the_outline_follows_each_operation() {
        let all = r#"[{"op":"remove","path":"/a/0"},{"op":"remove","path":"/a/0"},
            {"op":"add","path":"/a/-","value":30},{"op":"replace","path":"/a/0","value":4},
            {"op":"add","path":"/a/0","value":[]},{"op":"add","path":"/a/0/0","value":5},
            {"op":"remove","path":"/a/1"},{"op":"add","path":"/a/1","value":66},
            {"op":"replace","path":"/b","value":[7]},{"op":"copy","from":"/b/0","path":"/a/1"}]"#;
        let state = r#"{ "a" : [  1 , 2 ] , "b":0 }"#;
        assert_eq!(patched(state, all).unwrap(), r#"{ "a" : [[5],7,66   ] , "b":[7] }"#);
    }

    #[test]
    fn errors_name_operation_and_pointer() {
        let state = r#"{"a":[1,{"b":2}]}"#;
        let fails = |operation: &str, pointer: &str, problem: PatchProblem| {
            let first = r#"{"op":"add","path":"/a/0","value":0}"#;
            let error = patched(state, &format!("[{first},{operation}]")).expect_err(operation);
            let expected = PatchError { operation: 1, pointer: pointer.to_owned(), problem };
            assert_eq!(error, expected, "{operation}");
        };
        for path in ["/x", "/a/4", "/a/-", "/a/01", "/a/+1", "/a/1/b/c", "/a/2/c", "/a/"] {
            let operation = format!(r#"{{"op":"remove","path":"{path}"}}"#);
            fails(&operation, path, PatchProblem::NotFound);
        }
        for path in ["/a/4", "/a/00", "/a/1/x"] {
            let operation = format!(r#"{{"op":"add","path":"{path}","value":1}}"#);
            fails(&operation, path, PatchProblem::NotFound);
        }
        fails(r#"{"op":"test","path":"/a/1","value":2}"#, "/a/1", PatchProblem::TestFailed);
        fails(r#"{"op":"remove","path":""}"#, "", PatchProblem::NotAnObject);
        fails(r#"{"op":"add","path":"","value":[]}"#, "", PatchProblem::NotAnObject);
        let malformed = PatchProblem::Malformed;
        fails(r#"{"op":"add","path":"/q"}"#, "/q", malformed("`value` is missing"));
        fails(r#"{"op":"copy","path":"/q"}"#, "/q", malformed("`from` is missing"));
        fails(r#"{"op":"add","value":1}"#, "", malformed("`path` is missing"));
        fails(r#"{"op":"Add","path":"/q"}"#, "/q", malformed("`op` is none of the six"));
        fails("1", "", malformed("an operation is an object"));
        fails(r#"{"path":"q"}"#, "", malformed("a pointer is empty or begins with a slash"));
        fails(r#"{"path":"/~2"}"#, "", malformed("in a pointer, `~` is followed by 0 or 1"));
        let into = r#"{"op":"move","from":"/a","path":"/a/0"}"#;
        fails(into, "/a/0", malformed("a value cannot be moved into itself"));
    }

    #[test]
    fn limits_hold() {
        let deep = r#"[{"op":"add","path":"/a/b","value":[[[]]]}]"#;
        assert_eq!(patched(r#"{"a":{}}"#, deep).unwrap(), r#"{"a":{"b":[[[]]]}}"#);
        let deeper = deep.replace("[[[]]]", "[[[[]]]]");
        let error = patched(r#"{"a":{}}"#, &deeper).unwrap_err();
        assert_eq!(error.problem, PatchProblem::Limit("nested deeper"));
        let long = format!(r#"{{"a":"{}"}}"#, "x".repeat(300));
        assert_eq!(patched("{}", &long).unwrap_err().problem, PatchProblem::Limit("longer"));
        assert!(matches!(patched("{}", "[").unwrap_err().problem, PatchProblem::Json(_)));
        assert!(matches!(patched("{}", "7").unwrap_err().problem, PatchProblem::Malformed(_)));
    }

    #[test]
    fn test_compares_meaning() {
        let state = r#"{"v":{"a":[1.0,"\u00e4"],"b":-0}}"#;
        let test = |value: &str| {
            patched(state, &format!(r#"[{{"op":"test","path":"/v","value":{value}}}]"#))
        };
        assert!(test(r#"{ "b":0, "a":[ 10e-1, "ä" ] }"#).is_ok());
        for other in [
            r#"{"b":0}"#,
            r#"{"b":0,"a":[1]}"#,
            r#"{"b":0,"a":["ä",1]}"#,
            "[]",
            r#"{"a":[1,"ä"],"c":0}"#,
        ] {
            assert!(test(other).is_err(), "{other}");
        }
    }

    #[test]
    fn of_equal_keys_the_last_counts() {
        let state = r#"{"k":1,"a":0,"\u006b":2}"#;
        let replace =
            r#"[{"op":"test","path":"/k","value":2},{"op":"replace","path":"/k","value":3}]"#;
        assert_eq!(patched(state, replace).unwrap(), r#"{"k":1,"a":0,"\u006b":3}"#);
        assert_eq!(patched(state, r#"[{"op":"remove","path":"/k"}]"#).unwrap(), r#"{"a":0}"#);
        assert_eq!(patched(state, r#"{"k":null}"#).unwrap(), r#"{"a":0}"#);
        assert_eq!(patched("{}", r#"{"k":{"x":1},"k":{"y":2}}"#).unwrap(), r#"{"k":{"y":2}}"#);
    }

    /// The examples of RFC 7396, appendix A, as far as both sides are objects.
    #[test]
    fn merges_as_the_rfc_shows() {
        for (state, patch, outcome) in [
            (r#"{"a":"b"}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"b":"c"}"#, r#"{"a":"b","b":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"a":null}"#, "{}"),
            (r#"{"a":"b","b":"c"}"#, r#"{"a":null}"#, r#"{"b":"c"}"#),
            (r#"{"a":["b"]}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"c"}"#, r#"{"a":["b"]}"#, r#"{"a":["b"]}"#),
            (r#"{"a":{"b":"c"}}"#, r#"{"a":{"b":"d","c":null}}"#, r#"{"a":{"b":"d"}}"#),
            (r#"{"a":[{"b":"c"}]}"#, r#"{"a":[1]}"#, r#"{"a":[1]}"#),
            (r#"{"e":null}"#, r#"{"a":1}"#, r#"{"e":null,"a":1}"#),
            ("{}", r#"{"a":{"bb":{"ccc":null}}}"#, r#"{"a":{"bb":{}}}"#),
        ] {
            assert_eq!(patched(state, patch).unwrap(), outcome, "{state} with {patch}");
        }
    }
}
