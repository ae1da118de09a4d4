//! Checkpoints by hand, and a folder to import them in.

use std::path::{Path, PathBuf};

use stem_core::{DeviceSpec, Predictor, Row, Value};
use stem_reference::{Summary, import};
use tempfile::TempDir;

/// A zip archive of stored entries.
pub fn zip(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut bytes, mut directory) = (Vec::new(), Vec::new());
    for (name, data) in entries {
        let mut common = vec![20, 0, 0, 0, 0, 0, 0, 0, 0, 0]; // version, flags, method, time, date
        common.extend(crc32(data).to_le_bytes());
        common.extend([data.len() as u32; 2].map(u32::to_le_bytes).concat());
        common.extend((name.len() as u16).to_le_bytes());
        common.extend([0, 0]);
        let start = bytes.len() as u32;
        bytes.extend(b"PK\x03\x04");
        bytes.extend(&common);
        bytes.extend(name.as_bytes());
        bytes.extend(*data);
        directory.extend(b"PK\x01\x02\x14\0");
        directory.extend(&common);
        directory.extend([0; 10]);
        directory.extend(start.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let (count, start, len) = (entries.len() as u16, bytes.len() as u32, directory.len() as u32);
    bytes.extend(&directory);
    bytes.extend(b"PK\x05\x06\0\0\0\0");
    bytes.extend([count; 2].map(u16::to_le_bytes).concat());
    bytes.extend([len, start].map(u32::to_le_bytes).concat());
    bytes.extend([0, 0]);
    bytes
}

fn crc32(data: &[u8]) -> u32 {
    !data.iter().fold(!0u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 })
    })
}

/// A checkpoint in the making: a pickle of protocol 2, and the storages beside it.
pub struct Checkpoint {
    pub pickle: Vec<u8>,
    /// What stands for the backward hooks of every tensor.
    pub hooks: Vec<u8>,
    pub storages: Vec<Vec<u8>>,
}

impl Checkpoint {
    /// An open dictionary.
    pub fn new() -> Self {
        let hooks = b"ccollections\nOrderedDict\n)R".to_vec();
        Self { pickle: b"\x80\x02}(".to_vec(), hooks, storages: Vec::new() }
    }

    /// A key, or any other text.
    pub fn text(mut self, text: &str) -> Self {
        self.pickle.push(b'X');
        self.pickle.extend((text.len() as u32).to_le_bytes());
        self.pickle.extend(text.as_bytes());
        self
    }

    /// Instructions as they are.
    pub fn raw(mut self, instructions: &[u8]) -> Self {
        self.pickle.extend(instructions);
        self
    }

    /// A key with a tensor of a storage class, for instance `Float`.
    pub fn tensor(self, name: &str, class: &str, shape: &[usize], elements: usize, data: Vec<u8>) -> Self {
        let strides: Vec<usize> = (0..shape.len()).map(|axis| shape[axis + 1..].iter().product()).collect();
        self.view(name, class, (shape, &strides), elements, data)
    }

    /// A key with a tensor of any strides.
    pub fn view(
        mut self,
        name: &str,
        class: &str,
        (shape, strides): (&[usize], &[usize]),
        elements: usize,
        data: Vec<u8>,
    ) -> Self {
        let key = self.storages.len().to_string();
        self.storages.push(data);
        let hooks = self.hooks.clone();
        let ints = |ints: &[usize]| ints.iter().flat_map(|&i| int(i)).collect::<Vec<u8>>();
        self.text(name)
            .raw(b"ctorch._utils\n_rebuild_tensor_v2\n((")
            .text("storage")
            .raw(format!("ctorch\n{class}Storage\n").as_bytes())
            .text(&key)
            .text("cpu")
            .raw(&int(elements))
            .raw(b"tQK\0(")
            .raw(&ints(shape))
            .raw(b"t(")
            .raw(&ints(strides))
            .raw(b"t\x89")
            .raw(&hooks)
            .raw(b"tR")
    }

    pub fn floats(self, name: &str, shape: &[usize], values: &[f32]) -> Self {
        self.tensor(name, "Float", shape, values.len(), values.iter().flat_map(|v| v.to_le_bytes()).collect())
    }

    /// The dictionary closed, as the bytes of a file.
    pub fn file(&self) -> Vec<u8> {
        self.file_with(b"u.")
    }

    /// The bytes of a file whose pickle ends with these instructions.
    pub fn file_with(&self, end: &[u8]) -> Vec<u8> {
        let pickle = [self.pickle.as_slice(), end].concat();
        let names: Vec<String> = (0..self.storages.len()).map(|key| format!("m/data/{key}")).collect();
        let storages = names.iter().zip(&self.storages).map(|(name, data)| (name.as_str(), data.as_slice()));
        zip(&std::iter::once(("m/data.pkl", pickle.as_slice())).chain(storages).collect::<Vec<_>>())
    }
}

fn int(value: usize) -> Vec<u8> {
    [&b"J"[..], &(value as u32).to_le_bytes()].concat()
}

/// A folder for one import.
pub struct Bench {
    folder: TempDir,
    pub checkpoint: PathBuf,
}

impl Bench {
    pub fn new(checkpoint: PathBuf) -> Self {
        Self { folder: tempfile::tempdir().unwrap(), checkpoint }
    }

    pub fn of(checkpoint: &Checkpoint) -> Self {
        let mut bench = Self::new(PathBuf::new());
        bench.checkpoint = bench.write("hand.model", &checkpoint.file());
        bench
    }

    pub fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    pub fn bundle(&self) -> PathBuf {
        self.folder.path().join("bundle.safetensors")
    }

    pub fn import(&self, config: &str) -> Result<Summary, String> {
        let config = self.write("import.toml", config.as_bytes());
        let device = DeviceSpec::from_env().unwrap().open().unwrap();
        import(&self.checkpoint, &config, &self.bundle(), &device).map_err(|e| e.to_string())
    }

    #[track_caller]
    pub fn refuses(&self, config: &str, parts: &[&str]) {
        let message = self.import(config).unwrap_err();
        for part in parts {
            assert!(message.contains(part), "'{part}' is not in: {message}");
        }
        assert!(!self.bundle().exists(), "a refused import leaves nothing behind");
    }

    pub fn predictor(&self) -> Predictor {
        Predictor::open(self.bundle(), &DeviceSpec::from_env().unwrap().open().unwrap()).unwrap()
    }
}

/// A small SharedBottom with a field of every kind.
pub const BOTTOM: &str = r#"
tasks = ["click"]
[model]
name = "shared-bottom"
dim = 2
bottom = [1]
tower = []
[[field]]
name = "item"
rows = 4
[[field]]
name = "seen"
kind = "sequence"
max_len = 3
separator = " "
shares = "item"
[[field]]
name = "price"
kind = "number"
default = 2.0
"#;

/// One hidden unit that sums its six inputs, and a tower of weight 1.
pub fn bottom() -> Checkpoint {
    let name = |field: &str| format!("embedding_layer.embedding_layer.embedding_layers.{field}.weight");
    Checkpoint::new()
        .floats(&name("item"), &[4, 2], &[0.0, 0.0, 1.0, 0.5, 2.0, 1.0, 4.0, 2.0])
        .floats(&name("price"), &[2, 1], &[0.25, 0.125])
        .floats("bottom.mlp.0.weight", &[1, 6], &[1.0; 6])
        .floats("bottom.mlp.0.bias", &[1], &[0.0])
        .floats("tower.0.mlp.0.weight", &[1, 1], &[1.0])
        .floats("tower.0.mlp.0.bias", &[1], &[-1.0])
}

/// Ids `[16, F]` and predictions `[16, T]` of a fixture.
pub fn fixture(path: &Path) -> (Vec<i64>, Vec<f32>) {
    let bytes = std::fs::read(path).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let data = |name| file.tensor(name).unwrap().data().to_vec();
    let ids = data("input.ids").as_chunks::<8>().0.iter().map(|b| i64::from_le_bytes(*b)).collect();
    (ids, data("output.pred").as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect())
}

#[track_caller]
pub fn assert_close<'a>(found: impl IntoIterator<Item = &'a [f32]>, expected: &[f32]) {
    let found: Vec<f32> = found.into_iter().flatten().copied().collect();
    assert_eq!(found.len(), expected.len());
    let error = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(error <= 1e-6, "largest error {error:e}");
}

/// Rows with the fields `f0`, `f1` ..., their values made of ids `[B, F]`.
pub fn rows<V: Into<Value>>(fields: usize, ids: &[i64], value: impl Fn(usize, i64) -> V) -> Vec<Row> {
    let row = |ids: &[i64]| ids.iter().enumerate().map(|(f, &id)| (format!("f{f}"), value(f, id))).collect();
    ids.chunks_exact(fields).map(row).collect()
}
