//! The report as JUnit XML, which continuous integration reads.

use std::fmt::Write;

use super::report::{Report, Told, Verdict};

/// The report as one test suite: a scenario is a test case of the promise it proves.
#[must_use]
pub fn junit(report: &Report) -> String {
    let count = |verdicts: &[Verdict]| {
        report.scenarios.iter().filter(|one| verdicts.contains(&one.verdict)).count()
    };
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let (tests, secs) = (report.scenarios.len(), thousandths(report.took_ms));
    let (failures, errors) = (count(&[Verdict::Broken]), count(&[Verdict::Unfit]));
    let skipped = count(&[Verdict::Skipped]);
    let written = writeln!(
        text,
        "<testsuite name=\"stateward validate\" tests=\"{tests}\" failures=\"{failures}\" \
         errors=\"{errors}\" skipped=\"{skipped}\" time=\"{secs}\">"
    )
    .and_then(|()| report.scenarios.iter().try_for_each(|told| case(&mut text, told)))
    .and_then(|()| writeln!(text, "</testsuite>"));
    written.expect("writing to a string cannot fail");
    text
}

fn thousandths(ms: u64) -> String {
    format!("{}.{:03}", ms / 1000, ms % 1000)
}

fn case(text: &mut String, told: &Told) -> std::fmt::Result {
    let promises: Vec<String> = told.promises.iter().map(ToString::to_string).collect();
    let (class, name) = (escaped(&promises.join(", ")), escaped(&told.scenario));
    writeln!(text, "  <testcase classname=\"{class}\" name=\"{name}\">")?;
    let why = escaped(told.why.as_deref().unwrap_or_default());
    match told.verdict {
        Verdict::Holds | Verdict::Broken => {}
        Verdict::Skipped => writeln!(text, "    <skipped message=\"{why}\"/>")?,
        Verdict::Unfit => writeln!(text, "    <error message=\"{why}\"/>")?,
    }
    for failed in &told.failed {
        let (why, command) = (escaped(&failed.why), escaped(&failed.command));
        writeln!(text, "    <failure message=\"{why}\">{command}</failure>")?;
    }
    let it = told.tried;
    writeln!(
        text,
        "    <system-out>{} cases, {} crash points, {} faults, {} restores, {} bytes, {} \
         lost</system-out>\n  </testcase>",
        it.cases, it.crash_points, it.faults, it.restores, it.bytes, it.lost
    )
}

/// Text that XML takes; what it cannot hold at all becomes a blank.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\n' => safe.push_str("&#10;"),
            control if control.is_control() => safe.push(' '),
            other => safe.push(other),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_breaks_the_document() {
        assert_eq!(escaped("a<b> & \"c\"\n\u{1b}"), "a&lt;b&gt; &amp; &quot;c&quot;&#10; ");
    }
}
