//! What a training step costs over several machines, before they are there.
//!
//! ```text
//! step    = compute + wire + waiting
//! compute = rows of a rank x core-seconds a row / cores  +  its distinct rows x seconds a distinct row
//! wire    = bytes that a rank sends / bandwidth
//! waiting = waits x latency + exchanges x (ranks - 1) x seconds a message
//! ```
//!
//! The distinct rows of `n` draws from a field of `V` values of which value `k` has the probability `p_k ~ k^-s` are `sum_k 1 - (1 - p_k)^n`. A rank
//! draws for its part of the batch; a share of `(ranks - 1) / ranks` of its distinct rows lives elsewhere. It sends, for each of those, 8 bytes to ask for it and the
//! gradient; it is asked for as many rows as it asks for; of the network's gradients it sends and is sent the sums of a part.

/// What is trained.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Job {
    /// Rows of the table, the same number in every field.
    pub rows: f64,
    /// Fields, each with one value in a row of a batch.
    pub fields: f64,
    /// `s` of their values.
    pub exponent: f64,
    /// Floats of a row.
    pub width: f64,
    /// Parameters of the network.
    pub network: f64,
    /// Rows of a batch, of all ranks.
    pub batch: f64,
    /// Seconds that one core takes for a row of a batch.
    pub core_seconds: f64,
    /// Bytes of a number on the wire.
    pub bytes: f64,
}

/// Machines, all alike, each of which runs one rank.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Machines {
    /// How many.
    pub ranks: f64,
    /// Cores of each.
    pub cores: f64,
    /// Bytes a second that each sends while it is sent as many.
    pub bandwidth: f64,
    /// Seconds until the first byte is there.
    pub latency: f64,
    /// Seconds of the processor for a message to another rank.
    pub message: f64,
    /// Seconds of one thread for a distinct row that is asked for, sent, summed and put in its place.
    pub distinct: f64,
}

/// Exchanges of a step: ids, rows, gradients of rows, two for the network's gradients, one for the norm that is clipped.
const EXCHANGES: f64 = 6.0;

/// Those that a step waits for: the ids have travelled while the batch before was computed.
const WAITS: f64 = EXCHANGES - 1.0;

/// Rows or gradients for one rank that are more bytes than Open MPI sends unasked over TCP are announced and asked for before they go.
const UNASKED: f64 = 65536.0;

/// What a step takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// Seconds of forward, backward and update, and of handling rows.
    pub compute: f64,
    /// Seconds in which bytes travel.
    pub wire: f64,
    /// Seconds in which ranks wait for the first byte.
    pub waiting: f64,
    /// Bytes that a rank sends.
    pub sent: f64,
    /// Distinct rows of its part.
    pub distinct: f64,
}

impl Step {
    /// Seconds of all.
    pub fn seconds(&self) -> f64 {
        self.compute + self.wire + self.waiting
    }
}

/// A step of a job on some machines.
pub fn step(job: &Job, machines: &Machines) -> Step {
    let Machines { ranks, cores, bandwidth, latency, message, distinct: seconds } = *machines;
    let part = job.batch / ranks;
    let distinct = job.fields * distinct_rows(job.rows / job.fields, job.exponent, part);
    let elsewhere = (ranks - 1.0) / ranks;
    let of_rows = distinct * elsewhere * (8.0 + 2.0 * job.bytes * job.width);
    let of_network = 2.0 * job.bytes * job.network * elsewhere;
    let sent = of_rows + of_network;
    let several = if ranks > 1.0 { 1.0 } else { 0.0 };
    let message_bytes = distinct / ranks * job.bytes * job.width; // of rows to each rank, and of gradients
    let waits = if message_bytes > UNASKED { WAITS + 4.0 } else { WAITS };
    Step {
        compute: part * job.core_seconds / cores + several * distinct * seconds,
        wire: sent / bandwidth,
        waiting: several * (waits * latency + EXCHANGES * (ranks - 1.0) * message),
        sent,
        distinct,
    }
}

/// Bytes that a rank holds: table, Adam's two moments, its list of rows; with the learned prior how often each row of the whole table occurs.
pub fn bytes_held(job: &Job, ranks: f64, learned_prior: bool) -> f64 {
    let own = job.rows / ranks * (3.0 * 4.0 * job.width + 4.0);
    own + 3.0 * 4.0 * job.network + if learned_prior { 4.0 * job.rows } else { 0.0 }
}

/// Values that are summed one by one; those after them in stretches that grow by a hundredth.
const ONE_BY_ONE: usize = 10_000;

/// How many distinct values `draws` from `values` of which value `k` has a probability `~ k^-exponent` hold.
pub fn distinct_rows(values: f64, exponent: f64, draws: f64) -> f64 {
    let whole: f64 = stretches(values).map(|(k, count)| count * k.powf(-exponent)).sum();
    stretches(values)
        .map(|(k, count)| {
            let probability = k.powf(-exponent) / whole;
            count * -(draws * (-probability).ln_1p()).exp_m1() // 1 - (1 - p)^n
        })
        .sum()
}

/// Values from 1 on, each with how many it stands for.
fn stretches(values: f64) -> impl Iterator<Item = (f64, f64)> {
    let first = (values as usize).min(ONE_BY_ONE);
    let singles = (1..=first).map(|k| (k as f64, 1.0));
    let mut from = first as f64 + 1.0;
    singles.chain(std::iter::from_fn(move || {
        if from > values {
            return None;
        }
        let to = (from * 1.01).ceil().min(values + 1.0);
        let stretch = ((from * to).sqrt(), to - from);
        from = to;
        Some(stretch)
    }))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use rand::SeedableRng;
    use rand_distr::{Distribution, Zipf};

    use super::*;

    #[test]
    fn distinct_rows_are_as_many_as_are_drawn() {
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(1);
        for (values, exponent, draws) in [(1e3, 1.05, 2000), (1e6, 1.05, 4096), (1e6, 0.7, 30_000)] {
            let zipf = Zipf::new(values, exponent).expect("values and an exponent above 0");
            let drawn: HashSet<u64> = (0..draws).map(|_| zipf.sample(&mut random) as u64).collect();
            let found = distinct_rows(values, exponent, f64::from(draws));
            let ratio = found / drawn.len() as f64;
            assert!((0.97..1.03).contains(&ratio), "{values} {exponent} {draws}: {found}, drawn {}", drawn.len());
        }
    }

    #[test]
    fn one_machine_sends_nothing_and_half_floats_are_half_the_bytes_but_for_what_is_asked_for() {
        let job = Job {
            rows: 1e6,
            fields: 8.0,
            exponent: 1.05,
            width: 48.0,
            network: 1e5,
            batch: 4096.0,
            core_seconds: 9e-6,
            bytes: 4.0,
        };
        let of = |ranks| Machines { ranks, cores: 2.0, bandwidth: 125e6, latency: 1e-4, message: 1e-5, distinct: 2e-7 };
        let alone = step(&job, &of(1.0));
        assert_eq!((alone.sent, alone.wire, alone.waiting), (0.0, 0.0, 0.0));
        assert!((alone.seconds() - 4096.0 * 9e-6 / 2.0).abs() < 1e-12);
        let [whole, half] = [4.0, 2.0].map(|bytes| step(&Job { bytes, ..job }, &of(4.0)));
        let ids = whole.distinct * 0.75 * 8.0;
        assert!(((whole.sent - ids) / (half.sent - ids) - 2.0).abs() < 1e-9);
        // longer messages are asked for first, shorter ones go
        let waits = |ranks: f64| (step(&job, &of(ranks)).waiting - 6.0 * (ranks - 1.0) * 1e-5) / 1e-4;
        assert!((waits(4.0) - 9.0).abs() < 1e-9 && (waits(64.0) - 5.0).abs() < 1e-9);
        assert!(whole.sent > 0.75 * 8.0 * job.network, "the network's gradients are among them");
        assert!(bytes_held(&job, 4.0, true) - bytes_held(&job, 4.0, false) == 4e6);
    }
}
