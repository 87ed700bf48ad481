//! Packs: a run of byte strings compressed together.
//!
//! ```text
//! u8      codec: 0 stored, 1 zstd
//! varint  count of byte strings
//! count times:
//!   varint  length of the byte string
//! body    the byte strings one after the other; for codec 1 as one zstd frame that states its
//!         content's length
//! ```
//!
//! Numbers are LEB128 in shortest form. A pack is stored where compressing saves less than a
//! sixteenth. Unpacking allocates nothing that the caller's limit does not cover, and refuses a pack
//! whose lengths do not add up. It does not check that the bytes are those packed: that is for
//! digests to say.

use zstd::zstd_safe::get_frame_content_size;

use super::varint::{self, VarintError};

const STORED: u8 = 0;
const ZSTD: u8 = 1;

/// Why bytes are not a pack.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// Ends too soon.
    #[error("pack is cut short")]
    Short,
    /// Compressed in a way this version does not know.
    #[error("pack codec {0} is not known")]
    Codec(u8),
    /// A length is malformed, or the lengths and the body do not fit each other.
    #[error("pack has lengths that do not add up")]
    Length,
    /// Longer than the caller allows, once unpacked.
    #[error("pack holds more than the {max} bytes allowed")]
    TooLarge {
        /// The caller's limit.
        max: usize,
    },
    /// The body is no zstd frame.
    #[error("pack cannot be decompressed")]
    Decompress(#[source] std::io::Error),
}

impl From<VarintError> for PackError {
    fn from(error: VarintError) -> Self {
        match error {
            VarintError::Short => Self::Short,
            VarintError::Form => Self::Length,
        }
    }
}

/// Packs byte strings, compressing at a zstd `level` (negative levels are faster).
#[must_use]
pub fn pack(items: &[&[u8]], level: i32) -> Vec<u8> {
    let raw = items.concat();
    let body = zstd::bulk::compress(&raw, level).ok();
    // A failure to compress is a failure to save bytes, nothing more.
    let body = body.filter(|body| body.len() + raw.len() / 16 < raw.len());
    let mut out = vec![if body.is_some() { ZSTD } else { STORED }];
    varint::write(&mut out, items.len() as u64);
    for item in items {
        varint::write(&mut out, item.len() as u64);
    }
    out.extend_from_slice(body.as_deref().unwrap_or(&raw));
    out
}

/// Unpacks byte strings of together at most `raw_len_max` bytes.
///
/// # Errors
/// When the bytes are not a pack, or one that holds more.
pub fn unpack(bytes: &[u8], raw_len_max: usize) -> Result<Vec<Vec<u8>>, PackError> {
    let (&codec, rest) = bytes.split_first().ok_or(PackError::Short)?;
    let (lens, body) = read_lens(rest, raw_len_max)?;
    let total = lens.iter().sum();
    let unpacked;
    let raw = match codec {
        STORED => body,
        ZSTD => {
            if !matches!(get_frame_content_size(body), Ok(Some(len)) if len == total as u64) {
                return Err(PackError::Length);
            }
            unpacked = zstd::bulk::decompress(body, total).map_err(PackError::Decompress)?;
            &unpacked
        }
        unknown => return Err(PackError::Codec(unknown)),
    };
    if raw.len() != total {
        return Err(if raw.len() < total { PackError::Short } else { PackError::Length });
    }
    let mut rest = raw;
    let mut take = |len| {
        let (item, after) = rest.split_at(len);
        rest = after;
        item.to_vec()
    };
    Ok(lens.into_iter().map(&mut take).collect())
}

/// The directory, and what follows it.
fn read_lens(bytes: &[u8], raw_len_max: usize) -> Result<(Vec<usize>, &[u8]), PackError> {
    let (count, mut rest) = varint::read(bytes)?;
    let count = usize::try_from(count).map_err(|_| PackError::Short)?;
    // Each length takes a byte at least.
    if count > rest.len() {
        return Err(PackError::Short);
    }
    let mut lens = Vec::with_capacity(count);
    let mut left = raw_len_max;
    for _ in 0..count {
        let (len, after) = varint::read(rest)?;
        let len = usize::try_from(len).ok().filter(|&len| len <= left);
        let len = len.ok_or(PackError::TooLarge { max: raw_len_max })?;
        left -= len;
        lens.push(len);
        rest = after;
    }
    Ok((lens, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn compresses_where_it_pays() {
        let text = "the same words over and over. ".repeat(200);
        let packed = pack(&[text.as_bytes(), b"", text.as_bytes()], 1);
        assert_eq!(packed[0], ZSTD);
        assert!(packed.len() < text.len() / 10, "{} bytes", packed.len());
        assert_eq!(
            unpack(&packed, 2 * text.len()).unwrap(),
            [text.as_bytes(), b"", text.as_bytes()]
        );
        let noise = blake3::hash(b"noise");
        assert_eq!(pack(&[noise.as_bytes()], 1)[0], STORED);
        assert!(unpack(&pack(&[], 1), 0).unwrap().is_empty());
    }

    #[test]
    fn lies_are_refused() {
        let text = vec![b'a'; 10_000];
        let packed = pack(&[&text], 1);
        assert!(matches!(unpack(&packed, 9_999), Err(PackError::TooLarge { max: 9_999 })));
        for len in 0..packed.len() {
            assert!(unpack(&packed[..len], 10_000).is_err(), "cut to {len} bytes");
        }
        let trailing = [&packed[..], b"x"].concat();
        assert!(unpack(&trailing, 10_000).is_err());
        let mut shorter = packed.clone();
        shorter[2] -= 1;
        assert!(matches!(unpack(&shorter, 10_000), Err(PackError::Length)));
        assert!(matches!(unpack(&[7, 0], 0), Err(PackError::Codec(7))));
        assert!(matches!(unpack(&[STORED, 0, b'x'], 9), Err(PackError::Length)));
        let many = [&[STORED][..], &[0xff; 9], &[0x01]].concat();
        assert!(matches!(unpack(&many, usize::MAX), Err(PackError::Short)));
    }

    proptest! {
        #[test]
        fn comes_back(items in prop::collection::vec(prop::collection::vec(0..4u8, 0..300), 0..20), level in -5..4i32) {
            let refs: Vec<&[u8]> = items.iter().map(Vec::as_slice).collect();
            let total = refs.concat().len();
            prop_assert_eq!(unpack(&pack(&refs, level), total).unwrap(), items);
        }

        #[test]
        fn damage_never_panics(at in any::<prop::sample::Index>(), byte: u8, noise: Vec<u8>) {
            let mut packed = pack(&[&[b'a'; 3000], &[b'b'; 70]], 1);
            let at = at.index(packed.len());
            packed[at] = byte;
            for bytes in [packed, noise] {
                if let Ok(items) = unpack(&bytes, 5000) {
                    prop_assert!(items.concat().len() <= 5000);
                }
            }
        }
    }
}
