//! The parts of the page. A part without data is left out with its heading.

mod cost;
mod curves;
mod embeddings;
mod evaluation;
mod figures;
mod gates;
mod learning;
mod priors;
mod provenance;
mod quality;
mod replay;
mod search;
mod strata;
mod transfer;
mod verdict;
mod warnings;

pub(super) use figures::Figures;
pub(super) use provenance::fact;
pub(super) use warnings::{distinct, list_of_warnings};

use super::charts::{Series, Style};
use super::data::{Report, TaskReport};
use super::judge::reference;
use super::markup::Markup;

/// Pairs of tasks whose users are shown; those of further pairs are folded up, or left to the JSON.
pub(super) const OPEN_PAIRS: usize = 3;

/// A part of the page.
pub(super) struct Section {
    /// Where links go.
    pub id: &'static str,
    /// What it answers.
    pub heading: &'static str,
    /// All under the heading.
    pub body: Markup,
}

/// What all parts draw from.
pub(super) struct Context<'a> {
    /// The data.
    pub report: &'a Report,
    /// How every model looks, everywhere.
    pub styles: Vec<Style>,
    /// The single-task model's place.
    pub reference: Option<usize>,
    /// The charts that it has.
    pub figures: Figures,
}

impl<'a> Context<'a> {
    /// Gives every model its looks.
    pub fn new(report: &'a Report) -> Self {
        let reference = reference(report);
        let mut others = 0..;
        let styles = (0..report.models.len())
            .map(|i| if Some(i) == reference { Style::reference() } else { Style::of(others.next().unwrap_or(0)) })
            .collect();
        Self { report, styles, reference, figures: Figures::default() }
    }

    /// How a model looks.
    fn style(&self, model: usize) -> Style {
        self.styles.get(model).copied().unwrap_or_else(Style::reference)
    }

    /// Models for a legend, those that `shown` picks.
    fn series(&self, shown: impl Fn(usize) -> bool) -> Vec<Series> {
        let models = self.report.models.iter().enumerate().filter(|(i, _)| shown(*i));
        models.map(|(i, model)| Series { name: model.name.clone(), style: self.style(i) }).collect()
    }

    /// What a model has to say about a task.
    fn task(&self, model: usize, t: usize) -> Option<&'a TaskReport> {
        self.report.models.get(model)?.tasks.get(t)
    }

    /// Places and names of the tasks.
    fn tasks(&self) -> impl Iterator<Item = (usize, &'a str)> {
        self.report.tasks.iter().map(String::as_str).enumerate()
    }
}

/// What is seen after a click on `summary`.
pub(super) fn folded(m: &mut Markup, summary: &str, inside: impl FnOnce(&mut Markup)) {
    m.node("details", &[("class", &"part")], |m| {
        m.leaf("summary", &[], summary);
        inside(m);
    });
}

/// `lr = 0.001, l2 = 1e-6`.
fn assigned(settings: &[(String, String)]) -> String {
    settings.iter().map(|(name, value)| format!("{name} = {value}")).collect::<Vec<_>>().join(", ")
}

/// A paragraph under a heading that says how to read what follows.
pub(super) fn intro(m: &mut Markup, text: &str) {
    m.leaf("p", &[("class", &"intro")], text);
}

/// All parts that have data.
pub(super) fn all(context: &Context<'_>) -> Vec<Section> {
    [
        verdict::section,
        evaluation::gate,
        replay::section,
        provenance::section,
        evaluation::measured,
        evaluation::slices,
        evaluation::importance,
        evaluation::drift,
        quality::section,
        transfer::section,
        strata::section,
        learning::section,
        curves::section,
        gates::section,
        priors::section,
        cost::section,
        search::section,
        warnings::section,
        embeddings::section,
    ]
    .iter()
    .filter_map(|part| part(context))
    .collect()
}
