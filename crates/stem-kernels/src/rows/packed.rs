//! Rows in fewer bytes than f32 takes.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{ReadRows, half};
use crate::simd::prefetch_bytes;

/// Steps of the scale in a factor of two.
const STEPS: i32 = 8;
/// Codes of a scale.
const CODES: usize = 256;

/// How rows can be packed; see the [module](super) for the equations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Packing {
    /// Half precision, two bytes a number.
    F16,
    /// A byte a number, and one per row and group for its scale.
    Int8,
    /// Two numbers a byte, and one byte per row and group for their scale.
    Int4,
}

impl fmt::Display for Packing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F16 => "f16",
            Self::Int8 => "int8",
            Self::Int4 => "int4",
        })
    }
}

impl FromStr for Packing {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "f16" => Ok(Self::F16),
            "int8" => Ok(Self::Int8),
            "int4" => Ok(Self::Int4),
            _ => Err(format!("rows '{text}': expected f16, int8 or int4")),
        }
    }
}

/// How a table's rows are packed; see the [module](super) for the equations.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "format", rename_all = "kebab-case", deny_unknown_fields)]
pub enum RowFormat {
    /// Half precision, two bytes a number.
    F16,
    /// A byte a number, and one per row and group for its scale.
    Int8 {
        /// The largest scale: that of code 255.
        largest: f32,
    },
    /// Two numbers a byte, and one byte per row and group for their scale.
    Int4 {
        /// The largest scale: that of code 255.
        largest: f32,
    },
}

impl RowFormat {
    /// The format for rows whose largest magnitude is `most`; `None` where it holds no such number.
    pub fn holding(packing: Packing, most: f32) -> Option<Self> {
        let (empty, is_float) = match packing {
            Packing::F16 => (Self::F16, true),
            Packing::Int8 => (Self::Int8 { largest: 0.0 }, false),
            Packing::Int4 => (Self::Int4 { largest: 0.0 }, false),
        };
        let largest = most / empty.most();
        let holds = if is_float { most <= empty.most() } else { most.is_finite() };
        holds.then_some(match empty {
            Self::F16 => Self::F16,
            Self::Int8 { .. } => Self::Int8 { largest },
            Self::Int4 { .. } => Self::Int4 { largest },
        })
    }

    /// What it is called.
    pub fn packing(self) -> Packing {
        match self {
            Self::F16 => Packing::F16,
            Self::Int8 { .. } => Packing::Int8,
            Self::Int4 { .. } => Packing::Int4,
        }
    }

    /// Bytes of a row whose groups have these widths.
    pub fn row_bytes(self, widths: &[usize]) -> usize {
        widths.iter().map(|&width| self.group_bytes(width)).sum()
    }

    #[inline(always)]
    fn group_bytes(self, width: usize) -> usize {
        match self {
            Self::F16 => 2 * width,
            Self::Int8 { .. } => 1 + width,
            Self::Int4 { .. } => 1 + width.div_ceil(2),
        }
    }

    /// Whether its numbers can be used.
    pub fn is_sound(self) -> bool {
        match self {
            Self::F16 => true,
            Self::Int8 { largest } | Self::Int4 { largest } => largest.is_finite() && largest >= 0.0,
        }
    }

    /// The largest magnitude of a packed number, in scales.
    fn most(self) -> f32 {
        match self {
            Self::F16 => 65_504.0,
            Self::Int8 { .. } => 127.0,
            Self::Int4 { .. } => 7.0,
        }
    }

    /// The scale of every code.
    fn scales(self) -> [f32; CODES] {
        let largest = match self {
            Self::F16 => 0.0,
            Self::Int8 { largest } | Self::Int4 { largest } => largest,
        };
        // 2^(i / 8), so that every machine has the same bits
        const ROOTS: [f64; STEPS as usize] = [
            1.0,
            1.090_507_732_665_257_7,
            1.189_207_115_002_721,
            1.296_839_554_651_009_6,
            std::f64::consts::SQRT_2,
            1.542_210_825_407_940_7,
            1.681_792_830_507_429,
            1.834_008_086_409_342_4,
        ];
        std::array::from_fn(|code| {
            let below = code as i32 - (CODES as i32 - 1); // -255 ..= 0
            let root = ROOTS[below.rem_euclid(STEPS) as usize];
            let power = f64::from_bits(((1023 + below.div_euclid(STEPS)) as u64) << 52); // 2^-32 ..= 1
            if code == 0 { 0.0 } else { (f64::from(largest) * root * power) as f32 }
        })
    }
}

/// Packs rows, one after the other.
#[derive(Debug, Clone)]
pub struct Packer {
    format: RowFormat,
    widths: Vec<usize>,
    scales: [f32; CODES],
}

impl Packer {
    /// A packer of rows whose groups have these widths.
    pub fn new(format: RowFormat, widths: &[usize]) -> Self {
        Self { format, widths: widths.to_vec(), scales: format.scales() }
    }

    /// Packs a row `[W]` into its bytes.
    ///
    /// # Panics
    /// When a length is not that of the widths.
    pub fn pack(&self, row: &[f32], bytes: &mut [u8]) {
        assert_eq!(row.len(), self.widths.iter().sum::<usize>(), "a row has as many numbers as its groups");
        assert_eq!(bytes.len(), self.format.row_bytes(&self.widths), "a row has the bytes of its format");
        let (mut row, mut bytes) = (row, bytes);
        for &width in &self.widths {
            let (group, rest) = row.split_at(width);
            let (own, others) = bytes.split_at_mut(self.format.group_bytes(width));
            self.pack_group(group, own);
            (row, bytes) = (rest, others);
        }
    }

    fn pack_group(&self, group: &[f32], bytes: &mut [u8]) {
        if self.format == RowFormat::F16 {
            let (pairs, _) = bytes.as_chunks_mut::<2>();
            pairs.iter_mut().zip(group).for_each(|(pair, value)| *pair = half::from_f32(*value).to_le_bytes());
            return;
        }
        let (most, largest) = (self.format.most(), group.iter().fold(0.0f32, |most, value| most.max(value.abs())));
        // the first code that holds the group, or the last where rounding left it a unit in the last place short
        let code = self.scales.partition_point(|scale| scale * most < largest).min(CODES - 1);
        let scale = self.scales[code];
        let whole = |value: &f32| if scale > 0.0 { (value / scale).round().clamp(-most, most) as i8 } else { 0 };
        let (head, bytes) = bytes.split_first_mut().expect("a group has a scale");
        *head = code as u8;
        match self.format {
            RowFormat::Int4 { .. } => {
                let (low, high) = group.split_at(bytes.len());
                for (i, byte) in bytes.iter_mut().enumerate() {
                    let nibble = |value: Option<&f32>| (value.map_or(0, whole) + 8) as u8;
                    *byte = nibble(low.get(i)) | nibble(high.get(i)) << 4;
                }
            }
            _ => bytes.iter_mut().zip(group).for_each(|(byte, value)| *byte = whole(value) as u8),
        }
    }
}

/// Packed rows, side by side.
#[derive(Debug, Clone, Copy)]
pub struct PackedRows<'a> {
    packer: &'a Packer,
    bytes: &'a [u8],
    row_bytes: usize,
    width: usize,
}

impl<'a> PackedRows<'a> {
    /// Rows that `packer` made.
    pub fn new(packer: &'a Packer, bytes: &'a [u8]) -> Self {
        let (row_bytes, width) = (packer.format.row_bytes(&packer.widths), packer.widths.iter().sum());
        Self { packer, bytes, row_bytes, width }
    }

    #[inline(always)]
    fn packed(&self, id: u32) -> Option<&'a [u8]> {
        let start = id as usize * self.row_bytes;
        self.bytes.get(start..start + self.row_bytes)
    }
}

impl ReadRows for PackedRows<'_> {
    fn count(&self) -> usize {
        self.bytes.len() / self.row_bytes.max(1)
    }

    fn scratch(&self) -> usize {
        self.width
    }

    #[inline(always)]
    fn read<'s>(&self, id: u32, scratch: &'s mut [f32]) -> Option<&'s [f32]>
    where
        Self: 's,
    {
        let Packer { format, widths, scales } = self.packer;
        let mut bytes = self.packed(id)?;
        let mut out = &mut *scratch;
        for &width in widths {
            let (own, rest) = bytes.split_at(format.group_bytes(width));
            let (group, others) = out.split_at_mut(width);
            unpack(*format, scales, own, group);
            (bytes, out) = (rest, others);
        }
        Some(scratch)
    }

    #[inline(always)]
    fn prefetch(&self, id: u32, _: &Range<usize>) {
        if let Some(bytes) = self.packed(id) {
            prefetch_bytes(bytes);
        }
    }
}

/// A group's numbers from its bytes.
#[inline(always)]
fn unpack(format: RowFormat, scales: &[f32; CODES], bytes: &[u8], group: &mut [f32]) {
    if format == RowFormat::F16 {
        let (pairs, _) = bytes.as_chunks::<2>();
        group.iter_mut().zip(pairs).for_each(|(value, pair)| *value = half::to_f32(u16::from_le_bytes(*pair)));
        return;
    }
    let Some((code, bytes)) = bytes.split_first() else { return };
    let scale = scales[*code as usize];
    match format {
        RowFormat::Int4 { .. } => {
            let (low, high) = group.split_at_mut(bytes.len());
            let number = |nibble: u8| scale * (i32::from(nibble) - 8) as f32;
            low.iter_mut().zip(bytes).for_each(|(value, byte)| *value = number(byte & 0xf));
            high.iter_mut().zip(bytes).for_each(|(value, byte)| *value = number(byte >> 4));
        }
        _ => group.iter_mut().zip(bytes).for_each(|(value, byte)| *value = scale * f32::from(*byte as i8)),
    }
}
