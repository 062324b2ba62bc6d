//! The legacy random generator of numpy (`numpy.random.seed` and related functions), bit for bit.
//!
//! The reference uses it for shuffles, record sizes and emulated computation times, so its sample order can only be
//! reproduced from the same stream. New code uses `dlio_event::mix` instead.

mod distribution;
mod mt19937;
mod prefetch;

pub use mt19937::Mt19937;
