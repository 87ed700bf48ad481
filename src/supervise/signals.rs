//! The signals that come to this process while it runs a command.
//!
//! What people and service managers send is meant for the command, so it is passed on. A signal that
//! was ignored when this process began (`nohup`, a script's background job) is left ignored, here
//! and by inheritance in the command.

use std::future::poll_fn;
use std::io;
use std::task::Poll;

use rustix::process::Signal;
use tokio::signal::unix::{self, SignalKind};

use crate::disk::process;

/// Signals that are passed on to the command.
const PASSED_ON: [Signal; 6] =
    [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM, Signal::USR1, Signal::USR2];

/// Signals of the terminal that concern this process too.
const OF_THE_TERMINAL: [Signal; 3] = [Signal::TSTP, Signal::CONT, Signal::WINCH];

/// Whether a signal tells this process to end.
pub(crate) fn tells_to_end(signal: Signal) -> bool {
    matches!(signal, Signal::TERM | Signal::INT | Signal::HUP | Signal::QUIT)
}

/// The signals that are listened for.
#[derive(Debug)]
pub(crate) struct Signals {
    streams: Vec<(Signal, unix::Signal)>,
}

impl Signals {
    /// Begins to listen; from now on none of them ends or stops this process.
    pub(crate) fn listen() -> io::Result<Self> {
        let ignored = process::ignored_signals();
        let heard = |signal: &Signal| ignored & (1 << (signal.as_raw() - 1)) == 0;
        let open =
            |signal: Signal| Ok((signal, unix::signal(SignalKind::from_raw(signal.as_raw()))?));
        let wanted = PASSED_ON.into_iter().chain(OF_THE_TERMINAL).filter(heard);
        Ok(Self { streams: wanted.map(open).collect::<io::Result<_>>()? })
    }

    /// Waits for the next one. Several of one kind may be heard as one, as the system has it.
    pub(crate) async fn next(&mut self) -> Signal {
        poll_fn(|context| {
            for (signal, stream) in &mut self.streams {
                if stream.poll_recv(context).is_ready() {
                    return Poll::Ready(*signal);
                }
            }
            Poll::Pending
        })
        .await
    }
}
