//! The table and its rows.

use std::fmt::Write;

use crate::statistics::{Spread, median};

/// What a figure counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Seconds,
    PerSecond,
    Bytes,
    Times,
    Syncs,
}

impl Unit {
    pub fn text(self, value: f64) -> String {
        match self {
            Self::Seconds if value < 1e-3 => format!("{} µs", digits(value * 1e6)),
            Self::Seconds if value < 1.0 => format!("{} ms", digits(value * 1e3)),
            Self::Seconds => format!("{} s", digits(value)),
            Self::PerSecond => format!("{}/s", thousands(value)),
            Self::Bytes if value < 1e6 => format!("{} KB", digits(value / 1e3)),
            Self::Bytes => format!("{} MB", digits(value / 1e6)),
            Self::Times => format!("{}×", digits(value)),
            Self::Syncs => format!("{} syncs", digits(value)),
        }
    }
}

/// Three digits.
fn digits(value: f64) -> String {
    let places = if value >= 99.95 {
        0
    } else if value >= 9.995 {
        1
    } else if value >= 0.0995 {
        2
    } else {
        4
    };
    format!("{value:.places$}")
}

fn thousands(value: f64) -> String {
    let plain = format!("{value:.0}");
    let mut text = String::new();
    for (at, digit) in plain.chars().enumerate() {
        if at > 0 && (plain.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// What a row must reach.
#[derive(Debug, Clone, Copy)]
pub enum Bar {
    AtMost(f64),
    AtLeast(f64),
    /// Told, not judged.
    Open,
}

/// One line of the table.
#[derive(Debug)]
pub struct Row {
    work: String,
    ours: String,
    baseline: String,
    judged: Option<(Spread, Unit)>,
    bar: Bar,
}

impl Row {
    /// Ours against a baseline, both as figures of the same rounds.
    pub fn against(work: impl Into<String>, unit: Unit, ours: &[f64], theirs: &[f64]) -> Self {
        Self {
            work: work.into(),
            ours: unit.text(median(ours)),
            baseline: unit.text(median(theirs)),
            judged: Some((Spread::of_ratios(ours, theirs), Unit::Times)),
            bar: Bar::Open,
        }
    }

    /// A figure that stands by itself.
    pub fn alone(work: impl Into<String>, unit: Unit, values: &[f64]) -> Self {
        Self {
            work: work.into(),
            ours: unit.text(median(values)),
            baseline: "–".into(),
            judged: Some((Spread::of(values), unit)),
            bar: Bar::Open,
        }
    }

    /// A row that could not be measured, and why.
    pub fn skipped(work: impl Into<String>, why: impl Into<String>) -> Self {
        let (ours, baseline) = ("skipped".into(), why.into());
        Self { work: work.into(), ours, baseline, judged: None, bar: Bar::Open }
    }

    pub fn at_most(self, bar: f64) -> Self {
        Self { bar: Bar::AtMost(bar), ..self }
    }

    pub fn at_least(self, bar: f64) -> Self {
        Self { bar: Bar::AtLeast(bar), ..self }
    }

    fn cells(&self) -> [String; 7] {
        let Some((spread, unit)) = self.judged else {
            let none = || "–".to_owned();
            return [
                self.work.clone(),
                self.ours.clone(),
                self.baseline.clone(),
                none(),
                none(),
                none(),
                none(),
            ];
        };
        let ratio = if unit == Unit::Times { unit.text(spread.median) } else { "–".into() };
        let range = format!("{} … {}", unit.text(spread.p10), unit.text(spread.p90));
        let (bar, holds) = match self.bar {
            Bar::AtMost(bar) => (format!("≤ {}", unit.text(bar)), verdict(spread.median <= bar)),
            Bar::AtLeast(bar) => (format!("≥ {}", unit.text(bar)), verdict(spread.median >= bar)),
            Bar::Open => ("–".into(), "–"),
        };
        let (work, ours, baseline) = (self.work.clone(), self.ours.clone(), self.baseline.clone());
        [work, ours, baseline, ratio, range, bar, holds.into()]
    }
}

fn verdict(holds: bool) -> &'static str {
    if holds { "yes" } else { "NO" }
}

/// Prints the table as Markdown, with aligned columns.
pub fn print(rows: &[Row]) {
    let head = ["work", "ours, p50", "baseline, p50", "ratio", "p10 … p90", "bar", "holds?"];
    let mut lines = vec![head.map(str::to_owned)];
    lines.extend(rows.iter().map(Row::cells));
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max();
    let widths: Vec<usize> = (0..head.len()).filter_map(width).collect();
    for (at, line) in lines.iter().enumerate() {
        println!("{}", aligned(line, &widths));
        if at == 0 {
            let rule: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
            println!("| {} |", rule.join(" | "));
        }
    }
}

fn aligned(line: &[String; 7], widths: &[usize]) -> String {
    let mut text = String::from("|");
    for (cell, width) in line.iter().zip(widths) {
        write!(text, " {cell:<width$} |").expect("writing to a String cannot fail");
    }
    text
}
