//! JSON that proves itself: its last member, `check`, is the BLAKE3 of every byte before it.
//!
//! ```text
//! { … ,
//! "check": "blake3:…"}
//! ```

use crate::state::Digest;

const CHECK: &str = ",\n\"check\": \"";
const END: &str = "\"}\n";

/// Closes an object that was begun in `out` and lacks its closing brace.
pub(crate) fn close(out: &mut Vec<u8>) {
    let check = Digest::of(out);
    out.extend_from_slice(format!("{CHECK}{check}{END}").as_bytes());
}

/// The bytes before the check, where they have it.
pub(super) fn proven(bytes: &[u8]) -> Option<&[u8]> {
    let tail = CHECK.len() + "blake3:".len() + 64 + END.len();
    let (body, rest) = bytes.split_at(bytes.len().checked_sub(tail)?);
    let digest = Digest::of(body);
    (rest == format!("{CHECK}{digest}{END}").as_bytes()).then_some(body)
}
