//! The house's lines, held so that a reader can trust them: who may import whom, and how long a file
//! may grow.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// What each module of `src/` may import of the others. A module that is not here imports none.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("main", &["cli"]),
    (
        "cli",
        &[
            "app",
            "consumers",
            "database",
            "edge",
            "gateway",
            "jobs",
            "problem",
            "reload",
            "settings",
            "telemetry",
            "tenant",
        ],
    ),
    (
        "app",
        &[
            "connection",
            "consumers",
            "database",
            "edge",
            "gateway",
            "jobs",
            "metrics",
            "openapi",
            "operations",
            "outbound",
            "problem",
            "settings",
            "storage",
            "telemetry",
        ],
    ),
    ("reload", &["gateway", "settings"]),
    ("concurrency", &[]),
    ("connection", &[]),
    (
        "settings",
        &["consumers", "database", "edge", "gateway", "operations", "storage", "telemetry"],
    ),
    ("home", &[]),
    ("telemetry", &["home", "metrics", "outbound", "problem", "settings", "trace"]),
    ("metrics", &[]),
    ("openapi", &["problem"]),
    ("operations", &["database", "metrics", "openapi", "problem", "storage"]),
    ("edge", &["connection", "metrics", "problem", "settings", "telemetry", "trace"]),
    ("tenant", &["problem"]),
    (
        "gateway",
        &[
            "connection",
            "database",
            "edge",
            "metrics",
            "openapi",
            "outbound",
            "problem",
            "settings",
            "tenant",
            "trace",
        ],
    ),
    ("outbound", &["trace"]),
    ("fault", &[]),
    ("imaging", &[]),
    (
        "consumers",
        &[
            "concurrency",
            "database",
            "edge",
            "fault",
            "imaging",
            "jobs",
            "metrics",
            "openapi",
            "outbound",
            "problem",
            "settings",
            "storage",
            "tenant",
            "trace",
        ],
    ),
    ("jobs", &["database", "metrics", "problem", "trace"]),
    ("database", &["home", "metrics", "problem", "trace"]),
    ("storage", &[]),
    ("problem", &[]),
    ("trace", &[]),
];

/// Lines of a source file; more than this is more than one subject.
const MAX_LINES: usize = 450;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push((path.clone(), fs::read_to_string(&path).unwrap()));
        }
    }
    found
}

fn module_of(path: &Path) -> String {
    let inside = path.strip_prefix(root().join("src")).unwrap();
    let first = inside.components().next().unwrap().as_os_str().to_str().unwrap();
    first.trim_end_matches(".rs").to_owned()
}

/// The modules that follow `crate::` in a text, in grouped imports too.
fn imports(text: &str) -> Vec<String> {
    let mut imported: Vec<String> = Vec::new();
    let code: String = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .flat_map(|line| [line, "\n"])
        .collect();
    for after in code.split("crate::").skip(1) {
        let name =
            |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        let Some(group) = after.strip_prefix('{') else {
            imported.push(name(after));
            continue;
        };
        let mut depth = 0;
        let mut item = String::new();
        for c in group.chars() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => imported.push(name(std::mem::take(&mut item).trim())),
                c => item.push(c),
            }
        }
        imported.push(name(item.trim()));
    }
    imported.retain(|name| !name.is_empty());
    imported
}

#[test]
fn dependencies_point_one_way() {
    let may: BTreeMap<_, _> = MAY_IMPORT.iter().copied().collect();
    let modules: Vec<_> = may.keys().copied().collect();
    for (path, text) in sources(&root().join("src")) {
        let module = module_of(&path);
        if module == "lib" {
            continue;
        }
        let allowed =
            may.get(module.as_str()).unwrap_or_else(|| panic!("{module} is not in MAY_IMPORT"));
        for import in imports(&text) {
            let foreign = modules.contains(&import.as_str()) && import != module;
            assert!(
                !foreign || allowed.contains(&import.as_str()),
                "{} imports {import}",
                path.display()
            );
        }
    }
}

#[test]
fn storage_and_problem_stand_alone() {
    for (path, text) in sources(&root().join("src/storage")) {
        assert!(!text.contains("actix"), "{} knows of actix", path.display());
    }
    let wiring: Vec<_> = sources(&root().join("src"))
        .into_iter()
        .filter(|(path, text)| {
            let seen = imports(text);
            seen.iter().any(|m| m == "gateway")
                && seen.iter().any(|m| m == "operations")
                // It nests each module's own settings.
                && !["app", "settings"].contains(&&*module_of(path))
        })
        .collect();
    assert!(wiring.is_empty(), "only app.rs sees every module");
}

#[test]
fn a_grouped_import_is_seen_whole() {
    let text = "use crate::{\n    edge::{RequestId, Labels},\n    problem::Kind, tenant,\n};\ncrate::storage::X";
    assert_eq!(imports(text), ["edge", "problem", "tenant", "storage"]);
}

#[test]
fn files_keep_to_one_subject() {
    for folder in ["src", "tests"] {
        for (path, text) in sources(&root().join(folder)) {
            let lines = text.lines().count();
            assert!(
                lines <= MAX_LINES,
                "{} has {lines} lines; split it by subject",
                path.display()
            );
        }
    }
    let main = fs::read_to_string(root().join("src/main.rs")).unwrap();
    assert!(main.lines().count() <= 60, "src/main.rs only calls the command line");
}

#[test]
fn every_file_says_what_it_is_for() {
    for (path, text) in sources(&root().join("src")) {
        assert!(text.starts_with("//!"), "{} has no //! at its head", path.display());
    }
}

/// The recipes that pages name in backquotes, as in `just test`.
#[test]
fn the_recipes_that_pages_name_are_there() {
    let read = |name: &str| fs::read_to_string(root().join(name)).unwrap();
    let justfile = read("justfile");
    let recipes =
        justfile.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_lowercase()));
    let recipes: Vec<_> = recipes.filter_map(|line| line.split([' ', ':']).next()).collect();
    let pages = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/security.md"].map(read);
    let named = pages.iter().flat_map(|page| page.split("`just ").skip(1));
    let named: Vec<_> = named.filter_map(|after| after.split([' ', '`']).next()).collect();
    assert!(named.len() > 5, "{named:?}");
    for name in named {
        assert!(recipes.contains(&name), "there is no `just {name}`: {recipes:?}");
    }
}

/// The tests that docs/security.md names: `area::file::test`, or a whole `area::file`.
#[test]
fn the_threat_model_names_tests_that_there_are() {
    let page = fs::read_to_string(root().join("docs/security.md")).unwrap();
    let texts: Vec<_> =
        [root().join("tests"), root().join("src")].iter().flat_map(|f| sources(f)).collect();
    let rows = page.lines().filter(|line| line.starts_with("| ")).skip(1);
    let cells: Vec<_> = rows.map(|row| row.rsplit('|').nth(1).unwrap()).collect();
    assert!(cells.len() > 20, "the table was not read");
    for cell in cells {
        let names: Vec<_> = cell.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "no test in {cell:?}");
        for name in names {
            let (place, test) = name.rsplit_once("::").unwrap_or((name, ""));
            let is_in = |place: &str, path: &Path| {
                let path = path.with_extension("").display().to_string();
                path.trim_end_matches("/mod").ends_with(&format!("/{}", place.replace("::", "/")))
            };
            let found = texts.iter().any(|(path, text)| {
                is_in(name, path) || (is_in(place, path) && text.contains(&format!("fn {test}(")))
            });
            assert!(found, "docs/security.md names {name}, which is not there");
        }
    }
}
