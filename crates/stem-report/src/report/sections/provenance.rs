//! What was run, and the command that does it again.

use super::{Context, Section, assigned, folded};
use crate::report::data::Provenance;
use crate::report::markup::Markup;
use crate::report::number::{count, duration, list};
use crate::report::table::Table;

pub(super) fn section(context: &Context<'_>) -> Option<Section> {
    let run = &context.report.provenance;
    let models = settings(context);
    if *run == Provenance::default() && models.is_empty() {
        return None;
    }
    let mut body = Markup::new();
    if *run != Provenance::default() {
        body.node("dl", &[("class", &"facts")], |m| facts(m, run));
    }
    if !run.command.is_empty() {
        body.leaf("p", &[], "To do it again:");
        body.node("pre", &[("tabindex", &0)], |m| m.leaf("code", &[], &run.command));
    }
    if !run.settings.is_empty() {
        let mut table = Table::new("Settings of the run", ["setting", "value"]).ending_in_text();
        run.settings.iter().for_each(|(name, value)| table.row(name, [value.as_str()]));
        folded(&mut body, "Settings", |m| table.draw(m));
    }
    if !models.is_empty() {
        let summary = if context.report.models.len() > 1 { "Settings of each model" } else { "Settings of the model" };
        folded(&mut body, summary, |m| models.draw(m));
    }
    Some(Section { id: "run", heading: "What was run", body })
}

/// A row for every model that tells its settings.
fn settings(context: &Context<'_>) -> Table {
    let mut table = Table::new("Settings by model", ["model", "settings"]).ending_in_text();
    for model in context.report.models.iter().filter(|m| !m.settings.is_empty()) {
        table.row(&model.name, [assigned(&model.settings)]);
    }
    table
}

fn facts(m: &mut Markup, run: &Provenance) {
    let mut fact = |name: &str, value: String| fact(m, name, &value);
    fact("Recipe", run.recipe.clone());
    if run.rows != [0; 3] {
        let [train, valid, test] = run.rows.map(count);
        fact("Rows", format!("{train} train, {valid} valid, {test} test"));
    }
    let seeds: Vec<String> = run.seeds.iter().map(u64::to_string).collect();
    fact("Seeds", list(&seeds));
    fact("Device", run.device.clone());
    let versions: Vec<String> = run.versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
    fact("Versions", versions.join(", "));
    fact("Finished", run.finished.clone());
    if run.seconds > 0.0 {
        fact("Training took", duration(run.seconds));
    }
}

/// A fact with its name; nothing where it is empty.
pub(in crate::report) fn fact(m: &mut Markup, name: &str, value: &str) {
    if !value.is_empty() {
        m.node("div", &[], |m| {
            m.leaf("dt", &[], name);
            m.leaf("dd", &[], value);
        });
    }
}
