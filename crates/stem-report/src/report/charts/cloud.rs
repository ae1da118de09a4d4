//! Many points over a plane, few bytes each: a path holds the markers of many.

use super::axis::{Axis, Plane};
use super::{Chart, Series};

/// More points than this are thinned out.
const MOST: usize = 2000;

/// Points of one path. Series are drawn in turn, so that none lies over all of another.
const PIECE: usize = 40;

/// Points of several series.
#[derive(Debug, Clone)]
pub(in crate::report) struct Cloud {
    /// For tests.
    pub kind: &'static str,
    /// What it shows.
    pub title: String,
    /// Left to right.
    pub x: Axis,
    /// Bottom to top.
    pub y: Axis,
    /// Those that are not finite are left out.
    pub series: Vec<(Series, Vec<(f64, f64)>)>,
}

impl Cloud {
    /// The chart; `None` if there is no point.
    pub fn draw(self) -> Option<Chart> {
        let every = self.series.iter().map(|(_, points)| points.len()).sum::<usize>().div_ceil(MOST).max(1);
        let mut plane = Plane::new(&self.x, &self.y);
        let place = |(x, y): &(f64, f64)| (x.is_finite() && y.is_finite()).then(|| (plane.x.at(*x), plane.y.at(*y)));
        let places: Vec<Vec<(f64, f64)>> =
            self.series.iter().map(|(_, points)| points.iter().step_by(every).filter_map(place).collect()).collect();
        let pieces = places.iter().map(|own| own.len().div_ceil(PIECE)).max().filter(|n| *n > 0)?;
        for piece in 0..pieces {
            for ((series, _), own) in self.series.iter().zip(&places) {
                if let Some(part) = own.chunks(PIECE).nth(piece) {
                    series.style.dots(&mut plane.m, part, &series.name);
                }
            }
        }
        Some(plane.done(self.kind, self.title))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::charts::Style;
    use crate::report::markup::Markup;

    fn cloud(points: Vec<(f64, f64)>) -> Cloud {
        let series = |i| Series { name: format!("series {i}"), style: Style::of(i) };
        let axis = Axis::fixed("", 0.0, 1.0);
        let series = vec![(series(0), points.clone()), (series(1), points)];
        Cloud { kind: "test", title: String::new(), x: axis.clone(), y: axis, series }
    }

    #[test]
    fn series_take_turns_and_a_point_takes_few_bytes() {
        let mut m = Markup::new();
        cloud(vec![(0.5, 0.25); 100]).draw().unwrap().draw(&mut m, 1);
        let page = m.into_string();
        let order: Vec<&str> = page.split("mark cloud ").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        assert_eq!(order, ["k1", "k2", "k1", "k2", "k1", "k2"]);
        assert!(page.len() < 200 * 50 + 2000, "{}", page.len());
    }

    #[test]
    fn a_cloud_of_no_finite_point_is_no_chart() {
        assert!(cloud(vec![(f64::NAN, 0.0)]).draw().is_none());
        assert!(cloud(vec![]).draw().is_none());
    }

    #[test]
    fn too_many_points_are_thinned_out() {
        let mut m = Markup::new();
        cloud(vec![(0.5, 0.25); 3000]).draw().unwrap().draw(&mut m, 1);
        assert_eq!(m.into_string().matches('M').count(), MOST);
    }
}
