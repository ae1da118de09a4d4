//! The ranks of an MPI job, for `stem-data` and `stem-train`: communication, launch and discovery are MPI's work, what travels is theirs.
//!
//! The crate is empty without its feature `mpi`, for which an MPI (Open MPI or MPICH, with headers) and libclang must be there to build: a
//! machine without them builds everything else. No type of MPI leaves it.
//!
//! A call that fails, or a rank that is lost, ends the job on all ranks, as MPI does.

#[cfg(feature = "mpi")]
mod job;

#[cfg(feature = "mpi")]
pub use job::{Mpi, end_job};
