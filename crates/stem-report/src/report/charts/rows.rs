//! Named rows along one axis, in groups: what intervals and bars have in common.

use super::scale::Scale;
use super::{Chart, WIDTH, label, rule};
use crate::report::markup::{Attributes, Markup, Px};
use crate::report::number::{fit, width};

const ROW: f64 = 21.0;
const HEADING: f64 = 25.0;
const TOP: f64 = 6.0;
const WIDEST_NAME: f64 = 132.0;
/// How much wider the text of headings is.
const BOLD: f64 = 1.12;

/// Rows under a heading; an empty heading takes no room.
pub(super) struct Group {
    pub heading: String,
    /// Name of a row, and what is written at its right end.
    pub rows: Vec<(String, String)>,
}

/// The rows with their names and values written, and the axis under them.
pub(super) struct Rows {
    pub m: Markup,
    pub x: Scale,
    /// Middle of every row, group by group.
    pub middles: Vec<Vec<f64>>,
    bottom: f64,
}

impl Rows {
    /// Lays out rows between their names and their values.
    pub fn new(groups: &[Group], scale: Scale, axis: &str) -> Self {
        let widest = |of: fn(&(String, String)) -> f64| groups.iter().flat_map(|g| &g.rows).map(of).fold(0.0, f64::max);
        let left = 16.0 + widest(|(name, _)| width(name)).min(WIDEST_NAME);
        let right = WIDTH - 12.0 - widest(|(_, value)| width(value));
        let x = scale.over(left, right);
        let mut middles = Vec::new();
        let mut y = TOP;
        for group in groups {
            y += if group.heading.is_empty() { 0.0 } else { HEADING };
            middles.push((0..group.rows.len()).map(|i| y + ROW * (i as f64 + 0.5)).collect::<Vec<f64>>());
            y += ROW * group.rows.len() as f64;
        }
        let mut rows = Self { m: Markup::new(), x, middles, bottom: y + 4.0 };
        rows.axis(axis, left, right);
        for (g, group) in groups.iter().enumerate() {
            rows.write(g, group);
        }
        rows
    }

    fn axis(&mut self, axis: &str, left: f64, right: f64) {
        let m = &mut self.m;
        let mut free = 0.0;
        for (value, text) in self.x.ticks(4) {
            let (at, half) = (self.x.at(value), width(&text) / 2.0);
            rule(m, "grid", (at, TOP), (at, self.bottom));
            if at - half >= free {
                free = at + half + 6.0;
                label(m, "tick middle", at, self.bottom + 15.0, &text);
            }
        }
        rule(m, "axis", (left, self.bottom), (right, self.bottom));
        let (text, half) = (fit(axis, WIDTH - 10.0), width(axis) / 2.0);
        let middle = ((left + right) / 2.0).min(WIDTH - half).max(half.min(WIDTH / 2.0));
        label(m, "label middle", middle, self.bottom + 33.0, &text);
    }

    fn write(&mut self, g: usize, group: &Group) {
        let middles = self.middles.get(g).cloned().unwrap_or_default();
        if let Some(first) = middles.first().filter(|_| !group.heading.is_empty()) {
            let y = first - ROW / 2.0 - HEADING;
            let (top, height) = (Px(y + 2.0), Px(HEADING - 4.0));
            let band: Attributes<'_> =
                &[("class", &"band"), ("x", &0), ("y", &top), ("width", &Px(WIDTH)), ("height", &height)];
            self.m.single("rect", band);
            label(&mut self.m, "heading", 4.0, y + 17.0, &fit(&group.heading, (WIDTH - 8.0) / BOLD));
        }
        for ((name, value), middle) in group.rows.iter().zip(middles) {
            label(&mut self.m, "name", 4.0, middle + 4.0, &fit(name, WIDEST_NAME));
            label(&mut self.m, "tick end", WIDTH - 2.0, middle + 4.0, value);
        }
    }

    /// A vertical line through all rows, but not through headings.
    pub fn upright(&mut self, value: f64) {
        let at = self.x.at(value);
        for (first, last) in self.middles.iter().filter_map(|group| Some((group.first()?, group.last()?))) {
            rule(&mut self.m, "zero", (at, first - ROW / 2.0), (at, last + ROW / 2.0));
        }
    }

    /// The chart.
    pub fn done(self, kind: &'static str, title: String) -> Chart {
        Chart::new(kind, title, WIDTH, self.bottom + 40.0, self.m)
    }
}
