//! What a command prints, counted: its lines, and those among them that had been printed before.
//!
//! A line is known by a print of its bytes, without a time that it begins with and without blanks at
//! its borders; so a log line that says the same a second later is the same. Lines of nothing but
//! blanks do not count. What is remembered is a table of prints in which a new one takes the place of
//! an older one: the memory is bounded, and a line that is forgotten counts as news.

/// Prints that are remembered; a loop of more different lines is not seen as one.
const REMEMBERED: usize = 2048;

/// A time at the beginning of a line is looked for in so many bytes.
const HEAD: usize = 48;

/// A time has at least so many digits.
const DIGITS_MIN: usize = 4;

/// One stream of bytes, taken apart into lines.
#[derive(Debug)]
pub(crate) struct Lines {
    known: Box<[u64]>,
    /// The beginning of the line that is being printed.
    head: Vec<u8>,
    print: Print,
    /// The line is longer than its head.
    beyond: bool,
    count: Count,
}

/// Lines since they were last asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Count {
    pub lines: u64,
    pub repeated: u64,
}

impl Count {
    pub(crate) fn and(self, other: Self) -> Self {
        Self { lines: self.lines + other.lines, repeated: self.repeated + other.repeated }
    }
}

/// FNV-1a with 64 bits (Fowler, Noll, Vo) over what is not blank at the borders.
#[derive(Debug, Clone, Copy)]
struct Print {
    value: u64,
    /// Blanks that count if something follows them.
    blanks: u32,
    empty: bool,
}

impl Default for Lines {
    fn default() -> Self {
        Self {
            known: vec![0; REMEMBERED].into(),
            head: Vec::with_capacity(HEAD),
            print: Print::NOTHING,
            beyond: false,
            count: Count::default(),
        }
    }
}

impl Lines {
    /// Takes the bytes that were printed next.
    pub(crate) fn take(&mut self, mut bytes: &[u8]) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.go_on(&bytes[..end]);
            self.end_line();
            bytes = &bytes[end + 1..];
        }
        self.go_on(bytes);
    }

    /// Lines since this was last asked.
    pub(crate) fn count(&mut self) -> Count {
        std::mem::take(&mut self.count)
    }

    fn go_on(&mut self, bytes: &[u8]) {
        if self.beyond {
            self.print.add(bytes);
            return;
        }
        let room = HEAD - self.head.len();
        let (head, rest) = bytes.split_at(room.min(bytes.len()));
        self.head.extend_from_slice(head);
        if !rest.is_empty() {
            self.print.add(without_time(&self.head));
            self.print.add(rest);
            self.beyond = true;
        }
    }

    fn end_line(&mut self) {
        if !self.beyond {
            self.print.add(without_time(&self.head));
        }
        let blank = self.print.empty && self.head.iter().all(u8::is_ascii_whitespace);
        if !blank {
            self.count.lines += 1;
            self.count.repeated += u64::from(self.remember(self.print.value));
        }
        self.head.clear();
        (self.print, self.beyond) = (Print::NOTHING, false);
    }

    /// Remembers a print; whether it was known.
    fn remember(&mut self, print: u64) -> bool {
        let slot = usize::try_from(print % REMEMBERED as u64).expect("it is less than a usize");
        std::mem::replace(&mut self.known[slot], print) == print
    }
}

impl Print {
    const NOTHING: Self = Self { value: 0xcbf2_9ce4_8422_2325, blanks: 0, empty: true };

    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if byte.is_ascii_whitespace() {
                self.blanks += u32::from(!self.empty);
                continue;
            }
            // Between words one blank is as good as many.
            if std::mem::take(&mut self.blanks) > 0 {
                self.mix(b' ');
            }
            self.mix(*byte);
            self.empty = false;
        }
    }

    fn mix(&mut self, byte: u8) {
        self.value = (self.value ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
}

/// A line without the date and time that it begins with; as it is where it begins with none.
fn without_time(line: &[u8]) -> &[u8] {
    let of_a_time = |byte: &u8| byte.is_ascii_digit() || b" -:/.,+TZ[]()".contains(byte);
    let end = line.iter().position(|byte| !of_a_time(byte)).unwrap_or(line.len());
    let (time, rest) = line.split_at(end);
    let digits = time.iter().filter(|byte| byte.is_ascii_digit()).count();
    if digits >= DIGITS_MIN && time.contains(&b':') { rest } else { line }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(text: &str) -> (u64, u64) {
        let mut lines = Lines::default();
        lines.take(text.as_bytes());
        let Count { lines, repeated } = lines.count();
        (lines, repeated)
    }

    #[test]
    fn lines_that_were_printed_before_are_told() {
        assert_eq!(counted("a\nb\na\nc\na\n"), (5, 2));
        assert_eq!(counted("a\n\n   \n\t\n"), (1, 0), "blank lines do not count");
        assert_eq!(counted("no end"), (0, 0), "a line counts when it ends");
        assert_eq!(counted("a  b\r\n a b\n"), (2, 1));
    }

    #[test]
    fn the_count_does_not_depend_on_how_the_bytes_come() {
        let long = "x".repeat(3 * HEAD);
        let text = format!("one\n{long}\ntwo\n{long}\n{long}y\none\n");
        for step in [1, 2, 3, 7, HEAD, HEAD + 1, 1000] {
            let mut lines = Lines::default();
            text.as_bytes().chunks(step).for_each(|bytes| lines.take(bytes));
            assert_eq!(lines.count(), Count { lines: 6, repeated: 2 }, "in pieces of {step}");
            assert_eq!(lines.count(), Count::default());
        }
    }

    #[test]
    fn a_time_at_the_beginning_is_no_part_of_a_line() {
        assert_eq!(counted("2026-11-29T10:00:01Z retry\n2026-11-29T10:00:02.5Z retry\n"), (2, 1));
        assert_eq!(counted("[10:00:01] retry\n[10:00:02] retry\n"), (2, 1));
        assert_eq!(counted("2026/11/29 10:00:01 a\n2026/11/29 10:00:01 b\n"), (2, 0));
        assert_eq!(counted("1234 files\n1235 files\n"), (2, 0), "a number is no time");
        assert_eq!(counted("12:30:01\n12:30:02\n"), (2, 1), "a clock says nothing new");
    }

    #[test]
    fn more_lines_than_are_remembered_are_news_again() {
        let mut lines = Lines::default();
        for n in 0..1_000_000 {
            lines.take(format!("line {n}\n").as_bytes());
        }
        assert_eq!(lines.count(), Count { lines: 1_000_000, repeated: 0 });
    }
}
