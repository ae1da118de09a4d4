//! What a pickle asks for by name. A pickle is a program, and the classes and functions it calls are named in it: a state dict
//! needs a handful. The reader of checkpoints runs none of them, but leaves out what it does not know; here nothing is left out.

/// Module and name of all that a state dict may call, beside the storages.
const CALLS: [(&str, &str); 4] = [
    ("collections", "OrderedDict"),
    ("torch._utils", "_rebuild_tensor_v2"),
    ("torch._utils", "_rebuild_tensor_v3"),
    ("torch._utils", "_rebuild_parameter"),
];
const STORAGES: [&str; 10] = ["Float", "Double", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte", "Bool"];

/// Instructions without an argument: marks, constants, tuples, lists, dictionaries, calls, the memo's newest.
const PLAIN: &[u8] = b"(012NRbdltsa)]}euQ\x81\x85\x86\x87\x88\x89\x8f\x90\x91\x92\x94";

/// Refuses a pickle that names a class or a function that tensors do not need, wherever it stands: as a value, inside an
/// argument, thrown away again.
///
/// # Errors
/// Its name and the text before it, which is the key as a rule; or an instruction that no state dict has.
pub(super) fn check_calls(pickle: &[u8]) -> Result<(), String> {
    let mut reader = Reader { rest: pickle };
    let mut near = String::new();
    loop {
        match reader.byte()? {
            b'.' => return Ok(()),
            b'c' => {
                let (module, name) = (reader.line()?, reader.line()?);
                if !is_expected(&module, &name) {
                    return Err(format!("asks for the Python object '{module}.{name}'{}", after(&near)));
                }
            }
            0x93 => {
                return Err(format!(
                    "names a Python object the way of pickle protocol 4 or newer{}; save it again with torch.save's own \
                     protocol, 2",
                    after(&near)
                ));
            }
            other if PLAIN.contains(&other) => {}
            b'K' | b'h' | b'q' | 0x80 => _ = reader.take(1)?,
            b'M' => _ = reader.take(2)?,
            b'J' | b'j' | b'r' => _ = reader.take(4)?,
            b'G' | 0x95 => _ = reader.take(8)?,
            b'I' | b'L' | b'F' | b'g' | b'p' | b'P' => _ = reader.line()?,
            b'V' => near = reader.line()?,
            b'U' | b'C' | 0x8c => near = reader.text(1)?,
            b'T' | b'X' | b'B' => near = reader.text(4)?,
            0x8d | 0x8e | 0x96 => near = reader.text(8)?,
            0x8a => _ = reader.text(1)?,
            0x8b => _ = reader.text(4)?,
            other => return Err(format!("has the pickle instruction 0x{other:02x}, which no state dict has")),
        }
    }
}

fn is_expected(module: &str, name: &str) -> bool {
    let storage = module == "torch" && name.strip_suffix("Storage").is_some_and(|kind| STORAGES.contains(&kind));
    let unsigned = module == "torch" && matches!(name, "uint16" | "uint32" | "uint64"); // refused as tensors, by their names
    let untyped = module == "torch.storage" && name == "UntypedStorage";
    storage || unsigned || untyped || CALLS.contains(&(module, name))
}

fn after(near: &str) -> String {
    if near.is_empty() { String::new() } else { format!(" (after the text '{}')", near.escape_debug()) }
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or("ends in the middle of an instruction")?;
        self.rest = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, String> {
        self.take(1).map(|taken| taken[0])
    }

    /// Up to a line feed, without it.
    fn line(&mut self) -> Result<String, String> {
        let len = self.rest.iter().position(|&b| b == b'\n').ok_or("ends in the middle of a line")?;
        let line = String::from_utf8_lossy(self.take(len)?).into_owned();
        self.take(1)?;
        Ok(line)
    }

    /// As many bytes as a little-endian number of `width` bytes says.
    fn text(&mut self, width: usize) -> Result<String, String> {
        let len = self.take(width)?.iter().rev().fold(0usize, |len, &b| (len << 8) | usize::from(b));
        self.take(len).map(|text| String::from_utf8_lossy(text).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_thrown_away_again_is_named_too() {
        let fault = check_calls(b"\x80\x02}X\x01\0\0\0kcposix\nsystem\nX\x02\0\0\0ls\x85R0.").unwrap_err();
        assert_eq!(fault, "asks for the Python object 'posix.system' (after the text 'k')");
    }

    #[test]
    fn a_storage_of_another_module_is_no_storage() {
        assert_eq!(check_calls(b"ctorch\nFloatStorage\n."), Ok(()));
        assert!(check_calls(b"cevil\nFloatStorage\n.").unwrap_err().contains("'evil.FloatStorage'"));
    }

    #[test]
    fn what_cannot_be_followed_is_refused() {
        for pickle in
            [&b""[..], b"}", b"X\xff\xff\xff\xff", b"cposix\nsystem", b"ios\nsystem\n.", b"\x82\x01.", b"\x93."]
        {
            assert!(check_calls(pickle).is_err(), "{pickle:?}");
        }
    }
}
