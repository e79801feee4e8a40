//! Rows in, a smaller image out: each square of n × n pixels becomes their mean. An image is thus
//! never in memory whole, whatever its size, where its decoder gives rows.

use super::raster::{Layout, Raster, size};

/// Takes an image row by row and keeps it n times smaller.
#[derive(Debug)]
pub(super) struct Shrinker {
    by: u32,
    /// Sums of each channel over the rows since the last one written; colours of transparent
    /// pixels by their opacity.
    sums: Vec<u32>,
    rows: u32,
    width: u32,
    smaller: Raster,
}

impl Shrinker {
    /// `by` is at least 1. Squares at the right and lower edge may be cut.
    pub(super) fn new(width: u32, height: u32, layout: Layout, by: u32) -> Self {
        let (to_width, to_height) = (width.div_ceil(by), height.div_ceil(by));
        Self {
            by,
            sums: vec![0; if by > 1 { to_width as usize * layout.channels() } else { 0 }],
            rows: 0,
            width,
            smaller: Raster {
                width: to_width,
                height: to_height,
                layout,
                pixels: Vec::with_capacity(size(to_width, to_height, layout)),
            },
        }
    }

    /// The bytes that one takes.
    pub(super) fn memory(width: u32, height: u32, layout: Layout, by: u32) -> u64 {
        let (to_width, to_height) = (width.div_ceil(by), height.div_ceil(by));
        (size(to_width, to_height, layout) + size(to_width, 4, layout)) as u64
    }

    /// The next row, as long as the image is wide.
    pub(super) fn push(&mut self, row: &[u8]) {
        if self.by == 1 {
            self.smaller.pixels.extend_from_slice(row);
            return;
        }
        let by = self.by as usize;
        match self.smaller.layout {
            Layout::Grey => add::<1>(&mut self.sums, row, by),
            Layout::Rgb => add::<3>(&mut self.sums, row, by),
            Layout::Cmyk => add::<4>(&mut self.sums, row, by),
            Layout::Rgba => add_transparent(&mut self.sums, row, by),
        }
        self.rows += 1;
        if self.rows == self.by {
            self.write();
        }
    }

    pub(super) fn finish(mut self) -> Raster {
        if self.rows > 0 {
            self.write();
        }
        self.smaller
    }

    fn write(&mut self) {
        let channels = self.smaller.layout.channels();
        let (by, rows) = (self.by, self.rows);
        for (index, sums) in self.sums.chunks_exact(channels).enumerate() {
            // At most the width, which is a u32.
            let left = index as u32 * by;
            let area = (self.width - left).min(by) * rows;
            match (self.smaller.layout, sums) {
                (Layout::Rgba, &[r, g, b, opacity]) => {
                    let color = |sum| mean(u64::from(sum) * 255, u64::from(opacity.max(1)));
                    let alpha = mean(opacity.into(), area.into());
                    self.smaller.pixels.extend_from_slice(&[color(r), color(g), color(b), alpha]);
                }
                _ => {
                    let means = sums.iter().map(|&sum| mean(sum.into(), area.into()));
                    self.smaller.pixels.extend(means);
                }
            }
        }
        self.sums.fill(0);
        self.rows = 0;
    }
}

fn add<const CHANNELS: usize>(sums: &mut [u32], row: &[u8], by: usize) {
    for (sums, square) in sums.chunks_exact_mut(CHANNELS).zip(row.chunks(CHANNELS * by)) {
        let mut sum = [0; CHANNELS];
        for pixel in square.chunks_exact(CHANNELS) {
            for (sum, &value) in sum.iter_mut().zip(pixel) {
                *sum += u32::from(value);
            }
        }
        for (sums, sum) in sums.iter_mut().zip(sum) {
            *sums += sum;
        }
    }
}

fn add_transparent(sums: &mut [u32], row: &[u8], by: usize) {
    for (sums, square) in sums.chunks_exact_mut(4).zip(row.chunks(4 * by)) {
        for pixel in square.chunks_exact(4) {
            let opacity = u32::from(pixel[3]);
            for (sum, &value) in sums.iter_mut().zip(&pixel[..3]) {
                *sum += (u32::from(value) * opacity + 127) / 255;
            }
            sums[3] += opacity;
        }
    }
}

fn mean(sum: u64, count: u64) -> u8 {
    u8::try_from((sum + count / 2) / count).unwrap_or(u8::MAX)
}
