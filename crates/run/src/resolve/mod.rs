//! Resolves the options and the configuration of a run: environment, settings, endpoints, credentials.

pub mod aws_profile;
pub mod config_source;
pub mod connections;
pub mod credentials;
pub mod endpoints;
pub mod environment;
pub mod ineffective_keys;
pub mod location;
pub mod renewal;
pub mod resolved_run;
pub mod setting_sources;
pub mod settings;
pub mod suggest;
pub mod threads;
pub mod wire_path;
