//! Checkpoints are read as tensors and nothing else: everything that is no tensor of floats is refused by name.

use std::io::Write;
use std::path::Path;

use crate::common::checkpoint::Checkpoint;
use crate::common::fixtures;
use proptest::prelude::*;
use stem_core::files::FileError;
use stem_reference::Error;
use stem_reference::read_checkpoint;
use tempfile::NamedTempFile;

fn file(bytes: &[u8]) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    file
}

fn refusal(bytes: &[u8]) -> String {
    let file = file(bytes);
    let message = read_checkpoint(file.path()).unwrap_err().to_string();
    assert!(message.starts_with(&file.path().display().to_string()), "{message}");
    message
}

#[track_caller]
fn assert_refused(bytes: &[u8], parts: &[&str]) {
    let message = refusal(bytes);
    for part in parts {
        assert!(message.contains(part), "'{part}' is not in: {message}");
    }
}

/// A checkpoint that is sound so far.
fn sound() -> Checkpoint {
    Checkpoint::new().floats("a.weight", &[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
}

#[test]
fn the_checkpoints_of_the_reference_hold_the_parameters_of_its_fixtures() {
    for model in ["PLE", "STEM"] {
        let path = fixtures().join(format!("{model}.model"));
        let fixture = fixtures().join(format!("{model}.safetensors"));
        let tensors = read_checkpoint(&path).unwrap();
        let bytes = std::fs::read(fixture).unwrap();
        let fixture = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let expected: Vec<&str> = fixture.names().into_iter().filter_map(|name| name.strip_prefix("param.")).collect();
        assert_eq!(tensors.len(), expected.len());
        for name in expected {
            let view = fixture.tensor(&format!("param.{name}")).unwrap();
            let values: Vec<f32> = view.data().as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
            assert_eq!((&tensors[name].shape[..], &tensors[name].values), (view.shape(), &values), "{model} {name}");
        }
    }
}

#[test]
fn tensors_are_read_by_name_with_shape_and_values() {
    let file = file(&sound().floats("b", &[], &[7.0]).file());
    let tensors = read_checkpoint(file.path()).unwrap();
    assert_eq!(tensors.keys().collect::<Vec<_>>(), ["a.weight", "b"]);
    assert_eq!((&tensors["a.weight"].shape[..], tensors["a.weight"].values[5]), (&[2, 3][..], 6.0));
    assert_eq!((&tensors["b"].shape[..], &tensors["b"].values[..]), (&[][..], &[7.0][..]));
}

#[test]
fn a_view_is_read_in_the_order_of_its_shape() {
    let data = [1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0].iter().flat_map(|v| v.to_le_bytes()).collect();
    let file = file(&Checkpoint::new().view("t", "Float", (&[3, 2], &[1, 3]), 6, data).file());
    assert_eq!(read_checkpoint(file.path()).unwrap()["t"].values, [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
}

#[test]
fn other_floats_become_f32() {
    let checkpoint = Checkpoint::new()
        .tensor("double", "Double", &[1], 1, 0.5f64.to_le_bytes().to_vec())
        .tensor("half", "Half", &[2], 2, vec![0x00, 0x3c, 0x00, 0xc0])
        .tensor("brain", "BFloat16", &[1], 1, vec![0xc0, 0x3f]);
    let file = file(&checkpoint.file());
    let tensors = read_checkpoint(file.path()).unwrap();
    assert_eq!(["double", "half", "brain"].map(|name| tensors[name].values[0]), [0.5, 1.0, 1.5]);
    assert_eq!(tensors["half"].values[1], -2.0);
}

#[test]
fn an_ordered_dictionary_with_module_versions_is_a_state_dict() {
    let ordered = Checkpoint { pickle: b"\x80\x02ccollections\nOrderedDict\n)R(".to_vec(), ..Checkpoint::new() };
    let versions = Checkpoint::new().text("_metadata").raw(b"}(").text("").raw(b"}").text("version").raw(b"K\x01suu");
    let end = [b"u", &versions.pickle[2..], b"b."].concat();
    let file = file(&ordered.floats("w", &[1], &[1.0]).file_with(&end));
    assert_eq!(read_checkpoint(file.path()).unwrap().keys().collect::<Vec<_>>(), ["w"]);
}

#[test]
fn counters_of_batch_normalisation_are_left_out_and_other_integers_refused() {
    let long = |name| sound().tensor(name, "Long", &[], 1, 3i64.to_le_bytes().to_vec()).file();
    let file = file(&long("mlp.1.num_batches_tracked"));
    assert_eq!(read_checkpoint(file.path()).unwrap().len(), 1);
    assert_refused(&long("ids"), &["tensor 'ids' holds I64 values, expected floats"]);
}

#[test]
fn weights_that_are_not_finite_are_refused_by_name() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let bytes = sound().floats("b.bias", &[2], &[0.0, bad]).file();
        assert_refused(&bytes, &["tensor 'b.bias' [2] has the value", "at place 1", "finite"]);
    }
    let large = Checkpoint::new().tensor("d", "Double", &[1], 1, 1e300f64.to_le_bytes().to_vec());
    assert_refused(&large.file(), &["tensor 'd'", "inf"]);
}

#[test]
fn a_value_that_is_no_tensor_is_refused_with_its_key_and_type() {
    let call = |checkpoint: Checkpoint| checkpoint.raw(b"cposix\nsystem\n").text("true").raw(b"\x85R");
    let cases: [(Checkpoint, &str); 9] = [
        (call(sound().text("x")), "key 'x' holds a Python object of type 'posix.system'"),
        (sound().text("x").raw(b"cposix\nsystem\n"), "key 'x' holds a Python object of type 'posix.system'"),
        (sound().text("x").text("hello"), "key 'x' holds a Python object of type 'str'"),
        (sound().text("x").raw(b"}"), "key 'x' holds a Python object of type 'dict'"),
        (sound().text("x").raw(b"K\x01"), "key 'x' holds a Python object of type 'int'"),
        (sound().text("x").raw(b"N"), "key 'x' holds a Python object of type 'NoneType'"),
        (sound().text("x").raw(b"]"), "key 'x' holds a Python object of type 'list'"),
        (sound().text("x").raw(b"ccollections\nOrderedDict\n"), "type 'collections.OrderedDict'"),
        (sound().text("_metadata").text("x"), "key '_metadata' holds a Python object of type 'str'"),
    ];
    for (checkpoint, message) in cases {
        assert_refused(&checkpoint.file(), &[message, "torch.save(model.state_dict(), FILE)"]);
    }
}

#[test]
fn a_nested_dictionary_of_tensors_is_refused() {
    let nested = sound().text("state_dict").raw(b"}(").floats("w", &[1], &[1.0]).raw(b"u");
    assert_refused(&nested.file(), &["key 'state_dict' holds a Python object of type 'dict'"]);
}

#[test]
fn a_call_at_the_root_is_refused() {
    let pickle = b"\x80\x02cposix\nsystem\nX\x04\0\0\0true\x85R.";
    for bytes in [pickle.to_vec(), crate::common::checkpoint::zip(&[("m/data.pkl", pickle)])] {
        assert_refused(&bytes, &["type 'posix.system'", "expected a dictionary of tensors"]);
    }
}

#[test]
fn a_call_that_leaves_no_trace_is_refused() {
    let call = b"cposix\nsystem\nX\x04\0\0\0true\x85R";
    let popped = sound().raw(call).raw(b"0").file();
    let as_state = sound().file_with(&[b"u", &call[..], b"b."].concat());
    let below_root = Checkpoint { pickle: [b"\x80\x02", &call[..], b"}("].concat(), ..Checkpoint::new() };
    let below_root = below_root.floats("w", &[1], &[1.0]).file();
    let overwritten = sound().text("b").raw(call).floats("b", &[1], &[1.0]).file();
    let in_versions = sound().text("_metadata").raw(call).text("_metadata").raw(b"}").file();
    for bytes in [popped, as_state, below_root, overwritten, in_versions] {
        assert_refused(&bytes, &["its pickle asks for the Python object 'posix.system'"]);
    }
}

#[test]
fn a_call_inside_a_tensors_arguments_is_refused() {
    let hooked = Checkpoint { hooks: b"cbuiltins\neval\nX\x01\0\0\x001\x85R".to_vec(), ..Checkpoint::new() };
    assert_refused(&hooked.floats("w", &[1], &[1.0]).file(), &["asks for the Python object 'builtins.eval'"]);
    let classed = sound().tensor("x", "", &[1], 1, vec![0; 4]).file();
    assert_refused(&classed, &["Storage"]);
}

#[test]
fn newer_ways_to_name_an_object_are_refused() {
    let stacked = sound().text("posix").text("system").raw(b"\x930").file();
    assert_refused(&stacked, &["protocol 4 or newer", "protocol, 2"]);
    for instruction in [&b"\x82\x01"[..], b"(iposix\nsystem\n", b"(o"] {
        refusal(&sound().raw(instruction).raw(b"0").file());
    }
}

#[test]
fn a_tensor_larger_than_its_file_is_refused() {
    let view = Checkpoint::new().view("w", "Float", (&[1 << 20, 1 << 10], &[0, 0]), 1, vec![0; 4]);
    assert_refused(&view.file(), &["tensor 'w' has shape [1048576, 1024], 4294967296 bytes, in a file of"]);
}

#[test]
fn a_file_that_is_no_checkpoint_is_named_with_what_to_do() {
    let pickle = b"\x80\x02}.".to_vec();
    let other = crate::common::checkpoint::zip(&[("readme.txt", b"hello")]);
    for (bytes, part) in [
        (Vec::new(), "it is empty"),
        (b"tasks = [1]".to_vec(), "does not read as a checkpoint"),
        (vec![0; 4096], "does not read as a checkpoint"),
        (other, "does not read as a checkpoint"),
        (pickle, "holds no tensors"),
    ] {
        assert_refused(&bytes, &[part, "torch.save(model.state_dict(), FILE)"]);
    }
    let folder = tempfile::tempdir().unwrap();
    let message = read_checkpoint(folder.path()).unwrap_err().to_string();
    assert!(message.contains("it is no file"), "{message}");
    let missing = read_checkpoint(Path::new("/nowhere/x.model")).unwrap_err();
    assert!(matches!(missing, Error::File(FileError { action: "read", .. })), "{missing}");
}

#[test]
fn every_truncation_is_refused() {
    let bytes = sound().file();
    for len in 0..bytes.len() {
        refusal(&bytes[..len]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]
    #[test]
    fn a_damaged_checkpoint_is_read_or_refused_but_never_fatal(
        cut in proptest::option::of(0.0f64..1.0),
        flips in prop::collection::vec((0.0f64..1.0, any::<u8>(), any::<bool>()), 0..6),
    ) {
        let path = fixtures().join("STEM.model");
        let mut bytes = std::fs::read(path).unwrap();
        let head = 4700.0; // the pickle stands first
        for (place, value, early) in flips {
            let place = (place * if early { head } else { bytes.len() as f64 }) as usize;
            bytes[place] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate((cut * bytes.len() as f64) as usize);
        }
        let _ = read_checkpoint(file(&bytes).path());
    }

    #[test]
    fn any_pickle_is_read_or_refused_but_never_fatal(instructions in prop::collection::vec(any::<u8>(), 0..80)) {
        let _ = read_checkpoint(file(&sound().raw(&instructions).file()).path());
        let _ = read_checkpoint(file(&[b"\x80\x02}(", &instructions[..]].concat()).path());
    }
}
