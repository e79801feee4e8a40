//! `gatehouse check`: the settings in effect, or with `--storage` what the store is missing.

use std::io::{self, Write};

use clap::Args;

use super::{BAD_SETTINGS, ExitCode, cannot_start, fail};
use crate::{
    app::Maintenance,
    edge::Origin,
    settings::{Settings, Sources, text::Text},
};

#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  gatehouse check                               the settings in effect
  gatehouse check --storage                     every call to the store that is needed, tried on objects of its own
  gatehouse check --storage --origin https://app.example.com

With --storage each line is one thing that was tried, 'ok: ...', 'advice: ...' or, on standard error,
'missing: ...'. The exit status is 0 if nothing is missing, 1 if something is, and 2 if the settings
cannot be used.")]
pub(super) struct Check {
    /// Try the store for real and say what is missing, instead of printing the settings
    #[arg(long)]
    storage: bool,
    /// Whose pages are to upload to the store themselves [default: those of server.cors.allowed_origins]
    #[arg(long, value_name = "ORIGIN", requires = "storage", value_parser = origin)]
    origin: Option<Origin>,
}

fn origin(text: &str) -> Result<Origin, String> {
    Origin::parse(text).ok_or_else(|| format!("use {}", Origin::FORM))
}

pub(super) fn run(command: Check, settings: &Settings, sources: &Sources) -> ExitCode {
    if !command.storage {
        return print(settings);
    }
    let allowed = &settings.server.cors.allowed_origins;
    let origins = command.origin.as_ref().map_or(&allowed[..], std::slice::from_ref);
    let origins: Vec<_> = origins.iter().map(Text::print).collect();
    let found = actix_rt::System::new().block_on(Maintenance::diagnose(settings, &origins));
    let findings = match found {
        Ok(findings) => findings,
        Err(error) => return fail(&cannot_start(&error, sources), BAD_SETTINGS),
    };
    for finding in &findings {
        let told = if finding.is_missing() {
            writeln!(io::stderr(), "{finding}")
        } else {
            writeln!(io::stdout(), "{finding}")
        };
        if told.is_err() {
            return ExitCode::FAILURE;
        }
    }
    let wrong = findings.iter().any(|finding| finding.is_missing());
    if wrong { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn print(settings: &Settings) -> ExitCode {
    match settings.to_toml() {
        Ok(text) => match io::stdout().write_all(text.as_bytes()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
        Err(error) => fail(&format!("the settings cannot be printed: {error}"), 1),
    }
}
