//! Runs a drill: restores a sample of the newest backup into a private directory and compares it.

use anyhow::Context as _;

use super::{
    place::{Part, judged},
    world::{Trouble, World},
};
use crate::{
    effect::Cmd,
    host::{Entry, Host as _, Stream, random_id},
    job::Backups,
    model::{HostPath, Sha256, UserName},
    resource::Repository,
    restic::{self, Came, Complaints, Listed, Node, Printed, Restore, RestoreHeard, Version},
    verify::{DrillRecord, Live, Outcome, Restored, Sample, compared},
};

/// How many bytes a drill restores at the most.
const MOST: u64 = 1 << 30;
/// How long listing the backups may take, in seconds: without a cache restic reads each snapshot.
pub(super) const LISTING: u64 = 900;
/// How long a restore may take, in seconds.
const RESTORE: u64 = 6 * 3600;
/// How long a look at a machine image may take, in seconds.
const IMAGE: u64 = 3600;
/// How many files that are not as they should be are named.
const NAMED: usize = 20;

/// Restores a sample of a job's newest backup, and compares it.
pub(super) fn drill(world: &World<'_>, repository: &Repository, part: &Part, files: u32) -> DrillRecord {
    let mut record = DrillRecord {
        job: part.name.clone(),
        snapshot: String::new(),
        outcome: Outcome::Well,
        files: 0,
        bytes: 0,
        compared: 0,
        images: 0,
        unlike: Vec::new(),
        error: None,
    };
    let went = (Drill { world, repository, part }).go(files, &mut record);
    match went {
        Ok(()) if record.unlike.is_empty() => {}
        Ok(()) => record.outcome = Outcome::Damaged,
        Err(Trouble(outcome, why)) => (record.outcome, record.error) = (outcome, Some(why)),
    }
    record.unlike.truncate(NAMED);
    record
}

struct Drill<'a> {
    world: &'a World<'a>,
    repository: &'a Repository,
    part: &'a Part,
}

impl Drill<'_> {
    fn go(&self, files: u32, record: &mut DrillRecord) -> Result<(), Trouble> {
        let snapshot = self.newest()?;
        record.snapshot.clone_from(&snapshot.id);
        let nodes = self.draw(&snapshot, files)?;
        if nodes.is_empty() {
            return Err(Trouble(Outcome::Failed, "its newest backup has no file to restore".into()));
        }
        self.world.in_private(&self.repository.user, |dir| {
            self.restore(&snapshot, &nodes, dir, record)?;
            record.files = nodes.len() as u64;
            record.bytes = nodes.iter().map(|node| node.size).sum();
            nodes.iter().try_for_each(|node| self.compare(node, &snapshot, dir, record))
        })
    }

    /// Finds the newest backup of this host and this job.
    fn newest(&self) -> Result<Listed, Trouble> {
        let access = self.repository.access();
        let query =
            access.snapshots(&self.part.hosts, &self.part.names, LISTING).context("cannot ask restic")?;
        let mut printed = Printed::default();
        let output = self.world.host.looker().read(&query, &mut |from| printed.read(from))?;
        let all = match restic::listed(printed, &output) {
            Ok(all) => all,
            Err(found) if output.code == Some(0) => {
                return Err(Trouble(Outcome::Failed, format!("its backups cannot be listed: {found:?}")));
            }
            Err(_) => {
                let mut complaints = Complaints::default();
                output.stderr.lines().for_each(|line| complaints.line(line));
                return judged(complaints.of_reading(output.code)).map(|()| Listed::default());
            }
        };
        let backups = Backups::of(self.world.runs);
        let ours = |it: &Listed| {
            it.is_of(&self.part.hosts, &self.part.names)
                && backups.fault(&self.part.destinations, it).is_none()
        };
        let none = || Trouble(Outcome::Failed, "there is no backup of it here".into());
        all.into_iter().rev().find(ours).ok_or_else(none)
    }

    /// Draws files, of as many bytes as there is room for.
    fn draw(&self, snapshot: &Listed, files: u32) -> Result<Vec<Node>, Trouble> {
        let World { host, place, .. } = self.world;
        let seed = u64::from_str_radix(&random_id()?[..16], 16).context("no randomness")?;
        let files = usize::try_from(files).unwrap_or(usize::MAX);
        let mut sample = Sample::new(seed, files, MOST.min(host.room(place)? / 2));
        let mut complaints = Complaints::default();
        let query = self.repository.access().ls(&snapshot.id).context("cannot ask restic")?;
        let ended = self.world.programs.program(query.cmd(), &mut |stream, line| match stream {
            Stream::Out => Node::read(line).iter().for_each(|node| sample.add(node)),
            Stream::Err => complaints.line(line),
        })?;
        if ended.timed_out {
            return Err(Trouble(Outcome::Failed, "listing its newest backup took too long".into()));
        }
        judged(complaints.of_reading(ended.code))?;
        Ok(sample.drawn())
    }

    fn restore(
        &self,
        snapshot: &Listed,
        nodes: &[Node],
        dir: &HostPath,
        record: &mut DrillRecord,
    ) -> Result<(), Trouble> {
        let access = self.repository.access();
        let asked = restic::ask_version(access.means.engine.as_ref()).context("cannot ask restic")?;
        let asked = self.world.host.looker().query(&asked)?;
        let version = Version::read(&asked.stdout).context("restic does not say which version it is")?;
        let paths: Vec<String> = nodes.iter().map(|node| node.path.clone()).collect();
        let of = Restore { snapshot: &snapshot.id, paths: &paths, target: dir, version, seconds: RESTORE };
        let mut heard = RestoreHeard::default();
        let ended = self.world.programs.program(&access.restore(&of), &mut |_, line| {
            heard.line(line);
        })?;
        let failed = heard.failed(paths.iter().map(String::as_str));
        let passing = failed.iter().all(|it| restic::passes(&it.why));
        Err(match heard.came(ended.code) {
            _ if ended.stopped => Trouble(Outcome::Failed, "ended by a signal".into()),
            _ if ended.timed_out => Trouble(Outcome::Failed, "restoring took too long".into()),
            Came::Whole => return Ok(()),
            Came::Incomplete if passing => Trouble(Outcome::Unreachable, failed[0].why.clone()),
            Came::Incomplete => {
                record.unlike.extend(failed.into_iter().map(|it| (it.path, it.why)));
                return Ok(());
            }
            Came::Failed(why) if restic::passes(&why) => Trouble(Outcome::Unreachable, why),
            Came::Failed(why) => Trouble(Outcome::Failed, why),
        })
    }

    fn compare(
        &self,
        node: &Node,
        snapshot: &Listed,
        dir: &HostPath,
        record: &mut DrillRecord,
    ) -> Result<(), Trouble> {
        let World { host, own, .. } = self.world;
        if record.unlike.iter().any(|(path, _)| *path == node.path) {
            return Ok(());
        }
        let Some((there, digest)) = host.staged_file(dir, &node.path)? else {
            record
                .unlike
                .push((node.path.clone(), "it was not restored, and restic says nothing of it".into()));
            return Ok(());
        };
        let restored = Restored {
            size: there.size,
            mode: there.mode,
            uid: there.uid,
            gid: there.gid,
            mtime: there.mtime,
            digest,
        };
        let live = self.live(node, snapshot);
        record.compared += u64::from(live.is_some());
        let by_root = own.is_none() && self.repository.user == UserName::root();
        let mut unlike = compared(node, &restored, live.as_ref(), by_root);
        if let Some(broken) = self.image(node, dir, record)? {
            unlike.push(broken);
        }
        if !unlike.is_empty() {
            record.unlike.push((node.path.clone(), unlike.join("; ")));
        }
        Ok(())
    }

    /// Returns the digest of the live file, if that has not changed since the backup, nor while it was read. What cannot be
    /// looked at proves nothing.
    fn live(&self, node: &Node, snapshot: &Listed) -> Option<Sha256> {
        let path: HostPath = node.path.parse().ok()?;
        let time = i64::try_from(snapshot.time()?.as_nanosecond()).ok()?;
        let strict = self.world.host.looker();
        // What is read is only compared.
        let looker = strict.lenient();
        let Ok(Entry::File(meta)) = looker.entry(&path) else { return None };
        let live = Live { size: meta.stamp.size, mtime: meta.stamp.mtime, ctime: meta.stamp.ctime };
        if !live.is_unchanged(node, time) {
            return None;
        }
        let Ok((Entry::File(read), digest)) = looker.digest(&path) else { return None };
        let after = looker.entry(&path);
        let steady = |entry: Entry| entry.file().is_some_and(|it| it.stamp == meta.stamp);
        digest.filter(|_| read.stamp == meta.stamp && after.is_ok_and(steady))
    }

    /// Has qemu-img look at a machine's image, if it is installed; says what is wrong with it.
    fn image(
        &self,
        node: &Node,
        dir: &HostPath,
        record: &mut DrillRecord,
    ) -> Result<Option<String>, Trouble> {
        let World { host, .. } = self.world;
        let is_image = node.path.rsplit_once('.').is_some_and(|(_, ending)| ending == "qcow2");
        if !is_image || host.looker().program("qemu-img")?.is_none() {
            return Ok(None);
        }
        let repository = self.repository;
        let image = image(&format!("{dir}{}", node.path));
        let cmd = Cmd::new("qemu-img").args(["check", "-q"]).arg(image).ok(&[0, 1, 2, 3, 63]).timeout(IMAGE);
        let mut said = Complaints::default();
        let cmd = repository.means.run_as(cmd.stoppable(), &repository.user);
        let ended = self.world.programs.program(&cmd, &mut |_, line| said.line(line))?;
        record.images += 1;
        // 3 is space that nothing uses: harmless; qemu-img(1).
        Ok(match ended.code {
            Some(0 | 3) => None,
            code => Some(format!("qemu-img check: {}", said.shown(code))),
        })
    }
}

/// Names an image so that nothing else is opened along with it: its header may name any file as what it is based on.
fn image(path: &str) -> String {
    let file = serde_json::json!({ "driver": "file", "filename": path });
    let image = serde_json::json!({ "driver": "qcow2", "backing": null, "file": file });
    format!("json:{image}")
}
