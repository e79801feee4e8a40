//! Wrong input and the sentence it gets: the key, its source and the remedy.

use std::{ffi::OsString, os::unix::ffi::OsStringExt, path::PathBuf};

use super::*;

/// Loads a file with this text and these variables.
fn load_with(toml: &str, env: &[(&str, &str)]) -> Result<Settings, String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("my.toml");
    std::fs::write(&file, toml).unwrap();
    let env = env.iter().map(|(name, value)| (name.into(), value.into())).collect();
    load(&Sources { file: Some(file), env }).map_err(|error| error.to_string())
}

#[track_caller]
fn refused(toml: &str, env: &[(&str, &str)], words: &[&str]) -> String {
    let error = load_with(toml, env).map(drop).unwrap_err();
    for word in words {
        assert!(error.contains(word), "no {word:?} in: {error}");
    }
    assert!(!error.contains('\n'), "{error}");
    error
}

const TRUSTED: &str = "GATEHOUSE__SERVER__TRUSTED_PROXIES";
const BASE_URL: &str = "TR_CONSUMER_SERVICE_BASE_URL";

#[test]
fn wrong_values_of_the_file_are_told_with_key_source_and_remedy() {
    let cases = [
        ("server.listen", "\"localhost:3000\"", "write an address such as \"127.0.0.1:3000\""),
        ("server.listen", "3000", "\"127.0.0.1:3000\""),
        ("consumers.listen", "true", "\"127.0.0.1:3000\""),
        ("server.workers", "2.6", "whole number such as 10"),
        ("server.workers", "-1", "whole number such as 10"),
        ("server.workers", "\"2\"", "whole number such as 10"),
        ("server.workers", "true", "whole number such as 10"),
        ("server.workers", "5000", "up to 1024"),
        ("server.shutdown_timeout", "\"soon\"", "\"30s\""),
        ("server.shutdown_timeout", "30", "\"30s\""),
        ("server.header_timeout", "\"0s\"", "\"10s\""),
        ("server.trusted_proxies[1]", "", "\"10.0.0.0/8\""),
        ("server.trusted_proxies", "\"10.0.0.0/8\"", "a list"),
        ("auth.allow_open_network", "7", "true or false"),
        ("auth.allow_open_network", "\"yes\"", "true or false"),
        ("auth.allow_open_network", "\"true\"", "true or false"),
        ("auth.mode", "\"closed\"", "write \"open\""),
        ("consumers.images.max_file_size", "\"32 bananas\"", "\"32MiB\""),
        ("consumers.images.max_file_size", "-1", "\"32MiB\""),
        ("consumers.images.max_file_size", "1.5", "\"32MiB\""),
        ("consumers.images.max_parts", "1.0", "whole number"),
        ("consumers.images.on_conflict", "\"ask\"", "write \"overwrite\" or \"reject\""),
        ("consumers.images.on_conflict", "1", "write \"overwrite\" or \"reject\""),
        ("consumers.images.accept", "\"image/png\"", "a list"),
        ("consumers.images.accept", "[\"image/svg+xml\"]", "image/png"),
        ("storage.backend", "\"ftp\"", "write \"local\" or \"s3\""),
        ("storage.s3.bucket", "123", "in quotes"),
        ("storage.s3.prefix", "2024-10-01", "in quotes"),
        ("storage.s3.part_size", "\"big\"", "\"8MiB\""),
        ("storage.s3.endpoint_url", "\"http://me:pw@host\"", "AWS_SECRET_ACCESS_KEY"),
        ("services.x.url", "\"http://me:pw@host\"", "has a user or a password"),
        ("services.x.url", "\"ftp://x\"", "\"http://"),
        ("services.x.max_body_size", "\"x\"", "\"32MiB\""),
        ("services.x.max_requests", "-1", "whole number"),
        ("services.x.urls", "\"http://x\"", "a list"),
        ("services.x.urls[1]", "", "\"http://"),
        ("services.x.ca_file", "7", "in quotes"),
        ("services.x.ca_file", "\"no-such-file.pem\"", "which cannot be read"),
        ("services.x.circuit", "5", "section"),
        ("services.x.circuit.open_for", "30", "\"30s\""),
        ("server", "3", "section"),
        ("server.workers", "{ x = 1 }", "whole number"),
        ("telemetry.log_format", "\"xml\"", "\"pretty\" or \"json\""),
    ];
    for (key, value, remedy) in cases {
        let toml = match key {
            "server.trusted_proxies[1]" => {
                "server.trusted_proxies = [\"::1/128\", \"10.0.0.0/99\"]".to_owned()
            }
            "services.x.urls[1]" => {
                "services.x.urls = [\"http://x\", \"http://me:pw@host\"]".to_owned()
            }
            _ => format!("{key} = {value}"),
        };
        let error = refused(&toml, &[], &[&format!("setting {key} (from "), "my.toml)", remedy]);
        assert!(!error.contains("me:pw"), "{error}");
    }
}

#[test]
fn wrong_values_of_the_environment_are_told_with_their_variable() {
    let cases = [
        ("SERVER__LISTEN", "localhost:3000", "\"127.0.0.1:3000\""),
        ("SERVER__WORKERS", "2.6", "whole number"),
        ("SERVER__WORKERS", "yes", "whole number"),
        ("SERVER__WORKERS__X", "1", "whole number"),
        ("SERVER__SHUTDOWN_TIMEOUT", "30", "\"30s\""),
        ("SERVER__TRUSTED_PROXIES", "10.0.0.0/8,nonsense", "\"10.0.0.0/8\""),
        ("AUTH__ALLOW_OPEN_NETWORK", "1", "true or false"),
        ("AUTH__ALLOW_OPEN_NETWORK", "TRUE", "true or false"),
        ("AUTH__ALLOW_OPEN_NETWORK", "yes", "true or false"),
        ("STORAGE__BACKEND", "ftp", "\"local\" or \"s3\""),
        ("STORAGE", "s3", "section"),
        ("CONSUMERS__IMAGES__MAX_FILE_SIZE", "32 bananas", "\"32MiB\""),
        ("SERVER__LISTNE", "x", "listen"),
        ("NOPE", "x", "storage"),
        ("SERVICES__X__URL", "x:1", "\"http://"),
    ];
    for (name, value, remedy) in cases {
        let name = format!("GATEHOUSE__{name}");
        // The file's value of the same key is not to blame.
        let file = "[server]\nworkers = 1\nlisten = \"127.0.0.1:1\"\n[storage]\nbackend = \"s3\"";
        let source = format!("(from environment variable {name})");
        refused(file, &[(&name, value)], &[&source, remedy]);
    }
}

#[test]
fn unknown_keys_are_named_in_full() {
    for (toml, key) in [
        ("storage.age = 1", "storage.age"),
        ("storage.s3.s3 = 1", "storage.s3.s3"),
        ("[sever]", "sever"),
        ("[sever]\nlisten = 1", "sever"),
        ("\"server.listen\" = \"127.0.0.1:1\"", "server.listen"),
        ("\"a[999999999999]\" = 1", "a[999999999999]"),
        ("services.x = { url = \"http://x\", age = 1 }", "services.x.age"),
        ("consumers.images.age = 1", "consumers.images.age"),
    ] {
        refused(toml, &[], &[&format!("setting {key} (from /"), "is not known; there is "]);
    }
}

#[test]
fn strings_of_the_environment_stay_as_they_are() {
    let settings = load_with(
        "",
        &[
            ("GATEHOUSE__STORAGE__S3__PREFIX", "2024.10"),
            ("GATEHOUSE__STORAGE__S3__BUCKET", "0123"),
            ("GATEHOUSE__STORAGE__S3__REGION", "true"),
            ("GATEHOUSE__STORAGE__S3__KMS_KEY_ID", "a,b"),
            ("GATEHOUSE__STORAGE__S3__FORCE_PATH_STYLE", "false"),
            ("GATEHOUSE__SERVER__WORKERS", "3"),
            ("GATEHOUSE__CONSUMERS__IMAGES__MAX_FILE_SIZE", "33000000"),
            ("GATEHOUSE__CONSUMERS__IMAGES__ACCEPT", "image/png, image/gif"),
            (TRUSTED, "10.0.0.0/8,::1/128"),
        ],
    )
    .unwrap();
    assert_eq!(settings.storage.s3.prefix, "2024.10");
    assert_eq!(settings.storage.s3.bucket.as_deref(), Some("0123"));
    assert_eq!(settings.storage.s3.region.as_deref(), Some("true"));
    assert_eq!(settings.storage.s3.kms_key_id.as_deref(), Some("a,b"));
    assert_eq!(settings.storage.s3.force_path_style, Some(false));
    assert_eq!(settings.server.workers, 3);
    assert_eq!(settings.consumers.images.max_file_size.as_u64(), 33_000_000);
    assert_eq!(settings.consumers.images.accept, ["image/png", "image/gif"]);
    assert_eq!(settings.server.trusted_proxies.len(), 2);
}

#[test]
fn empty_variables_count_as_not_set() {
    let settings = load_with(
        "[storage]\nbackend = \"s3\"\n[storage.s3]\nbucket = \"b\"",
        &[
            ("GATEHOUSE__STORAGE__S3__BUCKET", ""),
            ("GATEHOUSE__SERVER__WORKERS", ""),
            ("GATEHOUSE__NOPE", ""),
            ("S3_BUCKET", ""),
            (BASE_URL, ""),
        ],
    )
    .unwrap();
    assert_eq!(settings.storage.s3.bucket.as_deref(), Some("b"));
}

#[test]
fn variables_that_are_not_utf8_are_refused_if_they_are_ours() {
    let with = |name: &str| {
        let env = vec![(OsString::from(name), OsString::from_vec(vec![b'x', 0xff]))];
        load(&Sources { file: Some("/dev/null".into()), env }).map_err(|error| error.to_string())
    };
    for name in ["GATEHOUSE__STORAGE__S3__PREFIX", "S3_BUCKET", BASE_URL] {
        let error = with(name).unwrap_err();
        assert!(error.contains(name) && error.contains("UTF-8"), "{error}");
    }
    assert!(with("HOME").is_ok());
}

#[test]
fn a_variable_is_a_value_or_a_section() {
    let both = [("GATEHOUSE__SERVER__WORKERS", "2"), ("GATEHOUSE__SERVER__WORKERS__X", "1")];
    refused("", &both, &[both[0].0, both[1].0, "unset one"]);
}

#[test]
fn the_well_known_names_are_blamed_only_for_what_they_set() {
    let s3 = ("S3_BUCKET", "b");
    refused("storage.s3.part_size = \"1\"", &[s3], &["storage.s3.part_size (from /"]);
    let url = (BASE_URL, "http://x:1");
    let toml = "services.consumers.idle_timeout = \"x\"";
    refused(toml, &[url], &["services.consumers.idle_timeout (from /"]);
    refused("", &[(BASE_URL, "x:1")], &["services.consumers.url (from environment variable TR_"]);
    let settings = load_with("", &[url, s3]).unwrap();
    assert_eq!(settings.storage.backend, storage::BackendKind::S3);
    assert_eq!(settings.services.0["consumers"].url.as_deref(), Some("http://x:1"));
    let settings = load_with("services.consumers.urls = [\"http://y\"]", &[url]).unwrap();
    assert_eq!(settings.services.0["consumers"].instances(), ["http://x:1"]);
}

#[test]
fn a_contradiction_names_all_its_sources() {
    let toml = "[services.x]\nmodule = \"consumers\"";
    let name = "GATEHOUSE__SERVICES__X__URL";
    let words = ["setting services.x (from /", "my.toml and environment variable", name];
    refused(toml, &[(name, "http://x")], &words);
    refused("[services.x]", &[], &["setting services.x (from /", "my.toml) has neither"]);
    refused("storage.backend = \"s3\"", &[], &["storage.s3.bucket (from the defaults)"]);
}

#[test]
fn a_remote_service_may_have_several_instances() {
    let instances = |toml: &str, env: &[(&str, &str)]| {
        load_with(toml, env).unwrap().services.0["x"].instances().to_vec()
    };
    let both = ["http://a:1/base", "http://b/"];
    assert_eq!(instances("services.x.urls = [\"http://a:1/base\", \"http://b/\"]", &[]), both);
    assert_eq!(
        instances("", &[("GATEHOUSE__SERVICES__X__URLS", "http://a:1/base, http://b/")]),
        both
    );
    assert_eq!(instances("services.x.url = \"http://b/\"", &[]), ["http://b/"]);
    assert!(instances("services.x.module = \"consumers\"", &[]).is_empty());
}

#[test]
fn the_limits_of_a_remote_service_are_checked() {
    let url = "[services.x]\nurl = \"http://x\"\n";
    for (line, key, remedy) in [
        ("max_requests = 0", "max_requests", "raise it"),
        ("health_interval = \"0s\"", "health_interval", "\"30s\""),
        ("circuit = { failures = 0 }", "circuit.failures", "raise it"),
        ("circuit = { open_for = \"0s\" }", "circuit.open_for", "\"30s\""),
        ("circuit = { failure = 1 }", "circuit.failure", "failures"),
        ("health_path = \"healthz\"", "health_path", "\"/healthz\""),
        ("health_path = \"http://x/\"", "health_path", "\"/healthz\""),
        ("health_path = \"*\"", "health_path", "\"/healthz\""),
        ("health_path = \"/a b\"", "health_path", "\"/healthz\""),
        ("health_path = \"/a#b\"", "health_path", "\"/healthz\""),
    ] {
        refused(
            &format!("{url}{line}"),
            &[],
            &[&format!("setting services.x.{key} (from /"), remedy],
        );
    }
    let toml = format!("{url}circuit = {{ failures = 2 }}\nhealth_path = \"/up?deep=1\"");
    let service = &load_with(&toml, &[]).unwrap().services.0["x"];
    let circuit = service.circuit.unwrap();
    assert_eq!((circuit.failures, circuit.open_for), (2, Duration::from_secs(30)));
    let module = "[services.x]\nmodule = \"consumers\"\n";
    for line in ["max_requests = 1", "health_path = \"/\"", "circuit = {}"] {
        refused(&format!("{module}{line}"), &[], &["setting services.x.", "for a remote service"]);
    }
}

#[test]
fn whoever_has_a_modules_name_needs_a_tenant() {
    let needs =
        |toml: &str, name: &str| load_with(toml, &[]).unwrap().services.0[name].tenant_required;
    assert!(needs("", "consumers"));
    assert!(needs("services.consumers.idle_timeout = \"5s\"", "consumers"));
    assert!(needs("services.consumers.url = \"http://x\"", "consumers"));
    assert!(needs("services.images.module = \"consumers\"", "images"));
    assert!(!needs("services.orders.url = \"http://x\"", "orders"));
}

#[test]
fn syntax_errors_tell_the_line_and_not_its_text() {
    let error = refused("[server]\nworkers = 1\nkey = s3cret\n", &[], &["my.toml", "line 3"]);
    assert!(!error.contains("s3cret"), "{error}");
    let error = refused("[server]\nkey = \"s3cret", &[], &["my.toml", "line 2"]);
    assert!(!error.contains("s3cret"), "{error}");
    refused("\"a\\nb\" = 1", &[], &["a b"]);
}

#[test]
fn only_a_missing_default_file_means_none() {
    let of = |file: PathBuf| load(&Sources { file: Some(file), env: Vec::new() });
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("prod.toml"), "").unwrap();
    let error = of(folder.path().join("prod")).unwrap_err().to_string();
    assert!(error.contains("prod cannot be read"), "{error}");
    let error = of(folder.path().into()).unwrap_err().to_string();
    assert!(error.contains("cannot be read"), "{error}");
    assert!(of(folder.path().join("prod.toml")).is_ok());
}

#[test]
fn what_is_printed_reads_back_the_same() {
    let toml = "[consumers]\nlisten = \"127.0.0.1:1\"\n\
                [consumers.images]\nmax_file_size = 33000000\nmax_text_field = \"1.5KiB\"\n\
                [server]\ntrusted_proxies = [\"10.0.0.0/8\"]\nheader_timeout = \"90s\"\n\
                [storage.s3]\npart_size = 5500000\n\
                [services.orders]\nurl = \"http://orders\"\nmax_body_size = \"1GiB\"\n\
                [services.pair]\nurls = [\"http://a\", \"http://b\"]\nmax_requests = 9\n\
                circuit = { open_for = \"90s\" }\nhealth_path = \"/healthz\"\n";
    let printed = load_with(toml, &[]).unwrap().to_toml().unwrap();
    for line in [
        "max_file_size = \"33000000\"",
        "max_text_field = \"1536\"",
        "upload_memory = \"256MiB\"",
        "part_size = \"5500000\"",
        "max_body_size = \"1GiB\"",
        "header_timeout = \"1m 30s\"",
        "open_for = \"1m 30s\"",
    ] {
        assert!(printed.lines().any(|printed| printed == line), "no {line} in\n{printed}");
    }
    assert_eq!(load_with(&printed, &[]).unwrap().to_toml().unwrap(), printed);
}
