//! What several tests need.
#![allow(dead_code)]

pub mod shared;

use std::path::PathBuf;

/// A folder with one table, `log.csv`, and a recipe over it.
pub struct Case {
    pub dir: tempfile::TempDir,
    pub recipe: String,
}

/// The recipe of [`Case::new`]: fields user, item and price, label click, split by a column.
pub const RECIPE: &str = r#"name = "case"
group = "user"

[[source]]
name = "log"
file = "log.csv"

[[field]]
column = "user"
kind = "category"

[[field]]
column = "item"
kind = "category"

[[field]]
column = "price"
kind = "number"

[[label]]
column = "click"

[split]
kind = "column"
column = "split"
"#;

/// A table that suits [`RECIPE`].
pub const LOG: &str = "user,item,price,click,split\n1,x,0.5,1,train\n2,y,1.5,0,train\n1,y,2,1,valid\n3,z,,0,test\n";

impl Case {
    pub fn new(log: impl AsRef<[u8]>, recipe: impl Into<String>) -> Self {
        let case = Case { dir: tempfile::tempdir().unwrap(), recipe: recipe.into() };
        std::fs::write(case.dir.path().join("log.csv"), log).unwrap();
        case
    }

    pub fn out(&self) -> PathBuf {
        self.dir.path().join("columns")
    }

    pub fn prepare(&self) -> stem_data::Result<stem_data::Dataset> {
        let recipe = stem_data::Recipe::parse(&self.recipe, "recipe.toml")?;
        stem_data::prepare(&recipe, self.dir.path(), &self.out(), &stem_data::PrepareOptions::default())
    }

    /// The message of the error and its causes, with the folder's name taken out.
    pub fn message(&self) -> String {
        let error = self.prepare().map(|_| ()).unwrap_err();
        let cause = std::error::Error::source(&error).map_or(String::new(), |cause| format!(": {cause}"));
        let message = format!("{error}{cause}");
        message.replace(&format!("{}/", self.dir.path().display()), "")
    }
}
