"""Makes one of each kind, or tells what stands at some paths, as JSON: itself, no link followed."""

import json, os, stat, sys

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


top = "/srv/www"
if sys.argv[1] == "store":
    os.makedirs(top)
    os.makedirs("/srv/aim/dir-live")
    os.makedirs("/srv/aim/dir-stored")
    for word in ("live", "stored"):
        open("/srv/aim/file-" + word, "w").write("aim\n")
        open("/srv/aim/dir-" + word + "/in", "w").write("aim\n")
    for stored in KINDS[:7]:
        for live in KINDS + ["same"]:
            make(stored, f"{top}/{stored}-{live}", "stored")
elif sys.argv[1] == "live":
    for stored in KINDS[:7]:
        for live in KINDS:
            at = f"{top}/{stored}-{live}"
            os.system("rm -r " + at)
            make(live, at, "live")
elif sys.argv[1] == "tell":
    print(json.dumps({**{at: tell(top + "/" + at) for at in sorted(os.listdir(top))}, "aim": tell("/srv/aim")}))
