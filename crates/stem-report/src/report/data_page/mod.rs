//! One HTML page of an encoded data set: what is in it, and what a model cannot learn from it.

mod days;
mod fields;
mod overlap;
mod overview;
mod report;
mod vocabularies;

pub use report::{DataDay, DataField, DataReport, DataTask, DataVocabulary, Shared};

use super::charts::{Series, Style};
use super::number::{DASH, decimals, or_dash};
use super::page;
use super::sections::{Figures, Section};

/// Names of the splits, in the order of arrays of three.
const SPLITS: [&str; 3] = ["training", "validation", "test"];

/// Charts of one kind that are seen at once; further ones are folded up.
const OPEN: usize = 6;

/// Names beside bars at most, those with the largest bars; the tables have all.
const BARS: usize = 20;

/// What all parts draw from.
struct Context<'a> {
    report: &'a DataReport,
    figures: Figures,
}

/// The whole page: `<!doctype html>` to `</html>`. Any data give a page, also none.
pub fn render_data(report: &DataReport) -> String {
    let context = Context { report, figures: Figures::default() };
    let parts = [
        overview::warnings,
        overview::section,
        days::section,
        fields::section,
        fields::numbers,
        vocabularies::section,
        overlap::section,
    ];
    let sections: Vec<Section> = parts.iter().filter_map(|part| part(&context)).collect();
    let name = if report.name.trim().is_empty() { "no name" } else { &report.name };
    page::whole(&format!("The data of {name}"), sections, "Nothing was counted.")
}

/// How the splits look in every chart.
fn series(splits: &[usize]) -> Vec<Series> {
    splits.iter().map(|&split| Series { name: SPLITS[split].into(), style: Style::of(split) }).collect()
}

/// `12.34 %`; small shares with the digits that tell them from nothing.
fn percent(share: Option<f64>) -> String {
    or_dash(share, |share| match 100.0 * share {
        percent if percent > 0.0 && percent < 0.1 => format!("{} %", decimals(percent, 4)),
        percent if percent.is_finite() => format!("{} %", decimals(percent, 2)),
        _ => DASH.into(),
    })
}

/// `None` where there is nothing that it is a share of.
fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}
