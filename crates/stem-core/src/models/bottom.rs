//! Sizes of the models that are bottoms and towers alone: SharedBottom and Single-task.

use serde::{Deserialize, Serialize};

use super::{NetworkSize, check_size, check_widths, last};
use crate::error::Result;
use crate::front::FrontConfig;
use crate::mlp::{HiddenConfig, MlpShape};
use crate::schema::Schema;
use crate::tower::Towers;

/// Bottoms under towers; the defaults match the paper's experts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, remote = "Self")]
pub struct BottomSizes {
    /// `D`, width of an embedding.
    pub dim: usize,
    /// Widths of a bottom; the last is `H`.
    pub bottom: Vec<usize>,
    /// Hidden widths of every tower.
    pub tower: Vec<usize>,
    /// What follows each hidden linear map.
    pub hidden: HiddenConfig,
    /// What stands before the model, by keys among these; nothing by default.
    #[serde(skip)]
    pub front: FrontConfig,
}

keys_with_front!(BottomSizes);

impl Default for BottomSizes {
    fn default() -> Self {
        Self {
            dim: 16,
            bottom: vec![512, 512, 512],
            tower: vec![128, 64],
            hidden: HiddenConfig::default(),
            front: FrontConfig::default(),
        }
    }
}

impl BottomSizes {
    /// Refuses sizes of 0, or absurd ones.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) naming the key.
    pub fn check(&self) -> Result<()> {
        check_size("dim", self.dim, 1)?;
        check_widths("bottom", &self.bottom, 1)?;
        check_widths("tower", &self.tower, 0)?;
        self.hidden.check()
    }

    /// `members` bottoms, each on one embedding of every field.
    pub fn bottoms(&self, members: usize, schema: &Schema) -> MlpShape<'_> {
        let input = schema.fields.len() * self.dim;
        MlpShape { members, input, widths: &self.bottom, output: None, hidden: &self.hidden }
    }

    /// A tower per task.
    pub fn towers(&self, schema: &Schema) -> MlpShape<'_> {
        Towers::shape(&schema.tasks, last(&self.bottom), &self.tower, &self.hidden)
    }

    pub(crate) fn size(&self, members: usize, schema: &Schema) -> NetworkSize {
        self.bottoms(members, schema).size() + self.towers(schema).size()
    }
}
