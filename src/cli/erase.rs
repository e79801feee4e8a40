//! `gatehouse tenants erase`.

use std::io::{BufRead, IsTerminal, Write, stderr, stdin};

use clap::Args;

use super::{
    Failed, failed,
    progress::Progress,
    quotas::{shown_bytes, shown_images},
    tenants::tenant,
    unusable,
};
use crate::{
    app::Maintenance,
    consumers::{By, Erased, Images, Survey, records::Extent},
    database::Database,
    settings::Settings,
    tenant::TenantId,
};

#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Images go with their records and objects; objects below the tenant's prefix that have no record go \
too, and so do its usage and its quota. What is uploaded meanwhile may stay: suspend the tenant first. \
If it breaks off, run it again: it goes on with the rest.

Examples:
  gatehouse tenants erase acme --dry-run        tell what there is, and erase nothing
  gatehouse tenants erase acme                  ask, then erase
  gatehouse tenants erase acme --yes            for scripts")]
pub(super) struct Erase {
    /// The tenant's id
    #[arg(value_parser = tenant)]
    tenant: TenantId,
    /// Tell what there is to erase, and leave it
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

/// Erases a tenant's images; what was erased.
///
/// # Errors
/// When nobody agrees, or the store or the database fails.
pub(super) async fn run(
    command: Erase,
    database: Database,
    settings: &Settings,
) -> Result<String, Failed> {
    if !command.dry_run && !command.yes && !stdin().is_terminal() {
        let message = "nothing was erased: there is nobody to ask; add --yes to erase at once";
        return Err((message.to_owned(), 2));
    }
    let work = async |maintenance: &Maintenance| erase(&command, &maintenance.images).await;
    Maintenance::during(database, settings, work).await.map_err(unusable)?
}

async fn erase(command: &Erase, images: &Images) -> Result<String, Failed> {
    let tenant = &command.tenant;
    let extent = Extent { tenant: tenant.clone(), customer: None };
    if command.dry_run || !command.yes {
        let found = images.survey(&extent).await.map_err(failed)?;
        let told = format!("{tenant} has {}", told(&found));
        if command.dry_run {
            return Ok(format!("{told}. Nothing was erased."));
        }
        if !agreed(tenant, &told) {
            return Err(("nothing was erased".to_owned(), 1));
        }
    }
    let mut progress = Progress::begin();
    let tell = &mut |erased: Erased| {
        let Erased { images, objects, .. } = erased;
        progress.tell(format_args!("{images} images and {objects} other objects are erased"));
    };
    let erased = images.erase(&extent, By::default(), tell).await;
    drop(progress);
    let Erased { images, objects, left } = erased.map_err(|error| {
        let (message, status) = failed(error);
        (format!("{message}; not all of {tenant} is erased: run it again for the rest"), status)
    })?;
    let (images, objects) = (shown_images(Some(images)), shown_objects(objects));
    if left > 0 {
        let message = format!(
            "erased {images} and {objects} without a record of {tenant}; {} below {tenant}/ have keys \
             that are not gatehouse's: delete them with the store's own tools",
            shown_objects(left)
        );
        return Err((message, 1));
    }
    Ok(format!("Erased {images} and {objects} without a record of {tenant}."))
}

/// Asks whoever sits at the terminal.
fn agreed(tenant: &TenantId, told: &str) -> bool {
    let _ = write!(stderr(), "{told}.\nType the tenant's id to erase all of it: ");
    let mut line = String::new();
    stdin().lock().read_line(&mut line).is_ok_and(|_| line.trim() == tenant.as_str())
}

fn told(Survey { recorded, strays, left }: &Survey) -> String {
    let mut told = format!(
        "{} ({}) and {} without a record ({})",
        shown_images(Some(recorded.images)),
        shown_bytes(Some(recorded.bytes)),
        shown_objects(strays.images),
        shown_bytes(Some(strays.bytes)),
    );
    if *left > 0 {
        told.push_str(&format!(
            ", of which {} have keys that are not gatehouse's and would stay",
            shown_objects(*left)
        ));
    }
    told
}

fn shown_objects(objects: u64) -> String {
    if objects == 1 { "1 object".to_owned() } else { format!("{objects} objects") }
}
