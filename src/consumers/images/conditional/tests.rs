//! Conditions as clients write them, and what becomes of their requests.

use proptest::prelude::*;

use super::*;

const DATE: &str = "Thu, 01 Jan 1970 00:16:40 GMT";
const BEFORE: &str = "Thu, 01 Jan 1970 00:16:39 GMT";
const AFTER: &str = "Thu, 01 Jan 1970 00:16:41 GMT";

/// Version `v2`, of the second that `DATE` names.
fn current() -> Validators {
    let modified = UNIX_EPOCH + Duration::from_millis(1_000_999);
    Validators { etag: "v2".to_owned(), modified, only_one_that_second: true }
}

fn conditions(fields: &[(HeaderName, &str)]) -> Conditions {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(name.clone(), HeaderValue::from_str(value).unwrap());
    }
    Conditions::of(&headers)
}

#[test]
fn each_condition_has_its_outcome() {
    use Outcome::{Failed, NotModified, Proceed};
    // The field, then: reading, writing, and both of what is not there.
    for (name, value, read, write, read_none, write_none) in [
        (IF_MATCH, "*", Proceed, Proceed, Failed, Failed),
        (IF_MATCH, " * ", Proceed, Proceed, Failed, Failed),
        (IF_MATCH, "\"v2\"", Proceed, Proceed, Failed, Failed),
        (IF_MATCH, "\"v1\" ,, \"v2\",", Proceed, Proceed, Failed, Failed),
        (IF_MATCH, "\"v1,v3\", \"v2\"", Proceed, Proceed, Failed, Failed),
        (IF_MATCH, "\"v1,\"v2\"", Failed, Failed, Failed, Failed),
        (IF_MATCH, "W/\"v2\"", Failed, Failed, Failed, Failed),
        (IF_MATCH, "\"v1\"", Failed, Failed, Failed, Failed),
        (IF_MATCH, "v2", Failed, Failed, Failed, Failed),
        (IF_MATCH, "v1, \"v2\"", Failed, Failed, Failed, Failed),
        (IF_MATCH, "\"v2\", v1", Proceed, Proceed, Failed, Failed),
        (IF_MATCH, "", Failed, Failed, Failed, Failed),
        (IF_NONE_MATCH, "*", NotModified, Failed, Proceed, Proceed),
        (IF_NONE_MATCH, "\"v2\"", NotModified, Failed, Proceed, Proceed),
        (IF_NONE_MATCH, "W/\"v2\"", NotModified, Failed, Proceed, Proceed),
        (IF_NONE_MATCH, "\"v1\", W/\"v2\"", NotModified, Failed, Proceed, Proceed),
        (IF_NONE_MATCH, "\"v1\"", Proceed, Proceed, Proceed, Proceed),
        (IF_NONE_MATCH, "w/\"v2\"", Proceed, Failed, Proceed, Failed),
        (IF_NONE_MATCH, "v2", Proceed, Failed, Proceed, Failed),
        (IF_NONE_MATCH, "", Proceed, Proceed, Proceed, Proceed),
        (IF_MODIFIED_SINCE, DATE, NotModified, Proceed, Proceed, Proceed),
        (IF_MODIFIED_SINCE, AFTER, NotModified, Proceed, Proceed, Proceed),
        (IF_MODIFIED_SINCE, BEFORE, Proceed, Proceed, Proceed, Proceed),
        (
            IF_MODIFIED_SINCE,
            "Thursday, 01-Jan-70 00:16:40 GMT",
            NotModified,
            Proceed,
            Proceed,
            Proceed,
        ),
        (IF_MODIFIED_SINCE, "Thu Jan  1 00:16:40 1970", NotModified, Proceed, Proceed, Proceed),
        (IF_MODIFIED_SINCE, "yesterday", Proceed, Proceed, Proceed, Proceed),
        (IF_UNMODIFIED_SINCE, DATE, Proceed, Proceed, Proceed, Proceed),
        (IF_UNMODIFIED_SINCE, AFTER, Proceed, Proceed, Proceed, Proceed),
        (IF_UNMODIFIED_SINCE, BEFORE, Failed, Failed, Proceed, Proceed),
        (IF_UNMODIFIED_SINCE, "yesterday", Proceed, Proceed, Proceed, Proceed),
    ] {
        let conditions = conditions(&[(name.clone(), value)]);
        let now = current();
        let of = |access, current| conditions.evaluate(access, current);
        assert_eq!(of(Access::Read, Some(&now)), read, "read, {name}: {value}");
        assert_eq!(of(Access::Write, Some(&now)), write, "write, {name}: {value}");
        assert_eq!(of(Access::Read, None), read_none, "read of none, {name}: {value}");
        assert_eq!(of(Access::Write, None), write_none, "write of none, {name}: {value}");
    }
}

#[test]
fn conditions_are_taken_in_their_order() {
    use Outcome::{Failed, NotModified, Proceed};
    let read = |fields: &[_]| conditions(fields).evaluate(Access::Read, Some(&current()));
    let (yes, no) = ("\"v2\"", "\"v1\"");
    assert_eq!(read(&[(IF_MATCH, yes), (IF_UNMODIFIED_SINCE, BEFORE)]), Proceed);
    assert_eq!(read(&[(IF_MATCH, no), (IF_UNMODIFIED_SINCE, AFTER)]), Failed);
    assert_eq!(read(&[(IF_MATCH, no), (IF_NONE_MATCH, yes)]), Failed);
    assert_eq!(read(&[(IF_MATCH, yes), (IF_NONE_MATCH, yes)]), NotModified);
    assert_eq!(read(&[(IF_NONE_MATCH, no), (IF_MODIFIED_SINCE, AFTER)]), Proceed);
    assert_eq!(read(&[(IF_NONE_MATCH, yes), (IF_MODIFIED_SINCE, BEFORE)]), NotModified);
    assert_eq!(read(&[(IF_UNMODIFIED_SINCE, BEFORE), (IF_MODIFIED_SINCE, AFTER)]), Failed);
    assert_eq!(read(&[(IF_UNMODIFIED_SINCE, DATE), (IF_MODIFIED_SINCE, DATE)]), NotModified);
    assert_eq!(read(&[(IF_RANGE, no)]), Proceed);
    assert_eq!(read(&[]), Proceed);
}

#[test]
fn repeated_fields_are_one_list_and_repeated_dates_none() {
    let read = |fields: &[_]| conditions(fields).evaluate(Access::Read, Some(&current()));
    assert_eq!(read(&[(IF_MATCH, "\"v1\""), (IF_MATCH, "\"v2\"")]), Outcome::Proceed);
    let dates = [(IF_MODIFIED_SINCE, DATE), (IF_MODIFIED_SINCE, DATE)];
    assert_eq!(read(&dates), Outcome::Proceed);
}

#[test]
fn a_range_is_only_of_the_very_same_version() {
    for (value, holds) in [
        ("\"v2\"", true),
        ("W/\"v2\"", false),
        ("\"v1\"", false),
        ("\"v1\", \"v2\"", false),
        ("v2", false),
        ("*", false),
        ("", false),
        (DATE, true),
        (AFTER, false),
        (BEFORE, false),
    ] {
        let conditions = conditions(&[(IF_RANGE, value)]);
        assert_eq!(conditions.range_holds(&current()), holds, "{value}");
    }
    let replaced = Validators { only_one_that_second: false, ..current() };
    assert!(!conditions(&[(IF_RANGE, DATE)]).range_holds(&replaced));
    assert!(conditions(&[(IF_RANGE, "\"v2\"")]).range_holds(&replaced));
    assert!(conditions(&[]).range_holds(&replaced));
    let twice = conditions(&[(IF_RANGE, "\"v2\""), (IF_RANGE, "\"v2\"")]);
    assert!(!twice.range_holds(&current()));
}

#[test]
fn fields_are_written_as_they_are_read() {
    let now = current();
    assert_eq!(now.etag_value(), "\"v2\"");
    assert_eq!(now.last_modified().to_string(), DATE);
}

proptest! {
    #[test]
    fn a_list_is_read_as_it_was_written(
        tags in proptest::collection::vec((any::<bool>(), "[!#-~]{0,6}"), 0..6),
        gaps in proptest::collection::vec("[ \t]{0,2},?[ \t]{0,2}", 6),
    ) {
        let mut line = String::new();
        for ((weak, opaque), gap) in tags.iter().zip(&gaps) {
            line.push_str(&format!("{}\"{opaque}\"{gap},", if *weak { "W/" } else { "" }));
        }
        let mut read = Tags::default();
        read.parse(line.as_bytes());
        let wanted: Vec<_> = tags.into_iter()
            .map(|(weak, opaque)| Tag { weak, opaque: opaque.into_bytes() })
            .collect();
        prop_assert_eq!((read.tags, read.malformed, read.any), (wanted, false, false));
    }

    #[test]
    fn no_field_is_too_odd(value in proptest::collection::vec(0x20_u8..=0xff, 0..40)) {
        let Ok(value) = HeaderValue::from_bytes(&value) else { return Ok(()) };
        for name in [IF_MATCH, IF_NONE_MATCH, IF_RANGE, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE] {
            let mut headers = HeaderMap::new();
            headers.append(name, value.clone());
            let conditions = Conditions::of(&headers);
            conditions.evaluate(Access::Read, Some(&current()));
            conditions.range_holds(&current());
        }
    }
}
