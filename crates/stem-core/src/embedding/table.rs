//! The one table of all fields, outside autodiff: a step gathers the rows it needs and writes those back.

use burn::tensor::{DType, Device, IndexingUpdateOp, Int, Tensor, TensorData};
use stem_kernels::initializer;

use crate::device::{on_host, read_values};
use crate::schema::Schema;

/// A matrix of rows that is changed in place: the table, or an optimizer's state beside it.
///
/// On the host a tensor is written in place only while it has one owner, so this type never hands its tensor out to be kept.
#[derive(Debug)]
pub struct RowMatrix {
    /// `None` only while [`host_mut`](Self::host_mut) holds the data.
    tensor: Option<Tensor<2>>,
}

impl RowMatrix {
    /// Takes over a tensor `[rows, width]` that does not track gradients.
    pub fn new(tensor: Tensor<2>) -> Self {
        Self { tensor: Some(tensor) }
    }

    /// `rows x width` zeros.
    pub fn zeros(rows: usize, width: usize, device: &Device) -> Self {
        if !on_host(device) {
            return Self::new(Tensor::zeros([rows, width], device));
        }
        let values = TensorData::new(initializer::zeros(rows * width), [rows, width]);
        Self::new(Tensor::from_data(values, (device, DType::F32)))
    }

    /// The tensor, for reading within a step. A clone that outlives the step would make every later write a copy of the whole.
    pub fn tensor(&self) -> &Tensor<2> {
        self.tensor.as_ref().expect("only host_mut takes the tensor, and puts it back")
    }

    /// Gives the tensor back.
    pub fn into_tensor(self) -> Tensor<2> {
        self.tensor.expect("only host_mut takes the tensor, and puts it back")
    }

    /// `[rows, width]`
    pub fn dims(&self) -> [usize; 2] {
        self.tensor().dims()
    }

    /// Whether rows lie in host memory and [`host_mut`](Self::host_mut) costs nothing.
    pub fn is_on_host(&self) -> bool {
        on_host(&self.tensor().device())
    }

    /// Lends the values, row-major, for reading. Free on flex; elsewhere from a copy.
    pub fn read<R>(&self, read: impl FnOnce(&[f32]) -> R) -> R {
        read_values(self.tensor(), read)
    }

    /// Copies the rows `index` names. `[U, width]`
    pub fn gather(&self, index: Tensor<1, Int>) -> Tensor<2> {
        self.tensor().clone().select(0, index)
    }

    /// Overwrites the distinct rows `index` names with `rows [U, width]`, on the device.
    pub fn scatter(&mut self, index: Tensor<1, Int>, rows: Tensor<2>) {
        let [count] = index.dims();
        let tensor = self.tensor.take().expect("only host_mut takes the tensor, and puts it back");
        self.tensor = Some(tensor.scatter_nd(index.reshape([count, 1]), rows, IndexingUpdateOp::Assign));
    }

    /// Lends the values, row-major, to be changed in place. Free on the host while the tensor has one owner; elsewhere a
    /// round trip of the whole matrix.
    pub fn host_mut<R>(&mut self, change: impl FnOnce(&mut [f32]) -> R) -> R {
        let tensor = self.tensor.take().expect("only host_mut takes the tensor, and puts it back");
        let device = tensor.device();
        let mut data = tensor.into_data();
        let result = change(data.as_mut_slice().expect("rows are f32"));
        self.tensor = Some(Tensor::from_data(data, (&device, DType::F32)));
        result
    }
}

/// All fields' embeddings: `V` rows of `[group 0 | ... | group G-1]`.
#[derive(Debug)]
pub struct EmbeddingTable {
    rows: RowMatrix,
    widths: Vec<usize>,
}

impl EmbeddingTable {
    /// Draws `N(0, std^2)`, as the reference does with `std = 1e-4`, the same numbers on any number of threads; the padding row
    /// of every vocabulary is zero.
    pub fn init(schema: &Schema, widths: &[usize], std: f32, seed: u64, device: &Device) -> Self {
        let (rows, width) = (schema.rows(), widths.iter().sum::<usize>());
        let mut values = vec![0.0f32; rows * width]; // memory that is not taken before it is filled
        initializer::normal(&mut values, std, seed);
        let offsets = schema.offsets();
        for field in schema.fields.iter().filter(|field| field.kind.has_keys()) {
            let padding = offsets[field.vocabulary] as usize * width;
            values[padding..padding + width].fill(0.0);
        }
        Self::from_values(values, widths, device)
    }

    /// Takes `V x sum(widths)` values, row-major.
    pub fn from_values(values: Vec<f32>, widths: &[usize], device: &Device) -> Self {
        let width: usize = widths.iter().sum();
        let rows = values.len() / width.max(1);
        let tensor = Tensor::from_data(TensorData::new(values, [rows, width]), (device, DType::F32));
        Self { rows: RowMatrix::new(tensor), widths: widths.to_vec() }
    }

    /// Width of each group.
    pub fn widths(&self) -> &[usize] {
        &self.widths
    }

    /// The matrix `[V, sum(widths)]`.
    pub fn rows(&self) -> &RowMatrix {
        &self.rows
    }

    /// The matrix, to be changed.
    pub fn rows_mut(&mut self) -> &mut RowMatrix {
        &mut self.rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::DeviceSpec;

    fn device() -> Device {
        DeviceSpec::from_env().unwrap().open().unwrap()
    }

    #[test]
    fn on_the_host_rows_are_changed_in_place_while_the_table_has_one_owner() {
        let mut rows = RowMatrix::zeros(1000, 16, &device());
        let place = |rows: &mut RowMatrix| rows.host_mut(|values| values.as_ptr() as usize);
        let first = place(&mut rows);
        if rows.is_on_host() {
            let _gathered = rows.gather(Tensor::from_ints([1, 2], &device()));
            assert_eq!(place(&mut rows), first, "a write was a copy of the whole table");
        }
        if DeviceSpec::from_env().unwrap() == DeviceSpec::Flex {
            assert_eq!(rows.read(|values| values.as_ptr() as usize), first, "reading was a copy of the whole table");
        }
    }

    #[test]
    fn what_is_scattered_is_gathered() {
        let mut rows = RowMatrix::zeros(5, 2, &device());
        let index = || Tensor::<1, Int>::from_ints([3, 1], &device());
        rows.scatter(index(), Tensor::from_floats([[1.0, 2.0], [3.0, 4.0]], &device()));
        let all: Vec<f32> = rows.tensor().to_data().try_into_vec().unwrap();
        assert_eq!(all, [0.0, 0.0, 3.0, 4.0, 0.0, 0.0, 1.0, 2.0, 0.0, 0.0]);
        let back: Vec<f32> = rows.gather(index()).into_data().try_into_vec().unwrap();
        assert_eq!(back, [1.0, 2.0, 3.0, 4.0]);
    }
}
