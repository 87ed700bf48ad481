//! A tree and all who keep it.

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

use super::peers::{Peer, Tool};
use super::sample::{Case, Sample, Series};
use super::trees;
use super::warm::Warm;
use crate::arguments::Arguments;
use crate::rounds::{Contestant, interleave_after};

/// The name of ours in a process that stays.
const WATCHED: &str = "watched";

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
    warm: Option<Warm>,
    home: TempDir,
}

/// Contestants with their names.
type Named<'a> = (&'static str, Contestant<'a, Sample>);

impl Field {
    /// A place for a tree, which is still to be made, and for those of the tools that are here.
    pub fn new(arguments: &Arguments, name: &str, tools: &[&'static Tool]) -> Self {
        let home = arguments.scratch();
        let path = home.path().canonicalize().expect("it was just made");
        let peers = Peer::all(&path, tools);
        Self { name: name.into(), root: path.join("tree"), peers, warm: None, home }
    }

    /// From now on ours takes part in a process that stays, too.
    pub fn watch(&mut self) {
        self.warm = Some(Warm::open(self.home.path().join("warm"), &self.root));
    }

    /// It takes no part any more.
    pub fn stop_watching(&mut self) {
        self.warm = None;
    }

    /// Each keeps the tree in a repository that is new in each round.
    pub fn keep_first(&self, plan: Plan<'_>) -> Case {
        let keep_first = |peer: &Peer| {
            peer.prepare();
            self.keep(peer)
        };
        self.race(plan, &mut |_| {}, self.each(&|peer, _| keep_first(peer)))
    }

    /// Each keeps the tree after what was done to it before the round.
    pub fn keep_after(&self, plan: Plan<'_>, before: &mut dyn FnMut(usize)) -> Case {
        let keep = |peer: &Peer, _| self.keep(peer);
        let mut contestants = self.each(&keep);
        let warm = self.warm.iter();
        contestants.extend(warm.map(|warm| (WATCHED, Contestant::new(|_| warm.keep()))));
        self.race(plan, before, contestants)
    }

    /// Each writes the tree anew elsewhere; `synced` counts a sync of it too.
    pub fn write_elsewhere(&self, plan: Plan<'_>, synced: bool) -> Case {
        let whole = trees::digest(&self.root);
        let place = self.home.path().join("place");
        let write = |peer: &Peer, _| {
            rustix::fs::sync();
            let (spent, root) = peer.write_to(&self.root, &place, synced);
            assert_eq!(trees::digest(&root), whole, "{} restored other content", peer.tool.name);
            fs::remove_dir_all(&place).expect("what was restored can be removed");
            Sample { spent, added_bytes: 0.0 }
        };
        self.race(plan, &mut |_| {}, self.each(&write))
    }

    /// Each that can puts the tree back after it was disturbed, anew for each of them.
    pub fn put_back(&self, plan: Plan<'_>, disturb: impl Fn(usize)) -> Case {
        let whole = trees::digest(&self.root);
        let put_back = |peer: &Peer, round: usize| {
            disturb(round);
            let before = peer.stored_bytes();
            rustix::fs::sync();
            let spent = peer.put_back(&self.root);
            assert_eq!(trees::digest(&self.root), whole, "{} left other content", peer.tool.name);
            Sample { spent, added_bytes: peer.stored_bytes() - before }
        };
        let mut able = self.each(&put_back);
        able.retain(|(name, _)| self.can_put_back(name));
        self.race(plan, &mut |_| {}, able)
    }

    fn can_put_back(&self, name: &str) -> bool {
        self.peers.iter().any(|peer| peer.tool.name == name && peer.tool.put_back.is_some())
    }

    fn keep(&self, peer: &Peer) -> Sample {
        let before = peer.stored_bytes();
        rustix::fs::sync();
        let spent = peer.keep(&self.root);
        Sample { spent, added_bytes: peer.stored_bytes() - before }
    }

    fn each<'a>(&'a self, sample: &'a impl Fn(&Peer, usize) -> Sample) -> Vec<Named<'a>> {
        let contestant = |peer| Contestant::new(move |round| sample(peer, round));
        self.peers.iter().map(|peer| (peer.tool.name, contestant(peer))).collect()
    }

    fn race(
        &self,
        plan: Plan<'_>,
        before: &mut dyn FnMut(usize),
        contestants: Vec<Named<'_>>,
    ) -> Case {
        eprintln!("  {}, {} …", self.name, plan.what);
        let (names, mut contestants): (Vec<_>, Vec<_>) = contestants.into_iter().unzip();
        let all = interleave_after(plan.warm_up, plan.rounds, before, &mut contestants);
        let mut all: Vec<Series> =
            names.into_iter().zip(all).map(|(name, samples)| Series { name, samples }).collect();
        let warm = all.pop_if(|series| series.name == WATCHED);
        Case { work: format!("{}, {}", self.name, plan.what), all, warm }
    }
}
