//! What each field of a bundle is worth, as an evaluation found it.

use std::path::Path;

use serde::{Deserialize, Serialize};
use stem_core::files;
use stem_report::report::FieldImportance;

use crate::console::Result;
use crate::evaluate::importance_text;

/// Of `evaluation.json` what is asked for here.
#[derive(Deserialize)]
struct Evaluation {
    #[serde(default)]
    checksum: String,
    tasks: Vec<Task>,
    #[serde(default)]
    importance: Vec<FieldImportance>,
}

#[derive(Deserialize)]
struct Task {
    task: String,
}

/// What `stem inspect --importance` says.
#[derive(Serialize)]
pub(super) struct Report {
    tasks: Vec<String>,
    importance: Vec<FieldImportance>,
}

/// Reads what `stem evaluate --importance` left in `folder`, of the bundle at `path`, whose checksum is `of_bundle`.
///
/// # Errors
/// No evaluation in the folder, one that did not measure this, and one of another bundle.
pub(super) fn read(path: &Path, of_bundle: Option<&str>, folder: &Path) -> Result<Report> {
    let bundle = path.display();
    let file = folder.join("evaluation.json");
    let measure = format!("`stem evaluate --bundle {bundle} --importance --out {}` measures it", folder.display());
    if !file.is_file() {
        return Err(format!("{} holds no evaluation.json: {measure}", folder.display()).into());
    }
    let found: Evaluation = serde_json::from_str(&files::read_text(&file)?)
        .map_err(|e| format!("{} is no evaluation: {e}; {measure}", file.display()))?;
    if found.importance.is_empty() {
        return Err(format!("{} does not say what fields are worth: {measure}", file.display()).into());
    }
    if of_bundle.is_some_and(|checksum| checksum != found.checksum) {
        return Err(format!("{} is of another bundle than {bundle}: {measure}", file.display()).into());
    }
    Ok(Report { tasks: found.tasks.into_iter().map(|task| task.task).collect(), importance: found.importance })
}

impl Report {
    pub(super) fn text(&self) -> String {
        let tasks: Vec<&str> = self.tasks.iter().map(String::as_str).collect();
        importance_text(&tasks, &self.importance)
    }
}
