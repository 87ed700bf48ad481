//! Bounds that types do not express, and values that must agree with each other.

use super::{Configuration, Error, Settings};

/// The longest a chunk may be: what the chunking takes for its shortest.
const CHUNK_BYTES_MAX: usize = 1 << 20;

/// A rule about one key: whether the settings break it, and what is allowed.
type Rule = (&'static str, fn(&Settings) -> bool, &'static str);

const RULES: [Rule; 9] = [
    (
        "log.batch_align",
        |it| !(it.log.batch_align.is_power_of_two() && (8..=4096).contains(&it.log.batch_align)),
        "it is a power of two from 8 to 4096",
    ),
    (
        "log.segment_bytes_min",
        |it| it.log.segment_bytes_min < 64 << 10,
        "a segment has at least 65536 bytes",
    ),
    (
        "log.segment_bytes_max",
        |it| it.log.segment_bytes_max < it.log.segment_bytes_min,
        "it is not smaller than log.segment_bytes_min",
    ),
    (
        "log.segment_bytes_max",
        |it| it.log.segment_bytes_max > 1 << 30,
        "a segment has at most 1073741824 bytes",
    ),
    ("state.depth_max", |it| !(1..=120).contains(&it.state.depth_max), "it is from 1 to 120"),
    (
        "state.chunks.min_bytes",
        |it| it.state.chunks.min_bytes < 64 || it.state.chunks.min_bytes % 2 != 0,
        "it is even and at least 64",
    ),
    (
        "state.chunks.avg_bytes",
        |it| {
            let avg = it.state.chunks.avg_bytes;
            !avg.is_power_of_two() || avg < it.state.chunks.min_bytes.max(256)
        },
        "it is a power of two, at least 256 and not smaller than state.chunks.min_bytes",
    ),
    (
        "state.chunks.max_bytes",
        |it| it.state.chunks.max_bytes < it.state.chunks.avg_bytes.max(1024),
        "it is at least 1024 and not smaller than state.chunks.avg_bytes",
    ),
    (
        "state.chunks.max_bytes",
        |it| it.state.chunks.max_bytes > CHUNK_BYTES_MAX || it.state.chunks.max_bytes % 2 != 0,
        "it is even and at most 1048576",
    ),
];

/// Finds the first rule that is broken.
pub(super) fn bounds(found: &Configuration) -> Result<(), Error> {
    match RULES.iter().find(|(_, broken, _)| broken(&found.settings)) {
        None => Ok(()),
        Some((key, _, why)) => Err(Error::Bounds {
            key,
            origin: found.origin(key),
            why: (*why).to_owned(),
        }),
    }
}
