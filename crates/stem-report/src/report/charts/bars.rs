//! Lying bars in groups, from zero.

use super::rows::{Group, Row, Rows};
use super::scale::Scale;
use super::{Chart, Series};
use crate::report::markup::Px;
use crate::report::number::{DASH, decimals, finite};

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
        let shown = |g: &BarGroup| -> Vec<String> {
            g.values.iter().map(|v| v.map_or_else(|| DASH.into(), |v| decimals(v, self.places))).collect()
        };
        let values: Vec<Vec<String>> = self.groups.iter().map(shown).collect();
        // With one bar in every group, its heading is name enough.
        let single = self.series.len() == 1;
        let named = |(group, values): (&'_ BarGroup, &'_ Vec<String>)| -> (String, Vec<(String, String)>) {
            let name = |s: &Series| if single { group.heading.clone() } else { s.name.clone() };
            let rows = self.series.iter().zip(values).map(|(s, value)| (name(s), value.clone())).collect();
            (if single { String::new() } else { group.heading.clone() }, rows)
        };
        let named: Vec<(String, Vec<(String, String)>)> = self.groups.iter().zip(&values).map(named).collect();
        let groups: Vec<Group<'_>> = named
            .iter()
            .map(|(heading, rows)| Group {
                heading,
                rows: rows.iter().map(|(name, value)| Row { name, value }).collect(),
            })
            .collect();
        let mut rows = Rows::new(&groups, scale, &self.axis);
        for (group, middles) in self.groups.iter().zip(rows.middles.clone()) {
            for ((series, value), middle) in self.series.iter().zip(&group.values).zip(middles) {
                let Some(value) = value.and_then(finite) else { continue };
                let (zero, end) = (rows.x.at(0.0), rows.x.at(value));
                let (x, wide) = (zero.min(end), (zero - end).abs().max(0.6));
                let class = series.style.class("mark bar");
                rows.m.node(
                    "rect",
                    &[
                        ("class", &class),
                        ("x", &Px(x)),
                        ("y", &Px(middle - 6.0)),
                        ("width", &Px(wide)),
                        ("height", &12),
                    ],
                    |m| {
                        m.leaf(
                            "title",
                            &[],
                            format!("{}, {}: {}", group.heading, series.name, decimals(value, self.places)),
                        )
                    },
                );
            }
        }
        Some(rows.done(self.kind, self.title))
    }
}
