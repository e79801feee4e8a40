//! What holds for every format alike.

use super::samples::{all, found, inspect, inspect_in};
use super::*;

#[test]
fn each_type_is_recognised_with_its_dimensions() {
    for (bytes, expected) in all() {
        assert_eq!(inspect(&bytes), expected);
    }
}

#[test]
fn how_the_bytes_are_cut_makes_no_difference() {
    for (bytes, expected) in all() {
        for size in 1..=bytes.len() {
            assert_eq!(inspect_in(&bytes, size), expected, "pieces of {size}");
        }
        for cut in 0..=bytes.len() {
            let mut inspector = Inspector::new();
            for piece in [&bytes[..cut], &[], &bytes[cut..]] {
                inspector.push(piece).unwrap();
            }
            assert_eq!(inspector.finish(), expected, "cut at {cut}");
        }
    }
}

#[test]
fn a_file_cut_short_is_unsupported_then_invalid_then_fine() {
    for (bytes, expected) in all() {
        let rank = |cut: usize| match inspect(&bytes[..cut]) {
            Err(Error::Unsupported) => 0,
            Err(Error::Invalid(_)) => 1,
            Ok(_) => 2,
        };
        let ranks: Vec<_> = (0..=bytes.len()).map(rank).collect();
        assert_eq!(ranks[0], 0, "{expected:?}");
        assert!(ranks.is_sorted(), "{expected:?} {ranks:?}");
    }
}

#[test]
fn the_type_is_known_before_the_dimensions_and_stays_known() {
    let mut inspector = Inspector::new();
    inspector.push(b"\xff\xd8\xff").unwrap();
    assert_eq!(inspector.image_type(), Some(ImageType::Jpeg));
    assert_eq!(inspector.dimensions(), None);
    let broken = inspector.push(b"\xd9").unwrap_err();
    assert!(matches!(broken, Error::Invalid(_)));
    assert_eq!(inspector.push(b"more"), Err(broken));
    assert_eq!(inspector.finish(), Err(broken));
    assert_eq!(inspector.image_type(), Some(ImageType::Jpeg));
}

#[test]
fn dimensions_are_known_before_the_file_ends_and_what_follows_is_not_looked_at() {
    for (bytes, expected) in all() {
        let mut inspector = Inspector::new();
        inspector.push(&bytes).unwrap();
        let (image_type, dimensions) = expected.unwrap();
        assert_eq!(inspector.dimensions(), Some(dimensions));
        assert_eq!(inspector.image_type(), Some(image_type));
        inspector.push(b"\xff\xd8\xff\xd9 anything at all").unwrap();
        assert_eq!(inspector.finish(), expected);
        assert_eq!(inspector.finish(), expected);
    }
}

#[test]
fn what_is_no_image_of_these_types_is_unsupported() {
    let others: [&[u8]; 24] = [
        b"",
        b"\xff",
        b"\xff\xd8",
        b"\xff\x0a\xfa\x1f",
        b"\0\0\0\x0cJXL \x0d\x0a\x87\x0a\0\0\0\x14ftypjxl ",
        b"\0\0\0\x0cjP  \x0d\x0a\x87\x0a",
        b"\0\0\0\x20ftypisom\0\0\x02\0isomiso2avc1mp41",
        b"\0\0\0\x1cftypisom\0\0\x02\0isomavifmif1",
        b"\0\0\0\x14ftypqt  \0\0\0\0qt  ",
        b"\0\0\0\x18ftypmif1\0\0\0\0mif1miaf",
        b"\0\0\0\x00ftypavif\0\0\0\0",
        b"\0\0\0\x01ftypavif\0\0\0\0",
        b"<svg xmlns=\"http://www.w3.org/2000/svg\"/>",
        b"<?xml version=\"1.0\"?><svg/>",
        b"<!DOCTYPE html><html></html>",
        b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n",
        b"II+\0\x08\0\0\0\x10\0\0\0\0\0\0\0",
        b"MM\0+\0\x08\0\0\0\0\0\0\0\0\0\x10",
        b"GIF88a\x01\0\x01\0",
        b"RIFF\x24\0\0\0WAVEfmt ",
        b"\x89PNG\n\x1a\n\0\0\0\0\0",
        b"BMW is a maker of cars in Munich, and this is a text.",
        b"\xef\xbb\xbfplain text, to be sure",
        b"\0\0\x01\0\x01\0\x10\x10\0\0\0\0\x01\0 \0",
    ];
    for other in others {
        assert_eq!(inspect(other), Err(Error::Unsupported), "{other:?}");
        assert_eq!(inspect_in(other, 1), Err(Error::Unsupported), "{other:?}");
    }
}

#[test]
fn changed_bytes_never_panic_and_mean_the_same_in_any_pieces() {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 33).unwrap() % below
    };
    for (sample, _) in all() {
        for _ in 0..2_000 {
            let mut bytes = sample.clone();
            for _ in 0..=random(4) {
                let place = random(bytes.len());
                bytes[place] = [0, 1, 0x7f, 0x80, 0xff, bytes[place] ^ 1][random(6)];
            }
            let whole = inspect(&bytes);
            assert_eq!(whole, inspect_in(&bytes, 1), "{bytes:?}");
            assert_eq!(whole, inspect_in(&bytes, 1 + random(20)), "{bytes:?}");
            if let Ok((_, dimensions)) = whole {
                assert!(dimensions.pixels() > 0);
            }
        }
    }
}

#[test]
fn content_types_read_back() {
    for image_type in ImageType::ALL {
        let content_type = image_type.content_type();
        assert_eq!(ImageType::from_content_type(content_type), Some(image_type));
    }
    let shouted = ImageType::from_content_type("IMAGE/PNG");
    assert_eq!(shouted, Some(ImageType::Png));
    assert_eq!(ImageType::from_content_type("image/svg+xml"), None);
}

#[test]
fn pixels_cannot_overflow() {
    let (_, largest) = found(ImageType::Png, u32::MAX, u32::MAX, u32::MAX).unwrap();
    assert_eq!(largest.pixels(), u128::from(u32::MAX).pow(3));
}
