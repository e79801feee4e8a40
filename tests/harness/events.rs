//! The events that the database has, beside what has become of the images that they tell of.

use std::collections::BTreeMap;

use sqlx::{AnyConnection, Row};

use super::invariants::{Record, Violation};

/// All tenants' events, in their order.
pub(super) struct Events {
    all: Vec<Event>,
    /// The number of each tenant's last one.
    last: BTreeMap<String, i64>,
}

struct Event {
    tenant: String,
    sequence: i64,
    kind: String,
    image: String,
    upload: String,
    version: i64,
}

impl Events {
    pub(super) async fn read(database: &mut AnyConnection) -> Self {
        const SQL: &str = "SELECT tenant, sequence, type, id, upload, version FROM events ORDER BY tenant, sequence";
        let rows = sqlx::query(SQL).fetch_all(&mut *database).await.expect("the events");
        let event = |row: &sqlx::any::AnyRow| Event {
            tenant: row.get("tenant"),
            sequence: row.get("sequence"),
            kind: row.get("type"),
            image: row.get("id"),
            upload: row.get("upload"),
            version: row.get("version"),
        };
        let all = rows.iter().map(event).collect();
        let last: Vec<(String, i64)> = sqlx::query_as("SELECT tenant, events FROM usage")
            .fetch_all(database)
            .await
            .expect("the last events");
        Self { all, last: last.into_iter().collect() }
    }

    /// No change is without its event, and no event without its change.
    pub(super) fn violations(&self, records: &BTreeMap<String, Record>) -> Vec<Violation> {
        let mut found = self.numbers();
        let mut told = BTreeMap::<&str, Vec<&Event>>::new();
        // What steps have made of an image is no change of it.
        for event in self.all.iter().filter(|event| event.kind != "image.processed") {
            told.entry(&event.image).or_default().push(event);
        }
        let mut became: BTreeMap<&str, Option<&Record>> =
            told.keys().map(|image| (*image, None)).collect();
        became.extend(records.values().map(|record| (record.id.as_str(), Some(record))));
        for (image, record) in became {
            let events = told.get(image).map(Vec::as_slice).unwrap_or_default();
            if !tell(events, record) {
                let told: Vec<_> = events.iter().map(|e| (&e.kind, &e.upload)).collect();
                let became = record.map(|record| (record.version, &record.upload));
                found.push(Violation::Events {
                    image: image.to_owned(),
                    told: format!("{told:?}"),
                    became: format!("{became:?}"),
                });
            }
        }
        found
    }

    /// From 1 to the last, but for those of images that were erased.
    fn numbers(&self) -> Vec<Violation> {
        let mut erased = BTreeMap::<&String, i64>::new();
        for gone in self.all.iter().filter(|event| event.kind == "image.deleted") {
            let is_alone = self.all.iter().filter(|event| event.image == gone.image).count() == 1;
            *erased.entry(&gone.tenant).or_default() += if is_alone { gone.version } else { 0 };
        }
        let mut numbers = BTreeMap::<&String, Vec<i64>>::new();
        for event in &self.all {
            numbers.entry(&event.tenant).or_default().push(event.sequence);
        }
        for tenant in self.last.keys() {
            numbers.entry(tenant).or_default();
        }
        let violation = |(tenant, numbers): (&String, Vec<i64>)| {
            let last = self.last.get(tenant).copied().unwrap_or_default();
            let missing = last - numbers.len() as i64;
            // Of a tenant that was erased, nothing is left but the number of its last event.
            let is_whole = numbers.windows(2).all(|two| two[0] + 1 == two[1]);
            let right = numbers.is_empty()
                || numbers.last() == Some(&last)
                    && (is_whole || missing == erased.get(tenant).copied().unwrap_or_default());
            (!right).then(|| Violation::Numbers { tenant: tenant.clone(), numbers, last })
        };
        numbers.into_iter().filter_map(violation).collect()
    }
}

/// Whether these are the events of an image that is this now: created, replaced as often as its version
/// tells, and deleted if it is gone. Of one that was erased, only the last is left.
fn tell(events: &[&Event], record: Option<&Record>) -> bool {
    let (content, end) = match record {
        Some(_) => (events, None),
        None => match events.split_last() {
            Some((last, before)) => (before, Some(last)),
            None => return true,
        },
    };
    let kinds = content.iter().map(|event| event.kind.as_str());
    let first = std::iter::once("image.created");
    let in_order = kinds.eq(first.chain(std::iter::repeat("image.replaced")).take(content.len()));
    let ended = end.is_none_or(|last| {
        last.kind == "image.deleted" && content.last().is_none_or(|e| e.upload == last.upload)
    });
    let is_it = record.is_none_or(|record| {
        content.len() as i64 == record.version
            && content.last().is_some_and(|event| event.upload == record.upload)
    });
    in_order && ended && is_it
}
