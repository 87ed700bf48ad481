//! Unsigned numbers in as few bytes as they need: LEB128, seven bits to a byte, the lowest first,
//! the high bit set on all bytes but the last; in its shortest form only, and within 64 bits.

/// Why bytes do not begin with a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum VarintError {
    /// They end first.
    Short,
    /// It is longer than it needs to be, or beyond 64 bits.
    Form,
}

pub(super) fn write(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push((value & 0x7f) as u8);
}

/// The number at the front, and what follows it.
pub(super) fn read(bytes: &[u8]) -> Result<(u64, &[u8]), VarintError> {
    let mut value = 0;
    for (at, &byte) in bytes.iter().enumerate().take(10) {
        if at == 9 && byte > 1 {
            return Err(VarintError::Form);
        }
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte < 0x80 {
            let shortest = byte != 0 || at == 0;
            return if shortest { Ok((value, &bytes[at + 1..])) } else { Err(VarintError::Form) };
        }
    }
    Err(VarintError::Short)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_one_form() {
        for value in [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX >> 1, u64::MAX] {
            let mut bytes = Vec::new();
            write(&mut bytes, value);
            assert_eq!(read(&[&bytes[..], b"x"].concat()), Ok((value, &b"x"[..])));
            for len in 0..bytes.len() {
                assert_eq!(read(&bytes[..len]), Err(VarintError::Short));
            }
        }
        assert_eq!(read(&[0x81, 0x00]), Err(VarintError::Form));
        let beyond = [&[0xff; 9][..], &[0x02]].concat();
        assert_eq!(read(&beyond), Err(VarintError::Form));
    }
}
