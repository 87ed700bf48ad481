//! States as agents have them: JSON with a conversation in natural words.
//!
//! Texts are drawn from [`WORDS`], 200 frequent English words, common ones more often (the rank is
//! the smaller of two draws), as sentences with capitals and full stops. `zstd -1` shrinks a
//! megabyte of it to about 40 %, which is what it does to English prose. Numbers and ids differ in
//! every state. Everything follows from the seed.

use std::fmt::Write;

const WORDS: &str = "the of to and a in is it you that he was for on are with as I his they be at \
    one have this from or had by hot but some what there we can out other were all your when up use \
    word how said an each she which do their time if will way about many then them would write like \
    so these her long make thing see him two has look more day could go come did my sound no most \
    number who over know water than call first people may down side been now find any new work part \
    take get place made live where after back little only round man year came show every good me \
    give our under name very through just form much great think say help low line before turn cause \
    same mean differ move right boy old too does tell sentence set three want air well also play \
    small end put home read hand port large spell add even land here must big high such follow act \
    why ask men change went light kind off need house picture try us again animal point mother world \
    near build self earth father function request error response context model checkpoint";

/// Draws numbers; the same seed draws the same ones.
#[derive(Debug, Clone)]
pub struct Draw(u64);

impl Draw {
    pub fn seeded(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// xorshift64*, Vigna 2016.
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() >> 33).expect("31 bits fit") % end
    }
}

/// Makes conversations.
#[derive(Debug, Clone)]
pub struct Chat {
    draw: Draw,
    words: Vec<&'static str>,
}

impl Chat {
    pub fn seeded(seed: u64) -> Self {
        Self { draw: Draw::seeded(seed), words: WORDS.split_whitespace().collect() }
    }

    /// One word, a common one more often.
    pub fn word(&mut self) -> &'static str {
        let rank = self.draw.below(self.words.len()).min(self.draw.below(self.words.len()));
        self.words[rank]
    }

    /// Sentences of exactly `bytes` bytes; nothing in them needs escaping.
    pub fn text(&mut self, bytes: usize) -> String {
        let mut text = String::with_capacity(bytes + 16);
        let mut begins = true;
        while text.len() < bytes {
            let word = self.word();
            if begins {
                text.extend(word.chars().next().map(|letter| letter.to_ascii_uppercase()));
                text.push_str(&word[1..]);
            } else {
                text.push_str(word);
            }
            begins = self.draw.below(12) == 0;
            text.push_str(if begins { ". " } else { " " });
        }
        text.truncate(bytes);
        text
    }

    /// One message of exactly `bytes` bytes of JSON, or a little more than 130 where that is less.
    pub fn message(&mut self, bytes: usize) -> String {
        let role = if self.draw.below(2) == 0 { "user" } else { "assistant" };
        let id = self.draw.next();
        let tokens = 20 + self.draw.below(400);
        let head =
            format!(r#"{{"id":"msg_{id:016x}","role":"{role}","tokens":{tokens},"content":""#);
        let text = self.text(bytes.saturating_sub(head.len() + 2).max(8));
        format!("{head}{text}\"}}")
    }

    /// A whole state of exactly `bytes` bytes, 600 at least.
    pub fn state(&mut self, bytes: usize) -> Vec<u8> {
        let mut state = self.head();
        // The last message takes what is left.
        while state.len() + 1000 < bytes {
            let length = 300 + self.draw.below(400);
            state.push_str(&self.message(length));
            state.push(',');
        }
        state.push_str(&self.message(bytes - state.len() - 2));
        state.push_str("]}");
        state.into_bytes()
    }

    /// States of `bytes` bytes, each different from all before.
    pub fn states(&mut self, count: usize, bytes: usize) -> Vec<Vec<u8>> {
        (0..count).map(|_| self.state(bytes)).collect()
    }

    fn head(&mut self) -> String {
        let mut head = String::with_capacity(1 << 10);
        let (session, step) = (self.draw.next(), self.draw.below(100_000));
        write!(
            head,
            r#"{{"session":"{session:016x}","step":{step},"cost_usd":{}.{:04},"#,
            step / 90,
            step % 9999
        )
        .expect("writing to a String cannot fail");
        let goal = self.text(80);
        write!(head, r#""goal":"{goal}","plan":["#).expect("writing to a String cannot fail");
        for at in 0..3 {
            let (comma, task) = (if at == 0 { "" } else { "," }, self.text(30));
            write!(head, r#"{comma}{{"task":"{task}","done":{}}}"#, self.draw.below(2) == 0)
                .expect("writing to a String cannot fail");
        }
        head.push_str(r#"],"messages":["#);
        head
    }
}
