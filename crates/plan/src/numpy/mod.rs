//! numpy's legacy random generator (`numpy.random.seed` and friends), bit for bit.
//!
//! The reference draws its shuffles, its record sizes and its emulated computation times from it, so whoever wants the
//! reference's sample order must draw from the same stream. Never use it for anything new: `crate::stream` is for that.

mod distribution;
mod mt19937;
mod prefetch;

pub use mt19937::Mt19937;
