//! The files of docs/deploy: what reads them takes them, the settings in them are settings, and
//! the times in them go together.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::harness::App;
use crate::harness::{debian, scripts};

/// What a replica needs beside its drain and its shutdown, to clear away what was cut.
const CLEARING: Duration = Duration::from_secs(5);

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/deploy").join(name)
}

fn text(name: &str) -> String {
    std::fs::read_to_string(folder(name)).expect(name)
}

/// Runs a program, which must succeed; what it prints.
#[track_caller]
fn succeeds(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let told = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (told(&output.stdout), told(&output.stderr));
    assert!(output.status.success(), "{command:?}: {out}{err}");
    out
}

/// The documents of a YAML file.
fn yaml(name: &str) -> Vec<Value> {
    const SCRIPT: &str =
        "import json, sys, yaml; print(json.dumps(list(yaml.safe_load_all(open(sys.argv[1])))))";
    let mut python = Command::new(scripts::checker());
    serde_json::from_str(&succeeds(python.args(["-c", SCRIPT]).arg(folder(name)))).unwrap()
}

/// The manifests but for the kustomization, which is no resource.
fn manifests() -> Vec<PathBuf> {
    let files = std::fs::read_dir(folder("kubernetes")).unwrap().map(|entry| entry.unwrap().path());
    let is_manifest = |file: &PathBuf| {
        file.extension().is_some_and(|e| e == "yaml") && !file.ends_with("kustomization.yaml")
    };
    let mut manifests: Vec<_> = files.filter(is_manifest).collect();
    manifests.sort();
    manifests
}

/// A value as a container gets it: `${NAME:-default}` is the default, what is asked for is made up.
fn interpolated(value: &str) -> String {
    let mut text = String::new();
    let mut rest = value;
    while let Some((before, after)) = rest.split_once("${") {
        let (name, behind) = after.split_once('}').expect("an end");
        text.push_str(before);
        text.push_str(name.split_once(":-").map_or("made-up", |(_, default)| default));
        rest = behind;
    }
    text + rest
}

/// What `gatehouse check` prints for these settings, which must be good.
fn checked(settings: &str, env: &BTreeMap<String, String>) -> toml::Table {
    let builder = App::builder().file(settings);
    let builder = env.iter().fold(builder, |builder, (name, value)| builder.env(name, value));
    let ended = builder.run(&["check"]);
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    ended.stdout.parse().expect("TOML")
}

fn duration(text: &str) -> Duration {
    humantime::parse_duration(text).expect(text)
}

/// How long these settings let a stop take.
fn longest_stop(settings: &toml::Table) -> Duration {
    let time = |key: &str| duration(settings["server"][key].as_str().expect(key));
    time("drain_delay") + time("shutdown_timeout") + CLEARING
}

#[test]
fn kubernetes_takes_the_manifests() {
    let mut validate = Command::new(scripts::checker());
    validate.args(["-m", "kubernetes_validate", "--strict"]).args(manifests());
    succeeds(&mut validate);
    // And none is forgotten but those that are an alternative.
    let kustomization = text("kubernetes/kustomization.yaml");
    for manifest in manifests() {
        let name = manifest.file_name().unwrap().to_str().unwrap().to_owned();
        assert!(kustomization.contains(&format!("- {name}")), "{name} is not listed");
    }
}

#[test]
fn compose_takes_its_file() {
    let file = folder("compose/compose.yaml");
    let mut check = Command::new(scripts::checker());
    check.args(["-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]).arg(file);
    succeeds(&mut check);
    // Whatever it interpolates is in the example of .env, or has a default.
    let example = text("compose/.env.example");
    for after in text("compose/compose.yaml").split("${").skip(1) {
        let (name, _) = after.split_once('}').expect("an end");
        let (name, default) =
            name.split_once(':').expect("a default, or a word on what is missing");
        let is_there = example.lines().any(|line| line.starts_with(&format!("{name}=")));
        assert!(is_there || default.starts_with('-'), "{name} is not in .env.example");
    }
}

#[test]
fn the_replicas_of_compose_start_and_have_time_to_stop() {
    let compose = &yaml("compose/compose.yaml")[0];
    let nginx = text("compose/nginx.conf");
    let proxy = &compose["services"]["nginx"]["networks"]["default"]["ipv4_address"];
    for name in ["gatehouse-1", "gatehouse-2", "gatehouse-3"] {
        let service = &compose["services"][name];
        let env = service["environment"].as_object().expect("an environment");
        let env = env
            .iter()
            .map(|(name, value)| (name.clone(), interpolated(value.as_str().expect("a text"))));
        let settings = checked(&text("compose/settings.toml"), &env.collect());
        let grace = duration(service["stop_grace_period"].as_str().unwrap());
        assert!(grace >= longest_stop(&settings), "{name}: {grace:?}");
        let addr = service["networks"]["default"]["ipv4_address"].as_str().unwrap();
        assert!(nginx.contains(&format!("server {addr}:3000 ")), "nginx does not know {addr}");
        let trusted = settings["server"]["trusted_proxies"].as_array().unwrap();
        assert_eq!(trusted[0].as_str().unwrap(), format!("{}/32", proxy.as_str().unwrap()));
    }
}

#[test]
fn the_pods_start_and_have_time_to_stop() {
    let pod = &yaml("kubernetes/deployment.yaml")[0]["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    // What the secret brings, and what is filled in by the cluster.
    let mut env = BTreeMap::from([
        ("GATEHOUSE__DATABASE__URL".to_owned(), "postgres://a:b@c/d".to_owned()),
        ("AWS_ACCESS_KEY_ID".to_owned(), "made-up".to_owned()),
        ("AWS_SECRET_ACCESS_KEY".to_owned(), "made-up".to_owned()),
    ]);
    for variable in container["env"].as_array().unwrap() {
        let value = variable["value"].as_str().unwrap_or("2");
        env.insert(variable["name"].as_str().unwrap().to_owned(), value.to_owned());
    }
    let settings = checked(&text("kubernetes/settings.toml"), &env);
    let grace = pod["terminationGracePeriodSeconds"].as_u64().unwrap();
    assert!(Duration::from_secs(grace) >= longest_stop(&settings), "{grace} s");
    assert!(settings["server"]["listen"].as_str().unwrap().ends_with(":3000"));
    assert_eq!(container["ports"][0]["containerPort"], 3000);
}

#[test]
fn systemd_takes_the_unit() {
    debian::need("systemd", || Path::new("/usr/bin/systemd-analyze").exists());
    let unit = text("systemd/gatehouse.service");
    let settings = checked(&text("systemd/settings.toml"), &BTreeMap::new());
    let stop = unit.lines().find_map(|line| line.strip_prefix("TimeoutStopSec=")).unwrap();
    assert!(duration(stop) >= longest_stop(&settings), "{stop}");

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gatehouse.service");
    let program = "/usr/local/bin/gatehouse";
    assert!(unit.contains(program));
    std::fs::write(&file, unit.replace(program, env!("CARGO_BIN_EXE_gatehouse"))).unwrap();
    let analyze = || Command::new("/usr/bin/systemd-analyze");
    succeeds(analyze().args(["verify", "--man=no", "--recursive-errors=no"]).arg(&file));
    // Of 100, for a service that needs the network: 20 is what systemd calls OK.
    succeeds(analyze().args(["security", "--offline=true", "--threshold=20"]).arg(&file));
}

/// Whatever is named like a setting in docs/deploy is one.
#[test]
fn no_setting_is_named_that_there_is_not() {
    let mut files = vec![folder("README.md")];
    for name in ["compose", "kubernetes", "systemd"] {
        files.extend(std::fs::read_dir(folder(name)).unwrap().map(|entry| entry.unwrap().path()));
    }
    let mut names = std::collections::BTreeSet::new();
    for file in &files {
        let text = std::fs::read_to_string(file).unwrap();
        for after in text.split("GATEHOUSE__").skip(1) {
            let is_name = |c: &char| c.is_ascii_uppercase() || c.is_ascii_digit() || *c == '_';
            names.insert(after.chars().take_while(is_name).collect::<String>());
        }
    }
    assert!(names.len() > 3, "{names:?}");
    for name in names {
        let ended = App::builder().set(&name, "1").run(&["check"]);
        let unknown = ended.stderr.contains("is not known");
        assert!(!unknown, "GATEHOUSE__{name}: {}", ended.stderr);
    }
}
