//! The report as `JUnit` XML, which continuous integration reads.

use super::report::{Failed, Report, Told, Verdict};

/// The report as one test suite: a scenario is a test case of the promise it proves.
#[must_use]
pub fn junit(report: &Report) -> String {
    let count = |verdicts: &[Verdict]| {
        report.scenarios.iter().filter(|one| verdicts.contains(&one.verdict)).count()
    };
    let (tests, secs) = (report.scenarios.len(), thousandths(report.took_ms));
    let (failures, errors) = (count(&[Verdict::Broken]), count(&[Verdict::Unfit]));
    let skipped = count(&[Verdict::Skipped]);
    let cases: String = report.scenarios.iter().map(case).collect();
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"stateward validate\" \
         tests=\"{tests}\" failures=\"{failures}\" errors=\"{errors}\" skipped=\"{skipped}\" \
         time=\"{secs}\">\n{cases}</testsuite>\n"
    )
}

fn thousandths(ms: u64) -> String {
    format!("{}.{:03}", ms / 1000, ms % 1000)
}

fn case(told: &Told) -> String {
    let promises: Vec<String> = told.promises.iter().map(ToString::to_string).collect();
    let (class, name) = (escaped(&promises.join(", ")), escaped(&told.scenario));
    let why = escaped(told.why.as_deref().unwrap_or_default());
    let verdict = match told.verdict {
        Verdict::Holds | Verdict::Broken => String::new(),
        Verdict::Skipped => format!("    <skipped message=\"{why}\"/>\n"),
        Verdict::Unfit => format!("    <error message=\"{why}\"/>\n"),
    };
    let failure = |failed: &Failed| {
        let (why, command) = (escaped(&failed.why), escaped(&failed.command));
        format!("    <failure message=\"{why}\">{command}</failure>\n")
    };
    let failures: String = told.failed.iter().map(failure).collect();
    let it = told.tried;
    let tried = format!(
        "{} cases, {} crash points, {} faults, {} restores, {} bytes, {} lost",
        it.cases, it.crash_points, it.faults, it.restores, it.bytes, it.lost
    );
    format!(
        "  <testcase classname=\"{class}\" name=\"{name}\">\n{verdict}{failures}    \
         <system-out>{tried}</system-out>\n  </testcase>\n"
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
