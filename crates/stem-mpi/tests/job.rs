//! The body of the ranks that MPI carries, held to what the trait says. Each test starts itself again under `mpirun`, with 2 and with 3 ranks.
#![cfg(feature = "mpi")]
#![allow(clippy::unwrap_used)]

use std::process::Command;

use stem_data::ranks::Ranks;
use stem_mpi::Mpi;

/// Runs one test of this program as a job of so many ranks; gives its exit code and what was printed.
fn job(test: &str, ranks: usize) -> (Option<i32>, String) {
    let output = Command::new("mpirun")
        .args(["--allow-run-as-root", "--oversubscribe", "-n", &ranks.to_string()])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads", "1"])
        .env("STEM_TEST_JOB", "1")
        .output()
        .expect("mpirun is there");
    let printed = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    (output.status.code(), printed)
}

fn is_rank() -> bool {
    std::env::var_os("STEM_TEST_JOB").is_some()
}

#[test]
fn what_one_rank_sends_another_is_what_that_one_is_sent_in_however_many_pieces() {
    if !is_rank() {
        for ranks in [1, 2, 3] {
            let (code, printed) =
                job("what_one_rank_sends_another_is_what_that_one_is_sent_in_however_many_pieces", ranks);
            assert_eq!(code, Some(0), "{ranks} ranks: {printed}");
        }
        return;
    }
    let mut mpi = Mpi::join().unwrap();
    assert!(Mpi::join().is_none(), "a process joins once");
    for piece in [usize::MAX, 7, 1] {
        mpi = mpi.in_pieces_of(piece);
        let (own, count) = (mpi.rank(), mpi.ranks());
        // lengths of 0 to 40, other ones in every round and for every pair; in every third round the last rank says nothing, and hears nothing
        let message = |round: usize, from: usize, to: usize| {
            if round.is_multiple_of(3) && from.max(to) == count - 1 {
                return Vec::new();
            }
            let mixed = (round * 31 + from * 7 + to * 3 + 1).wrapping_mul(2_654_435_761);
            (0..mixed % 41).map(|at| (mixed >> 8 ^ at) as u8).collect::<Vec<u8>>()
        };
        for round in 0..50 {
            let before = mpi.sent();
            let parts: Vec<Vec<u8>> = (0..count).map(|to| message(round, own, to)).collect();
            let others: usize = parts.iter().enumerate().filter(|(to, _)| *to != own).map(|(_, part)| part.len()).sum();
            let expected: Vec<Vec<u8>> = (0..count).map(|from| message(round, from, own)).collect();
            assert_eq!(mpi.exchange(parts.clone()), expected, "round {round} in pieces of {piece}");
            assert_eq!(mpi.sent() - before, others as u64);
            // the same beside other exchanges, which take nothing of it and of which it takes nothing
            let work = || {
                for (from, said) in mpi.gather_all(&[own as u8, round as u8]).iter().enumerate() {
                    assert_eq!(*said, [from as u8, round as u8]);
                }
            };
            assert_eq!(
                mpi.exchange_while(parts, Box::new(work)),
                expected,
                "round {round} in pieces of {piece}, beside"
            );
        }
        assert_eq!(mpi.broadcast(vec![own as u8 + 5]), [5]);
        assert_eq!(mpi.gather_all(&[own as u8]), (0..count).map(|rank| vec![rank as u8]).collect::<Vec<_>>());
        assert_eq!(mpi.gather(vec![own as u8]).len(), if own == 0 { count } else { 0 });
        mpi.barrier();
    }
}

#[test]
fn a_rank_that_ends_the_job_ends_it_on_all() {
    if !is_rank() {
        let (code, printed) = job("a_rank_that_ends_the_job_ends_it_on_all", 2);
        assert_eq!(code, Some(3), "{printed}");
        return;
    }
    let mpi = Mpi::join().unwrap();
    if mpi.rank() == 1 {
        stem_mpi::end_job(3);
    }
    mpi.barrier(); // for ever
}
