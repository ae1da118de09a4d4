//! Charts as SVG, drawn in units of a view box that is as wide as a phone, so that text stays legible there.
//!
//! | chart | module |
//! |---|---|
//! | numbers to places, ticks | `scale` |
//! | grid, ticks and axis labels of a plane | `axis` |
//! | lines, named points, many points | `lines`, `scatter`, `cloud` |
//! | columns over steps of a range | `columns` |
//! | named rows along one axis: intervals, bars | `rows`, `intervals`, `bars` |
//! | a matrix | `heat` |
//! | colour, dash and marker of a series, legends | `series` |

mod axis;
mod bars;
mod cloud;
mod columns;
mod heat;
mod intervals;
mod lines;
mod rows;
mod scale;
mod scatter;
mod series;

pub(super) use axis::Axis;
pub(super) use bars::{BarChart, BarGroup};
pub(super) use cloud::Cloud;
pub(super) use columns::{ColumnChart, Step};
pub(super) use heat::HeatMap;
pub(super) use intervals::{Forest, ForestGroup, ForestRow};
pub(super) use lines::{Line, LineChart};
pub(super) use scatter::{Point, ScatterChart};
pub(super) use series::{Series, Style, legend, transfer_legend};

use super::markup::{Markup, Px};

/// Width of the view box of all charts but heat maps.
const WIDTH: f64 = 400.0;

/// A drawing and what it is called.
#[derive(Debug, Clone)]
pub(super) struct Chart {
    /// What kind it is, for tests.
    pub kind: &'static str,
    /// What it shows.
    pub title: String,
    about: String,
    width: f64,
    height: f64,
    body: Markup,
}

impl Chart {
    /// A drawing that stands for itself.
    fn new(kind: &'static str, title: String, width: f64, height: f64, body: Markup) -> Self {
        Self { kind, title, about: String::new(), width, height, body }
    }

    /// The same under a heading that says what it is about; those who do not see headings are told with the title.
    pub fn about(mut self, name: &str) -> Self {
        self.about = format!("{name}: ");
        self
    }

    /// How wide it is before it is scaled.
    pub fn width(&self) -> f64 {
        self.width
    }

    /// The SVG; `id` is the number of the chart on its page.
    pub fn draw(&self, m: &mut Markup, id: usize) {
        let title = format!("chart-{id}");
        let view = format!("0 0 {} {}", Px(self.width), Px(self.height));
        // What is wider than a phone is scrolled there, not made illegible.
        let least = if self.width > WIDTH * 1.1 { self.width * 0.85 } else { 0.0 };
        let style = format!("min-width:{}px;max-width:{}px", Px(least), Px(self.width * 1.2));
        m.node(
            "svg",
            &[
                ("xmlns", &"http://www.w3.org/2000/svg"),
                ("class", &"chart"),
                ("data-chart", &self.kind),
                ("viewBox", &view),
                ("style", &style),
                ("role", &"img"),
                ("aria-labelledby", &title),
            ],
            |m| {
                m.leaf("title", &[("id", &title)], format_args!("{}{}", self.about, self.title));
                m.add(self.body.clone());
            },
        );
    }
}

/// Text at a place.
fn label(m: &mut Markup, class: &'static str, x: f64, y: f64, text: &str) {
    m.leaf("text", &[("class", &class), ("x", &Px(x)), ("y", &Px(y))], text);
}

/// A straight line.
fn rule(m: &mut Markup, class: &'static str, from: (f64, f64), to: (f64, f64)) {
    m.single(
        "line",
        &[("class", &class), ("x1", &Px(from.0)), ("y1", &Px(from.1)), ("x2", &Px(to.0)), ("y2", &Px(to.1))],
    );
}
