//! AVIF and HEIC files, honest and hostile, built box by box.

use super::super::samples::{
    Seen, found, ftyp, inspect, inspect_in, is_invalid, ispe, make_box, meta,
};
use super::*;
use ImageType::{Avif, Heic};

fn avif(properties: &[Vec<u8>], own: &[u8]) -> Vec<u8> {
    [ftyp(&[b"avif", b"mif1"]), meta(properties, own)].concat()
}

fn with_brands(brands: &[&[u8; 4]]) -> Seen {
    inspect(&[ftyp(brands), meta(&[ispe(7, 5)], &[1])].concat())
}

fn clap(width: [u32; 2], height: [u32; 2]) -> Vec<u8> {
    let fields = [width[0], width[1], height[0], height[1], 0, 1, 0, 1];
    make_box(b"clap", &fields.map(u32::to_be_bytes).concat())
}

fn track(handler: &[u8; 4], width: u16, height: u16) -> Vec<u8> {
    let sides = [width.to_be_bytes(), height.to_be_bytes()].concat();
    let entry = make_box(b"av01", &[&[0; 24], &sides[..], &[0; 50]].concat());
    let stsd = make_box(b"stsd", &[&[0, 0, 0, 0, 0, 0, 0, 1], &entry[..]].concat());
    let hdlr = make_box(b"hdlr", &[&[0; 8], &handler[..], &[0; 13]].concat());
    let minf = make_box(b"minf", &make_box(b"stbl", &stsd));
    let mdia = make_box(b"mdia", &[make_box(b"mdhd", &[0; 24]), hdlr, minf].concat());
    make_box(b"trak", &[make_box(b"tkhd", &[0; 84]), mdia].concat())
}

#[test]
fn the_major_brand_decides_and_a_general_one_asks_the_others() {
    assert_eq!(with_brands(&[b"avif"]), found(Avif, 7, 5, 1));
    assert_eq!(with_brands(&[b"avis", b"heic"]), found(Avif, 7, 5, 1));
    for heic in [b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis"] {
        assert_eq!(with_brands(&[heic]), found(Heic, 7, 5, 1));
    }
    for general in [b"mif1", b"msf1"] {
        assert_eq!(with_brands(&[general, b"miaf", b"heic"]), found(Heic, 7, 5, 1));
        assert_eq!(with_brands(&[general, b"avif"]), found(Avif, 7, 5, 1));
        assert_eq!(with_brands(&[general, b"miaf"]), Err(Error::Unsupported));
    }
    assert_eq!(with_brands(&[b"mp42", b"avif"]), Err(Error::Unsupported));
}

#[test]
fn meta_may_come_late_and_behind_a_64_bit_mdat() {
    let mdat = [&b"\0\0\0\x01mdat\0\0\0\0\0\x10\0\x10"[..], &vec![0; 1 << 20]].concat();
    let bytes = [ftyp(&[b"avif"]), mdat, meta(&[ispe(7, 5)], &[1])].concat();
    assert_eq!(inspect(&bytes), found(Avif, 7, 5, 1));
    assert_eq!(inspect_in(&bytes, 1000), found(Avif, 7, 5, 1));
}

#[test]
fn a_last_box_may_leave_its_size_open() {
    let mut last = meta(&[ispe(7, 5)], &[1]);
    last[..4].fill(0);
    let bytes = [ftyp(&[b"avif"]), last].concat();
    assert_eq!(inspect(&bytes), found(Avif, 7, 5, 1));
    assert!(is_invalid(&bytes[..bytes.len() - 1]));

    let mdat = b"\0\0\0\0mdat".to_vec();
    let hidden = [ftyp(&[b"avif"]), mdat, meta(&[ispe(7, 5)], &[1])].concat();
    assert!(is_invalid(&hidden));
}

#[test]
fn only_the_primary_items_properties_count() {
    // Item 2, which comes first, has property 1.
    let bytes = avif(&[ispe(1, 1), ispe(7, 5), ispe(9, 9)], &[2]);
    assert_eq!(inspect(&bytes), found(Avif, 7, 5, 1));
    assert!(is_invalid(&avif(&[ispe(1, 1), make_box(b"av1C", &[0; 4])], &[2])));
    assert!(is_invalid(&avif(&[ispe(1, 1)], &[])));
    assert!(is_invalid(&avif(&[ispe(1, 1), ispe(7, 5)], &[1, 2])));
}

#[test]
fn property_0_is_none_and_one_that_is_not_there_is_invalid() {
    let sizes = [ispe(7, 5)];
    assert_eq!(inspect(&avif(&sizes, &[0, 0x80, 1])), found(Avif, 7, 5, 1));
    assert!(is_invalid(&avif(&sizes, &[0])));
    assert!(is_invalid(&avif(&sizes, &[1, 2])));
}

#[test]
fn rotation_by_a_quarter_swaps_the_sides() {
    for (angle, expected) in [(0, (7, 5)), (1, (5, 7)), (2, (7, 5)), (3, (5, 7))] {
        let bytes = avif(&[ispe(7, 5), make_box(b"irot", &[angle])], &[1, 0x82]);
        assert_eq!(inspect(&bytes), found(Avif, expected.0, expected.1, 1));
    }
}

#[test]
fn padding_is_cropped_but_nothing_that_would_hide_pixels_from_a_limit() {
    let cropped = |width, height| inspect(&avif(&[ispe(640, 480), clap(width, height)], &[1, 2]));
    assert_eq!(cropped([633, 1], [950, 2]), found(Avif, 633, 475, 1));
    let whole = found(Avif, 640, 480, 1);
    assert_eq!(cropped([1, 1], [480, 1]), whole);
    assert_eq!(cropped([641, 1], [480, 1]), whole);
    assert_eq!(cropped([640, 0], [480, 1]), whole);
    assert_eq!(cropped([1279, 2], [480, 1]), whole);

    let small = [ispe(64, 64), clap([1, 1], [1, 1])];
    assert_eq!(inspect(&avif(&small, &[1, 2])), found(Avif, 1, 1, 1));
    let small_and_thin = [ispe(1000, 64), clap([1000, 1], [7, 1])];
    assert_eq!(inspect(&avif(&small_and_thin, &[1, 2])), found(Avif, 1000, 7, 1));
    let thin = [ispe(127, 1 << 30), clap([1, 1], [1 << 30, 1])];
    assert_eq!(inspect(&avif(&thin, &[1, 2])), found(Avif, 127, 1 << 30, 1));
    assert!(is_invalid(&avif(&small, &[1, 2, 2])));
}

#[test]
fn crop_and_rotation_apply_in_the_order_of_their_association() {
    let properties = [ispe(64, 32), make_box(b"irot", &[1]), clap([30, 1], [60, 1])];
    assert_eq!(inspect(&avif(&properties, &[1, 2, 3])), found(Avif, 30, 60, 1));
    // The crop does not fit before the rotation.
    assert_eq!(inspect(&avif(&properties, &[1, 3, 2])), found(Avif, 32, 64, 1));
}

#[test]
fn wide_ids_and_numbers_are_read() {
    let ipma = [1, 0, 0, 1, 0, 0, 0, 1, 0, 1, 0, 9, 1, 0x81, 0x2c];
    let ipco = make_box(b"ipco", &[make_box(b"free", &[]).repeat(299), ispe(7, 5)].concat());
    let iprp = make_box(b"iprp", &[ipco, make_box(b"ipma", &ipma)].concat());
    let pitm = make_box(b"pitm", &[1, 0, 0, 0, 0, 1, 0, 9]);
    // The primary item may be named last.
    let meta = make_box(b"meta", &[vec![0; 4], iprp, pitm].concat());
    let bytes = [ftyp(&[b"heic"]), meta].concat();
    assert_eq!(inspect(&bytes), found(Heic, 7, 5, 1));
}

#[test]
fn a_sequence_without_a_primary_image_has_its_tracks_dimensions() {
    let tracks = [track(b"soun", 1, 1), track(b"auxv", 2, 2), track(b"pict", 64, 48)].concat();
    let moov = make_box(b"moov", &[make_box(b"mvhd", &[0; 100]), tracks].concat());
    let alone = [ftyp(&[b"avis", b"msf1"]), moov.clone()].concat();
    assert_eq!(inspect(&alone), found(Avif, 64, 48, 1));
    let about = make_box(b"meta", &[0; 4]);
    let described = [ftyp(&[b"hevc"]), about.clone(), moov.clone()].concat();
    assert_eq!(inspect(&described), found(Heic, 64, 48, 1));
    let both = [ftyp(&[b"avis"]), moov.clone(), meta(&[ispe(7, 5)], &[1])].concat();
    assert_eq!(inspect(&both), found(Avif, 7, 5, 1));
    assert!(is_invalid(&[ftyp(&[b"avif"]), moov].concat()));
    assert!(is_invalid(&[ftyp(&[b"avif"]), about].concat()));
}

#[test]
fn sizes_that_lie_are_invalid() {
    let lies: [&[u8]; 5] = [
        b"\0\0\0\x07free",
        b"\0\0\0\x01free\0\0\0\0\0\0\0\x0f",
        b"\0\0\0\x01mdat\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\0\0\0\x0ameta\0\0",
        b"\0\0\0\x0emeta\0\0\0\0\0\0",
    ];
    for lie in lies {
        let bytes = [&ftyp(&[b"avif"]), lie, &meta(&[ispe(7, 5)], &[1])].concat();
        assert!(is_invalid(&bytes), "{lie:x?}");
    }
    assert!(is_invalid(&avif(&[make_box(b"ispe", &[0; 11])], &[1])));
    assert!(is_invalid(&avif(&[ispe(0, 5)], &[1])));
    assert!(is_invalid(&avif(&vec![ispe(7, 5); 5000], &[1])));
}

#[test]
fn lies_among_the_items_are_invalid() {
    let behind = |odd: &[u8]| {
        let good = meta(&[ispe(7, 5)], &[1]);
        let meta = make_box(b"meta", &[&[0; 4], odd, &good[12..]].concat());
        [ftyp(&[b"avif"]), meta].concat()
    };
    let harmless = make_box(b"iprp", &make_box(b"ipma", &[0; 8]));
    assert_eq!(inspect(&behind(&harmless)), found(Avif, 7, 5, 1));
    let endless = b"\0\0\0\0\xff\xff\xff\xff\0\x02\x01\x01";
    for odd in [
        make_box(b"iprp", b"\0\0\0\x20ipco"),
        make_box(b"iprp", b"\0\0\0\0ipco"),
        make_box(b"iprp", &make_box(b"ipma", &[0; 7])),
        make_box(b"iprp", &make_box(b"ipma", &[0; 8]).repeat(5)),
        make_box(b"iprp", &make_box(b"ipma", &vec![0; 70_000])),
        make_box(b"iprp", &make_box(b"ipma", &vec![0; 60_000]).repeat(2)),
        make_box(b"iprp", &make_box(b"ipma", endless)),
        make_box(b"iprp", &make_box(b"ipco", b"")),
        make_box(b"pitm", &[0; 6]),
        make_box(b"pitm", &[0; 5]),
        make_box(b"pitm", b""),
    ] {
        assert!(is_invalid(&behind(&odd)), "{:x?}", &odd[..odd.len().min(60)]);
    }
}
