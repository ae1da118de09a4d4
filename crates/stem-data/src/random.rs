//! Seeded streams that give the same numbers on every platform and with every version of a library above ChaCha itself.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

/// A stream of its own for each purpose, seed and part.
pub(crate) fn stream(purpose: &[u8; 8], seed: u64, part: u64) -> ChaCha8Rng {
    let mut key = [0; 32];
    key[..8].copy_from_slice(purpose);
    key[8..16].copy_from_slice(&seed.to_le_bytes());
    key[16..24].copy_from_slice(&part.to_le_bytes());
    ChaCha8Rng::from_seed(key)
}

/// Uniform in `[0, 1)`, 53 bits.
pub(crate) fn unit(random: &mut ChaCha8Rng) -> f64 {
    unit_of(random.next_u64())
}

/// The point in `[0, 1)` that the upper 53 bits are.
pub(crate) fn unit_of(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1u64 << 53) as f64
}

/// Puts values into an order of its own for each stream (Fisher and Yates).
pub(crate) fn shuffle<T>(values: &mut [T], random: &mut ChaCha8Rng) {
    for i in (1..values.len()).rev() {
        let j = (u128::from(random.next_u64()) * (i as u128 + 1)) >> 64; // uniform in 0..=i
        values.swap(i, j as usize);
    }
}
