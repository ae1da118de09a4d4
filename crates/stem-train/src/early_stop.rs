//! When to lower the rate and when to stop, decided by the monitored metric on the validation split.

use serde::{Deserialize, Serialize};

/// What to do after an evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The best so far: keep these weights.
    Better,
    /// No better.
    Worse,
    /// No better for `patience` evaluations in a row.
    Stop,
}

/// Counts evaluations without improvement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EarlyStop {
    patience: usize,
    best: Option<f64>,
    since: usize,
}

impl EarlyStop {
    /// Stops after `patience` evaluations in a row that are no better than the best.
    pub fn new(patience: usize) -> Self {
        Self { patience, best: None, since: 0 }
    }

    /// Evaluations in a row that were no better; `None` once it has stopped.
    pub fn since(&self) -> Option<usize> {
        (self.since < self.patience).then_some(self.since)
    }

    /// Takes the next evaluation. After the stop nothing is better. An undefined value (no validation rows, one class) counts as better: there is nothing to judge by.
    pub fn judge(&mut self, value: Option<f64>) -> Verdict {
        if self.since >= self.patience {
            return Verdict::Stop;
        }
        match (value, self.best) {
            (Some(value), Some(best)) if value <= best => {
                self.since += 1;
                if self.since >= self.patience { Verdict::Stop } else { Verdict::Worse }
            }
            _ => {
                self.best = value.or(self.best);
                self.since = 0;
                Verdict::Better
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stops_after_patience_evaluations_in_a_row_without_improvement() {
        let mut stop = EarlyStop::new(2);
        let seen: Vec<Verdict> = [0.6, 0.6, 0.7, 0.69, 0.7].into_iter().map(|v| stop.judge(Some(v))).collect();
        assert_eq!(seen, [Verdict::Better, Verdict::Worse, Verdict::Better, Verdict::Worse, Verdict::Stop]);
        assert_eq!(stop.judge(Some(0.9)), Verdict::Stop, "it has stopped");
    }

    #[test]
    fn without_a_value_the_latest_weights_are_kept() {
        let mut stop = EarlyStop::new(1);
        assert_eq!(stop.judge(None), Verdict::Better);
        assert_eq!(stop.judge(None), Verdict::Better);
    }
}
