//! The whole path from raw tables to an encoded data set, skipped when nothing has changed.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use stem_core::files::{FileError, replace_text, write_json};

use crate::dataset::{Dataset, write_vocabulary};
use crate::encode::Encoder;
use crate::encoding::encoding;
use crate::error::{Error, Fault, Result};
use crate::facts::{self, Counter};
use crate::gather::CodedRows;
use crate::given;
use crate::joined_rows::joined_rows;
use crate::known::{Known, Rows};
use crate::leak::leaks;
use crate::locate::located;
use crate::manifest::{DATA_PAGE, FORMAT, FileMark, MANIFEST, Manifest, modified};
use crate::over_ranks;
use crate::progress::{Bar, Progress};
use crate::ranks::Team;
use crate::recipe::{Kind, Recipe, SplitRecipe};
use crate::room;
use crate::scan;
use crate::scratch::{Scratch, sweep_beside, sync_folder};
use crate::simulator::SimulatorConfig;
use crate::source::{Unpacked, files};
use crate::split::Split;
use crate::stop::StopFlag;
use crate::warnings::{alike_keys, null_words, odd_keys, refuse_two_spellings, warnings};

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
    prepare_as(recipe, Basis::Nothing, data, out, options)
}

/// The same by several ranks, each of which reads its own files of the log; all call it. `out` is rank 0's and holds what one process would have
/// written, byte for byte. `None` on the others, which need memory and scratch on their disk for their own part alone.
///
/// # Errors
/// A SELECT that looks at more than one row of the log, ranks that read other data than rank 0, and those of [`prepare`]. A rank that ends with an
/// error leaves the others waiting: who carries the messages has to end them.
pub fn prepare_over(
    ranks: &Team,
    recipe: &Recipe,
    data: &Path,
    out: &Path,
    options: &PrepareOptions,
) -> Result<Option<Dataset>> {
    prepare_told(ranks, recipe, Basis::Nothing, data, out, options)
}

/// Encodes rows for a model that is trained on with them: vocabularies are the model's, with the keys that are new and frequent enough and
/// without those that have not occurred for long ([`Growth`](crate::Growth), the recipe's `[grow]`); means and edges of numbers are the
/// model's; fields that it does not have are fitted. Otherwise as [`prepare`].
///
/// # Errors
/// [`Error::Recipe`] with every field and label that does not fit the model, and those of [`prepare`].
pub fn prepare_grown(
    recipe: &Recipe,
    model: Known<'_>,
    data: &Path,
    out: &Path,
    options: &PrepareOptions,
) -> Result<Dataset> {
    prepare_as(&model.grown_recipe(recipe)?, Basis::Grown(model), data, out, options)
}

/// Encodes rows as a model takes them that was trained before: with its vocabularies and transforms, and nothing is fitted. The rows are
/// also cut by the columns `slices`, for [`Dataset::slices`]. Otherwise as [`prepare`].
///
/// # Errors
/// [`Error::Recipe`] with every field and label of the model that the recipe does not have in the same form, and those of [`prepare`].
pub fn prepare_known(
    recipe: &Recipe,
    known: Known<'_>,
    rows: Rows,
    slices: &[String],
    data: &Path,
    out: &Path,
    options: &PrepareOptions,
) -> Result<Dataset> {
    let recipe = Recipe { slices: slices.to_vec(), ..known.recipe(recipe, rows)? };
    prepare_as(&recipe, Basis::Known(known), data, out, options)
}

/// Rows that are encoded before the disk gets their room again.
const FORGET: usize = 1 << 18;

/// What decides vocabularies, means and edges.
#[derive(Clone, Copy)]
enum Basis<'k> {
    /// The training rows.
    Nothing,
    /// A model, alone: the rows are measured.
    Known(Known<'k>),
    /// A model, and beside it the training rows: it is trained on with them.
    Grown(Known<'k>),
}

impl Basis<'_> {
    /// Whether the rows are only measured.
    fn is_measured(&self) -> bool {
        matches!(self, Self::Known(_))
    }
}

fn prepare_as(recipe: &Recipe, basis: Basis<'_>, data: &Path, out: &Path, options: &PrepareOptions) -> Result<Dataset> {
    let dataset = prepare_told(&Team::default(), recipe, basis, data, out, options)?;
    Ok(dataset.expect("one process is rank 0, whose the data set is"))
}

fn prepare_told(
    ranks: &Team,
    recipe: &Recipe,
    basis: Basis<'_>,
    data: &Path,
    out: &Path,
    options: &PrepareOptions,
) -> Result<Option<Dataset>> {
    let bar = options.progress.counter();
    let dataset = prepare_with(ranks, recipe, basis, data, out, &options.stop, &bar);
    drop(bar);
    let dataset = dataset?;
    let warnings = dataset.iter().flat_map(|dataset| dataset.warnings());
    warnings.for_each(|warning| tracing::warn!("{}: {warning}", recipe.name));
    Ok(dataset)
}

fn prepare_with(
    ranks: &Team,
    recipe: &Recipe,
    basis: Basis<'_>,
    data: &Path,
    out: &Path,
    stop: &StopFlag,
    bar: &Bar,
) -> Result<Option<Dataset>> {
    let share = over_ranks::share(recipe, ranks)?;
    let key = ranks.in_turn(|| {
        simulate_missing(recipe, data, stop, bar)?;
        key(recipe, basis, data)
    })?;
    over_ranks::agree(ranks, "its recipe or its data are others than rank 0's", &key)?;
    let target = out.canonicalize().unwrap_or_else(|_| out.to_path_buf()); // what a link points to is replaced, not the link
    if ranks.is_first() {
        sweep_beside(&target);
    }
    let found = if ranks.is_first() { cached(out, &key) } else { None };
    if ranks.from_first(|| found.is_some()) {
        return Ok(found);
    }
    if ranks.is_first() {
        refuse_occupied(out)?;
    }
    let scratch = Scratch::beside(&target)?;
    let (coded, encoded) = (scratch.folder("coded")?, scratch.folder("encoded")?);

    bar.say("rows read");
    let query = scan::open_share(recipe, data, share, Unpacked::within(&coded), stop)?;
    over_ranks::agree(ranks, "its files hold columns of other types than rank 0's", &query.types_in_words())?;
    room::check(recipe, over_ranks::rows_about(ranks, query.rows_about()), &coded)?;
    let mut notes = query.notes.clone();
    let gathered = over_ranks::gather(ranks, recipe, query, share, &coded, stop, |n| bar.at(n));
    let Some(mut rows) = gathered.map_err(|error| located(recipe, data, share, Unpacked::within(&coded), error))?
    else {
        return Ok(None);
    };
    let located = |error| located(recipe, data, None, Unpacked::within(&coded), error);
    notes.append(&mut rows.notes);
    check_splits(recipe, basis.is_measured(), &rows)?;
    for (field, longest) in recipe.fields.iter().zip(&rows.longest) {
        if let Kind::Sequence { max_len, .. } = field.kind
            && *longest < max_len
            && !basis.is_measured()
        {
            let (name, column) = (&recipe.name, &field.name);
            tracing::info!(
                "{name}: field '{column}': max_len is {max_len}, the longest list has {longest}: so many values are read of a list"
            );
        }
    }
    notes.extend(joined_rows(recipe, data, &coded, &rows)?);
    if !basis.is_measured() {
        notes.extend(leaks(recipe, &rows)?);
        refuse_two_spellings(recipe, &rows)?;
    }
    notes.extend(null_words(recipe, &rows));
    notes.extend(odd_keys(recipe, &rows));
    notes.extend(alike_keys(recipe, &rows));
    notes.extend(rows.times.two_units(&recipe.split.describe()));
    bar.say("rows read, deciding vocabularies");
    let encoding = match basis {
        Basis::Known(known) => known.encoding(recipe, &mut rows)?,
        Basis::Grown(model) => encoding(recipe, Some(model), &mut rows, &coded)?,
        Basis::Nothing => encoding(recipe, None, &mut rows, &coded)?,
    };
    bar.say("rows encoded");
    let (mut encoder, mut counter) =
        (Encoder::new(recipe, &rows, &encoding, &encoded)?, Counter::new(recipe, &rows, &encoding));
    let (mut walk, mut forgotten) = (rows.walk_last(recipe)?, 0);
    while let Some(block) = walk.next()? {
        if stop.is_set() {
            return Err(Error::Stopped);
        }
        bar.at(block.rows.start as u64);
        rayon::join(|| encoder.see(&block), || counter.see(&block)).0.map_err(located)?;
        if block.rows.end - forgotten >= FORGET {
            rows.forget(forgotten..block.rows.end)?;
            forgotten = block.rows.end;
        }
    }
    let (counted, facts) = rayon::join(|| encoder.finish(), || counter.finish());
    let counted = counted?;
    if !basis.is_measured() {
        notes.extend(warnings(recipe, &rows, &encoding, &counted));
        notes.extend(facts::warnings(recipe, &facts, &counted.statistics));
    }

    let mut keys = Vec::with_capacity(encoding.vocabularies.len());
    let mut checksums = counted.checksums.clone();
    for (v, vocabulary) in encoding.vocabularies.iter().enumerate() {
        let (kind, written) = write_vocabulary(&encoded, v, vocabulary, &encoding.idle[v])?;
        keys.push(kind);
        checksums.extend(written);
    }
    let given = match basis.is_measured() {
        true => Vec::new(), // a model has its rows
        false => given::write(recipe, data, &encoding, &encoded, stop)?,
    };
    for (_, written, told) in &given {
        checksums.extend(written.iter().cloned());
        notes.extend(told.iter().cloned());
    }
    let manifest = Manifest {
        format: FORMAT,
        name: recipe.name.clone(),
        key,
        keys,
        warnings: notes,
        facts: Some(facts),
        slices: rows.slice_values,
        given: given.into_iter().map(|(given, ..)| given).collect(),
        schema: encoding.schema,
        statistics: counted.statistics,
        files: checksums.into_iter().map(|(name, checksum)| mark(&encoded, name, checksum)).collect::<Result<_>>()?,
    };
    for split in Split::ALL {
        sync_folder(&encoded.join(split.name()))?;
    }
    write_json(&encoded.join(MANIFEST), &manifest)?;
    if stop.is_set() {
        return Err(Error::Stopped);
    }
    scratch.replace(&encoded, &target)?;
    Dataset::open(out).map(Some)
}

/// The mark of a file that was just written.
fn mark(folder: &Path, name: String, checksum: String) -> Result<(String, FileMark)> {
    let path = folder.join(&name);
    let found = std::fs::metadata(&path).map_err(FileError::of("read", &path))?;
    Ok((name, FileMark { bytes: found.len(), modified: modified(&found), checksum }))
}

/// Writes the log of a recipe that simulates it.
pub(crate) fn simulate_missing(recipe: &Recipe, data: &Path, stop: &StopFlag, bar: &Bar) -> Result<()> {
    match (&recipe.simulator, recipe.sources.first()) {
        (Some(simulator), Some(source)) => simulate(simulator, &data.join(&source.files[0]), stop, bar),
        _ => Ok(()),
    }
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
        replace_text(&beside, &settings)?;
    } else if made_with.is_none() {
        tracing::warn!("{} was not made by this simulator and is read as it is", path.display());
    }
    Ok(())
}

/// Hash of what the recipe means, and of each source's files: names, lengths, times of change, and how they begin and end.
fn key(recipe: &Recipe, basis: Basis<'_>, data: &Path) -> Result<String> {
    let mut hash = blake3::Hasher::new();
    hash.update(&FORMAT.to_le_bytes()).update(env!("CARGO_PKG_VERSION").as_bytes()).update(recipe.meaning().as_bytes());
    if let Basis::Known(known) | Basis::Grown(known) = basis {
        let decided =
            serde_json::to_string(&(known.mark, known.schema, &recipe.slices)).expect("a schema is plain data");
        hash.update(decided.as_bytes()).update(format!("{:?}", recipe.split).as_bytes());
        if !basis.is_measured() {
            hash.update(format!("{:?}", recipe.grow).as_bytes());
        }
    }
    if recipe.lines.split_again {
        hash.update(format!("{:?}", recipe.split).as_bytes()); // the text of the recipe does not say it
    }
    let of_vectors = given::sources(recipe).filter(|_| !basis.is_measured());
    for source in recipe.sources.iter().cloned().chain(of_vectors) {
        for file in files::list_to_reread(&source, data)? {
            let name = file.path.strip_prefix(data).unwrap_or(&file.path);
            hash.update(&[0]).update(name.as_os_str().as_encoded_bytes()).update(&[0]);
            hash.update(&file.bytes.to_le_bytes()).update(&file.modified.to_le_bytes());
            hash.update(&ends(&file.path).map_err(FileError::of("read", &file.path))?);
        }
    }
    Ok(hash.finalize().to_hex().to_string())
}

/// The first and the last bytes of a file: some programs give a rewritten file the time of the old one.
fn ends(path: &Path) -> io::Result<Vec<u8>> {
    const BYTES: u64 = 1 << 16;
    let mut file = File::open(path)?;
    let mut bytes = Vec::new();
    (&mut file).take(BYTES).read_to_end(&mut bytes)?;
    let length = file.metadata()?.len();
    if length > BYTES {
        file.seek(SeekFrom::Start(length.saturating_sub(BYTES).max(BYTES)))?;
        file.read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

/// The data set that `out` holds, if it is the one wanted and whole.
fn cached(out: &Path, key: &str) -> Option<Dataset> {
    let manifest = Manifest::read(out).ok()?;
    if manifest.key != key || manifest.facts.is_none() {
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
    let ours = |name: &String| {
        splits.contains(&name.as_str())
            || [MANIFEST, DATA_PAGE].contains(&name.as_str())
            || name.starts_with("vocabulary-")
            || name.starts_with(".stem-") // of a page whose writing was cut off
    };
    let is_manifest = |text: Vec<u8>| {
        serde_json::from_slice::<serde_json::Value>(&text).is_ok_and(|m| m["format"].is_u64() && m["key"].is_string())
    };
    let has_manifest = std::fs::read(out.join(MANIFEST)).is_ok_and(is_manifest);
    if names.is_empty() || (has_manifest && names.iter().all(ours)) {
        return Ok(());
    }
    Err(Error::Occupied { path: out.into() })
}

/// Refuses a split without rows that is to be there; where only `measured`, that of test.
fn check_splits(recipe: &Recipe, measured: bool, rows: &CodedRows) -> Result<()> {
    let count = |split: Split| rows.splits.iter().filter(|&&s| s == split as u8).count();
    let by = || {
        let strangers = rows.strangers.iter().map(|(value, rows)| format!("\"{value}\" in {rows} rows"));
        let strangers: Vec<String> = strangers.collect();
        let others = if strangers.is_empty() {
            String::new()
        } else {
            format!("; the column also holds {}", strangers.join(", "))
        };
        let same = match rows.times.order.iter().min() {
            Some(first) if rows.times.order.iter().all(|time| time == first) => "; all rows have the same time",
            _ => "",
        };
        format!("{}{others}{same}", recipe.split.describe())
    };
    if rows.rows == 0 {
        let split = if measured { Split::Test } else { Split::Train };
        return Err(Error::EmptySplit { split, rows: 0, by: by() });
    }
    for split in Split::ALL {
        let wanted = match &recipe.split {
            SplitRecipe::Random { valid, test, .. }
            | SplitRecipe::Hash { valid, test, .. }
            | SplitRecipe::Time { valid, test, .. } => [1.0, *valid, *test][split as usize] > 0.0,
            SplitRecipe::Last { valid, test, .. } => [1, *valid, *test][split as usize] > 0,
            SplitRecipe::Days { train, valid, test, .. } => {
                [!train.is_empty(), !train.is_empty() && *valid > 0.0, !test.is_empty()][split as usize]
            }
            SplitRecipe::Column { named, .. } => split == Split::Train || named[split as usize],
        };
        let wanted = if measured { split == Split::Test } else { wanted };
        if wanted && count(split) == 0 {
            return Err(Error::EmptySplit { split, rows: rows.rows, by: by() });
        }
    }
    let Some(weights) = &rows.weights else { return Ok(()) };
    for split in Split::ALL.into_iter().filter(|split| count(*split) > 0) {
        if rows.splits.iter().zip(weights.values()).all(|(of, weight)| *of != split as u8 || *weight == 0.0) {
            let what = format!("`weight` is 0 in every row of the {split} split: none of them would count");
            return Err(Error::Recipe {
                path: recipe.path.clone(),
                faults: vec![Fault { line: recipe.lines.weight, what }],
            });
        }
    }
    Ok(())
}
