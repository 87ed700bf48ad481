//! The reference model of an agent's life: a map from numbers to states.

use std::collections::BTreeMap;

use stateward::Standing;
use stateward::state::{Digest, Kind};

use crate::history::{self, Held, Shelf, state};

pub const NAMES: [&str; 3] = ["a", "team/b", "agent-1"];

/// What is done. An agent is an index into [`NAMES`]; a checkpoint is counted from the newest.
#[derive(Debug, Clone)]
pub enum Act {
    Commit(usize, Kind, usize),
    Patch(usize),
    Restore(usize, usize),
    Undo(usize),
    Reset(usize),
    Forget(usize, usize),
    Begin(usize),
    Close(usize, bool),
    Settle,
    MakeReady,
    Prune,
    Reopen,
}

impl Act {
    pub fn agent(&self) -> Option<usize> {
        match *self {
            Self::Commit(name, ..)
            | Self::Patch(name)
            | Self::Restore(name, _)
            | Self::Undo(name)
            | Self::Reset(name)
            | Self::Forget(name, _)
            | Self::Begin(name)
            | Self::Close(name, _) => Some(name),
            Self::Settle | Self::MakeReady | Self::Prune | Self::Reopen => None,
        }
    }
}

#[derive(Debug, Clone)]
pub struct Kept {
    kind: Kind,
    bytes: Vec<u8>,
    /// The number of the recovery checkpoint of a finished restore, and what it took back.
    restored: Option<(Option<u64>, Option<u64>)>,
    operation: Option<Standing>,
}

#[derive(Debug, Clone, Default)]
pub struct Life {
    kept: BTreeMap<u64, Kept>,
    last: u64,
    /// Numbers up to here came before a fresh start.
    reset: u64,
    undone: Vec<u64>,
}

pub type Model = BTreeMap<&'static str, Life>;

impl Life {
    pub fn add(&mut self, kind: Kind, bytes: Vec<u8>) -> &mut Kept {
        self.last += 1;
        let kept = Kept { kind, bytes, restored: None, operation: None };
        self.kept.entry(self.last).or_insert(kept)
    }

    fn since_reset(&self) -> impl Iterator<Item = (u64, &Kept)> {
        self.kept.range(self.reset + 1..).rev().map(|(seq, kept)| (*seq, kept))
    }

    fn latest(&self) -> Option<&Kept> {
        self.since_reset().map(|(_, kept)| kept).find(|kept| kept.kind != Kind::Recovery)
    }

    pub fn nth(&self, back: usize) -> Option<u64> {
        let numbers: Vec<u64> = self.kept.keys().rev().copied().collect();
        (!numbers.is_empty()).then(|| numbers[back % numbers.len()])
    }

    /// What was there goes to a recovery checkpoint, and the old state is the newest again.
    fn restore(&mut self, from: u64, undoes: Option<u64>) {
        let old = self.kept[&from].bytes.clone();
        let recovery = self.current().map(|bytes| {
            self.add(Kind::Recovery, bytes);
            self.last
        });
        self.add(Kind::Routine, old).restored = Some((recovery, undoes));
        self.undone.extend(undoes);
    }

    /// The restore that is taken back next, and what it replaced.
    fn undoable(&self) -> Option<(u64, u64)> {
        self.kept.iter().rev().find_map(|(seq, kept)| match kept.restored {
            Some((Some(recovery), None)) if !self.undone.contains(seq) => Some((*seq, recovery)),
            _ => None,
        })
    }

    fn open_operation(&mut self) -> Option<&mut Kept> {
        self.kept.values_mut().rev().find(|kept| kept.operation == Some(Standing::Open))
    }

    /// The state it is at: what a recovery checkpoint found is it only where there is nothing else.
    pub fn current(&self) -> Option<Vec<u8>> {
        let newest = || self.since_reset().next().map(|(_, kept)| kept);
        self.latest().or_else(newest).map(|kept| kept.bytes.clone())
    }

    /// Does what an act does; `None` where it is to be refused.
    pub fn change(&mut self, act: &Act, acts: usize) -> Option<()> {
        match *act {
            Act::Commit(_, kind, bytes) => {
                let kept = self.add(kind, state(acts, bytes));
                kept.operation = (kind == Kind::PreOperation).then_some(Standing::Open);
            }
            Act::Patch(_) => {
                let base = self.latest()?.bytes.clone();
                self.add(Kind::Routine, patched(&base, acts));
            }
            Act::Restore(_, back) => self.restore(self.nth(back)?, None),
            Act::Undo(_) => {
                let (done, recovery) = self.undoable()?;
                self.kept.get(&recovery)?;
                self.restore(recovery, Some(done));
            }
            Act::Reset(_) => self.reset = self.last,
            Act::Forget(_, back) => {
                let seq = self.nth(back)?;
                if self.kept[&seq].operation == Some(Standing::Open) {
                    return None;
                }
                self.kept.remove(&seq);
            }
            Act::Begin(_) => {
                let bytes = self.current()?;
                self.add(Kind::PreOperation, bytes).operation = Some(Standing::Open);
            }
            Act::Close(_, well) => {
                let standing = if well { Standing::Completed } else { Standing::Failed };
                self.open_operation()?.operation = Some(standing);
            }
            Act::Settle | Act::MakeReady | Act::Prune | Act::Reopen => {}
        }
        Some(())
    }

    fn shelf(&self) -> Shelf {
        let operations = self.kept.values().filter_map(|kept| kept.operation);
        Shelf {
            checkpoints: self
                .kept
                .iter()
                .map(|(seq, kept)| (*seq, kept.kind, Digest::of(&kept.bytes)))
                .collect(),
            latest: self.latest().map(|kept| Digest::of(&kept.bytes)),
            operations: operations.map(|standing| ("it".to_owned(), standing)).collect(),
        }
    }
}

pub fn held_by(model: &Model) -> Held {
    let none = Life::default();
    let agents = history::AGENTS.into_iter();
    agents.map(|name| (name.to_owned(), model.get(name).unwrap_or(&none).shelf())).collect()
}

/// A patch sets one key, in its place where it is there and behind the others where it is not.
fn patched(base: &[u8], n: usize) -> Vec<u8> {
    let text = std::str::from_utf8(base).unwrap();
    match text.find("\"patched\":") {
        Some(at) => {
            let start = at + "\"patched\":".len();
            let end = start + text[start..].find(|c: char| !c.is_ascii_digit()).unwrap();
            format!("{}{n}{}", &text[..start], &text[end..]).into_bytes()
        }
        None => format!("{},\"patched\":{n}}}", &text[..text.len() - 1]).into_bytes(),
    }
}
