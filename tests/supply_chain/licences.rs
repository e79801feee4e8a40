//! The licences of what is built: SPDX expressions, of which deny.toml has to allow enough.

use super::{deny, metadata};

/// Whether these licences are enough for an SPDX expression (SPDX 2.3, annex D). `/` is how crates
/// once wrote OR.
fn allows(allowed: &[String], expression: &str) -> Result<bool, String> {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let mut words = spaced.split_whitespace().peekable();
    let all = either(allowed, &mut words)?;
    match words.next() {
        None => Ok(all),
        Some(word) => Err(format!("{word:?} is left over in {expression:?}")),
    }
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn either(allowed: &[String], words: &mut Words<'_>) -> Result<bool, String> {
    let mut enough = both(allowed, words)?;
    while words.next_if_eq(&"OR").is_some() {
        enough |= both(allowed, words)?;
    }
    Ok(enough)
}

fn both(allowed: &[String], words: &mut Words<'_>) -> Result<bool, String> {
    let mut enough = one(allowed, words)?;
    while words.next_if_eq(&"AND").is_some() {
        enough &= one(allowed, words)?;
    }
    Ok(enough)
}

fn one(allowed: &[String], words: &mut Words<'_>) -> Result<bool, String> {
    match words.next() {
        Some("(") => {
            let enough = either(allowed, words)?;
            words.next_if_eq(&")").map(|_| enough).ok_or_else(|| "no )".to_owned())
        }
        Some(word) if !["AND", "OR", "WITH", ")"].contains(&word) => {
            let mut licence = word.to_owned();
            if words.next_if_eq(&"WITH").is_some() {
                licence = format!("{word} WITH {}", words.next().ok_or("no exception")?);
            }
            Ok(allowed.contains(&licence))
        }
        word => Err(format!("{word:?} is no licence")),
    }
}

#[test]
fn every_licence_is_allowed() {
    let (metadata, allowed) = (metadata(), deny().licenses.allow);
    let packages = metadata["packages"].as_array().unwrap();
    assert!(packages.len() > 200, "cargo told of {} packages", packages.len());
    for package in packages {
        let name = package["name"].as_str().unwrap();
        let licence =
            package["license"].as_str().unwrap_or_else(|| panic!("{name} has no licence"));
        let enough = allows(&allowed, licence).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(enough, "{name} is under {licence}, which deny.toml does not allow");
    }
}

#[test]
fn an_expression_is_read_as_spdx_has_it() {
    let allowed = ["MIT".to_owned(), "ISC".to_owned(), "Apache-2.0 WITH LLVM-exception".to_owned()];
    let is = |expression: &str| allows(&allowed, expression);
    for good in ["MIT", "GPL-3.0 OR MIT", "MIT/Apache-2.0", "ISC AND (GPL-3.0 OR MIT)"] {
        assert_eq!(is(good), Ok(true), "{good}");
    }
    for bad in ["GPL-3.0", "MIT AND GPL-3.0", "(MIT OR ISC) AND GPL-3.0", "Apache-2.0", "mit"] {
        assert_eq!(is(bad), Ok(false), "{bad}");
    }
    // AND binds before OR does.
    assert_eq!(is("MIT OR ISC AND GPL-3.0"), Ok(true));
    assert_eq!(is("GPL-3.0 AND ISC OR GPL-3.0"), Ok(false));
    assert_eq!(is("Apache-2.0 WITH LLVM-exception OR GPL-3.0"), Ok(true));
    for wrong in ["", "MIT OR", "(MIT", "MIT)", "MIT MIT", "OR"] {
        assert!(is(wrong).is_err(), "{wrong}");
    }
}
