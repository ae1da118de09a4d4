//! How long an exchange of so many bytes takes, from each rank to each other: what a wire does to messages, without any training.
//!
//! ```sh
//! mpirun -n 2 target/release/examples/exchange_time 1 16384 400000
//! ```
//!
//! Rank 0 prints a line for each length: bytes, and seconds of an exchange, the median over twenty stretches of ten. One exchange alone says little: where one rank is ahead by as much
//! as a message is under way, of every two one takes nothing and the other twice its time.

use std::time::Instant;

use stem_data::ranks::Ranks;
use stem_mpi::Mpi;

const STRETCHES: usize = 20;
const TIMES: u32 = 10;

fn main() {
    let Some(ranks) = Mpi::join() else { panic!("MPI takes no calls from threads") };
    let lengths = std::env::args().skip(1).map(|arg| arg.parse::<usize>().expect("lengths are numbers of bytes"));
    for length in lengths {
        let exchange = || {
            let heard = ranks.exchange(vec![vec![1; length]; ranks.ranks()]);
            assert!(heard.iter().all(|part| part.len() == length));
        };
        exchange(); // the first one connects
        let stretch = |_| {
            let begun = Instant::now();
            (0..TIMES).for_each(|_| exchange());
            (begun.elapsed() / TIMES).as_secs_f64()
        };
        let mut seconds: Vec<f64> = (0..STRETCHES).map(stretch).collect();
        seconds.sort_by(f64::total_cmp);
        if ranks.is_first() {
            println!("{length} {}", seconds[STRETCHES / 2]);
        }
    }
}
