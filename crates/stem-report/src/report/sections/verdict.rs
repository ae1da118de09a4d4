//! The answer, before everything else.

use super::{Context, Section, distinct};
use crate::report::markup::Markup;
use crate::report::number::things;
use crate::report::verdict::{Verdict, summary, verdicts};

pub(super) fn section(context: &Context<'_>) -> Option<Section> {
    let verdicts = verdicts(context.report);
    let is_of_days = context.report.evaluation.is_some() || context.report.replay.is_some();
    if verdicts.is_empty() || is_of_days {
        return None; // of two bundles the gate speaks, of a replay its means
    }
    let heading = if verdicts.iter().any(|v| v.model.is_some()) { "What to ship" } else { "In short" };
    let mut body = Markup::new();
    let summary = summary(context.report, &verdicts);
    if !summary.is_empty() {
        body.leaf("p", &[("class", &"summary")], summary.join(" "));
    }
    body.node("ul", &[("class", &"verdicts")], |m| verdicts.iter().for_each(|v| draw(m, v, gains(context, v))));
    let warnings = distinct(&context.report.warnings).len() as u64;
    if warnings > 0 {
        body.node("p", &[("class", &"note")], |m| {
            m.text("Read the ");
            m.leaf("a", &[("href", &"#warnings")], things(warnings, "warning", "warnings"));
            m.text(" before acting on this.");
        });
    }
    Some(Section { id: "verdict", heading, body })
}

/// Whether a model that shares is to be shipped.
fn gains(context: &Context<'_>, verdict: &Verdict) -> bool {
    let reference = context.reference.and_then(|i| context.report.models.get(i)).map(|m| &m.name);
    reference.is_some() && verdict.model.is_some() && verdict.model.as_ref() != reference
}

fn draw(m: &mut Markup, verdict: &Verdict, gains: bool) {
    let class = if gains { "gains" } else { "same" };
    m.node("li", &[("class", &class)], |m| {
        let (first, others) = match &verdict.reasons[..] {
            [first, others @ ..] => (first.as_str(), others),
            [] => ("", &[][..]),
        };
        m.node("p", &[("class", &"ship")], |m| {
            m.leaf("strong", &[], &verdict.headline);
            if !first.is_empty() {
                m.text(format_args!(": {}", unbroken(first)));
            }
        });
        if !others.is_empty() {
            m.leaf("p", &[("class", &"why")], unbroken(&others.join(" ")));
        }
    });
}

/// Keeps a number and its unit or deviation on one line.
fn unbroken(text: &str) -> String {
    text.replace(" %", "\u{a0}%").replace(" \u{b1} ", "\u{a0}\u{b1}\u{a0}")
}
