//! Contestants that take turns.

use std::time::{Duration, Instant};

use crate::statistics::median;

/// Something that is measured: given the round's number, it does its work and answers the round's
/// figure.
pub struct Contestant<'a> {
    run: Box<dyn FnMut(usize) -> f64 + 'a>,
}

impl<'a> Contestant<'a> {
    pub fn new(run: impl FnMut(usize) -> f64 + 'a) -> Self {
        Self { run: Box::new(run) }
    }
}

/// Runs all contestants in each round, every other round in reverse order, and answers the figures
/// of each, round by round. The first two rounds warm up and do not count.
pub fn interleave(rounds: usize, contestants: &mut [Contestant<'_>]) -> Vec<Vec<f64>> {
    let mut figures = vec![Vec::with_capacity(rounds); contestants.len()];
    for round in 0..rounds + 2 {
        let mut order: Vec<usize> = (0..contestants.len()).collect();
        if !round.is_multiple_of(2) {
            order.reverse();
        }
        for at in order {
            let figure = (contestants[at].run)(round);
            if round >= 2 {
                figures[at].push(figure);
            }
        }
    }
    figures
}

/// Times one call.
pub fn timed<R>(work: impl FnOnce() -> R) -> (R, Duration) {
    let began = Instant::now();
    let result = work();
    (result, began.elapsed())
}

/// The median time of `work` over all items, in seconds.
pub fn median_seconds<T>(items: impl IntoIterator<Item = T>, mut work: impl FnMut(T)) -> f64 {
    let times: Vec<f64> =
        items.into_iter().map(|item| timed(|| work(item)).1.as_secs_f64()).collect();
    median(&times)
}
