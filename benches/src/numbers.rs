//! The numbers of README and docs: measured into `docs/numbers/`, and written from there into the marked parts of the texts.
//!
//! A part is marked `<!-- numbers: NAME -->` to `<!-- end of numbers -->`; what stands between is replaced.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use serde_json::Value;

use crate::study::grid::{ABANDONED, NAMED, RIVALS, SWITCHES, Setting, TRIED};
use crate::study::{self, picture, tables};

const BEGIN: &str = "<!-- numbers: ";
const CLOSE: &str = " -->\n";
const END: &str = "<!-- end of numbers -->";

/// The texts that hold marked parts, below the workspace.
pub const TEXTS: [&str; 4] = ["README.md", "docs/benchmarks.md", "docs/learned-priors.md", "docs/models.md"];

fn text_in(folder: &Path, name: &str) -> Result<String, String> {
    let path = folder.join(name);
    std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))
}

/// Pictures that are drawn of the same numbers, below the workspace.
///
/// # Errors
/// As [`parts`].
pub fn pictures(folder: &Path) -> Result<BTreeMap<&'static str, String>, String> {
    let runs = study::read(&text_in(folder, study::RESULTS)?)?;
    Ok(BTreeMap::from([("docs/img/learned-priors.svg", picture::gained(&runs))]))
}

/// What every marked part is to hold, by name, from the files in `folder`.
///
/// # Errors
/// A file that is missing or of another shape, by name.
pub fn parts(folder: &Path) -> Result<BTreeMap<&'static str, String>, String> {
    let text = |name: &str| text_in(folder, name);
    let json = |name: &str| -> Result<Value, String> {
        serde_json::from_str(&text(name)?).map_err(|e| format!("{}: {e}", folder.join(name).display()))
    };
    let (movielens, simulated, reference) = (json("movielens.json")?, json("simulated.json")?, json("reference.json")?);
    let runs = study::read(&text(study::RESULTS)?)?;
    let of_stem = |settings: &'static [Setting]| settings.iter().map(|setting| ("stem", setting));
    let rivals = RIVALS.iter().map(|(model, setting)| (*model, setting));
    let switches = of_stem(&SWITCHES).chain(of_stem(&NAMED)).chain(rivals).chain(of_stem(&ABANDONED));
    Ok(BTreeMap::from([
        ("quickstart", format!("```text\n{}```\n", text("quickstart.txt")?)),
        ("verdict", text("verdict.txt")?.lines().map(|line| format!("> {line}\n>\n")).collect()),
        ("movielens-short", short(&movielens, &reference["movielens"])),
        ("movielens", whole(&movielens["models"], &reference["movielens"])),
        ("simulated", whole(&simulated["models"], &reference["simulated"])),
        ("comparable", comparable(&simulated, &reference["simulated-comparable"])),
        ("study", tables::summary(&runs)),
        ("study-simulated", tables::models(&runs, "simulated")),
        ("study-movielens", tables::models(&runs, "movielens-100k")),
        ("study-kuairand", tables::models(&runs, "kuairand-pure")),
        ("study-tried", tables::changes(&runs, of_stem(&TRIED))),
        ("study-switches", tables::changes(&runs, switches)),
        ("steps", steps(&json("steps.json")?)),
        ("machine", by_machine(&machines(folder)?)),
    ]))
}

/// The file that says of each measurement, by name, on which machine and at which commit it was made.
pub const MACHINES: &str = "machines.json";

/// What that file says.
///
/// # Errors
/// A file that is missing or of another shape, by name.
pub fn machines(folder: &Path) -> Result<BTreeMap<String, String>, String> {
    let path = folder.join(MACHINES);
    serde_json::from_str(&text_in(folder, MACHINES)?).map_err(|e| format!("{}: {e}", path.display()))
}

/// A line for each machine: which measurements were made there.
fn by_machine(machines: &BTreeMap<String, String>) -> String {
    let mut measured: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (name, machine) in machines {
        measured.entry(machine).or_default().push(format!("`{name}`"));
    }
    measured.iter().map(|(machine, names)| format!("- {}: {}\n", names.join(", "), machine.trim_end())).collect()
}

/// `text` with every marked part replaced.
///
/// # Errors
/// A part that is not known, or has no end.
pub fn fill(text: &str, parts: &BTreeMap<&'static str, String>) -> Result<String, String> {
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(BEGIN) {
        let (name, after) = after.split_once(CLOSE).ok_or("a mark of numbers has no end of its line")?;
        let part = parts.get(name).ok_or_else(|| format!("there are no numbers '{name}'"))?;
        let (_, after) = after.split_once(END).ok_or_else(|| format!("the numbers '{name}' have no end"))?;
        write!(filled, "{before}{BEGIN}{name}{CLOSE}{part}{END}").expect("a String takes all");
        rest = after;
    }
    Ok(filled + rest)
}

/// Models in the order of the papers' tables, those that are there.
fn models(of: &Value) -> impl Iterator<Item = (&str, &Value)> {
    const ORDER: [&str; 10] =
        ["single-task", "shared-bottom", "omoe", "mmoe", "ple", "aitm", "esmm", "mmoe-me", "ple-me", "stem"];
    ORDER.into_iter().filter_map(|name| Some((name, of.get(name)?)))
}

fn four(value: &Value) -> String {
    value.as_f64().map_or(String::new(), |value| format!("{value:.4}"))
}

fn transfer(interval: &Value) -> String {
    let of = |key: &str| interval[key].as_f64();
    match (of("mean"), of("low"), of("high")) {
        (Some(0.0), Some(0.0), Some(0.0)) => String::new(), // the reference against itself
        (Some(mean), Some(low), Some(high)) => format!("{mean:+.4} ({low:+.4} to {high:+.4})"),
        _ => String::new(),
    }
}

/// A row per model: AUC and gAUC of every task beside the reference's.
fn short(comparison: &Value, reference: &Value) -> String {
    let tasks: Vec<&String> = tasks(&comparison["models"]);
    let mut out = String::from("| model |");
    tasks.iter().for_each(|task| out += &format!(" {task} AUC | reference | {task} gAUC | reference |"));
    out += &format!("\n|---|{}\n", "---|".repeat(4 * tasks.len()));
    for (name, model) in models(&comparison["models"]).filter(|(name, _)| reference.get(name).is_some()) {
        out += &format!("| {name} |");
        for task in &tasks {
            for metric in ["auc", "gauc"] {
                let ours = four(&model["tasks"][task][metric]["mean"]);
                out += &format!(" {ours} | {} |", four(&reference[name][task][metric]));
            }
        }
        out.push('\n');
    }
    out
}

fn tasks(models: &Value) -> Vec<&String> {
    let first = models.as_object().and_then(|models| models.values().next());
    first.and_then(|model| model["tasks"].as_object()).map(|tasks| tasks.keys().collect()).unwrap_or_default()
}

/// A row per model and task.
fn whole(of: &Value, reference: &Value) -> String {
    let mut out = String::from(
        "| model | task | AUC | sd | reference | gAUC | reference | logloss | transfer (95 %) |\n|---|---|---|---|---|---|---|---|---|\n",
    );
    for (name, model) in models(of) {
        for task in tasks(of) {
            let numbers = &model["tasks"][task];
            let theirs = &reference[name][task];
            out += &format!(
                "| {name} | {task} | {} | {} | {} | {} | {} | {} | {} |\n",
                four(&numbers["auc"]["mean"]),
                four(&numbers["auc"]["sd"]),
                four(&theirs["auc"]),
                four(&numbers["gauc"]["mean"]),
                four(&theirs["gauc"]),
                four(&numbers["logloss"]["mean"]),
                transfer(&numbers["transfer"]),
            );
        }
    }
    out
}

/// The users whose feedback is comparable.
fn comparable(comparison: &Value, reference: &Value) -> String {
    let mut out = String::from("| model | task | AUC | reference | transfer (95 %) |\n|---|---|---|---|---|\n");
    let pairs = comparison["strata"].as_object();
    let strata = pairs.and_then(|pairs| pairs.values().next()).map_or(&Value::Null, |strata| &strata["comparable"]);
    for (name, model) in models(&strata["models"]) {
        for (task, numbers) in model.as_object().into_iter().flatten() {
            let (auc, transfer) = (four(&numbers["auc"]), transfer(&numbers["transfer"]));
            out += &format!("| {name} | {task} | {auc} | {} | {transfer} |\n", four(&reference[name][task]));
        }
    }
    out
}

/// A row per measurement of `step_time`.
fn steps(of: &Value) -> String {
    let mut out = String::from("| arguments | table rows | train ms | score ms | peak GB |\n|---|---|---|---|---|\n");
    for step in of.as_array().into_iter().flatten() {
        let number = |key: &str, digits: usize| step[key].as_f64().map_or("-".into(), |v| format!("{v:.digits$}"));
        let arguments = step["arguments"].as_str().unwrap_or_default();
        out += &format!(
            "| `{arguments}` | {} | {} | {} | {} |\n",
            step["vocab"],
            number("train_ms", 1),
            number("eval_ms", 1),
            number("rss_gb", 3)
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marked_parts_are_replaced_and_the_rest_stays() {
        let parts = BTreeMap::from([("a", "new\n".to_string())]);
        let text = "x\n<!-- numbers: a -->\nold\n<!-- end of numbers -->\ny\n";
        let filled = fill(text, &parts).unwrap();
        assert_eq!(filled, "x\n<!-- numbers: a -->\nnew\n<!-- end of numbers -->\ny\n");
        assert_eq!(fill(&filled, &parts).unwrap(), filled);
        assert!(fill("<!-- numbers: b -->\n<!-- end of numbers -->", &parts).unwrap_err().contains("'b'"));
        assert!(fill("<!-- numbers: a -->\n", &parts).unwrap_err().contains("no end"));
    }

    /// README and docs say what was measured: run `cargo run --release --bin numbers` after a measurement.
    #[test]
    fn the_texts_hold_the_numbers_that_were_measured() {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let parts = parts(&workspace.join("docs/numbers")).unwrap();
        let read = |name: &str| std::fs::read_to_string(workspace.join(name)).unwrap();
        for text in TEXTS {
            assert!(fill(&read(text), &parts).unwrap() == read(text), "{text} is not what `numbers` writes: run it");
        }
        for (name, picture) in pictures(&workspace.join("docs/numbers")).unwrap() {
            assert!(read(name) == picture, "{name} is not what `numbers` writes: run it");
        }
    }
}
