//! The processes that `mpirun` has started, of which this may be one.

use std::thread::sleep;
use std::time::Duration;

use stem_train::ranks::Team;

use crate::cli::Command;
use crate::console::{Result, with_causes};
use crate::exit::Exit;

/// What those who start MPI jobs say to a process of how many it is one: Open MPI, MPICH, and Slurm's PMI.
const SIZES: [&str; 2] = ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE"];

/// How many processes this one was started with.
fn started() -> usize {
    let of = |name: &&str| std::env::var(name).ok()?.parse().ok();
    SIZES.iter().find_map(of).unwrap_or(1)
}

/// Joins the others, where there are any.
///
/// # Errors
/// A subcommand that is one process's, and a program that was built without MPI.
pub(crate) fn join(command: &Command) -> Result<Team> {
    let count = started();
    if count <= 1 {
        return Ok(Team::default());
    }
    if !matches!(command, Command::Train(_)) {
        return Err(format!(
            "{count} processes were started, and only `stem train` is for several: start it alone, without mpirun"
        )
        .into());
    }
    join_job(count)
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
            "{count} processes were started, and MPI knows of {}: is `mpirun` of the MPI that stem was built with?",
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

/// What a rank has to say of its error. What all of them have to say, the first says: the others wait a moment, in which it ends them.
pub(crate) fn with_rank(ranks: &Team, done: Result) -> Result {
    done.map_err(|error| match ranks.is_first() {
        true => error,
        false => {
            sleep(Duration::from_millis(700));
            format!("rank {}: {}", ranks.rank(), with_causes(error.as_ref())).into()
        }
    })
}

/// Ends all ranks where this one could not do its part; else the others would wait for it for ever.
pub(crate) fn leave(ranks: &Team, exit: Exit) {
    #[cfg(feature = "mpi")]
    if ranks.is_several() && !matches!(exit, Exit::Done | Exit::Interrupted) {
        stem_mpi::end_job(exit as u8);
    }
    #[cfg(not(feature = "mpi"))]
    let _ = (ranks, exit);
}
