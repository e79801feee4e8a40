//! EXIF blocks of cameras, and such as none should write.

use proptest::prelude::*;

use super::super::samples::tiff;
use super::*;

const MAKE_IS: (u16, u16, u32, &[u8]) = (271, 2, 6, b"Nikon\0");

fn taken(written: &[u8], offset: &[u8]) -> Option<String> {
    let fields =
        [(TAKEN, 2, written.len() as u32, written), (TAKEN_OFFSET, 2, offset.len() as u32, offset)];
    read(&tiff(false, [&[], &fields, &[]])).taken_at
}

fn thirds(little: bool, values: [(u32, u32); 3]) -> Vec<u8> {
    let bytes = |n: u32| if little { n.to_le_bytes() } else { n.to_be_bytes() };
    values.iter().flat_map(|&(above, below)| [bytes(above), bytes(below)].concat()).collect()
}

#[test]
fn both_orders_of_bytes_are_read() {
    for little in [false, true] {
        let latitude = thirds(little, [(48, 1), (51, 1), (2_952, 100)]);
        let longitude = thirds(little, [(2, 1), (17, 1), (4_020, 100)]);
        let block = tiff(
            little,
            [
                &[MAKE_IS, (272, 2, 8, b"Z 6 \x01II\0")],
                &[(TAKEN, 2, 20, b"2024:05:31 18:02:11\0"), (TAKEN_OFFSET, 2, 7, b"+02:00\0")],
                &[
                    (LATITUDE_REF, 2, 2, b"S\0"),
                    (LATITUDE, 5, 3, &latitude),
                    (LONGITUDE_REF, 2, 2, b"E\0"),
                    (LONGITUDE, 5, 3, &longitude),
                ],
            ],
        );
        let exif = read(&block);
        assert_eq!(exif.make.as_deref(), Some("Nikon"));
        assert_eq!(exif.model.as_deref(), Some("Z 6 II"));
        assert_eq!(exif.taken_at.as_deref(), Some("2024-05-31T18:02:11+02:00"));
        let (latitude, longitude) = exif.gps.unwrap();
        assert!((latitude + 48.8582).abs() < 1e-6 && (longitude - 2.2945).abs() < 1e-6);
    }
}

#[test]
fn a_time_is_as_written_or_none() {
    let time = b"2024:05:31 18:02:11\0";
    assert_eq!(taken(time, b"").as_deref(), Some("2024-05-31T18:02:11"));
    assert_eq!(taken(time, b"-03:30\0").as_deref(), Some("2024-05-31T18:02:11-03:30"));
    for offset in [&b"Z\0"[..], b"+2:00\0", b"+99:00\0", b"\"><b>+\0"] {
        assert_eq!(taken(time, offset).as_deref(), Some("2024-05-31T18:02:11"));
    }
    for broken in [
        &b"    :  :     :  :  \0"[..],
        b"0000:00:00 00:00:00\0",
        b"2024:13:31 18:02:11\0",
        b"2024:05:31 24:02:11\0",
        b"2024-05-31 18:02:11\0",
        b"2024:05:31 18:02\0",
        b"2024:05:31 18:02:11 and more\0",
    ] {
        assert_eq!(taken(broken, b""), None);
    }
}

#[test]
fn a_place_is_on_the_globe_or_none() {
    let place = |latitude: [(u32, u32); 3], side: &[u8]| {
        let latitude = thirds(false, latitude);
        let longitude = thirds(false, [(10, 1), (0, 1), (0, 1)]);
        let fields: &[(u16, u16, u32, &[u8])] = &[
            (LATITUDE_REF, 2, 2, side),
            (LATITUDE, 5, 3, &latitude),
            (LONGITUDE_REF, 2, 2, b"W\0"),
            (LONGITUDE, 5, 3, &longitude),
        ];
        read(&tiff(false, [&[], &[], fields])).gps
    };
    assert_eq!(place([(50, 1), (30, 1), (0, 1)], b"N\0"), Some((50.5, -10.0)));
    assert_eq!(place([(90, 1), (0, 1), (0, 1)], b"S\0"), Some((-90.0, -10.0)));
    assert_eq!(place([(90, 1), (1, 1), (0, 1)], b"N\0"), None);
    assert_eq!(place([(50, 0), (30, 1), (0, 1)], b"N\0"), None);
    assert_eq!(place([(u32::MAX, 1), (30, 1), (0, 1)], b"N\0"), None);
    assert_eq!(place([(50, 1), (30, 1), (0, 1)], b"X\0"), None);
}

#[test]
fn names_are_short_and_printable() {
    let long = [b'a'; 200];
    let exif = read(&tiff(false, [&[(271, 2, 200, &long), (272, 2, 4, b" \x07 \0")], &[], &[]]));
    assert_eq!(exif.make.map(|make| make.len()), Some(MOST_NAME));
    assert_eq!(exif.model, None);
    let exif = read(&tiff(false, [&[(271, 3, 1, &[0, 65]), (272, 2, u32::MAX, b"a")], &[], &[]]));
    assert_eq!(exif, Exif::default());
}

#[test]
fn an_orientation_is_a_number() {
    for (kind, data) in [(3, &[0, 6][..]), (4, &[0, 0, 0, 6])] {
        assert_eq!(orientation_tag(&tiff(false, [&[(274, kind, 1, data)], &[], &[]])), Some(6));
    }
    for (kind, count) in [(3, 0), (2, 2), (9, 1), (3, u32::MAX)] {
        assert_eq!(orientation_tag(&tiff(false, [&[(274, kind, count, &[0, 6])], &[], &[]])), None);
    }
}

proptest! {
    #[test]
    fn any_block_is_read(bytes in prop::collection::vec(any::<u8>(), 0..200), little in any::<bool>()) {
        let start = if little { b"II*\0\x08\0\0\0" } else { b"MM\0*\0\0\0\x08" };
        let block = [&start[..], &bytes].concat();
        let _ = (read(&block), read(&bytes), orientation_tag(&block));
    }

    #[test]
    fn a_block_with_any_damage_is_read(place in 0_usize..1800, value: u8, cut in 0_usize..1808) {
        let fields = [(TAKEN, 2, 20, &b"2024:05:31 18:02:11\0"[..])];
        let mut block = tiff(true, [&[MAKE_IS], &fields, &[(LATITUDE, 5, 3, &[1; 24])]]);
        block[place] = value;
        block.truncate(cut);
        let _ = (read(&block), orientation_tag(&block));
    }
}
