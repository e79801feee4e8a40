//! The metrics that a server tells, taken apart strictly.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use super::App;
use super::http::{PATIENCE, Request};

/// All samples of one answer: `name{label="value",…}` with the labels in their order, and the value.
pub struct Metrics {
    pub text: String,
    pub samples: BTreeMap<String, f64>,
    /// The families' names.
    pub families: BTreeSet<String>,
}

impl Metrics {
    /// What the server tells now.
    pub async fn of(app: &App) -> Self {
        let answer = Request::get("/metrics").send(app.operations_addr()).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.header("content-type").unwrap(), "text/plain; version=0.0.4");
        let text = answer.text();
        let (mut samples, mut families, mut helped) =
            (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, _) = rest.split_once(' ').expect(line);
                assert!(helped.contains(name), "{name} has no help");
                assert!(families.insert(name.to_owned()), "{name} twice");
            } else if let Some(rest) = line.strip_prefix("# HELP ") {
                helped.insert(rest.split(' ').next().unwrap().to_owned());
            } else {
                let (name, value) = line.rsplit_once(' ').expect(line);
                let value = value.parse().unwrap_or_else(|e| panic!("{line}: {e}"));
                assert_eq!(samples.insert(name.to_owned(), value), None, "{name} twice");
            }
        }
        Self { text, samples, families }
    }

    /// What the server tells, as soon as `wanted` holds.
    pub async fn until(app: &App, wanted: impl Fn(&Self) -> bool) -> Self {
        let until = Instant::now() + PATIENCE;
        loop {
            let metrics = Self::of(app).await;
            if wanted(&metrics) {
                return metrics;
            }
            assert!(Instant::now() < until, "not within the patience of a test: {}", metrics.text);
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }

    /// The value of a sample; 0 where there is none.
    pub fn value(&self, sample: &str) -> f64 {
        self.samples.get(sample).copied().unwrap_or_default()
    }

    /// The sum of all samples of a name, whatever their labels.
    pub fn sum(&self, name: &str) -> f64 {
        let of_name = self.samples.iter().filter(|(sample, _)| {
            sample.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('{'))
        });
        of_name.map(|(_, value)| value).sum()
    }
}
