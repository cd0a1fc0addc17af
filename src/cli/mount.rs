//! `rlvm mount`: mounts this host's backups as a read-only file system.

use anyhow::{Result, bail};
use clap::Args;

use super::{
    context::Context,
    exit::{Exit, Failure},
    kept::applied,
    restore::{Place, Stage, World, places},
};
use crate::{
    effect::{Cmd, Op},
    host::{Entry, Host as _, Real, interrupted, watch_signals},
    model::{HostPath, Name, UserName},
    restic::{Came, RestoreHeard},
};

/// What reaches the kernel's FUSE.
const FUSE: &str = "/dev/fuse";

/// Browse backups: mount this host's snapshots read-only, until Ctrl-C
///
/// Stays in the foreground and unmounts at the end, by Ctrl-C or a signal. hosts/HOST has one directory per snapshot.
/// Needs FUSE. Without FUSE, `rlvm restore` has previews and restores single files.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rlvm mount /mnt                 from the nearest destination, this host's snapshots
  rlvm mount /mnt --from vault")]
pub(super) struct MountVerb {
    /// An empty directory
    #[arg(value_name = "DIR")]
    dir: HostPath,
    /// Use this destination
    #[arg(long, value_name = "DESTINATION")]
    from: Option<Name>,
}

impl MountVerb {
    pub(super) fn run(&self, context: &Context<'_>) -> Result<Exit> {
        let host = context.running("backups are mounted")?;
        let state = applied(context, &host)?;
        let world = World { context, host: &host, state: &state };
        let unmount = Cmd::new(fuse(&world)?).args(["-u", "-z"]).path(&self.dir).ok(&[0, 1]).timeout(30);
        self.is_free(&host)?;
        let place = self.place(&world)?;
        let root = UserName::root();
        let cmd = place.access(&root).mount(&self.dir, &world.hosts());
        watch_signals()?;
        let stage = Stage::begin(&world)?;
        // After a crash it would hang there, and answer nobody.
        let undo = Op::Run(unmount);
        stage.open(None, &undo)?;
        context.printer.say(&format!("{}: at {} until Ctrl-C\n", place.name, self.dir))?;
        let mut said = RestoreHeard::default();
        let ended = stage.run(&cmd, &mut |_, line| {
            said.line(line);
        })?;
        stage.end()?;
        match said.came(ended.code) {
            _ if interrupted().is_some() => Ok(Exit::of_signal(interrupted())),
            // Somebody has unmounted it.
            _ if ended.code == Some(0) => Ok(Exit::Ok),
            Came::Failed(why) => bail!("{} cannot be mounted: {why}", place.name),
            _ => bail!("{} cannot be mounted", place.name),
        }
    }

    fn is_free(&self, host: &Real) -> Result<()> {
        let (looker, dir) = (host.looker(), &self.dir);
        let refuse = |why: &str| {
            let message = format!("{dir} {why}");
            Err(Failure::new(Exit::Refused, message)
                .help("name an empty directory: mkdir /mnt/backups")
                .into())
        };
        match looker.entry(dir)? {
            Entry::Directory(_) if looker.mounted(dir)? => refuse("is a mount point already"),
            Entry::Directory(_) if !looker.names(dir)?.is_empty() => refuse("is not empty"),
            Entry::Directory(_) => Ok(()),
            Entry::Absent => refuse("is not there"),
            other => refuse(&format!("is {}", other.noun())),
        }
    }

    /// Finds the destination: the one that is named, else the first that opens, those of this host first.
    fn place(&self, world: &World<'_>) -> Result<Place> {
        let names: Vec<Name> = match &self.from {
            Some(name) => vec![name.clone()],
            None => world.by_distance(),
        };
        let mut why_not = Vec::new();
        for place in places(world, &names)? {
            match place.listed(world, &world.hosts(), &[]) {
                Ok(_) => return Ok(place),
                Err(why) => why_not.push(format!("{}: {why}", place.name)),
            }
        }
        if why_not.is_empty() {
            let all: Vec<&str> = world.state.destinations.keys().map(Name::as_str).collect();
            let message = "there is no such destination";
            bail!(Failure::new(Exit::Failed, message).help(format!("there are: {}", all.join(", "))));
        }
        bail!(Failure::new(Exit::Failed, format!("nothing can be mounted\n  {}", why_not.join("\n  "))))
    }
}

/// Says what unmounts, if FUSE is there.
fn fuse(world: &World<'_>) -> Result<&'static str> {
    let device = world.host.looker().entry(&HostPath::fixed(FUSE))?;
    let help = "apt-get install fuse3, on a kernel with FUSE; else `rlvm restore` on a terminal has a preview, and \
                restores single files with --path";
    if device == Entry::Absent {
        bail!(Failure::new(Exit::Failed, format!("there is no FUSE here: {FUSE} is not there")).help(help));
    }
    for program in ["fusermount3", "fusermount"] {
        if world.has(program) {
            return Ok(program);
        }
    }
    bail!(Failure::new(Exit::Failed, "there is no FUSE here: fusermount3 is not on PATH").help(help))
}
