//! From numbers to places on an axis, and the round numbers that are written beside it.

use crate::report::number::{compact, decimals};

/// Beyond this nothing is drawn to scale; it also keeps differences finite.
const LARGEST: f64 = 1e15;

/// Under this a number on a logarithmic axis, or a range, is nothing.
const SMALLEST: f64 = 1e-12;

/// A range of numbers laid over a range of places.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::report) struct Scale {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
    log: bool,
    whole: bool,
}

impl Scale {
    /// Over all finite `values`, with `room` of the range to spare at either end.
    pub fn linear(values: impl IntoIterator<Item = f64>, room: f64) -> Self {
        let (low, high) = range(values).unwrap_or((0.0, 1.0));
        let wide = high - low > SMALLEST.max(low.abs().max(high.abs()) * 1e-9);
        let spare = if wide { (high - low) * room } else { (low.abs() * 0.02).max(1e-3) };
        Self { low: low - spare, high: high + spare, from: 0.0, to: 1.0, log: false, whole: false }
    }

    /// Over all positive `values`, by their logarithms.
    pub fn log(values: impl IntoIterator<Item = f64>) -> Self {
        let (low, high) = range(values.into_iter().filter(|v| *v > SMALLEST)).unwrap_or((1.0, 10.0));
        Self { low: low / 1.4, high: high * 1.4, from: 0.0, to: 1.0, log: true, whole: false }
    }

    /// Exactly from `low` to `high`.
    pub fn fixed(low: f64, high: f64) -> Self {
        Self { low, high, from: 0.0, to: 1.0, log: false, whole: false }
    }

    /// With whole numbers for ticks.
    pub fn whole(mut self) -> Self {
        self.whole = true;
        self
    }

    /// Over these places.
    pub fn over(mut self, from: f64, to: f64) -> Self {
        (self.from, self.to) = (from, to);
        self
    }

    /// Where a number is; numbers outside are put at the end.
    pub fn at(&self, value: f64) -> f64 {
        let part = if self.log {
            (value.max(f64::MIN_POSITIVE) / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        let part = if part.is_finite() { part.clamp(0.0, 1.0) } else { 0.0 };
        self.from + part * (self.to - self.from)
    }

    /// About `most` round numbers inside, with their labels.
    pub fn ticks(&self, most: usize) -> Vec<(f64, String)> {
        if self.log {
            let ticks = log_ticks(self.low, self.high, most);
            if ticks.len() > 1 {
                return ticks.into_iter().map(|v| (v, compact(v))).collect();
            }
        }
        let (step, places) = step(self.high - self.low, most, self.whole);
        let named = |v: f64| if step >= 1000.0 { compact(v) } else { decimals(v, places) };
        let (first, last) = ((self.low / step - 1e-6).ceil(), (self.high / step + 1e-6).floor());
        if !first.is_finite() || !last.is_finite() {
            return Vec::new();
        }
        let mut ticks = Vec::new();
        let mut k = first;
        while k <= last && ticks.len() < 50 {
            ticks.push((k * step, named(k * step)));
            k += 1.0;
        }
        ticks
    }
}

/// Smallest and largest of what can be drawn.
fn range(values: impl IntoIterator<Item = f64>) -> Option<(f64, f64)> {
    let drawn = values.into_iter().filter(|v| v.abs() <= LARGEST);
    drawn.fold(None, |range, v| Some(range.map_or((v, v), |(low, high): (f64, f64)| (low.min(v), high.max(v)))))
}

/// The step 1, 2, 2.5 or 5 times a power of ten that cuts a range into at most `most`, and the decimals it takes.
fn step(range: f64, most: usize, whole: bool) -> (f64, usize) {
    let rough = range / most.max(1) as f64;
    if !rough.is_finite() || rough <= 0.0 || (whole && rough <= 1.0) {
        return (1.0, 0);
    }
    let power = rough.log10().floor();
    let base = 10f64.powf(power);
    let allowed = |times: &f64| !whole || *times != 2.5 || power > 0.0;
    let large = |times: &f64| times * base >= rough * (1.0 - 1e-9);
    let times = [1.0, 2.0, 2.5, 5.0].into_iter().filter(allowed).find(large).unwrap_or(10.0);
    let places = match times {
        10.0 => -power - 1.0,
        2.5 => -power + 1.0,
        _ => -power,
    };
    (times * base, places.clamp(0.0, 12.0) as usize)
}

/// Powers of ten, with 2 and 5 times them where they are few.
fn log_ticks(low: f64, high: f64, most: usize) -> Vec<f64> {
    let (first, last) = (low.log10().floor() as i32, high.log10().ceil() as i32);
    let inside = |times: &[f64], every: usize| -> Vec<f64> {
        (first..=last)
            .step_by(every)
            .flat_map(|p| times.iter().map(move |t| t * 10f64.powi(p)))
            .filter(|v| (low..=high).contains(v))
            .collect()
    };
    let fine = inside(&[1.0, 2.0, 5.0], 1);
    if fine.len() <= most {
        return fine;
    }
    (1..=40).map(|every| inside(&[1.0], every)).find(|ticks| ticks.len() <= most).unwrap_or(fine)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn labels(scale: Scale, most: usize) -> Vec<String> {
        scale.ticks(most).into_iter().map(|(_, label)| label).collect()
    }

    #[test]
    fn ticks_are_round_and_inside() {
        assert_eq!(labels(Scale::fixed(0.0, 1.0), 5), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(labels(Scale::fixed(0.7512, 0.7888), 4), ["0.76", "0.77", "0.78"]);
        assert_eq!(labels(Scale::fixed(0.66, 0.79), 6), ["0.675", "0.700", "0.725", "0.750", "0.775"]);
        assert_eq!(labels(Scale::fixed(-0.03, 0.021), 4), ["\u{2212}0.02", "0.00", "0.02"]);
        assert_eq!(labels(Scale::fixed(0.0, 0.95), 1), ["0"]);
        assert_eq!(labels(Scale::fixed(1.0, 14.0).whole(), 6), ["5", "10"]);
        assert_eq!(labels(Scale::fixed(0.75, 3.25).whole(), 6), ["1", "2", "3"]);
    }

    #[test]
    fn log_ticks_are_powers_of_ten_with_steps_between_where_few() {
        assert_eq!(labels(Scale::log([1e3, 1e9]), 8), ["1k", "10k", "100k", "1M", "10M", "100M", "1G"]);
        assert_eq!(labels(Scale::log([1e5, 4e5]), 5), ["100k", "200k", "500k"]);
        // No 1, 2 or 5 times a power of ten inside: plain ticks.
        assert!(labels(Scale::log([3.0e6, 3.1e6]), 4).len() > 1);
    }

    #[test]
    fn a_range_without_width_still_has_a_middle_and_ticks() {
        for scale in [Scale::linear([0.78], 0.05), Scale::linear([0.0, 0.0], 0.05), Scale::log([7.0])] {
            let scale = scale.over(0.0, 100.0);
            assert!(!scale.ticks(4).is_empty(), "{scale:?}");
        }
        assert!((Scale::linear([0.78], 0.05).over(0.0, 100.0).at(0.78) - 50.0).abs() < 1e-6);
        assert_eq!(Scale::linear([], 0.1), Scale::linear([0.0, 1.0, f64::NAN, f64::INFINITY], 0.1));
        assert_eq!(Scale::log([-1.0, 0.0]).at(f64::NAN), 0.0);
    }

    proptest! {
        #[test]
        fn every_number_has_a_place_inside(values in prop::collection::vec(any::<f64>(), 0..6), at in any::<f64>(), most in 0usize..9) {
            for scale in [Scale::linear(values.clone(), 0.05), Scale::log(values.clone())] {
                let scale = scale.over(10.0, 90.0);
                prop_assert!((10.0..=90.0).contains(&scale.at(at)));
                prop_assert!(scale.ticks(most).len() <= 50);
            }
        }

        #[test]
        fn ticks_ascend_and_are_as_many_as_asked_for(low in -1e6f64..1e6, range in 1e-6f64..1e6, most in 2usize..9) {
            let scale = Scale::fixed(low, low + range);
            let ticks = scale.ticks(most);
            prop_assert!(ticks.len() <= most + 1);
            prop_assert!(ticks.windows(2).all(|w| w[0].0 < w[1].0));
        }
    }
}
