//! Numbers as JSON stores them: it has no NaN and writes `null`, which is read back as NaN.

use serde::{Deserialize, Deserializer};

/// A number, or NaN for `null`.
#[derive(Deserialize)]
#[serde(transparent)]
pub(super) struct Number(Option<f64>);

/// What is read by way of a type in which a number may be `null`.
pub(super) trait Stored: Sized {
    /// The type that is read.
    type As: for<'de> Deserialize<'de>;

    /// What it stands for.
    fn of(stored: Self::As) -> Self;
}

impl Stored for f64 {
    type As = Number;

    fn of(stored: Number) -> Self {
        stored.0.unwrap_or(f64::NAN)
    }
}

impl<T: Stored> Stored for Vec<T> {
    type As = Vec<T::As>;

    fn of(stored: Self::As) -> Self {
        stored.into_iter().map(T::of).collect()
    }
}

impl Stored for [f64; 2] {
    type As = [Number; 2];

    fn of(stored: Self::As) -> Self {
        stored.map(f64::of)
    }
}

impl Stored for (f64, f64, usize) {
    type As = (Number, Number, usize);

    fn of((x, y, index): Self::As) -> Self {
        (f64::of(x), f64::of(y), index)
    }
}

/// For `#[serde(deserialize_with)]`.
pub(super) fn read<'de, T: Stored, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    T::As::deserialize(from).map(T::of)
}

#[cfg(test)]
mod tests {
    use crate::report::{Picture, Report, Spread};

    #[test]
    fn what_is_not_finite_comes_back_as_nan() {
        let spread = Spread { mean: f64::NAN, sd: f64::INFINITY, values: vec![0.5, f64::NAN] };
        let back: Spread = serde_json::from_str(&serde_json::to_string(&spread).unwrap()).unwrap();
        assert!(back.mean.is_nan() && back.sd.is_nan() && back.values[1].is_nan());
        assert_eq!(back.values[0], 0.5);
        let picture = Picture { points: vec![(f64::NAN, 1.0, 2)], ..Picture::default() };
        let back: Picture = serde_json::from_str(&serde_json::to_string(&picture).unwrap()).unwrap();
        assert!(back.points[0].0.is_nan());
        assert_eq!((back.points[0].1, back.points[0].2), (1.0, 2));
    }

    #[test]
    fn a_report_without_anything_is_a_report() {
        assert_eq!(serde_json::from_str::<Report>("{}").unwrap(), Report::default());
    }
}
