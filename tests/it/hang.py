# A file system whose server hangs, for tests: hang.py HOW DIRECTORY...
#
# Mounts a FUSE file system at each directory, prints `ready`, and answers nothing more. HOW is `unread`: requests are
# never read, and a call on the file system can be killed. Or `unanswered`: requests are read, and a call on the file
# system cannot even be killed. When this process ends, all calls fail.

import ctypes
import os
import select
import struct
import sys

how, places = sys.argv[1], sys.argv[2:]
libc = ctypes.CDLL(None, use_errno=True)
servers = []
for place in places:
    fd = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={fd},rootmode=40000,user_id=0,group_id=0,allow_other".encode()
    if libc.mount(b"hang", place.encode(), b"fuse.hang", 0, options) != 0:
        sys.exit(f"cannot mount {place}: {os.strerror(ctypes.get_errno())}")
    # FUSE_INIT (linux/fuse.h): answered with version 7.31, and nothing that is optional.
    unique = struct.unpack_from("IIQ", os.read(fd, 1 << 17))[2]
    answer = struct.pack("IIIIHHIIHH8I", 7, 31, 0, 0, 0, 0, 1 << 16, 1, 0, 0, *[0] * 8)
    os.write(fd, struct.pack("IiQ", 16 + len(answer), 0, unique) + answer)
    servers.append(fd)
print("ready", flush=True)
while True:
    for fd in select.select(servers if how == "unanswered" else [], [], [])[0]:
        os.read(fd, 1 << 17)
