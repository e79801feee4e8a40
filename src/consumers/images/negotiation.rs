//! Which of an image's formats a reader prefers: proactive negotiation by `Accept` (RFC 9110, section
//! 12.5.1).

use std::cmp::Reverse;

use actix_web::{
    HttpMessage,
    http::header::{Accept, Header as _, Quality},
    mime::{self, Mime},
};

use crate::consumers::steps::Offer;

/// The offers in the order in which the sender of `request` prefers them; those that it likes alike stay in
/// theirs. What it does not accept comes last: it gets that rather than nothing.
pub fn preferred<'a>(request: &impl HttpMessage, offers: &'a [Offer]) -> Vec<&'a Offer> {
    // Who sends none takes all alike.
    let accepted = Accept::parse(request).unwrap_or_else(|_| Accept::star());
    let mut all: Vec<_> = offers.iter().collect();
    all.sort_by_key(|offer| Reverse(quality(&accepted, offer.content_type)));
    all
}

/// How much a media type is liked: what the range says that is closest to it.
fn quality(accepted: &Accept, content_type: &str) -> Quality {
    let nearness = |range: &Mime| match (range.type_(), range.subtype()) {
        (mime::STAR, mime::STAR) => Some(0),
        (mime::IMAGE, mime::STAR) => Some(1),
        _ => (range.essence_str() == content_type).then_some(2),
    };
    let ranges = accepted.0.iter().filter_map(|range| Some((nearness(&range.item)?, range)));
    ranges.max_by_key(|(nearness, _)| *nearness).map_or(Quality::ZERO, |(_, range)| range.quality)
}

#[cfg(test)]
mod tests {
    use actix_web::{http::header::ACCEPT, test::TestRequest};

    use super::*;

    fn best(accept: Option<&str>) -> String {
        let offers = ["avif", "webp", "jpeg"].map(|format| Offer {
            step: format.to_owned(),
            content_type: match format {
                "avif" => "image/avif",
                "webp" => "image/webp",
                _ => "image/jpeg",
            },
        });
        let request = TestRequest::default();
        let request = match accept {
            Some(accept) => request.insert_header((ACCEPT, accept)),
            None => request,
        };
        let preferred = preferred(&request.to_http_request(), &offers);
        preferred.iter().map(|offer| offer.step.as_str()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_reader_gets_the_best_that_it_accepts() {
        let all = "avif webp jpeg";
        assert_eq!(best(None), all);
        for accept in ["*/*", "image/*", "", "image/avif,image/webp,image/png,*/*;q=0.8"] {
            assert_eq!(best(Some(accept)), all, "{accept}");
        }
        let cases = [
            ("image/webp,*/*;q=0.8", "webp avif jpeg"),
            ("image/jpeg", "jpeg avif webp"),
            ("image/*, image/avif;q=0", "webp jpeg avif"),
            ("image/webp;q=0.2, image/jpeg;q=0.9", "jpeg webp avif"),
            ("IMAGE/WEBP", "webp avif jpeg"),
            ("text/html", all),
            ("*/*;q=0.1, image/*;q=0.5, image/jpeg", "jpeg avif webp"),
        ];
        for (accept, wanted) in cases {
            assert_eq!(best(Some(accept)), wanted, "{accept}");
        }
    }
}
