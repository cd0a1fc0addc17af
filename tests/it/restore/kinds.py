"""Makes one of each kind, or tells what stands at some paths, as JSON: itself, no link followed."""

import json, os, stat, sys, time

KINDS = ["file", "dir", "linkfile", "linkdir", "dangling", "fifo", "device", "mountdir", "mountfile"]


def make(kind, at, word):
    if kind == "file":
        with open(at, "w") as file:
            file.write(word)
    elif kind == "dir":
        os.mkdir(at)
        with open(at + "/in", "w") as file:
            file.write(word)
    elif kind == "linkfile":
        os.symlink("/srv/aim/file-" + word, at)
    elif kind == "linkdir":
        os.symlink("/srv/aim/dir-" + word, at)
    elif kind == "dangling":
        # Longer than a name may be.
        os.symlink("/nowhere/" + word * 60, at)
    elif kind == "fifo":
        os.mkfifo(at, 0o600 if word == "stored" else 0o640)
    elif kind == "device":
        os.mknod(at, stat.S_IFCHR | 0o600, os.makedev(1, 3 if word == "stored" else 5))
    elif kind in ("mountdir", "mountfile"):
        os.makedirs("/srv/mem", exist_ok=True)
        if not os.path.ismount("/srv/mem"):
            os.system("mount -t tmpfs -o mode=755 tmpfs /srv/mem")
        over = "/srv/mem/" + os.path.basename(at)
        os.system("rm -rf " + over)
        make(kind[5:], over, word)
        make(kind[5:], at, "below")
        assert os.system(f"mount --bind {over} {at}") == 0


def tell(at):
    try:
        it = os.lstat(at)
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(it.st_mode):
        return ["dir", {name: tell(at + "/" + name) for name in sorted(os.listdir(at))}]
    if stat.S_ISREG(it.st_mode):
        return ["file", open(at).read()]
    if stat.S_ISLNK(it.st_mode):
        return ["link", os.readlink(at)]
    return [stat.filemode(it.st_mode)[0], stat.filemode(it.st_mode), it.st_rdev]


def alike(kind, at, word):
    """Changes what was stored, or only its ctime, and keeps what a list shows: size, mode, owner and time."""
    if kind == "dir":
        at += "/in"
    was = os.lstat(at)
    if word == "swapped" and kind in ("file", "dir"):
        with open(at, "w") as file:
            file.write("livest")
    elif word == "swapped" and kind != "fifo":
        os.remove(at)
        make(kind, at, "livest")
    os.utime(at, ns=(was.st_mtime_ns, was.st_mtime_ns), follow_symlinks=False)
    assert os.lstat(at).st_ctime_ns != was.st_ctime_ns


command = sys.argv[1]
top = sys.argv[2] if len(sys.argv) > 2 else "/srv/www"
if command == "store":
    os.makedirs(top)
    os.makedirs("/srv/aim/dir-live")
    os.makedirs("/srv/aim/dir-stored")
    for word in ("live", "stored"):
        open("/srv/aim/file-" + word, "w").write("aim\n")
        open("/srv/aim/dir-" + word + "/in", "w").write("aim\n")
    for stored in KINDS[:7]:
        for live in KINDS + ["absent", "same", "touched", "swapped"]:
            make(stored, f"{top}/{stored}-{live}", "stored")
            # restic 0.14 lists no inode numbers, so only a ctime of its own proves that a file is unchanged.
            time.sleep(0.01)
elif command == "live":
    os.makedirs(top, exist_ok=True)
    for stored in KINDS[:7]:
        for live in KINDS + ["absent"]:
            at = f"{top}/{stored}-{live}"
            os.system(f"umount -q {at}; rm -rf {at}")
            if live != "absent":
                make(live, at, "live")
        for live in ["touched", "swapped"] if top == "/srv/www" else []:
            alike(stored, f"{top}/{stored}-{live}", live)
elif command == "tell":
    print(json.dumps({**{at: tell(top + "/" + at) for at in sorted(os.listdir(top))}, "aim": tell("/srv/aim")}))
