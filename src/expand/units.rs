//! What is started when it is time, by systemd: a timer and a service each.

use super::{Expanded, schedules::Timed};
use crate::{model::Scope, state::State};

/// Declares the timers and services.
pub(super) fn add(_state: &State, _all: &[Timed], _scope: &Scope, _expanded: &mut Expanded) {}
