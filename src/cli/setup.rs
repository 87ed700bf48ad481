//! `init`, `completions` and `man`: what makes the tool at home on a machine.

use clap::{Args, CommandFactory};
use clap_complete::Shell;
use serde_json::json;

use super::arguments::CommandLine;
use super::failure::Failure;
use super::output;
use super::session::Session;
use crate::disk::{Durability, publish};

/// Every key with its default and its why; the same text as in the repository.
const EXAMPLE: &str = include_str!("../../config.toml");

const FILE: &str = "stateward.toml";

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  stateward completions bash > \
                        ~/.local/share/bash-completion/completions/stateward\n  stateward \
                        completions zsh > ~/.zfunc/_stateward")]
pub(super) struct Completions {
    /// The shell
    shell: Shell,
}

pub(super) fn init(session: &Session) -> Result<(), Failure> {
    let file = session.absolute(FILE.as_ref());
    let store = session.store();
    session.make(&store)?;
    // What is there is somebody's: it stays.
    let is_new = session.disk.metadata(&file).is_err();
    if is_new {
        publish(&*session.disk, &file, commented_out(EXAMPLE).as_bytes(), Durability::Synced)?;
    }
    session.out.data(&json!({ "config": file, "config_written": is_new, "store": store }), || {
        let (file, store) = (file.display(), store.display());
        let done = if is_new { "Wrote" } else { "Left as it is:" };
        format!("{done} {file}.\nThe store is {store}.")
    })
}

/// The example with its values as comments, so that defaults stay defaults.
fn commented_out(example: &str) -> String {
    let line = |line: &str| match line.chars().next() {
        None | Some('#' | '[') => format!("{line}\n"),
        Some(_) => format!("# {line}\n"),
    };
    // The end of a list of several lines is a value too, not a section.
    example.lines().map(|text| if text == "]" { "# ]\n".to_owned() } else { line(text) }).collect()
}

pub(super) fn completions(arguments: &Completions) -> Result<(), Failure> {
    let mut text = Vec::new();
    let mut command = CommandLine::command();
    clap_complete::generate(arguments.shell, &mut command, "stateward", &mut text);
    output::bytes(&text)
}

/// One page for the command and all its subcommands, one after another.
pub(super) fn man() -> Result<(), Failure> {
    let mut text = Vec::new();
    let mut command = CommandLine::command();
    command.build();
    let pages = command.get_subcommands().filter(|it| !it.is_hide_set()).cloned();
    for page in std::iter::once(command.clone()).chain(pages) {
        clap_mangen::Man::new(page).render(&mut text).map_err(Failure::of_output)?;
    }
    output::bytes(&text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;

    #[test]
    fn the_file_that_init_writes_sets_nothing() {
        let text = commented_out(EXAMPLE);
        assert_eq!(toml::from_str::<Settings>(&text).unwrap(), Settings::default());
        let set = text.lines().filter(|line| !line.is_empty() && !line.starts_with(['#', '[']));
        assert_eq!(set.count(), 0);
    }
}
