//! `gatehouse tenants`: what is said about single tenants, beside a running server.

use clap::Subcommand;
use serde_json::{Value, json};

use super::{Failed, failed, images};
use crate::{
    database::Database,
    gateway::{Act, Rate, TenantStore},
    settings::Settings,
    tenant::TenantId,
};

#[derive(Clone, Debug, Subcommand)]
pub(super) enum Command {
    /// Let nobody act for a tenant; servers refuse it within 5 s
    #[command(after_help = SUSPEND)]
    Suspend {
        /// The tenant's id
        #[arg(value_parser = tenant)]
        tenant: TenantId,
    },
    /// Let a suspended tenant act again
    #[command(after_help = RESUME)]
    Resume {
        /// The tenant's id
        #[arg(value_parser = tenant)]
        tenant: TenantId,
    },
    /// Give a tenant limits of its own; those not named are the settings' again
    #[command(after_help = SET_LIMITS)]
    SetLimits {
        /// The tenant's id
        #[arg(value_parser = tenant)]
        tenant: TenantId,
        /// Reading requests to modules: a second, and at once
        #[arg(long, value_name = "PER_SECOND/BURST")]
        reads: Option<Rate>,
        /// Other requests to modules
        #[arg(long, value_name = "PER_SECOND/BURST")]
        writes: Option<Rate>,
        /// Requests to remote services
        #[arg(long, value_name = "PER_SECOND/BURST")]
        remote: Option<Rate>,
    },
    #[command(flatten)]
    Images(images::Command),
    /// List the tenants that anything is said about
    #[command(after_help = LIST)]
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

const SUSPEND: &str = "\
Examples:
  gatehouse tenants suspend acme";

const RESUME: &str = "\
Examples:
  gatehouse tenants resume acme";

const SET_LIMITS: &str = "\
Examples:
  gatehouse tenants set-limits acme --writes 10/50    10 uploads a second, 50 at once
  gatehouse tenants set-limits acme --reads 1000/2000 --remote 0.5/1
  gatehouse tenants set-limits acme                   the settings' again";

const LIST: &str = "\
Examples:
  gatehouse tenants list
  gatehouse tenants list --json";

/// A tenant's id among the arguments.
pub(super) fn tenant(text: &str) -> Result<TenantId, String> {
    TenantId::parse(text).map_err(|kind| kind.help().replace("Send x-tenant-id once: ", "use "))
}

/// Runs the command; what it prints.
///
/// # Errors
/// A sentence on what failed.
pub(super) async fn run(
    command: Command,
    database: Database,
    settings: &Settings,
) -> Result<String, Failed> {
    let store = TenantStore::new(database.clone());
    match command {
        Command::Images(command) => images::run(command, database, settings).await,
        Command::Suspend { tenant } => {
            store.suspend(&tenant, true).await.map_err(failed)?;
            Act::TenantSuspended.tell(tenant.as_str(), "");
            Ok(format!("{tenant} is suspended; servers refuse it within 5 s"))
        }
        Command::Resume { tenant } => {
            store.suspend(&tenant, false).await.map_err(failed)?;
            Act::TenantResumed.tell(tenant.as_str(), "");
            Ok(format!("{tenant} may act again"))
        }
        Command::SetLimits { tenant, reads, writes, remote } => {
            store.set_limits(&tenant, [reads, writes, remote]).await.map_err(failed)?;
            let shown = |rate: Option<Rate>| {
                rate.map_or_else(|| "the settings'".to_owned(), |rate| rate.to_string())
            };
            let told = format!(
                "reads {}, writes {}, remote {}",
                shown(reads),
                shown(writes),
                shown(remote)
            );
            Act::TenantLimited.tell(tenant.as_str(), &told);
            Ok(format!("limits of {tenant}: {told}"))
        }
        Command::List { json } => {
            let tenants = store.list().await.map_err(failed)?;
            let shown = |rate: Option<Rate>| rate.map(|rate| rate.to_string());
            let described: Vec<_> = tenants
                .iter()
                .map(|(id, record)| {
                    json!({
                        "id": id, "suspended": record.suspended, "reads": shown(record.reads),
                        "writes": shown(record.writes), "remote": shown(record.remote),
                    })
                })
                .collect();
            if json {
                return Ok(Value::Array(described).to_string());
            }
            let lines = described.iter().map(Value::to_string);
            Ok(lines.collect::<Vec<_>>().join("\n"))
        }
    }
}
