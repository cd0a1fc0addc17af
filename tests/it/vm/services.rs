//! What rlvm sets up, in the hands of the system's own services.

use super::Vm;

const STATE: &str = r#"
directories:
  /srv/backup: { mode: "0750" }
  /var/log/app: { owner: www-data, mode: "0755" }
destinations:
  vault: { local: { path: /srv/backup/web01 }, password_file: /etc/rlvm/vault.pass, generate_password: true }
cron:
  tick: { schedule: "* * * * *", command: "date +%s >> /var/log/app/ticks.log" }
logrotate:
  app: { paths: [/var/log/app/*.log], frequency: daily, keep: 3 }
"#;

#[test]
fn cron_and_logrotate_and_restic_take_what_was_applied() {
    // R43, R44
    let vm = Vm::new();
    vm.state(STATE);
    vm.expect(2, &["plan", "--detailed-exitcode"]);
    vm.apply();
    vm.plan_is_empty();
    assert_eq!(vm.ok("stat -c '%U %a' /srv/backup /var/log/app"), "root 750\nwww-data 755\n");
    let restic = "restic -q -r /srv/backup/web01 --password-file /etc/rlvm/vault.pass";
    vm.ok(&format!("{restic} backup /etc/rlvm && {restic} check"));

    // The system's own daemon, which nobody told.
    vm.until(130, "test -s /var/log/app/ticks.log");

    let said = vm.run("logrotate -d /etc/logrotate.conf 2>&1");
    assert!(
        said.code == Some(0) && said.stdout.contains("considering log /var/log/app/ticks.log"),
        "{said:?}"
    );
    assert!(!said.stdout.contains("error:"), "{said:?}");
    vm.ok("logrotate -f /etc/logrotate.d/app && test -e /var/log/app/ticks.log.1.gz");
    vm.plan_is_empty();
}
