//! A forest plot: differences and their intervals beside a line at zero.

use super::Chart;
use super::rows::{Group, Rows};
use super::scale::Scale;
use super::series::{transfer_class, transfer_marker};
use crate::report::data::Interval;
use crate::report::judge::{Transfer, known};
use crate::report::markup::Px;
use crate::report::number::{interval, or_dash, signed};

/// One interval.
#[derive(Debug, Clone)]
pub(in crate::report) struct ForestRow {
    /// At its left.
    pub name: String,
    /// `None` is a dash.
    pub interval: Option<Interval>,
}

/// Rows under a heading.
#[derive(Debug, Clone)]
pub(in crate::report) struct ForestGroup {
    /// May be empty.
    pub heading: String,
    /// From top to bottom.
    pub rows: Vec<ForestRow>,
}

/// Intervals in groups.
#[derive(Debug, Clone)]
pub(in crate::report) struct Forest {
    /// For tests.
    pub kind: &'static str,
    /// What it shows.
    pub title: String,
    /// What the differences are of.
    pub axis: String,
    /// From top to bottom.
    pub groups: Vec<ForestGroup>,
}

impl Forest {
    /// The chart; `None` if there is no interval.
    pub fn draw(self) -> Option<Chart> {
        let all = || self.groups.iter().flat_map(|g| &g.rows).filter_map(|row| known(row.interval));
        all().next()?;
        let scale = Scale::linear(all().flat_map(|i| [i.low, i.mean, i.high, 0.0]), 0.04);
        let row = |row: &ForestRow| (row.name.clone(), or_dash(known(row.interval), |i| signed(i.mean)));
        let group = |g: &ForestGroup| Group { heading: g.heading.clone(), rows: g.rows.iter().map(row).collect() };
        let groups: Vec<Group> = self.groups.iter().map(group).collect();
        let mut rows = Rows::new(&groups, scale, &self.axis);
        rows.upright(0.0);
        for (group, middles) in self.groups.iter().zip(rows.middles.clone()) {
            for (row, middle) in group.rows.iter().zip(middles) {
                if let Some(i) = known(row.interval) {
                    draw_interval(&mut rows, &row.name, &i, middle);
                }
            }
        }
        Some(rows.done(self.kind, self.title))
    }
}

fn draw_interval(rows: &mut Rows, name: &str, i: &Interval, y: f64) {
    let call = Transfer::of(i).unwrap_or(Transfer::NoEvidence);
    let (low, mean, high) = (rows.x.at(i.low), rows.x.at(i.mean), rows.x.at(i.high));
    let class = format!("mark {}", transfer_class(call));
    rows.m.node("g", &[("class", &class)], |m| {
        m.leaf("title", &[], format!("{name}: {}, {}", interval(i), call.name()));
        let (low, high, top) = (Px(low), Px(high), Px(y - 3.5));
        let path = format!("M{low} {}H{high}M{low} {top}v7M{high} {top}v7", Px(y));
        m.single("path", &[("class", &"whisker"), ("d", &path)]);
        transfer_marker(m, call, (mean, y));
    });
}
