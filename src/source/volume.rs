//! A volume of a container engine.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::Line;

/// A container engine's volume. Where its files lie is asked of the engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Volume {
    /// The engine that keeps it: `docker` or `podman`.
    pub engine: Engine,
    /// The volume's name, as the engine lists it.
    pub name: Line,
}

/// What runs containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Engine {
    /// Docker.
    Docker,
    /// Podman.
    Podman,
}
