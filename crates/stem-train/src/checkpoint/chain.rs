//! A checkpoint with all that it is on top of, read once: a matrix from the whole one, and over it the rows that each of the others has of it.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::TensorData;

use super::file::{NETWORK, NETWORK_STATE, ROWS, TABLE, TABLE_STATE};
use super::folder::Found;
use super::read::{Head, Pass, Unusable};
use super::state::{Base, Place};

/// Rows of a checkpoint on top of another that are read at once.
const ROWS_AT_ONCE: usize = 1 << 14;

/// The heads of a checkpoint and of all that it is on top of: the last first, the whole one at the end.
#[derive(Debug)]
pub(crate) struct Chain(Vec<Head>);

/// A matrix with the rows of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Large {
    /// The table itself.
    Table,
    /// The optimizer's, counted from 0.
    State(usize),
}

impl Large {
    fn name(self) -> String {
        match self {
            Self::Table => TABLE.into(),
            Self::State(k) => format!("{TABLE_STATE}{k}"),
        }
    }
}

/// A matrix as it was read: values, row-major, and its shape.
pub(crate) type Values = (Vec<f32>, [usize; 2]);

/// Puts the values of the next rows of a matrix into a slice: of all of them, or of a stretch after the other.
pub(crate) type Put<'p> = dyn FnMut(&mut [f32]) -> Result<(), Unusable> + 'p;

/// Takes a large matrix of a checkpoint: which it is, its shape, and what puts its values into a slice.
pub(crate) type Take<'t> = dyn FnMut(Large, [usize; 2], &mut Put<'_>) -> Result<(), Unusable> + 't;

/// Where a checkpoint is read from: its files, or the rank that reads them.
pub(crate) trait Source {
    /// Where the training was.
    fn place(&self) -> &Place;
    /// `[rows, width]` of the table; over several ranks of this rank's part.
    fn table(&self) -> [usize; 2];
    /// Matrices of the optimizer's state of the table.
    fn states(&self) -> usize;
    /// Reads all of it: gives `take` every large matrix, the optimizer's first, with its shape and what puts its values into slices, and in
    /// the end what is small. Until then nothing of it is known to be what was written.
    ///
    /// # Errors
    /// Why it is of no use, and what `take` gives.
    fn read(&self, take: &mut Take<'_>) -> Result<Small, Unusable>;
}

/// What is small of a training: the network, and the optimizer's state of it.
#[derive(Debug, Default)]
pub(crate) struct Small {
    pub(crate) network: BTreeMap<String, TensorData>,
    pub(crate) network_state: BTreeMap<String, Vec<Values>>,
}

impl Chain {
    /// The heads of the checkpoint `path` and of those of `all` that it is on top of. What they hold is not read, and not checked.
    ///
    /// # Errors
    /// Why it is of no use.
    pub(super) fn open(all: &[Found], path: &Path) -> Result<Self, Unusable> {
        let mut heads = vec![Head::open(path)?];
        while let Some(Base { steps, checksum, .. }) = &heads[heads.len() - 1].place.base {
            let above = &heads[heads.len() - 1];
            let of_step = all.iter().find(|found| found.steps == *steps && *steps < above.place.steps);
            let below =
                of_step.ok_or_else(|| format!("the checkpoint of step {steps} that it is on top of is missing"))?;
            let below_path = below.path.display();
            let head =
                Head::open(&below.path).map_err(|why| why.after(&format!("it is on top of {below_path}, and ")))?;
            if head.checksum != *checksum {
                return Err(format!("it is on top of another {below_path} than is there").into());
            }
            let fits = |large: Large| {
                above.shape_of(&large.name()).map(|[_, width]| width)
                    == head.shape_of(&large.name()).map(|[_, width]| width)
            };
            if !fits(Large::Table) || (0..=above.states()).any(|k| !fits(Large::State(k))) {
                return Err(MISFIT.into());
            }
            heads.push(head);
        }
        Ok(Self(heads))
    }

    fn last(&self) -> &Head {
        &self.0[0]
    }

    /// Of the last file, which has those of the others.
    pub(crate) fn checksum(&self) -> &str {
        &self.last().checksum
    }

    /// The last file.
    pub(crate) fn path(&self) -> &Path {
        &self.last().path
    }

    /// `[rows, width]` of a large matrix.
    pub(crate) fn shape_of(&self, large: Large) -> [usize; 2] {
        self.0[self.0.len() - 1].shape_of(&large.name()).unwrap_or_default()
    }

    /// Reads the last file, for its checksum alone.
    pub(super) fn verify_last(&self) -> Result<(), Unusable> {
        self.last().verify()
    }
}

impl Source for Chain {
    fn place(&self) -> &Place {
        &self.last().place
    }

    fn table(&self) -> [usize; 2] {
        self.shape_of(Large::Table)
    }

    fn states(&self) -> usize {
        self.last().states()
    }

    fn read(&self, take: &mut Take<'_>) -> Result<Small, Unusable> {
        let mut passes = self.0.iter().map(Head::pass).collect::<Result<Vec<_>, _>>()?;
        let mut rows = Vec::new(); // [files but the whole one]
        for (head, pass) in self.0.iter().zip(&mut passes).take(self.0.len() - 1) {
            pass.to(ROWS)?;
            let [count, _] = head.shape_of(ROWS).unwrap_or_default();
            let mut own = vec![0u32; count];
            pass.read(&mut own)?;
            rows.push(own);
        }
        for large in (0..self.states()).map(Large::State).chain([Large::Table]) {
            let shape = self.shape_of(large);
            for pass in &mut passes {
                pass.to(&large.name())?;
            }
            let mut to_come: Vec<&[u32]> = rows.iter().map(Vec::as_slice).collect();
            let mut first = 0; // of the rows that come next
            take(large, shape, &mut |values| {
                let last = first + values.len() / shape[1].max(1);
                if last > shape[0] || values.len() % shape[1].max(1) != 0 {
                    let what = format!("its {} is {shape:?}, and more values are expected", large.name());
                    return Err(Unusable::Unreadable(what));
                }
                let (whole, others) = passes.split_last_mut().expect("a chain ends in a whole checkpoint");
                whole.read(values)?;
                for (rows, pass) in to_come.iter_mut().zip(others).rev() {
                    let (here, later) = rows.split_at(rows.partition_point(|&row| (row as usize) < last));
                    put_rows(pass, here, first, values, shape[1])?;
                    *rows = later;
                }
                first = last;
                Ok(())
            })?;
            if to_come.iter().any(|rows| !rows.is_empty()) && first == shape[0] {
                return Err(MISFIT.into());
            }
        }
        let small = small(self.last(), &mut passes[0])?;
        for (head, pass) in self.0.iter().zip(passes) {
            let on = match head.path == self.last().path {
                true => String::new(),
                false => format!("it is on top of {}, and ", head.path.display()),
            };
            pass.finish(&head.checksum).map_err(|why| why.after(&on))?;
        }
        Ok(small)
    }
}

/// What is wrong with rows that the checkpoint below does not have.
const MISFIT: &str = "its rows do not fit the checkpoint that it is on top of";

impl Head {
    fn states(&self) -> usize {
        (0..).take_while(|k| self.shape_of(&Large::State(*k).name()).is_some()).count()
    }
}

/// Puts rows that a checkpoint has of a matrix into their places among `values`, of which the row `first` is the first.
fn put_rows(pass: &mut Pass<'_>, rows: &[u32], first: usize, values: &mut [f32], width: usize) -> Result<(), Unusable> {
    let mut own = vec![0.0f32; width * ROWS_AT_ONCE.min(rows.len())];
    for rows in rows.chunks(ROWS_AT_ONCE) {
        let own = &mut own[..rows.len() * width];
        pass.read(own)?;
        for (&row, own) in rows.iter().zip(own.chunks_exact(width.max(1))) {
            let at = (row as usize).checked_sub(first).ok_or(MISFIT)?;
            let place = values.get_mut(at * width..).and_then(|values| values.get_mut(..width));
            place.ok_or(MISFIT)?.copy_from_slice(own);
        }
    }
    Ok(())
}

/// What follows the large matrices.
fn small(head: &Head, pass: &mut Pass<'_>) -> Result<Small, Unusable> {
    let (mut network, mut states) = (BTreeMap::new(), BTreeMap::<String, BTreeMap<usize, Values>>::new());
    for name in head.names().filter(|name| name.starts_with(NETWORK) || name.starts_with(NETWORK_STATE)) {
        let shape = head.whole_shape_of(name).to_vec();
        let mut values = vec![0.0f32; shape.iter().product()];
        pass.to(name)?;
        pass.read(&mut values)?;
        if let Some(name) = name.strip_prefix(NETWORK) {
            network.insert(name.to_string(), TensorData::new(values, shape));
        } else if let Some((own, k)) = name.strip_prefix(NETWORK_STATE).and_then(|name| name.rsplit_once('.')) {
            let matrix = (values, head.shape_of(name).unwrap_or_default());
            states.entry(own.to_string()).or_default().insert(k.parse().unwrap_or(usize::MAX), matrix);
        }
    }
    let network_state = states.into_iter().map(|(name, own)| (name, own.into_values().collect())).collect();
    Ok(Small { network, network_state })
}
