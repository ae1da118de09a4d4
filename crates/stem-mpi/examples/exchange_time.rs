//! How long an exchange of so many bytes takes, from each rank to each other: what a wire does to messages, without any training.
//!
//! ```sh
//! mpirun -n 2 target/release/examples/exchange_time 1 16384 400000
//! ```
//!
//! Rank 0 prints a line for each length: bytes, and the median of a hundred exchanges in seconds.

use std::time::Instant;

use stem_data::ranks::Ranks;
use stem_mpi::Mpi;

const TIMES: usize = 100;

fn main() {
    let Some(ranks) = Mpi::join() else { panic!("MPI takes no calls from threads") };
    let lengths = std::env::args().skip(1).map(|arg| arg.parse::<usize>().expect("lengths are numbers of bytes"));
    for length in lengths {
        let mut seconds: Vec<f64> = (0..TIMES)
            .map(|_| {
                let parts = vec![vec![1; length]; ranks.ranks()];
                let begun = Instant::now();
                let heard = ranks.exchange(parts);
                assert!(heard.iter().all(|part| part.len() == length));
                begun.elapsed().as_secs_f64()
            })
            .collect();
        seconds.sort_by(f64::total_cmp);
        if ranks.is_first() {
            println!("{length} {}", seconds[TIMES / 2]);
        }
    }
}
