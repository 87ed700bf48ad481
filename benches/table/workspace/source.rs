//! Bytes such as source files have, and such as large binary files have.
//!
//! Source is lines of a made-up language: each file has names of its own, two frequent English words
//! joined, and uses them again and again; numbers and comments differ. `zstd -1` shrinks a tree of
//! it to about a quarter, which is what it does to the sources of Linux. A binary file is two thirds
//! noise and one third source, in pieces of 64 KiB. All of it follows from the seed.

use std::io::Write;

use crate::chat::{Chat, Draw};

/// Names that one file uses.
const NAMES: usize = 64;

/// The lines of the language: `@` is a name, `#` a number, `~` a comment's words.
const LINES: [&str; 12] = [
    "}",
    "if @.@() > # {",
    "for @ in @.@(#) {",
    "// ~",
    "return @;",
    "@.@ = @;",
    "let @ = @.@(@, #);",
    "let @ = @(@)?;",
    "@.@(@, @);",
    "assert(@ == #, \"~\");",
    "@.push(@ { @: @.@, @: # });",
    "",
];

const DEPTH_MAX: usize = 5;

/// Writes one file.
pub struct Source {
    draw: Draw,
    chat: Chat,
    names: Vec<String>,
    depth: usize,
}

impl Source {
    pub fn seeded(seed: u64) -> Self {
        let mut draw = Draw::seeded(seed);
        let mut chat = Chat::seeded(draw.next());
        let names = (0..NAMES).map(|_| format!("{}_{}", chat.word(), chat.word())).collect();
        Self { draw, chat, names, depth: 0 }
    }

    /// So many bytes of source; the last line may be cut.
    pub fn text(&mut self, bytes: usize) -> Vec<u8> {
        let mut text = Vec::with_capacity(bytes + 512);
        while text.len() < bytes {
            self.line(&mut text);
        }
        text.truncate(bytes);
        text
    }

    /// So many bytes of noise, a multiple of eight.
    pub fn noise(&mut self, bytes: usize) -> Vec<u8> {
        (0..bytes / 8).flat_map(|_| self.draw.next().to_le_bytes()).collect()
    }

    /// One line more.
    pub fn line(&mut self, text: &mut Vec<u8>) {
        let line = LINES[self.draw.below(LINES.len())];
        if line == "}" {
            self.depth = self.depth.saturating_sub(1);
        }
        text.extend(std::iter::repeat_n(b' ', self.depth * 4));
        for letter in line.bytes() {
            match letter {
                b'@' => {
                    // Common names more often: the rank is the smaller of two draws.
                    let rank = self.draw.below(NAMES).min(self.draw.below(NAMES));
                    text.extend_from_slice(self.names[rank].as_bytes());
                }
                b'#' => {
                    write!(text, "{}", self.draw.below(1000)).expect("a Vec takes all bytes");
                }
                b'~' => text.extend_from_slice(self.chat.text(40).as_bytes()),
                plain => text.push(plain),
            }
        }
        text.push(b'\n');
        if line.ends_with('{') {
            self.depth = (self.depth + 1).min(DEPTH_MAX);
        }
    }
}
