//! How rows and gradients travel between ranks.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::numbers;

/// Numbers on their way to another rank. What a rank keeps is f32 always, and so are sums; scores that are measured are of rows in f32.
///
/// ```toml
/// [train]
/// wire = "bf16"
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Wire {
    /// As they are.
    #[default]
    F32,
    /// Rounded to 8 bits, to the nearest and among two to the even one: half the bytes.
    Bf16,
}

impl Wire {
    /// What travels in the place of these numbers.
    pub(super) fn pack(self, values: &[f32]) -> Vec<u8> {
        match self {
            Self::F32 => bytemuck::cast_slice(values).to_vec(),
            Self::Bf16 => values.iter().flat_map(|value| rounded(*value).to_ne_bytes()).collect(),
        }
    }

    /// What travels of some rows of a matrix of this width. `places` `[N]`
    pub(super) fn pack_rows(self, values: &[f32], width: usize, places: &[u32]) -> Vec<u8> {
        let rows = places.iter().map(|&place| &values[place as usize * width..][..width]);
        match self {
            Self::F32 => {
                let mut bytes = Vec::with_capacity(size_of::<f32>() * width * places.len());
                rows.for_each(|row| bytes.extend_from_slice(bytemuck::cast_slice(row)));
                bytes
            }
            Self::Bf16 => rows.flatten().flat_map(|value| rounded(*value).to_ne_bytes()).collect(),
        }
    }

    /// The numbers again, which are the bytes themselves where they have not been rounded.
    pub(super) fn unpack(self, bytes: &[u8]) -> Cow<'_, [f32]> {
        match self {
            Self::F32 => match bytemuck::try_cast_slice(bytes) {
                Ok(values) => Cow::Borrowed(values),
                Err(_) => Cow::Owned(numbers(bytes)), // wherever they lie in memory
            },
            Self::Bf16 => {
                let halves = numbers::<u16>(bytes);
                Cow::Owned(halves.into_iter().map(|half| f32::from_bits(u32::from(half) << 16)).collect())
            }
        }
    }
}

/// The upper half of a number's bits, after rounding.
fn rounded(value: f32) -> u16 {
    let bits = value.to_bits();
    match value.is_nan() {
        true => (bits >> 16) as u16 | 0x40, // not an infinity, whatever bits are cut off
        false => ((bits + 0x7fff + (bits >> 16 & 1)) >> 16) as u16,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_number_between_two_goes_to_the_nearer_and_from_the_middle_to_the_even_one() {
        let through = |value: f32| Wire::Bf16.unpack(&Wire::Bf16.pack(&[value]))[0];
        let (one, next) = (1.0, 1.0 + 1.0 / 128.0);
        assert_eq!([one, next, 0.0, -3.5, f32::INFINITY].map(through), [one, next, 0.0, -3.5, f32::INFINITY]);
        assert_eq!(through(1.0 + 1.0 / 256.0), one, "the middle, and 1 is even");
        assert_eq!(through(next + 1.0 / 256.0), next + 1.0 / 128.0, "the middle, and the one above is even");
        assert_eq!(through(1.0 + 1.1 / 256.0), next);
        assert!(through(f32::from_bits(0x7f80_0001)).is_nan());
    }

    proptest! {
        #[test]
        fn what_travels_is_within_a_256th_in_half_the_bytes(values in prop::collection::vec(-1e6f32..1e6, 0..50)) {
            let bytes = Wire::Bf16.pack(&values);
            let whole = Wire::F32.pack(&values);
            prop_assert_eq!(2 * bytes.len(), whole.len());
            prop_assert_eq!(&*Wire::F32.unpack(&whole), &values[..]);
            for (value, found) in values.iter().zip(Wire::Bf16.unpack(&bytes).iter()) {
                prop_assert!((value - found).abs() <= value.abs() / 256.0);
            }
        }

        #[test]
        fn some_rows_travel_as_they_would_one_after_the_other(places in prop::collection::vec(0u32..7, 0..20)) {
            let values: Vec<f32> = (0..21).map(|value| value as f32 + 0.1).collect();
            let rows: Vec<f32> = places.iter().flat_map(|&place| &values[3 * place as usize..][..3]).copied().collect();
            for wire in [Wire::F32, Wire::Bf16] {
                let packed = wire.pack(&rows);
                prop_assert_eq!(&wire.pack_rows(&values, 3, &places), &packed);
                let shifted = [&[0], &packed[..]].concat(); // bytes where no number may lie
                prop_assert_eq!(wire.unpack(&shifted[1..]), wire.unpack(&packed));
            }
        }
    }
}
