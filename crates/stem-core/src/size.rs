//! How large a network is, told before it is built.

/// Numbers that a network holds; absurd sizes saturate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NetworkSize {
    /// Weights, biases, and what normalisations and activations hold.
    pub parameters: u64,
    /// Outputs of all layers, for one row of a batch.
    pub activations: u64,
}

impl std::ops::Add for NetworkSize {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self {
            parameters: self.parameters.saturating_add(other.parameters),
            activations: self.activations.saturating_add(other.activations),
        }
    }
}

impl std::iter::Sum for NetworkSize {
    fn sum<I: Iterator<Item = Self>>(sizes: I) -> Self {
        sizes.fold(Self::default(), |sum, size| sum + size)
    }
}
