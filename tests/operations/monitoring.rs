//! What is written for those who watch the process agrees with what it tells: the list of metrics, the alerts
//! with their runbook, the dashboard. Prometheus' own promtool reads along.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::harness::metrics::Metrics;
use crate::harness::{App, debian, images, upload};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn operations() -> PathBuf {
    root().join("docs/operations")
}

fn read(name: &str) -> String {
    fs::read_to_string(operations().join(name)).expect(name)
}

fn is_metric(word: &str) -> bool {
    ["gatehouse_", "http_server_", "http_client_", "db_client_", "process_"]
        .iter()
        .any(|prefix| word.starts_with(prefix))
}

/// The names of metrics among a text's words.
fn words(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| is_metric(word)).map(str::to_owned).collect()
}

/// The families that the sources name, in quotes of their own.
fn named_in(folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(named_in(&path));
            continue;
        }
        let name = path.file_name().unwrap().to_str().unwrap();
        if ["metrics.rs", "measured.rs"].contains(&name) {
            let text = fs::read_to_string(&path).unwrap();
            let quoted = text.split('"').skip(1).step_by(2);
            let one_word = |text: &&str| text.chars().all(|c| c.is_ascii_lowercase() || c == '_');
            found.extend(quoted.filter(one_word).filter(|text| is_metric(text)).map(str::to_owned));
        }
    }
    found
}

/// The families that the list describes: what its tables' first columns say.
fn listed() -> BTreeSet<String> {
    let text = read("metrics.md");
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| row.split('`').next().unwrap().to_owned()).collect()
}

#[test]
fn the_list_has_all_metrics_and_no_others() {
    let listed = listed();
    let of_ours: BTreeSet<_> =
        listed.iter().filter(|name| !name.starts_with("process_")).cloned().collect();
    assert_eq!(of_ours, named_in(&root().join("src")));
}

#[tokio::test]
async fn what_a_server_tells_is_in_the_list_and_is_as_prometheus_has_it() {
    let app = App::builder().operations().start().await;
    let stored = upload::put("a.gif", &images::gif(3, 2, 100)).send(app.addr).await;
    assert_eq!(stored.status, 201);
    let metrics = Metrics::of(&app).await;
    let listed = listed();
    let unknown: Vec<_> = metrics.families.difference(&listed).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    let told = metrics.families.iter().filter(|name| !name.starts_with("process_"));
    assert!(told.count() > 20, "{:?}", metrics.families);
    let ours = metrics.text.lines().filter(|line| !line.contains("process_"));
    let ours = ours.flat_map(|line| [line, "\n"]).collect::<String>();
    promtool(&["check", "metrics"], &ours, &operations());
}

#[test]
fn alerts_are_rules_that_do_what_they_are_for() {
    let folder = tempfile::tempdir().unwrap();
    fs::copy(operations().join("alerts.yaml"), folder.path().join("alerts.yaml")).unwrap();
    let tests = root().join("tests/operations/alerts.test.yaml");
    fs::copy(tests, folder.path().join("test.yaml")).unwrap();
    promtool(&["check", "rules", "alerts.yaml"], "", folder.path());
    promtool(&["test", "rules", "test.yaml"], "", folder.path());
}

#[test]
fn each_alert_has_its_place_in_the_runbook() {
    let alerts = read("alerts.yaml");
    let alerts: Vec<_> =
        alerts.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    let runbook = read("runbook.md");
    let headings: Vec<_> = runbook.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    assert_eq!(alerts, headings);
    let text = read("alerts.yaml");
    for alert in alerts {
        let anchor = format!("runbook: docs/operations/runbook.md#{}\n", alert.to_lowercase());
        assert!(text.contains(&anchor), "{anchor}");
    }
}

#[test]
fn alerts_runbook_and_dashboard_ask_for_metrics_that_there_are() {
    let listed = listed();
    serde_json::from_str::<serde_json::Value>(&read("dashboard.json")).expect("JSON");
    for file in ["alerts.yaml", "runbook.md", "dashboard.json"] {
        for word in words(&read(file)) {
            let of_histogram = ["_bucket", "_count", "_sum"];
            let family = of_histogram.iter().find_map(|end| word.strip_suffix(end));
            let known = listed.contains(&word) || family.is_some_and(|name| listed.contains(name));
            assert!(known, "{file} asks for {word}");
        }
    }
}

/// Runs promtool on a text, in a folder.
fn promtool(arguments: &[&str], input: &str, folder: &Path) {
    debian::need("prometheus", || {
        let asked = Command::new("promtool").arg("--version").output();
        asked.is_ok_and(|asked| asked.status.success())
    });
    let mut command = Command::new("promtool");
    command.args(arguments).current_dir(folder);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("promtool");
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let ended = child.wait_with_output().unwrap();
    let said = [ended.stdout, ended.stderr].concat();
    assert!(ended.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&said));
}
