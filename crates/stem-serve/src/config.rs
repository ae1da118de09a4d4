//! How a server behaves: limits, batches, who is asked, who watches.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::str::FromStr;
use std::thread::available_parallelism;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use stem_core::ValueRef;
use stem_core::bundle::Verify;

use crate::error::{Error, Result};
use crate::token::Token;

/// All settings of a server.
///
/// ```
/// use std::time::Duration;
/// use stem_serve::ServeConfig;
///
/// let mut config = ServeConfig::default();
/// config.batch.wait = Duration::from_millis(2);
/// config.limits.rows = 500;
/// config.check()?;
/// # Ok::<(), stem_serve::Error>(())
/// ```
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ServeConfig {
    /// What a request may cost.
    pub limits: Limits,
    /// How requests are put together.
    pub batch: Batching,
    /// Models that score the requests of another model too, by the name of that other one: differences are counted, never answered.
    pub shadow: BTreeMap<String, String>,
    /// Which model answers requests that name none.
    pub split: Option<Split>,
    /// How often files are looked at for a newer bundle; `None` never.
    pub watch: Option<Duration>,
    /// How much of a bundle is checked before it serves. With [`Verify::Full`] a bundle is served from a private copy of its file, which
    /// nobody else can change; otherwise from the file itself, which may be replaced by renaming another into its place and never be written
    /// to or cut.
    pub verify: Verify,
    /// Who may score. Without one, everybody.
    #[serde(skip)]
    pub token: Option<Token>,
    /// Who may swap models. Without one, nobody.
    #[serde(skip)]
    pub admin_token: Option<Token>,
}

/// What a request may cost.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of a request's body.
    pub body_bytes: usize,
    /// Bytes of a bundle that is sent.
    pub bundle_bytes: usize,
    /// Rows of a request.
    pub rows: usize,
    /// Lists and objects inside each other; a row with a list is 4 deep.
    pub depth: usize,
    /// Time in which the head of a request has to arrive, and again its body.
    pub read: Duration,
    /// Time in which a bundle that is sent has to arrive.
    pub upload: Duration,
    /// Time in which a request that was read has to be answered.
    pub answer: Duration,
    /// Connections at a time; more wait until one is closed.
    pub connections: usize,
    /// Time that a stop takes at most; connections that are then still open are closed.
    pub stop: Duration,
    /// Time in which a stopping server says that it is not ready and still takes requests, for balancers to notice.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 4 << 20,
            bundle_bytes: 4 << 30,
            rows: 10_000,
            depth: 8,
            read: Duration::from_secs(10),
            upload: Duration::from_secs(600),
            answer: Duration::from_secs(10),
            connections: 1024,
            stop: Duration::from_secs(30),
            drain: Duration::ZERO,
        }
    }
}

/// How requests are put together.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Batching {
    /// How long the first request of a batch waits for others.
    pub wait: Duration,
    /// Rows with which a batch does not wait any longer.
    pub rows: usize,
    /// Rows that wait at most; a request beyond is refused with 503.
    pub queue_rows: usize,
    /// Threads that score.
    pub workers: usize,
}

impl Default for Batching {
    fn default() -> Self {
        let workers = available_parallelism().map_or(1, NonZeroUsize::get);
        Self { wait: Duration::from_millis(1), rows: 4096, queue_rows: 65_536, workers }
    }
}

/// Which model answers requests that name none: by the value of a column, so that a user always has the same one.
///
/// ```
/// use stem_serve::Split;
/// let split: Split = "user:new=10,old=90".parse()?;
/// assert_eq!((split.column.as_str(), split.shares.len()), ("user", 2));
/// # Ok::<(), stem_serve::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Split {
    /// The column.
    pub column: String,
    /// Models and how many of all values each has, in parts of the sum.
    pub shares: Vec<(String, u32)>,
}

impl Split {
    /// The model of a value. A number and its digits as text are one value.
    pub fn choose<'v>(&self, value: impl Into<ValueRef<'v>>) -> &str {
        let text = match value.into() {
            ValueRef::Text(text) => text.to_string(),
            ValueRef::Unsigned(value) => value.to_string(),
            value => value.to_string(),
        };
        let all: u64 = self.shares.iter().map(|(_, share)| u64::from(*share)).sum();
        let mut place = xxhash_rust::xxh3::xxh3_64(text.as_bytes()) % all.max(1);
        for (name, share) in &self.shares {
            match place.checked_sub(u64::from(*share)) {
                Some(left) => place = left,
                None => return name,
            }
        }
        self.shares.last().map_or("", |(name, _)| name)
    }
}

impl FromStr for Split {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || Error::Setting {
            key: "split".into(),
            found: text.into(),
            expected: "COLUMN:NAME=SHARE,NAME=SHARE, e.g. user:new=10,old=90".into(),
        };
        let (column, shares) = text.split_once(':').ok_or_else(wrong)?;
        let share = |part: &str| {
            let (name, share) = part.split_once('=')?;
            Some((name.trim().to_string(), share.trim().parse().ok()?))
        };
        let shares: Vec<(String, u32)> = shares.split(',').map(share).collect::<Option<_>>().ok_or_else(wrong)?;
        Ok(Self { column: column.trim().into(), shares })
    }
}

impl ServeConfig {
    /// Refuses settings with which nothing can be answered.
    ///
    /// # Errors
    /// [`Error::Setting`] naming the setting.
    pub fn check(&self) -> Result<()> {
        let Limits { rows, depth, body_bytes, connections, read, answer, .. } = &self.limits;
        let Batching { rows: batch_rows, queue_rows, workers, wait } = &self.batch;
        let refuse = |key: &str, found: String, expected: &str| {
            Err(Error::Setting { key: key.into(), found, expected: expected.into() })
        };
        let least = [
            ("limits.rows", *rows),
            ("limits.body_bytes", *body_bytes),
            ("limits.connections", *connections),
            ("batch.rows", *batch_rows),
            ("batch.workers", *workers),
        ];
        if let Some((key, found)) = least.into_iter().find(|(_, found)| *found == 0) {
            return refuse(key, found.to_string(), "1 or more");
        }
        if !(4..=100).contains(depth) {
            return refuse("limits.depth", depth.to_string(), "4 to 100: a row with a list is 4 deep");
        }
        if queue_rows < rows {
            return refuse(
                "batch.queue_rows",
                queue_rows.to_string(),
                "at least limits.rows: the largest request has to fit",
            );
        }
        if *workers > 1024 {
            return refuse("batch.workers", workers.to_string(), "at most 1024");
        }
        if read.is_zero() || answer.is_zero() {
            return refuse("limits.read, limits.answer", "0".into(), "a time");
        }
        if wait >= answer {
            return refuse("batch.wait", format!("{wait:?}"), "less than limits.answer");
        }
        match &self.split {
            Some(split) if split.shares.iter().all(|(_, share)| *share == 0) => {
                refuse("split", format!("{:?}", split.shares), "shares of which one is more than 0")
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_split_gives_every_value_one_model_in_about_the_shares_asked_for() {
        let split: Split = "user:new=10,old=90".parse().unwrap();
        let new = (0..10_000i64).filter(|user| split.choose(*user) == "new").count();
        assert!((900..1100).contains(&new), "{new} of 10000");
        assert!((0..100i64).all(|user| split.choose(user) == split.choose(user.to_string().as_str())));
        for text in ["user", "user:new", "user:new=x", "user:new=-1"] {
            assert!(text.parse::<Split>().unwrap_err().to_string().contains("COLUMN:NAME=SHARE"), "{text}");
        }
    }

    #[test]
    fn settings_with_which_nothing_can_be_answered_are_named() {
        let refused = |change: &dyn Fn(&mut ServeConfig)| {
            let mut config = ServeConfig::default();
            change(&mut config);
            config.check().unwrap_err().to_string()
        };
        ServeConfig::default().check().unwrap();
        assert!(refused(&|c| c.batch.workers = 0).contains("`batch.workers` is 0, expected 1 or more"));
        assert!(refused(&|c| c.batch.queue_rows = 1).contains("`batch.queue_rows` is 1"));
        assert!(refused(&|c| c.limits.depth = 3).contains("`limits.depth` is 3"));
        assert!(refused(&|c| c.batch.wait = Duration::from_secs(60)).contains("less than limits.answer"));
        assert!(refused(&|c| c.split = "user:a=0".parse().ok()).contains("more than 0"));
    }
}
