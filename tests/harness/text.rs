//! The shapes that the contract gives to ids, times and digests.

use std::time::{SystemTime, UNIX_EPOCH};

/// Whether `text` has the shape: `h` a lower-case hex digit, `d` a decimal digit, `v` the
/// variant digit of a UUID (8, 9, a, b), anything else itself.
pub fn has_shape(text: &str, shape: &str) -> bool {
    text.len() == shape.len()
        && text.bytes().zip(shape.bytes()).all(|(byte, wanted)| match wanted {
            b'h' => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
            b'd' => byte.is_ascii_digit(),
            b'v' => matches!(byte, b'8' | b'9' | b'a' | b'b'),
            _ => byte == wanted,
        })
}

/// Fails unless this is a UUIDv7 made within the last minutes.
pub fn assert_fresh_uuid_v7(id: &str) {
    assert!(has_shape(id, "hhhhhhhh-hhhh-7hhh-vhhh-hhhhhhhhhhhh"), "no UUIDv7: {id:?}");
    let millis = u64::from_str_radix(&id.replace('-', "")[..12], 16).unwrap();
    assert_recent(i64::try_from(millis / 1000).unwrap(), id);
}

/// Fails unless this is an RFC 3339 time in UTC with milliseconds, within the last minutes.
pub fn assert_fresh_time(time: &str) {
    assert!(has_shape(time, "dddd-dd-ddTdd:dd:dd.dddZ"), "no time with milliseconds: {time:?}");
    let number = |from: usize, to: usize| time[from..to].parse::<i64>().unwrap();
    let days = days_since_epoch(number(0, 4), number(5, 7), number(8, 10));
    let seconds = days * 86_400 + number(11, 13) * 3600 + number(14, 16) * 60 + number(17, 19);
    assert_recent(seconds, time);
}

fn assert_recent(seconds: i64, what: &str) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let age = i64::try_from(now).unwrap() - seconds;
    assert!((-2..300).contains(&age), "{what} is {age} s old");
}

/// Days from 1970-01-01 to a date of the Gregorian calendar.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The SHA-256 of these bytes in lower-case hex.
pub fn sha256(bytes: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
