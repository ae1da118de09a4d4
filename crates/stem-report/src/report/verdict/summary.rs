//! What holds for all tasks together.

use super::Verdict;
use crate::report::data::{ModelReport, Report};
use crate::report::judge::{ModelOnTask, Transfer, models_on_task, reference};
use crate::report::number::{count, list};

/// In sentences; none where there is nothing to say.
pub(in crate::report) fn summary(report: &Report, verdicts: &[Verdict]) -> Vec<String> {
    if report.models.len() == 1 {
        return vec!["Whether sharing helps shows only beside a single-task model on the same rows.".into()];
    }
    let mut sentences = Vec::new();
    let judged: Vec<&Verdict> = verdicts.iter().filter(|v| v.model.is_some()).collect();
    let open: Vec<&str> = verdicts.iter().filter(|v| v.more_epochs).map(|v| v.task.as_str()).collect();
    if !open.is_empty() {
        sentences.push(format!("No verdict yet for {}: epochs ran out.", list(&open)));
    }
    if judged.is_empty() {
        return sentences;
    }
    let single = reference(report).map(|index| &report.models[index]);
    if let Some(single) = single {
        let helped = judged.iter().filter(|v| v.model.as_ref() != Some(&single.name)).count();
        sentences.push(match (helped, judged.len()) {
            (helped, all) if all < report.tasks.len() => {
                let others = report.tasks.len() - all;
                format!("Sharing helps {helped} of the {all} tasks that could be judged ({others} could not).")
            }
            (0, 1) => "Sharing does not help the task, as far as these seeds and this test split show.".into(),
            (0, _) => "Sharing helps none of the tasks, as far as these seeds and this test split show.".into(),
            (1, 1) => "Sharing helps the task.".into(),
            (2, 2) => "Sharing helps both tasks.".into(),
            (helped, all) if helped == all => format!("Sharing helps all {all} tasks."),
            (helped, all) => format!("Sharing helps {helped} of {all} tasks."),
        });
    }
    if judged.len() > 1 && judged.len() == report.tasks.len() {
        let leads = |name: &String| judged.iter().all(|v| v.model.as_ref() == Some(name) || v.tied.contains(name));
        let one = report.models.iter().filter(|m| leads(&m.name)).min_by_key(|m| m.parameters);
        sentences.push(match (one, single) {
            (Some(model), _) if Some(&model.name) == report.reference.as_ref() => {
                format!("{} is best on every task: a model for each, in one bundle.", model.name)
            }
            (Some(model), _) => format!("One model can serve every task: {} is best or tied on each.", model.name),
            (None, None) => "No model is best or tied on every task: serve one per task.".into(),
            (None, Some(single)) => compromise(report, single),
        });
    }
    sentences
}

/// The one model to serve all tasks with, where none is best on all.
fn compromise(report: &Report, single: &ModelReport) -> String {
    let tasks = report.tasks.len();
    let all: Vec<Vec<ModelOnTask<'_>>> = (0..tasks).map(|t| models_on_task(report, t)).collect();
    // Tasks that a model gains on; `None` if it is below the reference with evidence on one.
    let gains = |index: usize| {
        let on_tasks = || all.iter().filter_map(|models| models.iter().find(|c| c.index == index));
        let loses = on_tasks().count() < tasks || on_tasks().any(|c| c.call() == Some(Transfer::Negative));
        (!loses).then(|| on_tasks().filter(|c| c.gains()).count())
    };
    let others = report.models.iter().enumerate().filter(|(_, model)| model.name != single.name);
    let serving = others.filter_map(|(index, model)| Some((model, gains(index).filter(|gains| 2 * gains > tasks)?)));
    match serving.min_by_key(|(model, _)| model.parameters) {
        Some((model, gains)) => format!(
            "No model is best or tied on every task. If one is to serve all of them, it is {}: above {} with evidence on {gains} of \
             {tasks} tasks, below it with evidence on none, and of such models the one with the fewest parameters ({}).",
            model.name,
            single.name,
            count(model.parameters)
        ),
        None => format!(
            "No model is best or tied on every task, and none is a fair compromise, which would be above {} with evidence on most \
             tasks and below it with evidence on none: serve one per task.",
            single.name
        ),
    }
}
