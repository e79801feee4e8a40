//! The manual's pages, as `man` shows them.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use super::commands;
use crate::harness::App;
use crate::harness::debian;

/// What `man` shows of a page, which must have nothing wrong.
fn shown(page: &Path) -> String {
    debian::need("man-db", || Path::new("/usr/bin/man").exists());
    let mut man = Command::new("man");
    man.args(["--warnings", "--encoding=UTF-8", "--local-file"]).arg(page);
    let output = man.env("MANWIDTH", "80").env("LC_ALL", "C.UTF-8").output().expect("man runs");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && told.is_empty(), "{}: {told}", page.display());
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn every_command_has_a_page_that_man_shows() {
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("man/man1");
    let ended = App::builder().run(&["man", "--out", pages.to_str().unwrap()]);
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    let names = std::fs::read_dir(&pages).unwrap().map(|entry| entry.unwrap().file_name());
    let names: BTreeSet<_> = names.map(|name| name.into_string().unwrap()).collect();
    let wanted = commands().into_iter().map(|d| format!("{}.1", d.is_called().replace(' ', "-")));
    assert_eq!(names, wanted.collect());
    for described in commands() {
        let name = described.is_called().replace(' ', "-");
        let page = shown(&pages.join(format!("{name}.1")));
        for section in ["NAME", "SYNOPSIS", "DESCRIPTION"] {
            assert!(page.lines().any(|line| line == section), "{name}: no {section} in {page}");
        }
        assert!(page.contains(&name), "{page}");
        // man breaks lines, and spreads words over them.
        let page = page.split_whitespace().collect::<Vec<_>>().join(" ");
        let about = described.command.get_about().expect("what it is for").to_string();
        let first: Vec<_> = about.split(' ').take(4).collect();
        assert!(page.contains(&first.join(" ")), "{name}: {page}");
    }
    let create = shown(&pages.join("gatehouse-keys-create.1"));
    for word in ["--expires-in", "gatehouse keys create --tenant acme"] {
        assert!(create.contains(word), "no {word:?} in {create}");
    }
}

#[test]
fn the_first_page_is_printed() {
    let ended = App::builder().run(&["man"]);
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("gatehouse.1");
    std::fs::write(&page, ended.stdout).unwrap();
    let page = shown(&page);
    for word in ["healthcheck", "--settings", "GATEHOUSE__SERVER__LISTEN"] {
        assert!(page.contains(word), "no {word} in {page}");
    }
}

#[test]
fn a_folder_that_cannot_be_written_to_is_told_in_one_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let ended = App::builder().run(&["man", "--out", file.join("x").to_str().unwrap()]);
    assert_eq!(ended.status.code(), Some(1));
    assert_eq!(ended.stderr.trim_end().lines().count(), 1, "{}", ended.stderr);
    assert!(ended.stderr.contains("name a folder"), "{}", ended.stderr);
}
