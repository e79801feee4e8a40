//! The command line as its users meet it: examples that are right, completion, and the manual.

mod completion;
mod examples;
mod manual;

use clap::{Command, CommandFactory};
use gatehouse::cli::Arguments;

/// A command of the program, by the words that it is called by: `["keys", "create"]`.
struct Described {
    words: Vec<String>,
    command: Command,
}

impl Described {
    fn is_called(&self) -> String {
        ["gatehouse"]
            .into_iter()
            .chain(self.words.iter().map(String::as_str))
            .collect::<Vec<_>>()
            .join(" ")
    }
}

/// All commands, the program itself first.
fn commands() -> Vec<Described> {
    let mut all = vec![Described { words: Vec::new(), command: Arguments::command() }];
    let mut at = 0;
    while at < all.len() {
        let (words, command) = (all[at].words.clone(), all[at].command.clone());
        for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
            let words = words.iter().cloned().chain([sub.get_name().to_owned()]).collect();
            all.push(Described { words, command: sub.clone() });
        }
        at += 1;
    }
    assert!(all.len() > 20, "not all commands are seen");
    all
}
