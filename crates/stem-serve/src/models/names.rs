//! Names of models: those of their files.

use std::path::Path;

use crate::refusal::Refusal;

/// The ending of a bundle's file.
pub(super) const ENDING: &str = "safetensors";

/// The model that a file is: its name without the ending. None of other files.
pub(crate) fn name_of(path: &Path) -> Option<String> {
    let is_bundle = path.extension().is_some_and(|ending| ending == ENDING);
    let name = path.file_stem()?.to_str()?;
    (is_bundle && check_name(name).is_ok()).then(|| name.to_string())
}

/// Refuses what cannot be a model's name.
pub(crate) fn check_name(name: &str) -> Result<(), Refusal> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if (1..=64).contains(&name.len()) && name.bytes().all(is_plain) && !name.starts_with('.') {
        return Ok(());
    }
    Err(Refusal::Name { name: crate::refusal::shortened(name.into()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_a_model_by_its_name_and_names_lead_nowhere_else() {
        assert_eq!(name_of(Path::new("models/shop-v2.1.safetensors")).as_deref(), Some("shop-v2.1"));
        for path in ["models/shop", "models/shop.json", "models/.hidden.safetensors", "models/a b.safetensors"] {
            assert_eq!(name_of(Path::new(path)), None, "{path}");
        }
        for name in ["", "..", ".a", "a/b", "a\\b", "a\0", &"x".repeat(65)] {
            assert!(check_name(name).is_err(), "{name}");
        }
        check_name("A-z_0.9").unwrap();
    }
}
