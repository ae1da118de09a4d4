//! Charts under their titles, with their numbers beneath.

use std::cell::Cell;

use crate::report::charts::Chart;
use crate::report::markup::Markup;
use crate::report::table::Table;

/// Charts narrower than this stand closer together.
const SMALL: f64 = 250.0;

/// Counts the figures of a page, so that each has a name of its own.
#[derive(Debug, Default)]
pub(in crate::report) struct Figures(Cell<usize>);

impl Figures {
    /// A chart under its title, its numbers folded up beneath.
    fn one(&self, m: &mut Markup, chart: &Chart, table: &Table) {
        self.0.set(self.0.get() + 1);
        m.node("figure", &[], |m| {
            m.leaf("figcaption", &[], &chart.title);
            m.node("div", &[("class", &"drawing")], |m| chart.draw(m, self.0.get()));
            m.node("details", &[], |m| {
                m.leaf("summary", &[("aria-label", &format_args!("Numbers: {}", chart.title))], "Numbers");
                table.draw(m);
            });
        });
    }

    /// Figures beside each other, as many as there is room for.
    pub fn beside(&self, m: &mut Markup, figures: &[(Chart, Table)]) {
        let small = figures.iter().all(|(chart, _)| chart.width() < SMALL);
        let class = if small { "charts small" } else { "charts" };
        m.node("div", &[("class", &class)], |m| {
            figures.iter().for_each(|(chart, table)| self.one(m, chart, table));
        });
    }
}
