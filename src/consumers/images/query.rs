//! The query of a listing: which images, how many, and behind which one.

use std::{
    borrow::Cow,
    time::{Duration, UNIX_EPOCH},
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use percent_encoding::percent_decode;
use utoipa::{
    IntoParams, PartialSchema as _,
    openapi::path::{Parameter, ParameterIn},
};
use uuid::Uuid;

use crate::{
    consumers::{error::Error, names::CustomerId, records::Position},
    openapi::{self, CONTROLS, number, parameter, text},
    storage::ObjectKey,
};

/// The most images on a page.
const MOST: usize = 200;
/// As many as there are where the client does not say.
const USUAL: usize = 50;

/// What a client asks of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// This customer's images only.
    pub customer: Option<CustomerId>,
    /// The image of this `storedName` only.
    pub stored_name: Option<ObjectKey>,
    /// At most so many images, 1 to 200.
    pub limit: usize,
    /// Those behind this place only.
    pub after: Option<Position>,
}

impl Query {
    /// Reads the query as it stands in the target, without its `?`.
    ///
    /// Names and values are decoded as a form's (`+` is a space). A parameter is given once; an
    /// empty value is none, since a client that lost a customer's id must not get all images.
    ///
    /// # Errors
    /// [`Error::QueryInvalid`], which says what is wrong with which parameter.
    pub fn parse(query: &str) -> Result<Self, Error> {
        let (mut customer, mut stored_name, mut limit, mut after) = (None, None, None, None);
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = decoded(value);
            let again = match decoded(name).as_ref() {
                b"customerId" => customer.replace(customer_of(&value)?).is_some(),
                b"storedName" => stored_name.replace(stored_name_of(&value)?).is_some(),
                b"limit" => limit.replace(limit_of(&value)?).is_some(),
                b"cursor" => after.replace(cursor_of(&value)?).is_some(),
                _ => return Err(unknown(name)),
            };
            if again {
                return Err(wrong(format!("The parameter '{name}' is there twice; send it once.")));
            }
        }
        Ok(Self { customer, stored_name, limit: limit.unwrap_or(USUAL), after })
    }
}

impl IntoParams for Query {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let segment = format!(r"[^/\\{CONTROLS}.][^/\\{CONTROLS}]{{0,254}}");
        let name = text(
            &format!("^{segment}(/{segment})*$"),
            "A name that an upload was answered with.",
            "tenant-abc/customer/12345/image.jpg",
        );
        vec![
            parameter("customerId", CustomerId::schema(), "This customer's images only."),
            parameter("storedName", name.max_length(Some(1024)), "The image of this name only."),
            parameter("limit", number(1, Some(200), "50 unless told."), "At most so many."),
            openapi::cursor(34),
        ]
    }
}

/// The version of a cursor's form.
const VERSION: u8 = 1;

/// A place in a listing as clients see it: not to be understood, only to be sent back.
pub fn cursor(place: Position) -> String {
    let since = place.created_at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let millis = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    let mut bytes = [0; 25];
    bytes[0] = VERSION;
    bytes[1..9].copy_from_slice(&millis.to_be_bytes());
    bytes[9..].copy_from_slice(place.id.as_bytes());
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// The place that the cursor was made of; none for what is no cursor.
fn place(cursor: &[u8]) -> Option<Position> {
    let bytes: [u8; 25] = BASE64_URL_SAFE_NO_PAD.decode(cursor).ok()?.try_into().ok()?;
    let (version, rest) = bytes.split_first()?;
    let (millis, id) = rest.split_first_chunk()?;
    (*version == VERSION).then_some(())?;
    let since = Duration::from_millis(u64::from_be_bytes(*millis));
    // Within what clocks and databases can tell.
    let created_at = (since.as_secs() < 1 << 38).then(|| UNIX_EPOCH + since)?;
    Some(Position { created_at, id: Uuid::from_slice(id).ok()? })
}

fn customer_of(value: &[u8]) -> Result<CustomerId, Error> {
    CustomerId::parse(value)
        .ok_or_else(|| wrong("The parameter 'customerId' is no customer's id.".to_owned()))
}

fn stored_name_of(value: &[u8]) -> Result<ObjectKey, Error> {
    let name = std::str::from_utf8(value).ok().and_then(|name| ObjectKey::parse(name).ok());
    name.ok_or_else(|| {
        wrong("The parameter 'storedName' is no name that an upload was answered with.".to_owned())
    })
}

fn limit_of(value: &[u8]) -> Result<usize, Error> {
    let digits = value.iter().all(u8::is_ascii_digit).then_some(value);
    let number = digits.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
    number.filter(|number| (1..=MOST).contains(number)).ok_or_else(|| {
        wrong(format!("The parameter 'limit' must be a whole number from 1 to {MOST}."))
    })
}

fn cursor_of(value: &[u8]) -> Result<Position, Error> {
    place(value).ok_or_else(|| {
        wrong("The parameter 'cursor' is none; send a nextCursor as it was answered.".to_owned())
    })
}

fn unknown(name: &str) -> Error {
    const KNOWN: &str = "the known ones are customerId, storedName, limit and cursor";
    let tellable = name.len() <= 40 && name.bytes().all(|b| b.is_ascii_graphic());
    let name = if tellable { Cow::from(format!("'{name}'")) } else { Cow::from("of this name") };
    wrong(format!("There is no parameter {name}; {KNOWN}."))
}

fn wrong(what: String) -> Error {
    Error::QueryInvalid(what)
}

/// A name or value, decoded as `application/x-www-form-urlencoded`.
fn decoded(text: &str) -> Cow<'_, [u8]> {
    if !text.contains(['+', '%']) {
        return Cow::from(text.as_bytes());
    }
    let spaces: Vec<u8> = text.bytes().map(|b| if b == b'+' { b' ' } else { b }).collect();
    Cow::from(Cow::from(percent_decode(&spaces)).into_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(query: &str) -> String {
        match Query::parse(query) {
            Err(Error::QueryInvalid(what)) => what,
            other => panic!("{query}: {other:?}"),
        }
    }

    fn position(millis: u64, id: u128) -> Position {
        let created_at = UNIX_EPOCH + Duration::from_millis(millis);
        Position { created_at, id: Uuid::from_u128(id) }
    }

    #[test]
    fn what_is_not_said_has_its_default() {
        let all = Query { customer: None, stored_name: None, limit: 50, after: None };
        assert_eq!(Query::parse("").unwrap(), all);
        assert_eq!(Query::parse("&&").unwrap(), all);
    }

    #[test]
    fn parameters_are_read_as_a_forms_fields() {
        let place = position(1_767_323_045_678, 7);
        let query = format!(
            "limit=200&customerId=a%2Bb%40c&stored%4eame=t%2fcustomer/1/a+b%20%C3%A9%2B.jpg&&cursor={}",
            cursor(place)
        );
        let read = Query::parse(&query).unwrap();
        assert_eq!(read.customer.unwrap().as_str(), "a+b@c");
        assert_eq!(read.stored_name.unwrap().as_str(), "t/customer/1/a b é+.jpg");
        assert_eq!((read.limit, read.after), (200, Some(place)));
    }

    #[test]
    fn each_fault_names_its_parameter() {
        for (query, name) in [
            ("limit=0", "'limit'"),
            ("limit=201", "'limit'"),
            ("limit=", "'limit'"),
            ("limit", "'limit'"),
            ("limit=-1", "'limit'"),
            ("limit=%2B1", "'limit'"),
            ("limit=1.5", "'limit'"),
            ("limit=99999999999999999999999", "'limit'"),
            ("limit=5&limit=5", "'limit' is there twice"),
            ("customerId=", "'customerId'"),
            ("customerId=..", "'customerId'"),
            ("customerId=%FF", "'customerId'"),
            ("customerId=a&customerId=a", "'customerId' is there twice"),
            ("storedName=", "'storedName'"),
            ("storedName=a//b", "'storedName'"),
            ("storedName=a/%FF", "'storedName'"),
            ("cursor=", "'cursor'"),
            ("cursor=AAAA", "'cursor'"),
            ("cursor=%00", "'cursor'"),
            ("Limit=5", "'Limit'"),
            ("page=2", "'page'"),
            ("=5", "''"),
            ("%3Cb%3E=1", "'%3Cb%3E'"),
        ] {
            let message = message(query);
            assert!(message.contains(name), "{query}: {message}");
        }
        assert!(message(&format!("{}=1", "x".repeat(100))).len() < 200);
    }

    #[test]
    fn a_cursor_of_another_kind_is_none() {
        let text = cursor(position(5, 0));
        assert_eq!(text.len(), 34);
        assert_eq!(place(text.as_bytes()), Some(position(5, 0)));
        let beyond = BASE64_URL_SAFE_NO_PAD.encode([[1; 1].as_slice(), &[0xff; 24]].concat());
        let other_version = format!("Ag{}", &text[2..]);
        let padded = format!("{text}==");
        let cut = &text[..33];
        for bad in [other_version.as_str(), &beyond, &padded, cut, &text.replace('A', "+"), "", "é"]
        {
            assert_eq!(place(bad.as_bytes()), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_cursor_comes_back(millis in 0_u64..1 << 45, id: u128) {
            let text = cursor(position(millis, id));
            prop_assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')));
            prop_assert_eq!(place(text.as_bytes()), Some(position(millis, id)));
        }

        #[test]
        fn no_query_is_too_odd(query in "(customerId|storedName|limit|cursor|x|)[=&%+a-fA-F0-9é]{0,40}") {
            if let Ok(query) = Query::parse(&query) {
                prop_assert!((1..=200).contains(&query.limit));
            }
        }
    }
}
