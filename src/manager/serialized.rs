//! A state on its way through serde: what comes out is JSON, so only its shape is checked.
//!
//! The nesting is counted as it is written. Where a value brings JSON of its own (a `RawValue`), the
//! count says nothing of it, and the bytes are checked like any others.

use std::io;

use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter, Serializer};

/// A state as bytes.
pub(super) struct Serialized {
    pub bytes: Vec<u8>,
    /// It is one JSON object within the limit of nesting.
    pub checked: bool,
}

/// Serializes a state. What is too deep or no object is left for the check to refuse, which names
/// the position.
pub(super) fn serialize<T: Serialize + ?Sized>(
    state: &T,
    depth_max: usize,
) -> serde_json::Result<Serialized> {
    let mut bytes = Vec::with_capacity(1024);
    let mut shape = Shape::default();
    state.serialize(&mut Serializer::with_formatter(&mut bytes, &mut shape))?;
    let checked = bytes.first() == Some(&b'{') && shape.deepest <= depth_max && !shape.raw;
    Ok(Serialized { bytes, checked })
}

/// Writes compactly and watches the shape.
#[derive(Default)]
struct Shape {
    depth: usize,
    deepest: usize,
    raw: bool,
}

impl Shape {
    fn enter(&mut self) {
        self.depth += 1;
        self.deepest = self.deepest.max(self.depth);
    }
}

impl Formatter for &mut Shape {
    fn begin_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.enter();
        CompactFormatter.begin_array(writer)
    }

    fn end_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth -= 1;
        CompactFormatter.end_array(writer)
    }

    fn begin_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.enter();
        CompactFormatter.begin_object(writer)
    }

    fn end_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth -= 1;
        CompactFormatter.end_object(writer)
    }

    fn write_raw_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        self.raw = true;
        CompactFormatter.write_raw_fragment(writer, fragment)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use serde_json::value::RawValue;

    use super::*;

    fn checked(state: &impl Serialize) -> bool {
        serialize(state, 3).unwrap().checked
    }

    #[test]
    fn the_bytes_are_those_of_serde_json() {
        let state = json!({"a": [1, {"b": "\u{1f600}\n"}], "c": null, "d": 1.5e300});
        assert_eq!(serialize(&state, 9).unwrap().bytes, serde_json::to_vec(&state).unwrap());
    }

    #[test]
    fn only_an_object_within_the_limit_needs_no_second_look() {
        assert!(checked(&json!({"a": [[1]], "b": {"c": {}}})));
        assert!(!checked(&json!({"a": [[[1]]]})));
        assert!(!checked(&json!([1])));
        let raw = RawValue::from_string("[[[[1]]]]".to_owned()).unwrap();
        assert!(!checked(&std::collections::BTreeMap::from([("a", raw)])));
    }
}
