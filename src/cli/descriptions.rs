//! `gatehouse completions` and `gatehouse man`: the command line as shells and `man` want it told.
//! Neither needs any settings.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{Arguments, ExitCode, fail, print};

/// The program's name, as its users type it.
const PROGRAM: &str = "gatehouse";

#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  gatehouse completions bash                    for /usr/share/bash-completion/completions/gatehouse
  gatehouse completions zsh                     for a file _gatehouse in a folder of $fpath
  gatehouse completions fish                    for ~/.config/fish/completions/gatehouse.fish")]
pub(super) struct Completions {
    /// The shell
    shell: Shell,
}

#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  gatehouse man                                 the page of gatehouse itself, for man -l -
  gatehouse man --out /usr/local/share/man/man1")]
pub(super) struct Man {
    /// Write a page of each command into this folder, which is made if it is missing
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
}

/// Prints the script by which a shell completes commands and options.
pub(super) fn complete(command: &Completions) -> ExitCode {
    let mut script = Vec::new();
    clap_complete::generate(command.shell, &mut Arguments::command(), PROGRAM, &mut script);
    write(&script)
}

/// Prints the manual's first page, or writes all of them.
pub(super) fn man(command: &Man) -> ExitCode {
    let Some(folder) = &command.out else {
        let mut page = Vec::new();
        let rendered = clap_mangen::Man::new(described()).render(&mut page);
        return rendered.map_or(ExitCode::FAILURE, |()| write(&page));
    };
    let folder_shown = folder.display();
    match write_pages(folder) {
        Ok(()) => print(&format!("the pages of all commands are in {folder_shown}")),
        Err(error) => {
            let remedy = "name a folder that this user may write to";
            fail(&format!("cannot write into {folder_shown} ({error}); {remedy}"), 1)
        }
    }
}

fn write_pages(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    clap_mangen::generate_to(described(), folder)
}

/// The command line without `help`, of which a page would say nothing.
fn described() -> clap::Command {
    Arguments::command().disable_help_subcommand(true)
}

fn write(bytes: &[u8]) -> ExitCode {
    io::stdout().write_all(bytes).map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS)
}
