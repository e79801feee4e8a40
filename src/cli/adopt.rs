//! `gatehouse adopt`.

use clap::Args;
use serde_json::json;

use super::{
    Failed, failed,
    progress::Progress,
    quotas::{shown_bytes, shown_images},
    tenants::tenant,
    unusable,
};
use crate::{
    app::Maintenance,
    consumers::adopt::{Adopted, Reason},
    database::Database,
    settings::Settings,
    tenant::TenantId,
};

#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Objects are read once and never changed. What has a record is skipped, so it can be run again at any \
time, beside running servers. What is left alone is told on standard error. No quota refuses an \
adoption, but the images count.

Examples:
  gatehouse adopt --dry-run                     tell what would be adopted
  gatehouse adopt --tenant acme                 only this tenant's objects
  gatehouse adopt --json                        sums for machines")]
pub(super) struct Adopt {
    /// Tell what would be adopted, reading only the objects' heads
    #[arg(long)]
    dry_run: bool,
    /// Only this tenant's objects [default: all tenants']
    #[arg(long, value_name = "TENANT", value_parser = tenant)]
    tenant: Option<TenantId>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Makes records for objects that have none; what was adopted.
///
/// # Errors
/// When the store or the database fails.
pub(super) async fn run(
    command: Adopt,
    database: Database,
    settings: &Settings,
) -> Result<String, Failed> {
    let work = async |maintenance: &Maintenance| adopt(&command, maintenance).await;
    Maintenance::during(database, settings, work).await.map_err(unusable)?
}

async fn adopt(command: &Adopt, maintenance: &Maintenance) -> Result<String, Failed> {
    let mut progress = Progress::begin();
    let tell = &mut |adopted: &Adopted, left: Option<(&str, &Reason)>| {
        if let Some((key, reason)) = left {
            // Others' keys may have characters that would confuse a terminal.
            let key = key.escape_debug();
            progress.note(format_args!("left alone: \"{key}\": {}", reason.sentence()));
        }
        let Adopted { images, recorded, left, .. } = adopted;
        let left: u64 = left.values().sum();
        progress.tell(format_args!("{images} adopted, {recorded} had a record, {left} left alone"));
    };
    let adopted = maintenance.adopter.adopt(command.tenant.as_ref(), command.dry_run, tell).await;
    drop(progress);
    let adopted = adopted.map_err(|error| {
        let (message, status) = failed(error);
        (format!("{message}; not all was looked at: run it again for the rest"), status)
    })?;
    Ok(if command.json {
        described(&adopted, command.dry_run)
    } else {
        told(&adopted, command.dry_run)
    })
}

fn described(Adopted { images, bytes, recorded, left }: &Adopted, dry_run: bool) -> String {
    json!({
        "dryRun": dry_run, "adopted": images, "bytes": bytes, "recorded": recorded, "left": left,
    })
    .to_string()
}

fn told(Adopted { images, bytes, recorded, left }: &Adopted, dry_run: bool) -> String {
    let adopted = if dry_run { "Would adopt" } else { "Adopted" };
    let (images, bytes) = (shown_images(Some(*images)), shown_bytes(Some(*bytes)));
    let mut told = format!("{adopted} {images} ({bytes}); {recorded} had a record already");
    if !left.is_empty() {
        let reasons: Vec<_> =
            left.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        told.push_str(&format!("; left alone: {}", reasons.join(", ")));
    }
    told.push('.');
    told
}
