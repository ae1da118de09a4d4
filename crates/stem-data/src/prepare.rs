//! The whole path from raw tables to an encoded data set, skipped when nothing has changed.

use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use indicatif::{ProgressBar, ProgressStyle};

use crate::dataset::{Dataset, FORMAT, MANIFEST, Manifest, Split, read_manifest, write_vocabulary};
use crate::encode::{Encoded, encode};
use crate::error::{Error, Result};
use crate::fit::{Fitted, fit};
use crate::gather::{Gathered, gather};
use crate::recipe::{Kind, Recipe, SplitRecipe};
use crate::scan;
use crate::split::LEFT_OUT;

/// Follows a recipe: reads the sources in `data`, fits vocabularies, encodes, writes `out` and opens it.
///
/// When `out` already holds what recipe and sources (their names, lengths and times of change) would give, it is only opened.
/// Otherwise everything is written to a scratch folder beside `out`, which is then renamed, so `out` is never half written.
/// With a `[simulator]` in the recipe, a first source that is not there is simulated.
///
/// `progress` shows a bar on stderr when that is a terminal.
///
/// # Errors
/// See [`Error`]. What `out` held before then still stands.
pub fn prepare(recipe: &Recipe, data: &Path, out: &Path, progress: bool) -> Result<Dataset> {
    prepare_until(recipe, data, out, progress, || false)
}

/// As [`prepare`], until `stopped` is true: then nothing is left but what `out` held before.
///
/// # Errors
/// [`Error::Stopped`], and those of [`prepare`].
pub fn prepare_until(
    recipe: &Recipe,
    data: &Path,
    out: &Path,
    progress: bool,
    stopped: impl Fn() -> bool,
) -> Result<Dataset> {
    let bar = bar(progress);
    let go_on = || if stopped() { Err(Error::Stopped { path: out.into() }) } else { Ok(()) };
    let dataset = prepare_with(recipe, data, out, &bar, go_on);
    bar.finish_and_clear();
    let dataset = dataset?;
    dataset.warnings().iter().for_each(|warning| tracing::warn!("{}: {warning}", recipe.name));
    Ok(dataset)
}

fn prepare_with(
    recipe: &Recipe,
    data: &Path,
    out: &Path,
    bar: &ProgressBar,
    go_on: impl Fn() -> Result<()>,
) -> Result<Dataset> {
    if let (Some(simulator), Some(source)) = (&recipe.simulator, recipe.sources.first()) {
        let path = data.join(&source.file);
        // The settings stand beside the log they made: a log of other settings is made anew, a log of the user's own is left.
        let beside = path.with_extension("simulator.json");
        let settings = serde_json::to_string_pretty(simulator).expect("settings are plain data");
        let made_with = std::fs::read_to_string(&beside).ok();
        if !path.exists() || made_with.as_ref().is_some_and(|made_with| *made_with != settings) {
            bar.set_message(format!("simulating {}", path.display()));
            simulator.write(&path)?;
            std::fs::write(&beside, &settings).map_err(Error::io("write", &beside))?;
        } else if made_with.is_none() {
            tracing::warn!("{} was not made by this simulator and is read as it is", path.display());
        }
    }
    let key = key(recipe, data)?;
    if let Some(dataset) = cached(out, &key) {
        return Ok(dataset);
    }
    refuse_occupied(out)?;
    let parent = out.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent).map_err(Error::io("create", parent))?;
    let scratch = |prefix| {
        let folder = tempfile::Builder::new().prefix(prefix).tempdir_in(parent);
        folder.map_err(Error::io("create a folder in", parent))
    };
    let seen = |rows| {
        bar.set_position(rows);
        go_on()
    };
    let (gathered, encoded) = (scratch(".gathered-")?, scratch(".encoded-")?);

    bar.set_message("rows read");
    let query = scan::open(recipe, data)?;
    let rows = gather(recipe, query, gathered.path(), seen)?;
    check_splits(recipe, &rows)?;
    bar.set_message("rows read, fitting vocabularies");
    let fitted = fit(recipe, &rows)?;
    go_on()?;
    bar.set_message("rows encoded");
    let counted = encode(recipe, &rows, &fitted, encoded.path(), seen)?;

    let vocabularies = fitted.vocabularies.iter().enumerate();
    let keys = vocabularies.map(|(v, vocabulary)| write_vocabulary(encoded.path(), v, vocabulary));
    let manifest = Manifest {
        format: FORMAT,
        name: recipe.name.clone(),
        key,
        keys: keys.collect::<Result<_>>()?,
        warnings: warnings(recipe, &rows, &fitted, &counted),
        schema: fitted.schema,
        statistics: counted.statistics,
    };
    let path = encoded.path().join(MANIFEST);
    let text = serde_json::to_vec_pretty(&manifest).expect("a manifest has text keys only");
    std::fs::write(&path, text).map_err(Error::io("write", &path))?;
    go_on()?;
    replace(encoded, out)?;
    Dataset::open_unchecked(out)
}

fn bar(progress: bool) -> ProgressBar {
    if !progress {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new_spinner(); // on stderr, hidden when that is no terminal
    let style = ProgressStyle::with_template("{spinner} {elapsed_precise} {human_pos} {msg} ({per_sec})");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

/// Hash of the recipe's text and of each source's name, length and time of change.
fn key(recipe: &Recipe, data: &Path) -> Result<String> {
    let mut hash = blake3::Hasher::new();
    hash.update(&FORMAT.to_le_bytes()).update(env!("CARGO_PKG_VERSION").as_bytes()).update(recipe.text.as_bytes());
    for (source, path) in recipe.sources.iter().zip(scan::files(recipe, data)) {
        let found = std::fs::metadata(&path).map_err(Error::io("read", &path))?;
        let changed = found.modified().ok().and_then(|t| t.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
        hash.update(source.file.as_os_str().as_encoded_bytes());
        hash.update(&found.len().to_le_bytes()).update(&changed.as_nanos().to_le_bytes());
    }
    Ok(hash.finalize().to_hex().to_string())
}

/// The data set that `out` holds, if it is the one wanted and whole.
fn cached(out: &Path, key: &str) -> Option<Dataset> {
    let manifest = read_manifest(out).ok()?;
    if manifest.key != key {
        return None;
    }
    match Dataset::open(out) {
        Ok(dataset) => Some(dataset),
        Err(error) => {
            tracing::warn!("prepared again: {error}");
            None
        }
    }
}

/// Only a data set, or nothing, is overwritten.
fn refuse_occupied(out: &Path) -> Result<()> {
    if !out.exists() {
        return Ok(());
    }
    let mut names = Vec::new();
    for entry in std::fs::read_dir(out).map_err(Error::io("read", out))? {
        names.push(entry.map_err(Error::io("read", out))?.file_name().to_string_lossy().into_owned());
    }
    let splits = Split::ALL.map(Split::name);
    let ours = |name: &String| splits.contains(&name.as_str()) || name == MANIFEST || name.starts_with("vocabulary-");
    let is_manifest = |text: Vec<u8>| {
        serde_json::from_slice::<serde_json::Value>(&text).is_ok_and(|m| m["format"].is_u64() && m["key"].is_string())
    };
    let has_manifest = std::fs::read(out.join(MANIFEST)).is_ok_and(is_manifest);
    if names.is_empty() || (has_manifest && names.iter().all(ours)) {
        return Ok(());
    }
    Err(Error::Occupied { path: out.into() })
}

/// Renames the scratch folder to `out`; what was there goes to a scratch name first, comes back if that fails, and is removed
/// only when the new one is in place.
fn replace(encoded: tempfile::TempDir, out: &Path) -> Result<()> {
    let parent = encoded.path().parent().unwrap_or(Path::new("."));
    let aside =
        tempfile::Builder::new().prefix(".old-").tempdir_in(parent).map_err(Error::io("create a folder in", parent))?;
    let old = aside.path().join("old");
    if out.exists() {
        std::fs::rename(out, &old).map_err(Error::io("replace", out))?;
    }
    let renamed = std::fs::rename(encoded.path(), out);
    if renamed.is_err() && old.exists() {
        std::fs::rename(&old, out).map_err(Error::io("restore", out))?;
    }
    renamed.map_err(Error::io("write", out))
}

fn check_splits(recipe: &Recipe, rows: &Gathered) -> Result<()> {
    let count = |split: Split| rows.splits.iter().filter(|&&s| s == split as u8).count();
    let by = || recipe.split.describe();
    if rows.rows == 0 {
        return Err(Error::EmptySplit { split: Split::Train, rows: 0, by: by() });
    }
    for split in Split::ALL {
        let wanted = match &recipe.split {
            SplitRecipe::Random { valid, test, .. } | SplitRecipe::Time { valid, test, .. } => {
                [1.0, *valid, *test][split as usize] > 0.0
            }
            SplitRecipe::Last { valid, test, .. } => [1, *valid, *test][split as usize] > 0,
            SplitRecipe::Column { .. } => split == Split::Train,
        };
        if wanted && count(split) == 0 {
            return Err(Error::EmptySplit { split, rows: rows.rows, by: by() });
        }
    }
    Ok(())
}

/// What is odd about the data, in words.
fn warnings(recipe: &Recipe, rows: &Gathered, fitted: &Fitted, counted: &Encoded) -> Vec<String> {
    let mut warnings = Vec::new();
    let left_out = rows.splits.iter().filter(|&&s| s == LEFT_OUT).count();
    if left_out > 0 {
        warnings.push(format!(
            "{left_out} of {} rows belong to no split and are left out (split by {})",
            rows.rows,
            recipe.split.describe()
        ));
    }
    for (split, counts) in Split::ALL.iter().zip(&counted.statistics).filter(|(_, counts)| counts.rows > 0) {
        for (task, label) in recipe.labels.iter().enumerate() {
            let (positives, labelled) = (counts.positives[task], counts.rows - counts.missing[task]);
            let what = match (positives, labelled) {
                (_, 0) => "no labels",
                (0, _) => "only label 0",
                (p, n) if p == n => "only label 1",
                _ => continue,
            };
            warnings.push(format!("task '{}' has {what} in the {split} split ({labelled} rows)", label.column));
        }
    }
    for &(a, b) in &counted.same {
        warnings.push(format!(
            "tasks '{}' and '{}' have identical labels",
            recipe.labels[a].column, recipe.labels[b].column
        ));
    }
    for (gathering, _) in rows.vocabularies.iter().zip(&fitted.varied).filter(|(_, varied)| !**varied) {
        for field in gathering.fields.iter().map(|&f| &recipe.fields[f]) {
            let unscaled =
                if field.kind == (Kind::Number { standardize: true }) { ", and is not standardised" } else { "" };
            warnings.push(format!(
                "field '{}' has one value in the training split: it tells nothing{unscaled}",
                field.column
            ));
        }
    }
    warnings
}
