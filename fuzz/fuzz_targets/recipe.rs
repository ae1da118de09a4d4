//! Any text as a recipe: a recipe, or what is wrong with it and where.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stem_data::{Error, Recipe};

fuzz_target!(|text: &str| match Recipe::parse(text, "recipe.toml") {
    Ok(_) => {}
    Err(Error::Recipe { faults, .. }) => assert!(!faults.is_empty()),
    Err(other) => panic!("{other}"),
});
