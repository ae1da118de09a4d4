//! What a reader has to know before believing the numbers.

use super::{Context, Section};
use crate::report::markup::Markup;

pub(super) fn section(context: &Context<'_>) -> Option<Section> {
    let warnings = &context.report.warnings;
    if warnings.is_empty() {
        return None;
    }
    let mut body = Markup::new();
    list_of_warnings(&mut body, warnings);
    Some(Section { id: "warnings", heading: "Warnings", body })
}

/// Each once, however many say it; in their order.
pub(in crate::report) fn distinct(warnings: &[String]) -> Vec<&str> {
    let first = |(i, warning): &(usize, &String)| !warnings[..*i].contains(*warning);
    warnings.iter().enumerate().filter(first).map(|(_, warning)| warning.as_str()).collect()
}

/// One below the other, each once.
pub(in crate::report) fn list_of_warnings(m: &mut Markup, warnings: &[String]) {
    let all = distinct(warnings);
    m.node("ul", &[("class", &"warnings")], |m| all.iter().for_each(|warning| m.leaf("li", &[], warning)));
}
