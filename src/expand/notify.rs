//! Expands notifiers: the files with addresses and passwords, the program that sends mails, and the entry that looks
//! for overdue backups.

use super::{
    Declared, Expanded,
    schedules::{Starts, Timed},
};
use crate::{
    effect::quote,
    model::{HostName, Name, SecretFile, UserName},
    resource::{Program, Role, Secret},
    state::{Notifier, Occasion, State},
};

/// The entry that looks: a job's own begins with `rlvm-`, and a job may be called `watch`.
const WATCH: &str = "rlvm_watch";

/// Declares what it takes to tell somebody. Of a notifier that no job names, which a policy of many hosts may declare,
/// nothing is asked.
pub(super) fn add(state: &State, expanded: &mut Expanded) {
    let is_named = |name: &Name| state.jobs.values().any(|job| job.enabled && job.notify.contains(name));
    for (name, notifier) in state.notify.iter().filter(|(name, _)| is_named(name)) {
        for file in files(notifier) {
            secret(expanded, name, file);
        }
        if notifier.email.as_ref().is_some_and(|email| email.smtp.is_none()) {
            expanded.add(Declared::plain(Program::mailer()));
        }
    }
}

/// Lists the files that a notifier's letters take.
fn files(notifier: &Notifier) -> impl Iterator<Item = &SecretFile> {
    let webhook = notifier.webhook.iter().flat_map(|it| it.url_file.iter().chain(&it.token_file));
    let smtp = notifier.email.iter().filter_map(|it| it.smtp.as_ref());
    webhook.chain(smtp.filter_map(|it| it.password_file.as_ref()))
}

fn secret(expanded: &mut Expanded, name: &Name, file: &SecretFile) {
    let (owner, role) = (expanded.keeper(), Role::Notifier);
    let secret = Secret { destination: name.clone(), file: file.clone(), owner, role, generate: false };
    expanded.add_secret_directory(file);
    let declared = Declared::plain(secret);
    // Two notifiers may share an address or a password.
    expanded.resources.entry(declared.resource.address()).or_insert(declared);
}

/// Returns what looks each hour for what is overdue; nothing if nobody is to be told of it, or nothing has a schedule.
pub(super) fn watch(state: &State, keeper: &UserName) -> Option<Timed> {
    let timed = |name: &Name| state.jobs.get(name).is_some_and(|job| job.enabled && job.schedule.is_some());
    let told = state.jobs.keys().filter(|name| timed(name));
    let asks = |notifier: &Notifier| notifier.is_told(Occasion::Overdue) && !notifier.is_watch();
    let asked = told.flat_map(|job| state.notifiers_of(job)).any(|(_, notifier)| asks(notifier));
    Some(Timed {
        place: "notify".into(),
        name: WATCH.into(),
        whose: format!("what tells of overdue jobs of {}", state.host),
        schedule: format!("{} * * * *", minute(&state.host)).parse().ok().filter(|_| asked)?,
        jitter: None,
        user: keeper.clone(),
        command: format!("{} --quiet notify watch", quote(state.rlvm_path.as_str())),
        starts: Starts::Watch,
        adopt: false,
        protect: false,
    })
}

/// Picks a minute by the host's name: hosts that share a repository do not all look at once, and none changes its mind.
fn minute(host: &HostName) -> u32 {
    host.as_str().bytes().fold(7, |sum: u32, byte| (sum * 31 + u32::from(byte)) % 6007) % 60
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        expand::{UserFacts, expand, schedules},
        model::{Personal, Scope},
    };

    fn state(notify: &str, job: &str) -> State {
        let yaml = format!(
            "version: 1\nhost: web01\ndestinations:\n  a: {{ local: {{ path: /a }}, password_file: /p }}\n\
             notify:\n  ops: {notify}\njobs:\n  x: {{ to: [a], sources: [{{ path: /etc }}]{job} }}\n"
        );
        crate::state::load("state", &mut |_| Ok(yaml.clone())).unwrap().state
    }

    #[test]
    fn it_is_looked_for_what_is_overdue_where_somebody_is_told() {
        let named = ", schedule: '@daily', notify: [ops]";
        let url = "webhook: { url_file: /n/url }";
        for (notify, job, expected) in [
            (format!("{{ {url} }}"), named, true),
            (format!("{{ {url} }}"), ", notify: [ops]", false),
            (format!("{{ {url} }}"), ", schedule: '@daily'", false),
            (format!("{{ {url} }}"), ", schedule: '@daily', notify: [ops], enabled: false", false),
            (format!("{{ on: [failure], {url} }}"), named, false),
            ("{ webhook: { url_file: /n/url, format: healthchecks } }".into(), named, false),
        ] {
            let all = schedules::timed(&state(&notify, job), &Scope::Host);
            let watch = all.iter().find(|it| it.name == WATCH);
            assert_eq!(watch.is_some(), expected, "{notify} {job}");
            if let Some(watch) = watch {
                assert_eq!(watch.command, "/usr/bin/rlvm --quiet notify watch");
            }
        }
    }

    #[test]
    fn hosts_look_at_minutes_of_their_own() {
        let minutes: std::collections::BTreeSet<u32> =
            (0..40).map(|host| minute(&format!("web{host:02}").parse().unwrap())).collect();
        assert!(minutes.len() > 15 && minutes.iter().all(|minute| *minute < 60), "{minutes:?}");
    }

    #[test]
    fn secrets_and_the_mailer_are_looked_at() {
        let of_job = |notify: &str, job: &str, scope: &Scope| -> Vec<String> {
            let expanded = expand(&state(notify, job), &UserFacts::default(), scope);
            let own = |it: &&String| it.starts_with("secret:/n") || it.ends_with("/sendmail");
            expanded.resources.keys().map(ToString::to_string).filter(|it| own(&it)).collect()
        };
        let of = |notify: &str, scope: &Scope| of_job(notify, ", notify: [ops]", scope);
        let host = Scope::Host;
        assert!(of_job("{ email: { to: root } }", "", &host).is_empty());
        assert_eq!(
            of("{ webhook: { url_file: /n/u, token_file: /n/t } }", &host),
            ["secret:/n/t", "secret:/n/u"]
        );
        assert_eq!(of("{ email: { to: root } }", &host), ["program:/usr/sbin/sendmail"]);
        let smtp = "{ email: { to: a@b.c, from: a@b.c, smtp: { host: m, user: u, password_file: /n/p } } }";
        assert_eq!(of(smtp, &host), ["secret:/n/p"]);
        assert_eq!(of(smtp, &Scope::User(Box::new(Personal::ann()))), ["secret:/n/p"]);
    }
}
