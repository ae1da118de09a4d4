//! From codes to the columns of each split, in the order of the rows.

use std::path::Path;

use stem_core::MISSING;

use crate::columns::ColumnWriter;
use crate::dataset::{Split, SplitStatistics};
use crate::error::{Error, Result};
use crate::fit::{Fitted, slot_vocabularies};
use crate::gather::Gathered;
use crate::recipe::Recipe;

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
}

/// Writes the columns below `folder`; `seen` is told how many rows are done; its error ends the writing.
pub(crate) fn encode(
    recipe: &Recipe,
    rows: &Gathered,
    fitted: &Fitted,
    folder: &Path,
    seen: impl Fn(u64) -> Result<()>,
) -> Result<Encoded> {
    let (slots, tasks) = (slot_vocabularies(recipe, rows), recipe.labels.len());
    let cols = rows.numbers.cols();
    let create = |split: Split| -> Result<SplitWriter> {
        let folder = folder.join(split.name());
        std::fs::create_dir(&folder).map_err(Error::io("create", &folder))?;
        Ok(SplitWriter {
            ids: ColumnWriter::create(folder.join("ids.u32"), slots.len())?,
            numbers: ColumnWriter::create(folder.join("numbers.f32"), cols)?,
            labels: ColumnWriter::create(folder.join("labels.f32"), tasks)?,
            groups: rows.groups.as_ref().map(|_| ColumnWriter::create(folder.join("groups.u32"), 1)).transpose()?,
            statistics: SplitStatistics { rows: 0, positives: vec![0; tasks], missing: vec![0; tasks] },
            waiting: Default::default(),
        })
    };
    let mut writers = [create(Split::Train)?, create(Split::Valid)?, create(Split::Test)?];
    let number_kinds: Vec<_> = fitted
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
    let codes = rows.codes.values().chunks_exact(slots.len());
    let mut masked = vec![0.0; tasks];
    for (row, (codes, &split)) in codes.zip(&rows.splits).enumerate() {
        if row % CHUNK == 0 {
            seen(row as u64)?;
        }
        let Some(writer) = writers.get_mut(split as usize) else { continue }; // left out
        let (ids, numbers, labels, groups) = &mut writer.waiting;
        ids.extend(codes.iter().zip(&slots).map(|(&code, &v)| fitted.ids[v][code as usize]));
        let values = &rows.numbers.values()[row * cols..(row + 1) * cols];
        numbers.extend(
            values.iter().zip(&number_kinds).map(|(&v, kind)| if v.is_nan() { 0.0 } else { kind.number_weight(v) }),
        );
        if let Some(place) = numbers.iter().rev().take(cols).position(|n| !n.is_finite()) {
            let field = fitted.schema.fields.iter().filter(|f| number_kinds.contains(&&f.kind)).rev().nth(place);
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
    }
    let mut statistics = Vec::with_capacity(3);
    for mut writer in writers {
        writer.flush()?;
        statistics.push(writer.statistics);
        writer.ids.finish()?;
        writer.numbers.finish()?;
        writer.labels.finish()?;
        writer.groups.map(ColumnWriter::finish).transpose()?;
    }
    let statistics = <[SplitStatistics; 3]>::try_from(statistics).expect("three splits");
    Ok(Encoded { statistics, same })
}

impl SplitWriter {
    fn flush(&mut self) -> Result<()> {
        let (ids, numbers, labels, groups) = &mut self.waiting;
        self.ids.write(ids)?;
        self.numbers.write(numbers)?;
        self.labels.write(labels)?;
        if let Some(file) = &mut self.groups {
            file.write(groups)?;
        }
        ids.clear();
        numbers.clear();
        labels.clear();
        groups.clear();
        Ok(())
    }
}
