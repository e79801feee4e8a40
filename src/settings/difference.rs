//! In which keys two settings differ. It knows none of them: it compares what would be printed, so
//! a secret that is never printed is not compared either.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::Settings;

impl Settings {
    /// The keys whose values here and in `other` differ, in order; those of the services table,
    /// which can be replaced while the server runs, are not among them.
    pub fn differing_keys(&self, other: &Self) -> BTreeSet<String> {
        let (ours, others) = (values(self), values(other));
        let keys = ours.keys().chain(others.keys());
        keys.filter(|key| ours.get(*key) != others.get(*key)).cloned().collect()
    }
}

/// All values by their keys.
fn values(settings: &Settings) -> BTreeMap<String, Value> {
    let mut values = BTreeMap::new();
    // Settings always have a form as JSON: their keys are text.
    if let Ok(Value::Object(sections)) = serde_json::to_value(settings) {
        for (section, value) in sections {
            if section != "services" {
                gather(section, value, &mut values);
            }
        }
    }
    values
}

fn gather(key: String, value: Value, values: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(below) => {
            for (name, value) in below {
                gather(format!("{key}.{name}"), value, values);
            }
        }
        value => {
            values.insert(key, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_named_in_full_whoever_has_them() {
        let settings = Settings::default();
        let mut other = settings.clone();
        assert!(settings.differing_keys(&other).is_empty());
        other.services = crate::gateway::ServicesSettings::of_modules(&["consumers"]);
        other.server.workers = 7;
        other.storage.s3.bucket = Some("b".to_owned());
        other.server.trusted_proxies.push(ipnet::IpNet::V4(ipnet::Ipv4Net::default()));
        let keys = ["server.trusted_proxies", "server.workers", "storage.s3.bucket"];
        assert!(settings.differing_keys(&other).iter().eq(&keys));
        assert!(other.differing_keys(&settings).iter().eq(&keys));
    }
}
