//! Turns DLIO YAML and Hydra-style overrides into one validated [`Workload`].
//!
//! The crate maps text to values: it reads no file, no environment variable and no clock.

mod assemble;
pub mod bundled;
mod check;
pub mod dialect;
mod document;
pub mod endpoints;
mod error;
mod fields;
mod former;
pub mod hydra;
mod hydra_value;
mod identity;
mod idle;
mod inspect;
mod interpolate;
mod load;
pub mod location;
mod nearest;
mod notice;
mod overrides;
pub mod reference;
mod row_groups;
mod scalar;
mod schema;
mod similar;
mod tensor;
pub mod time;
mod truth;
mod units;
pub mod vocabulary;
pub mod workload;
mod yaml;

pub use error::{Error, Place, Problem};
pub use identity::{CoreConfig, CoreKeys};
pub use load::{Loaded, Source, env_names, load};
pub use nearest::key as nearest_key;
pub use notice::{Notice, NoticeCode, Severity};
pub use overrides::{Override, without_secret};
pub use row_groups::RowGroupReader;
pub use schema::{has_key, is_section};
pub use similar::word as nearest_word;
pub use tensor::Tensor;
pub use workload::Workload;
