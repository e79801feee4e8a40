//! Completion by the scripts that `gatehouse completions` prints, in a real shell.

use std::process::Command;

use super::commands;
use crate::harness::App;

/// What completes the last of these words, in bash, in order.
fn completed(words: &[&str]) -> Vec<String> {
    const SCRIPT: &str = r#"
        source "$1"; shift
        function=$(complete -p gatehouse | sed -n 's/.*-F \([^ ]*\).*/\1/p')
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_LINE="$*" COMP_POINT=${#COMP_LINE}
        COMPREPLY=()
        "$function" gatehouse "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("completions");
    let printed = App::builder().run(&["completions", "bash"]);
    assert_eq!(printed.status.code(), Some(0), "{}", printed.stderr);
    std::fs::write(&file, printed.stdout).unwrap();
    let mut bash = Command::new("bash");
    bash.args(["--noprofile", "--norc", "-c", SCRIPT, "bash"]).arg(&file).args(words);
    let output = bash.current_dir(folder.path()).output().expect("bash runs");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && told.is_empty(), "{told}");
    let mut found: Vec<_> =
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
    found.sort();
    found
}

#[test]
fn bash_completes_commands_and_options() {
    assert_eq!(completed(&["gatehouse", "ke"]), ["keys"]);
    assert_eq!(completed(&["gatehouse", "keys", "re"]), ["revoke"]);
    assert_eq!(completed(&["gatehouse", "tenants", "s"]), ["set-limits", "set-quota", "suspend"]);
    assert_eq!(completed(&["gatehouse", "jobs", "list", "--d"]), ["--dead"]);
    assert_eq!(completed(&["gatehouse", "keys", "create", "--te"]), ["--tenant"]);
    assert_eq!(completed(&["gatehouse", "completions", "z"]), ["zsh"]);
}

#[test]
fn the_script_of_each_shell_has_each_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let printed = App::builder().run(&["completions", shell]);
        assert_eq!(printed.status.code(), Some(0), "{}", printed.stderr);
        for described in commands() {
            for word in &described.words {
                assert!(printed.stdout.contains(word), "{shell}: no {word}");
            }
        }
    }
    let refused = App::builder().run(&["completions", "csh"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(refused.stderr.contains("bash"), "{}", refused.stderr);
}

#[test]
fn no_setting_is_needed_to_complete_or_to_read() {
    let broken = App::builder().set("SERVER__LISTEN", "nonsense").env("HOME", "/nowhere");
    for arguments in [&["completions", "fish"][..], &["man"]] {
        let ended = broken.run(arguments);
        assert_eq!(ended.status.code(), Some(0), "{arguments:?}: {}", ended.stderr);
    }
}
