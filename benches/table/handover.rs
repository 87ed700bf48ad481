//! A large state that is handed over whole each time, of which little has changed.

use stateward::Agent;
use stateward::state::Kind;

use crate::arguments::Arguments;
use crate::chat::Chat;
use crate::ours;
use crate::rounds::{Contestant, interleave, median_seconds};
use crate::row::{Row, Unit};

const COMMITS: usize = 10;

pub fn rows(arguments: &Arguments) -> Vec<Row> {
    let home = arguments.scratch();
    let manager = ours::open(home.path());
    let settled = |figure: f64| {
        ours::settle(&manager);
        figure
    };
    let agent = |id: &str| ours::agent(&manager, id);
    let (small, bytes, bytes_head) = (agent("small"), agent("bytes"), agent("bytes-head"));
    let (valid, valid_head, value) = (agent("valid"), agent("valid-head"), agent("value"));
    let mut states = (0..5).map(Growing::seeded);
    let mut state = || states.next().expect("there is one for each contestant");
    let (mut for_bytes, mut for_bytes_head) = (state(), state());
    let (mut for_valid, mut for_valid_head, mut for_value) = (state(), state(), state());
    let mut contestants = [
        Contestant::new(|round| {
            let states = Chat::seeded(round as u64).states(COMMITS, 1000);
            settled(median_seconds(states, |state| ours::commit(&small, state)))
        }),
        Contestant::new(|_| settled(for_bytes.added(|state| ours::commit(&bytes, state)))),
        Contestant::new(|_| {
            settled(for_bytes_head.counted(|state| ours::commit(&bytes_head, state)))
        }),
        Contestant::new(|_| settled(for_valid.added(|state| commit_valid(&valid, state)))),
        Contestant::new(|_| {
            settled(for_valid_head.counted(|state| commit_valid(&valid_head, state)))
        }),
        Contestant::new(|_| settled(for_value.values(|state| commit_value(&value, state)))),
    ];
    let figures = interleave(arguments.rounds(30), &mut contestants);
    let row = |what: &str, ours: usize, theirs: usize| {
        let work = format!("1 MB handed over whole, {what}");
        Row::against(work, Unit::Seconds, &figures[ours], &figures[theirs])
    };
    vec![
        row("1 KB added, bytes, against a 1 KB commit", 1, 0).at_most(7.0),
        row("1 KB added and a counter at the head, bytes, against without", 2, 1).at_most(1.5),
        row("1 KB added, bytes known to be valid, against a 1 KB commit", 3, 0).at_most(4.0),
        row("1 KB added and a counter at the head, valid, against without", 4, 3).at_most(1.5),
        row("1 KB added, `Serialize`d (serializing included), against a 1 KB commit", 5, 0),
    ]
}

fn commit_valid(agent: &Agent, state: Vec<u8>) {
    let request = agent.checkpoint(Kind::Routine).state_bytes_unchecked(state);
    request.commit().expect("the state is committed");
}

fn commit_value(agent: &Agent, state: &Conversation) {
    agent.create_checkpoint(Kind::Routine, state).expect("the state is committed");
}

/// A state as an agent's own type: its texts are escaped and copied when it is serialized.
#[derive(Debug, serde::Serialize)]
struct Conversation {
    count: u64,
    messages: Vec<String>,
}

/// A conversation of about a megabyte that grows by 1 KB a time.
struct Growing {
    chat: Chat,
    count: u64,
    messages: Vec<String>,
}

impl Growing {
    fn seeded(seed: u64) -> Self {
        let mut chat = Chat::seeded(1000 + seed);
        let messages = (0..1000).map(|_| chat.message(999)).collect();
        Self { chat, count: 1_000_000, messages }
    }

    /// Commits with a message more each time.
    fn added(&mut self, commit: impl FnMut(Vec<u8>)) -> f64 {
        let states: Vec<Vec<u8>> = (0..COMMITS).map(|_| self.next()).collect();
        median_seconds(states, commit)
    }

    /// Commits with a message more, and a counter before all of them that moves on.
    fn counted(&mut self, commit: impl FnMut(Vec<u8>)) -> f64 {
        let next = |_| {
            self.count += 1;
            self.next()
        };
        let states: Vec<Vec<u8>> = (0..COMMITS).map(next).collect();
        median_seconds(states, commit)
    }

    fn next(&mut self) -> Vec<u8> {
        self.messages.push(self.chat.message(999));
        let messages = self.messages.join(",");
        format!(r#"{{"count":{},"messages":[{messages}]}}"#, self.count).into_bytes()
    }

    fn values(&mut self, mut commit: impl FnMut(&Conversation)) -> f64 {
        let mut whole = Conversation { count: self.count, messages: self.messages.clone() };
        let added: Vec<String> = (0..COMMITS).map(|_| self.chat.text(900)).collect();
        let figure = median_seconds(added, |message| {
            whole.messages.push(message);
            commit(&whole);
        });
        self.messages = whole.messages;
        figure
    }
}
