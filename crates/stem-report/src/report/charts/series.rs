//! How a series looks: a colour that colour-blind readers can tell apart, and a dash and a marker besides.

use crate::report::judge::Transfer;
use crate::report::markup::{Markup, Px};

const COLOURS: usize = 7;
const DASHES: usize = 5;

/// Outlines around (0, 0), about 4 each way.
const MARKERS: [&str; 8] = [
    "M-3.6,0a3.6,3.6 0 1,0 7.2,0a3.6,3.6 0 1,0 -7.2,0z",
    "M-3.2,-3.2h6.4v6.4h-6.4z",
    "M0,-4.4L4.1,3H-4.1z",
    "M0,-4.6L4.6,0L0,4.6L-4.6,0z",
    "M0,4.4L4.1,-3H-4.1z",
    "M-1.4,-4.2h2.8v2.8h2.8v2.8h-2.8v2.8h-2.8v-2.8h-2.8v-2.8h2.8z",
    "M-4,-2.2L-2.2,-4L0,-1.8L2.2,-4L4,-2.2L1.8,0L4,2.2L2.2,4L0,1.8L-2.2,4L-4,2.2L-1.8,0z",
    "M-4.2,0L-2.1,-3.7H2.1L4.2,0L2.1,3.7H-2.1z",
];

/// The same around any place, smaller and in few characters.
const DOTS: [&str; 8] = [
    "m-2.5 0a2.5 2.5 0 1 0 5 0 2.5 2.5 0 1 0-5 0z",
    "m-2.2-2.2h4.4v4.4h-4.4z",
    "m0-3l2.8 5h-5.6z",
    "m0-3.2l3.2 3.2-3.2 3.2-3.2-3.2z",
    "m0 3l2.8-5h-5.6z",
    "m-1-3h2v2h2v2h-2v2h-2v-2h-2v-2h2z",
    "m-2.8-1.5l1.3-1.3 1.5 1.5 1.5-1.5 1.3 1.3-1.5 1.5 1.5 1.5-1.3 1.3-1.5-1.5-1.5 1.5-1.3-1.3 1.5-1.5z",
    "m-3 0l1.5-2.6h3l1.5 2.6-1.5 2.6h-3z",
];

/// Colour, dash and marker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::report) struct Style {
    colour: usize, // 0 is the reference's grey
    dash: usize,
    marker: usize,
}

impl Style {
    /// Of the `index`-th series. Colours repeat after seven, colour, dash and marker together after 280.
    pub fn of(index: usize) -> Self {
        Self { colour: index % COLOURS + 1, dash: index % DASHES, marker: index % MARKERS.len() }
    }

    /// Of what the others are compared with.
    pub fn reference() -> Self {
        Self { colour: 0, dash: 1, marker: 1 }
    }

    /// Classes of something drawn in it.
    pub fn class(self, kind: &str) -> String {
        format!("{kind} k{} d{}", self.colour, self.dash)
    }

    /// The marker at a place, with a title to point at.
    pub fn marker(self, m: &mut Markup, kind: &str, at: (f64, f64), title: &str) {
        let place = format!("translate({} {})", Px(at.0), Px(at.1));
        let class = format!("{kind} k{}", self.colour);
        let outline = MARKERS.get(self.marker).copied().unwrap_or_default();
        m.node("path", &[("class", &class), ("d", &outline), ("transform", &place)], |m| {
            if !title.is_empty() {
                m.leaf("title", &[], title);
            }
        });
    }

    /// Small markers at many places, all in one path.
    pub fn dots(self, m: &mut Markup, places: &[(f64, f64)], title: &str) {
        let outline = DOTS.get(self.marker).copied().unwrap_or_default();
        let path: String = places.iter().map(|&(x, y)| format!("M{} {}{outline}", Px(x), Px(y))).collect();
        let class = format!("mark cloud k{}", self.colour);
        m.node("path", &[("class", &class), ("d", &path)], |m| m.leaf("title", &[], title));
    }
}

/// A name and how it looks.
#[derive(Debug, Clone)]
pub(in crate::report) struct Series {
    /// For the legend.
    pub name: String,
    /// Everywhere on the page.
    pub style: Style,
}

/// Names beside what they look like; `line` shows the dash, too.
pub(in crate::report) fn legend(m: &mut Markup, series: &[Series], line: bool) {
    let view = if line { "0 0 34 14" } else { "10 0 14 14" };
    list(m, view, series.iter().map(|s| s.name.as_str()), |m, i| {
        if line {
            let class = series[i].style.class("line");
            m.single("path", &[("class", &class), ("d", &"M1,7H33")]);
        }
        series[i].style.marker(m, "dot", (17.0, 7.0), "");
    });
}

/// What the marks of transfer mean.
pub(in crate::report) fn transfer_legend(m: &mut Markup) {
    let calls = [Transfer::Positive, Transfer::NoEvidence, Transfer::Negative];
    let names =
        ["positive: the 95 % interval is above zero", "no evidence: it includes zero", "negative: it is below zero"];
    list(m, "0 0 34 14", names, |m, i| {
        m.node("g", &[("class", &transfer_class(calls[i]))], |m| {
            m.single("path", &[("class", &"whisker"), ("d", &"M3,7H31")]);
            transfer_marker(m, calls[i], (17.0, 7.0));
        });
    });
}

/// Classes of an interval.
pub(super) fn transfer_class(call: Transfer) -> &'static str {
    match call {
        Transfer::Positive => "positive",
        Transfer::Negative => "negative",
        Transfer::NoEvidence => "open",
    }
}

/// A filled circle, a filled diamond, a hollow circle.
pub(super) fn transfer_marker(m: &mut Markup, call: Transfer, at: (f64, f64)) {
    let place = format!("translate({} {})", Px(at.0), Px(at.1));
    let outline = if call == Transfer::Negative { MARKERS[3] } else { MARKERS[0] };
    m.single("path", &[("class", &"middle"), ("d", &outline), ("transform", &place)]);
}

fn list<'a>(
    m: &mut Markup,
    view: &'static str,
    names: impl IntoIterator<Item = &'a str>,
    draw: impl Fn(&mut Markup, usize),
) {
    m.node("ul", &[("class", &"legend")], |m| {
        for (i, name) in names.into_iter().enumerate() {
            m.node("li", &[], |m| {
                m.node(
                    "svg",
                    &[("class", &"key"), ("viewBox", &view), ("aria-hidden", &"true"), ("focusable", &"false")],
                    |m| draw(m, i),
                );
                m.leaf("span", &[], name);
            });
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thirty_series_all_look_different() {
        let all: Vec<Style> = (0..30).map(Style::of).chain([Style::reference()]).collect();
        assert!(all.iter().enumerate().all(|(i, a)| all[..i].iter().all(|b| a != b)));
    }
}
