//! A plane: its grid, the numbers beside it, and what its axes measure.

use super::scale::Scale;
use super::{Chart, WIDTH, label, rule};
use crate::report::markup::Markup;
use crate::report::number::width;

const HEIGHT: f64 = 270.0;
const TOP: f64 = 30.0;
const BOTTOM: f64 = HEIGHT - 38.0;

/// An axis: what it measures, with the unit, and over which range.
#[derive(Debug, Clone)]
pub(in crate::report) struct Axis {
    label: String,
    scale: Scale,
}

impl Axis {
    /// Over the values, with a little room.
    pub fn linear(label: impl Into<String>, values: impl IntoIterator<Item = f64>) -> Self {
        Self { label: label.into(), scale: Scale::linear(values, 0.06) }
    }

    /// From the first whole number to the last.
    pub fn whole(label: impl Into<String>, values: impl IntoIterator<Item = f64>) -> Self {
        let scale = Scale::linear(values.into_iter().flat_map(|v| [v - 0.25, v + 0.25]), 0.0);
        Self { label: label.into(), scale: scale.whole() }
    }

    /// By the logarithms of the values.
    pub fn log(label: impl Into<String>, values: impl IntoIterator<Item = f64>) -> Self {
        Self { label: label.into(), scale: Scale::log(values) }
    }

    /// From `low` to `high`.
    pub fn fixed(label: impl Into<String>, low: f64, high: f64) -> Self {
        Self { label: label.into(), scale: Scale::fixed(low, high) }
    }
}

/// A plane to draw in.
pub(super) struct Plane {
    pub m: Markup,
    pub x: Scale,
    pub y: Scale,
    pub left: f64,
    pub right: f64,
}

impl Plane {
    /// Grid and labels. The vertical axis' name stands above it, where it can be read without turning the head.
    pub fn new(x: &Axis, y: &Axis) -> Self {
        let ticks = y.scale.ticks(6);
        let left = 14.0 + ticks.iter().map(|(_, text)| width(text)).fold(0.0, f64::max);
        let right = WIDTH - 14.0;
        let plane = Self { m: Markup::new(), x: x.scale.over(left, right), y: y.scale.over(BOTTOM, TOP), left, right };
        plane.grid(ticks, x, y)
    }

    fn grid(mut self, ticks: Vec<(f64, String)>, x: &Axis, y: &Axis) -> Self {
        let m = &mut self.m;
        for (value, text) in ticks {
            let at = self.y.at(value);
            rule(m, "grid", (self.left, at), (self.right, at));
            label(m, "tick end", self.left - 6.0, at + 4.0, &text);
        }
        rule(m, "axis", (self.left, BOTTOM), (self.right, BOTTOM));
        let mut free = 0.0;
        for (value, text) in x.scale.ticks(8) {
            let (at, half) = (self.x.at(value), width(&text) / 2.0);
            if at - half < free {
                continue;
            }
            free = at + half + 6.0;
            rule(m, "axis", (at, BOTTOM), (at, BOTTOM + 4.0));
            label(m, "tick middle", at.min(WIDTH - half), BOTTOM + 17.0, &text);
        }
        label(m, "label", 2.0, 14.0, &y.label);
        label(m, "label end", self.right, HEIGHT - 5.0, &x.label);
        self
    }

    /// The line on which both are equal.
    pub fn diagonal(&mut self, low: f64, high: f64) {
        rule(&mut self.m, "zero", (self.x.at(low), self.y.at(low)), (self.x.at(high), self.y.at(high)));
    }

    /// The chart.
    pub fn done(self, kind: &'static str, title: String) -> Chart {
        Chart::new(kind, title, WIDTH, HEIGHT, self.m)
    }
}
