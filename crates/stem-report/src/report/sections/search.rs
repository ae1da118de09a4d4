//! How the settings were chosen.

use super::{Context, Section, assigned, folded};
use crate::report::data::Trial;
use crate::report::markup::Markup;
use crate::report::number::{maybe, things};
use crate::report::table::{Cell, Table};

pub(super) fn section(context: &Context<'_>) -> Option<Section> {
    let search = context.report.search.as_ref()?;
    let mut body = Markup::new();
    for text in [&search.budget, &search.note] {
        if !text.is_empty() {
            body.leaf("p", &[("class", &"intro")], text);
        }
    }
    let won: Vec<&Trial> = search.trials.iter().filter(|t| t.won).collect();
    if !won.is_empty() {
        table("Settings that won", &won, false).draw(&mut body);
    }
    if !search.trials.is_empty() {
        let all: Vec<&Trial> = search.trials.iter().collect();
        let summary = format!("All {}", things(all.len() as u64, "trial", "trials"));
        let table = table("All trials, the score on the validation split", &all, true);
        folded(&mut body, &summary, |m| table.draw(m));
    }
    Some(Section { id: "search", heading: "How settings were chosen", body })
}

fn table(caption: &str, trials: &[&Trial], mark: bool) -> Table {
    let mut table = Table::new(caption, ["model", "score", "epochs", "settings"]).ending_in_text();
    for trial in trials {
        let score = Cell::marked(maybe(trial.score), (mark && trial.won).then_some("won"));
        table.row(&trial.model, [score, trial.epochs.to_string().into(), assigned(&trial.settings).into()]);
    }
    table
}
