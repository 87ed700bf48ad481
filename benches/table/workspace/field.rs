//! A tree and all who keep it.

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

use super::peers::{Peer, Tool};
use super::sample::{Case, Sample, Series};
use super::trees;
use crate::arguments::Arguments;
use crate::rounds::{Contestant, interleave_after};

/// What is measured, in how many rounds that do not count and how many that do.
#[derive(Debug, Clone, Copy)]
pub struct Plan<'a> {
    pub what: &'a str,
    pub warm_up: usize,
    pub rounds: usize,
}

pub struct Field {
    name: String,
    /// Where the tree lies.
    pub root: PathBuf,
    peers: Vec<Peer>,
    home: TempDir,
}

impl Field {
    /// A place for a tree, which is still to be made, and for those of the tools that are here.
    pub fn new(arguments: &Arguments, name: &str, tools: &[&'static Tool]) -> Self {
        let home = arguments.scratch();
        let path = home.path().canonicalize().expect("it was just made");
        let peers = Peer::all(&path, tools);
        Self { name: name.into(), root: path.join("tree"), peers, home }
    }

    /// Each keeps the tree in a repository that is new in each round.
    pub fn keep_first(&self, plan: Plan<'_>) -> Case {
        self.case(plan, &self.all(), &mut |_| {}, |peer, _| {
            peer.prepare();
            self.keep(peer)
        })
    }

    /// Each keeps the tree after what was done to it before the round.
    pub fn keep_after(&self, plan: Plan<'_>, before: &mut dyn FnMut(usize)) -> Case {
        self.case(plan, &self.all(), before, |peer, _| self.keep(peer))
    }

    /// Each writes the tree anew elsewhere; `synced` counts a sync of it too.
    pub fn write_elsewhere(&self, plan: Plan<'_>, synced: bool) -> Case {
        let whole = trees::digest(&self.root);
        let place = self.home.path().join("place");
        self.case(plan, &self.all(), &mut |_| {}, |peer, _| {
            rustix::fs::sync();
            let (spent, root) = peer.write_to(&self.root, &place, synced);
            assert_eq!(trees::digest(&root), whole, "{} restored other content", peer.tool.name);
            fs::remove_dir_all(&place).expect("what was restored can be removed");
            Sample { spent, added_bytes: 0.0 }
        })
    }

    /// Each that can puts the tree back after it was disturbed, anew for each of them.
    pub fn put_back(&self, plan: Plan<'_>, disturb: impl Fn(usize)) -> Case {
        let whole = trees::digest(&self.root);
        let able: Vec<&Peer> =
            self.peers.iter().filter(|peer| peer.tool.put_back.is_some()).collect();
        self.case(plan, &able, &mut |_| {}, |peer, round| {
            disturb(round);
            let before = peer.stored_bytes();
            rustix::fs::sync();
            let spent = peer.put_back(&self.root);
            assert_eq!(trees::digest(&self.root), whole, "{} left other content", peer.tool.name);
            Sample { spent, added_bytes: peer.stored_bytes() - before }
        })
    }

    fn all(&self) -> Vec<&Peer> {
        self.peers.iter().collect()
    }

    fn keep(&self, peer: &Peer) -> Sample {
        let before = peer.stored_bytes();
        rustix::fs::sync();
        let spent = peer.keep(&self.root);
        Sample { spent, added_bytes: peer.stored_bytes() - before }
    }

    fn case(
        &self,
        plan: Plan<'_>,
        peers: &[&Peer],
        before: &mut dyn FnMut(usize),
        sample: impl Fn(&Peer, usize) -> Sample,
    ) -> Case {
        eprintln!("  {}, {} …", self.name, plan.what);
        let sample = &sample;
        let mut contestants: Vec<Contestant<'_, Sample>> =
            peers.iter().map(|peer| Contestant::new(move |round| sample(peer, round))).collect();
        let all = interleave_after(plan.warm_up, plan.rounds, before, &mut contestants);
        let names = peers.iter().map(|peer| peer.tool.name);
        let all = names.zip(all).map(|(name, samples)| Series { name, samples }).collect();
        Case { work: format!("{}, {}", self.name, plan.what), all }
    }
}
