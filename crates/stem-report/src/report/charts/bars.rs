//! Lying bars in groups, from zero.

use super::rows::{Group, Rows};
use super::scale::Scale;
use super::{Chart, Series};
use crate::report::markup::{Attributes, Px};
use crate::report::number::{decimals, finite, or_dash};

/// Bars under a heading, one per series.
#[derive(Debug, Clone)]
pub(in crate::report) struct BarGroup {
    /// Over the bars.
    pub heading: String,
    /// In the order of the series; `None` is a dash.
    pub values: Vec<Option<f64>>,
}

/// Bars in groups.
#[derive(Debug, Clone)]
pub(in crate::report) struct BarChart {
    /// For tests.
    pub kind: &'static str,
    /// What it shows.
    pub title: String,
    /// What is measured, with the unit.
    pub axis: String,
    /// One per bar of a group.
    pub series: Vec<Series>,
    /// From top to bottom.
    pub groups: Vec<BarGroup>,
    /// Decimals of the values.
    pub places: usize,
}

impl BarChart {
    /// The chart; `None` if there is no bar.
    pub fn draw(self) -> Option<Chart> {
        let all = || self.groups.iter().flat_map(|g| &g.values).filter_map(|v| v.and_then(finite));
        all().next()?;
        let scale = Scale::linear(all().chain([0.0]), 0.0);
        // With one bar in every group, its heading is name enough.
        let single = self.series.len() == 1;
        let group = |g: &BarGroup| {
            let name = |s: &Series| if single { g.heading.clone() } else { s.name.clone() };
            let value = |value: Option<f64>| or_dash(value, |v| decimals(v, self.places));
            let rows = self.series.iter().zip(&g.values).map(|(s, v)| (name(s), value(*v))).collect();
            Group { heading: if single { String::new() } else { g.heading.clone() }, rows }
        };
        let groups: Vec<Group> = self.groups.iter().map(group).collect();
        let mut rows = Rows::new(&groups, scale, &self.axis);
        for (group, middles) in self.groups.iter().zip(rows.middles.clone()) {
            for ((series, value), middle) in self.series.iter().zip(&group.values).zip(middles) {
                let Some(value) = value.and_then(finite) else { continue };
                let (zero, end) = (rows.x.at(0.0), rows.x.at(value));
                let (x, y, wide) = (Px(zero.min(end)), Px(middle - 6.0), Px((zero - end).abs().max(0.6)));
                let class = series.style.class("mark bar");
                let bar: Attributes<'_> = &[("class", &class), ("x", &x), ("y", &y), ("width", &wide), ("height", &12)];
                let title = format!("{}, {}: {}", group.heading, series.name, decimals(value, self.places));
                rows.m.node("rect", bar, |m| m.leaf("title", &[], title));
            }
        }
        Some(rows.done(self.kind, self.title))
    }
}
