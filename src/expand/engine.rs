//! The pinned restic.

use super::{Declared, Expanded, schedules::take};
use crate::{
    model::{BadText, FetchUrl, Release, Scope},
    resource::Engine,
    state::State,
};

pub(super) fn add(state: &State, scope: &Scope, expanded: &mut Expanded) {
    let Some(pin) = &state.restic else { return };
    let url = pin.url.clone().map_or_else(|| published(pin.version), Ok);
    let engine = url.and_then(|url| Engine::new(pin.version, pin.sha256.clone(), url, scope));
    take(expanded, "restic", engine.map(Declared::plain));
}

/// Returns where restic publishes a version for machines like this one.
///
/// # Errors
///
/// Never, as long as a version is three numbers.
pub fn published(version: Release) -> Result<FetchUrl, BadText> {
    // As Go calls them.
    let architecture = match () {
        () if cfg!(target_arch = "aarch64") => "arm64",
        () if cfg!(target_arch = "arm") => "arm",
        () if cfg!(target_arch = "x86") => "386",
        () if cfg!(target_arch = "riscv64") => "riscv64",
        () if cfg!(target_arch = "powerpc64") => "ppc64le",
        () if cfg!(target_arch = "s390x") => "s390x",
        () => "amd64",
    };
    let releases = "https://github.com/restic/restic/releases/download";
    format!("{releases}/v{version}/restic_{version}_linux_{architecture}.bz2").parse()
}
