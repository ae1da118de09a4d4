//! Points over a plane, named where there is room; many points are a cloud.

use super::axis::{Axis, Plane};
use super::{Chart, Style, WIDTH, label};
use crate::report::number::{fit, width};

/// A point.
#[derive(Debug, Clone)]
pub(in crate::report) struct Point {
    /// Read when pointed at.
    pub title: String,
    /// Written beside it.
    pub name: String,
    /// As in the legend.
    pub style: Style,
    /// Left to right.
    pub x: f64,
    /// Bottom to top.
    pub y: f64,
}

/// Points over a plane.
#[derive(Debug, Clone)]
pub(in crate::report) struct ScatterChart {
    /// For tests.
    pub kind: &'static str,
    /// What it shows.
    pub title: String,
    /// Left to right.
    pub x: Axis,
    /// Bottom to top.
    pub y: Axis,
    /// Those that are not finite are left out.
    pub points: Vec<Point>,
}

/// A part of the plane that is taken: left, top, right, bottom.
type Area = (f64, f64, f64, f64);

impl ScatterChart {
    /// The chart; `None` if there is no point.
    pub fn draw(self) -> Option<Chart> {
        let drawn: Vec<&Point> = self.points.iter().filter(|p| p.x.is_finite() && p.y.is_finite()).collect();
        if drawn.is_empty() {
            return None;
        }
        let mut plane = Plane::new(&self.x, &self.y);
        let mut places = Vec::new();
        for point in drawn {
            let at = (plane.x.at(point.x), plane.y.at(point.y));
            point.style.marker(&mut plane.m, "mark dot", at, &point.title);
            places.push((at, point));
        }
        let mut taken: Vec<Area> = places.iter().map(|((x, y), _)| (x - 5.0, y - 5.0, x + 5.0, y + 5.0)).collect();
        for (at, point) in &places {
            name_point(&mut plane, *at, &point.name, &mut taken);
        }
        Some(plane.done(self.kind, self.title))
    }
}

/// Writes the name beside, over or under the point, wherever nothing is yet; nowhere if all is taken.
fn name_point(plane: &mut Plane, (x, y): (f64, f64), name: &str, taken: &mut Vec<Area>) {
    let name = fit(name, 110.0);
    let wide = width(&name);
    let boxed = |left: f64, middle: f64| (left, middle - 7.0, left + wide, middle + 6.0);
    let tries = [
        boxed(x + 8.0, y),
        boxed(x - 8.0 - wide, y),
        boxed(x - wide / 2.0, y - 13.0),
        boxed(x - wide / 2.0, y + 14.0),
        boxed(x + 6.0, y - 11.0),
        boxed(x + 6.0, y + 12.0),
        boxed(x - 6.0 - wide, y - 11.0),
        boxed(x - 6.0 - wide, y + 12.0),
    ];
    let inside = |b: &Area| b.0 >= plane.left && b.2 <= WIDTH && b.1 >= 18.0;
    let free = |b: &Area| taken.iter().all(|t| b.2 < t.0 || b.0 > t.2 || b.3 < t.1 || b.1 > t.3);
    if let Some(found) = tries.into_iter().find(|b| inside(b) && free(b)) {
        taken.push(found);
        label(&mut plane.m, "name", found.0, found.3 - 2.0, &name);
    }
}
