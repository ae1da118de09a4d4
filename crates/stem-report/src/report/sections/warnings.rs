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

/// One below the other.
pub(in crate::report) fn list_of_warnings(m: &mut Markup, warnings: &[String]) {
    m.node("ul", &[("class", &"warnings")], |m| warnings.iter().for_each(|warning| m.leaf("li", &[], warning)));
}
