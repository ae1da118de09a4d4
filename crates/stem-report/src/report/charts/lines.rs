//! Lines over a plane, as learning curves and ROC curves.

use std::fmt::Write;

use super::axis::{Axis, Plane};
use super::{Chart, Style};
use crate::report::markup::{Markup, Px};

/// More points than this on one line are thinned out.
const MOST: usize = 240;

/// One line; it is broken where a number is not finite.
#[derive(Debug, Clone)]
pub(in crate::report) struct Line {
    /// Told when pointed at.
    pub name: String,
    /// As in the legend.
    pub style: Style,
    /// From left to right.
    pub points: Vec<(f64, f64)>,
    /// In the background and without markers, as one seed of many.
    pub thin: bool,
    /// Whether the points are marked.
    pub markers: bool,
    /// Points that are ringed, as what was kept.
    pub kept: Vec<(f64, f64)>,
}

impl Line {
    /// A thick line without points or markers.
    pub fn plain(style: Style) -> Self {
        Self { name: String::new(), style, points: Vec::new(), thin: false, markers: false, kept: Vec::new() }
    }
}

/// Several lines.
#[derive(Debug, Clone)]
pub(in crate::report) struct LineChart {
    /// For tests.
    pub kind: &'static str,
    /// What it shows.
    pub title: String,
    /// Left to right.
    pub x: Axis,
    /// Bottom to top.
    pub y: Axis,
    /// Thin ones first.
    pub lines: Vec<Line>,
    /// From and to where the line of equality goes.
    pub diagonal: Option<(f64, f64)>,
}

impl LineChart {
    /// The chart; `None` if no line has a point.
    pub fn draw(self) -> Option<Chart> {
        let drawn = |line: &Line| line.points.iter().any(|(x, y)| x.is_finite() && y.is_finite());
        if !self.lines.iter().any(drawn) {
            return None;
        }
        let mut plane = Plane::new(&self.x, &self.y);
        if let Some((low, high)) = self.diagonal {
            plane.diagonal(low, high);
        }
        for thin in [true, false] {
            for line in self.lines.iter().filter(|line| line.thin == thin && drawn(line)) {
                draw_line(&mut plane, line);
            }
        }
        Some(plane.done(self.kind, self.title))
    }
}

fn draw_line(plane: &mut Plane, line: &Line) {
    let points = thinned(&line.points);
    let places: Vec<Option<(f64, f64)>> =
        points.iter().map(|&(x, y)| (x.is_finite() && y.is_finite()).then(|| (plane.x.at(x), plane.y.at(y)))).collect();
    let class = line.style.class(if line.thin { "mark seed" } else { "mark line" });
    let path = path(&places);
    let kept = line.kept.iter().filter(|(x, y)| x.is_finite() && y.is_finite());
    let kept: Vec<(f64, f64)> = kept.map(|&(x, y)| (plane.x.at(x), plane.y.at(y))).collect();
    let alone = places.iter().flatten().count() == 1;
    plane.m.node("g", &[], |m| {
        m.leaf("title", &[], &line.name);
        m.single("path", &[("class", &class), ("d", &path)]);
        if line.markers || alone {
            draw_markers(m, line, &places);
        }
        for (x, y) in kept {
            let ring = line.style.class("kept");
            m.single("circle", &[("class", &ring), ("cx", &Px(x)), ("cy", &Px(y)), ("r", &Px(5.0))]);
        }
    });
}

/// A marker at every point, or at about ten of many.
fn draw_markers(m: &mut Markup, line: &Line, places: &[Option<(f64, f64)>]) {
    let every = places.len().div_ceil(12).max(1);
    for (i, place) in places.iter().enumerate() {
        if let Some(at) = place
            && (i % every == 0 || i + 1 == places.len())
        {
            line.style.marker(m, "dot", *at, "");
        }
    }
}

fn path(places: &[Option<(f64, f64)>]) -> String {
    let (mut path, mut pen_down) = (String::new(), false);
    for place in places {
        if let Some((x, y)) = place {
            // Writing into a string does not fail.
            let _ = write!(path, "{}{},{}", if pen_down { 'L' } else { 'M' }, Px(*x), Px(*y));
        }
        pen_down = place.is_some();
    }
    path
}

/// Evenly chosen points, the first and the last among them.
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    if points.len() <= MOST {
        return points.to_vec();
    }
    (0..MOST).map(|i| points[i * (points.len() - 1) / (MOST - 1)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_broken_where_a_number_is_missing() {
        assert_eq!(path(&[Some((0.0, 1.0)), Some((2.0, 3.0)), None, Some((4.0, 5.0))]), "M0,1L2,3M4,5");
    }

    #[test]
    fn long_lines_are_thinned_and_keep_their_ends() {
        let points: Vec<(f64, f64)> = (0..5000).map(|i| (f64::from(i), 0.0)).collect();
        let few = thinned(&points);
        assert_eq!((few.len(), few.first(), few.last()), (MOST, points.first(), points.last()));
    }

    #[test]
    fn lines_without_points_give_no_chart() {
        let line = Line { name: "a".into(), points: vec![(f64::NAN, 1.0)], markers: true, ..Line::plain(Style::of(0)) };
        let chart = LineChart {
            kind: "test",
            title: String::new(),
            x: Axis::linear("x", []),
            y: Axis::linear("y", []),
            lines: vec![line],
            diagonal: None,
        };
        assert!(chart.draw().is_none());
    }
}
