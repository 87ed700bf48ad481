//! Tagged fields: the small binary form of manifests.
//!
//! A field is a tag (u8), a length (LEB128, at most five bytes) and that many bytes; fields stand one
//! after another in any order, each tag at most once. A reader keeps the fields it does not know and
//! writes them out again, so that they survive an older program.

/// Writes fields.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    pub(crate) fn bytes(&mut self, tag: u8, value: &[u8]) {
        self.bytes.push(tag);
        self.len(value.len());
        self.bytes.extend_from_slice(value);
    }

    pub(crate) fn number(&mut self, tag: u8, value: u64) {
        let bytes = value.to_le_bytes();
        let used = bytes.len() - value.leading_zeros() as usize / 8;
        self.bytes(tag, &bytes[..used]);
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.bytes
    }

    fn len(&mut self, mut len: usize) {
        while len >= 0x80 {
            self.bytes.push(u8::try_from(len & 0x7f).unwrap_or(0) | 0x80);
            len >>= 7;
        }
        self.bytes.push(u8::try_from(len).unwrap_or(0));
    }
}

/// Why bytes are not fields, or a field is not what it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    /// A length reaches beyond the end.
    #[error("a field is cut short")]
    Short,
    /// A value has the wrong length or form.
    #[error("field {0} has a wrong form")]
    Form(u8),
    /// A field that must be there is not.
    #[error("field {0} is missing")]
    Missing(u8),
}

/// Splits bytes into fields.
pub(crate) fn read(mut bytes: &[u8]) -> impl Iterator<Item = Result<(u8, &[u8]), FieldError>> {
    std::iter::from_fn(move || {
        let (tag, rest) = bytes.split_first()?;
        let field = read_len(rest).and_then(|(len, rest)| rest.split_at_checked(len));
        let Some((value, rest)) = field else {
            bytes = &[];
            return Some(Err(FieldError::Short));
        };
        bytes = rest;
        Some(Ok((*tag, value)))
    })
}

fn read_len(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut len = 0;
    for (index, byte) in bytes.iter().take(5).enumerate() {
        len |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((len, &bytes[index + 1..]));
        }
    }
    None
}

/// Reads a number of at most eight bytes.
pub(crate) fn number(tag: u8, value: &[u8]) -> Result<u64, FieldError> {
    let mut bytes = [0; 8];
    bytes.get_mut(..value.len()).ok_or(FieldError::Form(tag))?.copy_from_slice(value);
    Ok(u64::from_le_bytes(bytes))
}

/// Reads a value of exactly `N` bytes.
pub(crate) fn array<const N: usize>(tag: u8, value: &[u8]) -> Result<[u8; N], FieldError> {
    value.try_into().map_err(|_| FieldError::Form(tag))
}

/// Reads UTF-8 text.
pub(crate) fn text(tag: u8, value: &[u8]) -> Result<&str, FieldError> {
    std::str::from_utf8(value).map_err(|_| FieldError::Form(tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_back_in_order_with_their_bytes() {
        let mut writer = Writer::default();
        writer.number(1, 0);
        writer.number(2, u64::MAX);
        writer.bytes(3, &[7; 300]);
        let bytes = writer.finish();
        let fields: Vec<_> = read(&bytes).collect::<Result<_, _>>().unwrap();
        assert_eq!(number(1, fields[0].1), Ok(0));
        assert_eq!(number(2, fields[1].1), Ok(u64::MAX));
        assert_eq!(fields[2], (3, &[7; 300][..]));
    }

    #[test]
    fn a_cut_anywhere_is_an_error_or_fewer_fields() {
        let mut writer = Writer::default();
        writer.bytes(1, b"abc");
        writer.bytes(2, b"defg");
        let bytes = writer.finish();
        for cut in 0..bytes.len() {
            let fields: Vec<_> = read(&bytes[..cut]).collect();
            let whole = cut == 0 || cut == 5;
            assert_eq!(fields.iter().all(Result::is_ok), whole, "cut at {cut}");
        }
    }
}
