//! File systems on which renameat2(2) takes no flags, as NFS: a preloaded library answers EINVAL like they do.

#![expect(clippy::disallowed_methods, reason = "tests build a library and look at the machine")]
use std::process::Command;

use super::{left, site, tell};
use crate::{
    lab::Lab,
    support::{Scratch, require},
};

/// Answers as a file system that knows no flags, and leaves a file that says so.
const LIBRARY: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>
int renameat2(int from, const char *old, int to, const char *new, unsigned flags) {
    int (*plain)(int, const char *, int, const char *) = dlsym(RTLD_NEXT, "renameat");
    if (flags == 0) return plain(from, old, to, new);
    close(open(getenv("RENAMES_REFUSED"), O_CREAT | O_WRONLY, 0600));
    errno = EINVAL;
    return -1;
}
"#;

/// Is somebody who puts another file there between a look and a rename: once where a file is exchanged, and at each `logo`.
const RACE: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
static void put(int dir, const char *name) {
    int fd = openat(dir, name, O_CREAT | O_EXCL | O_WRONLY, 0644);
    if (write(fd, "PRECIOUS\n", 9) == 9) close(fd);
}
int renameat2(int from, const char *old, int to, const char *new, unsigned flags) {
    int (*real)(int, const char *, int, const char *, unsigned) = dlsym(RTLD_NEXT, "renameat2");
    const char *mark = getenv("RENAMES_REFUSED");
    if (flags == 1 && strcmp(new, "logo") == 0) put(to, new);
    if (flags == 2 && access(mark, F_OK) != 0) {
        close(open(mark, O_CREAT | O_WRONLY, 0600));
        renameat(to, new, to, "moved");
        put(to, new);
    }
    return real(from, old, to, new, flags);
}
"#;

/// Builds the library beside a machine's tree.
fn library(on: &Scratch, source: &str) {
    require("/usr/bin", "cc", "gcc");
    std::fs::write(on.beside("old_renames.c"), source).unwrap();
    let built = Command::new("/usr/bin/cc")
        .args(["-shared", "-fPIC", "-o"])
        .args([on.beside("old_renames.so"), on.beside("old_renames.c")])
        .arg("-ldl")
        .status();
    assert!(built.unwrap().success());
}

/// Calls rlvm with the library, which must have been asked.
#[track_caller]
fn expect(on: &Scratch, code: i32, args: &[&str]) {
    let refused = on.beside("refused");
    let _ = std::fs::remove_file(&refused);
    let mut command = on.command(args);
    command.env("LD_PRELOAD", on.inside("old_renames.so")).env("RENAMES_REFUSED", on.inside("refused"));
    let ran = on.ran(&mut command);
    assert_eq!(ran.code, Some(code), "{ran:?}");
    assert!(refused.exists(), "no rename with flags was tried: {ran:?}");
}

#[test]
fn apply_makes_files_and_directories_without_flags() {
    let on = Scratch::new();
    library(&on, LIBRARY);
    on.state(
        "directories:\n  /srv/one: {}\n  /srv/one/two: { owner: backup, group: backup }\ndestinations:\n  \
         vault: { local: { path: /srv/r }, password_file: /etc/rlvm/v, generate_password: true }\n",
    );
    expect(&on, 0, &["apply", "--yes"]);
    on.plan_is_empty();
    assert!(on.read("/etc/rlvm/v").len() > 20);
    // The file has one name again.
    let names = on.tree().into_keys().filter(|path| path.ends_with(".rlvm-new~"));
    assert_eq!(names.count(), 0);
}

#[test]
fn restore_gives_back_files_and_directories_without_flags() {
    // R75
    let lab: Lab = site();
    library(&lab, LIBRARY);
    let before = tell(&lab, "/srv/www");
    expect(&lab, 0, &["restore", "web", "--target", "/srv/out"]);
    assert_eq!(tell(&lab, "/srv/out/srv/www"), before);
    lab.ok(&["sh", "-c", "cd /srv/www; rm -r shop index.html; echo mine > shop; touch -d @1 shop"]);
    expect(&lab, 0, &["restore", "web", "--in-place", "--yes"]);
    assert_eq!(lab.read("/srv/www/shop/logo"), "logo\n");
    assert_eq!(lab.read("/srv/www/index.html"), "hello\n");
    assert_eq!(lab.ok(&["ls", "-A", "/srv/www"]), "index.html\nshop\n");
    assert_eq!(left(&lab), "");
}

#[test]
fn a_file_that_comes_between_the_look_and_the_rename_stays() {
    // R75
    let lab: Lab = site();
    library(&lab, RACE);
    lab.ok(&["sh", "-c", "cd /srv/www; echo changed > index.html; rm shop/logo"]);
    expect(&lab, 8, &["restore", "web", "--in-place", "--yes"]);
    let read = |name: &str| lab.read(&format!("/srv/www/{name}"));
    assert_eq!((read("index.html"), read("moved")), ("PRECIOUS\n".into(), "changed\n".into()));
    assert_eq!(read("shop/logo"), "PRECIOUS\n");
    assert_eq!(lab.ok(&["ls", "-A", "/srv/www", "/srv/www/shop"]).matches('\n').count(), 8);
    assert_eq!(left(&lab), "");
}
