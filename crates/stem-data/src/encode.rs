//! From codes to the columns of each split, in the order of the rows.

use std::path::Path;

use stem_core::MISSING;
use stem_core::files::create_folder;

use crate::columns::ColumnWriter;
use crate::dictionary::PAD;
use crate::encoding::Encoding;
use crate::error::{Error, Result};
use crate::gather::CodedRows;
use crate::recipe::Recipe;
use crate::split::{Split, SplitStatistics};
use crate::stop::StopFlag;

/// Rows that are encoded before they are written.
const CHUNK: usize = 1 << 14;

struct SplitWriter {
    ids: ColumnWriter<u32>,
    numbers: ColumnWriter<f32>,
    labels: ColumnWriter<f32>,
    groups: Option<ColumnWriter<u32>>,
    statistics: SplitStatistics,
    // rows that wait to be written
    waiting: (Vec<u32>, Vec<f32>, Vec<f32>, Vec<u32>),
}

/// What was counted on the way.
pub(crate) struct Encoded {
    pub(crate) statistics: [SplitStatistics; 3],
    /// Pairs of tasks whose labels are the same in all of training.
    pub(crate) same: Vec<(usize, usize)>,
    /// Checksum of every file, by its path in the folder.
    pub(crate) checksums: Vec<(String, String)>,
}

/// Writes the columns below `folder`; `seen` gets the number of rows that are done.
pub(crate) fn encode(
    recipe: &Recipe,
    rows: &CodedRows,
    encoding: &Encoding,
    folder: &Path,
    stop: &StopFlag,
    seen: impl Fn(u64),
) -> Result<Encoded> {
    let (vocabulary, tasks) = (rows.vocabulary_of_fields(), recipe.labels.len());
    let slots = encoding.schema.slots();
    let cols = rows.numbers.cols();
    let create = |split: Split| -> Result<SplitWriter> {
        let folder = folder.join(split.name());
        create_folder(&folder)?;
        Ok(SplitWriter {
            ids: ColumnWriter::create(folder.join("ids.u32"), slots)?,
            numbers: ColumnWriter::create(folder.join("numbers.f32"), cols)?,
            labels: ColumnWriter::create(folder.join("labels.f32"), tasks)?,
            groups: rows.groups.as_ref().map(|_| ColumnWriter::create(folder.join("groups.u32"), 1)).transpose()?,
            statistics: SplitStatistics { rows: 0, positives: vec![0; tasks], missing: vec![0; tasks] },
            waiting: Default::default(),
        })
    };
    let mut writers = [create(Split::Train)?, create(Split::Valid)?, create(Split::Test)?];
    let number_kinds: Vec<_> = encoding
        .schema
        .fields
        .iter()
        .map(|f| &f.kind)
        .filter(|k| matches!(k, stem_core::FieldKind::Number { .. }))
        .collect();
    let within: Vec<Option<usize>> = recipe
        .labels
        .iter()
        .map(|l| recipe.labels.iter().position(|other| Some(&other.column) == l.within.as_ref()))
        .collect();
    // A space is masked before the labels within it; the recipe was checked for circles.
    let depth = |task: &usize| std::iter::successors(within[*task], |&space| within[space]).take(tasks).count();
    let mut order: Vec<usize> = (0..tasks).collect();
    order.sort_by_key(depth);
    let mut same: Vec<(usize, usize)> = (0..tasks).flat_map(|a| (a + 1..tasks).map(move |b| (a, b))).collect();
    let mut masked = vec![0.0; tasks];
    rows.for_each_row(recipe, |row, fields| {
        let split = rows.splits[row];
        if row % CHUNK == 0 {
            if stop.is_set() {
                return Err(Error::Stopped);
            }
            seen(row as u64);
        }
        let Some(writer) = writers.get_mut(split as usize) else { return Ok(()) }; // left out
        let (ids, numbers, labels, groups) = &mut writer.waiting;
        for (f, (codes, &v)) in fields.iter().zip(&vocabulary).enumerate() {
            let own = &encoding.ids[v];
            ids.extend(codes.iter().map(|&code| own[code as usize]));
            ids.extend((codes.len()..rows.longest[f]).map(|_| own[PAD as usize]));
        }
        let values = &rows.numbers.values()[row * cols..(row + 1) * cols];
        numbers.extend(
            values.iter().zip(&number_kinds).map(|(&v, kind)| if v.is_nan() { 0.0 } else { kind.number_weight(v) }),
        );
        if let Some(place) = numbers.iter().rev().take(cols).position(|n| !n.is_finite()) {
            let field = encoding.schema.fields.iter().filter(|f| number_kinds.contains(&&f.kind)).rev().nth(place);
            let found = values[cols - 1 - place].to_string();
            let column = field.map_or(String::new(), |f| f.name.clone());
            return Err(Error::Value { column, row, expected: "a number that 32-bit floats can hold", found });
        }
        let raw = &rows.labels.values()[row * tasks..(row + 1) * tasks];
        for &task in &order {
            masked[task] = match within[task] {
                Some(space) if masked[space] != 1.0 => MISSING,
                _ => raw[task],
            };
            writer.statistics.positives[task] += usize::from(masked[task] == 1.0);
            writer.statistics.missing[task] += usize::from(masked[task].is_nan());
        }
        if split == Split::Train as u8 {
            same.retain(|&(a, b)| masked[a] == masked[b] || (masked[a].is_nan() && masked[b].is_nan()));
        }
        labels.extend_from_slice(&masked);
        groups.extend(rows.groups.iter().map(|groups| groups.values()[row]));
        writer.statistics.rows += 1;
        if writer.statistics.rows % CHUNK == 0 {
            writer.flush()?;
        }
        Ok(())
    })?;
    let mut statistics = Vec::with_capacity(3);
    let mut checksums = Vec::new();
    for (split, mut writer) in Split::ALL.iter().zip(writers) {
        writer.flush()?;
        statistics.push(writer.statistics);
        let mut sealed = |name: &str, checksum: String| checksums.push((format!("{}/{name}", split.name()), checksum));
        sealed("ids.u32", writer.ids.seal()?);
        sealed("numbers.f32", writer.numbers.seal()?);
        sealed("labels.f32", writer.labels.seal()?);
        if let Some(groups) = writer.groups {
            sealed("groups.u32", groups.seal()?);
        }
    }
    let statistics = <[SplitStatistics; 3]>::try_from(statistics).expect("three splits");
    Ok(Encoded { statistics, same, checksums })
}

impl SplitWriter {
    fn flush(&mut self) -> Result<()> {
        let (ids, numbers, labels, groups) = &mut self.waiting;
        self.ids.write_marked(ids)?;
        self.numbers.write_marked(numbers)?;
        self.labels.write_marked(labels)?;
        if let Some(file) = &mut self.groups {
            file.write_marked(groups)?;
        }
        ids.clear();
        numbers.clear();
        labels.clear();
        groups.clear();
        Ok(())
    }
}
