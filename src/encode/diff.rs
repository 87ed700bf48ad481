//! What is different between two states.
//!
//! Objects are compared by key, arrays by position; arrays whose items all are objects with an `id`
//! of their own, in both states and in the same order as far as they are in both, are compared by
//! that `id`. Numbers are compared by their text, strings by their meaning; white space and the order
//! of keys do not count.

use std::collections::HashMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::json::{JsonError, validate_object};
use super::patch::{members, pointer_text, values};
use super::text::{quote, unquote};

/// What happened to a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub enum ChangeKind {
    /// It is in the second state only.
    Added,
    /// It is in the first state only.
    Removed,
    /// It is another one.
    Changed,
}

/// One difference between two states.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Change {
    /// Where, as a JSON Pointer: into the first state for what was removed, else into the second.
    pub path: String,
    /// What happened.
    pub kind: ChangeKind,
    /// The JSON text in the first state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// The JSON text in the second state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// The differences from state `a` to state `b`, in the order of keys and positions.
///
/// # Errors
/// When one of the two is not one JSON object.
pub fn diff(a: &[u8], b: &[u8]) -> Result<Vec<Change>, JsonError> {
    validate_object(a, usize::MAX)?;
    validate_object(b, usize::MAX)?;
    let whole = Pair { path: Vec::new(), a: Some(outermost(a)), b: Some(outermost(b)) };
    let mut changes = Vec::new();
    let mut waiting = vec![whole];
    while let Some(pair) = waiting.pop() {
        match pair.inner(a, b) {
            Some(inner) => waiting.extend(inner.into_iter().rev()),
            None => changes.extend(pair.change(a, b)),
        }
    }
    Ok(changes)
}

fn outermost(bytes: &[u8]) -> Range<usize> {
    let inside = bytes.trim_ascii();
    let start = bytes.len() - bytes.trim_ascii_start().len();
    start..start + inside.len()
}

/// A value of both states, or of one.
struct Pair {
    path: Vec<Vec<u8>>,
    a: Option<Range<usize>>,
    b: Option<Range<usize>>,
}

impl Pair {
    /// What the two values hold, where both hold something and are of one kind.
    fn inner(&self, a: &[u8], b: &[u8]) -> Option<Vec<Pair>> {
        let (a_at, b_at) = (self.a.as_ref()?.start, self.b.as_ref()?.start);
        let mut pairs = match (a[a_at], b[b_at]) {
            (b'{', b'{') => self.by_key(members(a, a_at), members(b, b_at)),
            (b'[', b'[') => self.items(a, b, a_at, b_at),
            _ => return None,
        };
        pairs.retain(|pair| match (&pair.a, &pair.b) {
            (Some(in_a), Some(in_b)) => a[in_a.clone()] != b[in_b.clone()],
            _ => true,
        });
        Some(pairs)
    }

    fn with(&self, token: Vec<u8>, a: Option<Range<usize>>, b: Option<Range<usize>>) -> Self {
        let mut path = self.path.clone();
        path.push(token);
        Self { path, a, b }
    }

    fn by_key(&self, a: Members, b: Members) -> Vec<Pair> {
        let mut b = b.into_iter().peekable();
        let mut pairs = Vec::new();
        for (key, range) in a {
            while let Some((earlier, range)) = b.next_if(|(other, _)| *other < key) {
                pairs.push(self.with(earlier, None, Some(range)));
            }
            let other = b.next_if(|(other, _)| *other == key).map(|(_, range)| range);
            pairs.push(self.with(key, Some(range), other));
        }
        pairs.extend(b.map(|(key, range)| self.with(key, None, Some(range))));
        pairs
    }

    fn items(&self, a: &[u8], b: &[u8], a_at: usize, b_at: usize) -> Vec<Pair> {
        let ranges = |bytes, at| values(bytes, at).into_iter().map(|(_, range)| range).collect();
        let (a_items, b_items): (Vec<_>, Vec<_>) = (ranges(a, a_at), ranges(b, b_at));
        let matched = ids(a, &a_items).zip(ids(b, &b_items));
        let matched = matched.and_then(|(a_ids, b_ids)| same_order(&a_ids, &b_ids));
        let others =
            matched.unwrap_or_else(|| (0..a_items.len().min(b_items.len())).map(Some).collect());
        let mut pairs = Vec::new();
        let mut seen = 0;
        let token = |nth: usize| nth.to_string().into_bytes();
        for (nth, range) in a_items.into_iter().enumerate() {
            let Some(&Some(other)) = others.get(nth) else {
                pairs.push(self.with(token(nth), Some(range), None));
                continue;
            };
            let added =
                (seen..other).map(|nth| self.with(token(nth), None, Some(b_items[nth].clone())));
            pairs.extend(added);
            pairs.push(self.with(token(other), Some(range), Some(b_items[other].clone())));
            seen = other + 1;
        }
        let rest = (seen..b_items.len())
            .map(|nth| self.with(token(nth), None, Some(b_items[nth].clone())));
        pairs.extend(rest);
        pairs
    }

    /// The difference between two values that hold nothing, or not the same kind of thing.
    fn change(self, a: &[u8], b: &[u8]) -> Option<Change> {
        let before = self.a.map(|range| &a[range]);
        let after = self.b.map(|range| &b[range]);
        let kind = match (before, after) {
            (Some(before), Some(after)) if same_scalar(before, after) => return None,
            (Some(_), Some(_)) => ChangeKind::Changed,
            (Some(_), None) => ChangeKind::Removed,
            (None, _) => ChangeKind::Added,
        };
        let text = |raw: &[u8]| String::from_utf8_lossy(raw).into_owned();
        let path = pointer_text(&self.path);
        Some(Change { path, kind, before: before.map(text), after: after.map(text) })
    }
}

type Members = Vec<(Vec<u8>, Range<usize>)>;

fn same_scalar(a: &[u8], b: &[u8]) -> bool {
    a == b || (a[0] == b'"' && b[0] == b'"' && unquote(a) == unquote(b))
}

/// The `id` of each item, where each has one that no other has.
fn ids(bytes: &[u8], items: &[Range<usize>]) -> Option<Vec<Vec<u8>>> {
    let mut seen = std::collections::HashSet::new();
    let ids: Option<Vec<_>> = items.iter().map(|item| id(bytes, item)).collect();
    ids.filter(|ids| ids.iter().all(|id| seen.insert(id.clone())))
}

fn id(bytes: &[u8], item: &Range<usize>) -> Option<Vec<u8>> {
    if bytes[item.start] != b'{' {
        return None;
    }
    let members = members(bytes, item.start);
    let (_, value) = members.into_iter().find(|(key, _)| key == b"id")?;
    match bytes[value.start] {
        b'"' => Some(quote(&unquote(&bytes[value]))),
        b'{' | b'[' => None,
        _ => Some(bytes[value].to_vec()),
    }
}

/// For each of `a` its place in `b`, where those that are in both stand in the same order.
fn same_order(a: &[Vec<u8>], b: &[Vec<u8>]) -> Option<Vec<Option<usize>>> {
    let places: HashMap<&Vec<u8>, usize> = b.iter().enumerate().map(|(at, id)| (id, at)).collect();
    let matched: Vec<Option<usize>> = a.iter().map(|id| places.get(id).copied()).collect();
    matched.iter().flatten().is_sorted().then_some(matched)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(a: &str, b: &str) -> Vec<String> {
        let line = |change: Change| {
            let side = |text: Option<String>| text.unwrap_or_default();
            let (kind, before, after) = (change.kind, side(change.before), side(change.after));
            format!("{} {kind:?} {before}>{after}", change.path)
        };
        diff(a.as_bytes(), b.as_bytes()).unwrap().into_iter().map(line).collect()
    }

    #[test]
    fn spelling_does_not_count_but_numbers_do() {
        let a = r#"{"a":1,"b":["ä",{"c":null}],"d":{}}"#;
        let b = " { \"d\":{ }, \"b\" : [\"\\u00e4\", { \"c\":null }],\n\"a\":1 }";
        assert_eq!(lines(a, b), Vec::<String>::new());
        assert_eq!(lines(r#"{"a":1.0}"#, r#"{"a":1}"#), ["/a Changed 1.0>1"]);
    }

    #[test]
    fn keys_and_positions() {
        let a = r#"{"b":{"x":1},"c":[1,2,3],"k/~":true,"z":[]}"#;
        let b = r#"{"a":0,"b":{"x":1,"y":2},"c":[1,5],"k/~":false,"z":{}}"#;
        assert_eq!(
            lines(a, b),
            [
                "/a Added >0",
                "/b/y Added >2",
                "/c/1 Changed 2>5",
                "/c/2 Removed 3>",
                "/k~1~0 Changed true>false",
                "/z Changed []>{}",
            ]
        );
    }

    #[test]
    fn items_with_ids_are_told_by_them() {
        let a = r#"{"m":[{"id":1,"t":"a"},{"id":"1","t":"b"},{"id":3,"t":"c"}]}"#;
        let b = r#"{"m":[{"id":"\u0031","t":"B"},{"id":2},{"t":"c","id":3},{"id":4}]}"#;
        assert_eq!(
            lines(a, b),
            [
                r#"/m/0 Removed {"id":1,"t":"a"}>"#,
                r#"/m/0/t Changed "b">"B""#,
                r#"/m/1 Added >{"id":2}"#,
                r#"/m/3 Added >{"id":4}"#,
            ]
        );
    }

    #[test]
    fn without_ids_of_their_own_items_are_told_by_position() {
        let expected = ["/m/0/id Changed 1>2", "/m/1/id Changed 2>1"];
        assert_eq!(lines(r#"{"m":[{"id":1},{"id":2}]}"#, r#"{"m":[{"id":2},{"id":1}]}"#), expected);
        let twice = lines(r#"{"m":[{"id":1},{"id":1}]}"#, r#"{"m":[{"id":1}]}"#);
        assert_eq!(twice, [r#"/m/1 Removed {"id":1}>"#]);
        let mixed = lines(r#"{"m":[{"id":1},2]}"#, r#"{"m":[2]}"#);
        assert_eq!(mixed, [r#"/m/0 Changed {"id":1}>2"#, "/m/1 Removed 2>"]);
    }

    #[test]
    fn what_is_no_object_is_refused() {
        assert!(diff(b"{}", b"[]").is_err());
        assert!(diff(b"{", b"{}").is_err());
    }
}
