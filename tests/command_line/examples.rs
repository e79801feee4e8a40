//! The examples below `--help`.

use clap::Parser;
use gatehouse::cli::Arguments;

use super::commands;

/// What a shell would run of a line of help: none where it is no example. What stands behind two
/// blanks tells what it does.
fn example(line: &str) -> Option<Vec<String>> {
    let line = line.trim();
    let line = line.split_once("  ").map_or(line, |(example, _)| example);
    let line = line.split_once(" && ").map_or(line, |(first, _)| first);
    let words = line.split(' ').map(|word| word.trim_matches('\'').to_owned());
    let words: Vec<_> = words.skip_while(|word| is_variable(word)).collect();
    (words.first().is_some_and(|word| word == "gatehouse")).then_some(words)
}

/// Whether this sets a variable for the command behind it.
fn is_variable(word: &str) -> bool {
    let Some((name, _)) = word.split_once('=') else { return false };
    !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
}

#[test]
fn every_command_has_examples_of_itself_that_it_takes() {
    for described in commands() {
        if described.command.has_subcommands() && !described.words.is_empty() {
            continue;
        }
        let help = described.command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let examples: Vec<_> = help.lines().filter_map(example).collect();
        assert!(!examples.is_empty(), "{} has no example", described.is_called());
        for words in &examples {
            let parsed = Arguments::try_parse_from(words);
            assert!(parsed.is_ok(), "{words:?}: {}", parsed.unwrap_err());
            let is_of_it = described.words.iter().all(|word| words.contains(word));
            let is_default = described.words == ["serve"];
            assert!(is_of_it || is_default, "{words:?} is no {}", described.is_called());
        }
    }
}

#[test]
fn an_example_is_read_as_a_shell_reads_it() {
    let read = |line: &str| example(line).map(|words| words.join(" "));
    let is = |line: &str, wanted: &str| assert_eq!(read(line).as_deref(), Some(wanted));
    is("  gatehouse                                  serve", "gatehouse");
    is("  S3_BUCKET=images gatehouse check           here", "gatehouse check");
    is("gatehouse keys create --tenant '*'  for all", "gatehouse keys create --tenant *");
    is("gatehouse healthcheck && echo ready", "gatehouse healthcheck");
    assert_eq!(read("Every setting can also come from the environment"), None);
    assert_eq!(read("With --storage gatehouse tells"), None);
}
