"""Makes a tree with every kind of file, or tells all of one, a line a name."""

import hashlib, os, socket, stat, struct, sys


def make(top):
    top = os.fsencode(top)
    os.makedirs(top + b"/sub/deep", exist_ok=True)
    os.makedirs(top + b"/empty")

    def write(name, data, mode=0o644, uid=0, gid=0):
        at = top + b"/" + name
        with open(at, "wb") as file:
            file.write(data)
        os.chown(at, uid, gid)
        os.chmod(at, mode)

    write(b"plain", b"hello\n")
    write(b"private", b"secret\n", 0o600, 33, 33)
    write(b"setuid", b"#!/bin/sh\n", 0o4755, 33, 4000)
    write(b"setgid", b"#!/bin/sh\n", 0o2750, 4000, 33)
    write(b"none", b"x", 0o000)
    write(b"empty file", b"")
    write(b"new\nline", b"n\n")
    write(b"latin-\xe9", b"l\n")
    write(b"quote'\"$x `y`", b"q\n")
    write(b"st*r[1]?\\x", b"s\n")
    write(b"-dash", b"d\n")
    write(b"colon: x", b"c\n")
    write(b"ignoring error for x", b"i\n")
    write("wörld 世界".encode(), b"w\n")
    write(b"n" * 255, b"long\n")
    write(b"sub/deep/file", b"deep\n", 0o640, 4000, 4000)
    write(b"big", os.urandom(3 << 20))
    with open(top + b"/sparse", "wb") as file:
        file.seek(8 << 20)
        file.write(b"end")
    os.link(top + b"/plain", top + b"/sub/hard")
    os.symlink("plain", top + b"/link")
    os.symlink("/nowhere/\xe9", top + b"/dangling")
    os.lchown(top + b"/link", 33, 33)
    os.mkfifo(top + b"/fifo", 0o640)
    os.mknod(top + b"/char", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mknod(top + b"/block", stat.S_IFBLK | 0o660, os.makedev(7, 99))
    socket.socket(socket.AF_UNIX).bind(os.path.join(os.fsdecode(top), "socket"))
    os.setxattr(top + b"/plain", "user.note", b"a\x00b")
    os.setxattr(top + b"/sub", "user.dir", b"d")
    entry = lambda tag, perm, id: struct.pack("<HHI", tag, perm, id)
    nobody = 0xFFFFFFFF
    acl = struct.pack("<I", 2) + entry(1, 6, nobody) + entry(2, 4, 33) + entry(4, 4, nobody) + entry(16, 4, nobody) + entry(32, 0, nobody)
    os.setxattr(top + b"/private", "system.posix_acl_access", acl)
    os.setxattr(top + b"/sub/deep", "system.posix_acl_default", acl)
    os.chown(top + b"/sub", 33, 33)
    os.chmod(top + b"/sub", 0o3770)
    for name, when in [(b"plain", 981173106789000000), (b"sub/deep/file", 1), (b"link", 1234567890123456789),
                       (b"sub/deep", 1000000000000000001), (b"empty", 1500000000000000000), (b"fifo", 5)]:
        os.utime(top + b"/" + name, ns=(when, when), follow_symlinks=False)
    os.utime(top, ns=(7, 1111111111111111111))


def tell(top):
    top = os.fsencode(top)
    names = {}
    rows = []
    for where, dirs, files in os.walk(top):
        for name in dirs + files:
            rows.append(os.path.join(where, name))
    for at in sorted(rows + [top]):
        it = os.lstat(at)
        names.setdefault((it.st_dev, it.st_ino), at[len(top):])
        row = [repr(at[len(top):]), stat.filemode(it.st_mode), it.st_uid, it.st_gid, it.st_mtime_ns]
        if stat.S_ISSOCK(it.st_mode):
            continue
        if not stat.S_ISDIR(it.st_mode):
            row += ["links", it.st_nlink, repr(names[it.st_dev, it.st_ino])]
        if stat.S_ISREG(it.st_mode):
            with open(at, "rb") as file:
                row += ["size", it.st_size, hashlib.sha256(file.read()).hexdigest()]
            if sys.argv[3:] == ["holes"]:
                row += ["holes" if it.st_blocks * 512 < it.st_size // 2 else "full"]
        if stat.S_ISLNK(it.st_mode):
            row += ["to", repr(os.readlink(at))]
        if stat.S_ISCHR(it.st_mode) or stat.S_ISBLK(it.st_mode):
            row += ["device", os.major(it.st_rdev), os.minor(it.st_rdev)]
        row += [f"{name}={os.getxattr(at, name, follow_symlinks=False).hex()}"
                for name in sorted(os.listxattr(at, follow_symlinks=False)) if not name.startswith("security.")]
        print(*row)


{"make": make, "tell": tell}[sys.argv[1]](sys.argv[2])
