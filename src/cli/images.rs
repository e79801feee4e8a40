//! The part of `gatehouse tenants` that is about their images.

use clap::Subcommand;

use super::{Failed, erase, quotas};
use crate::{database::Database, settings::Settings};

#[derive(Clone, Debug, Subcommand)]
pub(super) enum Command {
    /// Give a tenant a quota of its own
    SetQuota(quotas::SetQuota),
    /// Tell what tenants' images come to
    Usage(quotas::Usage),
    /// Erase all images of a tenant
    Erase(erase::Erase),
}

/// Runs the command; what it prints last.
///
/// # Errors
/// A sentence on what failed.
pub(super) async fn run(
    command: Command,
    database: Database,
    settings: &Settings,
) -> Result<String, Failed> {
    match command {
        Command::SetQuota(command) => quotas::set(command, database, settings).await,
        Command::Usage(command) => quotas::usage(command, database, settings).await,
        Command::Erase(command) => erase::run(command, database, settings).await,
    }
}
