//! Tokens: who may come over TCP, and which agent a token was made for.
//!
//! A token is 256 random bits in hexadecimal. Only its hash is kept; a token that is shown is hashed
//! and compared with every known one in constant time, so that how long it takes tells nothing.

use std::fmt;
use std::sync::Arc;

use parking_lot::RwLock;
use subtle::ConstantTimeEq;
use uuid::Uuid;

use super::caller::Caller;
use crate::state::AgentId;

/// The letters of a token.
const LETTERS: usize = 64;
/// Fewer letters than these hold no 256 bits.
const LETTERS_MIN: usize = 43;

/// A token. It does not show itself: not in logs, not in errors.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

impl Token {
    /// A new one.
    pub(crate) fn random() -> Self {
        // 122 random bits each: three hold more than are kept of them.
        let bits = [Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4()].map(Uuid::into_bytes);
        let hash = blake3::hash(&bits.concat());
        Self(hash.to_hex()[..LETTERS].to_owned())
    }

    /// The token that a text is; what is wrong with it where it is none.
    ///
    /// # Errors
    /// In words, without the text.
    pub(crate) fn of(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.len() < LETTERS_MIN {
            return Err(format!(
                "it holds {} letters, and 256 bits take {LETTERS} hexadecimal ones",
                text.len()
            ));
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("it holds letters that no header carries".to_owned());
        }
        Ok(Self(text.to_owned()))
    }

    /// The letters, for whoever has to be given them.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

/// The hash of a token, and who comes with it.
#[derive(Debug)]
struct Known {
    hash: [u8; 32],
    caller: Caller,
}

/// The tokens that are taken. Cheap to clone; clones share everything.
#[derive(Debug, Clone, Default)]
pub struct Tokens {
    known: Arc<RwLock<Vec<Known>>>,
}

impl Tokens {
    /// Takes a token as the owner's.
    #[cfg(feature = "cli")]
    pub(crate) fn accept(&self, token: &Token) {
        self.know(token, Caller::Owner);
    }

    /// Makes a token with which one agent may create, read and observe, and restore its own: what
    /// `run` gives to a command.
    #[must_use]
    pub fn mint(&self, agent: &AgentId) -> Token {
        let token = Token::random();
        self.know(&token, Caller::Agent(agent.clone()));
        token
    }

    /// Takes a token no more.
    pub fn revoke(&self, token: &Token) {
        let hash = hash(token.reveal());
        self.known.write().retain(|known| known.hash != hash);
    }

    /// Takes a token as an agent's that was made elsewhere: a `run` that changes its sidecar brings
    /// its agent's along.
    #[cfg(feature = "cli")]
    pub(crate) fn accept_for(&self, token: &Token, agent: &AgentId) {
        self.know(token, Caller::Agent(agent.clone()));
    }

    fn know(&self, token: &Token, caller: Caller) {
        self.known.write().push(Known { hash: hash(token.reveal()), caller });
    }

    /// Who comes with this text for a token.
    pub(super) fn find(&self, shown: &str) -> Option<Caller> {
        let hash = hash(shown);
        let mut found = None;
        // Every one is compared, also behind the one that fits.
        for known in &*self.known.read() {
            if bool::from(known.hash.ct_eq(&hash)) {
                found = Some(known.caller.clone());
            }
        }
        found
    }
}

fn hash(text: &str) -> [u8; 32] {
    *blake3::hash(text.as_bytes()).as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_known_until_it_is_revoked_and_nothing_else_is() {
        let tokens = Tokens::default();
        let owner = Token::random();
        tokens.accept(&owner);
        let agent = AgentId::new("a").unwrap();
        let minted = tokens.mint(&agent);
        assert_eq!(tokens.find(owner.reveal()), Some(Caller::Owner));
        assert_eq!(tokens.find(minted.reveal()), Some(Caller::Agent(agent)));
        for wrong in ["", &owner.reveal()[1..], &minted.reveal().to_uppercase()] {
            assert_eq!(tokens.find(wrong), None);
        }
        tokens.revoke(&minted);
        assert_eq!(tokens.find(minted.reveal()), None);
        assert_ne!(Token::random(), Token::random());
    }

    #[test]
    fn a_token_does_not_show_itself() {
        let token = Token::random();
        assert!(!format!("{token:?}").contains(token.reveal()));
        let error = Token::of("secret").unwrap_err();
        assert!(!error.contains("secret"), "{error}");
        assert!(Token::of(&"é".repeat(40)).is_err());
        assert_eq!(Token::of(&format!("{}\n", token.reveal())), Ok(token));
    }
}
