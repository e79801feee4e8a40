//! What a lossless WebP bitstream's prefix codes take in memory (RFC 9649, 3.4 to 3.7).
//!
//! A bitstream may have 65,536 groups of five codes, in a few bytes each, and a decoder makes a
//! table of kilobytes of each code: 3 MB that take more than a gigabyte. How many there are is
//! written where only a decoder comes to, so this reads what stands before the pixels as one does:
//! the transforms' images, the image that says which block has which group, and the codes.

/// Code lengths of code lengths, in the order in which they are written.
const ORDER: [usize; 19] = [17, 18, 0, 1, 2, 3, 4, 5, 16, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

/// Green with lengths, red, blue, alpha, distances.
const ALPHABETS: [usize; 5] = [256 + 24, 256, 256, 256, 40];

const LONGEST: usize = 15;

/// Codes up to this length have their place in a decoder's table; longer ones in a tree.
const TABLE_BITS: usize = 10;

/// The places that the first 120 distances mean: rows up in the upper half of the byte, and in the
/// lower one 8 less the columns to the left.
#[rustfmt::skip]
const NEAR: [u8; 120] = [
    0x18, 0x07, 0x17, 0x19, 0x28, 0x06, 0x27, 0x29, 0x16, 0x1a, 0x26, 0x2a, 0x38, 0x05, 0x37, 0x39,
    0x15, 0x1b, 0x36, 0x3a, 0x25, 0x2b, 0x48, 0x04, 0x47, 0x49, 0x14, 0x1c, 0x35, 0x3b, 0x46, 0x4a,
    0x24, 0x2c, 0x58, 0x45, 0x4b, 0x34, 0x3c, 0x03, 0x57, 0x59, 0x13, 0x1d, 0x56, 0x5a, 0x23, 0x2d,
    0x44, 0x4c, 0x55, 0x5b, 0x33, 0x3d, 0x68, 0x02, 0x67, 0x69, 0x12, 0x1e, 0x66, 0x6a, 0x22, 0x2e,
    0x54, 0x5c, 0x43, 0x4d, 0x65, 0x6b, 0x32, 0x3e, 0x78, 0x01, 0x77, 0x79, 0x53, 0x5d, 0x11, 0x1f,
    0x64, 0x6c, 0x42, 0x4e, 0x76, 0x7a, 0x21, 0x2f, 0x75, 0x7b, 0x31, 0x3f, 0x63, 0x6d, 0x52, 0x5e,
    0x00, 0x74, 0x7c, 0x41, 0x4f, 0x10, 0x20, 0x62, 0x6e, 0x30, 0x73, 0x7d, 0x51, 0x5f, 0x40, 0x72,
    0x7e, 0x61, 0x6f, 0x50, 0x71, 0x7f, 0x60, 0x70,
];

/// The bytes that a decoder takes for the codes of the pixels of an image of this size, counted
/// until they are more than `enough`; `None` where the bitstream breaks before that. It begins
/// behind its header, as in an ALPH chunk.
pub(super) fn codes_memory(bitstream: &[u8], width: u32, height: u32, enough: u64) -> Option<u64> {
    let mut bits = Bits { bytes: bitstream, at: 0 };
    let mut width = width;
    let mut seen = [false; 4];
    while bits.read(1)? == 1 {
        let kind = bits.read(2)?;
        // Each at most once, so that this ends.
        if std::mem::replace(seen.get_mut(kind as usize)?, true) {
            return None;
        }
        match kind {
            0 | 1 => {
                let block = bits.read(3)? + 2;
                image(&mut bits, width.div_ceil(1 << block), height.div_ceil(1 << block))?;
            }
            3 => {
                let colors = bits.read(8)? + 1;
                image(&mut bits, colors, 1)?;
                width = width.div_ceil(match colors {
                    1..=2 => 8,
                    3..=4 => 4,
                    5..=16 => 2,
                    _ => 1,
                });
            }
            _ => {}
        }
    }
    let cache = cache_bits(&mut bits)?;
    let mut groups = 1;
    if bits.read(1)? == 1 {
        let block = bits.read(3)? + 2;
        let of_blocks = image(&mut bits, width.div_ceil(1 << block), height.div_ceil(1 << block))?;
        // A group's number stands in red and green.
        groups = of_blocks.iter().map(|pixel| (pixel >> 8 & 0xffff) + 1).max()?;
    }
    let mut memory = 0;
    for _ in 0..groups {
        if memory > enough {
            break;
        }
        memory += group(&mut bits, cache)?.iter().map(Code::memory).sum::<u64>();
    }
    Some(memory)
}

fn cache_bits(bits: &mut Bits<'_>) -> Option<u32> {
    match bits.read(1)? {
        0 => Some(0),
        _ => bits.read(4).filter(|bits| (1..=11).contains(bits)),
    }
}

fn group(bits: &mut Bits<'_>, cache: u32) -> Option<[Code; 5]> {
    let mut codes: [Code; 5] = Default::default();
    for (index, (code, alphabet)) in codes.iter_mut().zip(ALPHABETS).enumerate() {
        let cached = if index == 0 && cache > 0 { 1 << cache } else { 0 };
        *code = Code::read(bits, alphabet + cached)?;
    }
    Some(codes)
}

/// The pixels (ARGB) of an image that has one group of codes (3.6.2).
fn image(bits: &mut Bits<'_>, width: u32, height: u32) -> Option<Vec<u32>> {
    let cache_bits = cache_bits(bits)?;
    let mut cache = vec![0_u32; if cache_bits > 0 { 1 << cache_bits } else { 0 }];
    let [green, red, blue, alpha, distances] = group(bits, cache_bits)?;
    let count = width as usize * height as usize;
    let mut pixels: Vec<u32> = Vec::with_capacity(count);
    let keep = |cache: &mut [u32], pixel: u32| {
        if cache_bits > 0 {
            cache[(pixel.wrapping_mul(0x1e35_a7bd) >> (32 - cache_bits)) as usize] = pixel;
        }
    };
    while pixels.len() < count {
        match green.symbol(bits)? {
            value @ ..=255 => {
                let (red, blue) = (red.symbol(bits)?, blue.symbol(bits)?);
                let pixel = alpha.symbol(bits)? << 24 | red << 16 | value << 8 | blue;
                pixels.push(pixel);
                keep(&mut cache, pixel);
            }
            value @ 256..=279 => {
                let length = extended(bits, value - 256)? as usize;
                let symbol = distances.symbol(bits)?;
                let distance = distance(extended(bits, symbol)?, width);
                let from = pixels.len().checked_sub(distance)?;
                if count - pixels.len() < length {
                    return None;
                }
                for index in from..from + length {
                    let pixel = pixels[index];
                    pixels.push(pixel);
                    keep(&mut cache, pixel);
                }
            }
            value => pixels.push(*cache.get(value as usize - 280)?),
        }
    }
    Some(pixels)
}

/// A length or distance from its prefix and the bits behind it (3.6.2.2).
fn extended(bits: &mut Bits<'_>, prefix: u32) -> Option<u32> {
    if prefix < 4 {
        return Some(prefix + 1);
    }
    let more = (prefix - 2) >> 1;
    Some(((2 + (prefix & 1)) << more) + bits.read(more)? + 1)
}

fn distance(code: u32, width: u32) -> usize {
    match NEAR.get(code as usize - 1) {
        Some(&near) => {
            let (up, left) = (i64::from(near >> 4), 8 - i64::from(near & 15));
            usize::try_from(up * i64::from(width) + left).unwrap_or(0).max(1)
        }
        None => code as usize - NEAR.len(),
    }
}

struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    /// The next bits, at most 24, the first of them the lowest.
    fn read(&mut self, count: u32) -> Option<u32> {
        let rest = self.bytes.get(self.at / 8..)?;
        let mut window = [0; 4];
        let length = rest.len().min(4);
        window[..length].copy_from_slice(&rest[..length]);
        let shift = self.at % 8;
        if shift + count as usize > length * 8 {
            return None;
        }
        self.at += count as usize;
        Some(u32::from_le_bytes(window) >> shift & ((1 << count) - 1))
    }
}

/// A canonical prefix code (3.7.2).
#[derive(Default)]
struct Code {
    /// How many symbols each length has.
    counts: [u32; LONGEST + 1],
    /// In the order of their codes.
    symbols: Vec<u16>,
}

impl Code {
    fn read(bits: &mut Bits<'_>, alphabet: usize) -> Option<Self> {
        if bits.read(1)? == 1 {
            let two = bits.read(1)? == 1;
            let wide = bits.read(1)?;
            let mut symbols = vec![bits.read(1 + 7 * wide)? as u16];
            if two {
                symbols.push(bits.read(8)? as u16);
            }
            let mut counts = [0; LONGEST + 1];
            counts[1] = if two { 2 } else { 0 };
            let valid = symbols.iter().all(|&symbol| usize::from(symbol) < alphabet);
            return valid.then_some(Self { counts, symbols });
        }
        let mut lengths = [0; 19];
        let count = 4 + bits.read(4)? as usize;
        for &place in ORDER.get(..count)? {
            lengths[place] = bits.read(3)? as u8;
        }
        Self::of(&Self::of(&lengths)?.lengths(bits, alphabet)?)
    }

    /// The code of these lengths; it must leave no bits without a symbol.
    fn of(lengths: &[u8]) -> Option<Self> {
        let mut counts = [0; LONGEST + 1];
        for &length in lengths.iter().filter(|&&length| length > 0) {
            *counts.get_mut(usize::from(length))? += 1;
        }
        let mut symbols: Vec<u16> =
            (0..lengths.len() as u16).filter(|&symbol| lengths[usize::from(symbol)] > 0).collect();
        symbols.sort_by_key(|&symbol| lengths[usize::from(symbol)]);
        if symbols.len() == 1 {
            return Some(Self { counts: [0; LONGEST + 1], symbols });
        }
        let filled: u32 = (1..=LONGEST).map(|length| counts[length] << (LONGEST - length)).sum();
        (filled == 1 << LONGEST).then_some(Self { counts, symbols })
    }

    /// The lengths of another code, written by this one (3.7.2.1.2).
    fn lengths(&self, bits: &mut Bits<'_>, alphabet: usize) -> Option<Vec<u8>> {
        let mut left = alphabet;
        if bits.read(1)? == 1 {
            let width = 2 + 2 * bits.read(3)?;
            left = 2 + bits.read(width)? as usize;
        }
        let mut lengths = Vec::with_capacity(alphabet);
        let mut previous = 8;
        while lengths.len() < alphabet && left > 0 {
            left -= 1;
            let (length, repeat) = match self.symbol(bits)? {
                length @ 0..=15 => (length as u8, 1),
                16 => (previous, 3 + bits.read(2)?),
                17 => (0, 3 + bits.read(3)?),
                _ => (0, 11 + bits.read(7)?),
            };
            if length > 0 {
                previous = length;
            }
            lengths.extend(std::iter::repeat_n(length, repeat as usize));
        }
        if lengths.len() > alphabet || left > alphabet {
            return None;
        }
        lengths.resize(alphabet, 0);
        Some(lengths)
    }

    /// The next symbol; the only one takes no bits.
    fn symbol(&self, bits: &mut Bits<'_>) -> Option<u32> {
        if let [symbol] = self.symbols[..] {
            return Some(symbol.into());
        }
        let (mut code, mut first, mut index) = (0, 0, 0);
        for length in 1..=LONGEST {
            code = code << 1 | bits.read(1)?;
            let count = self.counts[length];
            if code - first < count {
                return self.symbols.get((index + code - first) as usize).map(|&s| s.into());
            }
            index += count;
            first = (first + count) << 1;
        }
        None
    }

    /// A decoder's table of four bytes an entry, and its tree of sixteen a node, which has grown
    /// by doubling; and the code itself.
    fn memory(&self) -> u64 {
        let longest = self.counts.iter().rposition(|&count| count > 0).unwrap_or(0);
        let beyond: u32 = self.counts[TABLE_BITS + 1..].iter().sum();
        let table = if longest > 0 { 4 << longest.min(TABLE_BITS) } else { 0 };
        table + u64::from(beyond) * 64 + 2 * 80
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::samples::*;
    use super::super::webp::first_frame;
    use super::*;

    fn memory(webp: &[u8]) -> Option<u64> {
        let frame = first_frame(webp).unwrap();
        codes_memory(&frame.bitstream[5..], frame.width, frame.height, u64::MAX)
    }

    #[test]
    fn what_an_encoder_writes_is_read() {
        let flat = memory(&webp(&picture(64, 64, |_, _| RED), true)).unwrap();
        assert!(flat < 2_000, "{flat}");
        let few = memory(&webp(&quarters(300, 200), true)).unwrap();
        assert!(few < 20_000, "{few}");
        let photo = memory(&webp(&photo(1000, 700), true)).unwrap();
        assert!((20_000..8_000_000).contains(&photo), "{photo}");
    }

    #[test]
    fn the_nearest_pixels_are_where_the_standard_has_them() {
        // In an image 100 wide: above, to the left, both, above to the right; and the last one.
        for (code, place) in [(1, 100), (2, 1), (3, 101), (4, 99), (120, 708)] {
            assert_eq!(distance(code, 100), place, "{code}");
        }
        assert_eq!(distance(121, 100), 1);
        let mut all = NEAR.to_vec();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 120);
    }
}
