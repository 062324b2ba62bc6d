//! Resolves the options and the configuration of a run: environment, settings, endpoints, credentials.

pub mod aws_profile;
pub mod connections;
pub mod credentials;
pub mod endpoints;
pub mod environment;
pub mod location;
pub mod places;
pub mod renewal;
pub mod request;
pub mod settings;
pub mod source;
pub mod suggest;
pub mod threads;
pub mod unheeded;
pub mod wire_path;
