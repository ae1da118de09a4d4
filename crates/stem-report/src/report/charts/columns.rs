//! Standing columns beside each other: how many things lie in each step of a range.

use super::Chart;
use super::axis::{Axis, Plane};
use super::series::Style;
use crate::report::markup::{Attributes, Px};

/// One step of the range, and how much lies in it.
#[derive(Debug, Clone)]
pub(in crate::report) struct Step {
    /// Where it begins.
    pub from: f64,
    /// Where it ends.
    pub to: f64,
    /// What lies in it.
    pub height: f64,
    /// Told when pointed at.
    pub title: String,
}

/// Columns from the bottom of the plane.
#[derive(Debug, Clone)]
pub(in crate::report) struct ColumnChart {
    /// For tests.
    pub kind: &'static str,
    /// What it shows.
    pub title: String,
    /// Left to right.
    pub x: Axis,
    /// Bottom to top.
    pub y: Axis,
    /// From left to right; a step in which nothing lies has no column.
    pub steps: Vec<Step>,
}

impl ColumnChart {
    /// The chart; `None` if there is no column.
    pub fn draw(self) -> Option<Chart> {
        let tall = |step: &&Step| step.height.is_finite() && step.height > 0.0;
        self.steps.iter().find(tall)?;
        let mut plane = Plane::new(&self.x, &self.y);
        let bottom = plane.y.at(f64::NEG_INFINITY);
        for step in self.steps.iter().filter(tall) {
            let (left, right, top) = (plane.x.at(step.from), plane.x.at(step.to), plane.y.at(step.height));
            let (x, y, wide, high) =
                (Px(left), Px(top), Px((right - left - 1.0).max(1.0)), Px((bottom - top).max(0.6)));
            let class = Style::of(0).class("mark bar");
            let column: Attributes<'_> =
                &[("class", &class), ("x", &x), ("y", &y), ("width", &wide), ("height", &high)];
            plane.m.node("rect", column, |m| m.leaf("title", &[], &step.title));
        }
        Some(plane.done(self.kind, self.title))
    }
}
