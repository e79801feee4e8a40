//! `gatehouse tenants set-quota` and `usage`.

use bytesize::ByteSize;
use clap::Args;
use serde_json::{Value, json};

use super::{Failed, failed, tenants::tenant};
use crate::{
    app::Maintenance,
    consumers::records::{OwnLimit, OwnQuotas, Records, Usage as Known},
    database::Database,
    settings::Settings,
    tenant::TenantId,
};

/// Tenants that are looked up at once.
const PAGE: u64 = 500;

#[derive(Args, Clone, Debug)]
#[command(after_help = "\
What is not named stays as it is: the settings', where it never was. Servers go by the new quota from the next upload on.

Examples:
  gatehouse tenants set-quota acme --bytes 100GiB --images 1000000
  gatehouse tenants set-quota acme --images unlimited
  gatehouse tenants set-quota acme --none       those of the settings apply again")]
pub(super) struct SetQuota {
    /// The tenant's id
    #[arg(value_parser = tenant)]
    tenant: TenantId,
    /// The most bytes of all images together, such as 100GiB; or 'unlimited'
    #[arg(long, value_name = "SIZE", value_parser = bytes, required_unless_present_any = ["images", "none"])]
    bytes: Option<OwnLimit>,
    /// The most images; or 'unlimited'
    #[arg(long, value_name = "NUMBER", value_parser = images)]
    images: Option<OwnLimit>,
    /// Take the tenant's own quota away
    #[arg(long, conflicts_with_all = ["bytes", "images"])]
    none: bool,
}

#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  gatehouse tenants usage                       all tenants that have images or a quota
  gatehouse tenants usage acme --json")]
pub(super) struct Usage {
    /// The tenant's id [default: all tenants]
    #[arg(value_parser = tenant)]
    tenant: Option<TenantId>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn bytes(text: &str) -> Result<OwnLimit, String> {
    limit(text, |text| text.parse().ok().map(|size: ByteSize| size.as_u64()))
        .ok_or_else(|| "use a size such as 100GiB, or 'unlimited'".to_owned())
}

fn images(text: &str) -> Result<OwnLimit, String> {
    limit(text, |text| text.replace('_', "").parse().ok())
        .ok_or_else(|| "use a whole number, or 'unlimited'".to_owned())
}

fn limit(text: &str, parse: impl Fn(&str) -> Option<u64>) -> Option<OwnLimit> {
    match text {
        "unlimited" => Some(OwnLimit(None)),
        text => parse(text).filter(|number| i64::try_from(*number).is_ok()).map(Some).map(OwnLimit),
    }
}

/// Gives a tenant a quota; what that is now.
///
/// # Errors
/// When the database fails.
pub(super) async fn set(
    command: SetQuota,
    database: Database,
    settings: &Settings,
) -> Result<String, Failed> {
    let (tenant, records) = (command.tenant, Maintenance::records(database, settings));
    let own = (!command.none).then_some(OwnQuotas { bytes: command.bytes, images: command.images });
    records.set_quotas(&tenant, own).await.map_err(failed)?;
    let known = records.usage(&tenant).await.map_err(failed)?;
    let whose = if command.none { " (the settings' quota)" } else { "" };
    let (bytes, images) = (shown_bytes(known.max_bytes), shown_images(known.max_images));
    Ok(format!("{tenant} may have {bytes} in {images}{whose}; it has {}", shown(&known)))
}

/// What tenants' images come to.
///
/// # Errors
/// When the database fails.
pub(super) async fn usage(
    command: Usage,
    database: Database,
    settings: &Settings,
) -> Result<String, Failed> {
    let records = Maintenance::records(database, settings);
    match (command.tenant, command.json) {
        (Some(tenant), json) => {
            let known = records.usage(&tenant).await.map_err(failed)?;
            Ok(if json { described(&tenant, &known).to_string() } else { line(&tenant, &known) })
        }
        (None, true) => {
            let all = all(&records, described).await?;
            Ok(Value::Array(all).to_string())
        }
        (None, false) => {
            let all = all(&records, line).await?;
            Ok(if all.is_empty() {
                "No tenant has images or a quota.".into()
            } else {
                all.join("\n")
            })
        }
    }
}

async fn all<T>(
    records: &Records,
    tell: impl Fn(&TenantId, &Known) -> T,
) -> Result<Vec<T>, Failed> {
    let (mut told, mut after) = (Vec::new(), None);
    loop {
        let page = records.usage_of_all(after.as_ref(), PAGE).await.map_err(failed)?;
        told.extend(page.iter().map(|(tenant, known)| tell(tenant, known)));
        after = page.into_iter().next_back().map(|(tenant, _)| tenant);
        if after.is_none() {
            return Ok(told);
        }
    }
}

fn described(tenant: &TenantId, known: &Known) -> Value {
    let Known { bytes, images, max_bytes, max_images } = known;
    json!({
        "tenant": tenant.as_str(), "bytes": bytes, "images": images, "maxBytes": max_bytes,
        "maxImages": max_images,
    })
}

fn line(tenant: &TenantId, known: &Known) -> String {
    let may = known.is_limited().then(|| {
        let (bytes, images) = (shown_bytes(known.max_bytes), shown_images(known.max_images));
        format!("; it may have {bytes} in {images}")
    });
    format!("{tenant} has {}{}", shown(known), may.unwrap_or_default())
}

fn shown(known: &Known) -> String {
    format!("{} in {}", shown_bytes(Some(known.bytes)), shown_images(Some(known.images)))
}

/// Bytes for people.
pub(super) fn shown_bytes(bytes: Option<u64>) -> String {
    bytes.map_or_else(
        || "any number of bytes".into(),
        |b| ByteSize::b(b).display().iec().to_string(),
    )
}

/// A number of images for people.
pub(super) fn shown_images(images: Option<u64>) -> String {
    match images {
        None => "any number of images".to_owned(),
        Some(1) => "1 image".to_owned(),
        Some(images) => format!("{images} images"),
    }
}
