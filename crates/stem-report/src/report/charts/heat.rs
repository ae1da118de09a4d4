//! A matrix of numbers from 0 to 1, each written in its cell: the shade is for the eye, the number for the reader.

use super::{Chart, WIDTH, label};
use crate::report::markup::{Attributes, Markup, Px};
use crate::report::number::{decimals, finite, fit, or_dash, width};

const CELL: f64 = 34.0;
const NARROWEST: f64 = 40.0;
/// Where names need it, columns are so wide even if the chart gets wider than others.
const NAMED: f64 = 58.0;
const HEAD: f64 = 24.0;
const FOOT: f64 = 26.0;
const WIDEST_NAME: f64 = 110.0;

/// A matrix.
#[derive(Debug, Clone)]
pub(in crate::report) struct HeatMap {
    /// For tests.
    pub kind: &'static str,
    /// What it shows.
    pub title: String,
    /// What rows, columns and shades are.
    pub axis: String,
    /// Names at the left.
    pub rows: Vec<String>,
    /// Names above.
    pub columns: Vec<String>,
    /// `[rows, columns]`; what is missing is a dash.
    pub values: Vec<Vec<Option<f64>>>,
}

impl HeatMap {
    /// The value of a cell, if it is there and finite.
    fn value(&self, r: usize, c: usize) -> Option<f64> {
        self.values.get(r)?.get(c).copied().flatten().and_then(finite)
    }

    /// The chart; `None` without a cell that has a value.
    pub fn draw(self) -> Option<Chart> {
        let cells = || (0..self.rows.len()).flat_map(|r| (0..self.columns.len()).map(move |c| (r, c)));
        if !cells().any(|(r, c)| self.value(r, c).is_some()) {
            return None;
        }
        let left = 10.0 + self.rows.iter().map(|name| width(name)).fold(0.0, f64::max).min(WIDEST_NAME);
        let widest = self.columns.iter().map(|name| width(name)).fold(0.0, f64::max);
        let room =
            ((WIDTH - left) / self.columns.len().max(1) as f64).clamp(NARROWEST.max((widest + 10.0).min(NAMED)), 90.0);
        let wide = (widest + 10.0).max(50.0).min(room);
        let total = (left + wide * self.columns.len() as f64 + 2.0).max(width(&self.axis).min(360.0) + 4.0);
        let height = HEAD + CELL * self.rows.len() as f64 + FOOT;
        let mut m = Markup::new();
        for (c, name) in self.columns.iter().enumerate() {
            label(&mut m, "tick middle", left + wide * (c as f64 + 0.5), HEAD - 8.0, &fit(name, wide - 4.0));
        }
        for (r, name) in self.rows.iter().enumerate() {
            label(&mut m, "name end", left - 8.0, HEAD + CELL * (r as f64 + 0.5) + 4.0, &fit(name, WIDEST_NAME));
        }
        let at = |r: usize, c: usize| (left + wide * c as f64, HEAD + CELL * r as f64);
        cells().for_each(|(r, c)| self.shade(&mut m, r, c, at(r, c), wide));
        m.node("g", &[("class", &"middle")], |m| {
            for (r, c) in cells() {
                let ((x, y), text) = (at(r, c), self.text(r, c));
                m.leaf("text", &[("x", &Px(x + wide / 2.0)), ("y", &Px(y + CELL / 2.0 + 4.0))], text);
            }
        });
        label(&mut m, "label", 2.0, height - 7.0, &fit(&self.axis, total - 4.0));
        Some(Chart::new(self.kind, self.title, total, height, m))
    }

    fn text(&self, r: usize, c: usize) -> String {
        or_dash(self.value(r, c), |v| decimals(v, 2))
    }

    /// The cell without its number.
    fn shade(&self, m: &mut Markup, r: usize, c: usize, (x, y): (f64, f64), wide: f64) {
        let value = self.value(r, c);
        let shade = decimals(value.unwrap_or(0.0).clamp(0.0, 1.0) * 0.62, 2);
        let class = if value.is_some() { "mark heat" } else { "nothing" };
        let path = format!("M{0} {1}h{2}v{3}h-{2}z", Px(x + 1.0), Px(y + 1.0), Px(wide - 2.0), Px(CELL - 2.0));
        let about: Attributes<'_> = &[("class", &class), ("d", &path), ("fill-opacity", &shade)];
        // Names that had to be cut can be pointed at.
        if width(&self.rows[r]) > WIDEST_NAME || width(&self.columns[c]) > wide - 4.0 {
            let title = format!("{}, {}: {}", self.rows[r], self.columns[c], self.text(r, c));
            m.node("path", about, |m| m.leaf("title", &[], title));
        } else {
            m.single("path", about);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ragged_and_missing_values_are_dashes() {
        let map = HeatMap {
            kind: "test",
            title: "t".into(),
            axis: "a".into(),
            rows: vec!["r".into(), "s".into()],
            columns: vec!["c".into(), "d".into()],
            values: vec![vec![Some(0.5), Some(f64::NAN)]],
        };
        let mut m = Markup::new();
        map.clone().draw().unwrap().draw(&mut m, 1);
        let page = m.into_string();
        assert_eq!((page.matches("mark heat").count(), page.matches(">\u{2013}</text>").count()), (1, 3));
        assert!(HeatMap { values: vec![], ..map }.draw().is_none());
    }
}
