//! Picks the host, runs the verb, prints the error, exits. The only place that reads the environment.

use std::{io::IsTerminal, process::ExitCode};

use rlvm::{
    cli::{self, Environment, Xdg},
    host::Web,
};

/// A plan makes and drops many small values on several threads, which takes glibc's allocator a sixth longer.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    #[expect(clippy::disallowed_methods, reason = "main reads the environment, so that nothing below does")]
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    #[expect(clippy::disallowed_methods, reason = "main reads the clock, so that nothing below does")]
    let now = std::time::SystemTime::now();
    let environment = Environment {
        path: variable("PATH").unwrap_or_else(|| cli::DEFAULT_PATH.into()),
        home: variable("RLVM_HOME"),
        own: Xdg {
            home: variable("HOME"),
            config: variable("XDG_CONFIG_HOME"),
            state: variable("XDG_STATE_HOME"),
            data: variable("XDG_DATA_HOME"),
            cache: variable("XDG_CACHE_HOME"),
            runtime: variable("XDG_RUNTIME_DIR"),
        },
        credentials: variable("CREDENTIALS_DIRECTORY"),
        web: Web {
            authorities: variable("SSL_CERT_FILE"),
            proxy: variable("https_proxy").or_else(|| variable("HTTPS_PROXY")),
            no_proxy: variable("no_proxy").or_else(|| variable("NO_PROXY")),
        },
        log: variable("RUST_LOG"),
        no_color: variable("NO_COLOR").is_some() || variable("TERM").as_deref() == Some("dumb"),
        sudo_uid: variable("SUDO_UID").and_then(|uid| uid.parse().ok()),
        now,
        zone: jiff::tz::TimeZone::try_system().unwrap_or(jiff::tz::TimeZone::UTC),
        in_terminal: std::io::stdin().is_terminal(),
        out_terminal: std::io::stdout().is_terminal(),
        err_terminal: std::io::stderr().is_terminal(),
    };
    ExitCode::from(cli::main(std::env::args_os(), &environment))
}
