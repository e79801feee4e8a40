//! `Content-Disposition`, RFC 6266: the name under which a browser saves an image.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// All but `attr-char`, RFC 8187 section 3.2.1.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');

/// The field that shows the image in place, and saves it as `name`.
///
/// A name that `filename` alone cannot tell, or that clients read in different ways there, is in
/// `filename*` as it is, which every client of today prefers (RFC 6266 appendix D).
pub fn inline(name: &str) -> String {
    let plain: String = name.chars().map(|c| if is_plain(c) { c } else { '_' }).collect();
    let mut field = format!("inline; filename=\"{plain}\"");
    if plain != name {
        field.push_str("; filename*=UTF-8''");
        field.extend(utf8_percent_encode(name, ENCODED));
    }
    field
}

/// Whether all clients read it in a quoted string as it is: some decode `%41`, some do not know
/// `\` as an escape.
fn is_plain(c: char) -> bool {
    matches!(c, ' '..='~') && !matches!(c, '"' | '\\' | '%')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_is_told_in_the_simplest_way() {
        for (name, field) in [
            ("cat.jpg", "inline; filename=\"cat.jpg\""),
            ("my cat; 1=2.jpg", "inline; filename=\"my cat; 1=2.jpg\""),
            ("50%41.jpg", "inline; filename=\"50_41.jpg\"; filename*=UTF-8''50%2541.jpg"),
            ("a\"b\\c.jpg", "inline; filename=\"a_b_c.jpg\"; filename*=UTF-8''a%22b%5Cc.jpg"),
            (
                "€ rates.jpg",
                "inline; filename=\"_ rates.jpg\"; filename*=UTF-8''%E2%82%AC%20rates.jpg",
            ),
            ("漢字.png", "inline; filename=\"__.png\"; filename*=UTF-8''%E6%BC%A2%E5%AD%97.png"),
            ("it's (1)*~.png", "inline; filename=\"it's (1)*~.png\""),
            (
                "é'(*).png",
                "inline; filename=\"_'(*).png\"; filename*=UTF-8''%C3%A9%27%28%2A%29.png",
            ),
        ] {
            assert_eq!(inline(name), field);
        }
    }

    proptest! {
        #[test]
        fn any_name_comes_back(name in any::<String>()) {
            let field = inline(&name);
            prop_assert!(field.bytes().all(|b| matches!(b, b' '..=b'~')), "{}", field);
            let rest = field.strip_prefix("inline; filename=\"").unwrap();
            let (plain, rest) = rest.split_once('"').unwrap();
            let read = match rest.strip_prefix("; filename*=UTF-8''") {
                Some(encoded) => {
                    prop_assert!(!encoded.contains([' ', ';', '"', '\'', '*', '(']));
                    percent_encoding::percent_decode_str(encoded).decode_utf8().unwrap().into_owned()
                }
                None => {
                    prop_assert_eq!(rest, "");
                    plain.to_owned()
                }
            };
            prop_assert_eq!(read, name);
        }
    }
}
