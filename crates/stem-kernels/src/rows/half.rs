//! Half precision in plain arithmetic without branches, so that loops over it vectorise.

/// `2^112`: what a half's exponent lacks to be a float's.
const BIAS: f32 = f32::from_bits((127 + 112) << 23);

/// The float that a finite half is, exactly.
#[inline(always)]
pub(super) fn to_f32(half: u16) -> f32 {
    let magnitude = f32::from_bits(u32::from(half & 0x7fff) << 13) * BIAS; // subnormals come out right: the product is exact
    f32::from_bits(magnitude.to_bits() | u32::from(half & 0x8000) << 16)
}

/// The nearest half of a float whose magnitude is at most 65,504, ties to even.
#[inline(always)]
pub(super) fn from_f32(value: f32) -> u16 {
    let (bits, sign) = (value.to_bits() & 0x7fff_ffff, (value.to_bits() >> 16) as u16 & 0x8000);
    let magnitude = if bits < 0x3880_0000 {
        // below 2^-14: a multiple of 2^-24, to which adding 2^-1 rounds
        (f32::from_bits(bits) + 0.5).to_bits() - 0.5f32.to_bits()
    } else {
        let odd = bits >> 13 & 1;
        (bits + 0xfff + odd - (112 << 23)) >> 13
    };
    sign | magnitude as u16
}
