//! Things that come back: how many in a row were there before.
//!
//! The last so many different things are remembered by their print. A thing that is not among them
//! is news and ends the row; so a loop of any period up to the memory's length is one long row, and
//! work that brings something new every other time never gets beyond a row of two.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// Remembers prints, with the observation at which each came last.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Recurrence {
    known: VecDeque<(u64, u64)>,
    /// How many in a row were there before.
    pub row: u64,
    /// When the first in the row had come before: where the loop began.
    pub began: u64,
}

impl Recurrence {
    /// Takes a thing; when it came before, where it is remembered.
    pub fn see(&mut self, print: u64, number: u64, memory: usize) -> Option<u64> {
        let before = self.known.iter().rposition(|(known, _)| *known == print);
        let before = before.and_then(|at| self.known.remove(at)).map(|(_, when)| when);
        while self.known.len() >= memory.max(1) {
            self.known.pop_front();
        }
        self.known.push_back((print, number));
        match before {
            None => self.row = 0,
            Some(when) => {
                if self.row == 0 {
                    self.began = when;
                }
                self.row += 1;
            }
        }
        before
    }

    /// The observation of the oldest that is remembered.
    pub fn oldest(&self) -> Option<u64> {
        self.known.iter().map(|(_, number)| *number).min()
    }
}

/// A print of texts, equal for equal texts: FNV-1a with 64 bits (Fowler, Noll, Vo), each text ended
/// by a byte that is in no UTF-8.
pub(crate) fn print<'a>(texts: impl IntoIterator<Item = &'a str>) -> u64 {
    print_on(0xcbf2_9ce4_8422_2325, texts)
}

/// The print of texts that others went before, whose print is known.
pub(crate) fn print_on<'a>(mut print: u64, texts: impl IntoIterator<Item = &'a str>) -> u64 {
    for text in texts {
        for byte in text.bytes().chain([0xff]) {
            print = (print ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    print
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_of_any_period_is_one_row() {
        let mut seen = Recurrence::default();
        let stream = (0..10).chain([100, 101, 102].into_iter().cycle().take(12));
        for (number, thing) in (1..).zip(stream) {
            seen.see(thing, number, 64);
        }
        assert_eq!((seen.row, seen.began), (9, 11), "the loop began with its first period");
    }

    #[test]
    fn news_ends_the_row_and_old_things_are_forgotten() {
        let mut seen = Recurrence::default();
        for (number, thing) in (1..).zip([1, 2, 1, 3, 1]) {
            seen.see(thing, number, 2);
        }
        assert_eq!((seen.row, seen.began), (1, 3));
        assert_eq!(seen.see(2, 6, 2), None, "2 was pushed out");
        assert_eq!(seen.oldest(), Some(5));
    }

    #[test]
    fn prints_tell_texts_apart_by_their_borders() {
        // The published test vector of FNV-1a for "a" is af63dc4c8601ec8c; one more byte follows here.
        let expected = (0xaf63_dc4c_8601_ec8c_u64 ^ 0xff).wrapping_mul(0x0000_0100_0000_01b3);
        assert_eq!(print(["a"]), expected);
        assert_ne!(print(["ab", "c"]), print(["a", "bc"]));
        assert_eq!(print_on(print(["ab"]), ["c"]), print(["ab", "c"]));
    }
}
