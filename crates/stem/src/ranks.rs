//! The processes that `mpirun` has started, of which this may be one.

use std::thread::sleep;
use std::time::Duration;

use stem_core::with_causes;
use stem_experiment::Hands;
use stem_train::ranks::Team;

use crate::cli::Command;
use crate::console::Result;
use crate::exit::Exit;

/// What those who start several processes say to each: how many there are, and which it is. Open MPI; MPICH and others that speak PMI; Slurm's `srun`
/// by itself.
const SAID: [[&str; 2]; 3] = [
    ["OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"],
    ["PMI_SIZE", "PMI_RANK"],
    ["SLURM_STEP_NUM_TASKS", "SLURM_PROCID"],
];

/// Which of the processes that were started together this one is; `said` gives what stands in the environment.
fn started(said: impl Fn(&str) -> Option<String>) -> Hands {
    let number = |name: &str| said(name)?.parse().ok();
    let of = |[ranks, rank]: &[&str; 2]| Some(Hands { ranks: number(ranks)?, rank: number(rank)? });
    SAID.iter().find_map(of).unwrap_or_default()
}

/// Joins the others, where there are any. Those of a training or a preparation speak to each other; those of a comparison meet in its folder, without MPI.
///
/// # Errors
/// A subcommand that is one process's, and a program that was built without MPI.
pub(crate) fn join(command: &Command) -> Result<(Team, Hands)> {
    let hands = started(|name| std::env::var(name).ok());
    let count = hands.ranks;
    if count <= 1 {
        return Ok((Team::default(), Hands::default()));
    }
    match command {
        Command::Train(_) | Command::Prepare(_) => Ok((join_job(count)?, Hands::default())),
        Command::Compare(_) => Ok((Team::default(), hands)),
        _ => Err(format!(
            "{count} processes were started, and only `stem prepare`, `stem train` and `stem compare` are for several: start it alone, without mpirun or srun"
        )
        .into()),
    }
}

#[cfg(feature = "mpi")]
fn join_job(count: usize) -> Result<Team> {
    let team = Team::new(
        stem_mpi::Mpi::join()
            .ok_or("MPI takes no calls from threads (MPI_THREAD_SERIALIZED): use an MPI that was built with threads")?,
    );
    match team.ranks() == count {
        true => Ok(team),
        false => Err(format!(
            "{count} processes were started, and MPI knows of {}: is `mpirun` of the MPI that stem was built with? By `srun` it is started with `--mpi=pmix` or `--mpi=pmi2`, whichever that MPI takes",
            team.ranks()
        )
        .into()),
    }
}

#[cfg(not(feature = "mpi"))]
fn join_job(count: usize) -> Result<Team> {
    Err(format!(
        "{count} processes were started, and this program was built without MPI: build it with `--features mpi`, or start it alone"
    )
    .into())
}

/// Time for the first rank to end the others, on a machine that has other work too.
const A_MOMENT: Duration = Duration::from_secs(2);

/// What a rank has to say of its error. What all of them have to say, the first says: the others wait a moment, in which it ends them.
pub(crate) fn with_rank(ranks: &Team, done: Result) -> Result {
    done.map_err(|error| match ranks.is_first() {
        true => error,
        false => {
            sleep(A_MOMENT);
            format!("rank {}: {}", ranks.rank(), with_causes(error.as_ref())).into()
        }
    })
}

/// Ends all ranks where this one could not do its part; else the others would wait for it for ever. A rank that was asked to stop has done its
/// part where it `failed` at nothing: all of them stop at the same step.
pub(crate) fn leave(ranks: &Team, exit: Exit, failed: bool) {
    #[cfg(feature = "mpi")]
    if ranks.is_several() && (failed || !matches!(exit, Exit::Done | Exit::Interrupted)) {
        stem_mpi::end_job(exit as u8);
    }
    #[cfg(not(feature = "mpi"))]
    let _ = (ranks, exit, failed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_knows_which_it_is_of_how_many_whoever_started_it() {
        let of = |said: &'static [(&str, &str)]| {
            started(|name| said.iter().find(|(own, _)| *own == name).map(|(_, value)| (*value).to_string()))
        };
        assert_eq!(of(&[]), Hands::default());
        let one_of_four = Hands { rank: 1, ranks: 4 };
        assert_eq!(of(&[("PMI_SIZE", "4"), ("PMI_RANK", "1")]), one_of_four);
        assert_eq!(of(&[("SLURM_STEP_NUM_TASKS", "4"), ("SLURM_PROCID", "1")]), one_of_four, "srun alone");
        let under_slurm = [
            ("SLURM_STEP_NUM_TASKS", "2"), // of the daemons that mpirun has started by srun
            ("SLURM_PROCID", "0"),
            ("OMPI_COMM_WORLD_SIZE", "4"),
            ("OMPI_COMM_WORLD_RANK", "1"),
        ];
        assert_eq!(
            started(|name| under_slurm.iter().find(|(own, _)| *own == name).map(|(_, v)| (*v).into())),
            one_of_four
        );
        assert_eq!(of(&[("SLURM_NTASKS", "8")]), Hands::default(), "a batch script, which is one process");
    }
}
