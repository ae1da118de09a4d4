//! The whole path from raw tables to an encoded data set, skipped when nothing has changed.

use std::path::Path;

use stem_core::files::{self, FileError};

use crate::dataset::{Dataset, write_vocabulary};
use crate::encode::{Encoded, encode};
use crate::encoding::{Encoding, encoding};
use crate::error::{Error, Result};
use crate::gather::{CodedRows, gather};
use crate::manifest::{FORMAT, FileMark, MANIFEST, Manifest, modified};
use crate::progress::{Bar, Progress};
use crate::recipe::{Kind, Recipe, SplitRecipe};
use crate::scan;
use crate::scratch::{Scratch, sweep_beside, sync_folder};
use crate::simulator::SimulatorConfig;
use crate::split::Split;
use crate::splitter::LEFT_OUT;
use crate::stop::StopFlag;

/// How a preparation shows its progress and is stopped. The default shows nothing and is not stopped.
#[derive(Debug, Clone, Default)]
pub struct PrepareOptions {
    /// Where the count of rows is shown.
    pub progress: Progress,
    /// Ends the preparation with [`Error::Stopped`] when it is set.
    pub stop: StopFlag,
}

/// Follows a recipe: reads the sources in `data`, decides the vocabularies, encodes, writes `out` and opens it.
///
/// When `out` already holds what recipe and sources (their names, lengths and times of change) would give, it is only opened.
/// Otherwise everything is written to a scratch folder beside `out`, which is then renamed, so `out` is never half written.
/// Scratch folders that processes which were killed left there are removed first.
/// With a `[simulator]` in the recipe, a first source that is not there is simulated.
///
/// # Errors
/// See [`Error`]. What `out` held before then still stands, and no scratch is left.
pub fn prepare(recipe: &Recipe, data: &Path, out: &Path, options: &PrepareOptions) -> Result<Dataset> {
    let bar = options.progress.counter();
    let dataset = prepare_with(recipe, data, out, &options.stop, &bar);
    drop(bar);
    let dataset = dataset?;
    dataset.warnings().iter().for_each(|warning| tracing::warn!("{}: {warning}", recipe.name));
    Ok(dataset)
}

fn prepare_with(recipe: &Recipe, data: &Path, out: &Path, stop: &StopFlag, bar: &Bar) -> Result<Dataset> {
    if let (Some(simulator), Some(source)) = (&recipe.simulator, recipe.sources.first()) {
        simulate(simulator, &data.join(&source.file), stop, bar)?;
    }
    let key = key(recipe, data)?;
    let target = out.canonicalize().unwrap_or_else(|_| out.to_path_buf()); // what a link points to is replaced, not the link
    sweep_beside(&target);
    if let Some(dataset) = cached(out, &key) {
        return Ok(dataset);
    }
    refuse_occupied(out)?;
    let scratch = Scratch::beside(&target)?;
    let (coded, encoded) = (scratch.folder("coded")?, scratch.folder("encoded")?);

    bar.say("rows read");
    let query = scan::open(recipe, data)?;
    let rows = gather(recipe, query, &coded, stop, |n| bar.at(n))?;
    check_splits(recipe, &rows)?;
    bar.say("rows read, deciding vocabularies");
    let encoding = encoding(recipe, &rows)?;
    bar.say("rows encoded");
    let counted = encode(recipe, &rows, &encoding, &encoded, stop, |n| bar.at(n))?;

    let mut keys = Vec::with_capacity(encoding.vocabularies.len());
    let mut checksums = counted.checksums.clone();
    for (v, vocabulary) in encoding.vocabularies.iter().enumerate() {
        let (kind, written) = write_vocabulary(&encoded, v, vocabulary)?;
        keys.push(kind);
        checksums.extend(written);
    }
    let manifest = Manifest {
        format: FORMAT,
        name: recipe.name.clone(),
        key,
        keys,
        warnings: warnings(recipe, &rows, &encoding, &counted),
        schema: encoding.schema,
        statistics: counted.statistics,
        files: checksums.into_iter().map(|(name, checksum)| mark(&encoded, name, checksum)).collect::<Result<_>>()?,
    };
    for split in Split::ALL {
        sync_folder(&encoded.join(split.name()))?;
    }
    files::write_json(&encoded.join(MANIFEST), &manifest)?;
    if stop.is_set() {
        return Err(Error::Stopped);
    }
    scratch.replace(&encoded, &target)?;
    Dataset::open(out)
}

/// The mark of a file that was just written.
fn mark(folder: &Path, name: String, checksum: String) -> Result<(String, FileMark)> {
    let path = folder.join(&name);
    let found = std::fs::metadata(&path).map_err(FileError::of("read", &path))?;
    Ok((name, FileMark { bytes: found.len(), modified: modified(&found), checksum }))
}

/// Writes the simulated log. The settings stand beside the log they made: a log of other settings is made anew, a log that was not
/// simulated is left.
fn simulate(simulator: &SimulatorConfig, path: &Path, stop: &StopFlag, bar: &Bar) -> Result<()> {
    let beside = path.with_extension("simulator.json");
    let settings = serde_json::to_string_pretty(simulator).expect("settings are plain data");
    let made_with = std::fs::read_to_string(&beside).ok();
    if !path.exists() || made_with.as_ref().is_some_and(|made_with| *made_with != settings) {
        bar.say(format!("simulating {}", path.display()));
        simulator.write_until(path, stop)?;
        files::replace_text(&beside, &settings)?;
    } else if made_with.is_none() {
        tracing::warn!("{} was not made by this simulator and is read as it is", path.display());
    }
    Ok(())
}

/// Hash of the recipe's text and of each source's name, length and time of change.
fn key(recipe: &Recipe, data: &Path) -> Result<String> {
    let mut hash = blake3::Hasher::new();
    hash.update(&FORMAT.to_le_bytes()).update(env!("CARGO_PKG_VERSION").as_bytes()).update(recipe.text.as_bytes());
    for (source, path) in recipe.sources.iter().zip(scan::files(recipe, data)) {
        let found = std::fs::metadata(&path).map_err(FileError::of("read", &path))?;
        hash.update(source.file.as_os_str().as_encoded_bytes());
        hash.update(&found.len().to_le_bytes()).update(&modified(&found).to_le_bytes());
    }
    Ok(hash.finalize().to_hex().to_string())
}

/// The data set that `out` holds, if it is the one wanted and whole.
fn cached(out: &Path, key: &str) -> Option<Dataset> {
    let manifest = Manifest::read(out).ok()?;
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
    for entry in std::fs::read_dir(out).map_err(FileError::of("read", out))? {
        names.push(entry.map_err(FileError::of("read", out))?.file_name().to_string_lossy().into_owned());
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

fn check_splits(recipe: &Recipe, rows: &CodedRows) -> Result<()> {
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
fn warnings(recipe: &Recipe, rows: &CodedRows, encoding: &Encoding, counted: &Encoded) -> Vec<String> {
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
    for (coded, _) in rows.vocabularies.iter().zip(&encoding.varied).filter(|(_, varied)| !**varied) {
        for field in coded.fields.iter().map(|&f| &recipe.fields[f]) {
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
