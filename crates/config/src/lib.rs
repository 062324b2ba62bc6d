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
pub mod hydra;
mod hydra_value;
mod identity;
mod inactive_keys;
mod inspect;
mod interpolate;
mod key_suggestions;
mod legacy_keys;
mod load;
pub mod location;
mod notice;
mod overrides;
mod python_bool;
pub mod reference;
mod row_groups;
mod scalar;
mod schema;
mod similar_words;
mod tensor;
pub mod time;
mod units;
pub mod vocabulary;
pub mod workload;
mod yaml;

pub use error::{Error, Place, Problem};
pub use identity::{CoreConfig, CoreKeys};
pub use key_suggestions::key as nearest_key;
pub use load::{Loaded, Source, env_names, load};
pub use notice::{Notice, NoticeCode, Severity};
pub use overrides::{Override, without_secret};
pub use row_groups::RowGroupReader;
pub use schema::{has_key, is_section};
pub use similar_words::word as nearest_word;
pub use tensor::Tensor;
pub use workload::Workload;
