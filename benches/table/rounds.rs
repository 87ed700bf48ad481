//! Contestants that take turns.

use std::time::{Duration, Instant};

use crate::statistics::median;

/// Something that is measured: given the round's number, it does its work and answers the round's
/// figure.
pub struct Contestant<'a, F = f64> {
    run: Box<dyn FnMut(usize) -> F + 'a>,
}

impl<'a, F> Contestant<'a, F> {
    pub fn new(run: impl FnMut(usize) -> F + 'a) -> Self {
        Self { run: Box::new(run) }
    }
}

/// Runs all contestants in each round, every other round in reverse order, and answers the figures
/// of each, round by round. The first two rounds warm up and do not count.
pub fn interleave<F>(rounds: usize, contestants: &mut [Contestant<'_, F>]) -> Vec<Vec<F>> {
    interleave_after(2, rounds, &mut |_| {}, contestants)
}

/// The same, with so many rounds that do not count, and with something to do before each round.
pub fn interleave_after<F>(
    warm_up: usize,
    rounds: usize,
    before: &mut dyn FnMut(usize),
    contestants: &mut [Contestant<'_, F>],
) -> Vec<Vec<F>> {
    let mut figures: Vec<Vec<F>> = contestants.iter().map(|_| Vec::new()).collect();
    for round in 0..rounds + warm_up {
        before(round);
        let mut order: Vec<usize> = (0..contestants.len()).collect();
        if !round.is_multiple_of(2) {
            order.reverse();
        }
        for at in order {
            let figure = (contestants[at].run)(round);
            if round >= warm_up {
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
