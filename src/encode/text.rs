//! Strings and numbers of JSON, told by what they mean rather than by how they are written.
//!
//! Strings are held as bytes: UTF-8, in which an escaped lone surrogate stands as the three bytes it
//! would have (WTF-8), so that every JSON string has exactly one form here. The functions take sound
//! JSON.

use std::borrow::Cow;

/// What a string in quotes means.
pub(super) fn unquote(raw: &[u8]) -> Cow<'_, [u8]> {
    let inner = &raw[1..raw.len() - 1];
    if !inner.contains(&b'\\') {
        return Cow::Borrowed(inner);
    }
    let mut out = Vec::with_capacity(inner.len());
    let mut rest = inner;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte == b'\\' {
            rest = unescape(after, &mut out);
        } else {
            out.push(byte);
        }
    }
    Cow::Owned(out)
}

/// Appends what the escape after a backslash means; answers what follows it.
fn unescape<'a>(rest: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
    let Some((&letter, after)) = rest.split_first() else { return rest };
    match letter {
        b'b' => out.push(8),
        b'f' => out.push(12),
        b'n' => out.push(b'\n'),
        b'r' => out.push(b'\r'),
        b't' => out.push(b'\t'),
        b'u' => return unescape_unit(after, out),
        itself => out.push(itself),
    }
    after
}

fn unescape_unit<'a>(rest: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
    let (unit, after) = hex_unit(rest);
    if let (0xd800..=0xdbff, [b'\\', b'u', low @ ..]) = (unit, after) {
        let (second, behind) = hex_unit(low);
        if let 0xdc00..=0xdfff = second {
            push_code_point(0x10000 + ((unit - 0xd800) << 10) + (second - 0xdc00), out);
            return behind;
        }
    }
    push_code_point(unit, out);
    after
}

fn hex_unit(bytes: &[u8]) -> (u32, &[u8]) {
    let (digits, after) = bytes.split_at(bytes.len().min(4));
    let value = |digit: &u8| char::from(*digit).to_digit(16).unwrap_or(0);
    (digits.iter().fold(0, |unit, digit| unit * 16 + value(digit)), after)
}

fn push_code_point(code: u32, out: &mut Vec<u8>) {
    if let Some(character) = char::from_u32(code) {
        out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    } else {
        let continuation = |shift: u32| 0x80 | ((code >> shift) & 0x3f) as u8;
        out.extend([0xe0 | ((code >> 12) & 0x0f) as u8, continuation(6), continuation(0)]);
    }
}

/// Writes a meaning as a JSON string in quotes.
pub(super) fn quote(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 2);
    out.push(b'"');
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match (byte, after) {
            (b'"' | b'\\', _) => out.extend([b'\\', byte]),
            (0..=0x1f, _) => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            (0xed, [second @ 0xa0..=0xbf, third, behind @ ..]) => {
                let unit = 0xd000 | u32::from(second & 0x3f) << 6 | u32::from(third & 0x3f);
                out.extend_from_slice(format!("\\u{unit:04x}").as_bytes());
                rest = behind;
            }
            _ => out.push(byte),
        }
    }
    out.push(b'"');
    out
}

/// Whether two numbers are the same number, to the last digit.
pub(super) fn same_number(a: &[u8], b: &[u8]) -> bool {
    a == b || Decimal::of(a).is_some_and(|a| Some(a) == Decimal::of(b))
}

/// A number as `digits` × 10^`exponent`, with no zero at either end of the digits; zero has none.
#[derive(PartialEq, Eq)]
struct Decimal {
    negative: bool,
    digits: Vec<u8>,
    exponent: i64,
}

impl Decimal {
    /// `None` where the exponent is beyond all reason.
    fn of(raw: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(raw).ok()?;
        let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let negative = whole.starts_with('-');
        let digits = [whole.trim_start_matches('-'), fraction].concat();
        let kept = digits.trim_end_matches('0');
        let dropped = i64::try_from(digits.len() - kept.len()).ok()?;
        let places = i64::try_from(fraction.len()).ok()?;
        let exponent: i64 = exponent.parse().ok()?;
        let exponent = exponent.checked_add(dropped)?.checked_sub(places)?;
        let digits = kept.trim_start_matches('0').as_bytes().to_vec();
        if digits.is_empty() {
            return Some(Self { negative: false, digits, exponent: 0 });
        }
        Some(Self { negative, digits, exponent })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn strings_have_one_meaning() {
        for (raw, meaning) in [
            (r#""a\/b\n\"\\""#, "a/b\n\"\\".as_bytes()),
            (r#""\u00e4\u20ac""#, "ä€".as_bytes()),
            (r#""\ud83d\ude00""#, "😀".as_bytes()),
            (r#""\ud83d\u0041""#, b"\xed\xa0\xbdA"),
            (r#""\ude00\ud83d""#, b"\xed\xb8\x80\xed\xa0\xbd"),
        ] {
            assert_eq!(unquote(raw.as_bytes()), meaning, "{raw}");
            assert_eq!(unquote(&quote(meaning)), meaning, "{raw}");
        }
        assert_eq!(quote(b"\xed\xa0\xbd\x01"), br#""\ud83d\u0001""#);
    }

    #[test]
    fn numbers_are_told_to_the_last_digit() {
        for (a, b, same) in [
            ("1", "1.0", true),
            ("100", "1e2", true),
            ("-0.0", "0", true),
            ("0.0120", "12E-3", true),
            ("-1", "1", false),
            ("9007199254740993", "9007199254740992", false),
            ("1e400", "1e401", false),
            ("1e99999999999999999999", "1e99999999999999999999", true),
            ("1e99999999999999999999", "2e99999999999999999999", false),
        ] {
            assert_eq!(same_number(a.as_bytes(), b.as_bytes()), same, "{a} and {b}");
        }
    }

    proptest! {
        #[test]
        fn quoting_is_what_serde_json_reads(text in any::<String>()) {
            let raw = quote(text.as_bytes());
            prop_assert_eq!(serde_json::from_slice::<String>(&raw).unwrap(), text.clone());
            let theirs = serde_json::to_string(&text).unwrap();
            prop_assert_eq!(unquote(theirs.as_bytes()), text.as_bytes());
        }
    }
}
