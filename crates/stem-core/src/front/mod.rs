//! What stands before every model: it makes other embeddings of the embeddings of a group, as many and as wide, so that a model reads
//! them as it reads plain ones.
//!
//! ```text
//! x_0 = the fields' embeddings, histories as what is read of them by attention      interest.rs
//!       and numbers with soft buckets beside them                                   numbers.rs
//! x_1 = x_0 * the gate of the row's domain                                          domain.rs
//! x_2 = cross(x_1) + fm(x_1)                                                        cross.rs, fm.rs; x_1 where there is none
//! x   = x_2 * its own gate                                                          feature_gate.rs
//! ```
//!
//! The domain may gate the towers too (towers.rs), which read what comes out of the model's experts.
//!
//! Every embedding group has parts of its own: in STEM a task attends, is gated and crosses with what it knows of a row, and the shared
//! embedding with what all know.

#[macro_use]
mod keys;
mod block;
mod cross;
mod domain;
mod feature_gate;
mod fm;
mod interest;
mod numbers;
mod towers;

pub use block::{Block, BlockConfig};
pub use cross::{Cross, CrossConfig};
pub use domain::{Domain, DomainConfig};
pub use feature_gate::{FeatureGate, FeatureGateConfig};
pub use fm::{Fm, FmConfig};
pub use interest::{Interest, InterestConfig, Positions};
pub use numbers::{Numbers, NumbersConfig};
pub use towers::{TowerGates, TowerPlan};

pub(crate) use keys::{WithoutFront, Written};

use burn::module::Module;
use burn::tensor::Device;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use serde::de::MapAccess;

use crate::embedding::Pooled;
use crate::error::{Result, require};
use crate::schema::Schema;
use crate::size::NetworkSize;

/// What stands before a model, by the keys that every model has; nothing by default.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct FrontConfig {
    /// Histories that are attended in the place of their bags.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interest: Option<InterestConfig>,
    /// Soft buckets of numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub numbers: Option<NumbersConfig>,
    /// The field whose values gate the embeddings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domain: Option<DomainConfig>,
    /// Crosses of features before the experts.
    #[serde(skip_serializing_if = "CrossConfig::is_none")]
    pub cross: CrossConfig,
    /// Products of pairs of features, beside them.
    #[serde(skip_serializing_if = "FmConfig::is_none")]
    pub fm: FmConfig,
    /// Gates on what the model reads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub feature_gate: Option<FeatureGateConfig>,
}

impl FrontConfig {
    /// The keys that every model has, and that are written only where they are set.
    pub const KEYS: [&str; 6] = ["interest", "numbers", "domain", "cross", "fm", "feature_gate"];

    /// Reads the value of one of the [`KEYS`](Self::KEYS).
    fn read<'de, A: MapAccess<'de>>(&mut self, key: &str, values: &mut A) -> std::result::Result<(), A::Error> {
        match key {
            "interest" => self.interest = values.next_value()?,
            "numbers" => self.numbers = values.next_value()?,
            "domain" => self.domain = values.next_value()?,
            "cross" => self.cross = values.next_value()?,
            "fm" => self.fm = values.next_value()?,
            "feature_gate" => self.feature_gate = values.next_value()?,
            other => unreachable!("`{other}` is no key of what stands before a model"),
        }
        Ok(())
    }

    /// Which of the [`KEYS`](Self::KEYS) are there.
    fn parts(&self) -> [bool; 6] {
        let Self { interest, numbers, domain, cross, fm, feature_gate } = self;
        let gated = feature_gate.is_some();
        [interest.is_some(), numbers.is_some(), domain.is_some(), !cross.is_none(), !fm.is_none(), gated]
    }

    /// Whether nothing stands before the model.
    pub fn is_none(&self) -> bool {
        self.parts().iter().all(|there| !there)
    }

    /// Refuses absurd sizes, fields that are not there, and groups of different widths.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) naming the key.
    pub(crate) fn check(&self, schema: &Schema, widths: &[usize]) -> Result<()> {
        if self.is_none() {
            return Ok(());
        }
        let key =
            Self::KEYS.into_iter().zip(self.parts()).find_map(|(key, holds)| holds.then_some(key)).unwrap_or("cross");
        let alike = widths.iter().all(|width| *width == widths[0]);
        require(key, "embeddings of different widths", "one width for all of them: leave shared_dim out", alike)?;
        self.interest.as_ref().map_or(Ok(()), |interest| interest.check(schema, widths[0]))?;
        self.numbers.as_ref().map_or(Ok(()), |numbers| numbers.check(schema))?;
        self.domain.as_ref().map_or(Ok(()), |domain| domain.check(schema))?;
        self.feature_gate.map_or(Ok(()), |gate| gate.check())?;
        self.cross.check()
    }

    /// The domain, where it gates towers.
    pub(crate) fn of_towers(&self) -> Option<&DomainConfig> {
        self.domain.as_ref().filter(|domain| domain.towers)
    }

    /// What `widths`, groups of one width, add to a network before the model.
    pub(crate) fn size(&self, schema: &Schema, widths: &[usize]) -> NetworkSize {
        let Some(&dim) = widths.first().filter(|_| !self.is_none()) else { return NetworkSize::default() };
        let (groups, input) = (widths.len(), schema.fields.len() * dim);
        let interest = self.interest.as_ref().map(|interest| interest.size(schema, groups, dim));
        let numbers = self.numbers.as_ref().map(|numbers| numbers.size(schema, groups, dim));
        let domain = self.domain.as_ref().map(|domain| domain.size(groups, dim, input));
        let gate = self.feature_gate.map(|gate| gate.size(groups, input));
        let combined = self.cross.size(groups, input) + self.fm.size(groups, dim, input);
        let embeddings = NetworkSize { parameters: 0, activations: (groups as u64).saturating_mul(input as u64) };
        interest.into_iter().chain(numbers).chain(domain).chain(gate).sum::<NetworkSize>() + combined + embeddings
    }

    /// Draws the parts.
    ///
    /// # Panics
    /// May, where the check of the configuration refuses.
    pub fn init(&self, schema: &Schema, widths: &[usize], rng: &mut ChaCha8Rng, device: &Device) -> Front {
        let (groups, dim) = (widths.len(), widths.first().copied().unwrap_or(0));
        let input = schema.fields.len() * dim;
        Front {
            cross: self.cross.init(groups, input, rng, device),
            fm: self.fm.init(groups, dim, input, rng, device),
            interest: self.interest.as_ref().map(|interest| interest.init(schema, groups, dim, rng, device)),
            domain: self.domain.as_ref().and_then(|domain| domain.init(schema, groups, dim, rng, device)),
            numbers: self.numbers.as_ref().map(|numbers| numbers.init(schema, groups, dim, rng, device)),
            feature_gate: self.feature_gate.map(|gate| gate.init(groups, input, rng, device)),
        }
    }
}

/// The parts that stand before a model.
#[derive(Module, Debug)]
pub struct Front {
    interest: Option<Interest>,
    numbers: Option<Numbers>,
    domain: Option<Domain>,
    cross: Option<Cross>,
    fm: Option<Fm>,
    feature_gate: Option<FeatureGate>,
}

impl Front {
    /// What the model reads in the place of plain embeddings.
    pub fn forward(&self, x: Pooled) -> Pooled {
        let Self { interest, numbers, domain, cross, fm, feature_gate } = self;
        let are_plain = interest.is_none() && numbers.is_none() && domain.is_none();
        if are_plain && cross.is_none() && fm.is_none() && feature_gate.is_none() {
            return x;
        }
        let x0 = match interest {
            Some(interest) => interest.forward(&x),
            None => x.stack(0..x.groups()),
        }; // [G, B, F * D]
        let x0 = match numbers {
            Some(numbers) => numbers.forward(x0, &x),
            None => x0,
        };
        let x1 = match domain {
            Some(domain) => domain.forward(x0),
            None => x0,
        };
        let crossed = cross.as_ref().map(|cross| cross.forward(x1.clone()));
        let combined = match fm {
            Some(fm) => fm.forward(x1, crossed),
            None => crossed.unwrap_or(x1),
        };
        x.read_as(match feature_gate {
            Some(gate) => gate.forward(combined),
            None => combined,
        })
    }
}
