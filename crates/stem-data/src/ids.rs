//! The ids of a split as they lie on disk: row after row, of each field its ids, of a list first how many it holds. A list takes the
//! place of what it holds, not of the longest one; where no field is a list, every row has `S` ids and none needs to be told where it
//! begins.

use std::path::Path;

use stem_core::{FieldKind, Schema};

use crate::columns::{ColumnWriter, Columns};
use crate::error::Result;
use crate::manifest::{Manifest, PADDED_LISTS};

/// Ids of all rows.
const IDS: &str = "ids.u32";
/// Where the ids of each row end.
const ENDS: &str = "ends.u64";

/// Whether rows are of different lengths.
fn has_lists(schema: &Schema) -> bool {
    schema.fields.iter().any(|field| matches!(field.kind, FieldKind::Sequence { .. }))
}

/// Ids of some rows as they are written.
#[derive(Default)]
pub(crate) struct IdRows {
    pub(crate) ids: Vec<u32>,
    /// Where those of each row end, counted from the first of these rows. `[n]`
    pub(crate) ends: Vec<u64>,
}

/// Writes the ids of a split.
pub(crate) struct IdsWriter {
    ids: ColumnWriter<u32>,
    ends: Option<ColumnWriter<u64>>,
    written: u64,
}

impl IdsWriter {
    pub(crate) fn create(folder: &Path, schema: &Schema) -> Result<Self> {
        let (columns, ends) = match has_lists(schema) {
            true => (1, Some(ColumnWriter::create(folder.join(ENDS), 1)?)),
            false => (schema.slots(), None),
        };
        Ok(Self { ids: ColumnWriter::create(folder.join(IDS), columns)?, ends, written: 0 })
    }

    /// Appends rows.
    pub(crate) fn write(&mut self, mut rows: IdRows) -> Result<()> {
        if let Some(ends) = &mut self.ends {
            rows.ends.iter_mut().for_each(|end| *end += self.written);
            ends.write_marked(&rows.ends)?;
        }
        self.written += rows.ids.len() as u64;
        self.ids.write_marked(&rows.ids)
    }

    /// Ends the files, and gives the checksum of each by its name.
    pub(crate) fn seal(self) -> Result<Vec<(&'static str, String)>> {
        let mut sealed = vec![(IDS, self.ids.seal()?)];
        if let Some(ends) = self.ends {
            sealed.push((ENDS, ends.seal()?));
        }
        Ok(sealed)
    }
}

/// The ids of a split.
#[derive(Debug)]
pub(crate) struct Ids {
    ids: Columns<u32>,
    /// `None` where each row has as many: `S`.
    ends: Option<Columns<u64>>,
    slots: usize,
}

impl Ids {
    /// Opens the ids of `rows` rows in the split's folder.
    pub(crate) fn open(manifest: &Manifest, folder: &Path, split: &str, rows: usize) -> Result<Self> {
        let (name, slots) = (|file: &str| format!("{split}/{file}"), manifest.schema.slots());
        if !has_lists(&manifest.schema) || manifest.format <= PADDED_LISTS {
            return Ok(Self { ids: manifest.open(folder, &name(IDS), [rows, slots])?, ends: None, slots });
        }
        let ends: Columns<u64> = manifest.open(folder, &name(ENDS), [rows, 1])?;
        let all = ends.values().last().map_or(0, |&end| end as usize);
        Ok(Self { ids: manifest.open(folder, &name(IDS), [all, 1])?, ends: Some(ends), slots })
    }

    /// Whether a list is as long as what it holds, its length first; otherwise it is padded to its slots.
    pub(crate) fn has_lengths(&self) -> bool {
        self.ends.is_some()
    }

    /// What was written of a row; nothing of one whose place makes no sense.
    pub(crate) fn row(&self, row: usize) -> &[u32] {
        let (start, end) = match &self.ends {
            None => (row * self.slots, (row + 1) * self.slots),
            Some(ends) => {
                let ends = ends.values();
                (row.checked_sub(1).map_or(0, |before| ends[before] as usize), ends[row] as usize)
            }
        };
        self.ids.values().get(start..end).unwrap_or_default()
    }
}
