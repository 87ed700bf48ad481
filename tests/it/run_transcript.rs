//! `run`: what an agent's own transcript tells is seen, and only that.
//!
//! The policies are the defaults unless a test says otherwise; budgets are small and silence short.

use serde_json::json;

use crate::cli_home::Home;
use crate::drift_home::QUICK;
use crate::run_home::{lives, until};

/// A shell loop that appends lines to the transcript, one for each number.
fn appends(numbers: &str, line: &str) -> String {
    format!("for n in $(seq {numbers}); do echo '{line}' | sed \"s/N/$n/g\" >> t.jsonl; done")
}

#[test]
fn an_overspent_budget_halts_the_agent_and_asks_for_a_person() {
    let home = Home::new();
    home.configure(&format!(
        "{QUICK}[[drift.budgets]]\nmetric = \"tokens\"\nmost = 1000\n[drift.policies]\nbudget = \"halt\"\n"
    ));
    let line = r#"{"action":"think","input":N,"ok":true,"metrics":{"tokens":60}}"#;
    home.agent(&format!("echo up; {}; exec sleep 1000", appends("20", line)));
    let ran = home.run_agent(&["--transcript", "t.jsonl"]);
    assert_eq!(ran.code, 7, "the command's own code does not hide it: {ran}");
    assert!(ran.err.contains("budget tokens in all since observation"), "{ran}");
    assert!(ran.err.contains("stateward drift mark REF good"), "what a person can do: {ran}");
    assert_eq!((home.drifted(), home.answers()), (vec!["budget".into()], vec!["halt".into()]));
    let again = home.run_agent(&["--transcript", "t.jsonl"]);
    assert_eq!((again.code, again.text()), (7, ""), "it is not started again: {again}");
}

#[test]
fn what_is_done_again_and_again_is_found() {
    let home = Home::new();
    home.configure(QUICK);
    let line = r#"{"action":"read","input":{"path":"a"},"ok":true,"result":"the same"}"#;
    home.agent(&format!("echo $$; {}; exec sleep 1000", appends("20", line)));
    let mut run = home.start_agent(&["--transcript", "*.jsonl"]);
    let pid = run.hear_pid();
    until("it is found", || home.drifted() == ["repetition"]);
    until("it is answered", || home.answers() == ["checkpoint"]);
    assert!(lives(pid));
    run.signal("TERM");
    run.end();
}

#[test]
fn work_that_is_redone_after_a_compaction_is_found() {
    let home = Home::new();
    home.configure(QUICK);
    let line = r#"{"action":"edit","input":N,"ok":true,"result":N}"#;
    let work = appends("60", line);
    let compacted = r#"echo '{"event":"compaction"}' >> t.jsonl"#;
    home.agent(&format!("echo up; {work}; {compacted}; {work}; exec sleep 1000"));
    let mut run = home.start_agent(&["--transcript", "t.jsonl"]);
    assert_eq!(run.hear(), "up");
    until("it is found", || home.drifted().contains(&"redo".to_owned()));
    run.signal("TERM");
    let (_, _, told) = run.end();
    assert!(!home.answers().contains(&"restore".to_owned()), "it may be chance: {told}");
}

#[test]
fn a_transcript_of_claude_code_is_understood() {
    let home = Home::new();
    home.configure(&format!("{QUICK}[[drift.budgets]]\nmetric = \"output_tokens\"\nmost = 500\n"));
    let call = json!({"type": "assistant", "message": {"id": "mN", "stop_reason": "tool_use",
        "content": [{"type": "tool_use", "id": "tN", "name": "Bash", "input": {"command": "ls"}}],
        "usage": {"input_tokens": 3, "output_tokens": 100}}});
    let answer = json!({"type": "user", "message": {"content": [
        {"type": "tool_result", "tool_use_id": "tN", "content": "no", "is_error": true}]}});
    let folder = home.path("").display().to_string();
    let folder: String = folder
        .trim_end_matches('/')
        .chars()
        .map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '-' })
        .collect();
    home.agent(&format!(
        "echo up; mkdir -p $HOME/.claude/projects/{folder}; cd $HOME/.claude/projects/{folder}; {}; exec sleep 1000",
        appends("20", &format!("{call}\\n{answer}")).replace("t.jsonl", "session.jsonl")
    ));
    let mut run = home.start_agent(&["--transcript", "claude"]);
    assert_eq!(run.hear(), "up");
    until("what it spends is found", || home.drifted().contains(&"budget".to_owned()));
    until("and that it fails", || home.drifted().contains(&"error_streak".to_owned()));
    run.signal("TERM");
    run.end();
}
